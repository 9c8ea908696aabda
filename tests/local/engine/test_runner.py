"""Threads, the wall clock, and a journal that fails."""

from __future__ import annotations

import json
import logging
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from local.engine import (
    Engine,
    JournalError,
    MemoryJournal,
    Runner,
    SqliteJournal,
)
from local.process import ROOT
from tests.local.engine.support import App, sdk_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.local.engine.support import Context, Steps

pytestmark = sdk_warnings

QUICK = (0.01, 0.01, 0.01)


@pytest.fixture
def app() -> App:
    app = App()

    @app.step
    def double(n: int) -> int:
        return 2 * n

    @app.orchestration
    def doubles(context: Context) -> Steps:
        first = yield context.call_activity("double", context.get_input())
        return (yield context.call_activity("double", first))

    return app


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "journal.db", busy_timeout=0.01)
    yield journal
    journal.close()


def ended(engine: Engine, instance_id: str = "one") -> dict[str, Any]:
    """Waits, without polling, for an instance's end."""

    def over() -> bool:
        summary = engine.journal.summary(instance_id)
        return summary is not None and summary.finished

    with engine.changed:
        assert engine.changed.wait_for(over, 20), engine.status(instance_id)
    found = engine.status(instance_id)
    assert found is not None
    return found


def test_orchestrations_run_on_threads_and_the_wall_clock(app: App, journal: SqliteJournal) -> None:
    @app.orchestration
    def naps(context: Context) -> Steps:
        yield context.create_timer(context.current_utc_datetime + timedelta(milliseconds=50))
        return (yield context.call_sub_orchestrator("doubles", 3))

    engine = Engine(app, journal)
    runner = Runner(engine)
    runner.start()
    began = time.monotonic()
    for n in range(5):
        engine.start("naps", f"nap{n}")
    assert [ended(engine, f"nap{n}")["output"] for n in range(5)] == [12] * 5
    assert time.monotonic() - began >= 0.05
    assert runner.stop()
    assert runner.failure is None


def test_activities_run_side_by_side(app: App) -> None:
    together = threading.Barrier(4)

    @app.step
    def meet(_: Any) -> None:
        together.wait(10)

    @app.orchestration
    def meets(context: Context) -> Steps:
        yield context.task_all([context.call_activity("meet", n) for n in range(4)])
        return "met"

    engine = Engine(app, MemoryJournal())
    runner = Runner(engine, activity_threads=4)
    runner.start()
    engine.start("meets", "one")
    assert ended(engine)["output"] == "met"
    assert runner.stop()


def test_nothing_spins_while_a_timer_waits_for_a_long_turn(app: App) -> None:
    looked: list[None] = []
    in_turn, release = threading.Event(), threading.Event()

    def clock() -> datetime:
        looked.append(None)
        return datetime.now(UTC)

    @app.orchestration
    def naps(context: Context) -> Steps:
        yield context.create_timer(context.current_utc_datetime + timedelta(milliseconds=20))

    @app.orchestration
    def slow(context: Context) -> Steps:
        in_turn.set()
        assert release.wait(10)
        yield context.call_activity("double", 1)

    engine = Engine(app, MemoryJournal(), clock)
    engine.start("naps", "one")
    for unit in engine.ready():
        engine.execute(unit)
    engine.start("slow", "two")
    runner = Runner(engine)
    runner.start()
    assert in_turn.wait(10)
    before = len(looked)
    assert not release.wait(0.1)
    assert len(looked) - before < 20
    release.set()
    assert ended(engine)["runtimeStatus"] == "Completed"
    assert runner.stop()


def test_stopping_lets_a_running_activity_end_and_takes_no_more(app: App) -> None:
    running, release = threading.Event(), threading.Event()

    @app.step
    def double(n: int) -> int:
        running.set()
        assert release.wait(10)
        return 2 * n

    journal = MemoryJournal()
    engine = Engine(app, journal)
    runner = Runner(engine)
    runner.start()
    engine.start("doubles", "one", "1")
    assert running.wait(10)
    assert not runner.stop(timeout=0.01)
    release.set()
    assert runner.stop()
    assert app.calls == [("double", 1)]

    again = Engine(app, journal)
    successor = Runner(again)
    successor.start()
    assert ended(again)["output"] == 4
    assert successor.stop()
    assert app.calls == [("double", 1), ("double", 2)]


