"""The engine: client operations, and the units of work that a runner or a simulator executes.

A unit is run, which calls user code and changes nothing, and then recorded, which stores the
outcome in one commit of the journal. A crash between the two loses the outcome, never the unit.
"""

from __future__ import annotations

import json
import threading
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Protocol

from local.engine import core, journal, status
from local.engine.errors import (
    FunctionFailed,
    InstanceFinished,
    InstanceNotFound,
    InstanceRunning,
)
from local.engine.events import Event, Kind, event, stamp
from local.engine.recording import Recording, TurnOutcome, check_id
from local.engine.state import Activity, Change, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from local.engine.journal import Journal
    from local.engine.state import Timer, Unit


class Functions(Protocol):
    """The app's functions, as the host or a simulator calls them."""

    def orchestrator(self, name: str, context: str) -> str:
        """One JSON text of the 1.7.0 protocol for another. A failure is an exception whose text
        holds `$OutOfProcData$:` and the state."""

    def activity(self, name: str, input: str, instance_id: str) -> str:  # noqa: A002 - a published name
        """`input` is JSON, so is the answer. An exception fails the task."""

    def known(self, kind: Literal["orchestrator", "activity"], name: str) -> bool: ...


Outcome = TurnOutcome | Event | None


def wall_clock() -> datetime:
    return datetime.now(UTC)


def random_id() -> str:
    return uuid.uuid4().hex


