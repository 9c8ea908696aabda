"""Where faults strike: between an execution and the models. Behind every effect, the checker."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rotation.model.errors import Denied, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import DeploymentTarget
from tests.simulation.faults import STALE, Call, Fault
from tests.simulation.fibers import Broken, CutOff, HostCrash
from tests.simulation.passing import SAID

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.memory.calls import Change
    from tests.memory.clock import Clock
    from tests.memory.world import World
    from tests.simulation.checker import Checker
    from tests.simulation.faults import Plan
    from tests.simulation.fibers import Fiber, Fibers
    from tests.simulation.story import Story

T = TypeVar("T")
CODES = {
    "vault": (Code.VAULT_UNAVAILABLE, Code.VAULT_DENIED),
    "database": (Code.DATABASE_UNREACHABLE, Code.LOGIN_REFUSED),
    "cluster": (Code.CLUSTER_UNAVAILABLE, Code.CLUSTER_DENIED),
    "topic": (Code.TOPIC_UNAVAILABLE, Code.TOPIC_DENIED),
    "metrics": (Code.METRICS_UNAVAILABLE, Code.METRICS_DENIED),
    "client": (Code.UNEXPECTED, Code.UNEXPECTED),
    "storage": (Code.STORAGE_UNAVAILABLE, Code.STORAGE_DENIED),
}
NONE = Fault("slow")  # held up for no time at all
REFUSED = "HTTP 403"  # as a fault says it that lasts; nothing else here does


class Unforeseen(Exception):  # noqa: N818 - what nobody thought of
    """An exception that stands for a bug in an SDK, with whatever such may quote."""


class FaultyCalls:
    """Implements `tests.memory.calls.Calls`.

    `number` counts the calls of a run. `spawn` starts a second execution of the same unit.
    """

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
        self.untested = 0  # requests and queries of the workloads' tests that were not answered
        self.spawn: Callable[[Fiber, float], bool] = lambda fiber, lag: False  # noqa: ARG005
        self.at: dict[int, Callable[[], None]] = {}  # what others do at a call's number
        self.gone: set[str] = set()  # systems that never answer again
        self.struck: set[str] = set()  # systems at which a fault has struck
        self._world = world
        self._checker = checker
        self._story = story

    def read(self, target: str, what: str, effect: Callable[[float], T]) -> T:
        """The answer of `effect`, which gets the age of the answer in seconds."""
        fault = self._draw(target, what, writes=False)
        self._before(fault, f"{target} {what}")
        self.stale += fault.kind == "stale"
        self._world.advance()
        result = effect(STALE if fault.kind == "stale" else 0.0)
        if self.fibers.current is not None:
            self.fibers.current.saw(what)
        self._after(fault, f"{target} {what}")
        return result

    def write(
        self, target: str, what: str, effect: Callable[[], T], change: Change | None = None
    ) -> T:
        fault = self._draw(target, what, writes=True)
        self._before(fault, f"{target} {what}")
        fiber = self.fibers.current
        if fiber is not None and fiber.late and what.startswith("put "):
            raise CutOff  # Key Vault has no conditional write: see docs/simulation.md
        self._world.advance()
        result = effect() if change is None else self._changed(fiber, what, effect, change)
        if fiber is not None:
            fiber.looks.clear()
        self._story.tell(_who(fiber), "did %s %s", target, what)
        self._checker.in_place(fiber, what)
        self._checker.look(fiber, what)
        self._after(fault, f"{target} {what}")
        return result

    def _changed(
        self, fiber: Fiber | None, what: str, effect: Callable[[], T], change: Change
    ) -> T:
        owner = change.owner
        before, serving = self._world.parts(owner), self._world.serving(owner)
        strangers = self._strangers(what) if change.kind == "destroys" else []
        if fiber is not None:
            concerned = self._checker.concerned(fiber, change, what)
            serving = [name for name in serving if name in concerned]
        leaking = self._world.password_of(owner)
        result = effect()
        if fiber is None:
            return result
        if fiber.activity == "cut":
            self._checker.cut(fiber, owner, what, leaking)
            return result
        self._checker.guarded(fiber, change, what)
        if strangers:
            self._checker.stranded(fiber, owner, what, strangers)
        altered = self._world.parts(owner) != before and change.kind in {"alters", "destroys"}
        if altered:
            destroys = change.kind == "destroys"
            self._checker.touched(fiber, owner, what, serving, destroys=destroys)
        return result

    def _strangers(self, what: str) -> list[str]:
        """The Services that nobody named and that lead to the Deployment that is scaled down."""
        verb, _, rest = what.partition(" ")
        if verb != "scale":
            return []
        namespace, _, name = rest.partition(" ")[0].partition("/")
        return self._world.strangers(DeploymentTarget(namespace, name))

    def pause(self, seconds: float) -> None:
        self.fibers.pause(seconds)

    def _draw(self, target: str, what: str, *, writes: bool) -> Fault:
        self.number += 1
        call = Call(self.number, target, what, writes, self.clock.now)
        others = self.at.pop(self.number, None)
        if others is not None:
            self._disturb(others)
        fault = self.plan.call(call)
        if fault is not None and fault.kind != "slow" and what.startswith(("ask", "query")):
            self.untested += 1
        if fault is not None:
            self.struck.add(target)
        if fault is not None and fault.lasts:
            self._checker.permanent(self.clock.now, f"{target} {what}: {fault.kind}")
        return fault or NONE

    def _disturb(self, others: Callable[[], None]) -> None:
        try:
            others()
        except Exception as error:
            raise Broken(str(error)) from error

    def _before(self, fault: Fault, what: str) -> None:
        fiber = self.fibers.current
        if fault is not NONE:
            self._story.tell(_who(fiber), "fault %s at %s", fault.said or fault.kind, what)
        if fault.kind == "duplicate" and fiber is not None:
            self.spawn(fiber, 0.0)
        self.fibers.pause(fault.before)
        unavailable, denied = CODES[what.partition(" ")[0]]
        if fault.kind == "unavailable" or what.partition(" ")[0] in self.gone:
            raise Unavailable(unavailable, f"{what}: no answer")
        if fault.said is not None:
            raise SAID[fault.said].error(what)
        if fault.kind == "denied":
            raise Denied(denied, f"{what}: {REFUSED}")
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
            unavailable, _ = CODES[what.partition(" ")[0]]
            raise Unavailable(unavailable, f"{what}: the connection broke", retry_after=3.0)
        if fault.kind == "crash-after":
            raise HostCrash
        if fault.kind == "cut-after":
            raise CutOff


def _who(fiber: Fiber | None) -> str:
    return "others" if fiber is None else fiber.name
