"""Receivers of metrics on 127.0.0.1: an OTLP/HTTP collector, and Application Insights' ingestion.

Both keep what they took, and count what they turned away. The wire formats are those of
https://opentelemetry.io/docs/specs/otlp/#otlphttp and of the operation `track`, version 2.1, to
which Microsoft's exporter posts.
"""

from __future__ import annotations

import gzip
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from local.identity import TokenError, verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.tls import Authority

AUDIENCES = ("https://monitor.azure.com", "https://monitor.azure.com/")
KEY = "5b6b1c3a-0f0d-4c53-9a1e-0d7c5a2b9e11"  # an instrumentation key: it names a resource


@dataclass(frozen=True)
class Point:
    """One value of one metric. `count` is of a histogram, 1 otherwise."""

    name: str
    attributes: dict[str, str]
    value: float
    count: int = 1


@dataclass
class Collector:
    """What arrived. `status` is what it answers instead of taking anything, if it is set."""

    url: str = ""
    status: int | None = None
    points: list[Point] = field(default_factory=list)
    roles: set[str] = field(default_factory=set)
    requests: int = 0
    unauthorized: int = 0
    callers: set[str] = field(default_factory=set)  # object ids of those whose tokens were good

    def of(self, name: str) -> list[Point]:
        return [point for point in self.points if point.name == name]

    @property
    def names(self) -> set[str]:
        return {point.name for point in self.points}

    def connection_string(self) -> str:
        return f"InstrumentationKey={KEY};IngestionEndpoint={self.url}/;LiveEndpoint={self.url}/"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    collector: Collector

    def do_POST(self) -> None:
        self.collector.requests += 1
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.collector.status is not None:
            self.answer(self.collector.status, b"")
        else:
            self.take(body)

    def take(self, body: bytes) -> None:
        raise NotImplementedError

    def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: a test says what arrived."""


class _Otlp(_Handler):
    def take(self, body: bytes) -> None:
        if self.path != "/v1/metrics" or self.headers["Content-Type"] != "application/x-protobuf":
            self.answer(404, b"")
            return
        request = ExportMetricsServiceRequest.FromString(body)
        for resource in request.resource_metrics:
            named = {item.key: item.value.string_value for item in resource.resource.attributes}
            self.collector.roles.add(named["service.name"])
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    self.collector.points += _points(metric)
        answer = ExportMetricsServiceResponse().SerializeToString()
        self.answer(200, answer, "application/x-protobuf")


def _points(metric: Any) -> list[Point]:
    data = getattr(metric, metric.WhichOneof("data"))
    return [_point(metric.name, point) for point in data.data_points]


def _point(name: str, point: Any) -> Point:
    attributes = {
        item.key: str(getattr(item.value, item.value.WhichOneof("value")))
        for item in point.attributes
    }
    if "bucket_counts" in point.DESCRIPTOR.fields_by_name:
        return Point(name, attributes, point.sum, point.count)
    return Point(name, attributes, getattr(point, point.WhichOneof("value")))


class _Ingestion(_Handler):
    """Local authentication is off, as in infra/modules/monitoring.bicep: only a token counts."""

    identities: Path

    def take(self, body: bytes) -> None:
        if self.path != "/v2.1/track":
            self.answer(404, b"")
            return
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        try:
            claims = verify(token, AUDIENCES, self.identities)
        except TokenError:
            self.collector.unauthorized += 1
            self.answer(401, b'{"itemsReceived": 0, "itemsAccepted": 0, "errors": []}')
            return
        assert scheme == "Bearer"
        self.collector.callers.add(claims["oid"])
        envelopes = json.loads(body)
        for envelope in envelopes:
            self.collector.points += _envelope(envelope)
            self.collector.roles.add(envelope["tags"]["ai.cloud.role"])
        took = {"itemsReceived": len(envelopes), "itemsAccepted": len(envelopes), "errors": []}
        self.answer(200, json.dumps(took).encode())


def _envelope(envelope: dict[str, Any]) -> Iterator[Point]:
    assert envelope["iKey"] == KEY
    data = envelope["data"]
    assert data["baseType"] == "MetricData"
    for metric in data["baseData"]["metrics"]:
        attributes = data["baseData"].get("properties", {})
        yield Point(metric["name"], attributes, metric["value"], metric.get("count") or 1)


@contextmanager
def otlp() -> Iterator[Collector]:
    with _served(Collector(), _Otlp) as collector:
        yield collector


@contextmanager
def ingestion(identities: Path, authority: Authority) -> Iterator[Collector]:
    """`identities` is the state of the identity endpoint whose tokens count."""
    handler = type("Ingestion", (_Ingestion,), {"identities": identities})
    with _served(Collector(), handler, authority) as collector:
        yield collector


@contextmanager
def _served(
    collector: Collector, handler: type[_Handler], authority: Authority | None = None
) -> Iterator[Collector]:
    bound = type(handler.__name__, (handler,), {"collector": collector})
    server = ThreadingHTTPServer(("127.0.0.1", 0), bound)
    server.daemon_threads = True
    if authority is not None:
        context = authority.issue("ingestion").context()
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if authority is None else "https"
    collector.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
