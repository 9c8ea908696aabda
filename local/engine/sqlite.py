"""The journal on disk: SQLite, one transaction a step, flushed before the step counts."""

from __future__ import annotations

import contextlib
import fcntl
import json
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.engine.errors import JournalError, JournalInUse
from local.engine.events import Event, moment, stamp
from local.engine.state import Activity, Change, Message, Parent, State, Summary, Timer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.engine.journal import Filter

VERSION = 2
SCHEMA = """
create table instances (
    id text primary key, execution text not null, name text not null, input text, parent text,
    status text not null, created text not null, updated text not null, custom text, output text,
    version text not null
);
create table history (
    instance text, position integer, event text not null, primary key (instance, position)
) without rowid;
create table inbox (
    sequence integer primary key, instance text not null, execution text, event text not null
);
create index inbox_instance on inbox (instance);
create table activities (
    instance text, execution text, task integer, name text not null, input text not null,
    position integer primary key autoincrement
);
create unique index activity_key on activities (instance, execution, task);
create table timers (
    instance text, execution text, task integer, fire_at text not null,
    primary key (instance, execution, task)
);
"""
SAVE = "insert or replace into instances values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
SELECT = """
select * from instances
where id > :after
    and (:statuses is null or status in (select value from json_each(:statuses)))
    and (:from is null or created >= :from)
    and (:to is null or created <= :to)
    and substr(id, 1, length(:prefix)) = :prefix
order by id limit :limit
"""
UNFINISHED = """
select * from instances where status not in ('Completed', 'Failed', 'Terminated')
"""
UNFINISHED_HISTORY = """
select history.* from history join instances on instances.id = history.instance
where status not in ('Completed', 'Failed', 'Terminated') order by instance, position
"""


class SqliteJournal:
    """`path`: the database file, made when missing. One process at a time.

    Raises `JournalInUse` when another process has it, `JournalError` when it cannot be opened.
    """

    def __init__(self, path: Path | str, busy_timeout: float = 2.0) -> None:
        self.path = Path(path)
        self._mutex = threading.Lock()
        self._owner = own(self.path)
        try:
            with translated(f"cannot open the journal {self.path}"):
                self._db = connect(self.path, busy_timeout)
                self.state = load(self._db)
        except BaseException:
            self._owner.close()
            raise

    def commit(self, change: Change) -> None:
        with self._mutex:
            with translated(f"the journal {self.path} did not store a step"):
                self._store(change)
            self.state.apply(change)

    def _store(self, change: Change) -> None:
        self._db.execute("begin immediate")
        try:
            write(self._db, change)
            self._db.execute("commit")
        except BaseException:
            # SQLite has rolled back by itself after some errors (a full disk, for one).
            if self._db.in_transaction:
                self._db.execute("rollback")
            raise

    def summary(self, instance_id: str) -> Summary | None:
        rows = self._read("select * from instances where id = :id", {"id": instance_id})
        return to_summary(rows[0]) if rows else None

    def history(self, instance_id: str) -> list[Event]:
        sql = "select event from history where instance = :id order by position"
        return [Event.parse(text) for (text,) in self._read(sql, {"id": instance_id})]

    def select(self, wanted: Filter, after: str, limit: int) -> list[Summary]:
        values: dict[str, object] = {
            "after": after,
            "statuses": json.dumps(list(wanted.statuses)) if wanted.statuses else None,
            "from": stamp(wanted.created_from) if wanted.created_from else None,
            "to": stamp(wanted.created_to) if wanted.created_to else None,
            "prefix": wanted.prefix or "",
            "limit": limit,
        }
        return [to_summary(row) for row in self._read(SELECT, values)]

    def _read(self, sql: str, values: dict[str, object]) -> list[Any]:
        with self._mutex, translated(f"cannot read the journal {self.path}"):
            return self._db.execute(sql, values).fetchall()

    def close(self) -> None:
        with self._mutex:
            self._db.close()
            self._owner.close()


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        code = getattr(error, "sqlite_errorname", type(error).__name__)
        raise JournalError(
            f"{what}: {error} ({code}). Check the disk's free space, the file's permissions and"
            " what else has the file open"
        ) from error


