"""Executions that can be suspended at every call of an edge, interleaved, and cut off.

A fiber is one execution of an activity or of a trigger. It runs until it pauses, and goes on when
the scheduler chooses it: that is how steps of several workloads, duplicates and event deliveries
get into each other's way in every order, with one seed giving one order.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit, getcurrent, greenlet  # type: ignore[import-untyped]  # no types

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from local.engine import Activity
    from tests.memory.clock import Clock


class HostCrash(BaseException):
    """The host's process dies here: everything that is in progress is gone."""


class CutOff(BaseException):
    """This one execution ends here and its task fails: a function timeout, or a lost worker."""


class Broken(BaseException):
    """The simulation itself failed: never to be taken for a fault of the app's surroundings."""


class Fiber:
    """One execution.

    `rotation` and `activity` are known once the activity has read its reference.
    """

    def __init__(
        self, name: str, main: Callable[[], Any], now: datetime, wake: datetime, hub: Any
    ) -> None:
        self.name = name
        self.began: datetime = now
        self.wake = wake
        self.rotation: str | None = None
        self.activity: str | None = None
        self.duplicate = False
        self.late = False  # another execution of its unit was recorded
        self.unit: Activity | None = None
        self.expires: datetime | None = None
        self.lost: Callable[[], None] | None = None  # what comes of its work in a crash
        self.looks: set[str] = set()  # Services and Secrets whose slot it has just looked at
        self.result: Any = None
        self._main = main
        # Its end leads back to the hub, and not to the fiber that may have started it.
        self._greenlet = greenlet(self._run, hub)

    def _run(self) -> None:
        self.result = self._main()

    def saw(self, what: str) -> None:
        """Notes what the execution has read.

        Only looks at Services, and at Secrets whose login is exchanged, may come between a look and
        a change.
        """
        verb, _, rest = what.partition(" ")
        if verb in {"route", "exchanged"}:
            self.looks.add(rest.partition(" ")[0])
        else:
            self.looks.clear()

    @property
    def done(self) -> bool:
        return bool(self._greenlet.dead)

    def resume(self) -> None:
        """Runs until the next pause.

        Raises what the execution raises: `HostCrash` in the first place.
        """
        self._greenlet.switch()

    def kill(self) -> None:
        if self._greenlet:  # started and not ended
            self._greenlet.throw(GreenletExit)


class Fibers:
    """All executions in progress. `current` is the one that runs just now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hub = getcurrent()
        self.all: list[Fiber] = []
        self.current: Fiber | None = None

    def start(self, name: str, main: Callable[[], Any], delay: float = 0.0) -> Fiber:
        fiber = Fiber(name, main, self._clock.now, self._clock.after(delay), self._hub)
        self.all.append(fiber)
        return fiber

    def ready(self) -> list[Fiber]:
        return [fiber for fiber in self.all if fiber.wake <= self._clock.now]

    def next(self) -> datetime | None:
        return min((fiber.wake for fiber in self.all), default=None)

    def resume(self, fiber: Fiber) -> bool:
        """Runs a fiber until its next pause, and returns whether it has ended."""
        self.current = fiber
        try:
            fiber.resume()
        finally:
            self.current = None
            if fiber.done and fiber in self.all:
                self.all.remove(fiber)
        return fiber.done

    def pause(self, seconds: float = 0.0) -> None:
        """Suspends the execution that calls it; does nothing outside of one."""
        fiber = self.current
        if fiber is None:
            return
        fiber.wake = self._clock.now + timedelta(seconds=seconds)
        self._hub.switch()

    def kill(self, fiber: Fiber) -> None:
        self.all.remove(fiber)
        fiber.kill()

    def kill_all(self) -> list[Fiber]:
        killed, self.all = self.all, []
        for fiber in killed:
            fiber.kill()
        return killed
