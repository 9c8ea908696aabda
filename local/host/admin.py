"""Administration with the master key: the host's state, and running a function by hand."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from aiohttp import web
from azure.functions.meta import Datum

from local.host import app as apps
from local.host.access import Doorkeeper, Level
from local.host.logs import event

if TYPE_CHECKING:
    from local.host.app import App, AppFunction
    from local.host.timers import Timers
    from local.host.worker import Worker

BY_HAND = {
    apps.HTTP: "call its own URL",
    apps.ORCHESTRATION: "start it with POST /runtime/webhooks/durabletask/orchestrators/{name}",
}


class Admin:
    """`/admin/host/status` and `/admin/functions/{name}`."""

    def __init__(self, app: App, worker: Worker, timers: Timers, doors: Doorkeeper) -> None:
        self._app = app
        self._worker = worker
        self._timers = timers
        self._doors = doors
        self._begun = time.monotonic()
        self._running: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/admin/host/status", self.status),
            web.post("/admin/functions/{name}", self.run),
        ]

    async def status(self, request: web.Request) -> web.Response:
        self._doors.demand(request, Level.ADMIN)
        uptime = round((time.monotonic() - self._begun) * 1000)
        names = sorted(self._app.functions)
        return web.json_response(
            {"id": "local", "state": "Running", "processUptime": uptime, "functions": names}
        )

    async def run(self, request: web.Request) -> web.Response:
        """`{"input": text}`: the event or the activity's input as JSON text; a timer needs none."""
        self._doors.demand(request, Level.ADMIN)
        function = self._app.functions.get(request.match_info["name"])
        if function is None:
            return web.Response(status=404)
        if function.kind in BY_HAND:
            advice = BY_HAND[function.kind].format(name=function.durable_name)
            return web.Response(status=400, text=f"{function.name} is not run by hand: {advice}")
        value = _input(await _body(request))
        task = asyncio.create_task(self._invoke(function, value))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return web.Response(status=202)

    async def _invoke(self, function: AppFunction, value: Datum) -> None:
        if function.kind == apps.TIMER:
            await self._timers.run(function.name)
            return
        try:
            await self._worker.invoke(function, value)
        except Exception as error:  # noqa: BLE001 - the caller has its 202 already; the log has the failure
            event("function failed", logging.ERROR, function=function.name, error=error)

    async def stop(self, grace: float) -> None:
        """Lets what was started by hand end, for `grace` seconds."""
        if self._running:
            await asyncio.wait(self._running, timeout=grace)


async def _body(request: web.Request) -> object:
    try:
        return await request.json()
    except ValueError as error:
        raise web.HTTPBadRequest(
            text=f'the body must be JSON: {{"input": ...}}: {error}'
        ) from error


def _input(body: object) -> Datum:
    given = body.get("input", "") if isinstance(body, dict) else None
    if not isinstance(given, str):
        raise web.HTTPBadRequest(text='the body must be {"input": text}')
    return Datum(given or "null", "json")
