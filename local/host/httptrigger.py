"""HTTP triggers: find the function, check the key, convert request and response."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from azure.functions.meta import Datum

from local.host import app as apps
from local.host.access import (
    PRINCIPAL,
    SIGN_IN_HEADER,
    Doorkeeper,
    SignInError,
    is_forged_by_another_site,
    principal_headers,
)
from local.host.logs import event
from local.host.routing import Route

if TYPE_CHECKING:
    from collections.abc import Iterable
    from http.cookies import SimpleCookie

    from multidict import MultiMapping

    from local.host.app import App, AppFunction
    from local.host.worker import Worker

FRAMING = {"content-length", "transfer-encoding", "connection"}  # the server's own business


@dataclass(frozen=True)
class Endpoint:
    """An HTTP function and where it is served; no methods means all of them."""

    function: AppFunction
    route: Route
    methods: frozenset[str]

    @classmethod
    def of(cls, function: AppFunction) -> Endpoint:
        """Raises `routing.RouteError`."""
        methods = frozenset(str(method).upper() for method in function.trigger.get("methods", ()))
        return cls(function, Route(str(function.trigger["route"])), methods)

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """The route parameters. A route that exists with other methods only does not match."""
        return None if self.methods and method not in self.methods else self.route.match(path)


class HttpTriggers:
    """The handler of every path that is not the host's own."""

    def __init__(
        self, app: App, worker: Worker, doors: Doorkeeper, *, prefix: str, easy_auth: bool
    ) -> None:
        endpoints = [Endpoint.of(function) for function in app.of_kind(apps.HTTP)]
        self._endpoints = sorted(endpoints, key=lambda endpoint: endpoint.route.order)
        self._worker = worker
        self._doors = doors
        self._prefix = f"/{prefix}/" if prefix else "/"
        self._easy_auth = easy_auth

    async def handle(self, request: web.Request) -> web.Response:
        found = self._find(request)
        if found is None:
            return web.Response(status=404)
        endpoint, parameters = found
        if self._easy_auth and is_forged_by_another_site(request):
            return web.Response(status=403)
        if not self._doors.opens_function(
            request, str(endpoint.function.trigger.get("authLevel", "FUNCTION"))
        ):
            return web.Response(status=401)
        try:
            headers = self._headers(request)
        except SignInError as error:
            return web.Response(status=400, text=str(error))
        datum = await _request_datum(request, headers, parameters)
        return await self._call(endpoint.function, datum)

    def _find(self, request: web.Request) -> tuple[Endpoint, dict[str, str]] | None:
        """The endpoint of a request and its route parameters; None also for another method: the
        platform knows no 405."""
        path = request.rel_url.raw_path
        if not path.lower().startswith(self._prefix.lower()):
            return None
        for endpoint in self._endpoints:
            parameters = endpoint.match(request.method, path[len(self._prefix) :])
            if parameters is not None:
                return endpoint, parameters
        return None

    def _headers(self, request: web.Request) -> dict[str, str]:
        """The headers for the worker, in lower case.

        Forged principals are taken out only while Easy Auth is on.
        """
        headers = joined(request.headers)
        if not self._easy_auth:
            return headers
        kept = {
            n: v for n, v in headers.items() if not n.startswith(PRINCIPAL) and n != SIGN_IN_HEADER
        }
        return kept | principal_headers(request)

    async def _call(self, function: AppFunction, datum: Datum) -> web.Response:
        try:
            answer = await self._worker.invoke(function, datum)
            return _response(answer)
        except Exception as error:  # noqa: BLE001 - whatever the app raises is a 500 to its caller
            event("function failed", logging.ERROR, function=function.name, error=error)
            return web.Response(status=500)


def joined(pairs: MultiMapping[str], *, drop_empty: bool = False) -> dict[str, str]:
    """Repeated names become one value with commas, as the platform hands them to the worker."""
    result: dict[str, str] = {}
    for name, value in pairs.items():
        key = name if drop_empty else name.lower()
        if value or not drop_empty:
            result[key] = f"{result[key]},{value}" if key in result else value
    return result


async def _request_datum(
    request: web.Request, headers: dict[str, str], parameters: dict[str, str]
) -> Datum:
    """The request as the worker gets it, without query parameters that have an empty value."""
    return Datum(
        {
            "method": Datum(request.method, "string"),
            "url": Datum(str(request.url), "string"),
            "headers": _strings(headers),
            "query": _strings(joined(request.query, drop_empty=True)),
            "params": _strings(parameters),
            "body": Datum(await request.read(), "bytes"),
        },
        "http",
    )


def _strings(values: dict[str, str]) -> dict[str, Datum]:
    return {name: Datum(value, "string") for name, value in values.items()}


def _response(datum: Datum | None) -> web.Response:
    if datum is None or datum.type != "http":
        return web.Response(text="" if datum is None else str(datum.value))
    value = datum.value
    headers = {
        name: str(header.value)
        for name, header in value["headers"].items()
        if name.lower() not in FRAMING
    }
    response = web.Response(
        status=int(value["status_code"].value), headers=headers, body=value["body"].value
    )
    for line in _cookie_lines(value["cookies"] or ()):
        response.headers.add("Set-Cookie", line)
    return response


def _cookie_lines(cookies: Iterable[SimpleCookie]) -> list[str]:
    return [morsel.OutputString() for cookie in cookies for morsel in cookie.values()]
