"""A WSGI application, for gunicorn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg_pool import PoolTimeout

from bench.frameworks.python import orders
from bench.frameworks.python.lame_duck_gunicorn import stopping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Environ = dict[str, Any]
    Answer = tuple[str, Any]

_pool = orders.pool()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    _pool.open()  # which does nothing the second time
    route = ROUTES.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]), _unknown)
    try:
        status, document = route(environ)
    except (psycopg.OperationalError, PoolTimeout) as error:
        environ["wsgi.errors"].write(f"no database: {error}\n")
        status, document = "503 Service Unavailable", {"error": "the database is not available"}
    body = orders.as_json(document)
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]


def _newest(environ: Environ) -> Answer:  # noqa: ARG001 - as the others
    return "200 OK", orders.rows(_pool, orders.NEWEST)


def _add(environ: Environ) -> Answer:
    given = json.loads(environ["wsgi.input"].read())
    return "201 Created", orders.rows(_pool, orders.ADD, given)[0]


def _ready(environ: Environ) -> Answer:  # noqa: ARG001 - as the others
    if stopping.is_set():
        return "503 Service Unavailable", {"ready": False, "reason": "stopping"}
    return "200 OK", {"ready": bool(orders.rows(_pool, "SELECT 1 AS one"))}


def _unknown(environ: Environ) -> Answer:
    return "404 Not Found", {"error": f"there is no route {environ['PATH_INFO']}"}


ROUTES: dict[tuple[str, str], Callable[[Environ], Answer]] = {
    ("GET", "/"): _newest,
    ("GET", "/orders"): _newest,
    ("POST", "/orders"): _add,
    ("GET", "/whoami"): lambda _: ("200 OK", orders.whoami(_pool)),
    ("GET", "/healthz"): lambda _: ("200 OK", {"alive": True}),
    ("GET", "/readyz"): _ready,
}
