"""The mutants themselves: one change each, and each is tried where its module belongs."""

from __future__ import annotations

import ast
from dataclasses import replace
from textwrap import dedent

import pytest

from local.process import ROOT
from tests.mutation.__main__ import main
from tests.mutation.cold import judged
from tests.mutation.mutants import mutants

SOURCE = dedent(
    '''
    """Words."""
    from typing import TYPE_CHECKING

    if TYPE_CHECKING:
        import collections

    LIMIT = 3

    def first(one: int = 1, two: str = "a") -> int:
        """Words."""
        if not one:
            raise ValueError("never" + two)
        log(one)
        return 2 if two else one + 3
    '''
)
CHANGES = [
    "not one -> one",
    "raise ValueError('never' + two) -> pass",
    "log(one) -> pass",
    "return 2 if two else one + 3 -> return None",
    "two -> not two",
    "2 -> 3",
    "one + 3 -> one - 3",
    "3 -> 4",
]


def test_there_is_a_mutant_for_each_thing_that_runs_and_none_for_words() -> None:
    found = mutants("some.py", SOURCE)
    assert [(one.function, one.change) for one in found] == [("first", text) for text in CHANGES]


def test_each_differs_from_the_source_in_one_place() -> None:
    before = ast.unparse(ast.parse(SOURCE)).splitlines()
    for mutant in mutants("some.py", SOURCE):
        after = ast.unparse(mutant.tree()).splitlines()
        assert len(after) == len(before)
        assert sum(one != other for one, other in zip(before, after, strict=True)) == 1


ROLLOUT = "rotation/decisions/rollout.py"
TESTS = ["tests/unit/test_rollout.py"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fault_is_noticed_and_its_absence_too() -> None:
    source = (ROOT / ROLLOUT).read_text(encoding="utf-8")
    every = mutants(ROLLOUT, source)
    assert judged(replace(every[0], place=None), TESTS) == "survived"
    assert judged(every[0], TESTS) == "killed"


def test_a_suite_that_is_neither_known_nor_a_path_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--suite", "tests/unit/test_nothing.py"])
    assert "neither unit, contract, attacks, forgery nor a path" in capsys.readouterr().err
