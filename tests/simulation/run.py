"""One run from its seed: a rotation amid faults, and a second one from whatever was left."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any
from unittest import mock

from rotation.front import keeping, places, triggers
from rotation.model.catalogue import Origin
from rotation.model.record import Request
from rotation.steps import doctor
from tests.memory.calls import Direct
from tests.memory.edges import WorldEdges
from tests.simulation import scenario as scenarios
from tests.simulation.calls import Unforeseen
from tests.simulation.deliveries import Deliveries
from tests.simulation.faults import KINDS, Drawn, NoFaults
from tests.simulation.machine import Machine
from tests.simulation.others import Others
from tests.simulation.people import People
from tests.simulation.program import hasten
from tests.simulation.troubles import Struck, troubled
from tests.simulation.verdict import judge_first, judge_kept, judge_ready, judge_second

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from tests.simulation.checker import Checker, Violation
    from tests.simulation.faults import Kind, Plan
    from tests.simulation.scenario import Scenario

DAYS = 60.0
QUIET = 1800.0  # seconds until the second rotation: rollouts are over by then


@dataclass
class Result:
    seed: int
    violations: list[Violation]
    outcomes: list[str]
    story: list[str] = field(repr=False)
    calls: int = 0
    commits: int = 0


@dataclass(frozen=True)
class Options:
    kinds: tuple[Kind, ...] = KINDS
    others: bool = True
    flaws: bool = True  # of the workloads, their selectors and live secrets
    troubles: bool = True  # from the start
    cancels: bool = True  # by people
    incidents: bool = True  # that they call
    story: bool = False
    fleets: bool = False  # many credentials, limits and waves: see `fleets`


class Run:
    """`first` and `second` are the two halves; the sweeps use them with plans of their own."""

    def __init__(self, scenario: Scenario, rng: Random, plan: Plan, *, story: bool) -> None:
        self.machine = Machine(scenario, rng, plan, story=story)
        self.others = Others(self.machine, rng)
        self.people = People(self.machine, rng, loop())
        self._ask, self.machine.on_gate = self.machine.on_gate, self._asked
        self.deliveries = Deliveries(self.machine, rng)
        trouble = scenario.trouble
        self.struck = None if trouble is None else Struck(self.machine, trouble)

    def _asked(self, rotation: str, gate: str, status: dict[str, Any]) -> None:
        if not gate.startswith("before"):
            self.machine.checker.asked(rotation, lambda owner: owner not in self.others.touched)
        self._ask(rotation, gate, status)

    def first(self, *, confused: bool) -> None:
        if self.struck is not None and self.struck.trouble.asked is not None:
            by, codes = self.struck.trouble.asked
            self.people.waive(self.struck.trouble.credential, by, codes)
        ready = ready_now(self.machine)
        self.people.call_incidents()
        for credential in self.machine.world.configuration.credentials:
            self.deliveries.announce(credential, confused=confused)
        if self._until_idle("first"):
            judge_first(self)
            if not (self.others.touched or self.others.damaging or self.others.edited):
                judge_ready(self, ready)
            judge_kept(self, all_of_them=not self.machine.calls.struck & {"storage", "client"})

    def second(self) -> None:
        machine = self.machine
        machine.plan = machine.calls.plan = NoFaults()
        machine.calls.at.clear()
        machine.world.flaw = ""
        machine.world.metrics.clear()
        self.people.calm = True
        if self.struck is not None:
            self.struck.mend()
        machine.edges.configuration = machine.world.configuration
        machine.world.database.most = None
        self.people.busy = False
        waited: list[bool] = []
        machine.agenda.add(QUIET, lambda: waited.append(True))
        machine.run(lambda: bool(waited), DAYS)
        if machine.checker.violations:
            return
        ready = ready_now(machine)
        for credential in machine.world.configuration.credentials:
            self.people.ask(credential, f"{credential}-second", scenarios.REQUESTER)
        if self._until_idle("second"):
            judge_second(self)
            judge_ready(self, ready, second=True)
            self.deliveries.catch_up()
            if self._until_idle("catch-up"):
                judge_kept(self, all_of_them=True)

    def _until_idle(self, which: str) -> bool:
        machine = self.machine

        def idle() -> bool:
            return not (
                self.deliveries.open or machine.journal.state.instances or machine.fibers.all
            )

        if not machine.run(idle, DAYS):
            hanging = ", ".join(sorted(machine.journal.state.instances))
            machine.checker.fail(9, f"the {which} half does not come to an end: {hanging}")
        return not machine.checker.violations

    def status(self, rotation: str) -> dict[str, Any]:
        summary = self.machine.journal.summary(rotation)
        assert summary is not None
        return {**self.machine.checker.record(rotation), "runtime": summary.status}

    def evidence(self, rotation: str) -> str:
        """The evidence that a rotation has shown, which its record keeps when it has ended, as
        JSON."""
        summary = self.machine.journal.summary(rotation)
        record = json.loads(summary.output) if summary and summary.output else {}
        return json.dumps(record.get("evidence"))

    def outcomes(self) -> list[str]:
        return [str(self.status(key).get("outcome")) for key in self.machine.credentials]


def ready_now(machine: Machine) -> set[str]:
    """The credentials of which a dry run says that they would rotate, without any fault."""
    world = machine.world
    calls = Direct(machine.clock, machine.agenda)
    edges = WorldEdges(world, calls, machine.clock, machine.edges.settings)
    ready = set()
    for name, credential in world.configuration.credentials.items():
        request = Request(
            rotation=f"{name}-dry",
            credential=name,
            origin=Origin.MANUAL,
            requested_by=scenarios.REQUESTER,
            reason="",
        )
        if doctor.examine(edges, name, credential, request).ready:
            ready.add(name)
    if calls.writes:
        machine.checker.fail(9, f"a dry run has written: {calls.writes}")
    return ready


def simulate(seed: int, options: Options) -> Result:
    rng = Random(seed)  # noqa: S311 - a seed that replays
    plan = Drawn(rng, options.kinds)
    scenario = scenarios.draw(rng)
    if options.troubles:
        # From a generator of its own: the other runs stay what they were.
        scenario = troubled(scenario, Random(f"trouble {seed}"))  # noqa: S311 - as above
    if not options.flaws:
        scenario = replace(scenario, flaw="", live={}, shared=False)
    run = Run(scenario, rng, plan, story=options.story)
    if options.cancels:
        run.people.cancels = Random(f"cancel {seed}")  # noqa: S311 - as above
    if options.incidents and scenario.trouble is None and not scenario.shared:
        run.people.incidents = Random(f"incident {seed}")  # noqa: S311 - as above
    if options.others:
        run.others.schedule()
    with surrounded(run.machine.checker):
        run.first(confused=True)
        # A world that was left in order is like the one that the run began in.
        orderly = "needs-attention" not in run.outcomes() and not run.others.damaging
        if not run.machine.checker.violations and not (orderly and rng.random() < 0.9):
            run.second()
    return result(seed, run)


def result(seed: int, run: Run) -> Result:
    machine = run.machine
    return Result(
        seed,
        machine.checker.violations,
        run.outcomes(),
        machine.story.lines,
        machine.calls.number,
        machine.journal.commits,
    )


@cache
def loop() -> asyncio.AbstractEventLoop:
    """The event loop for what people do, whose calls take no time."""
    hasten()
    return asyncio.new_event_loop()


class _Handler(logging.Handler):
    def __init__(self, checker: Checker) -> None:
        super().__init__()
        self._checker = checker

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self._checker.crossed("the log", text)
        if '"step.unexpected"' in text and Unforeseen.__name__ not in text:
            self._checker.fail(9, f"an activity raised what nobody raised on purpose: {text}")
        if record.exc_info:
            self._checker.crossed("the log", logging.Formatter().formatException(record.exc_info))


class Inline:
    """A stand-in for `asyncio` where a trigger hands work to a thread: the fiber is one."""

    @staticmethod
    async def to_thread(function: Callable[..., Any], *given: object) -> Any:
        return function(*given)

    @staticmethod
    async def gather(*awaited: Coroutine[Any, Any, Any]) -> list[Any]:
        left = list(awaited)
        try:
            return [await left.pop(0) for _ in awaited]
        finally:
            for each in left:  # which never begin, where one has failed
                each.close()


PATCHED = (triggers, keeping, places)


@contextmanager
def surrounded(checker: Checker) -> Iterator[None]:
    """The app runs in fibers, and every line that it logs goes to the checker, and nowhere else."""
    patched = [mock.patch.object(module, "asyncio", Inline) for module in PATCHED]
    with patched[0], patched[1], patched[2], _logs_to(checker):
        yield


@contextmanager
def _logs_to(checker: Checker) -> Iterator[None]:
    logger = logging.getLogger("rotation")
    handler, before = _Handler(checker), (logger.level, logger.propagate)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
