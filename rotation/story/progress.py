"""A rotation under way: takes its steps, and keeps and shows its record meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from rotation.decisions.verdict import cancel, makes_way
from rotation.model import activities, wire
from rotation.model.activities import TAKEOVER, Notice, Part, PartEnded, Reference, Retry
from rotation.model.catalogue import DONE, Progress, Stage, StepName
from rotation.model.errors import MadeWay, StepFailed
from rotation.model.reasons import Code, Reason, reason
from rotation.model.record import (
    Cancelling,
    Evidence,
    Request,
    StepRecord,
    TakenOver,
    new_record,
    swapped_at,
)
from rotation.model.world import Slot, other
from rotation.story.hearing import Call, Ears, Listening
from rotation.story.retrying import Again, Steps, call, wait
from rotation.story.status import truncated_status
from rotation.story.version import inherited, since

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import azure.durable_functions as df
    from msgspec import Struct

    from rotation.model.activities import (
        Activity,
        Opening,
        Planned,
        Policy,
        Through,
        Watched,
        WorkloadTimes,
    )
    from rotation.model.catalogue import Announcement
    from rotation.model.reasons import Reason
    from rotation.model.wire import Moment
    from rotation.story.workload import Orchestrator

A = TypeVar("A", bound="Struct")
T = TypeVar("T")

LONGEST_MESSAGE = 300  # in the custom status, which has 16 KB of UTF-16 for everything
# Refusals too: an API server that has just started refuses what it will allow in some seconds.
BEFORE_THE_PLAN = Retry(transient=600.0, refusals=120.0)
IGNORED_KEPT = 5
RELEASES_KEPT = 20
CONNECTIONS_SHOWN = 5  # of a leaked login, in the custom status


def part_id(rotation: str, name: str, workload: str, attempt: int) -> str:
    """The id of a workload's sub-orchestration, of at most a hundred characters: the Durable Task
    Scheduler takes no more."""
    again = f".{attempt}" if attempt > 1 else ""
    return f"{rotation}.{name}.{workload}{again}"


def document(event: object) -> object:
    """What an event carries, decoded; None for what is no JSON.

    Anybody with a key of the task hub can raise an event.
    """
    try:
        return wire.decoded(event)
    except (ValueError, RecursionError):
        return None


class Run:
    """A rotation under way. `record` is its custom status and, at the end, its output.

    `retry` is the policy's `forward` until `retry_longer` makes it `undo`. It hears of a cancel
    until `too_late`.
    """

    def __init__(self, context: df.DurableOrchestrationContext) -> None:
        self.context = context
        self.request = wire.read(Request, context.get_input())
        self.record = new_record(self.request, Stage.PLAN, self.now)
        self.policy: Policy
        self.entry: str | None = None
        self.latest: Moment | None = None
        self.closes: datetime | None = None  # the window that was open last
        self.telling = Retry(BEFORE_THE_PLAN.transient)
        self.retry = BEFORE_THE_PLAN if since(context, "1.2") else self.telling
        self.active: Slot
        self.standby: Slot
        self.notified = 0
        self.watches = 0
        self.moved: set[str] = set()  # the workloads whose swap has begun
        self._ears = Ears(context)
        if since(context, "1.2"):
            self.record.cancelling = Cancelling(event="cancel-1", gate=1)
            # One wait for all the time: it may be raised when nobody listens.
            self._incident = Call(
                lambda: context.wait_for_external_event(TAKEOVER), self._makes_way
            )
            cancels = Call(self._next_cancel, self._cancels)
            self._ears = Listening(context, [cancels, self._incident], self._stopped)

    @property
    def now(self) -> Moment:
        return wire.moment(self.context.current_utc_datetime)

    def consider(self, plan: Planned, policy: Policy) -> None:
        """Takes over by what a rotation waits, and goes on; orchestrators never read the
        configuration."""
        self.policy, self.entry, self.latest = policy, plan.entry, plan.latest

    def begin(self, active: Slot) -> None:
        """Begins as `plan` decided."""
        policy = self.policy
        self.retry = policy.forward
        self.telling = Retry(policy.undo.transient)
        self.active = self.record.active = active
        self.standby = self.record.standby = other(active)
        self.record.workloads = dict.fromkeys(policy.workloads, Progress.PLANNED)

    def retry_longer(self) -> None:
        """From now on retries faults for longer, and refusals too: there is no way but on."""
        self.retry = self.policy.undo

    def heed(self) -> None:
        """Raises `StepFailed` if somebody has cancelled, and `MadeWay` if somebody has called an
        incident, as every step does before it begins."""
        self._ears.heed()

    def too_late(self) -> None:
        """From now on hears of no cancel and of no incident: what is shown next says so."""
        self._ears = Ears(self.context)
        if self.record.cancelling is not None:
            self.record.cancelling.event = None

    def hear_of_incidents(self) -> None:
        """From now on hears of an incident again, where it waits and has moved what it moves at
        once. Raises `MadeWay` if it has heard of one that had to wait."""
        if self.record.taken_over is not None:
            raise MadeWay
        if since(self.context, "1.2"):
            self._ears = Listening(self.context, [self._incident], self._stopped)

    def _makes_way(self, event: object) -> bool:
        """Records who called an incident. Whatever it carries: whoever can raise it could end the
        instance as well."""
        by, rotation = makes_way(document(event))
        self.record.taken_over = TakenOver(by=by, rotation=rotation, at=self.now)
        if self.record.cancelling is not None:
            self.record.cancelling.event = None
        self.show()
        return True

    def _next_cancel(self) -> Any:
        """The task that ends with the next cancel, whose name the record shows."""
        cancelling = self.record.cancelling
        if cancelling is None or cancelling.event is None:
            raise LookupError("no cancel is waited for")
        return self.context.wait_for_external_event(cancelling.event)

    def _cancels(self, event: object) -> bool:
        """Records the cancel that an event carries; False if it does not count."""
        cancelling, found = self.record.cancelling, cancel(document(event))
        if cancelling is None:
            raise LookupError("no cancel is waited for")
        if isinstance(found, str):
            # Under a new name: see `approval`.
            cancelling.gate += 1
            cancelling.event = f"cancel-{cancelling.gate}"
            cancelling.ignored = [*cancelling.ignored[1 - IGNORED_KEPT :], found]
            self.show()
            return False
        cancelling.event = None
        self.record.cancelled = msgspec.structs.replace(found, at=self.now)
        self.show()
        return True

    def _stopped(self) -> Exception:
        """The error that a step ends with which has heard of a cancel, or of an incident."""
        if self.record.taken_over is not None:
            return MadeWay()
        by = self.record.cancelled.by if self.record.cancelled else "somebody"
        return StepFailed("cancel", [reason(Code.CANCELLED, f"cancelled by {by}")])

    def begin_anew(self) -> None:
        """From now on sub-orchestrations have ids of another attempt."""
        self.record.attempt += 1

    def reference(
        self,
        slot: Slot | None = None,
        *,
        version: str | None = None,
        through: Through | None = None,
    ) -> Reference:
        """The reference for an activity: names only."""
        return Reference(
            rotation=self.request.rotation,
            credential=self.request.credential,
            slot=slot,
            version=version,
            through=through,
            entry=self.entry,
            waived=sorted({waiver.code for waiver in self.record.waivers}),
            cut=self.request.cut == "first",
        )

    def stage(self, stage: Stage) -> None:
        """Enters a stage, and shows it."""
        self.record.stage, self.record.since = stage, self.now
        self.show()

    def show(self) -> None:
        """Sets the record as custom status, truncated and without evidence, which is too large."""
        status = wire.value_of(self.record)
        status["evidence"] = {}
        if self.record.leak is not None:
            status["leak"]["connected"] = status["leak"]["connected"][:CONNECTIONS_SHOWN]
        self.context.set_custom_status(truncated_status(status))

    def next_watch(self) -> str:
        """The id of the next watch over conditions."""
        self.watches += 1
        return f"{self.request.rotation}.watch.{self.watches}"

    def first(self, tasks: list[Any], until: datetime) -> Steps[Any]:
        """That of the tasks which ends first; None at the moment `until`. Raises `StepFailed` if
        somebody cancels meanwhile."""
        winner = yield from self._ears.first(tasks, until)
        self.heed()
        return winner

    def window(self) -> Steps[Opening]:
        """The window that is open, or the next one, in which it may go on. Raises `StepFailed`."""
        reference = msgspec.structs.replace(self.reference(), at=self.now)
        return (yield from call(self.context, activities.WINDOW, reference, self.retry))

    def pause(self, until: datetime) -> Steps[None]:
        """Waits until a moment. Raises `StepFailed` if somebody cancels meanwhile."""
        yield from self._ears.pause(until)
        self.heed()

    @property
    def stopped(self) -> bool:
        """Whether somebody has cancelled, and it hears of that."""
        return isinstance(self._ears, Listening) and self._ears.stopped

    def plan(self) -> Steps[Planned]:
        """The answer of `plan`, recorded as a step, by the file as it is now: nothing has begun.
        Raises `StepFailed`."""
        reference = msgspec.structs.replace(self.reference(), request=self.request, entry=None)
        steps = call(self.context, activities.PLAN, reference, self.retry, self.waits, self._ears)
        return (yield from self.recorded(StepName.PLAN, steps))

    def ask(self, name: StepName, activity: Activity[A], reference: Reference) -> Steps[A]:
        """The answer of an activity that is about no slot yet, recorded as a step. Raises
        `StepFailed`."""
        self.heed()
        steps = call(self.context, activity, reference, self.retry, self.waits, self._ears)
        return (yield from self.recorded(name, steps))

    def step(
        self,
        name: StepName,
        activity: Activity[A],
        slot: Slot,
        *,
        version: str | None = None,
        retry: Retry | None = None,
    ) -> Steps[A]:
        """The activity's answer, recorded with its times. Raises `StepFailed`."""
        self.heed()
        reference, retry = self.reference(slot, version=version), retry or self.retry
        steps = call(self.context, activity, reference, retry, self.waits, self._ears)
        return (yield from self.recorded(name, steps))

    def wait(
        self, name: StepName, activity: Activity[Watched], slot: Slot, seconds: float
    ) -> Steps[Watched]:
        """The last answer of a repeated watch, recorded like a step. Raises `StepFailed`."""
        reference = self.reference(slot)
        steps = wait(self._ears, activity, reference, seconds, self.retry, self.waits)
        return (yield from self.recorded(name, steps))

    def each(
        self,
        name: StepName,
        part: Orchestrator,
        reference: Reference,
        *,
        workloads: Mapping[str, WorkloadTimes] | None = None,
    ) -> Steps[None]:
        """Runs one sub-orchestration per workload, or for each of some, all at once, recorded as a
        step.

        Raises `StepFailed` with every workload's failure, after all have ended.
        """
        self.heed()
        chosen = self.policy.workloads if workloads is None else workloads
        yield from self.recorded(name, self._fan_out(name, part, reference, chosen))

    def _fan_out(
        self,
        name: StepName,
        part: Orchestrator,
        reference: Reference,
        workloads: Mapping[str, WorkloadTimes],
    ) -> Steps[None]:
        ids = [
            part_id(self.request.rotation, name, each, self.record.attempt) for each in workloads
        ]
        tasks = [
            self.context.call_sub_orchestrator(
                part.__name__,
                wire.value_of(
                    Part(
                        msgspec.structs.replace(reference, workload=workload),
                        self.retry,
                        times,
                    )
                ),
                id_,
                version=inherited(self.context),
            )
            for id_, (workload, times) in zip(ids, workloads.items(), strict=True)
        ]
        together = self._ears.long(self.context.task_all(tasks), lambda: self.stop_parts(ids))
        answers = [wire.read(PartEnded, value) for value in (yield from together)]
        failures = []
        for workload, answer in zip(workloads, answers, strict=True):
            stopped = any(why.code == Code.CANCELLED for why in answer.reasons)
            if not stopped:
                self.record.workloads[workload] = Progress.FAILED if answer.reasons else DONE[name]
            failures += [_of_workload(workload, why) for why in answer.reasons]
            met = [_of_workload(workload, why) for why in answer.releases]
            self.record.releases = [*self.record.releases, *met][-RELEASES_KEPT:]
        self.heed()
        if failures:
            raise StepFailed(name, failures)

    def stop_parts(self, parts: list[str], retry: Retry | None = None) -> Steps[None]:
        """Tells instances to stop, so that they end soon."""
        reference = msgspec.structs.replace(self.reference(), parts=parts)
        try:
            yield from call(self.context, activities.STOP_PARTS, reference, retry or self.telling)
        except StepFailed as failure:
            # They are waited for all the same, and end by themselves: it only takes longer.
            self.record.untold = [*self.record.untold[1 - IGNORED_KEPT :], str(failure)]
            self.show()

    def collect(self, through: Through | None = None) -> Steps[Evidence]:
        """Evidence of this moment, recorded as a step: before the swap `through` is preview. Raises
        `StepFailed`."""
        reference = msgspec.structs.replace(
            self.reference(self.standby, through=through), swapped=swapped_at(self.record)
        )
        ears, retry = self._ears, self.retry
        steps = call(self.context, activities.EVIDENCE, reference, retry, self.waits, ears)
        return (yield from self.recorded(StepName.EVIDENCE, steps))

    def notice(self, kind: Announcement | None) -> Notice:
        """An announcement with the next number, to be completed with its facts."""
        self.notified += 1
        return Notice(
            kind=kind,
            number=self.notified,
            time=self.now,
            request=self.request,
            waivers=self.record.waivers,
        )

    def tell(self, notice: Notice) -> Steps[None]:
        """Logs and announces a notice. A topic that is down delays nothing: see `steps.telling`."""
        reference = msgspec.structs.replace(self.reference(), notice=notice)
        try:
            ready = yield from call(self.context, activities.NOTIFY, reference, self.telling)
            if ready.changed is not None and ready.changed != self.record.changed:
                self.record.changed = ready.changed
                self.show()
        except StepFailed as failure:
            # Telling is not worth a rotation; the record still says that it was not told.
            self.record.untold = [*self.record.untold[1 - IGNORED_KEPT :], str(failure)]
            self.show()

    def recorded(self, name: StepName, steps: Steps[T]) -> Steps[T]:
        """The result of the steps, recorded as one step with its times, or with its failure.

        No `finally`: it would also run when a replay leaves the generator half way.
        """
        entry = StepRecord(step=name, since=self.now, until=None)
        self.record.steps.append(entry)
        self.show()
        try:
            answer = yield from steps
        except MadeWay:
            entry.until, entry.waits, entry.next_try = self.now, None, None
            entry.failure, entry.code = "it made way for an incident", Code.TAKEN_OVER
            self.show()
            raise
        except StepFailed as failure:
            entry.until, entry.waits, entry.next_try = self.now, None, None
            entry.failure = wire.truncated(failure.text, LONGEST_MESSAGE)
            entry.code = failure.reasons[0].code
            self.show()
            raise
        entry.until, entry.waits, entry.next_try = self.now, None, None
        self.show()
        return answer

    def waits(self, seen: str | Again) -> None:
        """Shows what the step under way waits for: it may be something for a person to mend."""
        entry = self.record.steps[-1]
        if isinstance(seen, Again):
            entry.waits = wire.truncated(seen.failure.message, LONGEST_MESSAGE)
            entry.attempt, entry.next_try = seen.attempt, wire.moment(seen.at)
        else:
            entry.waits, entry.next_try = wire.truncated(seen, LONGEST_MESSAGE), None
        self.show()


def _of_workload(workload: str, why: Reason) -> Reason:
    return msgspec.structs.replace(why, text=f"workload {workload}: {why.text}")
