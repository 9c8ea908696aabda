"""One fault at a time. `python -m tests.simulation --sweep` takes every case, this a sample."""

from __future__ import annotations

import pytest

from tests.local.engine.support import sdk_warnings
from tests.simulation import sweeps
from tests.simulation.mutations import MUTATIONS

pytestmark = sdk_warnings

EVERY = 20


@pytest.mark.parametrize("kind", sweeps.KINDS)
def test_a_call_that_fails_once(kind: str) -> None:
    cases = [case for case in sweeps.calls() if case.kind == kind]
    sample = cases[sweeps.KINDS.index(kind) :: EVERY]
    assert len(sample) > 10
    assert [problem for case in sample for problem in sweeps.problems(case)] == []


@pytest.mark.parametrize("kind", ["before", "after"])
def test_a_crash_at_a_commit(kind: str) -> None:
    sample = [case for case in sweeps.commits() if case.kind == kind][::EVERY]
    assert len(sample) > 7
    assert [problem for case in sample for problem in sweeps.problems(case, again=True)] == []


@pytest.mark.parametrize("kind", sweeps.DEEDS)
def test_others_at_a_call(kind: str) -> None:
    sample = [case for case in sweeps.deeds() if case.kind == kind][::4]
    assert len(sample) > 30
    assert [problem for case in sample for problem in sweeps.problems(case)] == []


@pytest.mark.parametrize("name", ["no retries of refusals", "no retries"])
def test_the_sweep_finds_needs_attention_that_could_have_been_avoided(name: str) -> None:
    mutation = next(mutation for mutation in MUTATIONS if mutation.name == name)
    retiring = [case for case in sweeps.calls() if case.kind == "denied" and case.number > 85]
    with mutation.applied():
        found = [problem for case in retiring[::5] for problem in sweeps.problems(case)]
    assert any("needs-attention" in problem for problem in found)


def test_the_sweep_finds_a_scale_up_without_a_look_at_what_serves() -> None:
    name = "no look at what serves before Arriving.scale_up"
    mutation = next(mutation for mutation in MUTATIONS if mutation.name == name)
    growing = (case for case in sweeps.deeds() if case.kind == "grows")
    with mutation.applied():
        assert any("without a look" in found for case in growing for found in sweeps.problems(case))
