"""Failures ordered in advance over HTTP, so that a test can make any server of the stack misbehave.

With LOCAL_ADMIN_KEY in its environment a server takes, with that value in the `x-local-admin-key`
header:

    POST   /local/faults  {"match": {"method": "GET", "path_prefix": "/secrets/orders"},
                           "times": 2, "status": 429, "retry_after": 1}
    GET    /local/faults  what is still ordered, each with `hits`
    DELETE /local/faults  cancels all

A fault does one of: `status` (answer that instead, with `retry_after` seconds if given, and the
service's own answer for a `cause` that it knows: a firewall, say, in whatever words it has for it);
`"drop": "before"` (close the connection, nothing done) or `"drop": "after"` (do the work, then lose
the answer); `delay` seconds before the work, alone or with the others. An empty match matches all.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from aiohttp.typedefs import Handler, Middleware

    ErrorBody = Callable[[int, str | None], dict[str, Any] | str | web.Response]

KEY_VARIABLE = "LOCAL_ADMIN_KEY"
KEY_HEADER = "x-local-admin-key"
PATH = "/local/faults"


class FaultError(ValueError):
    """An order that cannot be followed; the message names the field."""


@dataclass
class Fault:
    """One order, as the module's docstring has it."""

    method: str | None = None
    path_prefix: str = "/"
    times: int = 1
    status: int | None = None
    retry_after: int | None = None
    cause: str | None = None
    drop: str | None = None
    delay: float = 0.0
    hits: int = field(default=0)

    @classmethod
    def parse(cls, order: object) -> Fault:
        if not isinstance(order, dict):
            raise FaultError(f"a fault is a JSON object, not {type(order).__name__}")
        match = order.get("match", {})
        fields = {**match, **{key: value for key, value in order.items() if key != "match"}}
        unknown = fields.keys() - (cls.__dataclass_fields__.keys() - {"hits"})
        if unknown:
            raise FaultError(f"unknown fields: {', '.join(sorted(unknown))}")
        fault = cls(**fields)
        fault.check()
        return fault

    def check(self) -> None:
        if self.times < 1:
            raise FaultError(f"times is {self.times}; it must be at least 1")
        lowest = 400 if self.cause is None else 200
        if self.status is not None and not lowest <= self.status <= 599:
            raise FaultError(f"status is {self.status}; it must be from {lowest} to 599")
        if self.drop not in (None, "before", "after"):
            raise FaultError(f'drop is {self.drop!r}; it must be "before" or "after"')
        if self.cause is not None and self.status is None:
            raise FaultError(f"cause is {self.cause!r}; it goes with a status")
        if self.status is None and self.drop is None and not self.delay:
            raise FaultError("a fault needs one of status, drop, delay")

    def matches(self, request: web.Request) -> bool:
        return (
            self.hits < self.times
            and self.method in (None, request.method)
            and request.path.startswith(self.path_prefix)
        )


def check_cause(cause: str | None, known: Iterable[str] = ()) -> None:
    """Raises `FaultError` for a cause that is none of those that are known."""
    if cause is not None and cause not in known:
        raise FaultError(f"cause is {cause!r}; known here: {', '.join(known) or 'none'}")


class Faults:
    """The orders of one server: install with `faults.install(app)`, the middleware innermost.

    `error_body` gives the JSON of an answer in the words of the service that is stood in for, a
    whole answer of one that speaks no JSON, or the HTML of one that is no such service's, for a
    status and a cause. It raises `FaultError` for
    a cause that it does not know.
    """

    def __init__(self, error_body: ErrorBody) -> None:
        self._error_body = error_body
        self._orders: list[Fault] = []

    def install(self, app: web.Application) -> None:
        """Adds the middleware after those the app has, and the admin routes."""
        app.middlewares.append(self.middleware())
        app.add_routes(self.routes())

    def routes(self) -> list[web.RouteDef]:
        """By which faults are ordered, for a server that is not the one that has them."""
        return [
            web.post(PATH, admin(self._order)),
            web.get(PATH, admin(self._list)),
            web.delete(PATH, admin(self._clear)),
        ]

    def middleware(self) -> Middleware:
        @web.middleware
        async def apply(request: web.Request, handler: Handler) -> web.StreamResponse:
            fault = None if is_admin(request) else self._take(request)
            return await (
                handler(request) if fault is None else self._fail(fault, request, handler)
            )

        return apply

    def _take(self, request: web.Request) -> Fault | None:
        fault = next((each for each in self._orders if each.matches(request)), None)
        if fault is not None:
            fault.hits += 1
        return fault

    async def _fail(
        self, fault: Fault, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.drop == "before":
            return _dropped(request)
        if fault.status is not None:
            return self._answer(fault, fault.status)
        response = await handler(request)
        return _dropped(request) if fault.drop == "after" else response

    def _answer(self, fault: Fault, status: int) -> web.Response:
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        body = self._error_body(status, fault.cause)
        if isinstance(body, web.Response):
            body.headers.update(headers)
            return body
        if isinstance(body, str):
            return web.Response(text=body, status=status, headers=headers, content_type="text/html")
        return web.json_response(body, status=status, headers=headers)

    async def _order(self, request: web.Request) -> web.Response:
        try:
            fault = Fault.parse(await request.json())
            if fault.status is not None:
                self._error_body(fault.status, fault.cause)
        except (TypeError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)
        self._orders.append(fault)
        return web.json_response(asdict(fault), status=201)

    async def _list(self, request: web.Request) -> web.Response:  # noqa: ARG002 - a handler
        return web.json_response([asdict(fault) for fault in self._orders])

    async def _clear(self, request: web.Request) -> web.Response:  # noqa: ARG002 - a handler
        self._orders.clear()
        return web.json_response([])


def is_admin(request: web.Request) -> bool:
    """Whether the path is one of the stand-in's own and not of the service it stands in for."""
    return request.path.startswith("/local/")


def admin(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Lets only holders of the admin key through; without one in the environment, nobody."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        key = os.environ.get(KEY_VARIABLE)
        given = request.headers.get(KEY_HEADER, "")
        if not key:
            raise web.HTTPNotFound(text=f"{KEY_VARIABLE} is not set")
        if not hmac.compare_digest(given.encode(), key.encode()):
            raise web.HTTPForbidden(text=f"{KEY_HEADER} does not hold the admin key")
        return await handler(request)

    return guarded


def _dropped(request: web.Request) -> web.StreamResponse:
    """Aborts the connection; what is returned reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
