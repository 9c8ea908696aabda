"""What goes wrong at a call of an edge, a client, or a commit of the journal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from tests.simulation.passing import SAID, Passing, Spell

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

Kind = Literal[
    "unavailable",  # it does not answer, and has done nothing
    "lost",  # it has done it, and its answer is lost
    "denied",  # it refuses, for good
    "unexpected",  # something raises what nobody thought of, with a password in its text
    "crash-before",  # the host dies before the effect
    "crash-after",  # ... and after it
    "cut-before",  # this execution ends before the effect and its task fails
    "cut-after",
    "duplicate",  # a second execution starts while this one is held up
    "slow",
    "stale",  # a read answers with what was there a moment ago
    "passing",  # a server says what passes by itself: `said`
]
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]  # a Literal's words
PASSING: tuple[Passing, ...] = Passing.__args__  # type: ignore[attr-defined]
Fate = Literal["before", "after"]  # when, next to a commit, the host dies
PERMANENT = {"denied"}
LONGEST_STALL = 30.0  # seconds that a duplicate lags behind: see docs/simulation.md
STALE = 2.0  # seconds
MOST_CRASHES = 100  # of a run: where every tenth call ends the host, no step of 60 calls ends


@dataclass(frozen=True)
class Fault:
    """A fault at a call. `before` and `after` the effect, in seconds, the execution is held up."""

    kind: Kind
    before: float = 0.0
    after: float = 0.0
    lasts: bool = False  # may outlast any retry timeout
    said: Passing | None = None


@dataclass(frozen=True)
class Call:
    """A call that may fail. `target`: vault, database, cluster, topic, storage, or client."""

    number: int
    target: str
    verb: str
    writes: bool
    at: datetime


class Plan(Protocol):
    def call(self, call: Call, /) -> Fault | None: ...

    def commit(self, number: int, /) -> Fate | None:
        """Whether the host dies at this commit of the journal."""


class NoFaults:
    def call(self, _: Call) -> Fault | None:
        return None

    def commit(self, _: int) -> Fate | None:
        return None


@dataclass
class Scripted:
    """Faults that are given, by the number of the call or commit; for the sweeps."""

    calls: dict[int, Fault] = field(default_factory=dict)
    commits: dict[int, Fate] = field(default_factory=dict)
    spells: list[Spell] = field(default_factory=list)
    seen: list[Call] = field(default_factory=list)

    def call(self, call: Call) -> Fault | None:
        self.seen.append(call)
        return _said(self.spells, call) or self.calls.get(call.number)

    def commit(self, number: int) -> Fate | None:
        return self.commits.get(number)


def _said(spells: list[Spell], call: Call) -> Fault | None:
    """The fault of the first spell that meets the call."""
    found = next((spell for spell in spells if spell.meets(call)), None)
    return Fault("passing", said=found.kind) if found else None


class Drawn:
    """Faults that are drawn by lot.

    Each run has its own mixture: some see one fault, some see one at every fourth call, or at
    `most` of them.
    """

    def __init__(self, rng: Random, kinds: tuple[Kind, ...], most: float = 1.0) -> None:
        self._rng = rng
        self._rate = min(rng.choice([0.0, 0.01, 0.02, 0.04, 0.08, 0.2]), most)
        drawn = [kind for kind in kinds if kind not in {*PERMANENT, "passing"}]
        chosen = [kind for kind in drawn if rng.random() < 0.6]
        self._kinds = chosen
        self._crashes = 0
        self._permanent = {rng.randrange(1, 140) for _ in range(rng.choice([0, 0, 0, 1, 2]))}
        self._outage = self._draw_outage() if "unavailable" in kinds else None
        self._crash_rate = rng.choice([0.0, 0.0, 0.01]) if "crash-before" in kinds else 0.0
        if "denied" not in kinds:
            self._permanent = set()
        self._spells = self._draw_spells() if "passing" in kinds else []

    def _draw_spells(self) -> list[Spell]:
        rng = self._rng
        spells = []
        for _ in range(rng.choice([0, 0, 0, 1, 2])):
            kind = rng.choice(PASSING)
            seconds = SAID[kind].seconds * rng.choice([0.1, 0.5, 1.0])
            spells.append(Spell(kind, rng.randrange(1, 140), seconds))
        return spells

    def _draw_outage(self) -> tuple[str, int, int] | None:
        """A system that refuses every call, from one number to another: for about an hour at
        most."""
        if self._rng.random() > 0.15:
            return None
        start = self._rng.randrange(1, 120)
        target = self._rng.choice(["vault", "database", "cluster", "topic"])
        return target, start, start + self._rng.choice([4, 12, 30])

    def call(self, call: Call) -> Fault | None:
        if call.number in self._permanent and call.target != "client":
            return Fault("denied", lasts=True)
        if found := _said(self._spells, call):
            return found
        if self._outage is not None:
            target, start, end = self._outage
            if call.target == target and start <= call.number < end:
                return Fault("unavailable", before=self._rng.choice([0.0, 10.0]), lasts=True)
        if not self._kinds or self._rng.random() >= self._rate:
            return None
        return self._draw(call)

    def _draw(self, call: Call) -> Fault | None:
        rng = self._rng
        kind = rng.choice(self._kinds)
        if kind == "stale" and (call.target != "vault" or call.writes):
            return None
        if kind.startswith("crash") and rng.random() < 0.5:
            return None  # a crash costs more than the others, and is drawn at commits as well
        if kind.startswith("crash"):
            self._crashes += 1
            return Fault(kind) if self._crashes <= MOST_CRASHES else None
        if kind == "duplicate":
            return Fault(kind, before=rng.choice([0.0, 1.0, LONGEST_STALL]))
        if kind == "slow":
            return Fault(
                kind, before=rng.choice([0.0, 2.0, 40.0]), after=rng.choice([0.0, 2.0, 40.0])
            )
        return Fault(kind)

    def commit(self, _: int) -> Fate | None:
        if not self._crash_rate or self._rng.random() >= self._crash_rate:
            return None
        return self._rng.choice(["before", "after"])
