"""What carries orchestrations: the engine of our own, or Microsoft's extension."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from local.durable import extension, parts
from local.durable.extension import EVENTS_PATH, Bridge, Extension, Forwarding, Program
from local.engine.engine import Engine
from local.engine.runner import Runner
from local.engine.sqlite import SqliteJournal
from local.faults import Faults
from local.host.access import Doorkeeper, Level
from local.host.durable import RPC, WEBHOOK, DurableApi, storage_failure
from local.host.eventgrid import EventGridWebhook
from local.host.logs import event
from local.host.serving import BODY_LIMIT, GRACE, listen, url_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AsyncExitStack
    from pathlib import Path

    from local.host.plan import Plan
    from local.host.worker import Worker

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Backend(Protocol):
    """One for each run of the host."""

    @property
    def rpc(self) -> str:
        """Where the SDK's client reaches the durable HTTP API, without a key."""

    @property
    def failure(self) -> BaseException | None:
        """Why it ended on its own."""

    async def start(self, stack: AsyncExitStack, worker: Worker) -> None:
        """What it started ends with `stack`."""

    def routes(self, worker: Worker) -> list[web.RouteDef]:
        """The webhooks of the durable and the Event Grid extension."""


class OwnEngine:
    """`local.engine` on a journal."""

    def __init__(self, plan: Plan, journal: Path, ended: Callable[[], None]) -> None:
        self._plan = plan
        self._journal = journal
        self._ended = ended
        self._runner: Runner | None = None
        self._api: DurableApi | None = None
        self._faults = Faults(storage_failure)

    @property
    def rpc(self) -> str:
        return url_of(self._plan.rpc) + RPC

    @property
    def failure(self) -> BaseException | None:
        return None if self._runner is None else self._runner.failure

    async def start(self, stack: AsyncExitStack, worker: Worker) -> None:
        loop = asyncio.get_running_loop()

        def failed(_: BaseException) -> None:
            loop.call_soon_threadsafe(self._ended)

        journal = SqliteJournal(self._journal)
        stack.callback(journal.close)
        engine = Engine(worker, journal, version=self._plan.host_file.version)
        self._api = DurableApi(engine, self._plan.addresses(self.rpc))
        self._runner = Runner(engine, on_failure=failed)
        # For the SDK's client in this process: no key, no log line. It can be made to fail, as the
        # extension does whose storage is away.
        middlewares = [self._faults.middleware()]
        own = web.Application(client_max_size=BODY_LIMIT, middlewares=middlewares)
        own.add_routes(self._api.routes(RPC, lambda handler: handler))
        await listen(stack, own, self._plan.rpc)
        self._runner.start()
        stack.push_async_callback(self._stop, self._runner)

    async def _stop(self, runner: Runner) -> None:
        if not await asyncio.to_thread(runner.stop, GRACE):
            event(
                "activities cut off", logging.WARNING, advice="they run again after the next start"
            )

    def routes(self, worker: Worker) -> list[web.RouteDef]:
        assert self._api is not None  # noqa: S101 - started before
        doors = Doorkeeper(self._plan.switches.keys)
        events = EventGridWebhook(self._plan.app, worker, doors)
        return [
            *self._api.routes(WEBHOOK, with_system_key(doors)),
            web.route("*", EVENTS_PATH, events.handle),
            *self._faults.routes(),
        ]


class MicrosoftsExtension:
    """The durable and the Event Grid extension, in a process beside this one."""

    def __init__(self, plan: Plan, storage: Path, ended: Callable[[], None]) -> None:
        self._plan = plan
        self._doors = Doorkeeper(plan.switches.keys)
        self._forwarding: Forwarding | None = None
        binary, _ = parts.demand()
        program = Program(
            binary=binary,
            folder=storage.parent,
            connection=storage.read_text(encoding="utf-8").strip(),
            host_file=plan.host_file,
            webhook=f"{url_of(plan.public)}{WEBHOOK}?code={plan.switches.keys.system}",
        )
        self._extension = Extension(program, plan.app, ended)

    @property
    def rpc(self) -> str:
        return self._extension.endpoint + RPC

    @property
    def failure(self) -> BaseException | None:
        return self._extension.failure

    async def start(self, stack: AsyncExitStack, worker: Worker) -> None:
        bridge = web.Application(client_max_size=BODY_LIMIT)
        bridge.add_routes(Bridge(self._plan.app, worker).routes())
        await listen(stack, bridge, self._plan.rpc)
        session = await stack.enter_async_context(extension.session())
        self._forwarding = Forwarding(self._extension, self._doors, session)
        stack.push_async_callback(self._extension.stop)
        await self._extension.start(url_of(self._plan.rpc))

    def routes(self, worker: Worker) -> list[web.RouteDef]:  # noqa: ARG002 - the extension has its own way to it
        assert self._forwarding is not None  # noqa: S101 - started before
        return [
            web.route("*", WEBHOOK + "/{rest:.*}", self._forwarding.durable),
            web.route("*", EVENTS_PATH, self._forwarding.events),
        ]


def chosen(plan: Plan, ended: Callable[[], None]) -> Backend:
    """`ended` may be called once, on the loop."""
    if plan.storage is not None:
        return MicrosoftsExtension(plan, plan.storage, ended)
    assert plan.journal is not None  # noqa: S101 - the command line has one of the two
    return OwnEngine(plan, plan.journal, ended)


def with_system_key(doors: Doorkeeper) -> Callable[[Handler], Handler]:
    def guard(handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            doors.demand(request, Level.SYSTEM)
            return await handler(request)

        return guarded

    return guard
