"""The sub-orchestrators: each runs one workload's part of a rotation's step.

They answer with their failure instead of raising it, so that the other workloads come to an end of
their own and the rotation sees all of them.
"""

from __future__ import annotations

from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, TypeVar

import msgspec

from rotation.decisions.rollout import named
from rotation.model import activities, wire
from rotation.model.activities import STOP, Part, PartEnded, PartStatus, Retry
from rotation.model.errors import StepFailed
from rotation.model.reasons import Code, Reason, reason
from rotation.story.hearing import Call, Ears, Listening
from rotation.story.retrying import Again, Steps, call, overdue, wait
from rotation.story.version import since

if TYPE_CHECKING:
    from collections.abc import Callable

    import azure.durable_functions as df
    from msgspec import Struct

    from rotation.model.activities import Activity, Moved, Through, Watched
    from rotation.model.wire import JsonObject

    Orchestrator = Callable[[df.DurableOrchestrationContext], Steps[JsonObject]]

A = TypeVar("A", bound="Struct")

ALL = 100  # percent
LEVELS = 3  # times that a slot is brought to the images that serve, before it gives up
LONGEST_WAIT = 500  # characters that are shown of what is waited for
LONGEST_RELEASE = 300  # characters that are kept of what became of a release


class Task:
    """A workload's part of a step, under way."""

    def __init__(self, context: df.DurableOrchestrationContext, part: Part) -> None:
        self.context = context
        self.reference = part.reference
        self.retry = part.retry
        self.times = part.times
        self.releases: list[Reason] = []  # of others, that it met
        self.share = ALL  # percent of the requests that the slot gets, or has got
        self.ears = Ears(context)

    def step(
        self,
        activity: Activity[A],
        *,
        through: Through | None = None,
        level: bool = False,
        template: bool = False,
        images: dict[str, str] | None = None,
        retry: Retry | None = None,
    ) -> Steps[A]:
        """The activity's answer. Raises `StepFailed`."""
        self.ears.heed()
        self._show(activity)
        reference = msgspec.structs.replace(
            self.reference,
            through=through,
            level=level,
            template=template,
            images=images,
            share=self.share,
        )

        def shows(seen: Again) -> None:
            self._show(activity, seen)

        retry = retry or self.retry
        return (yield from call(self.context, activity, reference, retry, shows, self.ears))

    def note_release(self, code: Code, text: str) -> None:
        """Adds to the record what became of somebody else's release."""
        self.releases.append(reason(code, wire.truncated(text, LONGEST_RELEASE)))

    def test(self, through: Through, phase: str | None) -> Steps[None]:
        """Runs the workload's tests. Those that are Jobs run beside the others, once in a phase;
        without one they do not run. Raises `StepFailed`."""
        jobs = self.times.jobs if phase is not None else 0.0
        if jobs:
            self.reference = msgspec.structs.replace(self.reference, phase=phase)
            yield from self.step(activities.RUN_JOBS)
        yield from self.step(activities.TEST, through=through)
        if jobs:
            yield from self.wait(activities.AWAIT_JOBS, jobs, Code.JOB_OVERDUE)

    def wait(self, activity: Activity[Watched], seconds: float, late: Code) -> Steps[None]:
        """Repeats a bounded watch until done. Raises `StepFailed` after `seconds`, with `late`."""
        self.ears.heed()
        self._show(activity)

        def shows(seen: str | Again) -> None:
            self._show(activity, seen)

        watched = yield from wait(self.ears, activity, self.reference, seconds, self.retry, shows)
        if not watched.done:
            raise overdue(activity, late, seconds, watched)

    def stoppable(self) -> None:
        """From now on stops where it is told to: nothing is served by what it brings up."""

        def stops() -> StepFailed:
            text = "it was told to stop, since its rotation is cancelled"
            return StepFailed(STOP, [reason(Code.CANCELLED, text)])

        context = self.context
        if since(context, "1.2"):
            # Whatever it carries: whoever can raise it could end the instance as well.
            stop = Call(lambda: context.wait_for_external_event(STOP), lambda _: True)
            self.ears = Listening(context, [stop], stops)

    def _show(self, activity: Activity[A], seen: str | Again | None = None) -> None:
        """Shows what runs, and what it waits for: that may be something for a person to mend."""
        if activity.progress is None or not since(self.context, "1.2"):
            self.context.set_custom_status(activity.progress)
            return
        again = seen if isinstance(seen, Again) else None
        waits = seen.failure.message if isinstance(seen, Again) else seen
        shown = None if waits is None else wire.truncated(waits, LONGEST_WAIT)
        if self.share < ALL:
            part = f"{self.share} % of the requests are for {_slot(self)}"
            shown = part if shown is None else f"{part}; {shown}"
        status = PartStatus(activity.progress, shown)
        if again:
            status = PartStatus(activity.progress, shown, again.attempt, wire.moment(again.at))
        self.context.set_custom_status(wire.value_of(status))


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
                msgspec.structs.replace(why, text=f"{failure.step}: {why.text}")
                for why in failure.reasons
            ]
            return wire.value_of(PartEnded(reasons, task.releases))
        return wire.value_of(PartEnded(releases=task.releases))

    return orchestrator


@workload
def prepare_workload(task: Task) -> Steps[None]:
    """Brings the standby Deployment up on the staged version, and tests it. Of a workload in place
    there is nothing to bring up: what can be tested is the login."""
    task.stoppable()
    if not task.times.in_place:
        yield from task.step(activities.DELIVER)
        yield from task.step(activities.START)
        yield from task.wait(activities.AWAIT_READY, task.times.ready, Code.NOT_READY)
    yield from task.test("preview", task.reference.phase or "prepare")


