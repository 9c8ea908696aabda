"""A few small fleets with limits, windows and waves; `make simulate ARGS="--fleets"` has more."""

from __future__ import annotations

from functools import cache

import pytest

from tests.local.engine.support import sdk_warnings
from tests.simulation import fleets
from tests.simulation.run import Options, Result

pytestmark = [*sdk_warnings, pytest.mark.timeout(300)]

FLEETS = 5


@cache
def usual(seed: int) -> Result:
    return fleets.simulate(seed)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(first, marks=[] if first == 1 else pytest.mark.long)
        for first in range(1, 100, FLEETS)
    ],
)
def test_no_fleet_violates_an_invariant(first: int) -> None:
    results = [usual(seed) for seed in range(first, first + FLEETS)]
    found = [f"seed {r.seed}: {violation}" for r in results for violation in r.violations]
    assert found == []


def test_a_fleet_replays_exactly() -> None:
    story = Options(story=True)
    assert fleets.simulate(3, story) == fleets.simulate(3, story)


def test_fleets_are_of_all_sorts() -> None:
    drawn = [fleets.draw(seed) for seed in range(1, 40)]
    known = [one.scenario.configuration for one in drawn]
    assert {len(one.credentials) for one in known} == set(range(3, 9))
    assert any(one.wave and one.announced for one in drawn)
    assert any(one.cancelled for one in drawn)
    assert {what for one in drawn for _, what in one.ended} >= {"rotation", "keeper"}
    kinds = {kind for one in known for kind in one.max_parallel.model_fields_set}
    assert kinds == {"clusters", "servers", "vaults", "namespaces"}
    assert {one.calm for one in drawn} == {True, False}
