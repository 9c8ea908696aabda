"""Secrets that are announced within a minute, a few places at their server, and three hours a
night: how they are rotated, on a virtual clock."""

from __future__ import annotations

from datetime import timedelta
from unittest import mock
from zoneinfo import ZoneInfo

import pytest

from rotation.config import MaxParallel
from rotation.decisions.windows import Hours, Window
from rotation.front import rotations
from tests.unit.fleet import Fleet
from tests.unit.virtual import APPROVAL, pytestmark

__all__ = ["pytestmark"]

BERLIN = ZoneInfo("Europe/Berlin")
NIGHTS = Hours((Window(frozenset(range(7)), 60, 4 * 60, "Europe/Berlin"),))
POLICY = {"onDeadline": "approve", "deadline": 12 * 3600.0, "soak": 3600.0}
EXPIRES = timedelta(days=30)  # Key Vault announces it as long before


@pytest.mark.parametrize(
    ("secrets", "limit"),
    [(20, 2), pytest.param(500, 5, marks=[pytest.mark.long, pytest.mark.timeout(3600)])],
)
def test_secrets_of_one_minute_are_rotated_few_at_a_time_in_their_nights(
    secrets: int, limit: int
) -> None:
    names = [f"c{number:03}" for number in range(secrets)]
    fleet = Fleet(MaxParallel(servers={"*": limit}), NIGHTS, approval={**APPROVAL, **POLICY})
    began = fleet.now()
    fleet.expires = {name: began + EXPIRES + timedelta(minutes=n) for n, name in enumerate(names)}
    # A page of all: that fuller ones are read in parts is shown elsewhere.
    with mock.patch.object(rotations, "PAGE", 10_000):
        for name in names:
            fleet.start(name).wait(seconds=60 / secrets)
        while any(fleet.running(name) for name in names) and fleet.now() < began + EXPIRES:
            fleet.wait(hours=6)
    assert fleet.most_at_once("stage", "swap") == limit
    assert fleet.most_at_once("confirm", "disable") <= limit
    assert {fleet.record(name).outcome for name in names} == {"completed"}
    begun = [at.astimezone(BERLIN) for at, name, _ in fleet.calls if name in {"stage", "swap"}]
    assert len(begun) == 2 * secrets
    assert all(1 <= local.hour < 4 for local in begun), begun
    assert all(fleet.when(name, "disable")[-1] < fleet.expires[name] for name in names)
