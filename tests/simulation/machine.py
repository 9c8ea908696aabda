"""The app's host on virtual time: which unit of work goes on next, and what is lost in a crash."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from local.engine import Activity, Engine, MemoryJournal, Timer, Turn
from local.engine.core import handed_on
from rotation.settings import Settings
from rotation.story.version import VERSION
from tests.memory.clock import START, Agenda, Clock
from tests.memory.edges import WorldEdges
from tests.memory.owner import Owner
from tests.memory.world import World
from tests.simulation.calls import FaultyCalls
from tests.simulation.checker import Checker
from tests.simulation.faults import LONGEST_STALL
from tests.simulation.fibers import Fiber, Fibers, HostCrash
from tests.simulation.program import Program
from tests.simulation.scenario import TOPIC
from tests.simulation.story import Story

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from local.engine.state import Change, Key, Summary
    from tests.simulation.faults import Plan
    from tests.simulation.scenario import Scenario

MOST_STEPS = 30_000


class Journal(MemoryJournal):
    """A journal that shows the checker all that is stored; the host may die at any commit."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.commits = 0
        self._machine = machine

    def commit(self, change: Change) -> None:
        self.commits += 1
        fate = self._machine.plan.commit(self.commits)
        if fate == "before":
            raise HostCrash
        super().commit(change)
        self._machine.committed(change)
        if fate == "after":
            raise HostCrash


