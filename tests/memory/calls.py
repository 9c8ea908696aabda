"""What each call of an edge goes through on its way to the models.

The simulation injects faults there, and lets the checker look. `Direct` only takes notes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.memory.clock import Agenda, Clock
    from tests.memory.owner import Owner

T = TypeVar("T")


@dataclass(frozen=True)
class Change:
    """What a write does to a slot: to its preview Service, or to the slot itself.

    `raises` gives it more pods, which harms nobody; `destroys` also alters it.
    """

    owner: Owner
    kind: Literal["alters", "destroys", "raises", "previews"] = "alters"


class Calls(Protocol):
    """The way from an edge to the models; `target` is the system, `what` the verb and its
    target."""

    def read(self, target: str, what: str, effect: Callable[[float], T]) -> T:
        """The answer of `effect`, which gets the age of the answer in seconds."""

    def write(
        self, target: str, what: str, effect: Callable[[], T], change: Change | None = None
    ) -> T: ...

    def pause(self, seconds: float) -> None:
        """Lets `seconds` pass for the caller."""


@dataclass(frozen=True)
class Call:
    kind: Literal["read", "write"]
    what: str  # target and verb, as `database login orders_green`


class Direct:
    """Every call succeeds at once, unless `failing` has an error for how it begins.

    `made` are the calls that took effect, in their order.
    """

    def __init__(self, clock: Clock, agenda: Agenda) -> None:
        self._clock = clock
        self._agenda = agenda
        self.made: list[Call] = []
        self.failing: dict[str, Exception] = {}

    @property
    def reads(self) -> list[str]:
        return [call.what for call in self.made if call.kind == "read"]

    @property
    def writes(self) -> list[str]:
        return [call.what for call in self.made if call.kind == "write"]

    def read(self, target: str, what: str, effect: Callable[[float], T]) -> T:
        self._refuse(f"{target} {what}")
        found = effect(0.0)
        self.made.append(Call("read", f"{target} {what}"))
        return found

    def write(
        self, target: str, what: str, effect: Callable[[], T], change: Change | None = None
    ) -> T:
        del change
        self._refuse(f"{target} {what}")
        done = effect()
        self.made.append(Call("write", f"{target} {what}"))
        self.pause(0.0)
        return done

    def _refuse(self, what: str) -> None:
        for begins, error in self.failing.items():
            if what.startswith(begins):
                raise error

    def pause(self, seconds: float) -> None:
        """Moves the clock; what the world does meanwhile is done in its order."""
        end = self._clock.after(seconds)
        while (due := self._agenda.next()) is not None and due <= end:
            self._clock.now = max(self._clock.now, due)
            self._agenda.pop()()
        self._clock.now = end
