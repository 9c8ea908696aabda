"""Calls the app's functions as the platform's worker does, with the SDK's own converters."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import azure.functions as func
from azure.functions.meta import Datum, get_binding_registry

from local.host import app as apps
from local.host.logs import event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.host.app import App, AppFunction

SYNC_THREADS = min(32, (os.cpu_count() or 1) + 4)  # the worker's own default for its thread pool
REGISTRY = get_binding_registry()  # type: ignore[no-untyped-call]  # the SDK leaves it untyped
RESPONSES = {
    apps.HTTP: "http",
    apps.ORCHESTRATION: apps.ORCHESTRATION,
    apps.ACTIVITY: apps.ACTIVITY,
}


class FunctionTimeoutError(Exception):
    """The function ran longer than host.json's functionTimeout."""


class Invocation(func.Context):
    """What a function that asks for `context` gets."""

    def __init__(self, function: AppFunction) -> None:
        self._function = function
        self._id = str(uuid.uuid4())
        self._local = threading.local()
        self._local.invocation_id = self._id

    @property
    def invocation_id(self) -> str:
        return self._id

    @property
    def thread_local_storage(self) -> Any:
        return self._local

    @property
    def function_name(self) -> str:
        return self._function.name

    @property
    def function_directory(self) -> str:
        return str(os.getcwd())  # noqa: PTH109 - the SDK wants a string

    @property
    def trace_context(self) -> Any:
        return None

    @property
    def retry_context(self) -> Any:
        return None


class Worker:
    """Sync functions run in threads, async ones on the host's one loop.

    One loop, because the durable client keeps its HTTP session in a module-global variable.
    """

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
        self._pool = ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="function")

    def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def invoke(self, function: AppFunction, value: Datum) -> Datum | None:
        """Calls a function for triggers on the loop.

        Raises what the function raises, or `FunctionTimeoutError`.
        """
        arguments = self._arguments(function, value)
        if function.is_async:
            running = asyncio.ensure_future(function.call(**arguments))
        else:
            running = self._loop.run_in_executor(self._pool, lambda: function.call(**arguments))
        done, _ = await asyncio.wait({running}, timeout=self._timeout)
        if not done:
            running.cancel()
            raise FunctionTimeoutError(
                f"{function.name} ran longer than functionTimeout ({self._timeout} s)"
            )
        return encode(function, running.result())

    def invoke_blocking(self, function: AppFunction, value: Datum) -> Datum | None:
        """Calls a function for the durable runner's threads."""
        arguments = self._arguments(function, value)
        with self._overrun(function):
            if function.is_async:
                result = asyncio.run_coroutine_threadsafe(
                    function.call(**arguments), self._loop
                ).result()
            else:
                result = function.call(**arguments)
        return encode(function, result)

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

    def _arguments(self, function: AppFunction, value: Datum) -> dict[str, Any]:
        arguments = {function.parameter: decode(function.kind, value)}
        for name in function.clients:
            arguments[name] = decode(apps.CLIENT, Datum(self._client_binding(), "string"))
        if function.wants_context:
            arguments["context"] = Invocation(function)
        return arguments

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


def decode(binding: str, value: Datum) -> Any:
    return REGISTRY.get(binding).decode(value, trigger_metadata={})


def encode(function: AppFunction, result: Any) -> Datum | None:
    """None for triggers without a response. Raises `TypeError` for what cannot be sent."""
    binding = RESPONSES.get(function.kind)
    if binding is None:
        if result is not None:
            raise TypeError(
                f"{function.name} has no response binding but returned {type(result).__name__}"
            )
        return None
    try:
        datum: Datum = REGISTRY.get(binding).encode(result, expected_type=None)
    except NotImplementedError as error:
        raise TypeError(
            f"{function.name} returned {type(result).__name__}, not an HttpResponse or str"
        ) from error
    return datum
