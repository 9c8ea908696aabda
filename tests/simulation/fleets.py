"""Small fleets: credentials that are rotated within a minute, by events, by a wave or both, with
limits at what they work on, windows, a host that crashes, and people who end what runs.

What is judged of each rotation is what other runs judge; more of it is judged here: that a wave
begins no more than it was asked for, and that a place which is free is taken.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any
from unittest import mock

from rotation.front import places, rotations, waves
from rotation.model import wire
from rotation.model.places import KEEPER
from rotation.model.waves import FAILED, Running, Wave, WaveCancel, WaveMember
from rotation.model.world import SLOTS
from tests.memory.clock import START
from tests.memory.cluster import Times
from tests.simulation import scenario as scenarios
from tests.simulation.checker import counts
from tests.simulation.client import Client, driven
from tests.simulation.faults import Drawn, Kind, NoFaults
from tests.simulation.run import Inline, Options, Result, Run, result, surrounded
from tests.simulation.scenario import APPROVERS, REQUESTER, Scenario
from tests.simulation.verdict import judge_first

if TYPE_CHECKING:
    from local.engine.state import Change, Summary
    from tests.simulation.faults import Plan

NAMES = ("orders", "billing", "stock", "users", "carts", "prices", "mails", "audit")
# Of hosts and of what they call; not what others do to a credential's own things.
KINDS: tuple[Kind, ...] = (
    *("unavailable", "lost", "crash-before", "crash-after"),
    *("cut-before", "cut-after", "duplicate", "slow"),
)
WAVE = "wave.20270301T120000-ab12"
MOST_STEPS = 400_000
MOST_FAULTS = 0.02  # of the calls: an activity of a wave makes dozens, and is repeated as one
PURGED = 61.0  # seconds after the keeper was ended: docs/operations.md asks for a minute
SAMPLES = 600.0  # seconds between the timer's looks, which begin a keeper again
# How long a free place may be idle, without faults: a wake that is lost costs two minutes.
IDLE = timedelta(minutes=4)
# ... where whoever keeps the places was ended, too.
IDLE_WITHOUT_KEEPER = timedelta(seconds=SAMPLES) + IDLE
# What a wave may not know yet of its members, with and without faults.
UNSEEN, UNSEEN_CALM = timedelta(hours=1), timedelta(seconds=30)


@dataclass(frozen=True)
class Fleet:
    """`announced` are those of which an event says that they expire, and after how many seconds;
    `wave` is what somebody asks for. `ended` are moments, in seconds, at which somebody terminates
    a rotation that has a place, or else the keeper: see `Ending`."""

    scenario: Scenario
    calm: bool
    announced: dict[str, float]
    wave: Wave | None
    ended: list[tuple[float, str]] = field(default_factory=list)
    cancelled: tuple[float, Running] | None = None


def draw(seed: int) -> Fleet:
    rng = Random(f"fleet {seed}")  # noqa: S311 - a seed that replays
    names = list(NAMES[: rng.randrange(3, 9)])
    hours = _hours(rng)
    credentials = {name: _credential(rng, name) | hours for name in names}
    scenario = Scenario(
        configuration=scenarios.configuration(credentials, _limits(rng)),
        active={name: rng.choice(SLOTS) for name in names},
        replicas=1,
        times=Times(
            controller=0.5,
            startup=rng.choice([3.0, 60.0, 60.0]),
            grace=3.0,
            routes=1.0,
            progress=300.0,
        ),
        topic=False,
    )
    how = rng.choice(["events", "wave", "wave", "both"])
    by_event = {"events": names, "wave": [], "both": rng.sample(names, 2)}[how]
    endings = ["rotation", "rotation", "keeper", "keeper and purge"]
    ends = [rng.choice(endings) for _ in range(rng.choice([0, 0, 1, 2]))]
    cancels = how != "events" and rng.random() < 0.2
    return Fleet(
        scenario=scenario,
        calm=rng.random() < 0.5,
        announced={name: rng.uniform(0, 60) for name in by_event},
        wave=None if how == "events" else _wave(rng, names),
        ended=[(rng.uniform(1, rng.choice([60, 600])), what) for what in ends],
        cancelled=(rng.uniform(0, 7200), rng.choice(["keep", "cancel"])) if cancels else None,
    )


def _limits(rng: Random) -> dict[str, dict[str, int]]:
    kinds = rng.sample(["clusters", "servers", "vaults", "namespaces"], rng.choice([1, 1, 2]))
    return {kind: {"*": rng.choice([1, 2, 2, 3])} for kind in kinds}


def _hours(rng: Random) -> dict[str, Any]:
    """The windows of all, some hours of each day, in some fleets."""
    if rng.random() < 0.6:
        return {}
    begins = rng.randrange(24)
    window = {
        "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        "from": f"{begins:02}:00",
        "to": f"{(begins + rng.randrange(2, 6)) % 24:02}:00",
        "zone": rng.choice(scenarios.ZONES),
    }
    return {"windows": [window], "retireIn": rng.choice(["anytime", "window"])}


def _credential(rng: Random, name: str) -> dict[str, Any]:
    """One workload, in one of two clusters, namespaces and vaults."""
    policy = {"deadline": rng.choice(["1h", "30h"]), "remind": "24h", "allowRequester": True}
    if rng.random() < 0.2:
        policy |= {"gate": "both", "before": {"deadline": "30h", "onDeadline": "keep"}}
    found = scenarios.document(name, "url", [rng.choice(["csi", "secret"])], policy)
    found["vault"] = f"https://kv-{rng.choice(['one', 'two'])}.vault.example"
    for workload in found["workloads"]:
        workload["cluster"] = rng.choice(scenarios.CLUSTERS)
        workload["namespace"] = rng.choice(["shop", "back"])
        workload["ready"] = "300s"
    return found


def _wave(rng: Random, names: list[str]) -> Wave:
    members = [
        WaveMember(credential=name, rotation=waves.rotation_id(WAVE, START, name)) for name in names
    ]
    return Wave(
        wave=WAVE,
        requested_by=REQUESTER,
        reason="all of them",
        select={"all": True},
        first=rng.choice([0, 1, 1]),
        size=rng.choice([1, 2, 3]),
        pause=rng.choice([0.0, 0.0, 600.0, 3 * 86400.0]),
        stop_after=rng.choice([1, 1, 2, 3]),
        members=members,
        known_as=[REQUESTER],
    )


class Waves:
    """What is seen of a wave and its members while they are under way, by what is stored."""

    def __init__(self, run: FleetRun, wave: Wave) -> None:
        self._run = run
        self._wave = wave
        self._batch_of = {one.rotation: n for n, batch in enumerate(wave.batches) for one in batch}
        self._failed: dict[str, datetime] = {}  # rotations of it, and when they had
        self._over: set[str] = set()  # that have ended, or asked somebody
        self._begun: set[str] = set()
        self.batch, self.cancelled, self.phase = 0, False, ""

    def saw(self, summary: Summary, now: datetime) -> None:
        if summary.name == "wave":
            self._showed(summary, now)
        elif summary.id in self._batch_of:
            self._moved(summary, now)

    def _moved(self, summary: Summary, now: datetime) -> None:
        rotation, status = summary.id, json.loads(summary.custom or "{}")
        if rotation not in self._begun:
            self._begun.add(rotation)
            self._begins(rotation)
        asked = [(status.get(key) or {}).get("event") for key in ("before", "approval")]
        outcome = status.get("outcome")
        ended = summary.status in {"Terminated", "Failed"}
        if ended or outcome or any(asked):
            self._over.add(rotation)
        if ended or outcome in FAILED:
            self._failed.setdefault(rotation, now)

    def _begins(self, rotation: str) -> None:
        batch, checker = self._batch_of[rotation], self._run.machine.checker
        if batch > self.batch:
            checker.fail(19, f"{rotation} begins, and its batch {batch} has not")
        early = [
            key
            for key, number in self._batch_of.items()
            if number < batch and key in self._begun - self._over
        ]
        if early:
            checker.fail(19, f"{rotation} begins, and {', '.join(early)} are under way")

    def _showed(self, summary: Summary, now: datetime) -> None:
        shown = json.loads(summary.custom or "{}")
        if not shown:
            return
        checker = self._run.machine.checker
        self.phase = shown["phase"]
        if shown["batch"] > self.batch:
            self.batch = shown["batch"]
            if self.cancelled:
                checker.fail(19, f"batch {self.batch} begins, and the wave was cancelled")
            known = now - (UNSEEN_CALM if self._run.fleet.calm else UNSEEN)
            failed = [key for key, when in self._failed.items() if when <= known]
            canary = self._wave.first and self.batch == 1
            if len(failed) >= self._wave.stop_after or (canary and failed):
                checker.fail(19, f"batch {self.batch} begins after {', '.join(failed)} failed")
        self.cancelled = bool(shown["cancelled"])

    def judge(self) -> None:
        """Checks that the wave has ended as it was asked to."""
        machine = self._run.machine
        summary = machine.journal.summary(WAVE)
        if summary is None or summary.status != "Completed" or not summary.output:
            text = f"{WAVE} is {summary.status if summary else 'unknown'} in the end"
            machine.checker.fail(19, text)
            return
        ended = wire.read(Wave, json.loads(summary.output))
        wanted = "cancelled" if ended.cancelled else None
        if ended.phase not in ("completed", "stopped", "cancelled") or (
            wanted and ended.phase != wanted
        ):
            machine.checker.fail(19, f"{WAVE} has ended, and is {ended.phase}")
        left = [one.credential for one in ended.members if one.state == "planned"]
        if ended.phase == "completed" and left:
            machine.checker.fail(19, f"{WAVE} is completed without {', '.join(left)}")
        begun = [one.credential for one in ended.members if one.rotation in self._begun]
        machine.story.tell(WAVE, "ends as %s with %s of %d", ended.phase, begun, len(left))


class FleetRun(Run):
    """One fleet until all of it has ended."""

    def __init__(self, fleet: Fleet, rng: Random, plan: Plan, *, story: bool) -> None:
        super().__init__(fleet.scenario, rng, plan, story=story)
        self.fleet = fleet
        self.machine.most_steps = MOST_STEPS
        self.machine.on_commit = self._committed
        self.waves = Waves(self, fleet.wave) if fleet.wave else None
        self._client: Any = Client(lambda: self.machine.engine, None)
        self._free_since: datetime | None = None
        self._keeper_ended = False

    def go(self) -> None:
        agenda = self.machine.agenda
        self.deliveries.open += 1  # until all is announced and asked for
        last = max([61.0, *(when for when, _ in self.fleet.ended)])
        for name, when in self.fleet.announced.items():
            agenda.add(when, lambda name=name: self.deliveries.announce(name, confused=False))  # type: ignore[misc]  # its default is a text
        if self.fleet.wave is not None:
            agenda.add(30.0, self._start)
        for when, what in self.fleet.ended:
            agenda.add(when, lambda what=what: self._end(what))  # type: ignore[misc]  # as above
        if self.fleet.cancelled is not None:
            when, running = self.fleet.cancelled
            agenda.add(30.0 + when, lambda: self._cancel(running))
        agenda.add(last + 1, self._all_asked)
        if self._until_idle("only"):
            judge_first(self)
            if self.waves is not None:
                self.waves.judge()

    def _all_asked(self) -> None:
        self.deliveries.open -= 1

    def _start(self) -> None:
        wave = self.fleet.wave
        assert wave is not None
        if self.machine.journal.summary(WAVE) is not None:
            return  # the host died once it was stored
        self.machine.story.tell(REQUESTER, "asks for a wave of %d", len(wave.members))
        driven(waves.start(self._client, wave))

    def _cancel(self, running: Running) -> None:
        wish = WaveCancel(by=APPROVERS[0], channel="http", comment="", running=running, at=None)
        self.machine.story.tell(APPROVERS[0], "cancels the wave; what runs: %s", running)
        found = driven(waves.find(self._client, WAVE))
        if found is not None and found.cancelling is not None:
            self.machine.engine.raise_event(
                WAVE, found.cancelling, json.dumps(json.dumps(wire.value_of(wish)))
            )

    def _end(self, what: str, tries: int = 20) -> None:
        """Somebody terminates a rotation that has a place, or the keeper, and may purge that."""
        machine = self.machine
        if what == "rotation":
            held = [
                key
                for key in machine.credentials
                if key in machine.journal.state.instances
                and (machine.checker.record(key).get("place") or {}).get("state") == "held"
            ]
            if not held and tries:
                machine.agenda.add(5.0, lambda: self._end(what, tries - 1))
            elif held:
                rotation = machine.rng.choice(held)
                credential = machine.credentials[rotation]
                machine.terminated.add(rotation)
                self.others.damaging.append((credential, "its rotation was terminated"))
                machine.story.tell("somebody", "terminates %s", rotation)
                machine.engine.terminate(rotation, "by hand")
        elif KEEPER in machine.journal.state.instances:
            machine.story.tell("somebody", "terminates %s", KEEPER)
            self._keeper_ended = True
            machine.engine.terminate(KEEPER, "by hand")
            if what == "keeper and purge":
                machine.agenda.add(PURGED, self._purge)
            machine.agenda.add(SAMPLES, self._sample)

    def _purge(self) -> None:
        """Somebody purges the keeper, where it has not been begun again meanwhile."""
        if KEEPER not in self.machine.journal.state.instances:
            self.machine.engine.purge(KEEPER)

    def _sample(self) -> None:
        """What the timer does that samples."""
        driven(places.begin_again(self._client))

    # What is stored

    def _committed(self, change: Change) -> None:
        now = self.machine.clock.now
        for summary in change.saved.values():
            if self.waves is not None:
                self.waves.saw(summary, now)
        if self.fleet.calm and not self._hours:
            self._look_for_free_places(now)

    @property
    def _hours(self) -> bool:
        known = self.machine.world.configuration.credentials.values()
        return any(one.windows for one in known)

    def _look_for_free_places(self, now: datetime) -> None:
        """Fails where those that wait all find a place at each of their things, for long."""
        most = IDLE_WITHOUT_KEEPER if self._keeper_ended else IDLE
        if self._free_since is not None and now - self._free_since > most:
            self.machine.checker.fail(20, f"a place was free since {self._free_since:%H:%M:%S}")
        free = self._free()
        self._free_since = (self._free_since or now) if free else None

    def _free(self) -> bool:
        machine = self.machine
        configuration = machine.world.configuration
        running = [key for key in machine.credentials if key in machine.journal.state.instances]
        statuses = [machine.checker.record(key) for key in running]
        things = [configuration.credentials[machine.credentials[key]].things for key in running]
        waits = [(one.get("place") or {}).get("state") == "waits" for one in statuses]
        held = [counts(one) or (one.get("place") or {}).get("state") == "held" for one in statuses]
        taken = [thing for one, at in zip(things, held, strict=True) if at for thing in one]
        wanted = {
            thing for one, waiting in zip(things, waits, strict=True) if waiting for thing in one
        }
        full = {
            thing
            for thing in wanted
            if (most := configuration.max_parallel.most(thing)) is not None
            and taken.count(thing) >= most
        }
        return bool(wanted) and not full


class Gathering(Inline):
    """A stand-in for `asyncio` that people's own looks, which have an event loop, use as well."""

    sleep = staticmethod(asyncio.sleep)
    get_running_loop = staticmethod(asyncio.get_running_loop)


def simulate(seed: int, options: Options | None = None) -> Result:
    """A fleet from its seed; of the options, whether its story is told."""
    fleet = draw(seed)
    rng = Random(seed)  # noqa: S311 - a seed that replays
    plan: Plan = NoFaults() if fleet.calm else Drawn(rng, KINDS, MOST_FAULTS)
    run = FleetRun(fleet, rng, plan, story=bool(options and options.story))
    run.people.cancels = Random(f"cancel {seed}")  # noqa: S311 - as above
    # What a wave's activities look at they look at one after the other, in one fiber.
    gathers = mock.patch.object(rotations, "asyncio", Gathering)
    with surrounded(run.machine.checker), gathers:
        run.go()
    return result(seed, run)
