"""A WSGI application, for gunicorn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg_pool import PoolTimeout

from bench.frameworks.python import orders
from bench.frameworks.python.lame_duck_gunicorn import stopping

if TYPE_CHECKING:
    from collections.abc import Iterable

_pool = orders.pool()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    try:
        status, document = _answer(environ)
    except (psycopg.OperationalError, PoolTimeout) as error:
        environ["wsgi.errors"].write(f"no database: {error}\n")
        status, document = "503 Service Unavailable", {"error": "the database is not available"}
    body = orders.as_json(document)
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]


def _answer(environ: dict[str, Any]) -> tuple[str, Any]:
    _pool.open()  # which does nothing the second time
    match environ["REQUEST_METHOD"], environ["PATH_INFO"]:
        case "GET", "/" | "/orders":
            return "200 OK", orders.rows(_pool, orders.NEWEST)
        case "POST", "/orders":
            given = json.loads(environ["wsgi.input"].read())
            return "201 Created", orders.rows(_pool, orders.ADD, given)[0]
        case "GET", "/whoami":
            return "200 OK", orders.whoami(_pool)
        case "GET", "/healthz":
            return "200 OK", {"alive": True}
        case "GET", "/readyz":
            if stopping.is_set():
                return "503 Service Unavailable", {"ready": False, "reason": "stopping"}
            return "200 OK", {"ready": bool(orders.rows(_pool, "SELECT 1 AS one"))}
        case _:
            return "404 Not Found", {"error": "there is no such route"}
