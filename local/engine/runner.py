"""Drives an engine with threads and the wall clock, for the host."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from local.engine.errors import JournalError
from local.engine.state import Activity, Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.engine.engine import Engine, Outcome
    from local.engine.state import Key, Unit

    Take = Callable[[], Unit | None]
    # How long to sleep at most while there is nothing to take, in seconds; None: until woken.
    Patience = Callable[[], float | None]

log = logging.getLogger(__name__)

# A journal that fails is tried again this many seconds after each failure; then the runner stops.
PAUSES = (0.1, 0.5, 1.0, 2.0, 4.0)
# The longest sleep: a wall clock that was set forward is noticed after it.
LONGEST_WAIT = 30.0


class Runner:
    """One thread for turns and timers, several for activities.

    Everything unfinished in the journal goes on at `start`, activities without a recorded result
    from their beginning. `on_failure` is called once, from a runner's thread, when the journal
    stays broken or the engine itself fails: work stops, nothing is lost, the process should end.
    """

    def __init__(
        self,
        engine: Engine,
        activity_threads: int = 8,
        on_failure: Callable[[BaseException], None] | None = None,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self.failure: BaseException | None = None
        self._engine = engine
        self._changed = engine.changed
        self._on_failure = on_failure
        self._pauses = pauses
        self._stopping = False
        self._taken: set[Key] = set()
        self._threads = [self._thread("turns", self._next_turn_or_timer, self._until_next_timer)]
        for n in range(activity_threads):
            self._threads.append(self._thread(f"activities-{n}", self._next_activity, lambda: None))

    def _thread(self, name: str, take: Take, patience: Patience) -> threading.Thread:
        return threading.Thread(
            target=self._work, args=[take, patience], name=f"engine-{name}", daemon=True
        )

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float = 30.0) -> bool:
        """Takes no more work and waits for what is under way. False when an activity still runs
        after `timeout` seconds in all: it runs again after the next start."""
        self._halt()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _halt(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def _work(self, take: Take, patience: Patience) -> None:
        try:
            while (unit := self._wait_for(take, patience)) is not None:
                self._execute(unit)
        except BaseException as error:  # noqa: BLE001 - ends the thread; reported, not swallowed
            self._fail(error)

    def _wait_for(self, take: Take, patience: Patience) -> Unit | None:
        """The next unit; None once the runner stops."""
        with self._changed:
            while not self._stopping:
                unit = take()
                if unit is not None:
                    return unit
                self._changed.wait(patience())
        return None

    def _until_next_timer(self) -> float:
        due = self._engine.next_timer()
        if due is None:
            return LONGEST_WAIT
        return min(LONGEST_WAIT, max(0.0, (due - self._engine.clock()).total_seconds()))

    def _next_turn_or_timer(self) -> Unit | None:
        state = self._engine.journal.state
        timer = state.next_timer()
        if timer is not None and timer.fire_at <= self._engine.clock():
            return timer
        return next((Turn(key) for key in state.turns), None)

    def _next_activity(self) -> Unit | None:
        for key, activity in self._engine.journal.state.activities.items():
            if key not in self._taken and self._engine.runnable(activity):
                self._taken.add(key)
                return activity
        return None

    def _execute(self, unit: Unit) -> None:
        self._record(unit, self._engine.run(unit))
        if isinstance(unit, Activity):
            with self._changed:
                self._taken.discard(unit.key)

    def _record(self, unit: Unit, outcome: Outcome) -> None:
        """The outcome is kept while the journal is tried again: user code does not run twice."""
        for pause in self._pauses:
            try:
                self._engine.record(unit, outcome)
            except JournalError as error:
                log.warning("%s; trying again in %s s", error, pause)
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping, pause)
            else:
                return
        self._engine.record(unit, outcome)

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            first, self.failure = self.failure is None, self.failure or error
        self._halt()
        log.critical("the engine stopped: %s", error, exc_info=error)
        if first and self._on_failure is not None:
            self._on_failure(error)
