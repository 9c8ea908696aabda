"""The durable HTTP API over the engine.

It is served twice: with the system key under /runtime/webhooks/durabletask, and without one on the
local RPC address that the SDK's client calls. Shape and statuses follow
HttpApiHandler of the durable extension.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiohttp import web

from local.engine.errors import (
    EngineError,
    InstanceFinished,
    InstanceNotFound,
    InstanceRunning,
    InvalidInstanceId,
    JournalError,
)
from local.faults import check_cause

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from local.engine.engine import Engine

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

WEBHOOK = "/runtime/webhooks/durabletask"
RPC = "/durabletask"
CONTINUATION = "x-ms-continuation-token"
PAGE = 100
PLACEHOLDER = "INSTANCEID"
RUNNING = {"Pending", "Running", "ContinuedAsNew", "Suspended"}
STATUSES: dict[type[EngineError], int] = {
    InstanceNotFound: 404,
    InstanceFinished: 410,
    InvalidInstanceId: 400,
    JournalError: 500,
}
NOT_DONE = ("rewind", "restart")


@dataclass(frozen=True)
class Addresses:
    """Where the API is reached: `base` on the public server, `rpc` on the local one, in full."""

    base: str
    rpc: str
    system_key: str
    task_hub: str

    @property
    def suffix(self) -> str:
        code = quote(self.system_key, safe="")
        return f"taskHub={quote(self.task_hub)}&connection=Storage&code={code}"

    def management(self, instance_id: str) -> dict[str, str]:
        """The URLs by which one instance is managed. They carry the system key: not for people."""
        instance = f"{self.base}{WEBHOOK}/instances/{quote(instance_id, safe='')}"
        urls = {
            "id": instance_id,
            "statusQueryGetUri": f"{instance}?{self.suffix}",
            "sendEventPostUri": f"{instance}/raiseEvent/{{eventName}}?{self.suffix}",
            "purgeHistoryDeleteUri": f"{instance}?{self.suffix}",
        }
        for action in ("terminate", "suspend", "resume"):
            urls[f"{action}PostUri"] = f"{instance}/{action}?reason={{text}}&{self.suffix}"
        return urls

    def binding(self) -> str:
        """What a durableClient parameter is made from."""
        creation = f"{self.base}{WEBHOOK}/orchestrators/{{functionName}}[/{{instanceId}}]"
        return json.dumps(
            {
                "taskHubName": self.task_hub,
                "connectionName": "Storage",
                "creationUrls": {"createNewInstancePostUri": f"{creation}?{self.suffix}"},
                "managementUrls": self.management(PLACEHOLDER),
                "baseUrl": f"{self.base}{WEBHOOK}",
                "requiredQueryStringParameters": f"code={quote(self.system_key, safe='')}",
                "rpcBaseUrl": f"{self.rpc}/",
            }
        )


class DurableApi:
    """The engine's calls write to disk, so each runs in a thread."""

    def __init__(self, engine: Engine, addresses: Addresses) -> None:
        self._engine = engine
        self._addresses = addresses

    def routes(self, prefix: str, guard: Callable[[Handler], Handler]) -> list[web.RouteDef]:
        instance = f"{prefix}/instances/{{id}}"
        table: list[tuple[str, str, Handler]] = [
            ("POST", f"{prefix}/orchestrators/{{name}}", self.start),
            ("POST", f"{prefix}/orchestrators/{{name}}/{{id}}", self.start),
            ("GET", f"{prefix}/instances", self.query),
            ("GET", f"{prefix}/instances/", self.query),
            ("DELETE", f"{prefix}/instances", self.purge_many),
            ("DELETE", f"{prefix}/instances/", self.purge_many),
            ("GET", instance, self.status),
            ("DELETE", instance, self.purge),
            ("POST", f"{instance}/raiseEvent/{{event}}", self.raise_event),
            ("POST", f"{instance}/{{action:terminate|suspend|resume}}", self.act),
            ("POST", f"{instance}/{{action:{'|'.join(NOT_DONE)}}}", self.refuse),
            ("*", f"{prefix}/entities/{{rest:.*}}", self.refuse),
        ]
        return [
            web.route(method, path, guard(translated(handler))) for method, path, handler in table
        ]

    async def start(self, request: web.Request) -> web.Response:
        given_input = await _json_text(request) or None
        given, name = request.match_info.get("id"), request.match_info["name"]
        version = request.query.get("version")
        try:
            instance_id = await asyncio.to_thread(
                self._engine.start, name, given, given_input, version
            )
        except InstanceRunning as error:
            said = f"An Orchestration instance with the status {error.status} already exists."
            return web.json_response({"Message": said}, status=409)
        urls = self._addresses.management(instance_id)
        headers = {"Location": urls["statusQueryGetUri"], "Retry-After": "10"}
        return web.json_response(urls, status=202, headers=headers)

    async def status(self, request: web.Request) -> web.Response:
        status = await self._status(request)
        if status is None:
            return web.Response(status=404)
        if status["runtimeStatus"] in RUNNING:
            headers = {"Location": str(request.url), "Retry-After": "5"}
            return web.json_response(status, status=202, headers=headers)
        failed = status["runtimeStatus"] == "Failed" and _flag(
            request, "returnInternalServerErrorOnFailure"
        )
        return web.json_response(status, status=500 if failed else 200)

    async def _status(self, request: web.Request) -> dict[str, object] | None:
        return await asyncio.to_thread(
            self._engine.status,
            request.match_info["id"],
            show_input=_flag(request, "showInput", default=True),
            show_history=_flag(request, "showHistory"),
            show_history_output=_flag(request, "showHistoryOutput"),
        )

    async def query(self, request: web.Request) -> web.Response:
        top = request.query.get("top", "")
        found, token = await self._page(
            request,
            int(top) if top.isdecimal() and int(top) else PAGE,
            request.headers.get(CONTINUATION),
        )
        return web.json_response(found, headers={CONTINUATION: token or ""})

    async def _page(
        self, request: web.Request, top: int, continuation: str | None
    ) -> tuple[list[dict[str, object]], str | None]:
        statuses = [
            s for value in request.query.getall("runtimeStatus", []) for s in value.split(",") if s
        ]
        return await asyncio.to_thread(
            self._engine.query,
            runtime_status=statuses or None,
            created_from=_moment(request, "createdTimeFrom"),
            created_to=_moment(request, "createdTimeTo"),
            prefix=request.query.get("instanceIdPrefix"),
            top=top,
            continuation=continuation or None,
            show_input=_flag(request, "showInput", default=True),
        )

    async def raise_event(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return web.json_response(
                {"Message": "Only application/json request content is supported"}, status=400
            )
        data = await _json_text(request, empty=False)
        instance_id, name = request.match_info["id"], request.match_info["event"]
        await asyncio.to_thread(self._engine.raise_event, instance_id, name, data)
        return web.Response(status=202)

    async def act(self, request: web.Request) -> web.Response:
        """Terminate, suspend, resume."""
        action = getattr(self._engine, request.match_info["action"])
        await asyncio.to_thread(action, request.match_info["id"], request.query.get("reason", ""))
        return web.Response(status=202)

    async def purge(self, request: web.Request) -> web.Response:
        try:
            deleted = await asyncio.to_thread(self._engine.purge, request.match_info["id"])
        except InstanceRunning as error:
            return problem(412, error)
        return (
            web.json_response({"instancesDeleted": deleted})
            if deleted
            else web.Response(status=404)
        )

    async def purge_many(self, request: web.Request) -> web.Response:
        """Finished instances only, as the platform has it."""
        if _moment(request, "createdTimeFrom") is None:
            return web.json_response(
                "Please provide value for 'createdTimeFrom' parameter.", status=400
            )
        deleted = 0
        for status in await self._all(request):
            if status["runtimeStatus"] not in RUNNING:
                deleted += await asyncio.to_thread(self._engine.purge, str(status["instanceId"]))
        if deleted == 0:
            return web.Response(status=404)
        return web.json_response({"instancesDeleted": deleted})

    async def _all(self, request: web.Request) -> list[dict[str, object]]:
        found, token = await self._page(request, PAGE, None)
        while token:
            page, token = await self._page(request, PAGE, token)
            found += page
        return found

    async def refuse(self, request: web.Request) -> web.Response:
        what = request.match_info.get("action", "entities")
        return web.json_response(
            {"Message": f"The local engine does not support {what}."}, status=501
        )


def translated(handler: Handler) -> Handler:
    """The engine's errors as the API's statuses."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except EngineError as error:
            status = next((s for kind, s in STATUSES.items() if isinstance(error, kind)), 500)
            return problem(status, error)

    return handle


def problem(status: int, error: EngineError) -> web.Response:
    """The SDK's client reads `ExceptionMessage` of a 400; a 404 or 410 has no body."""
    if status in {404, 410}:
        return web.Response(status=status)
    body = {
        "Message": str(error),
        "ExceptionMessage": str(error),
        "ExceptionType": type(error).__name__,
    }
    return web.json_response(body, status=status)


def storage_failure(status: int, cause: str | None) -> dict[str, Any]:
    """What the extension answers to whatever it is asked while its storage is away; read off it,
    with 500."""
    check_cause(cause)
    failure = {"ExceptionMessage": "Retry failed after 4 tries. (Connection refused)"}
    kind = {"ExceptionType": "System.AggregateException", "Status": status}
    return {"Message": "Something went wrong while processing your request", **failure, **kind}


async def _json_text(request: web.Request, *, empty: bool = True) -> str:
    """The body as it came, and `empty` if it may be. What is not JSON is a 400."""
    text = (await request.text()).strip()
    try:
        json.loads(text or ("null" if empty else text))
    except ValueError as error:
        body = json.dumps({"Message": "Invalid JSON content", "ExceptionMessage": str(error)})
        raise web.HTTPBadRequest(text=body, content_type="application/json") from error
    return text


def _flag(request: web.Request, name: str, *, default: bool = False) -> bool:
    """A flag in the query; what .NET's bool.TryParse does not take leaves the default."""
    return {"true": True, "false": False}.get(request.query.get(name, "").strip().lower(), default)


def _moment(request: web.Request, name: str) -> datetime | None:
    """A time in the query: ISO 8601, in UTC unless it says otherwise; None for what is no time."""
    try:
        moment = datetime.fromisoformat(request.query.get(name, "").strip())
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
