"""The product's orchestrators on the engine's virtual clock, replayed by the SDK itself.

Activities are scripted: each has an answer that a healthy world gives, and a test replaces those
it is about. Weeks pass in milliseconds.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rotation.story import workflow, workload
from rotation.model.errors import Denied, Unavailable
from tests.local.engine.support import World, sdk_warnings

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    Reference = dict[str, Any]
    Answer = Callable[[Reference], Any]

__all__ = ["Story", "cut_off", "denied", "pytestmark", "sequence", "unavailable"]

pytestmark = sdk_warnings

ORCHESTRATORS = (
    workflow.credential,
    workflow.rotation,
    workflow.publish,
    workload.prepare_workload,
    workload.swap_workload,
    workload.observe_workload,
    workload.retire_workload,
)
REQUEST = {
    "rotation": "r-1",
    "credential": "orders-db",
    "origin": "manual",
    "requestedBy": "ada@contoso.example",
    "reason": "because",
    "secret": None,
    "version": None,
}
HOUR, DAY = 3600.0, 86400.0
APPROVAL = {
    "remind": DAY,
    "deadline": 7 * DAY,
    "onDeadline": "keep",
    "soak": None,
    "fourEyes": True,
}
EVIDENCE = {
    "at": "2027-03-01T12:00:00Z",
    "complete": True,
    "passed": True,
    "stillInUse": [],
    "problems": [],
}
DONE = {"done": True, "observed": "nothing left"}
HEALTHY: dict[str, Any] = {
    "stage": {"version": "v2"},
    "activate": {"version": "v2"},
    "verify": {},
    "deliver": {},
    "start": {},
    "await_ready": DONE,
    "test": {"tests": []},
    "swap": {},
    "confirm": {},
    "scale_down": {},
    "await_gone": DONE,
    "await_sessions": DONE,
    "deactivate": {"terminated": 0},
    "disable": {"disabled": ["v1"]},
    "evidence": EVIDENCE,
    "notify": {},
}
# What an orchestrator may do to a slot only while it does not serve.
DESTRUCTIVE = {"stage", "activate", "deliver", "start", "scale_down", "deactivate", "disable"}


def denied(reference: Reference) -> dict[str, Any]:
    return {"error": Denied("it is refused").as_value()}


def unavailable(reference: Reference, retry_after: float | None = None) -> dict[str, Any]:
    return {"error": Unavailable("it is away", retry_after=retry_after).as_value()}


def cut_off(reference: Reference) -> Any:
    raise TimeoutError("the host ended it")


def sequence(*answers: Any) -> Answer:
    """One after the other; the last one for ever. An answer is a value or an activity."""
    left = list(answers)

    def answer(reference: Reference) -> Any:
        found = left.pop(0) if len(left) > 1 else left[0]
        return found(reference) if callable(found) else found

    return answer


class Story:
    """One credential with its workloads. `script` holds what activities answer instead."""

    def __init__(self, *workloads: str) -> None:
        self.world = World()
        self.workloads = list(workloads or ("api", "web"))
        self.approval = dict(APPROVAL)
        self.times = {"patience": 600.0, "compensation": HOUR, "drain": 60.0}
        self.script: dict[str, Any] = {}
        self.calls: list[tuple[datetime, str, Reference]] = []
        self.serving = "blue"
        for orchestrator in ORCHESTRATORS:
            self.world.app.orchestration(orchestrator)
        for name in ("plan", "publish_event", *HEALTHY):
            self.world.app.activities[name] = self._activity(name)

    def _activity(self, name: str) -> Answer:
        def activity(reference: Reference) -> Any:
            self.calls.append((self.world.clock.now, name, reference))
            assert name not in DESTRUCTIVE or reference["slot"] != self.serving, (
                f"{name} of {self.serving}"
            )
            answer = self.script.get(name, self.plan() if name == "plan" else HEALTHY.get(name, {}))
            answer = answer(reference) if callable(answer) else answer
            if name == "swap" and "error" not in answer:
                self.serving = reference["slot"]
            return answer

        return activity

    def plan(self) -> dict[str, Any]:
        times = {"ready": 20.0, "drain": 20.0}
        return {
            "decision": "rotate",
            "active": "blue",
            "workloads": self.workloads,
            "policy": {
                **self.times,
                "workloads": dict.fromkeys(self.workloads, times),
                "approval": self.approval,
            },
        }

    def start(self, **request: Any) -> Story:
        self.world.engine.start("credential", "orders-db", json.dumps({**REQUEST, **request}))
        return self

    def to_approval(self) -> Story:
        """Everything up to the wait for a decision."""
        self.start()
        self.world.settle()
        while not ((self.status or {}).get("approval") or {}).get("event"):
            assert not self.ended, self.output
            fires = self.world.engine.next_timer()
            assert fires is not None, self.shown
            self.world.clock.now = max(self.world.clock.now, fires)
            self.world.settle()
        return self

    def run(self) -> dict[str, Any]:
        """The output of a rotation that ends by itself, whenever that is."""
        if self.world.engine.status("orders-db") is None:
            self.start()
        self.world.finish("orders-db")
        return self.output

    def approve(self) -> dict[str, Any]:
        self.to_approval().decide("approve")
        return self.run()

    def decide(self, decision: Any, by: Any = "grace@contoso.example", **more: Any) -> None:
        self.raise_event({"decision": decision, "by": by, "channel": "page", "comment": "", **more})

    def raise_event(self, event: Any, gate: str | None = None) -> None:
        name = gate or self.status["approval"]["event"]
        self.world.engine.raise_event("r-1", name, json.dumps(event))
        self.world.settle()

    def wait(self, **time: float) -> None:
        """Lets time pass, timer by timer."""
        self.world.settle()
        until = self.world.clock.now + timedelta(**time)
        while (fires := self.world.engine.next_timer()) is not None and fires <= until:
            self.world.clock.now = max(self.world.clock.now, fires)
            self.world.settle()
        self.world.clock.now = until

    @property
    def shown(self) -> dict[str, Any]:
        return self.world.show("r-1")

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.shown["customStatus"]
        return found

    @property
    def output(self) -> dict[str, Any]:
        assert self.shown["runtimeStatus"] == "Completed", self.shown
        found: dict[str, Any] = self.shown["output"]
        return found

    @property
    def ended(self) -> bool:
        return bool(self.shown["runtimeStatus"] == "Completed")

    def names(self, *left_out: str) -> list[str]:
        """Activities in their order; `name slot` where they are about one."""
        return [
            f"{name} {reference['slot']}" if "slot" in reference else name
            for _, name, reference in self.calls
            if name not in {"notify", *left_out}
        ]

    def count(self, name: str) -> int:
        return Counter(called for _, called, _ in self.calls)[name]

    def times_of(self, name: str) -> list[float]:
        """Seconds between the calls of an activity."""
        moments = [moment for moment, called, _ in self.calls if called == name]
        return [(b - a).total_seconds() for a, b in itertools.pairwise(moments)]

    def told(self) -> list[str]:
        return [reference["type"] for _, name, reference in self.calls if name == "notify"]
