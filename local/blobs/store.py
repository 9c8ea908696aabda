"""Containers and their blobs, in SQLite."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.blobs.errors import BlobError, no_blob, no_container
from local.storage import transaction

if TYPE_CHECKING:
    import sqlite3

SCHEMA = """
CREATE TABLE IF NOT EXISTS containers (name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS blobs (
    container TEXT NOT NULL REFERENCES containers, name TEXT NOT NULL, content BLOB NOT NULL,
    type TEXT NOT NULL, etag TEXT NOT NULL, modified REAL NOT NULL,
    PRIMARY KEY (container, name)
) WITHOUT ROWID;
"""
# By the bytes of UTF-8, as SQLite compares too.
PAGE = """
SELECT * FROM blobs WHERE container = ? AND name > ? AND name >= ? AND substr(name, 1, ?) = ?
ORDER BY name LIMIT ?
"""


@dataclass(frozen=True)
class Blob:
    name: str
    content: bytes
    type: str
    etag: str  # with its quotes
    modified: float  # seconds since the epoch


@dataclass(frozen=True)
class Condition:
    """What must be so for a blob to be written; headers, as they came."""

    if_match: str | None = None
    if_none_match: str | None = None

    def check(self, found: Blob | None) -> None:
        """Raises `BlobError`."""
        if self.if_none_match == "*" and found is not None:
            raise BlobError(409, "BlobAlreadyExists", "The specified blob already exists.")
        if self.if_match is not None and (found is None or self.if_match not in {"*", found.etag}):
            text = "The condition specified using HTTP conditional header(s) is not met."
            raise BlobError(412, "ConditionNotMet", text)


class Store:
    """Raises `BlobError` as the service would; `now` is passed in, in seconds."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database

    def make(self, container: str) -> None:
        made = self.database.execute("INSERT OR IGNORE INTO containers VALUES (?)", (container,))
        if made.rowcount == 0:
            text = "The specified container already exists."
            raise BlobError(409, "ContainerAlreadyExists", text)

    def get(self, container: str, name: str) -> Blob:
        self._ensure(container)
        found = self._find(container, name)
        if found is None:
            raise no_blob()
        return found

    def put(
        self, container: str, name: str, content: bytes, kind: str, condition: Condition, now: float
    ) -> Blob:
        with transaction(self.database):
            self._ensure(container)
            condition.check(self._find(container, name))
            blob = Blob(name, content, kind, f'"0x{secrets.token_hex(8).upper()}"', now)
            self.database.execute(
                "INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?, ?, ?)",
                (container, name, content, kind, blob.etag, now),
            )
        return blob

    def page(self, container: str, prefix: str, after: str, start: str, most: int) -> list[Blob]:
        """Blobs whose names begin with `prefix`, come after `after` and not before `start`."""
        self._ensure(container)
        given = (container, after, max(start, prefix), len(prefix), prefix, most)
        return [_blob(row) for row in self.database.execute(PAGE, given)]

    def _find(self, container: str, name: str) -> Blob | None:
        given = (container, name)
        query = "SELECT * FROM blobs WHERE container = ? AND name = ?"
        row = self.database.execute(query, given).fetchone()
        return None if row is None else _blob(row)

    def _ensure(self, container: str) -> None:
        query = "SELECT 1 FROM containers WHERE name = ?"
        if self.database.execute(query, (container,)).fetchone() is None:
            raise no_container()


def _blob(row: sqlite3.Row) -> Blob:
    return Blob(row["name"], bytes(row["content"]), row["type"], row["etag"], row["modified"])
