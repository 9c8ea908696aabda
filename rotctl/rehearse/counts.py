"""What the probe has printed, and what happened between two of its lines."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

KINDS = {  # how a request fails, as the probe says it
    "kept-idle": "on a kept connection that the server had closed",
    "kept-in-flight": "on a kept connection, after they were sent and before an answer began",
    "kept-timeout": "on a kept connection, without an answer in time",
    "fresh-closed": "on a new connection that was closed without an answer",
    "cut": "in the middle of an answer",
    "refused": "since no connection could be made",
    "timeout": "on a new connection, without an answer in time",
    "status": "answered with a status of 500 or more",
    "garbled": "answered with something other than HTTP",
}


@dataclass(frozen=True)
class Line:
    """Totals since the probe began, `at` seconds ago; `kept` is when each connection that is kept
    was opened. `waits`: how the last try failed, while nothing has answered yet."""

    at: float = 0.0
    waits: str = "start"
    clients: int = 0
    requests: int = 0
    answered: int = 0
    told: int = 0
    kept: tuple[float, ...] = ()
    failed: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    server: str = ""

    @classmethod
    def of(cls, text: str) -> Line | None:
        """None for a line that is none, or none yet."""
        try:
            found = json.loads(text)
            return cls(**{**found, "kept": tuple(found["kept"])})
        except (ValueError, TypeError, KeyError):
            return None


@dataclass(frozen=True)
class Span:
    """What came between two lines; `held` are connections of before that are kept still."""

    requests: int
    told: int
    held: int
    failed: dict[str, int]
    statuses: dict[str, int]

    @classmethod
    def between(cls, first: Line, last: Line) -> Span:
        return cls(
            last.requests - first.requests,
            last.told - first.told,
            sum(opened <= first.at for opened in last.kept),
            _less(last.failed, first.failed),
            _less(last.statuses, first.statuses),
        )

    @property
    def lost(self) -> int:
        return sum(self.failed.values())

    @property
    def how(self) -> str:
        return ", ".join(f"{n} {KINDS.get(kind, kind)}" for kind, n in sorted(self.failed.items()))


def _less(now: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return dict(Counter(now) - Counter(before))
