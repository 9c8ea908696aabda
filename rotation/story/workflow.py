"""The orchestrators: the whole story of a rotation.

They decide nothing about the world and call no edge: activities do, and return references and
expected failures as values (see `rotation.steps`). The code keeps to the subset that
azure-functions-durable 1.x and 2.x both run: functions called by name, at least one task in each
`task_all`, one wait for each event name, timers of at most a day that are cancelled when they
lose.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from rotation.model import activities, wire
from rotation.model.activities import Reference, Retry
from rotation.model.catalogue import Announcement, Outcome, Stage, StepName, ending
from rotation.model.errors import Failure, MadeWay, StepFailed
from rotation.model.reasons import Code, Reason, reason
from rotation.model.record import Request
from rotation.model.world import Slot, other
from rotation.story.approval import agreed, let_through
from rotation.story.conditions import hold
from rotation.story.places import admitted, give_back
from rotation.story.progress import Run
from rotation.story.retrying import Steps, attempt
from rotation.story.seat import seated
from rotation.story.version import inherited, since
from rotation.story.windows import in_window
from rotation.story.workload import (
    observe_workload,
    prepare_workload,
    retire_workload,
    swap_back_workload,
    swap_workload,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import azure.durable_functions as df

    from rotation.model.activities import Planned, WorkloadTimes
    from rotation.model.wire import JsonObject

    # How a rotation ends: its outcome, in a sentence, and the reasons that the sentence is made of.
    End = tuple[Outcome, str, list[Reason]]


def credential(context: df.DurableOrchestrationContext) -> Steps[JsonObject]:
    """Runs one rotation of a credential, and answers with its record.

    Its instance id is the credential's name: one rotation of it at a time. The rotation has an id
    of its own, so that it stays readable when the next one starts.
    """
    request = wire.read(Request, context.get_input())
    record: JsonObject = wire.decoded((yield from seated(context, request, _run)))
    return record


def _run(context: df.DurableOrchestrationContext, request: Request) -> Any:
    """The task that ends with a rotation."""
    return context.call_sub_orchestrator(
        rotation.__name__,
        wire.value_of(request),
        request.rotation,
        version=inherited(context),
    )


def rotation(context: df.DurableOrchestrationContext) -> Steps[JsonObject]:
    """Runs a rotation to its end, whatever goes wrong, and answers with its record."""
    # It is made of what is below.
    from rotation.story.incident import incident  # noqa: PLC0415

    run = Run(context)
    try:
        end = yield from incident(run) if run.request.compromised else story(run)
    except MadeWay:
        end = made_way(run)
    except Exception as error:  # noqa: BLE001 - whatever it is: both slots stay, and we say so
        text = f"unexpected {type(error).__name__}; see the log"
        end = Outcome.NEEDS_ATTENTION, text, [reason(Code.UNEXPECTED, text)]
    return (yield from finish(run, *end))


def story(run: Run) -> Steps[End]:
    """Takes the steps of a rotation in their order, and returns how it ended."""
    ended = yield from moved(run)
    if ended is not None:
        return ended
    run.hear_of_incidents()
    try:
        decision = yield from agreed(run)
    except StepFailed as failure:
        text = failure.text if failure.step == StepName.CONDITIONS else failure.message
        return (yield from roll_back(run, text, list(failure.reasons)))
    if decision.decision == "reject":
        why = reason(Code.REJECTED, f"rejected by {decision.by}")
        return (yield from roll_back(run, why.text, [why]))
    try:
        yield from admitted(run, StepName.RETIRE, windows=run.policy.retire_in_window)
        run.too_late()
        yield from retire(run, run.active)
    except StepFailed as failure:
        return Outcome.NEEDS_ATTENTION, failure.message, list(failure.reasons)
    approved = reason(Code.APPROVED, f"approved by {decision.by}")
    return Outcome.COMPLETED, approved.text, [approved]


def moved(run: Run) -> Steps[End | None]:  # noqa: PLR0911 - one line for each way it ends
    """Plans, brings the standby slot up, and moves all traffic there. None once that is done and
    observed, or else how the rotation ended."""
    try:
        plan = yield from planned(run)
    except StepFailed as failure:
        if run.record.cancelled is not None:
            return (yield from never_begun(run, failure))
        return Outcome.REFUSED, failure.message, list(failure.reasons)
    if plan.active is None:
        if run.record.taken_over is not None:
            raise MadeWay  # while it was planned, and whatever that says
        text = "; ".join(why.text for why in plan.reasons)
        return plan.outcome or Outcome.REFUSED, text, plan.reasons
    run.begin(plan.active)
    try:
        run.heed()
    except StepFailed as failure:
        return (yield from never_begun(run, failure))
    yield from run.tell(run.notice(Announcement.STARTED))
    try:
        yield from bring_up(run)
        run.heed()  # for the last time: from the swap on only a rejection goes back
    except StepFailed as failure:
        asked = run.record.cancelled or failure.step == StepName.GATE
        text = failure.text if asked else failure.message
        return (yield from abort(run, text, list(failure.reasons)))
    run.too_late()
    try:
        yield from move(run)
    except StepFailed as failure:
        text = failure.text if failure.step == StepName.CONDITIONS else failure.message
        return (yield from roll_back(run, text, list(failure.reasons)))
    return None


def made_way(run: Run) -> End:
    """How a rotation ends that made way for an incident: nothing is taken back, that goes on from
    there."""
    taken = run.record.taken_over
    by, incident = (taken.by, taken.rotation) if taken else ("somebody", "")
    for asked in (run.record.before, run.record.approval):
        if asked is not None:
            asked.event = None
    why = reason(Code.TAKEN_OVER, f"{by} called the incident {incident}".rstrip())
    return Outcome.SUPERSEDED, why.text, [why]


def planned(run: Run) -> Steps[Planned]:
    """What was planned within a window of its owner's, and with a place where there are few. Who
    has waited for these has looked at a world of hours or days ago, and looks again."""
    while True:
        plan = yield from run.plan()
        run.record.waivers, run.record.doubts = plan.waivers, plan.doubts
        if plan.active is None or plan.policy is None:
            return msgspec.structs.replace(plan, active=None)
        run.consider(plan, plan.policy)
        if not (yield from admitted(run, StepName.STAGE)):
            return plan


STAGE_ATTEMPTS = 3
# Once more, where the window closed meanwhile; then what it proved there is enough.
PREPARATIONS = 2


def bring_up(run: Run) -> Steps[None]:
    """Gives the standby slot a new password, and starts and tests its pods, unseen by clients.

    A secret version that comes after ours, of an execution that was held up or of somebody else,
    has it begin anew, a few times.
    """
    for left in reversed(range(STAGE_ATTEMPTS)):
        try:
            yield from _bring_up(run)
        except StepFailed as failure:
            if not left or not _foreign(failure) or not since(run.context, "1.2"):
                raise
            run.begin_anew()
        else:
            return


def _bring_up(run: Run) -> Steps[None]:
    slot = run.standby
    yield from admitted(run, StepName.STAGE)
    version = run.record.version = yield from new_login(run, slot)
    run.stage(Stage.VERIFY)
    yield from run.step(StepName.VERIFY, activities.VERIFY, slot, version=version)
    run.stage(Stage.PREPARE)
    for number in range(PREPARATIONS):
        yield from in_window(run, StepName.PREPARE)
        yield from prepare(run, version, f"prepare-{number + 1}" if number else None)
        if run.policy.before is not None:
            yield from give_back(run)  # a person is waited for without one
        long = yield from let_through(run)
        if not (yield from admitted(run, StepName.SWAP)) and not long:
            return
        run.begin_anew()
        run.stage(Stage.PREPARE)


def prepare(run: Run, version: str, phase: str | None) -> Steps[None]:
    """Starts and tests the standby slot's pods. `phase` is what Jobs are made for once more."""
    reference = msgspec.structs.replace(run.reference(run.standby, version=version), phase=phase)
    yield from run.each(StepName.PREPARE, prepare_workload, reference)
    # Minutes may have passed: what traffic will depend on is proved once more before the swap.
    yield from run.step(StepName.VERIFY, activities.VERIFY, run.standby, version=version)


