"""Where steps are stored: in memory for simulation, in SQLite to survive anything."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from local.engine.state import State

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from local.engine.events import Event
    from local.engine.state import Change, Summary


@dataclass(frozen=True, slots=True)
class Filter:
    """Which instances a query lists; None does not narrow. Times are inclusive."""

    statuses: Collection[str] | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    prefix: str | None = None

    def accepts(self, summary: Summary) -> bool:
        return (
            (not self.statuses or summary.status in self.statuses)
            and (self.created_from is None or summary.created >= self.created_from)
            and (self.created_to is None or summary.created <= self.created_to)
            and (not self.prefix or summary.id.startswith(self.prefix))
        )


class Journal(Protocol):
    """`state` is all unfinished work as committed. Finished instances are read with the others."""

    state: State

    def commit(self, change: Change) -> None:
        """Stores the change as a whole, then applies it to `state`. On `JournalError` neither
        has happened, and the same change may be committed again."""

    def summary(self, instance_id: str) -> Summary | None: ...

    def history(self, instance_id: str) -> list[Event]: ...

    def select(self, wanted: Filter, after: str, limit: int) -> list[Summary]:
        """In the order of ids, those greater than `after`."""

    def close(self) -> None: ...


class MemoryJournal:
    """Keeps everything in this process. A second `Engine` on it continues where the first was."""

    def __init__(self) -> None:
        self.state = State()
        self._summaries: dict[str, Summary] = {}
        self._histories: dict[str, list[Event]] = {}

    def commit(self, change: Change) -> None:
        for key in change.purged:
            self._summaries.pop(key, None)
            self._histories.pop(key, None)
        self._summaries.update(change.saved)
        for ended in self.state.apply(change):
            self._histories[ended.summary.id] = ended.history

    def summary(self, instance_id: str) -> Summary | None:
        return self._summaries.get(instance_id)

    def history(self, instance_id: str) -> list[Event]:
        running = self.state.instances.get(instance_id)
        return self._histories.get(instance_id, []) if running is None else running.history

    def select(self, wanted: Filter, after: str, limit: int) -> list[Summary]:
        found = [s for key, s in self._summaries.items() if key > after and wanted.accepts(s)]
        return sorted(found, key=lambda summary: summary.id)[:limit]

    def close(self) -> None:
        """Nothing to release."""


def token(after: str) -> str:
    """A continuation token: opaque to callers, it names the last id they saw."""
    return base64.urlsafe_b64encode(after.encode()).decode()


def after(continuation: str | None) -> str:
    """The id in a continuation token. Raises `ValueError` when it is none."""
    if not continuation:
        return ""
    return base64.urlsafe_b64decode(continuation.encode()).decode()
