"""Puts the parts together, from start to stop: the back end, the app's own routes, the timers."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from aiohttp import web
from azure.durable_functions.models.utils import http_utils

from local.host.access import Doorkeeper
from local.host.admin import Admin
from local.host.backends import chosen
from local.host.httptrigger import HttpTriggers
from local.host.logs import event
from local.host.serving import BODY_LIMIT, GRACE, listen
from local.host.timers import Timers
from local.host.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from local.host.backends import Backend
    from local.host.plan import Plan

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class EngineStoppedError(Exception):
    """The engine ended on its own; its reason is the cause."""


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


async def serve(plan: Plan, listening: Callable[[], None]) -> None:
    """Serves until SIGTERM or SIGINT.

    Stops in the reverse order: the back end outlives the calls that use it, and the worker outlives
    the back end.
    """
    stop = _stop_signal()
    backend = chosen(plan, stop.set)
    worker = Worker(
        plan.app,
        asyncio.get_running_loop(),
        lambda: plan.addresses(backend.rpc).binding(),
        plan.host_file.timeout,
    )
    async with AsyncExitStack() as stack:
        stack.callback(worker.stop)
        timers = Timers(plan.app, worker)
        admin = Admin(plan.app, worker, timers, Doorkeeper(plan.switches.keys))
        await backend.start(stack, worker)
        stack.push_async_callback(_close_client_session)
        stack.push_async_callback(admin.stop, GRACE)
        await listen(stack, _public(plan, backend, worker, admin), plan.public)
        if plan.timers:
            timers.start()
        stack.push_async_callback(timers.stop)
        listening()
        await stop.wait()
        event("stopping")
    if backend.failure is not None:
        raise EngineStoppedError("the durable engine stopped") from backend.failure


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _public(plan: Plan, backend: Backend, worker: Worker, admin: Admin) -> web.Application:
    """The app's own routes come last: they are everything that the others are not."""
    functions = HttpTriggers(
        plan.app,
        worker,
        Doorkeeper(plan.switches.keys),
        prefix=plan.host_file.route_prefix,
        easy_auth=plan.switches.easy_auth,
    )
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[recorded])
    app.add_routes(backend.routes(worker))
    app.add_routes(admin.routes())
    # A dot matches no line break, and a path may have one.
    app.add_routes([web.route("*", "/{path:(?s:.*)}", functions.handle)])
    return app


async def _close_client_session() -> None:
    """The SDK's client keeps one session for the process and has no hook for its end."""
    await http_utils._close_session()  # noqa: SLF001 - see above