def _foreign(failure: StepFailed) -> bool:
    """Whether a step found a secret version in the place of ours."""
    return failure.reasons[0].code == Code.FOREIGN_VERSION


def new_login(run: Run, slot: Slot) -> Steps[str]:
    """The secret version that the role logs in with, staged by this rotation.

    Stories of 1.1 begin anew here where somebody else writes versions too; newer ones in
    `bring_up`, since one may come later.
    """
    only_here = since(run.context, "1.1") and not since(run.context, "1.2")
    for left in reversed(range(STAGE_ATTEMPTS if only_here else 1)):
        run.stage(Stage.STAGE)
        staged = yield from run.step(StepName.STAGE, activities.STAGE, slot)
        run.stage(Stage.ACTIVATE)
        try:
            yield from run.step(
                StepName.ACTIVATE, activities.ACTIVATE, slot, version=staged.version
            )
        except StepFailed as failure:
            if not left or not _foreign(failure):
                raise
        else:
            return staged.version
    raise AssertionError("unreachable")


def move(run: Run) -> Steps[None]:
    """Every workload's traffic goes to the standby slot and is tested there: the canary's first, if
    there is one, and the others' once that has proved itself."""
    everything, first = run.policy.workloads, run.policy.canary
    if first in everything and len(everything) > 1:
        canary = {first: everything[first]}
        everything = {name: times for name, times in everything.items() if name != first}
        yield from swap(run, canary)
        try:
            yield from observe(run, canary)
        except MadeWay:
            run.too_late()  # half of a move is worse: the others follow at once, then it makes way
    yield from swap(run, everything)
    yield from give_back(run)
    yield from stop(run)
    yield from observe(run, everything)


