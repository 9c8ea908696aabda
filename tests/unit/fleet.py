"""Many credentials on the engine's virtual clock, with limits at what they work on.

What their own steps do is scripted; places are asked for and kept by the app's own code, on the
durable client that the simulation has.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rotation.app import ORCHESTRATORS
from rotation.config import MaxParallel
from rotation.decisions.windows import Hours
from rotation.front import places, waves
from rotation.model import activities, wire
from rotation.model.activities import ApprovalPolicy, Planned, Policy, Retry, WorkloadTimes
from rotation.model.errors import Unavailable
from rotation.model.places import KEEPER
from rotation.model.reasons import Code
from rotation.model.record import Record
from rotation.settings import Settings
from rotation.steps.windows import opening_at
from rotation.story.version import VERSION
from tests.local.engine.support import World
from tests.simulation.client import Client
from tests.simulation.run import loop
from tests.unit.virtual import APPROVAL, EVIDENCE, HEALTHY, REQUEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.model.waves import WaveNotice

Reference = dict[str, Any]
CLIENTS = {
    "ask_place": places.ask,
    "grant_places": places.grant,
    "tell_places": places.tell,
    "start_rotations": waves.begin,
    "follow_rotations": waves.follow,
    "cancel_rotations": waves.cancel_each,
    "tell_wave": waves.tell,
}
SERVER = "server pg-1"


@dataclass
class Fleet:
    """Credentials by name. `takes` is how long each is from stage to swap, `things` what each works
    on, `expires` when its secret does."""

    limits: MaxParallel = field(default_factory=lambda: MaxParallel(servers={"*": 5}))
    hours: Hours | None = None
    takes: timedelta = timedelta(minutes=20)
    drains: timedelta = timedelta()
    approval: dict[str, Any] = field(default_factory=lambda: dict(APPROVAL))
    before: dict[str, Any] | None = None  # by which a decision before the swap goes
    things: dict[str, list[str]] = field(default_factory=dict)
    expires: dict[str, datetime] = field(default_factory=dict)
    script: dict[str, Callable[[Reference], Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world = World(version=VERSION)
        self.calls: list[tuple[datetime, str, str]] = []  # when, which activity, which credential
        self.names: list[str] = []  # that were started
        self.notices: list[WaveNotice] = []  # of waves
        self.began = self.world.clock.now
        self.waited: set[tuple[str, str]] = set()
        self.file_error: Exception | None = None
        client = Client(lambda: self.world.engine, None)
        for orchestrator in ORCHESTRATORS:
            self.world.app.orchestration(orchestrator)
        for known in vars(activities).values():
            if isinstance(known, activities.Activity):
                self.world.app.activities[known.name] = self._activity(known.name, client)

    @property
    def configuration(self) -> Any:
        if self.file_error is not None:
            raise self.file_error
        one = SimpleNamespace(hours=self.hours or Hours(), viewers=[], object_id=lambda _: None)
        known = dict.fromkeys(self.names, one)
        return SimpleNamespace(
            max_parallel=self.limits, credentials=known, credential=lambda name: known[name]
        )

    @property
    def settings(self) -> Settings:
        return Settings()

    def now(self) -> datetime:
        return self.world.clock.now

    def _activity(self, name: str, client: Any) -> Callable[[Reference], Any]:
        def on_client(reference: Reference) -> Any:
            return loop().run_until_complete(CLIENTS[name](self, client, reference))  # type: ignore[arg-type]  # has what they use

        own: dict[str, Callable[[Reference], Any]] = {
            **dict.fromkeys(CLIENTS, on_client),
            "plan": self._plan,
            "window": self._window,
            "deliver": lambda reference: self._lasts(reference, self.takes),
            "scale_down": lambda reference: self._lasts(reference, self.drains),
            "stop_parts": self._stop,
            "evidence": lambda _: {**EVIDENCE, "at": wire.moment(self.now())},
        }

        def activity(reference: Reference) -> Any:
            if name == "tell_wave":
                notice = wire.read(activities.Reference, reference).wave_notice
                assert notice is not None
                self.notices.append(notice)
            self.calls.append((self.now(), name, reference["credential"]))
            answer = self.script[name](reference) if name in self.script else None
            if answer is not None:
                return answer
            return own[name](reference) if name in own else HEALTHY[name]

        return activity

    def _window(self, reference: Reference) -> dict[str, Any]:
        assert self.hours is not None
        return wire.value_of(opening_at(self.hours, wire.instant(reference["at"])))

    def _stop(self, reference: Reference) -> dict[str, Any]:
        """Does what the app does: see `rotation.front.parts`."""
        for part in reference["parts"]:
            if self.world.show(part)["runtimeStatus"] == "Running":
                self.world.engine.raise_event(part, activities.STOP, json.dumps({}))
        return {}

    def _lasts(self, reference: Reference, takes: timedelta) -> dict[str, Any]:
        """Answers once that the thing is away for so long: what is tried again then is done."""
        key = (reference["rotation"], reference["slot"])
        if not takes or key in self.waited:
            return {}
        self.waited.add(key)
        away = Unavailable(Code.VAULT_UNAVAILABLE, "busy", retry_after=takes.total_seconds())
        return {"error": wire.value_of(away.as_failure())}

    def _plan(self, reference: Reference) -> dict[str, Any]:
        credential = reference["credential"]
        things = self.things.get(credential, [SERVER])
        limited = any(self.limits.most(thing) is not None for thing in things)
        policy = Policy(
            forward=Retry(7200.0),
            undo=Retry(7200.0),
            drain=60.0,
            workloads={"api": WorkloadTimes(ready=20.0, drain=20.0)},
            approval=wire.read(ApprovalPolicy, self.approval),
            before=wire.read(ApprovalPolicy, self.before) if self.before else None,
            windows=self.hours is not None,
            things=things if limited else [],
        )
        expires = self.expires.get(credential)
        latest = wire.moment(expires) if expires else None
        return wire.value_of(Planned(active="blue", policy=policy, latest=latest))

    def start(self, *credentials: str) -> Fleet:
        for name in credentials:
            self.names.append(name)
            request = {**REQUEST, "rotation": f"{name}-r", "credential": name}
            self.world.engine.start("credential", name, json.dumps(request))
        return self

    def wait(self, **time: float) -> Fleet:
        self.settle()
        until = self.now() + timedelta(**time)
        while (fires := self.world.engine.next_timer()) is not None and fires <= until:
            self.world.clock.now = max(self.now(), fires)
            self.settle()
        self.world.clock.now = until
        return self

    def settle(self) -> None:
        """Executes all that is ready at this time, a list after the other: there may be much."""
        while ready := self.world.engine.ready():
            for unit in ready:
                self.world.engine.execute(unit)

    def shown(self, credential: str) -> dict[str, Any]:
        return self.world.show(f"{credential}-r")

    def record(self, credential: str) -> Record:
        shown = self.shown(credential)
        ended = shown["runtimeStatus"] == "Completed"
        return wire.read(Record, shown["output"] if ended else shown["customStatus"])

    def decide(self, credential: str, decision: str) -> None:
        record = self.record(credential)
        approval = record.approval or record.before
        assert approval is not None
        given = {"decision": decision, "by": "grace@contoso.example", "channel": "page"}
        event = json.dumps({**given, "comment": ""})
        self.world.engine.raise_event(f"{credential}-r", str(approval.event), event)
        self.settle()

    def terminate(self, *ids: str) -> None:
        for each in ids:
            self.world.engine.terminate(each, "by hand")

    def when(self, credential: str, name: str) -> list[datetime]:
        return [at for at, called, of in self.calls if (called, of) == (name, credential)]

    def count(self, name: str, credential: str | None = None) -> int:
        return sum(called == name and credential in {None, of} for _, called, of in self.calls)

    def busy(self) -> list[str]:
        """Who is between stage and swap, by their records."""
        names = {of for _, name, of in self.calls if name == "stage"}
        return sorted(name for name in names if not self.when(name, "swap") and self.running(name))

    def running(self, credential: str) -> bool:
        return bool(self.shown(credential)["runtimeStatus"] == "Running")

    def most_at_once(self, begins: str, ends: str) -> int:
        """The most credentials that were between two activities at once, by all that was called."""
        inside: set[str] = set()
        most = 0
        for _, name, of in self.calls:
            if name == begins:
                inside.add(of)
            elif name == ends:
                inside.discard(of)
            most = max(most, len(inside))
        return most

    @property
    def kept(self) -> dict[str, Any]:
        return self.world.show(KEEPER)