class Engine:
    """`clock` gives the time, `ids` the ids of instances and executions: pass both to simulate.
    `version` is that of orchestrations which are started without one (host.json's defaultVersion).

    Safe to use from several threads. `changed` is notified after every commit.
    """

    def __init__(
        self,
        functions: Functions,
        journal: Journal,
        clock: Callable[[], datetime] = wall_clock,
        ids: Callable[[], str] = random_id,
        version: str = "",
    ) -> None:
        self.functions = functions
        self.journal = journal
        self.clock = clock
        self.changed = threading.Condition(threading.RLock())
        self._ids = ids
        self._version = version

    # Client operations

    def start(
        self,
        name: str,
        instance_id: str | None = None,
        input: str | None = None,  # noqa: A002 - a published name
        version: str | None = None,
    ) -> str:
        """`input` is JSON. A finished instance of the same id is replaced, history and all."""
        key = self._ids() if instance_id is None else instance_id
        check_id(key)
        with self.changed:
            known = self.journal.summary(key)
            if known is not None and not known.finished:
                raise InstanceRunning(key, known.status)
            recording = self._recording()
            recording.start(key, name, input, version=version)
            self._commit(recording.change)
        return key

    def raise_event(self, instance_id: str, event: str, data: str) -> None:
        """`data` is JSON. Kept until the orchestrator waits for the event."""
        self._send(instance_id, Kind.EVENT_RAISED, Name=event, Input=data)

    def terminate(self, instance_id: str, reason: str = "") -> None:
        """Its sub-orchestrations and the activities it has scheduled run on."""
        self._send(instance_id, Kind.EXECUTION_TERMINATED, Input=reason)

    def suspend(self, instance_id: str, reason: str = "") -> None:
        self._send(instance_id, Kind.EXECUTION_SUSPENDED, Reason=reason)

    def resume(self, instance_id: str, reason: str = "") -> None:
        self._send(instance_id, Kind.EXECUTION_RESUMED, Reason=reason)

    def purge(self, instance_id: str) -> int:
        """Removes a finished instance; returns how many were removed: 0 when there is none."""
        with self.changed:
            known = self.journal.summary(instance_id)
            if known is None:
                return 0
            if not known.finished:
                raise InstanceRunning(instance_id, known.status)
            self._commit(Change(purged=[instance_id]))
            return 1

    def status(
        self,
        instance_id: str,
        *,
        show_input: bool = True,
        show_history: bool = False,
        show_history_output: bool = False,
    ) -> dict[str, object] | None:
        """The JSON of the durable HTTP API."""
        summary = self.journal.summary(instance_id)
        if summary is None:
            return None
        payload = status.payload(summary, show_input=show_input)
        if show_history:
            payload["historyEvents"] = status.history(
                self.journal.history(instance_id),
                show_input=show_input,
                show_output=show_history_output,
            )
        return payload

    def query(  # noqa: PLR0913 - the filters of the durable HTTP API
        self,
        *,
        runtime_status: Collection[str] | None = None,
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        prefix: str | None = None,
        top: int = 100,
        continuation: str | None = None,
        show_input: bool = True,
    ) -> tuple[list[dict[str, object]], str | None]:
        """A page in the order of ids, and the token of the next one, if there is one."""
        wanted = journal.Filter(runtime_status, created_from, created_to, prefix)
        found = self.journal.select(wanted, journal.after(continuation), top + 1)
        page = [status.payload(summary, show_input=show_input) for summary in found[:top]]
        return page, journal.token(found[top - 1].id) if len(found) > top else None

    # Units of work

    def ready(self) -> list[Unit]:
        """What may be executed now, oldest first within turns, activities and due timers."""
        with self.changed:
            state = self.journal.state
            turns = [Turn(key) for key in state.turns]
            activities = filter(self.runnable, state.activities.values())
            return [*turns, *activities, *state.due(self.clock())]

    def runnable(self, activity: Activity) -> bool:
        """One that the app does not have is scheduled all the same, and waits for a release that
        has it: the extension tries it again for ever."""
        return self.functions.known("activity", activity.name)

    def next_timer(self) -> datetime | None:
        """When the first armed timer fires: where a virtual clock may be moved to."""
        with self.changed:
            timer = self.journal.state.next_timer()
            return None if timer is None else timer.fire_at

    def execute(self, unit: Unit) -> bool:
        """Runs and records a unit. False: it was outdated."""
        return self.record(unit, self.run(unit))

    def run(self, unit: Unit) -> Outcome:
        """Calls user code for a turn or an activity, and changes nothing: an outcome that is
        thrown away is a crash before the commit, and the unit stays ready. None: outdated."""
        if isinstance(unit, Turn):
            return self._run_turn(unit)
        if isinstance(unit, Activity):
            return self._run_activity(unit)
        return self._fire(unit)

    def record(self, unit: Unit, outcome: Outcome) -> bool:
        """Stores the outcome in one commit. False, and nothing stored, when it comes too late:
        another outcome was recorded before, or the instance is gone."""
        with self.changed:
            recording = self._recording()
            current = recorded(recording, unit, outcome)
            if current:
                self._commit(recording.change)
            return current

    def _run_turn(self, unit: Turn) -> TurnOutcome | None:
        with self.changed:
            instance = self.journal.state.instances.get(unit.instance)
            messages = [] if instance is None else instance.batch(unit.limit)
            if instance is None or not messages:
                return None
            execution, past = instance.summary.execution, len(instance.history)
        news = [message.event for message in messages]
        # Only a recorded turn changes the history, so it can be read without the lock: should
        # that happen meanwhile, this outcome is refused.
        orchestrate = self.functions.orchestrator
        if not self.functions.known("orchestrator", instance.summary.name):
            orchestrate = absent
        result = core.turn(instance, news, self.clock(), orchestrate)
        return TurnOutcome(result, messages, execution, past)

    def _run_activity(self, activity: Activity) -> Event:
        name, task = activity.name, activity.task
        try:
            result = self.functions.activity(name, activity.input, activity.instance)
        except Exception as error:  # noqa: BLE001 - whatever user code raises fails its task
            failure = FunctionFailed.of(error)
            reason = f"Activity function '{name}' failed:  {failure.message}"
            return self._task_failed(task, reason, dotnet(failure))
        return event(Kind.TASK_COMPLETED, self.clock(), TaskScheduledId=task, Result=result)

    def _task_failed(self, task: int, reason: str, details: str) -> Event:
        return event(
            Kind.TASK_FAILED, self.clock(), TaskScheduledId=task, Reason=reason, Details=details
        )

    def _fire(self, timer: Timer) -> Event:
        fire_at = stamp(timer.fire_at)
        return event(Kind.TIMER_FIRED, self.clock(), TimerId=timer.task, FireAt=fire_at)

    def _send(self, instance_id: str, kind: Kind, **fields: str) -> None:
        with self.changed:
            known = self.journal.summary(instance_id)
            if known is None:
                raise InstanceNotFound(instance_id)
            if known.finished:
                raise InstanceFinished(instance_id, known.status)
            recording = self._recording()
            recording.send(instance_id, None, event(kind, self.clock(), -1, **fields))
            self._commit(recording.change)

    def _recording(self) -> Recording:
        def known(name: str) -> bool:
            return self.functions.known("orchestrator", name)

        return Recording(self.journal, known, self.clock(), self._ids, self._version)

    def _commit(self, change: Change) -> None:
        self.journal.commit(change)
        self.changed.notify_all()


def absent(name: str, context: str) -> str:  # noqa: ARG001 - an orchestrator's form
    raise FunctionFailed(
        f"The function '{name}' doesn't exist, is disabled, or is not an orchestrator function.", ""
    )


def dotnet(failure: FunctionFailed) -> str:
    """A failure's details: the extension serialises its exception, which holds the worker's."""
    told = f"Result: Failure\nException: {failure.message}\nStack: {failure.stack}"
    worker = {"$type": "Microsoft.Azure.WebJobs.Script.Workers.Rpc.RpcException", "Message": told}
    return json.dumps(
        {
            "$type": "System.Exception, System.Private.CoreLib",
            "ClassName": "System.Exception",
            "Message": f" {failure.message}",
            "Data": None,
            "InnerException": worker,
        }
    )


def recorded(recording: Recording, unit: Unit, outcome: Outcome) -> bool:
    if outcome is None:
        return False
    if isinstance(unit, Turn):
        assert isinstance(outcome, TurnOutcome)  # noqa: S101 - `run` made it from this unit
        return recording.turn(unit, outcome)
    assert isinstance(outcome, Event)  # noqa: S101 - `run` made it from this unit
    if isinstance(unit, Activity):
        return recording.activity(unit, outcome)
    return recording.timer(unit, outcome)
