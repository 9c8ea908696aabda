"""Where faults strike: between an execution and the models. Behind every effect, the checker."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rotation.model.errors import Denied, Unavailable
from tests.simulation.faults import STALE, Call, Fault
from tests.simulation.fibers import Broken, CutOff, HostCrash

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.checker import Checker
    from tests.simulation.clock import Clock
    from tests.simulation.faults import Plan
    from tests.simulation.fibers import Fiber, Fibers
    from tests.simulation.story import Story
    from tests.simulation.world import Owner, World

T = TypeVar("T")
NONE = Fault("slow")  # held up for no time at all


class Unforeseen(Exception):  # noqa: N818 - what nobody thought of
    """Stands for a bug in an SDK, with whatever such an exception may quote."""


class Calls:
    """`number` counts the calls of a run. `spawn` starts a second execution of the same unit."""

    def __init__(
        self,
        clock: Clock,
        fibers: Fibers,
        plan: Plan,
        world: World,
        checker: Checker,
        story: Story,
    ) -> None:
        self.clock = clock
        self.fibers = fibers
        self.plan = plan
        self.number = 0
        self.stale = 0  # answers that were out of date
        self.untested = 0  # requests of the workloads' tests that were not answered
        self.spawn: Callable[[Fiber, float], bool] = lambda fiber, lag: False  # noqa: ARG005
        self.at: dict[int, Callable[[], None]] = {}  # what others do at a call's number
        self._world = world
        self._checker = checker
        self._story = story

    def read(self, target: str, verb: str, effect: Callable[[float], T]) -> T:
        """`effect` gets the age of the answer in seconds."""
        fault = self._draw(target, verb, writes=False)
        self._before(fault, f"{target} {verb}")
        self.stale += fault.kind == "stale"
        result = effect(STALE if fault.kind == "stale" else 0.0)
        self._after(fault, f"{target} {verb}")
        return result

    def write(
        self,
        target: str,
        verb: str,
        effect: Callable[[], T],
        owner: Owner | None = None,
        *,
        destroys: bool = False,
    ) -> T:
        """`owner` is the slot that is altered, if it is one slot that is."""
        fault = self._draw(target, verb, writes=True)
        self._before(fault, f"{target} {verb}")
        fiber = self.fibers.current
        if fiber is not None and fiber.late and verb.startswith("put "):
            raise CutOff  # Key Vault has no conditional write: see docs/simulation.md
        before = owner and self._world.parts(owner)
        serving = self._world.serving(owner) if owner else []
        result = effect()
        if owner is not None and fiber is not None and self._world.parts(owner) != before:
            self._checker.touched(fiber, owner, verb, serving, destroys=destroys)
        self._story.tell(_who(fiber), "did %s %s", target, verb)
        self._checker.look(fiber, verb)
        self._after(fault, f"{target} {verb}")
        return result

    def _draw(self, target: str, verb: str, *, writes: bool) -> Fault:
        self.number += 1
        call = Call(self.number, target, verb, writes)
        others = self.at.pop(self.number, None)
        if others is not None:
            self._disturb(others)
        fault = self.plan.call(call)
        if fault is not None and fault.kind != "slow" and verb.startswith("fetch"):
            self.untested += 1
        if fault is not None and fault.lasts:
            self._checker.permanent(self.clock.now, f"{target} {verb}: {fault.kind}")
        return fault or NONE

    def _disturb(self, others: Callable[[], None]) -> None:
        try:
            others()
        except Exception as error:
            raise Broken(str(error)) from error

    def _before(self, fault: Fault, what: str) -> None:
        fiber = self.fibers.current
        if fault is not NONE:
            self._story.tell(_who(fiber), "fault %s at %s", fault.kind, what)
        if fault.kind == "duplicate" and fiber is not None:
            self.spawn(fiber, 0.0)
        self.fibers.pause(fault.before)
        if fault.kind == "unavailable":
            raise Unavailable(f"{what}: no answer")
        if fault.kind == "denied":
            raise Denied(f"{what}: HTTP 403")
        if fault.kind == "unexpected":
            # What the durable client says cannot hold a value: it never had one.
            values = [] if what.startswith("client") else self._world.values[-2:]
            raise Unforeseen(f"{what}: {' '.join(values)}")
        if fault.kind == "crash-before":
            raise HostCrash
        if fault.kind == "cut-before":
            raise CutOff

    def _after(self, fault: Fault, what: str) -> None:
        if fault.after:
            self.fibers.pause(fault.after)
        if fault.kind == "lost":
            raise Unavailable(f"{what}: the connection broke", retry_after=3.0)
        if fault.kind == "crash-after":
            raise HostCrash
        if fault.kind == "cut-after":
            raise CutOff


def _who(fiber: Fiber | None) -> str:
    return "others" if fiber is None else fiber.name