def swap(run: Run, workloads: Mapping[str, WorkloadTimes]) -> Steps[None]:
    """The traffic of these workloads goes to the standby slot, all at once."""
    run.stage(Stage.SWAP)
    run.moved |= workloads.keys()
    reference = run.reference(run.standby)
    yield from run.each(StepName.SWAP, swap_workload, reference, workloads=workloads)


def stop(run: Run) -> Steps[None]:
    """Lets the replaced pods of workloads end that nothing calls, and whose owner has not chosen
    that both slots work until the approval. They finish what they have begun; login and secret
    stay."""
    stopping = {name: times for name, times in run.policy.workloads.items() if times.stops}
    if stopping and since(run.context, "1.2"):
        reference = msgspec.structs.replace(run.reference(run.active), early=True)
        yield from run.each(StepName.STOP, retire_workload, reference, workloads=stopping)


def swap_back(run: Run) -> Steps[None]:
    """The traffic of each workload whose swap has begun goes to the slot that served before."""
    run.stage(Stage.SWAP_BACK)
    moved = {name: times for name, times in run.policy.workloads.items() if name in run.moved}
    reference = run.reference(run.active)
    yield from run.each(StepName.SWAP_BACK, swap_back_workload, reference, workloads=moved)


def observe(run: Run, workloads: Mapping[str, WorkloadTimes]) -> Steps[None]:
    """Tests workloads through their production Services, as clients reach them since the swap, and
    watches its owner's conditions."""
    run.stage(Stage.OBSERVE)
    reference = run.reference(run.standby)
    yield from run.each(StepName.OBSERVE, observe_workload, reference, workloads=workloads)
    if run.policy.conditions:
        run.hear_of_incidents()
        yield from hold(run, run.policy.watch)
        run.too_late()


def retire(run: Run, slot: Slot) -> Steps[None]:
    """Takes away what a slot had, once it is proved that the other one serves."""
    run.retry_longer()
    run.stage(Stage.RETIRE)
    yield from run.step(StepName.CONFIRM, activities.CONFIRM, other(slot))
    yield from run.each(StepName.RETIRE, retire_workload, run.reference(slot))
    # Sessions that are still there after this are ended by `deactivate`.
    yield from run.wait(StepName.AWAIT_SESSIONS, activities.AWAIT_SESSIONS, slot, run.policy.drain)
    yield from run.step(StepName.DEACTIVATE, activities.DEACTIVATE, slot)
    yield from run.step(StepName.DISABLE, activities.DISABLE, slot)


def abort(run: Run, why: str, reasons: list[Reason]) -> Steps[End]:
    """Takes the standby slot down again, before the swap: traffic never left the active one. All
    parts have ended by now: nothing starts what is being taken down."""
    run.too_late()
    yield from tell_of_cancel(run)
    try:
        yield from retire(run, run.standby)
    except StepFailed as failure:
        failed = reason(
            Code.ABORT_FAILED, f"taking the standby slot down failed: {failure.message}"
        )
        text = f"{why}; {failed.text}"
        return Outcome.NEEDS_ATTENTION, text, [failed, *failure.reasons, *reasons]
    return Outcome.ABORTED, why, reasons


def never_begun(run: Run, cancelled: StepFailed) -> Steps[End]:
    """How a rotation ends that was cancelled while it was planned: nothing was brought up."""
    yield from tell_of_cancel(run)
    return Outcome.ABORTED, cancelled.text, list(cancelled.reasons)


def tell_of_cancel(run: Run) -> Steps[None]:
    """Announces that somebody has cancelled, if they have."""
    if run.record.cancelled is not None:
        notice = run.notice(Announcement.CANCELLED)
        yield from run.tell(msgspec.structs.replace(notice, cancelled=run.record.cancelled))


