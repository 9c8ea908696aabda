"""The approval of a rotation: asks, reminds, and takes the first valid decision."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_never

import msgspec

from rotation.decisions.usage import holding
from rotation.decisions.verdict import requester, verdict
from rotation.model import wire
from rotation.model.activities import Terms
from rotation.model.catalogue import Announcement, Stage
from rotation.model.errors import StepFailed
from rotation.model.record import Approval, Choice, Decision, Evidence, no_evidence
from rotation.story.hearing import LONGEST_TIMER
from rotation.story.progress import IGNORED_KEPT, document
from rotation.story.version import since

if TYPE_CHECKING:
    from rotation.story.progress import Run
    from rotation.story.retrying import Steps


class Waiting:
    """The times of a wait for a decision: its deadline, and when the next reminder is due."""

    def __init__(self, run: Run, asked: Approval) -> None:
        self.asked = asked
        self.deadline: datetime = wire.instant(asked.deadline)
        self.remind = timedelta(seconds=run.policy.approval.remind)
        self.next_reminder: datetime = run.context.current_utc_datetime + self.remind

    def next(self, now: datetime) -> datetime:
        """When to look at the time again: at the next reminder or deadline, within a day."""
        moments = [self.next_reminder, now + LONGEST_TIMER]
        if not self.asked.overdue:
            moments.append(self.deadline)
        return min(moments)


def approval(run: Run) -> Steps[Decision]:
    """Waits for the decision that counts, a person's or the policy's, and returns it.

    Both slots stay alive for as long as there is none.
    """
    asked = yield from _ask(run)
    waiting = Waiting(run, asked)
    event = _next_event(run, asked)
    while True:
        now = run.context.current_utc_datetime
        timer = run.context.create_timer(waiting.next(now))
        winner = yield run.context.task_any([event, timer, *run.incident()])
        if winner != timer:
            timer.cancel()
            run.hears_incident(winner)
            decision = yield from _decision_from(run, asked, event.result)
            if decision is not None:
                return decision
            event = _next_event(run, asked)
            continue
        decision = yield from _on_timer(run, waiting)
        # Looking at the time, and telling about it, takes a while: a person may have decided.
        if decision is not None and not (yield from _event_has_come(run, event)):
            return (yield from _record(run, asked, decision))


def _event_has_come(run: Run, event: Any) -> Steps[bool]:
    """Whether the approval event has come by now."""
    now = run.context.create_timer(run.context.current_utc_datetime)
    winner = yield run.context.task_any([event, now])
    if winner == event:
        now.cancel()
    return bool(winner == event)


def _ask(run: Run) -> Steps[Approval]:
    """Asks for a decision, with the evidence, and returns the approval that the record shows."""
    run.stage(Stage.APPROVAL)
    due = run.context.current_utc_datetime + timedelta(seconds=run.policy.approval.deadline)
    asked = Approval(event=None, requested=run.now, deadline=wire.moment(due))
    run.record.approval = asked
    evidence = run.record.evidence.requested = yield from _collect(run)
    summary, terms = evidence.summary(), _terms(run, asked)
    notice = run.notice(Announcement.AWAITING_APPROVAL)
    yield from run.tell(msgspec.structs.replace(notice, evidence=summary, terms=terms))
    if evidence.still_in_use:
        notice = run.notice(Announcement.STILL_IN_USE)
        sessions = evidence.still_in_use
        yield from run.tell(msgspec.structs.replace(notice, sessions=sessions, terms=terms))
    return asked


def _terms(run: Run, asked: Approval) -> Terms:
    """The terms of the decision, for a receiver to explain it without asking back."""
    return Terms(
        serves=run.standby,  # since the swap
        replaced=run.active,
        deadline=asked.deadline,
        on_deadline=run.policy.approval.on_deadline,
    )


def _next_event(run: Run, asked: Approval) -> Any:
    """The task that ends with the next approval event, under a new name.

    In 1.7.0 an event that came before the first wait satisfies every later wait of its name.
    """
    asked.gate += 1
    asked.event = f"decision-{asked.gate}"
    run.show()
    return run.context.wait_for_external_event(asked.event)


def _decision_from(run: Run, asked: Approval, event: object) -> Steps[Decision | None]:
    """The decision that an event carries, recorded; None if it does not count."""
    asked_by = requester(run.request) if run.policy.approval.four_eyes else None
    decision = verdict(document(event), asked_by)
    if isinstance(decision, str):
        asked.ignored = [*asked.ignored[1 - IGNORED_KEPT :], decision]
        return None
    if decision.decision == "approve" or not since(run.context, "1.1"):
        # A rejection waits for nothing: what is asked for here may be what is wrong.
        run.record.evidence.decided = yield from _collect(run)
    return (yield from _record(run, asked, decision))


def _record(run: Run, asked: Approval, decision: Decision) -> Steps[Decision]:
    """Records and announces the decision, and returns it with its time."""
    asked.event = None
    decision = run.record.decision = msgspec.structs.replace(decision, at=run.now)
    run.show()
    approved = decision.decision == "approve"
    notice = run.notice(Announcement.APPROVED if approved else Announcement.REJECTED)
    terms = _terms(run, asked)
    yield from run.tell(msgspec.structs.replace(notice, decision=decision, terms=terms))
    return decision


def _on_timer(run: Run, waiting: Waiting) -> Steps[Decision | None]:
    """Announces what is due, a reminder or the deadline; returns the policy's decision, if any."""
    now, asked = run.context.current_utc_datetime, waiting.asked
    if not asked.overdue and now >= waiting.deadline:
        asked.overdue = True
        run.show()
        yield from _remind(run, asked)
    elif now >= waiting.next_reminder:
        asked.reminders += 1
        run.show()
        yield from _remind(run, asked)
    if now >= waiting.next_reminder:
        waiting.next_reminder = now + waiting.remind
    return (yield from _policy_decision(run, asked)) if asked.overdue else None


