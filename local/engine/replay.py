"""What the Durable extension does with the actions of an orchestrator function.

The function returns every action it has taken since its start. The extension invokes them one
after the other, awaiting each, while the framework replays the history: that decides what is
scheduled, under which id, and when an instance is complete. Modelled on `ProcessAsyncActionsV2`
of the extension and on `TaskOrchestrationContext` and `RetryInterceptor` of the framework,
including what surprises people there:

- an instance ends only when nothing it scheduled is open, so an uncancelled timer keeps it Running;
- `task_all` is awaited to the end even when the orchestrator caught the first failure and went on,
  so its next action waits for the siblings;
- the latest waiter of an event name gets the event; without a waiter it is buffered;
- the last failed attempt of a retry is followed by a timer that fires at once.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from local.engine.events import Event, Kind, moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Action = dict[str, Any]

(
    CALL_ACTIVITY,
    CALL_ACTIVITY_WITH_RETRY,
    CALL_SUB_ORCHESTRATOR,
    CALL_SUB_ORCHESTRATOR_WITH_RETRY,
    CONTINUE_AS_NEW,
    CREATE_TIMER,
    WAIT_FOR_EXTERNAL_EVENT,
    CALL_ENTITY,
    CALL_HTTP,
    SIGNAL_ENTITY,
    SCHEDULED_SIGNAL_ENTITY,
    WHEN_ANY,
    WHEN_ALL,
) = range(13)

UNSUPPORTED = {
    CALL_ENTITY: "durable entities",
    SIGNAL_ENTITY: "durable entities",
    SCHEDULED_SIGNAL_ENTITY: "durable entities",
    CALL_HTTP: "call_http",
}

CONFIRMS: dict[Kind, Literal["activity", "child", "timer"]] = {
    Kind.TASK_SCHEDULED: "activity",
    Kind.CHILD_CREATED: "child",
    Kind.TIMER_CREATED: "timer",
}
COMPLETES = {
    Kind.TASK_COMPLETED: ("TaskScheduledId", False),
    Kind.TASK_FAILED: ("TaskScheduledId", True),
    Kind.CHILD_COMPLETED: ("TaskScheduledId", False),
    Kind.CHILD_FAILED: ("TaskScheduledId", True),
    Kind.TIMER_FIRED: ("TimerId", False),
}


# On Azure Storage the SDK cuts longer ones into pieces, and marks the wrong piece when one is
# cancelled: the instance stays Running for days.
LONGEST_TIMER = timedelta(days=6)
TOO_LONG = "A timer of more than six days cannot be cancelled: wait in steps of a day at most"


def sent(text: str | None) -> str | None:
    """An action's input, JSON already, as it is stored: a JSON text once more."""
    return None if text is None else json.dumps(text)


class ReplayError(Exception):
    """Ends the orchestration as Failed; the text is its output."""


class NonDeterministicError(ReplayError):
    """The actions do not fit the history."""


class UnsupportedError(ReplayError):
    """An action this engine does not carry out."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Something to schedule under the id that the history will name."""

    kind: Literal["activity", "child", "timer"]
    id: int
    name: str = ""
    input: str | None = None
    instance_id: str | None = None
    version: str | None = None
    fire_at: datetime | None = None


class Task:
    """A .NET task seen from outside: done or not, failed or not, and who awaits it."""

    __slots__ = ("done", "failed", "then")

    def __init__(self, *, done: bool = False) -> None:
        self.done = done
        self.failed = False
        self.then: Callable[[Task], None] | None = None

    def finish(self, *, failed: bool = False) -> None:
        if self.done:
            return
        self.done, self.failed = True, failed
        if self.then is not None:
            self.then(self)

    def await_by(self, then: Callable[[Task], None]) -> None:
        self.then = then
        if self.done:
            then(self)


