"""Which alerts fire on the log lines of which stories: each on its own, and on no other.

The lines are the app's own: stories are whole rotations on a virtual clock, sweeps and events go
through the triggers. test_on_the_stack.py looks at the lines of a real rotation.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from local.process import ROOT
from rotation.edges.azure import AzureEdges
from rotation.front.triggers import sweep_all, take
from rotation.model.activities import Reference
from rotation.model.catalogue import Outcome, ending
from rotation.model.errors import Unavailable
from rotation.model.reasons import Code
from rotation.steps.running import Step
from rotation.steps.telling import notify
from tests.infra.predicted import one
from tests.telemetry.alerts import NOW, alerts, events, fired, row
from tests.unit import test_messages as stories
from tests.unit.test_rotations import VAULT, VERSION, Client, edges, running
from tests.unit.virtual import pytestmark

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["pytestmark"]

SILENT = "rotation-silent"
NEAR_EXPIRY = "Microsoft.KeyVault.SecretNearExpiry"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[Callable[[], Any]], list[str]]:
    """The lines that the app logs while something is done."""

    def lines(act: Callable[[], Any]) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="rotation"):
            act()
        return [record.getMessage() for record in caplog.records if record.name == "rotation"]

    return lines


def told(story: Callable[[Any], None]) -> None:
    """Each notice of a story, logged by the activity that logs it on Azure."""
    for notice in stories.notices(story):
        reference = Reference(rotation="r-1", credential="orders-db", notice=notice)
        notify(Step(AzureEdges({}), reference))


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        (stories.completed, set()),
        (stories.rejected, {"rotation-failed"}),
        (stories.aborted, {"rotation-failed"}),
        (stories.refused, {"rotation-failed"}),
        (stories.stuck, {"rotation-needs-attention"}),
        (stories.overdue, {"approval-overdue"}),
        (stories.used_by_strangers, set()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_rotation(said: Any, story: Callable[[Any], None], expected: set[str]) -> None:
    lines = said(lambda: told(story))
    assert "rotation.started" in events(lines) or story is stories.refused
    assert fired(lines) - {SILENT} == expected


def sweep(**days: float) -> Callable[[], None]:
    """A sweep with so many days left of each secret."""
    return lambda: _sweep(edges(**days))


def _sweep(found: Any) -> None:
    hub: Any = Client()
    asyncio.run(sweep_all(found, hub))


def limit() -> int:
    """Days, as a deployment has it unless told otherwise."""
    (text,) = [alert.query for alert in alerts() if alert.name == "live-secret-expiring"]
    return int(text.partition("todouble(entry.days) < ")[2].split()[0])


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (90.0, set()),
        (0.0, {"live-secret-expiring"}),
        (-5.0, {"live-secret-expiring"}),
    ],
)
def test_a_secret_that_serves(said: Any, left: float, expected: set[str]) -> None:
    assert fired(said(sweep(orders_blue=left, second_blue=90))) == expected


def test_a_secret_that_serves_at_the_limit(said: Any) -> None:
    just, over = limit() - 0.01, limit() + 0.01
    assert fired(said(sweep(orders_blue=just, second_blue=90))) == {"live-secret-expiring"}
    assert fired(said(sweep(orders_blue=over, second_blue=90))) == set()


def test_a_secret_that_does_not_serve(said: Any) -> None:
    """Its slot is retired: nothing of it matters."""
    assert fired(said(sweep(orders_blue=90, orders_green=1, second_blue=90))) == set()


def test_a_cluster_that_is_away_hides_no_secret_that_expires(said: Any) -> None:
    found = edges(orders_blue=3, second_blue=90)
    found.calls.failing["cluster route"] = Unavailable(Code.CLUSTER_UNAVAILABLE, "it is away")
    assert fired(said(lambda: _sweep(found))) == {"live-secret-expiring", "event-not-taken"}


def test_during_a_pause_nothing_starts_and_what_expires_is_still_told(said: Any) -> None:
    found = edges(orders_blue=3, second_blue=90)
    found.settings = replace(found.settings, paused=True)
    hub: Any = Client()
    lines = said(lambda: asyncio.run(sweep_all(found, hub)))
    assert fired(lines) == {"live-secret-expiring"}
    assert "sweep.done" in events(lines)
    assert hub.started == []
    found.settings = replace(found.settings, paused=False)
    said(lambda: asyncio.run(sweep_all(found, hub)))
    assert len(hub.started) == 1


def test_a_secret_that_serves_and_is_gone(said: Any) -> None:
    assert fired(said(sweep(orders_green=90, second_blue=90))) == {"event-not-taken"}


def test_a_vault_that_is_away(said: Any) -> None:
    found = edges(orders_blue=90, second_blue=90)
    away = Unavailable(Code.VAULT_UNAVAILABLE, "it is away")
    found.calls.failing["vault current orders-blue"] = away
    assert fired(said(lambda: _sweep(found))) == {"event-not-taken"}


def event(**changes: Any) -> Callable[[Client], None]:
    data = {"Id": f"{VAULT}/secrets/orders-blue/{VERSION}", "ObjectName": "orders-blue"}
    data |= {"Version": VERSION, **changes}

    def taken(client: Client) -> None:
        hub: Any = client
        asyncio.run(take(edges(orders_blue=20), hub, NEAR_EXPIRY, data, "e-1"))

    return taken


def test_an_event_that_is_taken(said: Any) -> None:
    lines = said(lambda: event()(Client()))
    assert (events(lines), fired(lines)) == (["event.started"], {SILENT})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"Version": None}, {"event-not-taken"}), ({"ObjectName": "of-somebody-else"}, set())],
    ids=["malformed", "foreign"],
)
def test_an_event_that_is_not_taken(said: Any, changes: dict[str, Any], expected: set[str]) -> None:
    assert fired(said(lambda: event(**changes)(Client()))) - {SILENT} == expected


def test_no_sweep_at_all(said: Any) -> None:
    """Two days without one, whatever else was logged; one of yesterday is enough."""
    assert fired([]) == {SILENT}
    lines = said(sweep(orders_blue=90, second_blue=90))
    (silent,) = [alert for alert in alerts() if alert.name == SILENT]
    for hours, fires in ((1, False), (47, False), (49, True)):
        rows = [row(line, NOW - timedelta(hours=hours)) for line in lines]
        assert silent.fires(rows) is fires


def test_the_rules_are_those_of_the_file() -> None:
    """Where there is no compiler, nothing else compares the snapshot with it."""
    text = (ROOT / "infra/modules/alerts.bicep").read_text(encoding="utf-8")
    (logged,) = re.findall(r"^var logged = '(.+)'$", text, re.MULTILINE)
    written = dict(re.findall(r"name: '([\w-]+)'\n.*?query: '([^\n]+)'\n", text, re.DOTALL))
    fills = {"${logged}": logged, "${expiryAlertDays}": str(limit())}
    for old, new in fills.items():
        written = {name: query.replace(old, new) for name, query in written.items()}
    assert written == {alert.name: alert.query for alert in alerts()}


def test_each_alert_was_seen_to_fire_and_not_to() -> None:
    """Of those that read log lines; what else there is reads a metric of Event Grid's."""
    assert {alert.name for alert in alerts()} == {
        "rotation-needs-attention",
        "rotation-failed",
        "approval-overdue",
        "live-secret-expiring",
        "event-not-taken",
        SILENT,
    }


