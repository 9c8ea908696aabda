"""What a journal stores, and one step's change of it."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from local.engine.events import CONTROL, Event

if TYPE_CHECKING:
    from datetime import datetime

FINISHED = frozenset({"Completed", "Failed", "Terminated"})


class Parent(NamedTuple):
    """The parent of a sub-orchestration, which hears of its end: the task that waits for it."""

    instance: str
    execution: str
    task: int


@dataclass(frozen=True, slots=True)
class Summary:
    """An instance without its history. `input`, `custom` and `output` are JSON texts."""

    id: str
    execution: str
    name: str
    input: str | None
    parent: Parent | None
    status: str
    created: datetime
    updated: datetime
    custom: str | None = None
    output: str | None = None
    version: str = ""

    @property
    def finished(self) -> bool:
        return self.status in FINISHED


@dataclass(frozen=True, slots=True)
class Message:
    """A message for an instance's next turn. `execution` None: whichever is current."""

    sequence: int
    instance: str
    execution: str | None
    event: Event


@dataclass(frozen=True, slots=True)
class Turn:
    """Ready work: an orchestrator has messages. At most `limit` of them are taken, if given."""

    instance: str
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Activity:
    """Ready work: an activity was scheduled and has no recorded result."""

    instance: str
    execution: str
    task: int
    name: str
    input: str

    @property
    def key(self) -> Key:
        return (self.instance, self.execution, self.task)


@dataclass(frozen=True, slots=True)
class Timer:
    """Ready work once `fire_at` is reached."""

    instance: str
    execution: str
    task: int
    fire_at: datetime

    @property
    def key(self) -> Key:
        return (self.instance, self.execution, self.task)


Unit = Turn | Activity | Timer
Key = tuple[str, str, int]


@dataclass(slots=True)
class Instance:
    """An unfinished instance."""

    summary: Summary
    history: list[Event] = field(default_factory=list)
    inbox: dict[int, Message] = field(default_factory=dict)
    timers: dict[Key, Timer] = field(default_factory=dict)

    @property
    def suspended(self) -> bool:
        return self.summary.status == "Suspended"

    @property
    def ready(self) -> bool:
        """Whether a turn would find messages."""
        if self.suspended:
            return any(m.event.kind in CONTROL for m in self.inbox.values())
        return bool(self.inbox)

    def batch(self, limit: int | None = None) -> list[Message]:
        """The messages of the next turn. A control message has a turn of its own; while suspended
        only those are taken, in their order."""
        suspended = self.suspended
        batch: list[Message] = []
        for message in self.inbox.values():
            if message.event.kind in CONTROL:
                return batch or [message]
            if not suspended and (limit is None or len(batch) < limit):
                batch.append(message)
        return batch


@dataclass(slots=True)
class Change:
    """One step, stored as a whole or not at all. Fields are applied in the order they stand in."""

    purged: list[str] = field(default_factory=list)
    history_cleared: list[str] = field(default_factory=list)
    inbox_cleared: list[str] = field(default_factory=list)
    timers_cleared: list[str] = field(default_factory=list)
    saved: dict[str, Summary] = field(default_factory=dict)
    appended: list[tuple[str, int, Event]] = field(default_factory=list)
    consumed: list[Message] = field(default_factory=list)
    delivered: list[Message] = field(default_factory=list)
    scheduled: list[Activity] = field(default_factory=list)
    completed: list[Activity] = field(default_factory=list)
    armed: list[Timer] = field(default_factory=list)
    disarmed: list[Timer] = field(default_factory=list)


class State:
    """All unfinished work in memory: what was committed, and nothing else."""

    def __init__(self) -> None:
        self.instances: dict[str, Instance] = {}
        self.activities: dict[Key, Activity] = {}
        self.turns: dict[str, None] = {}
        self.sequence = 0
        self._alarms: list[tuple[datetime, int, Timer]] = []
        self._alarm_count = 0

    def apply(self, change: Change) -> list[Instance]:
        """Applies the change, and returns the instances that ended with it and are forgotten."""
        self._clear(change)
        for key, summary in change.saved.items():
            if key in self.instances:
                self.instances[key].summary = summary
            else:
                self.instances[key] = Instance(summary)
        for key, _, event in change.appended:
            self.instances[key].history.append(event)
        self._move_work(change)
        for key in dict.fromkeys((*self._move_messages(change), *change.saved)):
            self._mark_ready(key)
        ended = [key for key, summary in change.saved.items() if summary.finished]
        return [self.instances.pop(key) for key in ended]

    def _clear(self, change: Change) -> None:
        for key in change.history_cleared:
            if key in self.instances:
                self.instances[key].history = []
        for key in change.inbox_cleared:
            if key in self.instances:
                self.instances[key].inbox.clear()
        for key in change.timers_cleared:
            if key in self.instances:
                self.instances[key].timers.clear()

    def _move_work(self, change: Change) -> None:
        for activity in change.scheduled:
            self.activities[activity.key] = activity
        for activity in change.completed:
            del self.activities[activity.key]
        for timer in change.armed:
            if timer.instance in self.instances:
                self.instances[timer.instance].timers[timer.key] = timer
                self._alarm_count += 1
                heapq.heappush(self._alarms, (timer.fire_at, self._alarm_count, timer))
        for timer in change.disarmed:
            del self.instances[timer.instance].timers[timer.key]

    def _move_messages(self, change: Change) -> list[str]:
        """The instances that messages came to or left. In their order: whoever replays a run
        depends on it."""
        for message in change.consumed:
            del self.instances[message.instance].inbox[message.sequence]
        for message in change.delivered:
            self.instances[message.instance].inbox[message.sequence] = message
            self.sequence = max(self.sequence, message.sequence)
        return [m.instance for m in (*change.consumed, *change.delivered)]

    def _mark_ready(self, key: str) -> None:
        instance = self.instances[key]
        if instance.ready and not instance.summary.finished:
            self.turns[key] = None
        else:
            self.turns.pop(key, None)

    def armed(self, timer: Timer) -> bool:
        instance = self.instances.get(timer.instance)
        return instance is not None and timer.key in instance.timers

    def next_timer(self) -> Timer | None:
        """The armed timer that fires first."""
        while self._alarms:
            timer = self._alarms[0][2]
            if self.armed(timer):
                return timer
            heapq.heappop(self._alarms)
        return None

    def due(self, now: datetime) -> list[Timer]:
        """Armed timers whose time has come, in the order of their times."""
        timer = self.next_timer()
        if timer is None or timer.fire_at > now:
            return []
        entries = sorted(entry for entry in self._alarms if entry[0] <= now)
        return [entry[2] for entry in entries if self.armed(entry[2])]
