"""What an orchestrator hears beside what it waits for, and stops for: nothing, or some events.

An activity under way is always waited for: nobody knows what one that was left alone still does.
Between the attempts of a step, between the looks of a watch, and between steps it stops.

The host walks through what was asked for one by one, and waits for the first to end of each
`task_any` before it goes on, as far as that was new there. So each has something new that ends by
itself, or a timer, which ends when it is cancelled.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from datetime import datetime

    import azure.durable_functions as df

# Timers of at most a day: longer ones have not always been safe on every durable back end.
LONGEST_TIMER = timedelta(days=1)


class Ears:
    """Hears nothing: waits for what it is given, and stops for nobody."""

    def __init__(self, context: df.DurableOrchestrationContext) -> None:
        self.context = context

    def beside(self, task: Any) -> Generator[Any, Any, Any]:
        """The task's result, once it has ended."""
        return (yield task)

    def pause(self, until: datetime) -> Generator[Any, Any, None]:
        """Waits until a moment, or until there is something to stop for."""
        yield self.context.create_timer(until)

    def first(self, tasks: list[Any], until: datetime) -> Generator[Any, Any, Any]:
        """That of the tasks which ends first; None at the moment `until`, or if there is something
        to stop for."""
        timer = self.context.create_timer(until)
        winner = yield self.context.task_any([*tasks, timer])
        if winner == timer:
            return None
        timer.cancel()
        return winner

    def long(
        self, task: Any, on_stop: Callable[[], Generator[Any, Any, None]]
    ) -> Generator[Any, Any, Any]:
        """The result of a task that may take long, once it has ended. If there is something to stop
        for meanwhile, `on_stop` is done, once."""
        del on_stop
        return (yield task)

    def heed(self) -> None:
        """Raises `StepFailed`, or `MadeWay`, if there is something to stop for."""


class Call:
    """An event that is waited for. `opens` makes the next wait for it, and `counts` tells whether
    what came is a reason to stop."""

    def __init__(self, opens: Callable[[], Any], counts: Callable[[object], bool]) -> None:
        self._opens = opens
        self._counts = counts
        self._event: Any = None

    @property
    def waited(self) -> Any:
        """The event that is waited for, which is made right before that."""
        if self._event is None:
            self._event = self._opens()
        return self._event

    def has_come(self, winner: Any) -> bool:
        """Whether the winner of a wait is the event."""
        return bool(winner == self._event)

    def hear(self) -> bool:
        """Takes what has come, and returns whether it counts. If not, the next wait has another
        name."""
        event, self._event = self._event, None
        return self._counts(event.result)


class Listening(Ears):
    """Hears calls, and `stops` says so to whoever waits once one has counted."""

    def __init__(
        self,
        context: df.DurableOrchestrationContext,
        calls: list[Call],
        stops: Callable[[], Exception],
    ) -> None:
        super().__init__(context)
        self._calls = calls
        self._stops = stops
        self.stopped = False

    def beside(self, task: Any) -> Generator[Any, Any, Any]:
        if not self.stopped:
            winner = yield self.context.task_any([task, *self._waited()])
            if winner != task:
                self._hear(winner)
        return (yield task)

    def pause(self, until: datetime) -> Generator[Any, Any, None]:
        while not self.stopped:
            timer = self.context.create_timer(until)
            winner = yield self.context.task_any([timer, *self._waited()])
            if winner == timer:
                return
            timer.cancel()
            self._hear(winner)

    def first(self, tasks: list[Any], until: datetime) -> Generator[Any, Any, Any]:
        while not self.stopped:
            timer = self.context.create_timer(until)
            winner = yield self.context.task_any([*tasks, timer, *self._waited()])
            if winner == timer:
                return None
            timer.cancel()
            if winner in tasks:
                return winner
            self._hear(winner)
        return None

    def long(
        self, task: Any, on_stop: Callable[[], Generator[Any, Any, None]]
    ) -> Generator[Any, Any, Any]:
        while not self.stopped:
            timer = self.context.create_timer(self.context.current_utc_datetime + LONGEST_TIMER)
            winner = yield self.context.task_any([task, timer, *self._waited()])
            if winner == timer:
                continue
            timer.cancel()
            if winner == task:
                break
            if self._hear(winner):
                yield from on_stop()
        return (yield task)

    def heed(self) -> None:
        if self.stopped:
            raise self._stops()

    def _waited(self) -> list[Any]:
        return [call.waited for call in self._calls]

    def _hear(self, winner: Any) -> bool:
        """Takes what has come, and returns whether it counts."""
        for call in self._calls:
            if call.has_come(winner):
                self.stopped = call.hear()
                break
        return self.stopped
