"""From the outcome of a unit of work to the one change of the journal that records it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from local.engine.core import TurnResult, child_failed, child_outcome
from local.engine.errors import InvalidInstanceId
from local.engine.events import Event, Kind, event
from local.engine.state import Activity, Change, Message, Parent, Summary, Timer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from local.engine.journal import Journal
    from local.engine.replay import Decision
    from local.engine.state import Instance, Turn

FORBIDDEN = frozenset("/\\#?")
LONGEST_ID = 100


@dataclass(frozen=True, slots=True)
class TurnOutcome:
    """A turn's result, good only for the execution and the past events that it was made from."""

    result: TurnResult
    messages: list[Message]
    execution: str
    past: int


def check_id(instance_id: str) -> None:
    """The rules of the Durable Task Scheduler and of Azure Storage, whichever is stricter."""
    if not 1 <= len(instance_id) <= LONGEST_ID:
        raise InvalidInstanceId(instance_id, f"must have 1 to {LONGEST_ID} characters")
    if FORBIDDEN & set(instance_id) or not instance_id.isprintable():
        raise InvalidInstanceId(instance_id, "must not contain / \\ # ? or control characters")
    if instance_id.startswith("@"):
        raise InvalidInstanceId(instance_id, "must not start with @: that is an entity's")


class Recording:
    """Collects one `change`. The journal's state is read and left alone."""

    def __init__(
        self,
        journal: Journal,
        known: Callable[[str], bool],
        now: datetime,
        ids: Callable[[], str],
        version: str = "",
    ) -> None:
        self.change = Change()
        self._journal = journal
        self._state = journal.state
        self._known = known
        self._now = now
        self._ids = ids
        self._version = version

    def start(
        self,
        instance_id: str,
        name: str,
        argument: str | None,
        parent: Parent | None = None,
        version: str | None = None,
    ) -> None:
        """A new instance; a finished one of that id gives way."""
        self.change.history_cleared.append(instance_id)
        summary = Summary(
            id=instance_id,
            execution=self._ids(),
            name=name,
            input=argument,
            parent=parent,
            status="Pending",
            created=self._now,
            updated=self._now,
            version=self._version if version is None else version,
        )
        self._begin(summary)

    def _begin(self, summary: Summary) -> None:
        self.change.saved[summary.id] = summary
        parent = summary.parent
        started = event(
            Kind.EXECUTION_STARTED,
            self._now,
            OrchestrationInstance={"InstanceId": summary.id, "ExecutionId": summary.execution},
            ParentInstance=None if parent is None else {"InstanceId": parent.instance},
            Name=summary.name,
            Version=summary.version,
            Input=summary.input,
            Tags=None,
        )
        self.send(summary.id, summary.execution, started)

    def send(self, instance_id: str, execution: str | None, content: Event) -> None:
        sequence = self._state.sequence + len(self.change.delivered) + 1
        self.change.delivered.append(Message(sequence, instance_id, execution, content))

    def turn(self, unit: Turn, outcome: TurnOutcome) -> bool:
        """False: the instance is gone or has moved on."""
        instance = self._state.instances.get(unit.instance)
        if (
            instance is None
            or instance.summary.execution != outcome.execution
            or len(instance.history) != outcome.past
        ):
            return False
        if outcome.result.status == "ContinuedAsNew":
            self._continue_as_new(instance, outcome)
        else:
            self._go_on(instance, outcome)
        return True

    def _go_on(self, instance: Instance, outcome: TurnOutcome) -> None:
        result = outcome.result
        summary = self._summarised(instance.summary, result)
        self.change.saved[summary.id] = summary
        self.change.appended += [
            (summary.id, outcome.past + n, new) for n, new in enumerate(result.events)
        ]
        if summary.finished:
            self._finish(summary, result)
        else:
            self.change.consumed += outcome.messages
        for decision in result.decisions:
            self._carry_out(summary, decision)

    def _summarised(self, before: Summary, result: TurnResult) -> Summary:
        return replace(
            before,
            status=result.status,
            updated=self._now,
            custom=result.custom if result.told else before.custom,
            output=result.output,
        )

    def _finish(self, summary: Summary, result: TurnResult) -> None:
        self.change.inbox_cleared.append(summary.id)
        self.change.timers_cleared.append(summary.id)
        parent = summary.parent
        if parent is None:
            return
        waiting = self._state.instances.get(parent.instance)
        if waiting is not None and waiting.summary.execution == parent.execution:
            told = child_outcome(parent.task, result, self._now)
            self.send(parent.instance, parent.execution, told)

    def _carry_out(self, summary: Summary, decision: Decision) -> None:
        owner = (summary.id, summary.execution, decision.id)
        if decision.kind == "activity":
            activity = Activity(*owner, decision.name, decision.input or "null")
            self.change.scheduled.append(activity)
        elif decision.kind == "child":
            self._start_child(summary, decision)
        elif not summary.finished and decision.fire_at is not None:
            self.change.armed.append(Timer(*owner, decision.fire_at))

    def _start_child(self, summary: Summary, decision: Decision) -> None:
        child_id = decision.instance_id or ""
        if not self._known(decision.name):
            return  # as on Azure Storage: the parent waits, and nothing tells it why
        refusal = self._refusal(child_id)
        if refusal is None:
            parent = Parent(summary.id, summary.execution, decision.id)
            self.start(child_id, decision.name, decision.input, parent, decision.version)
        else:
            told = child_failed(decision.id, refusal, None, self._now)
            self.send(summary.id, summary.execution, told)

    def _refusal(self, child_id: str) -> str | None:
        """Why a sub-orchestration cannot start. The back ends differ on an id in use; all that is
        safe everywhere is not to use one twice, so it fails."""
        try:
            check_id(child_id)
        except InvalidInstanceId as error:
            return str(error)
        if child_id in self.change.saved or child_id in self._state.instances:
            return f"An orchestration instance with the id '{child_id}' is already running"
        return None

    def _continue_as_new(self, instance: Instance, outcome: TurnOutcome) -> None:
        """Empties the history and starts over. Events that came after the decision are kept, and
        those not yet looked at; results of the old execution's tasks are not."""
        result, before = outcome.result, self._summarised(instance.summary, outcome.result)
        taken = {message.sequence for message in outcome.messages}
        left = [m for key, m in instance.inbox.items() if key not in taken]
        self.change.history_cleared.append(before.id)
        self.change.inbox_cleared.append(before.id)
        self.change.timers_cleared.append(before.id)
        self._begin(
            replace(
                before,
                execution=self._ids(),
                input=result.continue_input,
                created=self._now,
            )
        )
        for carried in result.carried:
            self.send(before.id, None, carried)
        for message in left:
            if message.execution is None:
                self.send(before.id, None, message.event)

    def activity(self, activity: Activity, result: Event) -> bool:
        """False: it has a result already. One for an execution that is over is only ticked off."""
        if activity.key not in self._state.activities:
            return False
        self.change.completed.append(activity)
        instance = self._state.instances.get(activity.instance)
        if instance is not None and instance.summary.execution == activity.execution:
            self.send(activity.instance, activity.execution, result)
        return True

    def timer(self, timer: Timer, fired: Event) -> bool:
        if not self._state.armed(timer):
            return False
        self.change.disarmed.append(timer)
        self.send(timer.instance, timer.execution, fired)
        return True
