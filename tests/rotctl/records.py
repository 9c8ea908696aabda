"""Records as the app answers with them, made by its own structures."""

from __future__ import annotations

from typing import Any

from rotation.model import wire
from rotation.model.catalogue import Origin, Stage, StepName
from rotation.model.record import (
    Approval,
    Decision,
    Evidence,
    PastUser,
    Request,
    SessionCount,
    ShownRecord,
    StepRecord,
    Usage,
    new_record,
)
from rotation.model.record import TestResult as Result
from rotation.model.wire import Moment

ROTATION = "orders-db-20270301T120000-9d24"
BEGAN = "2027-03-01T12:00:00.000Z"


def at(seconds: int) -> Moment:
    return Moment(f"2027-03-01T12:{seconds // 60:02}:{seconds % 60:02}.000Z")


def record(stage: Stage = Stage.PREPARE, **changes: Any) -> dict[str, Any]:
    """A rotation from blue to green of two workloads; `changes` are fields of the record."""
    request = Request(
        rotation=ROTATION,
        credential="orders-db",
        origin=Origin.MANUAL,
        requested_by="me@contoso.example",
        reason="",
    )
    made = new_record(request, stage, at(0))
    fields: dict[str, Any] = {
        "active": "blue",
        "standby": "green",
        "version": "5d41402abc4b",
        "workloads": {"api": "test", "web": "await_ready"},
        "steps": steps(StepName.PLAN, StepName.STAGE, running=StepName.PREPARE),
        "started": at(0),
    } | changes
    own = {name: getattr(made, name) for name in made.__struct_fields__}
    engine: dict[str, Any] = {"runtime_status": "Running", "created": at(0), "updated": at(30)}
    shown = ShownRecord(**own | engine | fields)
    value: dict[str, Any] = wire.value_of(shown)
    return value


def steps(*done: StepName, running: StepName | None = None, **last: Any) -> list[StepRecord]:
    """Steps of two seconds, one after the other; `last` are fields of the last one."""
    listed = [StepRecord(step=s, since=at(2 * n), until=at(2 * n + 2)) for n, s in enumerate(done)]
    if running is not None:
        listed.append(StepRecord(step=running, since=at(2 * len(done)), until=None))
    for name, value in last.items():
        setattr(listed[-1], name, value)
    return listed


SWAPPED = (
    StepName.PLAN,
    StepName.STAGE,
    StepName.ACTIVATE,
    StepName.VERIFY,
    StepName.PREPARE,
    StepName.SWAP,
    StepName.OBSERVE,
    StepName.EVIDENCE,
)


def waiting(**changes: Any) -> dict[str, Any]:
    """A rotation that waits for a decision."""
    approval = Approval(event="approval-1", requested=at(20), deadline=at(3000))
    fields = {
        "approval": approval,
        "steps": steps(*SWAPPED),
        "workloads": {"api": "observed", "web": "observed"},
    }
    return record(Stage.APPROVAL, **fields | changes)


def ended(outcome: str, why: str = "", **changes: Any) -> dict[str, Any]:
    fields = {"outcome": outcome, "outcome_reason": why, "runtime_status": "Completed"}
    return record(Stage.DONE, **fields | changes)


APPROVED = Decision(
    decision="approve",
    by="ada@contoso.example",
    channel="rotctl",
    comment="fine",
    id="1",
    at=at(40),
)


def evidence(**changes: Any) -> dict[str, Any]:
    passed = Result(test="/whoami", passed=True, problem=None, attempts=3, role="orders_green")
    session = SessionCount(
        role="orders_green", application="orders-api", client="10.0.0.1", sessions=2, workload="api"
    )
    fields: dict[str, Any] = {
        "at": at(25),
        "complete": True,
        "passed": True,
        "problems": [],
        "still_in_use": [],
        "tests": {"api": [passed], "web": [passed]},
        "pods": {"api": {"blue": ["api-blue-1"], "green": ["api-green-1"]}},
        "sessions": [session],
    }
    value: dict[str, Any] = wire.value_of(Evidence(**fields | changes))
    return value


STRANGER = SessionCount(
    role="orders_blue", application="etl", client="10.9.9.9", sessions=1, workload=None
)


def used_before(moved: Moment | None = None, **changes: Any) -> Usage:
    """Somebody used the replaced login before, and may have been seen on the other one since."""
    user = PastUser(
        application="etl", client="10.9.9.9", first=at(0), last=at(0), days=3, moved=moved
    )
    fields: dict[str, Any] = {"days": 31, "since": "2027-02-01", "samples": 9, "users": [user]}
    return Usage(**fields | changes)
