"""The exporters by themselves: who may send, what they cost, and what happens when they fail."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from azure.core.credentials import AccessToken
from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter
from opentelemetry import context, metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)

from local.identity import Identity, issue
from local.process import ROOT
from local.tls import Authority
from rotation import __version__, log
from rotation.edges import telemetry
from rotation.edges.azure import AzureEdges
from rotation.edges.telemetry import Late, _insights, _otlp
from tests.telemetry.collectors import Collector, ingestion, otlp
from tests.telemetry.test_on_the_stack import QUICK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.sdk.resources import Resource

INDEXED = "import function_app; function_app.app.get_functions()"
CLOSED = "http://127.0.0.1:9"  # the port `discard`: nothing listens there
INSIGHTS = (
    "InstrumentationKey=5b6b1c3a-0f0d-4c53-9a1e-0d7c5a2b9e11;IngestionEndpoint=https://127.0.0.1:9"
)
BOTH = {"OTEL_EXPORTER_OTLP_ENDPOINT": CLOSED, "APPLICATIONINSIGHTS_CONNECTION_STRING": INSIGHTS}


@pytest.fixture(autouse=True)
def _silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter sends nothing about itself to Microsoft."""
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)


def run(program: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - argv is written here
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, **QUICK, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_a_start_with_receivers_loads_neither_exporter_nor_identity() -> None:
    """The reader's thread loads them, a minute after the start."""
    program = f"{INDEXED}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    found = run(program, {**BOTH, "OTEL_METRIC_EXPORT_INTERVAL": "60000"})
    loaded = set(json.loads(found.stdout.splitlines()[-1]))
    assert "rotation.edges.telemetry" in loaded
    late = ("azure.monitor", "azure.identity", "opentelemetry.exporter", "requests", "google")
    assert [name for name in sorted(loaded) if name.startswith(late)] == []


def test_a_process_whose_receivers_are_away_works_and_ends() -> None:
    program = (
        f"{INDEXED}\nimport time\nfrom rotation import log\n"
        "log.EVENTS.add(1, {'result': 'started'})\nprint('worked')"
    )
    begun = time.monotonic()
    found = run(program, {**BOTH, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"})
    assert (found.returncode, found.stdout) == (0, "worked\n")
    assert time.monotonic() - begun < 60  # at its end it tries once more; a loaded machine is slow


@pytest.mark.parametrize(
    "setting", ["PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY", "PYTHON_ENABLE_OPENTELEMETRY"]
)
@pytest.mark.parametrize(("value", "warned"), [("true", 1), ("1", 1), ("false", 0), ("", 0)])
def test_a_worker_that_sends_telemetry_of_its_own_is_warned_of(
    caplog: pytest.LogCaptureFixture, setting: str, value: str, warned: int
) -> None:
    with caplog.at_level(logging.INFO, "rotation"):
        AzureEdges({setting: value}).report()
    lines = [json.loads(record.getMessage()) for record in caplog.records]
    assert [line["event"] for line in lines] == ["telemetry.conflict"] * warned
    assert all(line["reason"].startswith(f"{setting} is set") for line in lines)


def test_a_provider_of_the_workers_is_left_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever set it sends already: a second one would send everything twice."""
    theirs = MeterProvider()
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: theirs)
    monkeypatch.setattr(metrics, "set_meter_provider", lambda _: pytest.fail("set a second one"))
    with caplog.at_level(logging.INFO, "rotation"):
        AzureEdges(BOTH).report()
    (line,) = [json.loads(record.getMessage()) for record in caplog.records]
    assert line["event"] == "telemetry.conflict"
    assert "already" in line["reason"]


def test_a_wrong_setting_of_opentelemetrys_is_said_and_stops_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "-5")
    with caplog.at_level(logging.INFO, "rotation"):
        AzureEdges(BOTH).report()
    (line,) = [json.loads(record.getMessage()) for record in caplog.records]
    assert line["event"] == "telemetry.failed"
    assert "-5" in line["reason"]


class Scripted(MetricExporter):
    """Answers, raises or blocks as it is told."""

    def __init__(self, *script: Any) -> None:
        super().__init__()
        self.script = list(script)

    def export(self, *_: Any, **__: Any) -> MetricExportResult:
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, threading.Event):
            step.wait(60)
            return MetricExportResult.SUCCESS
        result: MetricExportResult = step
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002 - the base class's
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Nothing is open."""


GOOD, BAD = MetricExportResult.SUCCESS, MetricExportResult.FAILURE
NO_DATA: Any = None


def test_a_failure_is_logged_once_until_it_works_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    late = Late("OTLP", lambda: Scripted(GOOD, BAD, OSError("a token"), BAD, GOOD, KeyError("x")))
    with caplog.at_level(logging.INFO, "rotation"):
        results = [late.export(NO_DATA) for _ in range(6)]
    assert results == [GOOD, BAD, BAD, BAD, GOOD, BAD]
    lines = [json.loads(record.getMessage()) for record in caplog.records]
    assert [(line["event"], line["receiver"], line["reason"]) for line in lines] == [
        ("telemetry.failed", "OTLP", "it was not accepted"),
        ("telemetry.failed", "OTLP", "KeyError"),
    ]


def test_an_exporter_that_cannot_be_made_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    made: list[Scripted] = []

    def make() -> MetricExporter:
        made.append(Scripted(GOOD))
        if len(made) == 1:
            raise ValueError("an instrumentation key")
        return made[-1]

    late = Late("Application Insights", make)
    with caplog.at_level(logging.INFO, "rotation"):
        assert [late.export(NO_DATA) for _ in range(2)] == [BAD, GOOD]
    assert "instrumentation key" not in caplog.text
    assert "ValueError" in caplog.text


def test_what_is_made_is_flushed_and_closed_and_nothing_is_made_for_it() -> None:
    class Closed(Scripted):
        ended: ClassVar[list[str]] = []

        def force_flush(self, timeout_millis: float = 10_000) -> bool:
            self.ended.append("flushed")
            return super().force_flush(timeout_millis)

        def shutdown(self, timeout_millis: float = 30_000, **more: Any) -> None:
            self.ended.append("closed")
            super().shutdown(timeout_millis, **more)

    late = Late("OTLP", lambda: Closed(GOOD))
    assert late.force_flush() is True
    late.shutdown()
    assert Closed.ended == []
    assert late.export(NO_DATA) is GOOD
    assert late.force_flush() is True
    late.shutdown()
    assert Closed.ended == ["flushed", "closed"]


NAMES = [
    ({"OTEL_SERVICE_NAME": "a", "WEBSITE_SITE_NAME": "b"}, "a"),
    ({"OTEL_SERVICE_NAME": "", "WEBSITE_SITE_NAME": "b"}, "b"),
    ({}, "credential-rotation"),
]


@pytest.mark.parametrize(("named", "service"), NAMES)
def test_the_provider_that_is_set_has_the_apps_name(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    named: dict[str, str],
    service: str,
) -> None:
    given: list[dict[str, Any]] = []

    class Provider(MeterProvider):
        def __init__(self, readers: Any, resource: Resource) -> None:
            super().__init__(readers, resource, shutdown_on_exit=False)
            given.append(dict(resource.attributes))

    provided: list[MeterProvider] = []
    monkeypatch.setattr(telemetry, "MeterProvider", Provider)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: None)
    monkeypatch.setattr(metrics, "set_meter_provider", provided.append)
    with caplog.at_level(logging.INFO, "rotation"):
        AzureEdges({**named, "OTEL_EXPORTER_OTLP_ENDPOINT": CLOSED}).report()
    (provider,) = provided
    provider.shutdown()
    assert [one["service.name"] for one in given] == [service]
    assert given[0]["service.version"] == __version__
    assert caplog.text == ""


INSIGHTS_ALONE = {"APPLICATIONINSIGHTS_CONNECTION_STRING": INSIGHTS}
RECEIVERS = [
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": CLOSED}, ["OTLP"]),
    (INSIGHTS_ALONE, ["Application Insights"]),
    (BOTH, ["Application Insights", "OTLP"]),
]


@pytest.mark.parametrize(("environment", "receivers"), RECEIVERS)
def test_each_receiver_that_is_named_gets_metrics(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], receivers: list[str]
) -> None:
    given: list[str] = []
    authorities: list[object] = []

    def insights(_: str, __: object, authority: object) -> object:
        authorities.append(authority)
        raise ValueError("made for no other reason")

    def reader(exporter: Late) -> InMemoryMetricReader:
        given.append(exporter._receiver)  # noqa: SLF001 - what the log names
        exporter.export(NO_DATA)
        return InMemoryMetricReader()

    monkeypatch.setattr(telemetry, "_insights", insights)

    monkeypatch.setattr(telemetry, "PeriodicExportingMetricReader", reader)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: None)
    monkeypatch.setattr(metrics, "set_meter_provider", lambda provider: provider.shutdown())
    for own, shown in ({}, True), ({"ROTATION_CA_BUNDLE": "/ca.pem"}, "/ca.pem"):
        given.clear()
        authorities.clear()
        AzureEdges({**environment, **own}).report()
        assert given == receivers
        assert authorities == [shown] * ("Application Insights" in receivers)