class Replay:
    """One pass over a history. Afterwards `decisions`, `complete`, `continued` and `carried`."""

    def __init__(self, actions: Iterable[Action]) -> None:
        self._actions = iter(actions)
        self._current = Task(done=True)
        self._exhausted = False
        self._next_id = 0
        self._unconfirmed: dict[int, Decision] = {}
        self._open: dict[int, Task] = {}
        self._waiting: dict[str, list[Task]] = {}
        self._buffered: dict[str, int] = {}
        self._turn_started = ""
        self.continued = False
        self.continue_input: str | None = None
        self.carried: list[Event] = []

    @property
    def decisions(self) -> list[Decision]:
        """The decisions that the history does not know yet, in the order of ids."""
        return list(self._unconfirmed.values())

    @property
    def complete(self) -> bool:
        """Whether all actions were awaited and nothing is open: only then may the instance end."""
        return self._exhausted and not self._open

    def run(self, history: Iterable[Event]) -> None:
        """Raises `ReplayError`."""
        for event in history:
            kind = event.kind
            if kind in COMPLETES:
                key, failed = COMPLETES[kind]
                self._complete(event.fields[key], failed=failed)
            elif kind in CONFIRMS:
                self._confirm(event)
            elif kind is Kind.ORCHESTRATOR_STARTED:
                self._turn_started = event.fields["Timestamp"]
            elif kind is Kind.EVENT_RAISED:
                self._raise(event)
            elif kind is Kind.EXECUTION_STARTED:
                self._advance()

    def _advance(self) -> None:
        while self._current.done and not self._exhausted:
            action = next(self._actions, None)
            if action is None:
                self._exhausted = True
            else:
                self._current = self._invoke(action)

    def _complete(self, task_id: int, *, failed: bool) -> None:
        task = self._open.pop(task_id, None)
        # Nobody waits for it: a cancelled timer, or a second delivery.
        if task is not None:
            task.finish(failed=failed)
            self._advance()

    def _confirm(self, event: Event) -> None:
        task_id = event.fields["EventId"]
        before = (CONFIRMS[event.kind], event.fields.get("Name") or "")
        decision = self._unconfirmed.pop(task_id, None)
        now = None if decision is None else (decision.kind, decision.name)
        if now != before:
            told = "nothing" if now is None else " ".join(now).strip()
            raise NonDeterministicError(
                f"Non-deterministic orchestration: its history has {' '.join(before).strip()} as"
                f" task {task_id}, the replay has {told}. Was the orchestrator changed while this"
                " instance was running, or does it depend on something other than its history?"
            )

    def _raise(self, event: Event) -> None:
        name = event.fields["Name"]
        if self.continued:
            self.carried.append(event)
        elif self._waiting.get(name):
            self._waiting[name].pop().finish()
            self._advance()
        else:
            self._buffered[name] = self._buffered.get(name, 0) + 1

    def _invoke(self, action: Action) -> Task:
        kind = action["actionType"]
        if kind in UNSUPPORTED:
            raise UnsupportedError(f"The local engine does not carry out {UNSUPPORTED[kind]}")
        if kind not in self._INVOKE:
            raise UnsupportedError(f"Unknown action type {kind}")
        return self._INVOKE[kind](self, action)

    def _activity(self, action: Action) -> Task:
        return self._schedule("activity", name=action["functionName"], input=action.get("input"))

    def _child(self, action: Action) -> Task:
        return self._schedule(
            "child",
            name=action["functionName"],
            input=sent(action.get("input")),
            instance_id=action.get("instanceId"),
            version=action.get("version"),
        )

    def _timer(self, action: Action) -> Task:
        task_id, fire_at = self._next_id, moment(action["fireAt"])
        if fire_at - moment(self._turn_started) > LONGEST_TIMER:
            raise UnsupportedError(TOO_LONG)
        task = self._schedule("timer", fire_at=fire_at)
        if action["isCanceled"]:
            # It was scheduled all the same and will fire, unheard.
            del self._open[task_id]
            task.finish(failed=True)
        return task

    def _wait(self, action: Action) -> Task:
        name = action["externalEventName"]
        if self._buffered.get(name):
            self._buffered[name] -= 1
            return Task(done=True)
        task = Task()
        self._waiting.setdefault(name, []).append(task)
        return task

    def _continue_as_new(self, action: Action) -> Task:
        self.continued, self.continue_input = True, sent(action.get("input"))
        return Task(done=True)

    def _when_any(self, action: Action) -> Task:
        any_of = Task()
        for child in [self._invoke(a) for a in action["compoundActions"]]:
            child.await_by(lambda _: any_of.finish())
        return any_of

    def _when_all(self, action: Action) -> Task:
        children = [self._invoke(a) for a in action["compoundActions"]]
        all_of = Task(done=not children)
        left = len(children)

        def one_done(_: Task) -> None:
            nonlocal left
            left -= 1
            if not left:
                all_of.finish()

        for child in children:
            child.await_by(one_done)
        return all_of

    def _activity_with_retry(self, action: Action) -> Task:
        return self._retried(action, self._activity)

    def _child_with_retry(self, action: Action) -> Task:
        return self._retried(action, self._child)

    def _retried(self, action: Action, call: Callable[[Action], Task]) -> Task:
        options = action["retryOptions"]
        pause = timedelta(milliseconds=options["firstRetryIntervalInMilliseconds"])
        whole = Task()
        attempts = deque(range(1, options["maxNumberOfAttempts"] + 1))

        def attempt(_: Task) -> None:
            attempts.popleft()
            call(action).await_by(after_attempt)

        def after_attempt(task: Task) -> None:
            if not task.failed:
                whole.finish()
            elif attempts:
                self._sleep(pause).await_by(attempt)
            else:
                self._sleep(timedelta()).await_by(lambda _: whole.finish(failed=True))

        if attempts:
            attempt(whole)
        else:
            whole.finish()
        return whole

    def _sleep(self, duration: timedelta) -> Task:
        return self._schedule("timer", fire_at=moment(self._turn_started) + duration)

    def _schedule(self, kind: Literal["activity", "child", "timer"], **what: Any) -> Task:
        task_id, self._next_id = self._next_id, self._next_id + 1
        self._unconfirmed[task_id] = Decision(kind, task_id, **what)
        task = self._open[task_id] = Task()
        return task

    _INVOKE: dict[int, Callable[[Replay, Action], Task]] = {  # noqa: RUF012 - never changed
        CALL_ACTIVITY: _activity,
        CALL_ACTIVITY_WITH_RETRY: _activity_with_retry,
        CALL_SUB_ORCHESTRATOR: _child,
        CALL_SUB_ORCHESTRATOR_WITH_RETRY: _child_with_retry,
        CONTINUE_AS_NEW: _continue_as_new,
        CREATE_TIMER: _timer,
        WAIT_FOR_EXTERNAL_EVENT: _wait,
        WHEN_ANY: _when_any,
        WHEN_ALL: _when_all,
    }
