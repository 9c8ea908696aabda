"""Files of a component's state directory: readable by their owner alone, whole or not there."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def private_directory(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def write_private(path: Path, content: bytes) -> None:
    """Replaces the file in one step, with mode 0600."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Holds the directory against other processes that ask for the same."""
    with (private_directory(directory) / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def made_once(path: Path, make: Callable[[], bytes]) -> bytes:
    """The content of a file; the first of any number of processes makes it."""
    with locked(path.parent):
        if not path.exists():
            write_private(path, make())
        return path.read_bytes()


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """A database that survives a kill at any moment. Each statement commits by itself unless
    it runs within `transaction`."""
    private_directory(path.parent)
    # SQLite gives its side files the mode of the main one, so that one is made first.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    database = sqlite3.connect(path, isolation_level=None)
    database.row_factory = sqlite3.Row
    database.executescript(
        f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON; {schema}"
    )
    return database


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Commits what is done in here as a whole; joins the transaction that is open, if one is."""
    if database.in_transaction:
        yield database
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