@workload
def swap_workload(task: Task) -> Steps[None]:
    """Moves traffic to the slot, once that runs what serves by then; or exchanges the login of a
    workload in place, and waits until its pods use it."""
    if task.times.in_place:
        yield from task.step(activities.SWAP)
        yield from task.wait(activities.AWAIT_LOGIN, task.times.ready, Code.LOGIN_UNREAD)
        return
    if not since(task.context, "1.2"):
        yield from task.step(activities.SWAP)
        return
    for share in task.times.weights:
        task.share = share
        yield from _swap(task)
        yield from task.step(activities.TEST, through="shared")
    task.share = ALL
    yield from _swap(task)


def _swap(task: Task) -> Steps[None]:
    """Gives the slot its share of the traffic, once that runs what serves by then."""
    at = f"-at-{task.share}" if task.share < ALL else ""
    for number in range(LEVELS):
        moved = yield from task.step(activities.SWAP, level=True)
        if not moved.released and not moved.template:
            _note_left(task, moved)
            return
        yield from level(task, moved, f"level-{number + 1}{at}")
    text = f"others were deployed {LEVELS} times while the slot was brought to those that serve"
    raise StepFailed(activities.SWAP.name, [reason(Code.RELEASES_GO_ON, text)])


@workload
def swap_back_workload(task: Task) -> Steps[None]:
    """Moves traffic back to the slot, once that runs the images that serve by then.

    Where it cannot be brought to them, it goes back with those that it had: whatever others deploy,
    there is a way back. It is not held up by tests that are Jobs, which take minutes. A workload in
    place gets its former login again, and needs connections for that.
    """
    if task.times.in_place:
        yield from task.step(activities.SWAP_BACK)
        task.reference = msgspec.structs.replace(task.reference, back=True)
        yield from task.wait(activities.AWAIT_LOGIN, task.times.ready, Code.LOGIN_UNREAD)
        return
    if not since(task.context, "1.2"):
        yield from task.step(activities.SWAP_BACK)
        return
    yield from _swap_back(task)
    if task.times.settle:
        # Requests may be under way to the slot that is taken down next, and a Gateway's own
        # machines may hear a moment later than its status says.
        settled = task.context.current_utc_datetime + timedelta(seconds=task.times.settle)
        yield task.context.create_timer(settled)


def _swap_back(task: Task) -> Steps[None]:
    left = f"others were deployed each time that {_slot(task)} was brought to those that serve"
    for _ in range(LEVELS):
        moved = yield from _go_back(task, level=True)
        if not moved.released:
            _note_left(task, moved)
            return
        try:
            yield from level(task, moved, None)
        except StepFailed as failure:
            left = yield from _back_as_it_was(task, moved, failure)
            break
    moved = yield from _go_back(task)
    task.note_release(Code.RELEASE_LEFT, left)
    _note_left(task, moved)


def _go_back(task: Task, *, level: bool = False) -> Steps[Moved]:
    """The answer of a swap back to as many pods as the other slot has, if they are to be had.

    After `ready` those that are ready must do: more may never get ready, for want of connections.
    """
    ready = min(task.times.ready, task.retry.transient)
    if not task.reference.few:
        try:
            retry = Retry(ready, ready)
            return (yield from task.step(activities.SWAP_BACK, level=level, retry=retry))
        except StepFailed:
            task.reference = msgspec.structs.replace(task.reference, few=True)
    return (yield from task.step(activities.SWAP_BACK, level=level))


def _back_as_it_was(task: Task, moved: Moved, failure: StepFailed) -> Steps[str]:
    """Gives the slot its own images again, and returns what to say of those that serve."""
    left = f"{_slot(task)} serves again with {named(moved.had, moved.released)}, and not with"
    why = f"{named(moved.released, moved.had)}, which it could not be brought to: {failure.message}"
    try:
        yield from task.step(activities.LEVEL, images=moved.had)
    except StepFailed as again:
        # Its former pods may be up all the same: the swap looks at that.
        why = f"{why}; nor could it be given its own: {again.message}"
    return f"{left} {why}"


def level(task: Task, moved: Moved, phase: str | None) -> Steps[None]:
    """Brings the slot to the images, and perhaps the pod template, that serve, and tests it there,
    in the phase with Jobs too.

    Raises `StepFailed`.
    """
    yield from task.step(activities.LEVEL, images=moved.released, template=bool(moved.template))
    yield from task.wait(activities.AWAIT_READY, task.times.ready, Code.NOT_READY)
    yield from task.test("preview", phase)
    parts = [named(moved.released, moved.had)]
    if moved.template:
        parts.append(f"the changed pod template ({moved.template})")
    what = " and ".join(part for part in parts if part)
    text = f"{_slot(task)} was brought to {what}, which served by then, and tested"
    task.note_release(Code.RELEASE_BROUGHT, text)


def _note_left(task: Task, moved: Moved) -> None:
    """Adds to the record what the slot that traffic left has and the other one has not."""
    if moved.left:
        task.note_release(Code.RELEASE_LEFT, moved.left)


def _slot(task: Task) -> str:
    return str(task.reference.slot)


@workload
def observe_workload(task: Task) -> Steps[None]:
    yield from task.test("service", "observe")


@workload
def retire_workload(task: Task) -> Steps[None]:
    if task.times.in_place:
        yield from task.wait(activities.AWAIT_GONE, task.times.drain, Code.LOGIN_IN_USE)
        return
    yield from task.step(activities.SCALE_DOWN)
    yield from task.wait(activities.AWAIT_GONE, task.times.drain, Code.PODS_LEFT)
