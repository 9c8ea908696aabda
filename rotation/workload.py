"""One workload's part of a rotation's step: an orchestrator each.

Each answers with its failure instead of raising it, so that the other workloads come to an end of
their own and the rotation sees all of them.
"""

from __future__ import annotations

from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any

from rotation.errors import StepFailed
from rotation.run import INSISTENCE, NONE, Steps, call, decoded, wait

if TYPE_CHECKING:
    from collections.abc import Callable

    import azure.durable_functions as df

    Orchestrator = Callable[[df.DurableOrchestrationContext], Steps]


class Task:
    """A workload's part: `step` and `wait` with the reference that every activity gets."""

    def __init__(self, context: df.DurableOrchestrationContext, task: dict[str, Any]) -> None:
        self.context = context
        self.policy = task.pop("policy")
        self.times = self.policy["workloads"][task["workload"]]
        self.reference = task

    def step(self, activity: str, *, compensating: bool = False, **more: Any) -> Steps:
        self.context.set_custom_status(activity)
        reference = {**self.reference, **more}
        return (yield from call(self.context, activity, reference, *self._patience(compensating)))

    def wait(self, activity: str, seconds: float, *, compensating: bool = False) -> Steps:
        """Raises `StepFailed` when it is not done after `seconds`."""
        self.context.set_custom_status(activity)
        patience = self._patience(compensating)
        answer = yield from wait(self.context, activity, self.reference, seconds, *patience)
        if not answer["done"]:
            message = f"not done after {seconds:.0f} s: {answer['observed']}"
            raise StepFailed(activity, {"kind": "overdue", "message": message})
        return answer

    def _patience(self, compensating: bool) -> tuple[timedelta, timedelta]:
        """With faults that pass, and with those that do not."""
        key = "compensation" if compensating else "patience"
        return timedelta(seconds=self.policy[key]), INSISTENCE if compensating else NONE


def workload(part: Callable[[Task], Steps]) -> Orchestrator:
    @wraps(part)
    def orchestrator(context: df.DurableOrchestrationContext) -> Steps:
        task = decoded(context.get_input())
        try:
            return (yield from part(Task(context, task)))
        except StepFailed as failure:
            return {"error": {**failure.failure, "message": failure.message}}

    return orchestrator


@workload
def prepare_workload(task: Task) -> Steps:
    """The standby Deployment runs on the staged version and passes its tests."""
    yield from task.step("deliver")
    yield from task.step("start")
    yield from task.wait("await_ready", task.times["ready"])
    return (yield from task.step("test", through="preview"))


@workload
def swap_workload(task: Task) -> Steps:
    return (yield from task.step("swap", compensating=task.reference["compensating"]))


@workload
def observe_workload(task: Task) -> Steps:
    return (yield from task.step("test", through="service"))


@workload
def retire_workload(task: Task) -> Steps:
    yield from task.step("scale_down", compensating=True)
    return (yield from task.wait("await_gone", task.times["drain"], compensating=True))
