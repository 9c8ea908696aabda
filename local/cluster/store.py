"""What exists in the cluster: objects under one revision counter, on disk before anybody sees them.

An object handed out is the stored one and is never changed; a write brings a new one. Every write
has a revision of its own, so the history of changes is a plain list from which watches read on.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from local.cluster.kinds import STORED, Kind, Object
from local.storage import open_database, transaction

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WINDOW = 4000  # changes kept for watches to resume from

SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    kind TEXT, namespace TEXT, name TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER);
INSERT OR IGNORE INTO counter VALUES (1, 1);
"""


@dataclass(frozen=True, slots=True)
class Change:
    """One write. `previous` is the object as it was before, None for a new one."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    kind: Kind
    object: Object
    previous: Object | None
    revision: int


class Store:
    """Not for use from several threads. `listeners` are called within each write and only take
    note: they must not write themselves."""

    def __init__(self, path: Path) -> None:
        self._database = open_database(path, SCHEMA)
        self._objects: dict[str, dict[tuple[str, str], Object]] = {k.qualified: {} for k in STORED}
        self.listeners: list[Callable[[Change], None]] = []
        self.revision = 0
        self._load()
        self._history: deque[Change] = deque(maxlen=WINDOW)
        self._forgotten = self.revision  # the newest revision that the history cannot tell about

    def _load(self) -> None:
        (self.revision,) = self._database.execute("SELECT revision FROM counter").fetchone()
        for kind, namespace, name, body in self._database.execute("SELECT * FROM objects"):
            self._objects[kind][namespace, name] = json.loads(body)

    def close(self) -> None:
        self._database.close()

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        return self._objects[kind.qualified].get((namespace, name))

    def items(self, kind: Kind, namespace: str = "") -> list[Object]:
        """The objects of one namespace, or of all for an empty one, by namespace and name."""
        found = self._objects[kind.qualified]
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def put(self, kind: Kind, obj: Object) -> Object:
        """Stores an object under the next revision and returns it as stored."""
        key = _key(obj)
        previous = self._objects[kind.qualified].get(key)
        stored = self._stamped(obj)
        self._commit(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)",
            (kind.qualified, *key, json.dumps(stored)),
        )
        self._objects[kind.qualified][key] = stored
        self._record("MODIFIED" if previous else "ADDED", kind, stored, previous)
        return stored

    def drop(self, kind: Kind, obj: Object) -> Object:
        """Removes an object; returns it with the revision of its removal."""
        key = _key(obj)
        stored = self._stamped(obj)
        self._commit(
            "DELETE FROM objects WHERE kind = ? AND namespace = ? AND name = ?",
            (kind.qualified, *key),
        )
        previous = self._objects[kind.qualified].pop(key)
        self._record("DELETED", kind, stored, previous)
        return stored

    def since(self, revision: int) -> list[Change] | None:
        """The changes after a revision, oldest first; None when they are no longer known."""
        if revision < self._forgotten:
            return None
        skip = revision - self._forgotten
        return [self._history[i] for i in range(skip, len(self._history))]

    def _stamped(self, obj: Object) -> Object:
        metadata = {**obj["metadata"], "resourceVersion": str(self.revision + 1)}
        return {**obj, "metadata": metadata}

    def _commit(self, statement: str, parameters: tuple[object, ...]) -> None:
        with transaction(self._database) as database:
            database.execute(statement, parameters)
            database.execute("UPDATE counter SET revision = ?", (self.revision + 1,))
        self.revision += 1

    def _record(
        self,
        change: Literal["ADDED", "MODIFIED", "DELETED"],
        kind: Kind,
        obj: Object,
        previous: Object | None,
    ) -> None:
        if len(self._history) == WINDOW:
            self._forgotten += 1
        recorded = Change(change, kind, obj, previous, self.revision)
        self._history.append(recorded)
        for listener in self.listeners:
            listener(recorded)


def _key(obj: Object) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