def roll_back(run: Run, why: str, reasons: list[Reason]) -> Steps[End]:
    """Moves traffic back to the slot that served before, and takes the standby slot down.

    Its pods have served all the time, and need no new connection for that: see `check_login`.
    """
    run.too_late()
    run.retry_longer()
    met = len(run.record.releases)
    try:
        if not since(run.context, "1.2"):
            yield from run.step(StepName.VERIFY, activities.VERIFY, run.active)
        yield from swap_back(run)
        if since(run.context, "1.2"):
            yield from check_login(run)
        yield from retire(run, run.standby)
    except StepFailed as failure:
        failed = reason(Code.ROLLING_BACK_FAILED, f"rolling back failed: {failure.message}")
        text = f"{why}; {failed.text}"
        return Outcome.NEEDS_ATTENTION, text, [failed, *failure.reasons, *reasons]
    left = [one for one in run.record.releases[met:] if one.code == Code.RELEASE_LEFT]
    text = "; ".join([why, *(one.text for one in left)])
    return Outcome.ROLLED_BACK, text, [*reasons, *left]


# Long enough for a blip, and for no more: an alarm is wanted soon.
BEFORE_THE_ALARM = Retry(transient=20.0, refusals=20.0)


def check_login(run: Run) -> Steps[None]:
    """Tries the login of the slot that traffic went back to. A failure is announced, and stops
    nothing: the slot that is retired next may hold the very connections that were missing."""
    try:
        yield from run.step(StepName.VERIFY, activities.VERIFY, run.active, retry=BEFORE_THE_ALARM)
    except StepFailed as failure:
        notice = run.notice(Announcement.LOGIN_FAILS)
        yield from run.tell(msgspec.structs.replace(notice, reasons=list(failure.reasons)))


def finish(run: Run, outcome: Outcome, why: str, reasons: list[Reason]) -> Steps[JsonObject]:
    """Announces how the rotation ended, and answers with its record."""
    run.too_late()
    yield from give_back(run)
    notice = msgspec.structs.replace(
        run.notice(ending(outcome).announcement),
        outcome=outcome,
        outcome_reason=why,
        reasons=reasons,
    )
    yield from run.tell(notice)
    # Shown together with the end: who sees an outcome may start the next rotation.
    record = run.record
    record.outcome, record.outcome_reason, record.reasons = outcome, why, reasons
    run.stage(Stage.DONE)
    return wire.value_of(record)


PUBLISH_ATTEMPTS = 200  # about a week
LONGEST_PAUSE = timedelta(hours=1)


def publish(context: df.DurableOrchestrationContext) -> Steps[JsonObject]:
    """Publishes one event to the topic, whatever stands in the way for up to a week.

    A refusal is repeated too: somebody may grant the missing right meanwhile.
    """
    given: JsonObject = wire.decoded(context.get_input())
    # Before 1.2, and without an entry, the event alone.
    event: JsonObject = given.get("event", given)
    reference = Reference(
        rotation=event["data"].get("rotation") or event["data"]["wave"],
        credential=event["data"].get("credential", ""),  # a wave's has none
        event=event,
        entry=given.get("entry"),
    )
    for number in range(PUBLISH_ATTEMPTS):
        answer = yield from attempt(context, activities.PUBLISH_EVENT, reference)
        if not isinstance(answer, Failure):
            return {"attempts": number + 1}
        pause = min(timedelta(seconds=2 ** min(number, 12)), LONGEST_PAUSE)
        pause = max(pause, timedelta(seconds=answer.retry_after or 0))
        yield context.create_timer(context.current_utc_datetime + pause)
    raise RuntimeError(f"event {event['id']} could not be published; the step's log says why")


KEEP_ATTEMPTS = 40  # about a day; the daily sweep is next


def keep(context: df.DurableOrchestrationContext) -> Steps[JsonObject]:
    """Keeps the record of a rotation that is about to end, as soon as it has.

    It begins a moment before that, and goes on for a day where the store is away.
    """
    reference = wire.read(Reference, context.get_input())
    for number in range(KEEP_ATTEMPTS):
        answer = yield from attempt(context, activities.KEEP, reference)
        pause = min(timedelta(seconds=2 ** min(number, 12)), LONGEST_PAUSE)
        if isinstance(answer, Failure):
            pause = max(pause, timedelta(seconds=answer.retry_after or 0))
        elif answer.done:
            return {"attempts": number + 1, "kept": True}
        yield context.create_timer(context.current_utc_datetime + pause)
    return {"attempts": KEEP_ATTEMPTS, "kept": False}
