"""What the daily sweep says of the secret that serves, whatever keeps it from being rotated."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from rotation import log
from rotation.front import expiry
from rotation.front.triggers import sweep_all
from rotation.model.errors import Unavailable
from rotation.model.reasons import Code
from tests.unit.test_rotations import NOW, VAULT, Client, edges

if TYPE_CHECKING:
    from tests.memory import MemoryEdges

AWAY = Unavailable(Code.CLUSTER_UNAVAILABLE, "the cluster is away")
VAULT_AWAY = Unavailable(Code.VAULT_UNAVAILABLE, "the vault is away")


def lines(caplog: pytest.LogCaptureFixture, found: MemoryEdges) -> list[dict[str, Any]]:
    """Of the first credential, in a sweep of both."""
    caplog.clear()
    hub: Any = Client()
    with caplog.at_level("INFO", "rotation"):
        asyncio.run(sweep_all(found, hub))
    said = [json.loads(record.getMessage()) for record in caplog.records]
    return [line for line in said if line.get("credential") == "orders-db"]


def serve_on_green(found: MemoryEdges) -> None:
    target = found.configuration.credential("orders-db").workloads[0].switch
    found.traffic("aks").move(target, "blue", "green")


def test_a_sweep_says_when_the_secret_that_serves_expires(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = edges(orders_blue=12.5, orders_green=80)
    (line,) = lines(caplog, found)
    assert line == {
        "event": "secret.expires",
        "credential": "orders-db",
        "slot": "blue",
        "secret": "orders-blue",
        "version": line["version"],
        "expires": str(NOW + timedelta(days=12.5)),
        "days": 12.5,
    }


@pytest.mark.parametrize("left", [45, 12, 0.25, -3])
def test_it_is_said_whether_or_not_it_is_due(caplog: pytest.LogCaptureFixture, left: float) -> None:
    (line,) = lines(caplog, edges(orders_blue=left))
    assert (line["event"], line["days"]) == ("secret.expires", left)


def test_the_slot_that_traffic_follows_counts(caplog: pytest.LogCaptureFixture) -> None:
    found = edges(orders_blue=3, orders_green=80)
    serve_on_green(found)
    (line,) = lines(caplog, found)
    assert (line["slot"], line["secret"], line["days"]) == ("green", "orders-green", 80)


def test_a_version_that_was_disabled_while_it_serves_still_expires(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = edges(orders_blue=3)
    found.world.vault_at(VAULT).secrets["orders-blue"][0].disabled = NOW
    (line,) = lines(caplog, found)
    assert (line["slot"], line["days"]) == ("blue", 3)


def test_a_cluster_that_cannot_be_looked_at_hides_no_expiry(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Either slot may serve then: the one that expires first is taken."""
    found = edges(orders_blue=40, orders_green=7)
    found.calls.failing["cluster route"] = AWAY
    unseen, expires = lines(caplog, found)
    assert unseen == {
        "event": "secret.unseen",
        "credential": "orders-db",
        "codes": ["cluster-unavailable"],
        "reason": "the cluster is away",
    }
    assert (expires["slot"], expires["secret"], expires["days"]) == (None, "orders-green", 7)


def test_a_vault_that_cannot_be_looked_at_is_said(caplog: pytest.LogCaptureFixture) -> None:
    found = edges(orders_blue=1)
    found.calls.failing["vault current orders-blue"] = VAULT_AWAY
    (unseen,) = lines(caplog, found)
    assert (unseen["event"], unseen["codes"]) == ("secret.unseen", ["vault-unavailable"])


def test_a_secret_that_does_not_exist_is_said(caplog: pytest.LogCaptureFixture) -> None:
    (unseen,) = lines(caplog, edges())
    assert (unseen["event"], unseen["reason"]) == ("secret.unseen", "it does not exist")


def test_the_metric_has_each_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    monkeypatch.setattr(log, "EXPIRY_DAYS", meter.create_gauge("rotation.secret.expiry"))
    found = edges(orders_blue=12.5, second_blue=-1)
    for name in ("orders-db", "second"):
        expiry.tell(name, expiry.look(found, name))
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    seen = {str(dict(p.attributes or {})["credential"]): p.value for p in metric.data.data_points}  # type: ignore[union-attr]
    assert seen == {"orders-db": 12.5, "second": -1}
