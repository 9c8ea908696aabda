"""Whoever can send events: forged ones, made-up versions by the thousand, and real ones in between.

A key of the Event Grid webhook is all it takes.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rotation.front.triggers import take
from rotation.model import wire
from rotation.model.activities import Planned, Reference
from rotation.model.errors import Unavailable
from rotation.model.reasons import Code
from rotation.model.record import Request
from rotation.steps import running
from rotation.steps.catalogue import ACTIVITIES
from tests.security.attacked import ADA, CREDENTIAL, NOW, App, links_app

if TYPE_CHECKING:
    from tests.memory.vault import VaultModel, Version

NEAR = "Microsoft.KeyVault.SecretNearExpiry"
EXPIRED = "Microsoft.KeyVault.SecretExpired"
PLAN = next(activity for activity in ACTIVITIES if activity.name == "plan")


class Place:
    """A credential whose active secret lives for so many more days."""

    def __init__(self, days: float) -> None:
        self.app: App = links_app([ADA])
        found = self.vault.latest("orders-blue")
        assert found is not None
        self.version: Version = found
        self.version.expires = NOW + timedelta(days=days)

    @property
    def vault(self) -> VaultModel:
        return self.app.edges.world.vault_at("https://kv-orders.vault.azure.net")

    def send(self, version: str, kind: str = NEAR) -> None:
        data = {
            "Id": f"https://kv-orders.vault.azure.net/secrets/orders-blue/{version}",
            "ObjectName": "orders-blue",
            "Version": version,
        }
        hub: Any = self.app.client
        asyncio.run(take(self.app.edges, hub, kind, data, f"e-{version}"))

    @property
    def requests(self) -> list[Request]:
        started = [one for one in self.app.client.instances.values() if one.name == "credential"]
        return [wire.read(Request, one.input_) for one in started]

    def planned(self) -> Planned:
        """What becomes of the one rotation that was asked for."""
        (request,) = self.requests
        reference = Reference(rotation=request.rotation, credential=CREDENTIAL, request=request)
        answer = running.run(PLAN, self.app.edges, wire.value_of(reference))
        return wire.read(Planned, answer)


@pytest.mark.parametrize("kind", [NEAR, EXPIRED])
@pytest.mark.parametrize("days", [80.0, 31.1])
def test_a_forged_event_rotates_nothing_that_has_time(kind: str, days: float) -> None:
    place = Place(days)
    place.send(place.version.version, kind)
    assert place.requests == []


@pytest.mark.parametrize("days", [80.0, 31.1])
def test_what_gained_time_since_its_event_is_skipped_by_the_plan(days: float) -> None:
    place = Place(20)
    place.send(place.version.version)
    place.version.expires = NOW + timedelta(days=days)
    plan = place.planned()
    assert plan.active is None
    assert (plan.outcome, plan.reasons[0].code) == ("skipped", "not-due")


def test_a_forged_event_does_not_use_up_the_real_one() -> None:
    """Both name the same version, and so ask for a rotation of the same id."""
    place = Place(45)
    for _ in range(10):
        place.send(place.version.version)
    assert place.requests == []
    place.version.expires = NOW + timedelta(days=30)  # as if half a month had passed
    place.send(place.version.version)
    assert place.planned().active == "blue"


@pytest.mark.parametrize("days", [30.9, 29.0, 1.0, -1.0])
def test_what_key_vault_announces_is_rotated(days: float) -> None:
    """At 30 days, by its own clock; an event may also be late."""
    place = Place(days)
    place.send(place.version.version)
    assert place.planned().active == "blue"


def test_a_flood_of_made_up_versions_starts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    place = Place(20)
    with caplog.at_level("INFO", "rotation"):
        for number in range(1000):
            place.send(f"{number:032x}")
    assert place.requests == []
    results = {json.loads(record.getMessage())["event"] for record in caplog.records}
    assert results == {"event.stale"}
    # Neither a person's request nor the real event finds it taken.
    place.send(place.version.version)
    assert [request.version for request in place.requests] == [place.version.version]


def test_a_flood_locks_no_one_out_who_asks_by_hand() -> None:
    place = Place(20)
    for number in range(100):
        place.send(f"{number:032x}", EXPIRED)
    assert place.app.start(by=ADA)


def test_an_earlier_version_of_the_same_secret_starts_nothing() -> None:
    place = Place(20)
    place.vault.of("orders-blue").insert(0, replace(place.version, version="0badc0de"))
    place.send("0badc0de")
    assert place.requests == []


def test_one_event_often_is_one_start() -> None:
    place = Place(20)
    for _ in range(10):
        place.send(place.version.version)
    assert len(place.requests) == 1


def test_a_real_event_during_another_rotation_is_delivered_again() -> None:
    """An answer that is no success is what Event Grid repeats for a day."""
    place = Place(20)
    place.app.start(by=ADA)
    with pytest.raises(Unavailable, match="under way"):
        place.send(place.version.version)


def test_a_vault_that_is_away_loses_no_event() -> None:
    place = Place(20)
    place.app.edges.calls.failing["vault current"] = Unavailable(Code.VAULT_UNAVAILABLE, "away")
    with pytest.raises(Unavailable):
        place.send(place.version.version)
    assert place.requests == []
