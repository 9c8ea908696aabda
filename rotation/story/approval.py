"""The approvals of a rotation: asks, reminds, and takes the first valid decision.

One may be asked for before the swap, one after it. Which one it is, is whose wait it is: `before`
in the record, or `approval`. Each has event names of its own, so that a decision which was meant
for one never counts as the other.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_never

import msgspec

from rotation.decisions.usage import holding
from rotation.decisions.verdict import requester, verdict
from rotation.model import wire
from rotation.model.activities import Terms
from rotation.model.catalogue import Announcement, Stage, StepName
from rotation.model.errors import MadeWay, StepFailed
from rotation.model.reasons import Code, reason
from rotation.model.record import Approval, Choice, Decision, Evidence, no_evidence
from rotation.story.conditions import Watching, hold
from rotation.story.hearing import LONGEST_TIMER
from rotation.story.progress import IGNORED_KEPT, document
from rotation.story.version import since

if TYPE_CHECKING:
    from rotation.model.activities import ApprovalPolicy
    from rotation.story.progress import Run
    from rotation.story.retrying import Steps

# What was proved right before a wait that took longer than that is proved once more after it.
STILL_PROVED = timedelta(minutes=10)


def let_through(run: Run) -> Steps[bool]:
    """Waits, if its owner wants that, until somebody lets traffic move, and returns whether that
    took long. Nobody is asked twice. Raises `StepFailed` where traffic is to stay."""
    if run.policy.before is None or run.record.decided_before is not None:
        return False
    began = run.context.current_utc_datetime
    run.record.before = _new(run, run.policy.before)
    try:
        decision = yield from _decided(run, run.record.before)
    except StepFailed:
        run.record.before.event = None
        run.show()
        raise
    if decision.decision == "reject":
        why = reason(Code.REJECTED, f"rejected by {decision.by}, before the swap")
        raise StepFailed(StepName.GATE, [why])
    return bool(run.context.current_utc_datetime - began > STILL_PROVED)


def agreed(run: Run) -> Steps[Decision]:
    """The decision whether the replaced login goes. Raises `StepFailed` for a breached condition.

    Where its owner has it asked for before the swap alone, that decision stands, as soon as the
    same is proved that a policy which approves asks for; if it cannot be, a person is asked.
    """
    if not run.policy.asks_after and run.record.decided_before is not None:
        yield from hold(run, run.policy.approval.soak or 0)
        evidence = run.record.evidence.decided = yield from _collect(run)
        if _nothing_against(run, evidence):
            run.record.decision = run.record.decided_before
            run.show()
            return run.record.decided_before
    return (yield from approval(run))


class Waiting:
    """The times of a wait for a decision: its deadline, and when the next reminder is due."""

    def __init__(self, run: Run, asked: Approval) -> None:
        self.asked = asked
        self.deadline: datetime = wire.instant(asked.deadline)
        self.remind = timedelta(seconds=_policy(run, asked).remind)
        self.next_reminder: datetime = run.context.current_utc_datetime + self.remind

    def next(self, now: datetime) -> datetime:
        """When to look at the time again: at the next reminder or deadline, within a day."""
        moments = [self.next_reminder, now + LONGEST_TIMER]
        if not self.asked.overdue:
            moments.append(self.deadline)
        return min(moments)


def approval(run: Run) -> Steps[Decision]:
    """Waits after the swap for the decision that counts, a person's or the policy's, and returns
    it. Raises `StepFailed` for a condition that is breached before that.

    Both slots stay alive for as long as there is none.
    """
    asked = run.record.approval = _new(run, run.policy.approval)
    watching = Watching(run)
    try:
        decision = yield from _decided(run, asked, watching)
    except (StepFailed, MadeWay):
        asked.event = None
        run.show()
        yield from watching.stop()
        raise
    yield from watching.stop()
    return decision


def _new(run: Run, policy: ApprovalPolicy) -> Approval:
    due = run.context.current_utc_datetime + timedelta(seconds=policy.deadline)
    return Approval(event=None, requested=run.now, deadline=wire.moment(due))


def _decided(run: Run, asked: Approval, watching: Watching | None = None) -> Steps[Decision]:
    """The decision that counts. Raises `StepFailed` for a cancel, or for a breached condition."""
    yield from _ask(run, asked)
    waiting = Waiting(run, asked)
    event = _next_event(run, asked)
    while True:
        if watching is not None:
            watching.begin()
        winner = yield from run.first(*_next(run, waiting, event, watching))
        if winner == event:
            decision = yield from _decision_from(run, asked, event.result)
            if decision is not None:
                return decision
            event = _next_event(run, asked)
            continue
        if winner is not None and watching is not None:
            yield from watching.ended()
            continue
        decision = yield from _on_timer(run, waiting)
        # Looking at the time, and telling about it, takes a while: a person may have decided.
        if decision is not None and not (yield from _event_has_come(run, event)):
            return (yield from _record(run, asked, decision))


def _next(
    run: Run, waiting: Waiting, event: Any, watching: Watching | None
) -> tuple[list[Any], datetime]:
    """What may end the wait for now, and when to look at the time again."""
    tasks, until = [event], waiting.next(run.context.current_utc_datetime)
    if watching is not None and watching.task is not None:
        tasks.append(watching.task)
    elif watching is not None and watching.resumes is not None:
        until = min(until, watching.resumes)
    return tasks, until


def _event_has_come(run: Run, event: Any) -> Steps[bool]:
    """Whether the approval event has come by now."""
    now = run.context.create_timer(run.context.current_utc_datetime)
    winner = yield run.context.task_any([event, now])
    if winner == event:
        now.cancel()
    return bool(winner == event)


def _before(run: Run, asked: Approval) -> bool:
    """Whether this is the wait before the swap."""
    return asked is run.record.before


def _policy(run: Run, asked: Approval) -> ApprovalPolicy:
    """The rules of this wait."""
    before = run.policy.before if _before(run, asked) else None
    return before or run.policy.approval


def _ask(run: Run, asked: Approval) -> Steps[None]:
    """Asks for a decision, with the evidence."""
    before = _before(run, asked)
    run.stage(Stage.GATE if before else Stage.APPROVAL)
    evidence = yield from _collect(run, asked)
    if not before:
        run.record.evidence.requested = evidence
    summary, terms = evidence.summary(), _terms(run, asked)
    notice = run.notice(Announcement.AWAITING_APPROVAL)
    yield from run.tell(msgspec.structs.replace(notice, evidence=summary, terms=terms))
    if evidence.still_in_use and not before:
        notice = run.notice(Announcement.STILL_IN_USE)
        sessions = evidence.still_in_use
        yield from run.tell(msgspec.structs.replace(notice, sessions=sessions, terms=terms))


def _terms(run: Run, asked: Approval) -> Terms:
    """The terms of the decision, for a receiver to explain it without asking back."""
    return Terms(
        serves=run.standby,  # since the swap, or from it on
        replaced=run.active,
        deadline=asked.deadline,
        on_deadline=_policy(run, asked).on_deadline,
        gate="before" if _before(run, asked) else "after",
        again=run.policy.asks_after,
    )


def _next_event(run: Run, asked: Approval) -> Any:
    """The task that ends with the next approval event, under a new name.

    In 1.7.0 an event that came before the first wait satisfies every later wait of its name.
    """
    asked.gate += 1
    asked.event = f"{'before' if _before(run, asked) else 'decision'}-{asked.gate}"
    run.show()
    return run.context.wait_for_external_event(asked.event)


def _decision_from(run: Run, asked: Approval, event: object) -> Steps[Decision | None]:
    """The decision that an event carries, recorded; None if it does not count."""
    asked_by = requester(run.request) if _policy(run, asked).four_eyes else None
    decision = verdict(document(event), asked_by)
    if isinstance(decision, str):
        asked.ignored = [*asked.ignored[1 - IGNORED_KEPT :], decision]
        return None
    if decision.decision == "approve" or not since(run.context, "1.1"):
        # A rejection waits for nothing: what is asked for here may be what is wrong.
        evidence = yield from _collect(run, asked)
        if not _before(run, asked):
            run.record.evidence.decided = evidence
    return (yield from _record(run, asked, decision))


def _record(run: Run, asked: Approval, decision: Decision) -> Steps[Decision]:
    """Records and announces the decision, and returns it with its time."""
    asked.event = None
    decision = msgspec.structs.replace(decision, at=run.now)
    if _before(run, asked):
        run.record.decided_before = decision
    else:
        run.record.decision = decision
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
    kept = run.record.evidence
    seen = kept.decided if since(run.context, "1.2") and not _before(run, asked) else None
    summary = seen.summary() if seen else None
    yield from run.tell(
        msgspec.structs.replace(notice, overdue=asked.overdue, terms=terms, evidence=summary)
    )


def _policy_decision(run: Run, asked: Approval) -> Steps[Decision | None]:
    """What the configuration decides for an overdue approval; None keeps both slots."""
    match _policy(run, asked).on_deadline:
        case "keep":
            return None
        case "abort":
            return _by_policy("reject", "abort", "nobody decided before the deadline")
        case "roll-back":
            return _by_policy("reject", "roll-back", "nobody decided before the deadline")
        case "approve":
            why = yield from _why_approve(run, asked)
            return None if why is None else _by_policy("approve", "approve", why)
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


def _why_approve(run: Run, asked: Approval) -> Steps[str | None]:
    """Why the policy may approve now; None while it may not."""
    if _before(run, asked):
        evidence = yield from _collect(run, asked)
        passed = evidence.complete and evidence.passed
        return "tests of the new slot pass" if passed else None
    safe = yield from _safe_to_retire(run, asked)
    return "soaked, tests pass, nothing on the old role" if safe else None


def _safe_to_retire(run: Run, asked: Approval) -> Steps[bool]:
    """Whether the policy may approve now.

    It may once the soak time has passed, if tests pass and nobody else is on the replaced role, or
    was in the last weeks and has not been seen on the other one since.
    """
    soak = timedelta(seconds=run.policy.approval.soak or 0)
    if run.context.current_utc_datetime < wire.instant(asked.requested) + soak:
        return False
    evidence = run.record.evidence.decided = yield from _collect(run)
    return _nothing_against(run, evidence)


def _nothing_against(run: Run, evidence: Evidence) -> bool:
    """Whether the replaced login may go without anybody who looks at the evidence."""
    used = bool(holding(evidence.usage)) and since(run.context, "1.2")
    doubtful = any(one.beyond or not one.known for one in evidence.conditions)
    proved = evidence.complete and evidence.passed and not evidence.still_in_use
    return proved and not used and not doubtful


def _collect(run: Run, asked: Approval | None = None) -> Steps[Evidence]:
    """The evidence as it is now. That it could not be collected is itself evidence. Before the swap
    it is kept at once. Raises `StepFailed` if somebody has cancelled meanwhile."""
    before = asked is not None and _before(run, asked)
    try:
        evidence = yield from run.collect("preview" if before else None)
    except StepFailed as failure:
        run.heed()
        evidence = no_evidence(run.now, failure.message)
    if before:
        run.record.evidence.before = evidence
    return evidence
