"""The sub-orchestrators: each runs one workload's part of a rotation's step.

They answer with their failure instead of raising it, so that the other workloads come to an end of
their own and the rotation sees all of them.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, TypeVar

import msgspec

from rotation.model import activities, wire
from rotation.model.activities import Part, PartEnded, Retry
from rotation.model.errors import StepFailed
from rotation.model.reasons import Code, Reason
from rotation.story.retrying import Steps, call, overdue, wait
from rotation.story.version import since

if TYPE_CHECKING:
    from collections.abc import Callable

    import azure.durable_functions as df
    from msgspec import Struct

    from rotation.model.activities import Activity, Through, Watched
    from rotation.model.wire import JsonObject

    Orchestrator = Callable[[df.DurableOrchestrationContext], Steps[JsonObject]]

A = TypeVar("A", bound="Struct")


class Task:
    """A workload's part of a step, under way."""

    def __init__(self, context: df.DurableOrchestrationContext, part: Part) -> None:
        self.context = context
        self.reference = part.reference
        self.retry = part.retry
        self.times = part.times

    def step(
        self,
        activity: Activity[A],
        *,
        through: Through | None = None,
        retry: Retry | None = None,
    ) -> Steps[A]:
        """The activity's answer. Raises `StepFailed`."""
        self._show(activity)
        reference = msgspec.structs.replace(self.reference, through=through)
        return (yield from call(self.context, activity, reference, retry or self.retry))

    def wait(self, activity: Activity[Watched], seconds: float, late: Code) -> Steps[None]:
        """Repeats a bounded watch until done. Raises `StepFailed` after `seconds`, with `late`."""
        self._show(activity)
        watched = yield from wait(self.context, activity, self.reference, seconds, self.retry)
        if not watched.done:
            raise overdue(activity, late, seconds, watched)

    def _show(self, activity: Activity[A]) -> None:
        self.context.set_custom_status(activity.progress)


def workload(part: Callable[[Task], Steps[None]]) -> Orchestrator:
    """A sub-orchestrator that runs the part, and answers why it failed, if it did."""

    @wraps(part)
    def orchestrator(context: df.DurableOrchestrationContext) -> Steps[JsonObject]:
        task = Task(context, wire.read(Part, context.get_input()))
        try:
            yield from part(task)
        except StepFailed as failure:
            # By the time that a person reads it, which activity it was is known nowhere else.
            reasons = [
                Reason(why.code, f"{failure.step}: {why.text}", why.remedy)
                for why in failure.reasons
            ]
            return wire.value_of(PartEnded(reasons))
        return wire.value_of(PartEnded())

    return orchestrator


@workload
def prepare_workload(task: Task) -> Steps[None]:
    """Brings the standby Deployment up on the staged version, and tests it."""
    yield from task.step(activities.DELIVER)
    yield from task.step(activities.START)
    yield from task.wait(activities.AWAIT_READY, task.times.ready, Code.NOT_READY)
    yield from task.step(activities.TEST, through="preview")


@workload
def swap_workload(task: Task) -> Steps[None]:
    yield from task.step(activities.SWAP)


@workload
def swap_back_workload(task: Task) -> Steps[None]:
    """Moves traffic back, to as many pods as the other slot has, if they are to be had.

    After `ready` those that are ready must do: more may never get ready, for want of connections.
    """
    if since(task.context, "1.2"):
        patient = min(task.times.ready, task.retry.transient)
        try:
            yield from task.step(activities.SWAP_BACK, retry=Retry(patient, patient))
        except StepFailed:
            task.reference = msgspec.structs.replace(task.reference, few=True)
        else:
            return
    yield from task.step(activities.SWAP_BACK)


@workload
def observe_workload(task: Task) -> Steps[None]:
    yield from task.step(activities.TEST, through="service")


@workload
def retire_workload(task: Task) -> Steps[None]:
    yield from task.step(activities.SCALE_DOWN)
    yield from task.wait(activities.AWAIT_GONE, task.times.drain, Code.PODS_LEFT)
