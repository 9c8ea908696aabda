"""The Event Grid webhook: handshakes, then one call of the function for each event."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

from aiohttp import web
from azure.functions.meta import Datum

from local.host import app as apps
from local.host.access import Doorkeeper, Level
from local.host.logs import event

if TYPE_CHECKING:
    from local.host.app import App, AppFunction
    from local.host.worker import Worker


class MalformedError(Exception):
    """What was posted is no delivery; `status` is the extension's answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class EventGridWebhook:
    """`/runtime/webhooks/eventgrid?functionName=NAME&code=KEY`."""

    def __init__(self, app: App, worker: Worker, doors: Doorkeeper) -> None:
        self._functions = {function.name: function for function in app.of_kind(apps.EVENT_GRID)}
        self._worker = worker
        self._doors = doors

    async def handle(self, request: web.Request) -> web.Response:
        self._doors.demand(request, Level.SYSTEM)
        name = request.query.get("functionName", "")
        function = self._functions.get(name)
        if function is None:
            return web.Response(status=404, text=f"cannot find function: '{name}'")
        try:
            return await self._answer(request, function)
        except MalformedError as error:
            event("malformed event", logging.WARNING, function=function.name, reason=str(error))
            return web.Response(status=error.status, text=str(error))

    async def _answer(self, request: web.Request, function: AppFunction) -> web.Response:
        if request.method == "OPTIONS":
            return _cloud_events_handshake(request)
        kind = request.headers.get("aeg-event-type", "").lower()
        if request.method == "POST" and kind == "subscriptionvalidation":
            return web.json_response({"validationResponse": _validation_code(await _json(request))})
        if request.method == "POST" and kind == "notification":
            return await self._deliver(function, _events(await _json(request)))
        if request.method == "POST" and kind == "unsubscribe":
            return web.Response(status=202)
        raise MalformedError(
            f"{request.method} with aeg-event-type {kind!r}: Notification is expected"
        )

    async def _deliver(self, function: AppFunction, events: list[dict[str, Any]]) -> web.Response:
        """Calls the function for each event; one failure makes Event Grid send all of them
        again."""
        outcomes = await asyncio.gather(*(self._call(function, item) for item in events))
        return web.Response(status=202 if all(outcomes) else 500)

    async def _call(self, function: AppFunction, item: dict[str, Any]) -> bool:
        try:
            await self._worker.invoke(function, Datum(json.dumps(item), "json"))
        except Exception as error:  # noqa: BLE001 - the app's failure is Event Grid's reason to retry
            event(
                "function failed",
                logging.ERROR,
                function=function.name,
                id=item.get("id"),
                error=error,
            )
            return False
        return True


async def _json(request: web.Request) -> object:
    try:
        return await request.json()
    except ValueError as error:
        raise MalformedError(f"the body is not JSON: {error}", 500) from error


def _events(body: object) -> list[dict[str, Any]]:
    """The events in a body: an array of either schema, or one CloudEvent."""
    events = [body] if isinstance(body, dict) else body
    if not isinstance(events, list) or not all(isinstance(item, dict) for item in events):
        raise MalformedError("the body is neither an array of events nor one CloudEvent", 500)
    return events


def _validation_code(body: object) -> str:
    events = _events(body)
    if not events:
        raise MalformedError("the validation has no event", 500)
    data = events[0].get("data")
    code = data.get("validationCode") if isinstance(data, dict) else None
    if not isinstance(code, str):
        raise MalformedError("the validation event has no data.validationCode")
    return code


def _cloud_events_handshake(request: web.Request) -> web.Response:
    """Source: CloudEvents HTTP web hooks 1.0, section 4."""
    origin = request.headers.get("WebHook-Request-Origin")
    if origin is None:
        raise MalformedError("OPTIONS without WebHook-Request-Origin is no CloudEvents handshake")
    return web.Response(headers={"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"})
