"""The pages over HTTP, on models: no stack, and each state of a rotation at will."""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

import azure.functions as func

from tests.unit.people import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.test_pages import Site

# What the host makes of a path: the function, and the name of what the path ends with.
ROUTES = (
    (r"/api/pages", "overview_page", ""),
    (r"/api/pages/credentials/([^/]+)", "credential_page", "name"),
    (r"/api/pages/rotations", "history_page", ""),
    (r"/api/pages/rotations/([^/]+)", "rotation_page", "id"),
    (r"/api/pages/waves", "waves_page", ""),
    (r"/api/pages/waves/([^/]+)", "wave_page", "id"),
    (r"/api/pages/decision", "decision_page", ""),
    (r"/api/pages/guides/([^/]+)", "guide_page", "name"),
)


@contextmanager
def served(site: Site) -> Iterator[str]:
    """The URL at which a site is served, on this machine alone. Whoever comes is signed in as the
    site's headers say."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"] or 0)))

        def _answer(self, body: bytes) -> None:
            answer = asked(site, self.command, self.path, dict(self.headers), body)
            content = answer.get_body()
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", f"{answer.mimetype}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}"
    site.edges.settings = replace(site.edges.settings, public_url=url)
    if "link" in site.params:  # is for one address
        site.params = {"link": site.link(life=NOW + timedelta(hours=1) - site.edges.now())}
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()


def asked(
    site: Site, method: str, target: str, headers: dict[str, str], body: bytes
) -> func.HttpResponse:
    """What the app answers to a request."""
    parts = urlsplit(target)
    for pattern, name, last in ROUTES:
        found = re.fullmatch(pattern, parts.path)
        if found is not None:
            request = func.HttpRequest(
                method,
                f"{site.edges.settings.public_url}{target}",
                headers={**headers, **site.headers},
                params=dict(parse_qsl(parts.query)),
                route_params={last: unquote(found[1])} if last else {},
                body=body,
            )
            client = {} if name == "guide_page" else {"client": site.client}
            answer: func.HttpResponse = asyncio.run(site.functions[name](req=request, **client))
            return answer
    return func.HttpResponse(status_code=404)
