"""SIGKILL after, and in the middle of, every single commit."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from local.engine import Engine, SqliteJournal
from local.process import ROOT
from tests.local.engine.support import App

if TYPE_CHECKING:
    from pathlib import Path

EXPECTED = {"squares": [0, 1, 4], "nested": [25, 36], "rounds": 2}
# What the activity is called with: at least once each, and again only where a crash cut it off.
EFFECTS = {"0", "1", "2", "5", "6"}


def lives(directory: Path, mode: str) -> list[list[int]]:
    """Wait statuses of the processes that ran the story of `victim.py`."""
    argv = [sys.executable, "-m", "tests.local.engine.victim", str(directory), mode]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    assert done.returncode == 0, done.stderr
    found: list[list[int]] = json.loads(done.stdout)
    return found


@pytest.mark.guarantee(4)
@pytest.mark.parametrize("mode", ["after", "inside"])
def test_a_kill_at_any_commit_changes_nothing(tmp_path: Path, mode: str) -> None:
    found = lives(tmp_path, mode)
    assert found[-1] == [0]
    assert found[:-1] == [[signal.SIGKILL, 0]] * (len(found) - 1)
    # A start, five activities, a timer, an event, and a turn for most of them.
    assert len(found) > 15
    for n in range(1, len(found) + 1):
        counted = outcome(tmp_path, n)
        # Two threads: one kill cuts off at most two activities.
        assert sum(counted.values()) <= len(EFFECTS) + 2


def test_dying_again_and_again_still_gets_there(tmp_path: Path) -> None:
    (found,) = lives(tmp_path, "again")
    assert len(found) > 5
    assert found == [signal.SIGKILL] * (len(found) - 1) + [0]
    outcome(tmp_path, 1)


def outcome(directory: Path, n: int) -> Counter[str]:
    """Checks the journal a story left behind; how often each effect took place."""
    journal = SqliteJournal(directory / f"{n}.db")
    engine = Engine(App(), journal)
    found = engine.status("one")
    assert found is not None
    assert (found["runtimeStatus"], found["output"]) == ("Completed", EXPECTED)
    assert engine.ready() == []
    journal.close()
    counted = Counter((directory / f"{n}.effects").read_text().split())
    assert set(counted) == EFFECTS
    return counted
