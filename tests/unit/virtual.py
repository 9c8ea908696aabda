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

from rotation.app import ORCHESTRATORS
from rotation.model import activities, wire
from rotation.model.activities import (
    ApprovalPolicy,
    Located,
    Looked,
    Measured,
    Planned,
    Policy,
    Retry,
    WorkloadTimes,
)
from rotation.model.errors import Denied, Unavailable
from rotation.model.reasons import Code
from rotation.model.record import ConditionSeen, Connection, Record
from rotation.steps.windows import opening_at
from rotation.story.version import VERSION
from tests.local.engine.support import World, sdk_warnings
from tests.simulation.program import hasten

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from rotation.decisions.windows import Hours
    from rotation.model.wire import Moment

    Reference = dict[str, Any]
    Answer = Callable[[Reference], Any]

__all__ = ["Story", "cut_off", "denied", "pytestmark", "sequence", "unavailable"]

pytestmark = sdk_warnings
hasten()

REQUEST: dict[str, Any] = {
    "rotation": "r-1",
    "credential": "orders-db",
    "origin": "manual",
    "requestedBy": "ada@contoso.example",
    "knownAs": [],
    "objectId": None,
    "signedIn": False,
    "waive": [],
    "retries": None,
    "restricted": False,
    "outsideWindow": None,
    "wave": None,
    "compromised": False,
    "cut": None,
    "leaked": None,
    "takesOver": None,
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
    "problems": [],
    "stillInUse": [],
    "usage": None,
    "workloads": {"green": 2, "red": 0},
}
# Who used the replaced login before, and is in no workload.
PAST_USER: dict[str, Any] = {
    "application": "etl-nightly",
    "client": "10.1.2.3",
    "first": "2027-02-01T02:10:20.000Z",
    "last": "2027-03-02T02:10:20.000Z",
    "days": 30,
    "moved": None,
    "others": False,
}
USAGE: dict[str, Any] = {
    "days": 31,
    "since": "2027-02-01",
    "samples": 43000,
    "gaps": 2,
    "users": [PAST_USER],
    "more": 0,
    "problem": None,
}
DONE = {"done": True, "observed": "nothing left"}
# Of those that answer with more than that they are done; `plan` is `Story.plan`.
SAYING: dict[str, Any] = {
    "stage": {"version": "v2"},
    "await_ready": DONE,
    "await_gone": DONE,
    "await_login": DONE,
    "await_jobs": DONE,
    "await_sessions": DONE,
    "ask_place": {"done": False, "observed": "a place: server pg-1, 5 of 5, 12 before it"},
    "evidence": EVIDENCE,
    "cut": {"left": False},
}
NAMES = [
    known.name for known in vars(activities).values() if isinstance(known, activities.Activity)
]
HEALTHY: dict[str, Any] = {name: SAYING.get(name, {}) for name in NAMES if name != "plan"}
# What an orchestrator may do to a slot only while it does not serve.
DESTRUCTIVE = {"stage", "activate", "deliver", "start", "scale_down", "deactivate", "disable"}


def denied(reference: Reference) -> dict[str, Any]:
    return _failed(Denied(Code.VAULT_DENIED, "it is refused"))


def unavailable(reference: Reference, retry_after: float | None = None) -> dict[str, Any]:
    return _failed(Unavailable(Code.VAULT_UNAVAILABLE, "it is away", retry_after=retry_after))


