"""A password has leaked: what is done about it, at once.

With `cut: after` it is a rotation as any other, outside windows and limits, and whoever called it
has approved that the leaked login ends. With `cut: first` that login is ended before another one
serves, the one exception to invariants 1 and 2: from then on there is no way back, and each step is
tried for as long as there is time. Either way a second person confirms afterwards what was done.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from rotation.decisions.verdict import requester, verdict
from rotation.model import activities, wire
from rotation.model.catalogue import Announcement, Outcome, Stage, StepName
from rotation.model.errors import StepFailed
from rotation.model.reasons import Code, Reason, reason
from rotation.model.record import Approval, Decision, Leak, no_evidence
from rotation.model.world import other
from rotation.story.approval import Waiting
from rotation.story.progress import CONNECTIONS_SHOWN, IGNORED_KEPT, document
from rotation.story.retrying import call
from rotation.story.workflow import (
    bring_up,
    move,
    moved,
    never_begun,
    planned,
    retire,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from rotation.model.activities import Ended, Located
    from rotation.model.record import Connection
    from rotation.story.progress import Run
    from rotation.story.retrying import Steps
    from rotation.story.workflow import End

CONNECTIONS_KEPT = 200
CUTTING = timedelta(minutes=1)  # until what is left of the sessions keeps nothing else waiting
LONGEST_PAUSE = timedelta(minutes=15)  # between two attempts to bring the other slot up
CALLED = "incident"  # how a record names the way in which a caller has decided


def incident(run: Run) -> Steps[End]:
    """Replaces the password that has leaked, and returns how that ended."""
    try:
        found = yield from _located(run)
        run.heed()
    except StepFailed as failure:
        if run.record.cancelled is not None:
            return (yield from never_begun(run, failure))
        return Outcome.REFUSED, failure.message, list(failure.reasons)
    leak = run.record.leak
    if leak is None or found.policy is None:
        text = "; ".join(why.text for why in found.reasons)
        return Outcome.REFUSED, text, found.reasons
    run.policy, run.entry = found.policy, found.entry
    yield from _tell(run, Announcement.COMPROMISED)
    if run.request.cut == "first":
        ended = yield from _cut_first(run, leak)
    elif leak.serves:
        ended = yield from moved(run)
    else:
        run.too_late()
        ended = None
    if ended is None:
        ended = yield from _retired(run, leak)
    return ended if ended is not None else (yield from _confirmed(run))


# -- the leaked login


def _located(run: Run) -> Steps[Located]:
    """The login that has leaked, which the record shows then. Raises `StepFailed`."""
    reference = msgspec.structs.replace(run.reference(), request=run.request)
    found = yield from run.ask(StepName.LOCATE, activities.LOCATE, reference)
    if found.slot is not None:
        leak = run.record.leak = Leak(
            slot=found.slot, role=found.role, version=found.version, serves=found.serves
        )
        _note(leak, found.connected)
        run.show()
    return found


def _note(leak: Leak, connected: Iterable[Connection]) -> None:
    """Adds sessions of the leaked login to its record, each once."""
    known = {(one.pid, one.client, one.since) for one in leak.connected}
    new = [one for one in connected if (one.pid, one.client, one.since) not in known]
    leak.sessions += len(new)
    leak.connected = [*leak.connected, *new][:CONNECTIONS_KEPT]


def _tell(run: Run, kind: Announcement) -> Steps[None]:
    """Announces how the incident is, with all who were connected where that is new."""
    leak = run.record.leak
    if leak is not None and kind is Announcement.AWAITING_CONFIRMATION:
        leak = msgspec.structs.replace(leak, connected=leak.connected[:CONNECTIONS_SHOWN])
    yield from run.tell(msgspec.structs.replace(run.notice(kind), leak=leak))


# -- cut: first


def _cut_first(run: Run, leak: Leak) -> Steps[End | None]:
    """Ends the leaked login, then moves to the other slot what it served. None once that is done,
    or else how it ended: from here on there is no way back."""
    run.too_late()
    run.retry_longer()
    run.stage(Stage.CUT)
    try:
        yield from run.recorded(StepName.CUT, _cut(run, leak))
    except StepFailed as failure:
        return Outcome.NEEDS_ATTENTION, failure.message, list(failure.reasons)
    yield from _tell(run, Announcement.LOGIN_CUT)
    if not leak.serves:
        return None
    try:
        yield from _rebuilt(run, leak)
    except StepFailed as failure:
        text = f"role {leak.role} is cut, and {other(leak.slot)} does not serve: {failure.message}"
        return Outcome.NEEDS_ATTENTION, text, [reason(Code.LOGIN_CUT, text), *failure.reasons]
    return None


def _cut(run: Run, leak: Leak) -> Steps[None]:
    """Ends the login, and then its sessions until none is left or their time is over: what is left
    by then ends with the slot."""
    reference = run.reference(leak.slot, version=leak.version)
    deadline = run.context.current_utc_datetime + CUTTING
    while True:
        ended: Ended = yield from call(run.context, activities.CUT, reference, run.retry, run.waits)
        _note(leak, ended.connected)
        leak.refused = leak.refused or run.now
        if not ended.left:
            leak.ended = run.now
            return
        run.waits(ended.observed)
        if run.context.current_utc_datetime >= deadline:
            return
        yield run.context.create_timer(run.context.current_utc_datetime + timedelta(seconds=1))


def _rebuilt(run: Run, leak: Leak) -> Steps[None]:
    """Brings the other slot up and moves all traffic there. Raises `StepFailed`, after as long as
    it may take."""
    run.stage(Stage.PLAN)
    # What refuses it somebody may mend meanwhile.
    yield from _patiently(run, _planned)
    run.begin(leak.slot)
    run.retry_longer()
    yield from run.tell(run.notice(Announcement.STARTED))
    yield from _patiently(run, bring_up)
    yield from _patiently(run, move)


def _planned(run: Run) -> Steps[None]:
    plan, leak = (yield from planned(run)), run.record.leak
    if leak is None or plan.active != leak.slot:
        text = f"traffic does not go to {leak.slot if leak else 'it'} any more"
        elsewhere = reason(Code.TRAFFIC_ELSEWHERE, text)
        raise StepFailed(StepName.PLAN, plan.reasons or [elsewhere])


def _patiently(run: Run, part: Callable[[Run], Steps[None]]) -> Steps[None]:
    """Does a part of the way again and again until it is done, or its time is over: nothing serves
    meanwhile, and there is nothing to go back to. Raises `StepFailed`."""
    seconds = run.policy.undo.transient
    deadline = run.context.current_utc_datetime + timedelta(seconds=seconds)
    pause = timedelta(minutes=1)
    while True:
        try:
            return (yield from part(run))
        except StepFailed:
            again = run.context.current_utc_datetime + pause
            if again >= deadline:
                raise
        yield run.context.create_timer(again)
        pause = min(pause * 2, LONGEST_PAUSE)
        run.begin_anew()


# -- retire and confirm


def _retired(run: Run, leak: Leak) -> Steps[End | None]:
    """Takes the leaked login away, as whoever called the incident has decided. None once that is
    done, or else how it ended."""
    run.record.active, run.record.standby = leak.slot, other(leak.slot)
    run.active, run.standby = leak.slot, other(leak.slot)
    evidence = yield from _evidence(run)
    run.record.evidence.decided = evidence
    request = run.request
    run.record.decision = Decision(
        decision="approve",
        by=request.requested_by,
        channel=CALLED,
        comment=request.reason,
        id=None,
        at=run.now,
        known_as=request.known_as,
        object_id=request.object_id,
        signed_in=request.signed_in,
    )
    run.show()
    try:
        yield from retire(run, leak.slot)
    except StepFailed as failure:
        return Outcome.NEEDS_ATTENTION, failure.message, list(failure.reasons)
    leak.refused = leak.refused or run.now
    leak.ended = leak.ended or run.now
    return None


def _evidence(run: Run) -> Steps[Any]:
    try:
        return (yield from run.collect())
    except StepFailed as failure:
        return no_evidence(run.now, failure.message)


def _confirmed(run: Run) -> Steps[End]:
    """Waits for a second person to say whether what was done is right. Nothing is undone if not."""
    run.stage(Stage.CONFIRMATION)
    due = run.context.current_utc_datetime + timedelta(seconds=run.policy.approval.deadline)
    asked = run.record.approval = Approval(
        event=None, requested=run.now, deadline=wire.moment(due), confirms=True
    )
    yield from _tell(run, Announcement.AWAITING_CONFIRMATION)
    run.hear_of_incidents()
    decision = yield from run.recorded(StepName.CONFIRMATION, _decision(run, asked))
    run.too_late()
    asked.event = None
    if decision is None:
        asked.overdue = True
        why = reason(Code.UNCONFIRMED, f"nobody confirmed it before {asked.deadline}")
        return Outcome.NEEDS_ATTENTION, why.text, [why]
    run.record.confirmation = msgspec.structs.replace(decision, at=run.now)
    run.show()
    if decision.decision == "approve":
        return _ended(Outcome.COMPLETED, Code.CONFIRMED, f"confirmed by {decision.by}")
    return _ended(Outcome.NEEDS_ATTENTION, Code.DISPUTED, f"not confirmed by {decision.by}")


def _ended(outcome: Outcome, code: Code, text: str) -> End:
    reasons: list[Reason] = [reason(code, text)]
    return outcome, text, reasons


def _decision(run: Run, asked: Approval) -> Steps[Decision | None]:
    """The decision of somebody else than who called it; None where none has come before the
    deadline."""
    waiting, event = Waiting(run, asked), _next_event(run, asked)
    while True:
        now = run.context.current_utc_datetime
        if now >= waiting.deadline:
            return None
        if (yield from run.first([event], waiting.next(now))) is None:
            if run.context.current_utc_datetime >= waiting.next_reminder:
                waiting.next_reminder = run.context.current_utc_datetime + waiting.remind
                asked.reminders += 1
                run.show()
                yield from _tell(run, Announcement.AWAITING_CONFIRMATION)
            continue
        # Four eyes whatever the credential allows: somebody has decided alone, and in a hurry.
        decision = verdict(document(event.result), requester(run.request))
        if not isinstance(decision, str):
            return decision
        asked.ignored = [*asked.ignored[1 - IGNORED_KEPT :], decision]
        event = _next_event(run, asked)


def _next_event(run: Run, asked: Approval) -> Any:
    """The task that ends with the next decision, under a new name: see `approval`."""
    asked.gate += 1
    asked.event = f"confirmation-{asked.gate}"
    run.show()
    return run.context.wait_for_external_event(asked.event)