def test_application_insights_is_asked_once_and_nothing_is_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[dict[str, Any]] = []
    module = "azure.monitor.opentelemetry.exporter.AzureMonitorMetricExporter"
    monkeypatch.setattr(module, lambda **options: given.append(options))
    credential: Any = object()
    _insights("InstrumentationKey=1", credential, "/ca.pem")
    assert given == [
        {
            "connection_string": "InstrumentationKey=1",
            "credential": credential,
            "disable_offline_storage": True,
            "retry_total": 0,
            "connection_verify": "/ca.pem",
        }
    ]


def test_a_receiver_that_never_answers_holds_up_no_function() -> None:
    hangs, later = threading.Event(), threading.Event()
    late = Late("OTLP", lambda: Scripted(hangs, GOOD))
    reader = PeriodicExportingMetricReader(late, export_interval_millis=10)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    counter = provider.get_meter("test").create_counter("c")
    counter.add(1)
    worker = threading.Thread(target=lambda: (counter.add(1), later.set()))  # type: ignore[func-returns-value]
    try:
        while late._made is None:  # noqa: SLF001 - until the export is under way
            time.sleep(0.001)
        worker.start()
        assert later.wait(30)
        assert not hangs.is_set()
    finally:
        hangs.set()
        worker.join()
        provider.shutdown()


