"""The human step of a rotation: ask, remind, and take the first valid decision."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from rotation.errors import StepFailed
from rotation.planning import Verdict, verdict
from rotation.run import Run, Steps, decoded, iso

# Timers of at most a day: longer ones have not always been safe on every durable back end.
LONGEST_TIMER = timedelta(days=1)


class Waiting:
    """The state of one approval: when it was asked for, and when something is due next."""

    def __init__(self, run: Run) -> None:
        policy = run.policy["approval"]
        now = run.context.current_utc_datetime
        self.remind = timedelta(seconds=policy["remind"])
        self.deadline: datetime = now + timedelta(seconds=policy["deadline"])
        self.next_reminder: datetime = now + self.remind
        self.on_deadline: str = policy["onDeadline"]
        self.overdue = False

    def next(self, now: datetime) -> datetime:
        moments = [self.next_reminder, now + LONGEST_TIMER]
        if not self.overdue:
            moments.append(self.deadline)
        return min(moments)


def approval(run: Run) -> Steps:
    """Returns a `Verdict`. Both slots stay alive for as long as there is none."""
    yield from _ask(run)
    waiting = Waiting(run)
    event = _next_gate(run)
    while True:
        now = run.context.current_utc_datetime
        timer = run.context.create_timer(waiting.next(now))
        winner = yield run.context.task_any([event, timer])
        if winner == event:
            timer.cancel()
            decision = yield from _decided(run, event.result)
            if decision is not None:
                return decision
            event = _next_gate(run)
            continue
        decision = yield from _on_time(run, waiting)
        # Looking at the time, and telling about it, takes a while: a person may have decided.
        if decision is not None and not (yield from _has_come(run, event)):
            return (yield from _record(run, decision, None))


def _has_come(run: Run, event: Any) -> Steps:
    now = run.context.create_timer(run.context.current_utc_datetime)
    winner = yield run.context.task_any([event, now])
    if winner == event:
        now.cancel()
    return winner == event


def _ask(run: Run) -> Steps:
    run.stage("approval")
    run.status["approval"] = {
        "event": None,
        "requested": run.now,
        "deadline": iso(
            run.context.current_utc_datetime + timedelta(seconds=run.policy["approval"]["deadline"])
        ),
        "overdue": False,
        "reminders": 0,
        "gate": 0,
        "ignored": [],
    }
    yield from _collect(run, "requested")
    evidence = _summary(run.evidence["requested"])
    yield from run.notify("AwaitingApproval", evidence=evidence, **_terms(run))
    if evidence["stillInUse"]:
        yield from run.notify("StillInUse", sessions=evidence["stillInUse"], **_terms(run))


def _terms(run: Run) -> dict[str, Any]:
    """What a receiver needs to explain the decision without asking back."""
    return {
        "serves": run.standby,  # since the swap
        "replaced": run.active,
        "deadline": run.status["approval"]["deadline"],
        "onDeadline": run.policy["approval"]["onDeadline"],
    }


def _next_gate(run: Run) -> Any:
    """Each wait has an event name of its own.

    In 1.7.0 an event that came before the first wait satisfies every later wait of its name.
    """
    approval = run.status["approval"]
    approval["gate"] += 1
    approval["event"] = f"decision-{approval['gate']}"
    run.show()
    return run.context.wait_for_external_event(approval["event"])


def _decided(run: Run, event: Any) -> Steps:
    """The verdict, or None for an event that does not count."""
    event = _document(event)
    requester = run.request["requestedBy"] if run.policy["approval"]["fourEyes"] else None
    found = verdict(event, requester)
    if isinstance(found, str):
        run.status["approval"]["ignored"] = [*run.status["approval"]["ignored"][-4:], found]
        return None
    yield from _collect(run, "decided")
    return (yield from _record(run, found, event.get("id")))


def _document(event: Any) -> Any:
    """None for what is no JSON: anybody with a key of the task hub can raise an event."""
    try:
        return decoded(event)
    except (ValueError, RecursionError):
        return None


def _record(run: Run, found: Verdict, decision_id: Any) -> Steps:
    run.status["approval"]["event"] = None
    run.status["decision"] = {**asdict(found), "id": str(decision_id)[:64], "at": run.now}
    run.show()
    word = "Approved" if found.decision == "approve" else "Rejected"
    yield from run.notify(word, decision=run.status["decision"], **_terms(run))
    return found


def _on_time(run: Run, waiting: Waiting) -> Steps:
    """Reminder or deadline, whichever is due; a verdict if the policy gives one."""
    now = run.context.current_utc_datetime
    if not waiting.overdue and now >= waiting.deadline:
        waiting.overdue = run.status["approval"]["overdue"] = True
        run.show()
        yield from run.notify("Reminder", overdue=True, **_terms(run))
    elif now >= waiting.next_reminder:
        run.status["approval"]["reminders"] += 1
        yield from run.notify("Reminder", overdue=waiting.overdue, **_terms(run))
    if now >= waiting.next_reminder:
        waiting.next_reminder = now + waiting.remind
    return (yield from _policy(run, waiting)) if waiting.overdue else None


def _policy(run: Run, waiting: Waiting) -> Steps:
    """What the owner wrote down for an overdue approval; None keeps both slots."""
    if waiting.on_deadline == "keep":
        return None
    channel = f"policy onDeadline: {waiting.on_deadline}"
    if waiting.on_deadline == "roll-back":
        return Verdict("reject", "policy", channel, "nobody decided before the deadline")
    if not (yield from _safe_to_retire(run)):
        return None
    return Verdict("approve", "policy", channel, "soaked, tests pass, nothing on the old role")


def _safe_to_retire(run: Run) -> Steps:
    """Soaked since the swap, tests pass now, and no session is left on the replaced role."""
    swapped = datetime.fromisoformat(run.status["approval"]["requested"])
    soak = timedelta(seconds=run.policy["approval"]["soak"])
    if run.context.current_utc_datetime < swapped + soak:
        return False
    yield from _collect(run, "decided")
    evidence = run.evidence["decided"]
    return evidence["complete"] and evidence["passed"] and not evidence["stillInUse"]


def _collect(run: Run, when: str) -> Steps:
    """Evidence informs a person: that it could not be collected is itself evidence."""
    try:
        evidence = yield from run.step("evidence", slot=run.standby)
    except StepFailed as failure:
        evidence = {
            "at": run.now,
            "complete": False,
            "passed": False,
            "stillInUse": [],
            "problems": [failure.message],
        }
    run.evidence[when] = evidence


def _summary(evidence: dict[str, Any]) -> dict[str, Any]:
    return {key: evidence[key] for key in ("at", "complete", "passed", "stillInUse", "problems")}
