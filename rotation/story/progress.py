"""A rotation under way: takes its steps, and keeps and shows its record meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from rotation.model import activities, wire
from rotation.model.activities import Notice, Part, PartEnded, Reference, Retry
from rotation.model.catalogue import Progress, Stage, StepName
from rotation.model.errors import Failure, StepFailed
from rotation.model.record import Evidence, Request, StepRecord, new_record
from rotation.model.world import Slot, other
from rotation.story.retrying import Steps, call, wait
from rotation.story.status import truncated_status
from rotation.story.version import inherited, since

if TYPE_CHECKING:
    from collections.abc import Mapping

    import azure.durable_functions as df
    from msgspec import Struct

    from rotation.model.activities import (
        Activity,
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


def part_id(rotation: str, name: StepName, workload: str, attempt: int) -> str:
    """The id of a workload's sub-orchestration, of at most a hundred characters: the Durable Task
    Scheduler takes no more."""
    again = f".{attempt}" if attempt > 1 else ""
    return f"{rotation}.{name}.{workload}{again}"


class Run:
    """A rotation under way. `record` is its custom status and, at the end, its output.

    `retry` is the policy's `forward` until `retry_longer` makes it `undo`.
    """

    def __init__(self, context: df.DurableOrchestrationContext) -> None:
        self.context = context
        self.request = wire.read(Request, context.get_input())
        self.record = new_record(self.request, Stage.PLAN, self.now)
        self.policy: Policy
        self.entry: str | None = None
        self.telling = Retry(BEFORE_THE_PLAN.transient)
        self.retry = BEFORE_THE_PLAN if since(context, "1.2") else self.telling
        self.active: Slot
        self.standby: Slot
        self.notified = 0
        self.attempt = 1

    @property
    def now(self) -> Moment:
        return wire.moment(self.context.current_utc_datetime)

    def begin(self, active: Slot, policy: Policy, entry: str | None) -> None:
        """Takes over what `plan` decided; orchestrators never read the configuration."""
        self.policy, self.retry, self.entry = policy, policy.forward, entry
        self.telling = Retry(policy.undo.transient)
        self.active = self.record.active = active
        self.standby = self.record.standby = other(active)
        self.record.workloads = dict.fromkeys(policy.workloads, Progress.PLANNED)

    def retry_longer(self) -> None:
        """From now on retries faults for longer, and refusals too: there is no way but on."""
        self.retry = self.policy.undo

    def begin_anew(self) -> None:
        """From now on sub-orchestrations have ids of another attempt."""
        self.attempt += 1

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
        )

    def stage(self, stage: Stage) -> None:
        """Enters a stage, and shows it."""
        self.record.stage, self.record.since = stage, self.now
        self.show()

    def show(self) -> None:
        """Sets the record as custom status, truncated and without evidence, which is too large."""
        status = wire.value_of(self.record)
        status["evidence"] = {}
        self.context.set_custom_status(truncated_status(status))

    def plan(self) -> Steps[Planned]:
        """The answer of `plan`, recorded as a step. Raises `StepFailed`."""
        reference = msgspec.structs.replace(self.reference(), request=self.request)
        steps = call(self.context, activities.PLAN, reference, self.retry, self._waits)
        return (yield from self._recorded(StepName.PLAN, steps))

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
        reference = self.reference(slot, version=version)
        steps = call(self.context, activity, reference, retry or self.retry, self._waits)
        return (yield from self._recorded(name, steps))

    def wait(
        self, name: StepName, activity: Activity[Watched], slot: Slot, seconds: float
    ) -> Steps[Watched]:
        """The last answer of a repeated watch, recorded like a step. Raises `StepFailed`."""
        steps = wait(self.context, activity, self.reference(slot), seconds, self.retry)
        return (yield from self._recorded(name, steps))

    def each(
        self,
        name: StepName,
        part: Orchestrator,
        reference: Reference,
        *,
        done: Progress,
        workloads: Mapping[str, WorkloadTimes] | None = None,
    ) -> Steps[None]:
        """Runs one sub-orchestration per workload, or for each of some, all at once, recorded as a
        step.

        Raises `StepFailed` with every workload's failure, after all have ended.
        """
        chosen = self.policy.workloads if workloads is None else workloads
        yield from self._recorded(name, self._fan_out(name, part, reference, done, chosen))

    def _fan_out(
        self,
        name: StepName,
        part: Orchestrator,
        reference: Reference,
        done: Progress,
        workloads: Mapping[str, WorkloadTimes],
    ) -> Steps[None]:
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
                part_id(self.request.rotation, name, workload, self.attempt),
                version=inherited(self.context),
            )
            for workload, times in workloads.items()
        ]
        answers = [wire.read(PartEnded, value) for value in (yield self.context.task_all(tasks))]
        failures = []
        for workload, answer in zip(workloads, answers, strict=True):
            self.record.workloads[workload] = Progress.FAILED if answer.reasons else done
            failures += [_of_workload(workload, why) for why in answer.reasons]
            met = [_of_workload(workload, why) for why in answer.releases]
            self.record.releases = [*self.record.releases, *met][-RELEASES_KEPT:]
        if failures:
            raise StepFailed(name, failures)

    def collect(self) -> Steps[Evidence]:
        """Evidence of this moment, recorded as a step. Raises `StepFailed`."""
        return (yield from self.step(StepName.EVIDENCE, activities.EVIDENCE, self.standby))

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

    def _recorded(self, name: StepName, steps: Steps[T]) -> Steps[T]:
        """The result of the steps, recorded as one step with its times, or with its failure.

        No `finally`: it would also run when a replay leaves the generator half way.
        """
        entry = StepRecord(step=name, since=self.now, until=None)
        self.record.steps.append(entry)
        self.show()
        try:
            answer = yield from steps
        except StepFailed as failure:
            entry.until, entry.waits = self.now, None
            entry.failure = wire.truncated(failure.text, LONGEST_MESSAGE)
            entry.code = failure.reasons[0].code
            self.show()
            raise
        entry.until, entry.waits = self.now, None
        self.show()
        return answer

    def _waits(self, failure: Failure) -> None:
        """Shows what the step under way waits for: it may be something for a person to mend."""
        self.record.steps[-1].waits = wire.truncated(failure.message, LONGEST_MESSAGE)
        self.show()


def _of_workload(workload: str, why: Reason) -> Reason:
    return msgspec.structs.replace(why, text=f"workload {workload}: {why.text}")
