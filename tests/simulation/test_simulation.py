"""A few hundred faulty runs; `make simulate` has as many as anybody wants."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections import Counter
from functools import cache
from random import Random
from typing import TYPE_CHECKING, TextIO

import pytest
from dateutil.parser import parse  # type: ignore[import-untyped]  # no types

from local.engine.events import stamp
from tests.local.engine.support import sdk_warnings
from tests.memory.clock import START
from tests.simulation import scenario
from tests.simulation.__main__ import main
from tests.simulation.faults import Drawn
from tests.simulation.mutations import MUTATIONS
from tests.simulation.program import parsed
from tests.simulation.run import Options, Result, simulate
from tests.simulation.troubles import troubled

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = sdk_warnings

RUNS = 30
EVERY_TIME = 31  # the seeds below this; `make long` has the others


@cache
def usual(seed: int) -> Result:
    """The result of a run as `make simulate` makes it."""
    return simulate(seed, Options())


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(first, marks=[] if first < EVERY_TIME else pytest.mark.long)
        for first in range(1, 300, RUNS)
    ],
)
def test_no_run_violates_an_invariant(first: int) -> None:
    results = [usual(seed) for seed in range(first, first + RUNS)]
    found = [f"seed {r.seed}: {violation}" for r in results for violation in r.violations]
    assert found == []
    assert sum(result.calls for result in results) > 50 * RUNS


def told(stream: TextIO, seeds: Iterable[int] | None = None) -> None:
    """Writes the stories of the seeds, or of those on the command line."""
    runs = (simulate(seed, Options(story=True)) for seed in seeds or map(int, sys.argv[1:]))
    stream.writelines("\n".join(run.story) + "\n" for run in runs)


def test_a_seed_replays_exactly() -> None:
    story = Options(story=True)
    for seed in range(7, 12):
        assert simulate(seed, story) == simulate(seed, story)


def test_a_seed_replays_in_another_process() -> None:
    """Whose sets have another order: nothing may depend on one."""
    seeds = range(62592, 62596)  # with several workloads, whose parts end together
    script = "import sys; from tests.simulation.test_simulation import told; told(sys.stdout)"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    there = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-W", "ignore", "-c", script, *map(str, seeds)],
        check=True,
        capture_output=True,
        env=environment,
        text=True,
    )
    here = io.StringIO()
    told(here, seeds)
    assert there.stdout == here.getvalue()


def test_seeds_differ() -> None:
    stories = {"\n".join(simulate(seed, Options(story=True)).story) for seed in range(4)}
    assert len(stories) == 4


def test_runs_end_in_every_way() -> None:
    ends = {outcome for seed in range(1, 31) for outcome in usual(seed).outcomes}
    assert ends == {
        "completed",
        "rolled-back",
        "aborted",
        "skipped",
        "refused",
        "needs-attention",
        "superseded",
    }


def test_without_faults_and_others_every_rotation_goes_as_decided() -> None:
    """Somebody who is asked before the swap, and rejects, is the one reason to abort."""
    calm = Options(
        kinds=(), others=False, flaws=False, troubles=False, incidents=False, cancels=False
    )
    ends: dict[bool, set[str]] = {True: set(), False: set()}
    for seed in range(25):
        ends[asked_before(seed)] |= set(simulate(seed, calm).outcomes)
    assert ends[False] == {"completed", "rolled-back", "skipped"}
    assert ends[True] > {"aborted"}


def asked_before(seed: int) -> bool:
    """Whether somebody is asked before a swap in this run."""
    rng = Random(seed)  # noqa: S311 - a seed that replays
    Drawn(rng, ())
    drawn = scenario.draw(rng).configuration.credentials
    return any(credential.approval.before_swap for credential in drawn.values())


@pytest.mark.long
def test_without_faults_and_others_every_cancel_ends_in_an_abort() -> None:
    calm = Options(kinds=(), others=False, flaws=False, troubles=False, incidents=False)
    results = [simulate(seed, calm) for seed in range(40)]
    assert [found for result in results for found in result.violations] == []
    ends = Counter(outcome for result in results for outcome in result.outcomes)
    assert ends.keys() == {"completed", "rolled-back", "skipped", "aborted"}
    assert ends["aborted"] > 1


@pytest.mark.long
def test_trouble_is_refused_unless_whoever_may_waives_it() -> None:
    """Without anything else in the way: the verdict looks at who waived what."""
    seeds = [seed for seed in range(400) if in_trouble(seed)][:15]
    calm = Options(kinds=(), others=False, flaws=False, incidents=False)
    results = [simulate(seed, calm) for seed in seeds]
    assert [found for result in results for found in result.violations] == []
    assert {"completed", "refused"} <= {end for result in results for end in result.outcomes}


def in_trouble(seed: int) -> bool:
    drawn = troubled(scenario.plain(), Random(f"trouble {seed}"))  # noqa: S311 - a seed that replays
    return drawn.trouble is not None


def test_the_last_line_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "3", "--seed", "5"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 runs, 0 violations"


def test_a_violation_is_told_with_the_way_to_see_it_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    mutation = next(m for m in MUTATIONS if m.name == "a value is returned")
    with mutation.applied():
        # The first rotation of this seed gets as far as its secret.
        assert main(["--runs", "2", "--seed", "6"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert 'make simulate ARGS="--runs 1 --seed 6 --story"' in lines[1]
    assert lines[-1].startswith("2 runs, ")
    assert not lines[-1].endswith(" 0 violations")


def test_time_stamps_are_read_as_the_sdk_reads_them() -> None:
    for text in (stamp(START), "2027-03-01T12:00:00.123456Z", "2027-03-01T12:00:00Z"):
        ours, theirs = parsed(text), parse(text)
        assert (ours, ours.utcoffset()) == (theirs, theirs.utcoffset())