def _failed(error: Denied | Unavailable) -> dict[str, Any]:
    return {"error": wire.value_of(error.as_failure())}


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
        self.world = World(version=VERSION)
        self.workloads = list(workloads or ("api", "web"))
        self.approval = dict(APPROVAL)
        self.forward = Retry(600.0)
        self.undo = Retry(HOUR, refusals=120.0)
        self.script: dict[str, Any] = {}
        self.calls: list[tuple[datetime, str, Reference]] = []
        self.serving = "blue"
        self.hours: Hours | None = None  # in which it may begin, and with `retires` retire
        self.retires = False
        self.things: list[str] = []  # at which it waits for a place
        self.latest: Moment | None = None
        self.before: ApprovalPolicy | None = None  # by which a decision before the swap goes
        self.asks_after = True
        self.canary: str | None = None
        self.watch = 60.0
        self.lasts, self.unknown_breaches = 0.0, False
        self.conditions: dict[str, Any] = {}  # what each is answered with
        for orchestrator in ORCHESTRATORS:
            self.world.app.orchestration(orchestrator)
        for name in NAMES:
            self.world.app.activities[name] = self._activity(name)

    def _activity(self, name: str) -> Answer:
        def activity(reference: Reference) -> Any:
            self.calls.append((self.world.clock.now, name, reference))
            assert name not in DESTRUCTIVE or reference["slot"] != self.serving, (
                f"{name} of {self.serving}"
            )
            calm = not (reference.get("request") or {}).get("compromised")
            healthy = self.plan(calm=calm) if name == "plan" else HEALTHY[name]
            healthy = self.stop_parts if name == "stop_parts" else healthy
            healthy = self.window if name == "window" else healthy
            healthy = self.looked if name == "conditions" else healthy
            healthy = self.locate if name == "locate" else healthy
            healthy = self.take_over if name == "take_over" else healthy
            answer: Any = self.script.get(name, healthy)
            answer = answer(reference) if callable(answer) else answer
            if name in {"swap", "swap_back"} and "error" not in answer:
                self.serving = reference["slot"]
            return answer

        return activity

    def plan(self, *, calm: bool = True) -> dict[str, Any]:
        policy = self.policy(calm=calm)
        return wire.value_of(Planned(active="blue", policy=policy, latest=self.latest))

    def locate(self, reference: Reference) -> dict[str, Any]:
        """Answers as the app does."""
        slot: Any = reference["request"]["leaked"] or self.serving
        located = Located(
            slot=slot,
            role=f"orders_{slot}",
            version="v1",
            serves=slot == self.serving,
            connected=[Connection(pid=7, application="api", client="10.0.0.7", state="idle")],
            policy=self.policy(calm=False),
        )
        return wire.value_of(located)

    def take_over(self, reference: Reference) -> dict[str, Any]:
        """Does what the app does: see `rotation.front.parts`."""
        running, said = reference["rotation"], reference["request"]
        if self.world.show(running)["runtimeStatus"] == "Running":
            value = {"by": said["requestedBy"], "rotation": said["rotation"]}
            self.world.engine.raise_event(running, activities.TAKEOVER, json.dumps(value))
        return {}

    def policy(self, *, calm: bool) -> Policy:
        """What the app says of a credential; but for an incident nothing keeps it waiting."""
        return Policy(
            forward=self.forward,
            undo=self.undo,
            drain=60.0 if calm else 0.0,
            workloads=dict.fromkeys(self.workloads, WorkloadTimes(ready=20.0, drain=20.0)),
            approval=wire.read(ApprovalPolicy, self.approval),
            windows=calm and self.hours is not None,
            retire_in_window=calm and self.retires,
            before=self.before if calm else None,
            asks_after=self.asks_after,
            conditions=len(self.conditions) if calm else 0,
            watch=self.watch,
            canary=self.canary if calm else None,
            things=self.things if calm else [],
        )

    def window(self, reference: Reference) -> dict[str, Any]:
        """Answers as the app does."""
        assert self.hours is not None
        return wire.value_of(opening_at(self.hours, wire.instant(reference["at"])))

    def looked(self, reference: Reference) -> dict[str, Any]:
        """Answers as the app does, by what `conditions` has: a value, an error or nothing, which
        is beyond 10."""
        found = []
        for name, what in self.conditions.items():
            value = what(reference) if callable(what) else what
            known = not isinstance(value, str)
            seen = ConditionSeen(
                name=name,
                at=wire.moment(self.world.clock.now),
                limit="above 10",
                value=value if known else None,
                known=known,
                beyond=known and value is not None and value > 10,
                problem=value if not known else None,
            )
            lasts, breaches = self.lasts, self.unknown_breaches
            found.append(Measured(seen=seen, lasts=lasts, unknown_breaches=breaches))
        return wire.value_of(Looked(found))

    def stop_parts(self, reference: Reference) -> dict[str, Any]:
        """Does what the app does: see `rotation.front.parts`."""
        for part in reference["parts"]:
            if self.world.show(part)["runtimeStatus"] == "Running":
                self.world.engine.raise_event(part, activities.STOP, json.dumps({}))
        return {}

    def start(self, **request: Any) -> Story:
        self.world.engine.start("credential", "orders-db", json.dumps({**REQUEST, **request}))
        return self

    def to_approval(self) -> Story:
        """Everything up to the wait for a decision."""
        if self.world.engine.status("orders-db") is None:
            self.start()
        self.world.settle()
        while not (self.shown["customStatus"] and self.gate):
            assert not self.ended, self.output
            fires = self.world.engine.next_timer()
            assert fires is not None, self.shown
            self.world.clock.now = max(self.world.clock.now, fires)
            self.world.settle()
        return self

    def run(self) -> Record:
        """The output of a rotation that ends by itself, whenever that is."""
        if self.world.engine.status("orders-db") is None:
            self.start()
        self.world.finish("orders-db")
        return self.output

    def approve(self) -> Record:
        self.to_approval().decide("approve")
        return self.run()

    def decide(self, decision: Any, by: Any = "grace@contoso.example", **more: Any) -> None:
        self.raise_event({"decision": decision, "by": by, "channel": "page", "comment": "", **more})

    def raise_event(self, event: Any, gate: str | None = None) -> None:
        name = gate or self.gate
        assert name is not None, self.shown
        self.world.engine.raise_event("r-1", name, json.dumps(event))
        self.world.settle()

    def cancel(self, by: Any = "ada@contoso.example", **more: Any) -> None:
        """Cancels as somebody does who reads the record."""
        cancelling = self.status.cancelling
        assert cancelling is not None
        assert cancelling.event is not None, self.shown
        said = {"by": by, "channel": "http", "comment": "not today", **more}
        self.raise_event(said, cancelling.event)

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
    def status(self) -> Record:
        return wire.read(Record, self.shown["customStatus"])

    @property
    def gate(self) -> str | None:
        """The event that is waited for."""
        asked = [one.event for one in (self.status.before, self.status.approval) if one]
        return next((event for event in asked if event), None)

    @property
    def output(self) -> Record:
        assert self.shown["runtimeStatus"] == "Completed", self.shown
        return wire.read(Record, self.shown["output"])

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

    def notices(self, kind: str | None = None) -> list[dict[str, Any]]:
        """What was logged and announced; with `kind` those of one announcement."""
        told = [reference["notice"] for _, name, reference in self.calls if name == "notify"]
        return [notice for notice in told if kind is None or notice["kind"] == kind]

    def told(self) -> list[str]:
        return [notice["kind"] for notice in self.notices()]