def _remind(run: Run, asked: Approval) -> Steps[None]:
    """Announces that the decision is still awaited, or overdue; and on which evidence the policy
    has not made it, where it has looked."""
    notice, terms = run.notice(Announcement.REMINDER), _terms(run, asked)
    seen = run.record.evidence.decided if since(run.context, "1.2") else None
    summary = seen.summary() if seen else None
    yield from run.tell(
        msgspec.structs.replace(notice, overdue=asked.overdue, terms=terms, evidence=summary)
    )


def _policy_decision(run: Run, asked: Approval) -> Steps[Decision | None]:
    """What the configuration decides for an overdue approval; None keeps both slots."""
    match run.policy.approval.on_deadline:
        case "keep":
            return None
        case "roll-back":
            return _by_policy("reject", "roll-back", "nobody decided before the deadline")
        case "approve":
            if not (yield from _safe_to_retire(run, asked)):
                return None
            return _by_policy("approve", "approve", "soaked, tests pass, nothing on the old role")
        case policy:
            assert_never(policy)


def _by_policy(choice: Choice, policy: str, comment: str) -> Decision:
    """The decision to record where the policy makes it, and no person."""
    return Decision(
        decision=choice,
        by="policy",
        channel=f"policy onDeadline: {policy}",
        comment=comment,
        id=None,
    )


def _safe_to_retire(run: Run, asked: Approval) -> Steps[bool]:
    """Whether the policy may approve now.

    It may once the soak time has passed, if tests pass and nobody else is on the replaced role, or
    was in the last weeks and has not been seen on the other one since.
    """
    soak = timedelta(seconds=run.policy.approval.soak or 0)
    if run.context.current_utc_datetime < wire.instant(asked.requested) + soak:
        return False
    evidence = run.record.evidence.decided = yield from _collect(run)
    used = bool(holding(evidence.usage)) and since(run.context, "1.2")
    return evidence.complete and evidence.passed and not evidence.still_in_use and not used


def _collect(run: Run) -> Steps[Evidence]:
    """The evidence as it is now. That it could not be collected is itself evidence."""
    try:
        return (yield from run.collect())
    except StepFailed as failure:
        return no_evidence(run.now, failure.message)
