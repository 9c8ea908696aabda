"""The simulation finds what it claims to look for."""

from __future__ import annotations

import pytest

from tests.local.engine.support import sdk_warnings
from tests.simulation import fleets
from tests.simulation.checker import INVARIANTS
from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.run import Options, simulate

pytestmark = sdk_warnings

MOST_RUNS = 300


@pytest.mark.parametrize("mutation", [m for m in MUTATIONS if m.invariants], ids=str)
def test_a_mutation_is_found(mutation: Mutation) -> None:
    with mutation.applied():
        seeds = range(mutation.first_seed, mutation.first_seed + MOST_RUNS)
        violated = _violated_by_a_fleet if mutation.fleets else _violated
        assert any(violated(seed) & mutation.invariants for seed in seeds)


def _violated(seed: int) -> set[int]:
    return {violation.invariant for violation in simulate(seed, Options()).violations}


def _violated_by_a_fleet(seed: int) -> set[int]:
    return {violation.invariant for violation in fleets.simulate(seed).violations}


def test_every_invariant_has_a_mutation() -> None:
    assert set(INVARIANTS) == {one for mutation in MUTATIONS for one in mutation.invariants}
