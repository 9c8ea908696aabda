"""A server that answers as it is told to: what an app, or what stands in front of it, may say."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Answer = tuple[int, str, bytes]


@dataclass
class Told:
    """What was asked, and what is answered: by method and path below /api, or else a 404.

    A list is answered one after the other; its last one again and again.
    """

    url: str = ""
    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def says(self, method: str, path: str, *answers: Any) -> None:
        self.answers[method, path] = list(answers)

    def answer(self, method: str, path: str) -> Any:
        listed = self.answers.get((method, path))
        if not listed:
            return 404, "text/html", b"<html>nothing here</html>"
        return listed.pop(0) if len(listed) > 1 else listed[0]


def document(value: Any, status: int = 200) -> Answer:
    return status, "application/json", json.dumps(value).encode()


def problem(status: int, code: str, detail: str, remedy: str = "", **more: Any) -> Answer:
    said = {"status": status, "code": code, "detail": detail, "remedy": remedy, **more}
    return status, "application/problem+json", json.dumps(said).encode()


UNKNOWN = problem(404, "unknown-rotation", "there is no rotation", "look at the list")


@contextmanager
def serving() -> Iterator[Told]:
    told = Told()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(None)

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.reply(json.loads(self.rfile.read(length)))

        def reply(self, body: Any) -> None:
            path = self.path.removeprefix("/api")
            told.asked.append((self.command, path, body))
            told.headers.append(dict(self.headers))
            found = told.answer(self.command, path)
            if found is None:  # the connection is just closed
                self.close_connection = True
                return
            if isinstance(found, dict):
                found = document(found)
            status, kind, content = found
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "https://login.example/authorize")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
