"""The soak, for a few rotations; and that it tells what did not hold."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from bench.soak import Figures, Soak, arguments, text
from local.stack.faults import FaultDesk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import Stack


# Each rotation is disturbed at least once, within its first two seconds.
SEED = 3


@pytest.mark.guarantee(2, 4)
def test_a_short_one_violates_nothing(chaos_stack: Stack) -> None:
    found = Soak(chaos_stack, SEED).run(minutes=0.4)
    assert found.violations == []
    assert found.approved + found.rejected > 0
    assert found.kills + found.outages > 0
    assert found.requests > 0
    assert found.failed == 0


def test_an_answer_that_hides_the_outage_is_a_violation(
    chaos_stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def nothing_is_away(_: FaultDesk) -> Iterator[None]:
        yield

    monkeypatch.setattr(FaultDesk, "without_storage", nothing_is_away)
    soak = Soak(chaos_stack, SEED)
    soak._take_storage_away("orders-db-x", 0.5)  # noqa: SLF001 - the disturbance alone
    assert "while the storage was away, was answered 404" in soak.figures.violations[0]


def test_another_end_than_was_decided_is_a_violation(chaos_stack: Stack) -> None:
    soak = Soak(chaos_stack, SEED)
    record = {"rotation": "r-1", "outcome": "aborted", "outcomeReason": "prepare: no"}
    soak._judged(record, "approve", "blue", [])  # noqa: SLF001 - the judgement alone
    assert soak.figures.violations == ["r-1 ended as aborted, not completed: prepare: no"]


def test_the_last_lines_have_the_figures_and_the_violations() -> None:
    told = text(Figures("azure", 7, seconds=90.0, approved=2, rejected=1, violations=["so"]))
    assert "1.5 minutes on engine azure, seed 7\n3 rotations: 2 approved, 1 rejected" in told
    assert told.endswith("violated: so\n")
    assert arguments(["--engine", "azure", "--minutes", "60"]).seed == 1
