"""History events as the Durable Task Framework writes them and azure-functions-durable reads them.

Names and fields follow DurableTask.Core.History; the numbers are those of its `EventType`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any


class Kind(IntEnum):
    EXECUTION_STARTED = 0
    EXECUTION_COMPLETED = 1
    EXECUTION_TERMINATED = 3
    TASK_SCHEDULED = 4
    TASK_COMPLETED = 5
    TASK_FAILED = 6
    CHILD_CREATED = 7
    CHILD_COMPLETED = 8
    CHILD_FAILED = 9
    TIMER_CREATED = 10
    TIMER_FIRED = 11
    ORCHESTRATOR_STARTED = 12
    ORCHESTRATOR_COMPLETED = 13
    EVENT_RAISED = 15
    CONTINUE_AS_NEW = 16
    EXECUTION_SUSPENDED = 19
    EXECUTION_RESUMED = 20


NAMES = {
    Kind.EXECUTION_STARTED: "ExecutionStarted",
    Kind.EXECUTION_COMPLETED: "ExecutionCompleted",
    Kind.EXECUTION_TERMINATED: "ExecutionTerminated",
    Kind.TASK_SCHEDULED: "TaskScheduled",
    Kind.TASK_COMPLETED: "TaskCompleted",
    Kind.TASK_FAILED: "TaskFailed",
    Kind.CHILD_CREATED: "SubOrchestrationInstanceCreated",
    Kind.CHILD_COMPLETED: "SubOrchestrationInstanceCompleted",
    Kind.CHILD_FAILED: "SubOrchestrationInstanceFailed",
    Kind.TIMER_CREATED: "TimerCreated",
    Kind.TIMER_FIRED: "TimerFired",
    Kind.ORCHESTRATOR_STARTED: "OrchestratorStarted",
    Kind.ORCHESTRATOR_COMPLETED: "OrchestratorCompleted",
    Kind.EVENT_RAISED: "EventRaised",
    Kind.CONTINUE_AS_NEW: "ContinueAsNew",
    Kind.EXECUTION_SUSPENDED: "ExecutionSuspended",
    Kind.EXECUTION_RESUMED: "ExecutionResumed",
}

CONTROL = frozenset({Kind.EXECUTION_TERMINATED, Kind.EXECUTION_SUSPENDED, Kind.EXECUTION_RESUMED})


def stamp(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds and `Z`."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def moment(text: str) -> datetime:
    """The time in a stamp's text; a time without a zone is UTC, as in the framework."""
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Event:
    """One history event: its JSON object, and that object as text, marked as played.

    The text is kept because every turn sends the whole history: it is joined, never dumped again.
    """

    kind: Kind
    fields: dict[str, Any]
    text: str

    @property
    def unplayed(self) -> str:
        # The first occurrence is the event's own: only two integers stand before it.
        return self.text.replace('"IsPlayed": true', '"IsPlayed": false', 1)

    @classmethod
    def parse(cls, text: str) -> Event:
        fields = json.loads(text)
        return cls(Kind(fields["EventType"]), fields, text)


def event(kind: Kind, now: datetime, event_id: int = -1, **fields: object) -> Event:
    """`fields` in the framework's own spelling (TaskScheduledId, TimerId, Name, Input, ...)."""
    complete = {
        "EventType": int(kind),
        "EventId": event_id,
        "IsPlayed": True,
        "Timestamp": stamp(now),
        **fields,
    }
    return Event(kind, complete, json.dumps(complete))
