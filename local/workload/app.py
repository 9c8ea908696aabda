"""The web application: routes, access log, counters."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

import psycopg
from aiohttp import web

from local.workload.database import Answer, Database, Readiness
from local.workload.settings import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from local.workload.settings import Settings

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

access = logging.getLogger("workload.access")
logger = logging.getLogger("workload")

ROLE_HEADER = "X-Database-Role"
COLUMNS = ("id", "customer", "item", "quantity", "created")
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Orders</title>
<meta name="viewport" content="width=device-width">
<style>
:root {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }}
body {{ max-width: 50rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8886 }}
</style></head>
<body><h1>Orders</h1>
<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>
<p>Served from slot <b>{slot}</b> as <b>{role}</b> by {pod}.</p></body></html>
"""


@dataclass
class State:
    """The state that handlers share. `stopping` turns every answer into its connection's last."""

    settings: Settings
    database: Database
    readiness: Readiness
    served: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    stopping: bool = False


STATE = web.AppKey("state", State)
routes = web.RouteTableDef()


def make_app(settings: Settings) -> web.Application:
    database = Database(settings)
    app = web.Application(middlewares=[_serve])
    app[STATE] = State(
        settings, database, Readiness(database, settings.login_seconds, settings.warm_up_seconds)
    )
    app.add_routes(routes)
    app.cleanup_ctx.append(_database)
    return app


async def _database(app: web.Application) -> AsyncIterator[None]:
    state = app[STATE]
    async with state.database.opened():
        seconds = state.settings.reload_seconds
        if not seconds:
            yield
            return
        following = asyncio.create_task(state.database.follow(_login, seconds))
        yield
        following.cancel()


def _login() -> dict[str, Any]:
    """The login as the environment's files have it now. Raises `SettingsError`."""
    return parse(os.environ).connection


@routes.get("/")
async def page(request: web.Request) -> web.Response:
    answer = await request.app[STATE].database.newest()
    if "application/json" in request.headers.get("Accept", ""):
        return _json(answer, answer.rows)
    settings = request.app[STATE].settings
    text = PAGE.format(
        head="".join(f"<th>{column}</th>" for column in COLUMNS),
        rows="".join(_row(row) for row in answer.rows),
        slot=escape(settings.slot or "none"),
        role=escape(answer.role),
        pod=escape(settings.pod or "this pod"),
    )
    return web.Response(
        text=text, content_type="text/html", headers={ROLE_HEADER: answer.role, "Vary": "Accept"}
    )


@routes.get("/orders")
async def orders(request: web.Request) -> web.Response:
    answer = await request.app[STATE].database.newest()
    return _json(answer, answer.rows)


@routes.post("/orders")
async def add_order(request: web.Request) -> web.Response:
    order = _order(await request.text())
    answer = await request.app[STATE].database.add(order)
    return _json(answer, answer.rows[0], status=201)


@routes.get("/whoami")
async def whoami(request: web.Request) -> web.Response:
    settings = request.app[STATE].settings
    answer = await request.app[STATE].database.whoami()
    return _json(answer, {**answer.rows[0], "slot": settings.slot, "pod": settings.pod})


@routes.get("/healthz")
async def alive(request: web.Request) -> web.Response:  # noqa: ARG001 - aiohttp's signature
    return web.json_response({"alive": True})


@routes.get("/readyz")
async def ready(request: web.Request) -> web.Response:
    state = request.app[STATE]
    complaint = "stopping" if state.stopping else await state.readiness.complaint()
    if complaint:
        return web.json_response({"ready": False, "reason": complaint}, status=503)
    return web.json_response({"ready": True})


@routes.get("/metrics")
async def metrics(request: web.Request) -> web.Response:
    """The metrics in Prometheus' text format, version 0.0.4."""
    state = request.app[STATE]
    lines = ["# TYPE workload_requests_total counter"]
    for (method, route, status), count in sorted(state.served.items()):
        labels = {"slot": state.settings.slot, "method": method, "route": route, "status": status}
        pairs = ",".join(f"{name}={json.dumps(str(value))}" for name, value in labels.items())
        lines.append(f"workload_requests_total{{{pairs}}} {count}")
    for name, value in sorted(state.database.statistics().items()):
        lines += [f"# TYPE workload_{name} gauge", f"workload_{name} {value}"]
    return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")


def _json(answer: Answer, document: Any, status: int = 200) -> web.Response:
    text = json.dumps(document, default=datetime.isoformat)
    return web.json_response(text=text, status=status, headers={ROLE_HEADER: answer.role})


def _row(row: dict[str, Any]) -> str:
    return f"<tr>{''.join(f'<td>{escape(str(row[column]))}</td>' for column in COLUMNS)}</tr>"


def _order(text: str) -> dict[str, Any]:
    """Raises 400 that names the field."""
    try:
        given = json.loads(text)
    except ValueError as error:
        raise web.HTTPBadRequest(reason="the body is no JSON") from error
    if not isinstance(given, dict):
        raise web.HTTPBadRequest(reason="the body is no JSON object")
    for name in ("customer", "item"):
        if not isinstance(given.get(name), str) or not 0 < len(given[name]) <= 100:
            raise web.HTTPBadRequest(reason=f"{name} is not a text of 1 to 100 characters")
    quantity = given.get("quantity")
    if type(quantity) is not int or not 0 < quantity <= 10_000:
        raise web.HTTPBadRequest(reason="quantity is not a whole number from 1 to 10000")
    return {name: given[name] for name in ("customer", "item", "quantity")}


@web.middleware
async def _serve(request: web.Request, handler: Handler) -> web.StreamResponse:
    state = request.app[STATE]
    began = time.perf_counter()
    response = await _answer(request, handler)
    if state.stopping:
        response.force_close()
    resource = request.match_info.route.resource
    route = resource.canonical if resource else "none"
    state.served[request.method, route, response.status] += 1
    access.info(
        "request",
        extra={
            "method": request.method,
            "path": request.path,  # without the query: an access log is no place for its values
            "status": response.status,
            "ms": round(1000 * (time.perf_counter() - began), 1),
            "role": response.headers.get(ROLE_HEADER),
        },
    )
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure becomes an answer; what the server said of it stays in the log."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _error(error.status, error.reason)
    except psycopg.OperationalError as error:
        logger.warning("no database: %s", error)
        return _error(503, "the database is not available")
    except psycopg.Error:
        logger.exception("the database refused a statement")
        return _error(500, "the database refused a statement")


def _error(status: int, reason: str) -> web.Response:
    return web.json_response({"error": reason}, status=status)
