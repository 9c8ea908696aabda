"""Virtual time: a clock that is moved, and an agenda of what the outside world does by itself."""

from __future__ import annotations

import heapq
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

START = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)


class Clock:
    """A clock that stands still unless `now` is set."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def after(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=seconds)


class Agenda:
    """Actions by the time they are due."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: list[tuple[datetime, int, Callable[[], None]]] = []
        self._count = 0

    def add(self, seconds: float, action: Callable[[], None]) -> None:
        """Plans the action for that many seconds from now."""
        self._count += 1
        heapq.heappush(self._entries, (self._clock.after(seconds), self._count, action))

    def next(self) -> datetime | None:
        return self._entries[0][0] if self._entries else None

    def due(self) -> bool:
        return bool(self._entries) and self._entries[0][0] <= self._clock.now

    def pop(self) -> Callable[[], None]:
        return heapq.heappop(self._entries)[2]

    def clear(self) -> None:
        self._entries.clear()
