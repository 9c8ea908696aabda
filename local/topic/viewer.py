"""What tests and people see of the topic, over plain HTTP on a port of its own: a browser does not
know the local authority."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from local.delivery import timestamp
from local.topic.mail import Mail, mail

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from local.outbox import Outbox

HERE = Path(__file__).parent
SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Entry:
    """A mail and the event it comes from."""

    seq: int
    time: str
    mail: Mail


class Viewer:
    def __init__(self, outbox: Outbox, name: str) -> None:
        self._outbox = outbox
        self._name = name
        environment = Environment(
            loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined
        )
        self._template = environment.get_template("inbox.html")

    def app(self) -> web.Application:
        app = web.Application(middlewares=[_secured])
        app.router.add_get("/events", self.events)
        app.router.add_get("/subscriptions", self.subscriptions)
        app.router.add_get("/inbox", self.inbox)
        app.router.add_get("/inbox.json", self.inbox_json)
        app.router.add_get("/inbox.css", self.style)
        return app

    async def events(self, request: web.Request) -> web.Response:
        """`?after=N`: the events with a sequence number above N, and the highest of them."""
        after = request.query.get("after", "0")
        if not after.isdecimal():
            raise web.HTTPBadRequest(text=f"after is {after!r}; it must be a sequence number")
        found = [
            {"seq": seq, "acceptedAt": timestamp(at), "event": event}
            for seq, at, event in self._outbox.since(int(after))
        ]
        last = found[-1]["seq"] if found else int(after)
        return web.json_response({"events": found, "last": last})

    async def subscriptions(self, request: web.Request) -> web.Response:  # noqa: ARG002 - a handler
        return web.json_response(self._outbox.overview())

    async def inbox(self, request: web.Request) -> web.Response:  # noqa: ARG002 - a handler
        page = self._template.render(topic=self._name, mails=self._entries())
        return web.Response(text=page, content_type="text/html")

    async def inbox_json(self, request: web.Request) -> web.Response:  # noqa: ARG002 - a handler
        entries: list[dict[str, Any]] = [asdict(entry) for entry in self._entries()]
        return web.json_response(entries)

    async def style(self, request: web.Request) -> web.Response:  # noqa: ARG002 - a handler
        style = (HERE / "inbox.css").read_text(encoding="utf-8")
        return web.Response(text=style, content_type="text/css")

    def _entries(self) -> list[Entry]:
        """The mails, the newest first."""
        entries = [
            Entry(seq, timestamp(at), mail(event)) for seq, at, event in self._outbox.since(0)
        ]
        return entries[::-1]


@web.middleware
async def _secured(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    response.headers.update(SECURITY)
    return response
