"""One fault at a time. `python -m tests.simulation --sweep` takes every case, this a sample."""

from __future__ import annotations

import pytest

from tests.local.engine.support import sdk_warnings
from tests.simulation import sweeps
from tests.simulation.faults import PASSING
from tests.simulation.mutations import MUTATIONS

pytestmark = sdk_warnings

EVERY = 80
WORKERS_EVERY = 60
LEAKS_EVERY = 331
# One quarter of what `make long` takes, which is one of twenty.
QUARTERS = [0, *(pytest.param(number, marks=pytest.mark.long) for number in (20, 40, 60))]
SPARSER = {
    "configures": 20,
    "syncs": 20,
    "deletes the vault": 20,
    "releases": 10,
    "rewrites": 20,
    "loses": 20,
}


@pytest.mark.parametrize("quarter", QUARTERS)
@pytest.mark.parametrize("kind", sweeps.KINDS)
def test_a_call_that_fails_once(kind: str, quarter: int) -> None:
    cases = [case for case in sweeps.calls() if case.kind == kind]
    sample = cases[sweeps.KINDS.index(kind) + quarter :: EVERY]
    assert len(sample) > 4
    assert [problem for case in sample for problem in sweeps.problems(case)] == []


@pytest.mark.parametrize("half", [0, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", PASSING)
def test_what_a_server_says_that_passes(kind: str, half: int) -> None:
    cases = [case for case in sweeps.passing() if case.kind == kind]
    sample = cases[PASSING.index(kind) % 3 :: max(len(cases) // 5, 1)][half::2]
    assert len(sample) > 1
    assert [problem for case in sample for problem in sweeps.problems(case)] == []


@pytest.mark.parametrize("quarter", QUARTERS)
@pytest.mark.parametrize("kind", ["before", "after"])
def test_a_crash_at_a_commit(kind: str, quarter: int) -> None:
    sample = [case for case in sweeps.commits() if case.kind == kind][quarter::EVERY]
    assert len(sample) > 1
    assert [problem for case in sample for problem in sweeps.problems(case, again=True)] == []


@pytest.mark.long
@pytest.mark.parametrize("first", [0, 31])
@pytest.mark.parametrize("beside", sweeps.BESIDE)
def test_another_kind_of_workload(beside: str, first: int) -> None:
    cases = [case for case in sweeps.with_one(beside) if "denied" not in case.kind]
    sample = cases[first :: 2 * WORKERS_EVERY]
    assert len(sample) > 15
    assert [problem for case in sample for problem in sweeps.problems(case, again=True)] == []


LEAKS = list(sweeps.LEAKS)
# Half of them for `make long`: one of each cut, and one of each moment, is in `make test`.
SOME_LEAKS = [LEAKS[1], LEAKS[2], *(pytest.param(n, marks=pytest.mark.long) for n in LEAKS[::3])]


@pytest.mark.guarantee(4)
@pytest.mark.parametrize("leak", SOME_LEAKS)
def test_an_incident(leak: str) -> None:
    """A fault at a call, or a crash at a commit, leaves no credential between two states."""
    first = LEAKS.index(leak)
    sample = list(sweeps.with_one(leak))[first::LEAKS_EVERY]
    assert len(sample) > 4
    assert [problem for case in sample for problem in sweeps.problems(case, again=True)] == []


@pytest.mark.long
@pytest.mark.parametrize("leak", sweeps.LEAKS)
def test_more_of_an_incident(leak: str) -> None:
    sample = list(sweeps.with_one(leak))[7::41]
    assert [problem for case in sample for problem in sweeps.problems(case, again=True)] == []


@pytest.mark.long
@pytest.mark.parametrize("kind", sweeps.DEEDS)
def test_others_at_a_call(kind: str) -> None:
    sample = [case for case in sweeps.deeds() if case.kind == kind][:: SPARSER.get(kind, 8)]
    assert len(sample) > 12
    assert [problem for case in sample for problem in sweeps.problems(case)] == []


@pytest.mark.long
@pytest.mark.parametrize("name", ["no retries of refusals", "no retries"])
def test_the_sweep_finds_needs_attention_that_could_have_been_avoided(name: str) -> None:
    mutation = next(mutation for mutation in MUTATIONS if mutation.name == name)
    retiring = [case for case in sweeps.calls() if case.kind == "denied" and case.number > 85]
    with mutation.applied():
        found = (problem for case in retiring[::5] for problem in sweeps.problems(case))
        assert any("needs-attention" in problem for problem in found)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("going back asks for a login", "exhausts"),
        ("a server without a connection stops what would free some", "exhausts"),
        ("going back waits for as many pods", "outgrows"),
    ],
)
def test_the_sweep_finds_what_waits_for_connections_that_it_could_free(
    name: str, kind: str
) -> None:
    mutation = next(mutation for mutation in MUTATIONS if mutation.name == name)
    cases = [case for case in sweeps.deeds() if (case.kind, case.answer) == (kind, "reject")]
    with mutation.applied():
        found = (problem for case in cases[70::3] for problem in sweeps.problems(case))
        assert any("needs-attention" in problem for problem in found)


@pytest.mark.long
@pytest.mark.parametrize(
    ("verb", "deed"), [("scale_up", "grows"), ("level", "releases"), ("sync", "syncs")]
)
def test_the_sweep_finds_a_change_before_a_swap_without_a_look_at_what_serves(
    verb: str, deed: str
) -> None:
    name = f"no look at what serves before Arriving.{verb}"
    mutation = next(mutation for mutation in MUTATIONS if mutation.name == name)
    cases = (
        case
        for case in sweeps.deeds()
        if case.kind == deed and case.number > sweeps.after_the_plan(14)
    )
    with mutation.applied():
        assert any("without a look" in found for case in cases for found in sweeps.problems(case))


@pytest.mark.long
@pytest.mark.parametrize("deed", ["rewrites", "loses"])
def test_the_sweep_finds_a_rotation_that_follows_the_file_of_the_day(deed: str) -> None:
    name = "a rotation follows the file of the day"
    mutation = next(mutation for mutation in MUTATIONS if mutation.name == name)
    since, until = sweeps.after_the_plan(14), sweeps.after_the_plan(29)
    cases = [c for c in sweeps.deeds() if c.kind == deed and since < c.number < until]
    with mutation.applied():
        found = [problem for case in cases[:3] for problem in sweeps.problems(case)]
    assert any("credentials.yaml" in problem or "ends as" in problem for problem in found)


@pytest.mark.long
def test_the_sweep_finds_a_swap_without_a_look_at_the_pods() -> None:
    """Which a drain may have taken since they were waited for."""
    name = "no look at the pods before a swap"
    mutation = next(mutation for mutation in MUTATIONS if mutation.name == name)
    cases = (
        case
        for case in sweeps.deeds()
        if case.kind == sweeps.SINGLE and case.number > sweeps.after_the_plan(19)
    )
    with mutation.applied():
        assert any("invariant 8" in found for case in cases for found in sweeps.problems(case))


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "deed"),
    [("a release is overlooked", "releases"), ("a changed template is overlooked", "configures")],
)
def test_the_sweep_finds_a_release_that_is_overlooked(name: str, deed: str) -> None:
    mutation = next(mutation for mutation in MUTATIONS if mutation.name == name)
    cases = [
        case
        for case in sweeps.deeds()
        if case.kind == deed and case.number > sweeps.after_the_plan(14)
    ]
    with mutation.applied():
        assert any("has undone" in found for case in cases for found in sweeps.problems(case))
