"""One reason why something cannot be adopted."""

from __future__ import annotations

from dataclasses import dataclass

GUIDE = "docs/consumers.md"


@dataclass(frozen=True)
class Refusal:
    """`what` is the object, `why` a part of a sentence about it, `cure` what to do instead."""

    what: str
    why: str
    cure: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}; {self.cure}"
