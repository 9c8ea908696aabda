"""What happened in a run, in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.memory.clock import Clock


class Story:
    """The events of a run in their order, kept only when somebody wants to read them."""

    def __init__(self, clock: Clock, *, keep: bool) -> None:
        self._clock = clock
        self._keep = keep
        self.lines: list[str] = []

    def tell(self, who: str, text: str, *values: object) -> None:
        if self._keep:
            when = f"{self._clock.now:%d %H:%M:%S.%f}"[:-3]
            self.lines.append(f"{when}  {who:<34} {text % values}")