@pytest.mark.parametrize("outcome", Outcome)
def test_an_outcome_fires_what_the_catalogue_says(said: Any, outcome: Outcome) -> None:
    line = json.dumps({"event": "rotation.finished", "outcome": outcome, "credential": "c"})
    alarm = {"now": {"rotation-needs-attention"}, "soon": {"rotation-failed"}, None: set()}
    assert fired([line]) - {SILENT} == alarm[ending(outcome).alarm]


def test_a_dead_letter_is_counted_by_event_grid_itself() -> None:
    """Its own metric of the topic, so nothing of the app's is needed: the name is the platform's.

    https://learn.microsoft.com/azure/azure-monitor/reference/supported-metrics/microsoft-eventgrid-topics-metrics
    """
    for setup, kind in (("default", "topics"), ("events", "systemTopics")):
        alert = one(setup, "Microsoft.Insights/metricAlerts")["properties"]
        (criterion,) = alert["criteria"]["allOf"]
        assert criterion["metricNamespace"].lower() == f"microsoft.eventgrid/{kind}".lower()
        assert (criterion["metricName"], criterion["timeAggregation"]) == (
            "DeadLetteredCount",
            "Total",
        )
        assert (criterion["operator"], criterion["threshold"]) == ("GreaterThan", 0)
        assert [scope for scope in alert["scopes"] if f"/{kind}/" in scope] == alert["scopes"]


def test_whoever_runs_a_second_one_meanwhile_is_no_alarm(said: Any) -> None:
    def taken() -> None:
        with pytest.raises(Unavailable, match="orders-db-0"):  # Event Grid delivers it again
            event()(Client(running("orders-db-0")))

    lines = said(taken)
    assert (events(lines), fired(lines)) == (["event.busy"], {SILENT})
