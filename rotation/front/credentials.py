"""What each credential looks like now, and the evidence for a decision, for pages and HTTP API."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import Struct, field

from rotation.decisions.plan import active_slot, not_serving
from rotation.decisions.plan import doubts as plan_doubts
from rotation.decisions.plan import problems as plan_problems
from rotation.front import rotations
from rotation.front.problems import Problem
from rotation.model import wire
from rotation.model.errors import RotationError, Unavailable
from rotation.model.reasons import Code, Reason
from rotation.model.record import swapped_at
from rotation.model.wire import Moment
from rotation.model.world import SLOTS, Slot, SlotState
from rotation.steps import wayback
from rotation.steps.ledger import Before
from rotation.steps.planning import obstacles, proved_by_sessions, snapshot
from rotation.steps.proving import collect
from rotation.steps.wayback import WayBack

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure.durable_functions import DurableOrchestrationClient

    from rotation.config import Credential
    from rotation.contracts.edges import Readers
    from rotation.model.record import Evidence, ShownRecord
    from rotation.model.world import Snapshot

# Seconds: whoever asks is told before the platform gives up on the request. The look goes on, and
# who asks again shares it.
EVIDENCE_TIMEOUT = 25.0
RETRY_AFTER = 10.0  # seconds
AT_ONCE = 8  # credentials that are looked at at the same time


class SeenSlot(Struct, frozen=True, kw_only=True, rename="camel"):
    """A slot's role and the current version of its secret; None for what is not there."""

    role: str | None
    login: bool | None
    secret: str | None
    version: str | None
    enabled: bool | None
    expires: Moment | None


