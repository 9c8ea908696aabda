"""One rotation's progress: its record, kept while its steps are taken, and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from rotation.model import activities, wire
from rotation.model.activities import Notice, Part, PartEnded, Reference, Retry
from rotation.model.catalogue import Progress, Stage, StepName
from rotation.model.errors import StepFailed
from rotation.model.reasons import Reason
from rotation.model.record import Evidence, Request, StepRecord, born
from rotation.model.world import SLOTS, Slot, other
from rotation.story.retrying import Steps, call, wait
from rotation.story.status import fitting
from rotation.story.version import inherited

if TYPE_CHECKING:
    import azure.durable_functions as df
    from msgspec import Struct

    from rotation.model.activities import Activity, Planned, Policy, Through, Watched
    from rotation.model.catalogue import Announcement
    from rotation.model.wire import Moment
    from rotation.story.workload import Orchestrator

A = TypeVar("A", bound="Struct")
T = TypeVar("T")

LONGEST_MESSAGE = 300  # in the custom status, which has 16 KB of UTF-16 for everything
BEFORE_THE_PLAN = Retry(transient=600.0)
IGNORED_KEPT = 5


class Run:
    """A rotation under way. `record` is its custom status and, at the end, its output.

    `retry` is the policy's `forward` until `undo` is called for.
    """

    def __init__(self, context: df.DurableOrchestrationContext) -> None:
        self.context = context
        self.request = wire.read(Request, context.get_input())
        self.record = born(self.request, Stage.PLAN, self.now)
        self.policy: Policy
        self.retry = BEFORE_THE_PLAN
        self.telling = BEFORE_THE_PLAN
        self.active: Slot = SLOTS[0]
        self.standby: Slot = SLOTS[1]
        self.notified = 0

    @property
    def now(self) -> Moment:
        return wire.moment(self.context.current_utc_datetime)

    def begin(self, active: Slot, policy: Policy) -> None:
        """Takes over what `plan` decided; orchestrators never read the configuration."""
        self.policy, self.retry = policy, policy.forward
        self.telling = Retry(policy.undo.transient)
        self.active = self.record.active = active
        self.standby = self.record.standby = other(active)
        self.record.workloads = dict.fromkeys(policy.workloads, Progress.PLANNED)

    def persist(self) -> None:
        """From here on there is no way but on: faults are met for longer, and refusals too."""
        self.retry = self.policy.undo

    def reference(
        self,
        slot: Slot | None = None,
        *,
        version: str | None = None,
        through: Through | None = None,
    ) -> Reference:
        """What every activity is told: names only."""
        return Reference(
            rotation=self.request.rotation,
            credential=self.request.credential,
            slot=slot,
            version=version,
            through=through,
        )

    def stage(self, stage: Stage) -> None:
        self.record.stage, self.record.since = stage, self.now
        self.show()

    def show(self) -> None:
        """Evidence is too large for a custom status: it goes into the output only."""
        status = wire.value_of(self.record)
        status["evidence"] = {}
        self.context.set_custom_status(fitting(status))

    def plan(self) -> Steps[Planned]:
        reference = msgspec.structs.replace(self.reference(), request=self.request)
        steps = call(self.context, activities.PLAN, reference, self.retry)
        return (yield from self._recorded(StepName.PLAN, steps))

    def step(
        self,
        name: StepName,
        activity: Activity[A],
        slot: Slot,
        *,
        version: str | None = None,
    ) -> Steps[A]:
        """The activity's answer, recorded with its times. Raises `StepFailed`."""
        reference = self.reference(slot, version=version)
        return (
            yield from self._recorded(name, call(self.context, activity, reference, self.retry))
        )

    def wait(
        self, name: StepName, activity: Activity[Watched], slot: Slot, seconds: float
    ) -> Steps[Watched]:
        """The last answer of a repeated watch, recorded like a step. Raises `StepFailed`."""
        steps = wait(self.context, activity, self.reference(slot), seconds, self.retry)
        return (yield from self._recorded(name, steps))

    def each(
        self, name: StepName, part: Orchestrator, reference: Reference, *, done: Progress
    ) -> Steps[None]:
        """One sub-orchestration per workload, all at once.

        Raises `StepFailed` with every workload's failure, after all have ended.
        """
        yield from self._recorded(name, self._fan_out(name, part, reference, done))

    def _fan_out(
        self, name: StepName, part: Orchestrator, reference: Reference, done: Progress
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
                f"{self.request.rotation}.{name}.{workload}",
                version=inherited(self.context),
            )
            for workload, times in self.policy.workloads.items()
        ]
        answers = [wire.read(PartEnded, value) for value in (yield self.context.task_all(tasks))]
        failures = []
        for workload, answer in zip(self.policy.workloads, answers, strict=True):
            self.record.workloads[workload] = Progress.FAILED if answer.reasons else done
            failures += [
                Reason(found.code, f"workload {workload}: {found.text}", found.remedy)
                for found in answer.reasons
            ]
        if failures:
            raise StepFailed(name, failures)

    def collect(self) -> Steps[Evidence]:
        """Evidence informs a person. Raises `StepFailed`."""
        return (yield from self.step(StepName.EVIDENCE, activities.EVIDENCE, self.standby))

    def notice(self, kind: Announcement | None) -> Notice:
        """An announcement with the next number, to be completed with its facts."""
        self.notified += 1
        return Notice(kind=kind, number=self.notified, time=self.now, request=self.request)

    def tell(self, notice: Notice) -> Steps[None]:
        """Logs and announces. A topic that is down delays nothing: see `steps.telling`."""
        reference = msgspec.structs.replace(self.reference(), notice=notice)
        try:
            yield from call(self.context, activities.NOTIFY, reference, self.telling)
        except StepFailed as failure:
            # Telling is not worth a rotation; the record still says that it was not told.
            self.record.untold = [*self.record.untold[1 - IGNORED_KEPT :], str(failure)]
            self.show()

    def _recorded(self, name: StepName, steps: Steps[T]) -> Steps[T]:
        """No `finally`: it would also run when a replay leaves the generator half way."""
        entry = StepRecord(step=name, since=self.now, until=None)
        self.record.steps.append(entry)
        self.show()
        try:
            answer = yield from steps
        except StepFailed as failure:
            entry.until = self.now
            entry.failure = wire.truncated(failure.text, LONGEST_MESSAGE)
            entry.code = failure.reasons[0].code
            self.show()
            raise
        entry.until = self.now
        self.show()
        return answer
