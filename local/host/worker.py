"""Calls the app's functions for triggers, which are on the loop, and for the engine's threads."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from azure.functions.meta import Datum

from local.host.logs import event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.host.app import App, AppFunction


class FunctionTimeoutError(Exception):
    """The function ran longer than host.json's functionTimeout."""


class Worker:
    """Everything is called on the host's one loop, because the durable client keeps its HTTP
    session in a module-global variable; the runtime has threads for sync functions."""

    def __init__(
        self,
        app: App,
        loop: asyncio.AbstractEventLoop,
        client_binding: Callable[[], str],
        timeout: float | None,
    ) -> None:
        self.app = app
        self._loop = loop
        self._client_binding = client_binding
        self._timeout = timeout
        app.runtime.start()

    def stop(self) -> None:
        self.app.runtime.stop()

    async def invoke(self, function: AppFunction, value: Datum) -> Datum | None:
        """Calls a function for triggers on the loop.

        Raises `FunctionFailed` or `FunctionTimeoutError`.
        """
        call = self.app.runtime.call(function.id, self._inputs(function, value))
        running = asyncio.ensure_future(call)
        done, _ = await asyncio.wait({running}, timeout=self._timeout)
        if not done:
            running.cancel()
            raise FunctionTimeoutError(
                f"{function.name} ran longer than functionTimeout ({self._timeout} s)"
            )
        return running.result()

    def invoke_blocking(self, function: AppFunction, value: Datum) -> Datum | None:
        """Calls a function for the durable runner's threads."""
        call = self.app.runtime.call(function.id, self._inputs(function, value))
        with self._overrun(function):
            return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    @contextmanager
    def _overrun(self, function: AppFunction) -> Iterator[None]:
        """Reports a function that runs too long: its thread cannot be ended from outside."""
        begun = time.monotonic()
        yield
        seconds = time.monotonic() - begun
        if self._timeout is not None and seconds > self._timeout:
            event(
                "overrun",
                logging.ERROR,
                function=function.name,
                seconds=round(seconds, 1),
                limit=self._timeout,
            )

    def _inputs(self, function: AppFunction, value: Datum) -> dict[str, Datum]:
        client = {name: Datum(self._client_binding(), "string") for name in function.clients}
        return {function.parameter: value, **client}

    # The engine's view: local.engine's `Functions`.

    def known(self, kind: Literal["orchestrator", "activity"], name: str) -> bool:
        return self.app.durable(kind, name) is not None

    def orchestrator(self, name: str, context: str) -> str:
        return self._durable("orchestrator", name, context)

    def activity(self, name: str, input: str, instance_id: str) -> str:  # noqa: A002, ARG002 - the protocol's names
        return self._durable("activity", name, input)

    def _durable(self, kind: Literal["orchestrator", "activity"], name: str, value: str) -> str:
        function = self.app.durable(kind, name)
        if function is None:
            raise LookupError(f"the app has no {kind} named {name!r}")
        result = self.invoke_blocking(function, Datum(value, "json"))
        return "null" if result is None else str(result.value)
