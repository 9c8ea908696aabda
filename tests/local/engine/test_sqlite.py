"""What is only true of the journal on disk."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from local.engine import JournalError, JournalInUse, SqliteJournal
from local.engine.events import Kind, event
from local.engine.state import Change, Message
from tests.local.engine.support import World, sdk_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.local.engine.support import Context, Steps

pytestmark = sdk_warnings


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "journal.db")
    yield journal
    journal.close()


def test_a_journal_has_one_owner(journal: SqliteJournal) -> None:
    with pytest.raises(JournalInUse, match="another process"):
        SqliteJournal(journal.path)


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_text("no database, though it is long enough to look at\n" * 9)
    with pytest.raises(JournalError, match="cannot open the journal"):
        SqliteJournal(tmp_path / "journal.db")


def test_a_journal_of_another_layout_is_refused(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "journal.db")
    db.execute("pragma user_version = 99")
    db.close()
    with pytest.raises(JournalError, match="layout 99"):
        SqliteJournal(tmp_path / "journal.db")


def test_a_step_that_cannot_be_stored_is_taken_back_as_a_whole(journal: SqliteJournal) -> None:
    world = World(journal)

    @world.app.orchestration
    def waits(context: Context) -> Steps:
        yield context.wait_for_external_event("go")

    world.start(waits)
    raised = event(Kind.EVENT_RAISED, world.clock.now, Name="go", Input="1")
    twice = [Message(7, "one", None, raised)] * 2
    with pytest.raises(JournalError, match="did not store a step"):
        journal.commit(Change(delivered=twice))
    assert world.finish_after("go")["runtimeStatus"] == "Completed"


@pytest.mark.parametrize("early", [True, False])
def test_a_finished_instance_leaves_no_timer_to_a_later_one(tmp_path: Path, *, early: bool) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    world = World(journal)

    @world.app.orchestration
    def race(context: Context) -> Steps:
        event = context.wait_for_external_event("go")
        timer = context.create_timer(context.current_utc_datetime + timedelta(days=1))
        yield context.task_any([event, timer])
        timer.cancel()

    @world.app.orchestration
    def waits(context: Context) -> Steps:
        yield context.wait_for_external_event("never")

    world.start(race)
    if not early:
        world.settle()
    assert world.finish_after("go")["runtimeStatus"] == "Completed"
    world.start(waits)
    journal.close()
    world.journal = SqliteJournal(tmp_path / "journal.db")
    world.restart()
    world.settle()
    assert world.show()["runtimeStatus"] == "Running"
    assert world.engine.next_timer() is None
    world.journal.close()


def test_everything_unfinished_is_read_back(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    world = World(journal)

    @world.app.step
    def double(n: int) -> int:
        return 2 * n

    @world.app.orchestration
    def busy(context: Context) -> Steps:
        timer = context.create_timer(context.current_utc_datetime + timedelta(days=1))
        child = context.call_sub_orchestrator("waits", [1], "child")
        yield context.task_all([context.call_activity("double", 2), timer, child])

    @world.app.orchestration
    def waits(context: Context) -> Steps:
        yield context.wait_for_external_event("go")

    world.start(busy)
    world.turn()
    world.engine.raise_event("child", "go", "1")
    before = [journal.summary(key) for key in ("one", "child")]
    ready, fires = world.engine.ready(), world.engine.next_timer()
    journal.close()

    reopened = SqliteJournal(tmp_path / "journal.db")
    world.journal = reopened
    world.restart()
    assert [reopened.summary(key) for key in ("one", "child")] == before
    assert (world.engine.ready(), world.engine.next_timer()) == (ready, fires)
    assert world.finish()["runtimeStatus"] == "Completed"
    reopened.close()
