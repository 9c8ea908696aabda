"""What leaves the app in a real rotation on the local stack: its metrics by both exporters, and the
log lines that the alerts read."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from local import world
from local.process import wait_until
from local.stack.owner import APP
from local.tls import Authority
from rotation.model.targets import SecretTarget
from rotation.model.world import SLOTS
from tests.e2e.site import asked, ended, host_with
from tests.telemetry.alerts import events, fired, row
from tests.telemetry.collectors import Collector, ingestion, otlp
from tests.telemetry.kql import run
from tests.telemetry.test_queries import queries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import Stack
    from tests.telemetry.kql import Row

METRICS = {
    "rotation.credential.findings",
    "rotation.events",
    "rotation.outcomes",
    "rotation.secret.expiry",
    "rotation.step.duration",
}
# A second instead of a minute, and nothing about the exporter itself to Microsoft.
QUICK = {
    "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "true",
}


@contextmanager
def observed(stack: Stack) -> Iterator[tuple[Collector, Collector]]:
    authority = Authority(stack.directory / "tls")
    with otlp() as plain, ingestion(stack.directory / "identity", authority) as insights:
        receivers = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": plain.url,
            "APPLICATIONINSIGHTS_CONNECTION_STRING": insights.connection_string(),
            "WEBSITE_SITE_NAME": "func-rotation",
        }
        with host_with(stack, QUICK | receivers):
            yield plain, insights


def logged(stack: Stack, since: int) -> list[str]:
    """The app's lines: what the Functions host would hand over to Application Insights."""
    text = (stack.directory / "logs" / "host.log").read_text(encoding="utf-8")
    return text[since:].splitlines()


def shorten(stack: Stack, days: int) -> None:
    """The secret that serves gets a version of the same value that expires sooner."""
    slots = set(stack.owner.active_slots().values())
    (slot,) = [slot for slot in SLOTS if slots == {slot}]
    vault, name = stack.owner.vault, world.secret(slot)
    current = vault.current(SecretTarget(name))
    assert current is not None
    value = vault.value(SecretTarget(name, current.version))
    expires = datetime.now(UTC) + timedelta(days=days)
    vault.put(SecretTarget(name), value, expires=expires, content_type="text/plain", tags={})


def swept(stack: Stack) -> None:
    """Both timers have run."""
    key = {"x-functions-key": stack.keys["master"]}
    for timer in ("sweep", "sample"):
        answer = stack.client.request("POST", f"/admin/functions/{timer}", {}, key)
        assert answer.status == 202


@pytest.mark.long
@pytest.mark.timeout(240)
def test_metrics_and_lines_of_a_rotation_arrive(stack: Stack) -> None:
    log = stack.directory / "logs" / "host.log"
    with observed(stack) as (plain, insights):
        since = log.stat().st_size
        stack.faults.order("keyvault", match={"method": "PUT"}, status=503, times=1)
        rotation = asked(stack)
        shorten(stack, days=5)
        swept(stack)
        answer = stack.client.webhook(
            [{**stack.client.near_expiry("blue"), "data": {}}], "Notification"
        )
        assert answer.status == 202
        stack.client.decide(rotation, "reject")
        assert ended(stack, rotation)["outcome"] == "rolled-back"
        for collector in (plain, insights):
            wait_until(lambda found=collector: ended_in(found), 30, "the outcome among the metrics")  # type: ignore[misc]
            assert collector.names == METRICS
            assert {round(point.value) for point in collector.of("rotation.secret.expiry")} == {5}
            steps = {p.attributes["step"] for p in collector.of("rotation.step.duration")}
            assert {"stage", "swap", "swap_back"} <= steps
    # Added up by Application Insights, and by the app for others.
    assert sum(point.value for point in insights.of("rotation.outcomes")) == 1
    assert max(point.value for point in plain.of("rotation.outcomes")) == 1
    assert plain.roles == insights.roles == {"func-rotation"}
    assert (insights.unauthorized, insights.callers) == (0, {APP.principal_id})
    lines = logged(stack, since)
    assert fired(lines) == {"rotation-failed", "live-secret-expiring", "event-not-taken"}
    assert "rotation.finished" in events(lines)
    answered = {where: found for where, found in guides(lines, rotation).items() if found}
    empty = guides([], rotation).keys() - answered.keys()
    # Nothing stands in the way of a rotation here.
    assert all("credential.finding" in queries()[where] for where in empty), empty
    assert len(answered) >= 6


def guides(lines: list[str], rotation: str) -> dict[str, list[Row]]:
    """What each query of the guides finds in the lines; one about a rotation is asked for this."""
    rows = [row(line) for line in lines]
    return {
        where: run(re.sub(r"orders-db-near-expiry-\w+", rotation, query), {"traces": rows})
        for where, query in queries().items()
        if not where.startswith("alert ")
    }


def ended_in(found: Collector) -> bool:
    outcomes = [point.attributes for point in found.of("rotation.outcomes")]
    return {"outcome": "rolled-back", "credential": world.CREDENTIAL} in outcomes
