"""No log line is lost to the sampling of traces: what a deployment sets, and what that means.

The lines are exported by the Functions host, with Microsoft's exporter for .NET, which is not here.
Its sibling for Python has the same samplers under the same names, and is what runs below.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from azure.monitor.opentelemetry.exporter import ApplicationInsightsSampler, RateLimitedSampler
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import Decision

from tests.infra.predicted import NAMES, resources

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.sampling import Sampler

SITE = "Microsoft.Web/sites/config"
SETUPS = [name for name in NAMES if resources(name, SITE)]
TRACES = 1000


def settings(name: str) -> dict[str, str]:
    """Those whose value is known before a deployment. The rest of the expression is Azure's."""
    (found,) = [r for r in resources(name, SITE) if r["name"].endswith("/appsettings")]
    properties = found["properties"]
    if isinstance(properties, dict):
        return properties
    return dict(re.findall(r"'([\w.]+)', '([^']*)'", properties))


def kept(sampler: Sampler, flags: int) -> int:
    """Of as many traces that begin elsewhere, at once, with these flags."""
    count = 0
    for number in range(1, TRACES + 1):
        outside = trace.SpanContext(
            number << 64 | number, number, is_remote=True, trace_flags=trace.TraceFlags(flags)
        )
        parent = trace.set_span_in_context(trace.NonRecordingSpan(outside))
        decision = sampler.should_sample(parent, outside.trace_id, "on_secret_event").decision
        count += decision is Decision.RECORD_AND_SAMPLE
    return count


def test_there_are_deployments_of_the_app() -> None:
    assert len(SETUPS) >= 8


@pytest.mark.parametrize("name", SETUPS)
def test_every_deployment_pins_the_sampler(name: str) -> None:
    found = settings(name)
    assert found["OTEL_TRACES_SAMPLER"] == "microsoft.fixed_percentage"
    assert float(found["OTEL_TRACES_SAMPLER_ARG"]) == 1.0
    assert found["AzureMonitorExporter__EnableTraceBasedLogsSampler"] == "false"


@pytest.mark.parametrize("name", SETUPS)
def test_no_deployment_has_the_worker_send_telemetry_of_its_own(name: str) -> None:
    """The host would drop the app's lines, and with them the data of every alert."""
    found = settings(name)
    assert found.keys() & {"PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY"} == set()
    assert found.keys() & {"PYTHON_ENABLE_OPENTELEMETRY"} == set()


@pytest.mark.parametrize("flags", [0, 1], ids=["not sampled outside", "sampled outside"])
def test_the_pinned_sampler_keeps_every_trace_whoever_began_it(flags: int) -> None:
    ratio = float(settings("default")["OTEL_TRACES_SAMPLER_ARG"])
    assert kept(ApplicationInsightsSampler(ratio), flags) == TRACES


def test_the_default_would_not() -> None:
    """Five a second: in .NET since 1.6.0 of the exporter, in Python since 1.8.6 of the distro."""
    assert kept(RateLimitedSampler(5.0), 0) < TRACES
