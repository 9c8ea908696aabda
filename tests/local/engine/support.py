"""An app of functions run by the real SDK, a clock to turn by hand, and ways to drive an engine."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pytest
from azure.durable_functions import DurableOrchestrationContext as Context
from azure.durable_functions import Orchestrator
from azure.functions import meta
from azure.functions.durable_functions import ActivityTriggerConverter

from local.engine import Activity, Engine, MemoryJournal, Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.engine import Journal

Steps = Generator[Any, Any, Any]

__all__ = ["App", "Clock", "Context", "Steps", "World", "sdk_warnings"]

# Said by the SDK: once per process of untyped values, and of each event raised before its wait.
sdk_warnings = [
    pytest.mark.filterwarnings("ignore:azure.functions df_loads was called without expected_type"),
    pytest.mark.filterwarnings("ignore:Potential duplicate Task completion"),
]


class App:
    """Functions by name. Activities take one argument, and are noted in `calls` as they run."""

    def __init__(self) -> None:
        self.orchestrators: dict[str, Callable[[str], str]] = {}
        self.activities: dict[str, Callable[[Any], Any]] = {}
        self.calls: list[tuple[str, Any]] = []
        self.callers: list[str] = []

    def orchestration(self, function: Callable[[Context], Steps]) -> Callable[[Context], Steps]:
        self.orchestrators[function.__name__] = Orchestrator.create(function)
        return function

    def step(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        self.activities[function.__name__] = function
        return function

    def orchestrator(self, name: str, context: str) -> str:
        return self.orchestrators[name](context)

    def activity(self, name: str, input: str, instance_id: str) -> str:  # noqa: A002 - the protocol's
        value = ActivityTriggerConverter.decode(meta.Datum(input, "json"), trigger_metadata={})
        self.calls.append((name, value))
        self.callers.append(instance_id)
        result = self.activities[name](value)
        return str(ActivityTriggerConverter.encode(result, expected_type=None).value)

    def known(self, kind: Literal["orchestrator", "activity"], name: str) -> bool:
        return name in (self.orchestrators if kind == "orchestrator" else self.activities)


class Clock:
    """Stands still unless moved."""

    def __init__(self) -> None:
        self.now = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


class World:
    """An app, a clock and an engine; `restart` is a new process on the same journal."""

    def __init__(self, journal: Journal | None = None, version: str = "") -> None:
        self.app = App()
        self.version = version
        self.clock = Clock()
        self.journal = journal or MemoryJournal()
        numbers = itertools.count(1)
        self.ids = lambda: f"id{next(numbers)}"
        self.engine = self.restart()

    def restart(self) -> Engine:
        self.engine = Engine(self.app, self.journal, self.clock, self.ids, self.version)
        return self.engine

    def start(self, function: Callable[..., Any] | str, **given: Any) -> str:
        name = function if isinstance(function, str) else function.__name__
        return self.engine.start(name, **{"instance_id": "one", **given})

    def settle(self) -> None:
        """Executes all that is ready at this time."""
        while ready := self.engine.ready():
            self.engine.execute(ready[0])

    def finish(self, instance_id: str = "one") -> dict[str, Any]:
        """Settles, and moves the clock from timer to timer, until the instance has ended."""
        self.settle()
        while not self.engine.journal.summary(instance_id).finished:  # type: ignore[union-attr]  # it was started
            fires = self.engine.next_timer()
            assert fires is not None, f"{instance_id} hangs: {self.show(instance_id)}"
            self.clock.now = max(self.clock.now, fires)
            self.settle()
        return self.show(instance_id)

    def finish_after(self, event: str, instance_id: str = "one") -> dict[str, Any]:
        self.engine.raise_event(instance_id, event, "null")
        return self.finish(instance_id)

    def turn(self, instance_id: str = "one") -> None:
        """Executes just one turn."""
        assert self.engine.execute(Turn(instance_id))

    def work(self, name: str) -> None:
        """Executes just one activity."""
        ready = (unit for unit in self.engine.ready() if isinstance(unit, Activity))
        assert self.engine.execute(next(unit for unit in ready if unit.name == name))

    def show(self, instance_id: str = "one", **options: bool) -> dict[str, Any]:
        found = self.engine.status(instance_id, **options)
        assert found is not None
        return found

    def kinds(self, instance_id: str = "one") -> list[str]:
        """The history, by its entries' types."""
        shown = self.show(instance_id, show_history=True)
        return [entry["EventType"] for entry in shown["historyEvents"]]