def test_an_activity_without_a_recorded_result_runs_again_after_a_restart(
    app: App, tmp_path: Path
) -> None:
    first = SqliteJournal(tmp_path / "journal.db")
    engine = Engine(app, first)
    engine.start("doubles", "one", "1")
    (turn,) = engine.ready()
    engine.execute(turn)
    (activity,) = engine.ready()
    engine.run(activity)
    first.close()

    second = SqliteJournal(tmp_path / "journal.db")
    engine = Engine(app, second)
    runner = Runner(engine)
    runner.start()
    assert ended(engine)["output"] == 4
    assert runner.stop()
    assert app.calls == [("double", 1), ("double", 1), ("double", 2)]
    second.close()


def test_a_locked_journal_is_tried_again_without_running_anything_twice(
    app: App, journal: SqliteJournal, caplog: pytest.LogCaptureFixture
) -> None:
    blocker = sqlite3.connect(journal.path, isolation_level=None, check_same_thread=False)

    @app.step
    def double(n: int) -> int:
        if n == 1:
            blocker.execute("begin immediate")
        return 2 * n

    class Unblocks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert "trying again" in record.getMessage()
            if blocker.in_transaction:
                blocker.execute("rollback")

    logger = logging.getLogger("local.engine.runner")
    handler = Unblocks()
    logger.addHandler(handler)
    engine = Engine(app, journal)
    runner = Runner(engine, pauses=QUICK)
    runner.start()
    engine.start("doubles", "one", "1")
    assert ended(engine)["output"] == 4
    assert runner.stop()
    logger.removeHandler(handler)
    blocker.close()
    assert "database is locked (SQLITE_BUSY)" in caplog.text
    assert app.calls == [("double", 1), ("double", 2)]


def test_a_journal_that_stays_locked_stops_the_runner_loudly_and_loses_nothing(
    app: App, journal: SqliteJournal, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine(app, journal)
    engine.start("doubles", "one", "1")
    blocker = sqlite3.connect(journal.path, isolation_level=None)
    blocker.execute("begin immediate")
    failed = threading.Event()
    reports: list[BaseException] = []

    def report(error: BaseException) -> None:
        reports.append(error)
        failed.set()

    runner = Runner(engine, on_failure=report, pauses=QUICK)
    runner.start()
    assert failed.wait(10)
    assert runner.stop()
    assert isinstance(runner.failure, JournalError)
    assert len(reports) == 1
    assert any(record.levelno == logging.CRITICAL for record in caplog.records)
    with pytest.raises(JournalError, match="SQLITE_BUSY"):
        engine.start("doubles", "two", "1")
    assert engine.status("two") is None

    blocker.close()
    successor = Runner(engine)
    successor.start()
    assert ended(engine)["output"] == 4
    assert successor.stop()


class FillsUp(SqliteJournal):
    """A database that may not grow any more: SQLite then reports a full disk."""

    def allow(self, pages: int) -> None:
        self._db.execute(f"pragma max_page_count = {pages}")


def start_many(engine: Engine) -> None:
    for n in range(1000):
        engine.start("doubles", f"n{n}", json.dumps("x" * 1000))


def test_a_full_disk_fails_the_step_and_leaves_the_journal_whole(app: App, tmp_path: Path) -> None:
    journal = FillsUp(tmp_path / "journal.db")
    engine = Engine(app, journal)
    journal.allow(1)
    with pytest.raises(JournalError, match="full"):
        start_many(engine)
    stored, _ = engine.query(top=1000)
    assert 0 < len(stored) < 1000
    assert len(engine.ready()) == len(stored)

    journal.allow(10_000)
    engine.start("doubles", "one", "1")
    while ready := engine.ready():
        engine.execute(ready[0])
    assert ended(engine)["output"] == 4
    journal.close()


def test_a_write_that_the_system_refuses_stops_the_runner_and_loses_nothing(
    tmp_path: Path,
) -> None:
    """In a process of its own: the limit on the size of files is one of the process."""
    argv = [sys.executable, "-m", "tests.local.engine.fullness", str(tmp_path / "journal.db")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"failure": "JournalError", "output": 4}


def test_a_bug_in_the_engine_stops_the_runner(app: App) -> None:
    class Broken(MemoryJournal):
        def commit(self, change: Any) -> None:
            if change.appended:
                raise ZeroDivisionError
            super().commit(change)

    failed = threading.Event()
    engine = Engine(app, Broken())
    runner = Runner(engine, on_failure=lambda _: failed.set())
    runner.start()
    engine.start("doubles", "one", "1")
    assert failed.wait(10)
    assert runner.stop()
    assert isinstance(runner.failure, ZeroDivisionError)
