"""Stands in for sources of metrics: a Prometheus server, and the API of Log Analytics.

What queries are answered with is set; whoever asks without the token, if one is set, gets 401.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator


@dataclass
class Sources:
    """What queries are answered with, by their text: values of series in PromQL, a table of columns
    (name and type) and rows in KQL. `failing` is a status for all of them.

    `asked` are the queries, with what came beside them.
    """

    url: str = ""
    token: str | None = None
    series: dict[str, list[float]] = field(default_factory=dict)
    scalars: dict[str, float] = field(default_factory=dict)
    tables: dict[str, tuple[list[tuple[str, str]], list[list[Any]]]] = field(default_factory=dict)
    failing: int | None = None
    partial: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)

    def prometheus(self, query: str) -> tuple[int, Any]:
        """https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview"""
        if query in self.scalars:
            value = [1700000000.0, _text(self.scalars[query])]
            return 200, {"status": "success", "data": {"resultType": "scalar", "result": value}}
        if query not in self.series:
            error = {"errorType": "bad_data", "error": f"parse error in {query}"}
            return 400, {"status": "error", **error}
        found = [
            {"metric": {"number": str(number)}, "value": [1700000000.0, _text(value)]}
            for number, value in enumerate(self.series[query])
        ]
        return 200, {"status": "success", "data": {"resultType": "vector", "result": found}}

    def logs(self, query: str) -> tuple[int, Any]:
        """https://learn.microsoft.com/azure/azure-monitor/logs/api/response-format"""
        if query not in self.tables:
            return 400, {"error": {"code": "BadArgumentError", "message": "SYN0001"}}
        columns, rows = self.tables[query]
        named = [{"name": name, "type": kind} for name, kind in columns]
        found: dict[str, Any] = {
            "tables": [{"name": "PrimaryResult", "columns": named, "rows": rows}]
        }
        if self.partial:
            found["error"] = {"code": "PartialError"}
        return 200, found


def _text(value: float) -> str:
    """A number as Prometheus writes it."""
    named = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}
    return named.get(repr(value), repr(value))


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        status, answer = self._answer(body)
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, body: bytes) -> tuple[int, Any]:
        sources, path = self.server.sources, urlsplit(self.path).path
        parts = path.strip("/").split("/")
        if parts[:2] == ["v1", "workspaces"]:
            given = json.loads(body)
        else:
            given = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        sources.asked.append({"path": path, **given})
        if sources.failing is not None:
            return sources.failing, {}
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if sources.token is not None and token != sources.token:
            return 401, {}
        if parts[:2] == ["v1", "workspaces"]:
            return sources.logs(given["query"])
        return sources.prometheus(given["query"]) if path.endswith("/query") else (404, {})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class
        """Nothing on standard error."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    sources: Sources


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Sources]:
    """Sources on 127.0.0.1, by TLS where there is a context; their `url` is set."""
    with _Server(("127.0.0.1", 0), _Handler) as running:
        if context is not None:
            running.socket = context.wrap_socket(running.socket, server_side=True)
        running.sources = Sources()
        scheme = "http" if context is None else "https"
        running.sources.url = f"{scheme}://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield running.sources
        finally:
            running.shutdown()
            thread.join()