class Machine:
    """A host on virtual time; `on_gate` hears of each approval event that opens: rotation, name,
    status; `on_begin` of each rotation that shows for the first time how it stands;
    `on_commit` of all that is stored."""

    def __init__(self, scenario: Scenario, rng: Random, plan: Plan, *, story: bool = False) -> None:
        self.rng = rng
        self.plan = plan
        self.clock = Clock()
        self.agenda = Agenda(self.clock)
        self.fibers = Fibers(self.clock)
        self.story = Story(self.clock, keep=story)
        self.world = World(
            scenario.configuration,
            self.clock,
            self.agenda,
            active=scenario.active,
            replicas=scenario.replicas,
            times=scenario.times,
        )
        self.world.flaw = scenario.flaw
        self.world.database.lag, self.world.database.late = scenario.lag, scenario.late
        self.scenario = scenario
        self.world.metrics["errors"] = self._errors
        self.world.schedule(scenario.runs)
        if scenario.configured:
            self.world.configure()
        if scenario.stale:
            self.world.report_the_past()
        if scenario.strays:
            self.world.leave_strays()
        if scenario.shared:
            self.world.share_selectors()
        self.checker = Checker(self.world, self.clock, self.story)
        for name, how in scenario.live.items():
            self.world.spoil(name, how)
            self.checker.blame([Owner(name, scenario.active[name])], f"live secret: {how}")
        self.calls = FaultyCalls(
            self.clock, self.fibers, plan, self.world, self.checker, self.story
        )
        self.calls.spawn = self._spawn
        settings = Settings(topic=TOPIC if scenario.topic else None)
        self.edges = WorldEdges(self.world, self.calls, self.clock, settings)
        self.program = Program(self.edges, lambda: self.engine, self.calls, self.fibers)
        self.journal = Journal(self)
        self.on_gate: Callable[[str, str, dict[str, Any]], None] = lambda *_: None
        self.on_begin: Callable[[str], None] = lambda _: None
        self.on_commit: Callable[[Change], None] = lambda _: None
        self.terminated: set[str] = set()  # rotations, by somebody
        self.credentials: dict[str, str] = {}  # by rotation
        self.earlier: dict[str, str] = {}  # the first end of one that began again under its id
        self.steps = 0
        self.most_steps = MOST_STEPS
        self._gates: set[tuple[str, str]] = set()
        self._units: dict[Key, list[Fiber]] = {}
        numbers = itertools.count(1)
        self._ids = lambda: f"id{next(numbers)}"
        self.engine = self._started()

    def _errors(self) -> float:
        """The value of the condition that scenarios have."""
        breach = self.scenario.breach
        begun = None if breach is None else START + timedelta(seconds=breach)
        return 7.0 if begun is not None and self.clock.now >= begun else 0.0

    def _started(self) -> Engine:
        """A new process on the journal; what it starts begins at this release's story."""
        return Engine(self.program, self.journal, self.clock, self._ids, VERSION)

    # Running

    def run(self, ended: Callable[[], bool], days: float) -> bool:
        """Runs until `ended` holds; False if it does not within that time, or nothing more
        happens."""
        deadline = self.clock.after(days * 86400)
        while not ended():
            self.steps += 1
            if self.checker.violations:
                return True
            if self.steps > self.most_steps or self.clock.now > deadline or not self.step():
                return False
        return True

    def step(self) -> bool:
        """Does one thing that can happen now, or moves to the next moment at which something
        can."""
        choices = self._choices()
        if not choices:
            return self._advance()
        choice = choices[0] if len(choices) == 1 else self.rng.choice(choices)
        try:
            self._take(choice)
        except HostCrash:
            self.restart()
        return True

    def _choices(self) -> list[Any]:
        choices: list[Any] = list(self.fibers.ready())
        choices += [
            unit
            for unit in self.engine.ready()
            if not isinstance(unit, Activity) or unit.key not in self._units
        ]
        if self.agenda.due():
            choices.append(self.agenda)
        return choices

    def _take(self, choice: Any) -> None:
        if isinstance(choice, Fiber):
            self._resume(choice)
        elif isinstance(choice, Activity):
            self._begin(choice)
        elif isinstance(choice, Agenda):
            self._act(choice.pop())
        elif isinstance(choice, Turn):
            limit = self.rng.choice([None, None, 1])
            self.engine.execute(Turn(choice.instance, limit))
        else:
            assert isinstance(choice, Timer)
            self.engine.execute(choice)

    def _act(self, action: Callable[[], None]) -> None:
        try:
            action()
        except HostCrash:
            self.agenda.add(10.0, action)  # whoever saw no answer tries again
            raise
        self.checker.look(None, "time")

    def _advance(self) -> bool:
        moments = [self.engine.next_timer(), self.fibers.next(), self.agenda.next()]
        known = [moment for moment in moments if moment is not None]
        if not known:
            return False
        self.clock.now = max(self.clock.now, min(known))
        self.checker.look(None, "time")
        for fiber in list(self.fibers.all):
            if fiber.expires is not None and self.clock.now > fiber.expires:
                self.story.tell(fiber.name, "is gone for good")
                self.fibers.kill(fiber)
        return True

    # Executions

    def _begin(self, unit: Activity, *, duplicate: bool = False, lag: float = 0.0) -> None:
        name = f"{unit.name}@{unit.instance}#{unit.task}{'*' if duplicate else ''}"
        fiber = self.fibers.start(name, lambda: self.engine.run(unit), lag)
        fiber.duplicate = duplicate
        fiber.unit = unit
        self._units.setdefault(unit.key, []).append(fiber)

    def _spawn(self, fiber: Fiber, lag: float) -> bool:
        unit = fiber.unit
        if unit is None or fiber.late or len(self._units[unit.key]) > 1:
            return False
        self._begin(unit, duplicate=True, lag=lag)
        return True

    def _resume(self, fiber: Fiber) -> None:
        try:
            if not self.fibers.resume(fiber):
                return
        except HostCrash:
            self.fibers.all.append(fiber)  # dies with the others
            raise
        unit = fiber.unit
        if unit is None:
            return
        siblings = self._units.get(unit.key, [])
        if fiber in siblings:
            siblings.remove(fiber)
        if self.engine.record(unit, fiber.result):
            self.story.tell(fiber.name, "-> %s", _shown(fiber.result))
            for late in siblings:
                late.late = True
                late.expires = self.clock.after(LONGEST_STALL)
            self._units.pop(unit.key, None)
        else:
            self.story.tell(fiber.name, "ends too late to count")

    def trigger(self, name: str, main: Callable[[], Any], lost: Callable[[], None]) -> None:
        """Starts an execution of a trigger; `lost` is called if it does not come to its end."""
        self.fibers.start(name, main).lost = lost

    def restart(self) -> None:
        """Starts a new process on the same journal."""
        self.story.tell("HOST", "crashes and starts again")
        self._units.clear()
        killed = self.fibers.kill_all()
        self.engine = self._started()
        for fiber in killed:
            if fiber.lost is not None:
                fiber.lost()

    # What is stored

    def committed(self, change: Change) -> None:
        for _, _, event in change.appended:
            self.checker.crossed("the journal", event.text)
        for summary in change.saved.values():
            for text in (summary.input, summary.custom, summary.output):
                if text:
                    self.checker.crossed(f"the record of {summary.id}", text)
            if summary.name == "rotation":
                self._rotation(summary)
        self.on_commit(change)

    def _rotation(self, summary: Summary) -> None:
        if summary.status == "Pending":
            self.credentials[summary.id] = json.loads(handed_on(summary.input) or "{}")[
                "credential"
            ]
            before = json.loads(self.checker.statuses.get(summary.id, "{}"))
            if before.get("outcome") is not None:
                self.earlier.setdefault(summary.id, before["outcome"])
        credential = self.credentials[summary.id]
        same = [
            key for key in self.journal.state.instances if self.credentials.get(key) == credential
        ]
        if len(same) > 1:
            self.checker.fail(5, f"{credential} has rotations {', '.join(same)}")
        if summary.custom and summary.custom != self.checker.statuses.get(summary.id):
            begins = summary.id not in self.checker.statuses
            self.checker.statuses[summary.id] = summary.custom
            if begins:
                self.on_begin(summary.id)
            status = json.loads(summary.custom)
            running = self.journal.state.instances
            self.checker.crowded([key for key in self.credentials if key in running])
            self._told(summary.id, status)

    def _told(self, rotation: str, status: dict[str, Any]) -> None:
        asked = [(status.get(key) or {}).get("event") for key in ("before", "approval")]
        gate = next((event for event in asked if event), None)
        if gate is not None and (rotation, gate) not in self._gates:
            self._gates.add((rotation, gate))
            self.on_gate(rotation, gate, status)


def _shown(outcome: Any) -> str:
    fields = outcome.fields
    return str(fields.get("Result") or fields.get("Reason"))[:300]