class SeenCredential(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a credential looks like now.

    `active` is None when the workloads disagree, `rotation` the one that is under way.

    `problem` says why it cannot be looked at, or else all that a rotation would be refused for, or
    what serves without a ready pod; `reason` is the first of it with its code and remedy. While
    one is under way, workloads between two slots are none. There are no `slots` where it cannot be
    looked at. `doubts` stand in no rotation's way.
    """

    credential: str
    active: Slot | None
    rotation: str | None
    slots: dict[Slot, SeenSlot] = field(default_factory=dict)
    problem: str | None = None
    reason: Reason | None = None
    doubts: list[Reason] = field(default_factory=list)


async def look_at_all(
    edges: Readers, client: DurableOrchestrationClient, names: list[str]
) -> list[SeenCredential]:
    """What each of the credentials looks like now.

    Each is looked at in a thread of its own, a few at a time: their servers are not ours.
    """
    free = asyncio.Semaphore(AT_ONCE)

    async def one_of_them(name: str) -> SeenCredential:
        async with free:
            return await look(edges, client, name)

    return list(await asyncio.gather(*(one_of_them(name) for name in names)))


async def look(edges: Readers, client: DurableOrchestrationClient, name: str) -> SeenCredential:
    """What one credential looks like now."""
    running = await rotations.current(client, name)
    configured = edges.configuration.credential(name)
    try:
        world = await asyncio.to_thread(snapshot, edges, name, configured)
    except RotationError as error:
        return SeenCredential(
            credential=name,
            active=None,
            rotation=running,
            problem=error.message,
            reason=error.reason,
        )
    active = active_slot(world)
    way = await asyncio.to_thread(_way_back, edges, configured, world, active)
    moving = active is None and running is not None
    problems = [*(() if moving else plan_problems(world, active)), *way.problems]
    problems = problems or list(not_serving(world, active))  # of which those may be the cause
    return SeenCredential(
        credential=name,
        active=active,
        rotation=running,
        slots={slot: _slot(world.slots[slot]) for slot in SLOTS},
        problem="; ".join(problem.text for problem in problems) or None,
        reason=next(iter(problems), None),
        doubts=[
            *way.doubts,
            *proved_by_sessions(configured),
            *(plan_doubts(world, active) if active else ()),
        ],
    )


def _way_back(
    edges: Readers, configured: Credential, world: Snapshot, active: Slot | None
) -> WayBack:
    """The way back to the active slot, and what else leads to its pods. What the edges raise
    becomes its problem."""
    if active is None:
        return WayBack()
    state = world.slots[active]
    version = state.secret.version if state.secret else None
    key = (id(edges), world.credential, active, version, state.role)

    def look() -> WayBack:
        way = wayback.look(edges, configured, active, state)
        return replace(way, problems=(*way.problems, *obstacles(edges, configured)))

    try:
        return WAYS.kept(key, edges, look)
    except RotationError as error:
        return WayBack((error.reason,))


class Ways:
    """Keeps what was found of ways back for `fresh` seconds: each look logs in, and a server may
    shut out who is refused too often."""

    def __init__(self, fresh: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._fresh = fresh
        self._clock = clock
        # With the edges that were asked, so that those stay what their id says.
        self._known: dict[object, tuple[float, Readers, WayBack]] = {}
        self._lock = threading.Lock()

    def kept(self, key: object, edges: Readers, look: Callable[[], WayBack]) -> WayBack:
        """What was found lately, or else what a new look finds. Raises what that does."""
        with self._lock:
            now = self._clock()
            self._known = {k: v for k, v in self._known.items() if now - v[0] < self._fresh}
            known = self._known.get(key)
        if known is not None:
            return known[2]
        way = look()
        with self._lock:
            self._known[key] = now, edges, way
        return way


WAYS = Ways()


def _slot(state: SlotState) -> SeenSlot:
    role, secret = state.role, state.secret
    return SeenSlot(
        role=role.name if role else None,
        login=role.login if role else None,
        secret=secret.secret if secret else None,
        version=secret.version if secret else None,
        enabled=secret.enabled if secret else None,
        expires=wire.moment(secret.expires) if secret and secret.expires else None,
    )


async def fresh_evidence(
    edges: Readers, record: ShownRecord, planned: Readers | None = None
) -> Evidence:
    """The evidence as it is now, for whoever is about to decide.

    `planned` are the edges of the entry that the rotation goes on with, if it was kept.

    Raises `Problem` where there is nothing to decide, `Unavailable` where it takes too long, and
    what `collect` raises.
    """
    if record.standby is None or record.outcome is not None:
        text = "there is nothing to decide about now"
        raise Problem(409, Code.NOT_WAITING, text, stage=record.stage)
    look = LOOKS.shared(
        edges,
        record.rotation,
        record.credential,
        record.standby,
        planned=planned,
        swapped=swapped_at(record),
    )
    try:
        return await asyncio.wait_for(look, EVIDENCE_TIMEOUT)
    except TimeoutError:
        text = f"evidence took more than {EVIDENCE_TIMEOUT:g} s; look again in {RETRY_AFTER:g} s"
        raise Unavailable(Code.CUT_OFF, text, retry_after=RETRY_AFTER) from None


class Looks:
    """Collects evidence on threads of its own, once for all who ask within `fresh` seconds.

    What it asks may be slow, and everybody's pages go on.
    """

    def __init__(
        self, threads: int = 4, fresh: float = 3.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="evidence")
        self._fresh = fresh
        self._clock = clock
        # With the edges that they ask, so that those stay what their id says.
        self._known: dict[tuple[str, int], tuple[float, Readers, Future[Evidence]]] = {}
        self._lock = threading.Lock()

    async def shared(
        self,
        edges: Readers,
        rotation: str,
        credential: str,
        slot: Slot,
        *,
        planned: Readers | None = None,
        swapped: Moment | None = None,
    ) -> Evidence:
        """The evidence of a rotation, from a look under way or begun `fresh` seconds ago at most.

        Raises what `collect` raises.
        """
        asked, before = planned or edges, Before(credential, swapped)
        configured = asked.configuration.credential(credential)
        look = self._kept_or_new(
            edges, rotation, lambda: collect(asked, configured, slot, rotation, before)
        )
        # Shielded: one who gives up must not take it from the others.
        return await asyncio.shield(asyncio.wrap_future(look))

    def _kept_or_new(
        self, edges: Readers, rotation: str, look: Callable[[], Evidence]
    ) -> Future[Evidence]:
        """The look at a rotation's evidence that is under way or fresh, or else a new one."""
        key = (rotation, id(edges))
        with self._lock:
            now = self._clock()
            self._known = {
                known: (since, asked, future)
                for known, (since, asked, future) in self._known.items()
                if not future.done() or now - since < self._fresh
            }
            if key not in self._known:
                self._known[key] = now, edges, self._threads.submit(look)
            return self._known[key][2]


LOOKS = Looks()
