"""An ASGI application, for uvicorn; `app` serves on after SIGTERM, `plain` does not."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from typing import Any

import psycopg
from psycopg_pool import PoolTimeout

from bench.frameworks.python import orders
from bench.frameworks.python.lame_duck_asgi import LameDuck

logger = logging.getLogger("uvicorn.error")
_pool = orders.pool()


async def plain(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    try:
        status, document = await _answer(scope["method"], scope["path"], receive)
    except (psycopg.OperationalError, PoolTimeout) as error:
        logger.warning("no database: %s", error)
        status, document = 503, {"error": "the database is not available"}
    body = orders.as_json(document)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Any, send: Any) -> None:
    await receive()
    await asyncio.to_thread(_pool.open)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.to_thread(_pool.close)
    await send({"type": "lifespan.shutdown.complete"})


async def _answer(method: str, path: str, receive: Any) -> tuple[int, Any]:
    match method, path:
        case "GET", "/" | "/orders":
            return 200, await asyncio.to_thread(orders.rows, _pool, orders.NEWEST)
        case "POST", "/orders":
            given = json.loads(await _body(receive))
            return 201, (await asyncio.to_thread(orders.rows, _pool, orders.ADD, given))[0]
        case "GET", "/whoami":
            return 200, await asyncio.to_thread(orders.whoami, _pool)
        case "GET", "/healthz":
            return 200, {"alive": True}
        case "GET", "/readyz":
            if LameDuck.stopping:
                return 503, {"ready": False, "reason": "stopping"}
            one = await asyncio.to_thread(orders.rows, _pool, "SELECT 1 AS one")
            return 200, {"ready": bool(one)}
        case _:
            return 404, {"error": "there is no such route"}


async def _body(receive: Any) -> bytes:
    found = b""
    while True:
        message = await receive()
        found += message.get("body", b"")
        if not message.get("more_body"):
            return found


app = LameDuck(plain, seconds=float(os.environ.get("LAME_DUCK_SECONDS", "3")))