@pytest.fixture
def identities(tmp_path: Path) -> Path:
    return tmp_path / "identity"


@pytest.fixture
def insights(identities: Path, tmp_path: Path) -> Iterator[Collector]:
    with ingestion(identities, Authority(tmp_path / "tls")) as collector:
        yield collector


class Signed:
    """A credential with a token for one audience; `asked` are the scopes."""

    def __init__(self, state: Path, audience: str) -> None:
        self._state = state
        self._audience = audience
        self.asked: list[str] = []

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.asked += scopes
        identity = Identity.named("app")
        return AccessToken(
            *issue(identity, self._audience, self._state, now=time.time(), lifetime=3600)
        )


def exported(exporter: MetricExporter) -> MetricExportResult:
    """Of one counter."""
    reader = InMemoryMetricReader()
    MeterProvider([reader]).get_meter("test").create_counter("rotation.events").add(3)
    data = reader.get_metrics_data()
    assert data is not None
    return exporter.export(data)


def test_application_insights_takes_the_identitys_token(
    insights: Collector, identities: Path, tmp_path: Path
) -> None:
    signed = Signed(identities, "https://monitor.azure.com")
    bundle = str(tmp_path / "tls" / "ca.pem")
    exporter = _insights(insights.connection_string(), signed, bundle)
    assert exported(exporter) is GOOD
    assert [(point.name, point.value) for point in insights.points] == [("rotation.events", 3)]
    assert insights.callers == {Identity.named("app").principal_id}
    assert set(signed.asked) == {"https://monitor.azure.com//.default"}


def test_a_token_for_another_service_is_not_taken(
    insights: Collector, identities: Path, tmp_path: Path
) -> None:
    signed = Signed(identities, "https://vault.azure.net")
    bundle = str(tmp_path / "tls" / "ca.pem")
    assert exported(_insights(insights.connection_string(), signed, bundle)) is BAD
    assert (insights.points, insights.unauthorized) == ([], 1)


def test_a_key_alone_is_not_taken(insights: Collector, tmp_path: Path) -> None:
    """As whoever reads the connection string would send."""
    exporter = AzureMonitorMetricExporter(
        connection_string=insights.connection_string(),
        disable_offline_storage=True,
        connection_verify=str(tmp_path / "tls" / "ca.pem"),
        retry_total=0,
    )
    assert exported(exporter) is BAD
    assert (insights.points, insights.unauthorized) == ([], 1)


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_an_ingestion_that_fails_is_asked_once(
    insights: Collector, identities: Path, tmp_path: Path, status: int
) -> None:
    """No retries, and nothing kept on disk: the next export is a minute away."""
    insights.status = status
    signed = Signed(identities, "https://monitor.azure.com")
    bundle = str(tmp_path / "tls" / "ca.pem")
    assert exported(_insights(insights.connection_string(), signed, bundle)) is BAD
    assert insights.requests == 1


def test_a_collector_takes_what_is_sent_to_the_endpoint_of_the_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with otlp() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        assert exported(_otlp()) is GOOD
    assert [(point.name, point.value) for point in collector.points] == [("rotation.events", 3)]


def test_a_trace_from_outside_that_is_not_sampled_hides_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker attaches the caller's context: https://www.w3.org/TR/trace-context/#trace-flags."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    monkeypatch.setattr(log, "EVENTS", meter.create_counter("rotation.events"))
    outside = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(0))
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(outside)))
    try:
        with caplog.at_level(logging.INFO, "rotation"):
            log.event("event.started")
            log.EVENTS.add(1, {"result": "started"})
    finally:
        context.detach(token)
    assert [json.loads(r.getMessage())["event"] for r in caplog.records] == ["event.started"]
    assert reader.get_metrics_data() is not None
