"""The worker from Python 3.13 on: Microsoft's own library, which runs such apps on Azure.

It indexes the app, converts what goes in and out, and calls the functions; this module says to it
what the Functions host would say over gRPC.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from datetime import UTC, datetime
from email.utils import format_datetime
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

import azure_functions_runtime as worker
from azure.functions.meta import Datum

from local.engine.errors import FunctionFailed
from local.host import protos
from local.host.app import Indexed, LoadError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SCRIPT = "PYTHON_SCRIPT_FILE_NAME"
SAME_SITE = {protos.SameSite.Lax: "Lax", protos.SameSite.Strict: "Strict"}
SAME_SITE[protos.SameSite.ExplicitNone] = "None"


class Library:
    """`local.host.app.Runtime`. The library keeps its state in its modules: one app a process."""

    def index(self, path: Path) -> list[Indexed]:
        initialised = asyncio.run(_initialise(path.resolve().parent, path.name))
        if initialised.exception is not None:
            raise LoadError(f"{path}: {initialised.exception.message}")
        answer = asyncio.run(worker.functions_metadata_request(None))
        found = answer.function_metadata_results or []
        if not found:
            raise LoadError(f"{path} has a function app without functions")
        return [
            Indexed(
                one.name,
                one.function_id,
                [json.loads(binding) for binding in one.raw_bindings],
                one.retry_options is not None,
            )
            for one in found
        ]

    def start(self) -> None:
        worker.start_threadpool_executor()

    async def call(self, function: str, inputs: Mapping[str, Datum]) -> Datum | None:
        given = [protos.ParameterBinding(name, _typed(value)) for name, value in inputs.items()]
        request = protos.invocation(str(uuid.uuid4()), function, given)
        answer = await worker.invocation_request(request)
        failure = answer.result.exception
        if failure is not None:
            raise FunctionFailed(failure.message, failure.stack_trace)
        return _datum(answer.return_value)

    def stop(self) -> None:
        """The library's own end waits for what still runs."""
        pool = worker.get_threadpool_executor()
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


async def _initialise(folder: Path, script: str) -> protos.StatusResult:
    """The name of the app's file is an app setting; this host is told it otherwise."""
    before = os.environ.get(SCRIPT)
    os.environ[SCRIPT] = script
    try:
        answer = await worker.worker_init_request(
            protos.request(
                "worker_init_request",
                {"host": "127.0.0.1", "protos": sys.modules[protos.__name__]},
                capabilities={},
                function_app_directory=str(folder),
            )
        )
    finally:
        del os.environ[SCRIPT]
        if before is not None:
            os.environ[SCRIPT] = before
    result: protos.StatusResult = answer.result
    return result


def _typed(datum: Datum) -> protos.TypedData:
    if datum.type != "http":
        return protos.TypedData(**{str(datum.type): datum.value})
    value = datum.value
    request = protos.RpcHttp(
        method=value["method"].value,
        url=value["url"].value,
        headers=_texts(value["headers"]),
        params=_texts(value["params"]),
        query=_texts(value["query"]),
        body=_typed(value["body"]),
    )
    return protos.TypedData(http=request)


def _texts(values: Mapping[str, Datum]) -> dict[str, str]:
    return {name: str(datum.value) for name, datum in values.items()}


def _datum(typed: protos.TypedData | None) -> Datum | None:
    if typed is None:
        return None
    kind = typed.WhichOneof("data")
    if kind != "http":
        return Datum(typed.value, kind)
    answer: protos.RpcHttp = typed.value
    value: dict[str, Any] = {
        "status_code": Datum(answer.status_code, "string"),
        "headers": {name: Datum(text, "string") for name, text in answer.headers.items()},
        "body": _datum(answer.body),
        "cookies": [_cookie(cookie) for cookie in answer.cookies or ()],
    }
    return Datum(value, "http")


def _cookie(given: protos.RpcHttpCookie) -> SimpleCookie:
    cookie: SimpleCookie = SimpleCookie()
    cookie[given.name] = given.value
    for name, text in _attributes(given):
        cookie[given.name][name] = text
    return cookie


def _attributes(given: protos.RpcHttpCookie) -> Iterator[tuple[str, Any]]:
    for name in ("domain", "path", "secure"):
        found = getattr(given, name)
        if found is not None and found.value:
            yield name, found.value
    if given.http_only is not None and given.http_only.value:
        yield "httponly", True
    if given.expires is not None:
        expires = datetime.fromtimestamp(given.expires.value.seconds, UTC)
        yield "expires", format_datetime(expires, usegmt=True)
    if given.max_age is not None:
        yield "max-age", int(given.max_age.value)
    if given.same_site in SAME_SITE:
        yield "samesite", SAME_SITE[protos.SameSite(given.same_site)]