def own(path: Path) -> Any:
    """Locks a file beside the journal for as long as this process has it open."""
    lock = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = lock.open("w")
    except OSError as error:
        raise JournalError(f"cannot create {lock}: {error}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise JournalInUse(f"another process runs on the journal {path}: stop it first") from error
    return handle


def connect(path: Path, busy_timeout: float) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
    try:
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = full")
        prepare(db, path)
    except BaseException:
        db.close()
        raise
    return db


def prepare(db: sqlite3.Connection, path: Path) -> None:
    version = db.execute("pragma user_version").fetchone()[0]
    if version == 0:
        db.executescript(f"begin; {SCHEMA} pragma user_version = {VERSION}; commit;")
    elif version != VERSION:
        raise JournalError(
            f"the journal {path} has layout {version}, this engine reads {VERSION}: finish its"
            " work with the version that wrote it, or start with another file"
        )


def write(db: sqlite3.Connection, change: Change) -> None:
    many = db.executemany
    many("delete from instances where id = ?", [[key] for key in change.purged])
    cleared = [[key] for key in (*change.purged, *change.history_cleared)]
    many("delete from history where instance = ?", cleared)
    many("delete from inbox where instance = ?", [[key] for key in change.inbox_cleared])
    many("delete from timers where instance = ?", [[key] for key in change.timers_cleared])
    many(SAVE, [from_summary(summary) for summary in change.saved.values()])
    many(
        "insert into history values (?, ?, ?)",
        [(key, position, event.text) for key, position, event in change.appended],
    )
    many("delete from inbox where sequence = ?", [[m.sequence] for m in change.consumed])
    many(
        "insert into inbox values (?, ?, ?, ?)",
        [(m.sequence, m.instance, m.execution, m.event.text) for m in change.delivered],
    )
    write_work(db, change)


def write_work(db: sqlite3.Connection, change: Change) -> None:
    db.executemany(
        "insert into activities (instance, execution, task, name, input) values (?, ?, ?, ?, ?)",
        [(*activity.key, activity.name, activity.input) for activity in change.scheduled],
    )
    db.executemany(
        "delete from activities where instance = ? and execution = ? and task = ?",
        [activity.key for activity in change.completed],
    )
    db.executemany(
        "insert into timers values (?, ?, ?, ?)",
        [(*timer.key, stamp(timer.fire_at)) for timer in change.armed],
    )
    db.executemany(
        "delete from timers where instance = ? and execution = ? and task = ?",
        [timer.key for timer in change.disarmed],
    )


def load(db: sqlite3.Connection) -> State:
    """All that is unfinished, as one change that made it."""
    state = State()
    inbox = db.execute("select sequence, instance, execution, event from inbox order by sequence")
    activities = db.execute(
        "select instance, execution, task, name, input from activities order by position"
    )
    timers = db.execute(
        "select instance, execution, task, fire_at from timers order by fire_at, instance, task"
    )
    change = Change(
        saved={row[0]: to_summary(row) for row in db.execute(UNFINISHED)},
        appended=[(key, n, Event.parse(text)) for key, n, text in db.execute(UNFINISHED_HISTORY)],
        delivered=[Message(n, key, run, Event.parse(text)) for n, key, run, text in inbox],
        scheduled=[Activity(*row) for row in activities],
        armed=[Timer(key, run, task, moment(at)) for key, run, task, at in timers],
    )
    state.apply(change)
    return state


def from_summary(summary: Summary) -> tuple[object, ...]:
    parent = None if summary.parent is None else json.dumps(summary.parent)
    return (
        summary.id,
        summary.execution,
        summary.name,
        summary.input,
        parent,
        summary.status,
        stamp(summary.created),
        stamp(summary.updated),
        summary.custom,
        summary.output,
        summary.version,
    )


def to_summary(row: tuple[Any, ...]) -> Summary:
    key, execution, name, argument, parent, status, created, updated, custom, output, version = row
    return Summary(
        key,
        execution,
        name,
        argument,
        None if parent is None else Parent(*json.loads(parent)),
        status,
        moment(created),
        moment(updated),
        custom,
        output,
        version,
    )
