"""An ASGI application, for uvicorn; `app` serves on after SIGTERM, `plain` does not."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg_pool import PoolTimeout

from bench.frameworks.python import orders
from bench.frameworks.python.lame_duck_asgi import LameDuck

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = tuple[int, Any]

logger = logging.getLogger("uvicorn.error")
_pool = orders.pool()


async def plain(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    route = ROUTES.get((scope["method"], scope["path"]), _unknown)
    try:
        body = await _body(receive)
        # The pool of psycopg that blocks, in threads, as most applications have it.
        status, document = await asyncio.to_thread(route, body)
    except (psycopg.OperationalError, PoolTimeout) as error:
        logger.warning("no database: %s", error)
        status, document = 503, {"error": "the database is not available"}
    answer = orders.as_json(document)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def _lifespan(receive: Any, send: Any) -> None:
    await receive()
    await asyncio.to_thread(_pool.open)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.to_thread(_pool.close)
    await send({"type": "lifespan.shutdown.complete"})


async def _body(receive: Any) -> bytes:
    found = bytearray()
    while True:
        message = await receive()
        found += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(found)


def _newest(body: bytes) -> Answer:  # noqa: ARG001 - as the others
    return 200, orders.rows(_pool, orders.NEWEST)


def _add(body: bytes) -> Answer:
    return 201, orders.rows(_pool, orders.ADD, json.loads(body))[0]


def _ready(body: bytes) -> Answer:  # noqa: ARG001 - as the others
    if LameDuck.stopping:
        return 503, {"ready": False, "reason": "stopping"}
    return 200, {"ready": bool(orders.rows(_pool, "SELECT 1 AS one"))}


def _unknown(body: bytes) -> Answer:  # noqa: ARG001 - as the others
    return 404, {"error": "there is no such route"}


ROUTES: dict[tuple[str, str], Callable[[bytes], Answer]] = {
    ("GET", "/"): _newest,
    ("GET", "/orders"): _newest,
    ("POST", "/orders"): _add,
    ("GET", "/whoami"): lambda _: (200, orders.whoami(_pool)),
    ("GET", "/healthz"): lambda _: (200, {"alive": True}),
    ("GET", "/readyz"): _ready,
}
app = LameDuck(plain, seconds=float(os.environ.get("LAME_DUCK_SECONDS", "3")))
