"""Puts the parts together, from start to stop: two servers on 127.0.0.1, the engine, the timers."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from azure.durable_functions.models.utils import http_utils

from local.engine.engine import Engine
from local.engine.runner import Runner
from local.engine.sqlite import SqliteJournal
from local.host.access import Doorkeeper, Level
from local.host.admin import Admin
from local.host.durable import RPC, WEBHOOK, Addresses, DurableApi
from local.host.eventgrid import EventGridWebhook
from local.host.httptrigger import HttpTriggers
from local.host.logs import event
from local.host.settings import SettingsError
from local.host.timers import Timers
from local.host.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from local.host.app import App
    from local.host.settings import HostFile, Switches

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BODY_LIMIT = 100 * 1024 * 1024  # bytes, as on the platform
GRACE = 3.0  # seconds that running calls have to end in


class EngineStoppedError(Exception):
    """The engine ended on its own; its reason is the cause."""


def bound_socket(port: int) -> socket.socket:
    """Does not listen yet: the port is known before anybody can call it. 0 takes any free one."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        raise SettingsError(f"port {port} of 127.0.0.1 cannot be used: {error}") from error
    return sock


def url_of(sock: socket.socket) -> str:
    return f"http://127.0.0.1:{sock.getsockname()[1]}"


@web.middleware
async def recorded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """One log line a request, without the query: it may hold a key."""
    begun = time.monotonic()
    answer = await _answer(request, handler)
    milliseconds = round((time.monotonic() - begun) * 1000, 1)
    path, status = request.path, answer.status
    event("request", method=request.method, path=path, status=status, ms=milliseconds)
    return answer


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The platform knows no 405, and its 404 has no body."""
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
        return web.Response(status=404)
    except web.HTTPException as answer:
        return web.Response(
            status=answer.status, text=answer.text, content_type=answer.content_type
        )
    except Exception as error:  # noqa: BLE001 - the host's own fault: its caller learns that, no more
        event("request failed", logging.ERROR, path=request.path, error=error)
        return web.Response(status=500)


@dataclass(frozen=True)
class Plan:
    """What is to run. `public` and `rpc` are bound sockets that do not listen yet."""

    app: App
    switches: Switches
    host_file: HostFile
    journal: Path
    timers: bool
    public: socket.socket
    rpc: socket.socket

    @property
    def addresses(self) -> Addresses:
        keys, hub = self.switches.keys, self.host_file.task_hub
        return Addresses(url_of(self.public), url_of(self.rpc), keys.system, hub)


async def serve(plan: Plan, listening: Callable[[], None]) -> None:
    """Serves until SIGTERM or SIGINT.

    Stops in the reverse order: the local RPC address outlives the calls and activities that use it.
    """
    loop, stop = asyncio.get_running_loop(), _stop_signal()
    worker = Worker(plan.app, loop, plan.addresses.binding, plan.host_file.timeout)
    async with AsyncExitStack() as stack:
        stack.callback(worker.stop)
        engine = _engine(plan, worker, stack)
        runner = Runner(engine, on_failure=_setter(loop, stop))
        durable = DurableApi(engine, plan.addresses)
        timers = Timers(plan.app, worker)
        admin = Admin(plan.app, worker, timers, Doorkeeper(plan.switches.keys))
        await _listen(stack, _local_rpc(durable), plan.rpc)
        stack.push_async_callback(_close_client_session)
        runner.start()
        stack.push_async_callback(_stop_runner, runner)
        stack.push_async_callback(admin.stop, GRACE)
        await _listen(stack, _public(plan, durable, worker, admin), plan.public)
        if plan.timers:
            timers.start()
        stack.push_async_callback(timers.stop)
        listening()
        await stop.wait()
        event("stopping")
    if runner.failure is not None:
        raise EngineStoppedError("the durable engine stopped") from runner.failure


def _setter(
    loop: asyncio.AbstractEventLoop, stop: asyncio.Event
) -> Callable[[BaseException], None]:
    """A callback that ends the host for an engine's error, for the engine's threads."""

    def failed(_: BaseException) -> None:
        loop.call_soon_threadsafe(stop.set)

    return failed


async def _stop_runner(runner: Runner) -> None:
    if not await asyncio.to_thread(runner.stop, GRACE):
        event("activities cut off", logging.WARNING, advice="they run again after the next start")


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _engine(plan: Plan, worker: Worker, stack: AsyncExitStack) -> Engine:
    journal = SqliteJournal(plan.journal)
    stack.callback(journal.close)
    return Engine(worker, journal)


def _public(plan: Plan, durable: DurableApi, worker: Worker, admin: Admin) -> web.Application:
    """The app's own routes come last: they are everything that the others are not."""
    doors = Doorkeeper(plan.switches.keys)
    events = EventGridWebhook(plan.app, worker, doors)
    functions = HttpTriggers(
        plan.app,
        worker,
        doors,
        prefix=plan.host_file.route_prefix,
        easy_auth=plan.switches.easy_auth,
    )
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[recorded])
    app.add_routes(durable.routes(WEBHOOK, _with_system_key(doors)))
    app.add_routes(admin.routes())
    app.add_routes([web.route("*", "/runtime/webhooks/eventgrid", events.handle)])
    # A dot matches no line break, and a path may have one.
    app.add_routes([web.route("*", "/{path:(?s:.*)}", functions.handle)])
    return app


def _local_rpc(durable: DurableApi) -> web.Application:
    """For the SDK's client in this process: no key, no log line."""
    app = web.Application(client_max_size=BODY_LIMIT)
    app.add_routes(durable.routes(RPC, lambda handler: handler))
    return app


def _with_system_key(doors: Doorkeeper) -> Callable[[Handler], Handler]:
    def guard(handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            doors.demand(request, Level.SYSTEM)
            return await handler(request)

        return guarded

    return guard


async def _listen(stack: AsyncExitStack, app: web.Application, sock: socket.socket) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, sock).start()


async def _close_client_session() -> None:
    """The SDK's client keeps one session for the process and has no hook for its end."""
    await http_utils._close_session()  # noqa: SLF001 - see above
