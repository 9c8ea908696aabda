"""What each credential looks like now, and the evidence for a decision, for pages and HTTP API."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from rotation.decisions.due import Due, due, in_window
from rotation.decisions.plan import serving
from rotation.front.problems import Problem
from rotation.model import wire
from rotation.model.errors import Unavailable
from rotation.model.findings import Finding
from rotation.model.reasons import Code
from rotation.model.record import before_swap, swapped_at
from rotation.model.wire import Moment
from rotation.model.world import SLOTS, Slot, SlotState
from rotation.steps import wayback, world
from rotation.steps.conditions import looked, of_today
from rotation.steps.ledger import Before
from rotation.steps.proving import collect

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from rotation.config import Credential
    from rotation.contracts.edges import Readers
    from rotation.model.activities import Through
    from rotation.model.record import Evidence, ShownRecord
    from rotation.model.world import Snapshot
    from rotation.steps.wayback import WayBack

# Seconds: whoever asks is told before the platform gives up on the request. The look goes on, and
# who asks again shares it.
EVIDENCE_TIMEOUT = 25.0
RETRY_AFTER = 10.0  # seconds


class SeenSlot(Struct, frozen=True, kw_only=True, rename="camel"):
    """A slot's role and the current version of its secret; None for what is not there. `serves`:
    traffic of some workload goes there."""

    serves: bool
    role: str | None
    login: bool | None
    secret: str | None
    version: str | None
    enabled: bool | None
    expires: Moment | None


class SeenCredential(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a credential looked like at a time, and whether a rotation would have gone well.

    `active` is None when the workloads disagree, `rotation` the one that is under way. There are no
    `slots` where not all could be looked at: `findings` say why. While a rotation is under way,
    workloads between two slots are none. `due` is worked out when it is shown: see `with_due`.
    """

    credential: str
    at: Moment
    active: Slot | None
    rotation: str | None
    slots: dict[Slot, SeenSlot] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    due: Due = Due(at=None, text="")


def with_due(edges: Readers, seen: SeenCredential) -> SeenCredential:
    """The same, with when its next rotation is due: by what was seen, and by file and settings as
    they are now."""
    return replace(seen, due=_due(edges, seen))


def _due(edges: Readers, seen: SeenCredential) -> Due:
    if seen.rotation is not None:
        return UNDER_WAY
    slot = seen.slots.get(seen.active) if seen.active else None
    if slot is None or slot.secret is None:
        return not_due(served=slot is not None)
    expires = wire.instant(slot.expires) if slot.expires else None
    return due_from(edges, seen.credential, slot.secret, expires)


UNDER_WAY = Due(
    at=None, text="One is under way. The next is due when the secret that it writes nears its end."
)


def not_due(*, served: bool) -> Due:
    """That it is not known when a rotation is due. `served`: a slot serves, without a secret."""
    why = "the slot that serves has no secret" if served else "it was not seen which slot serves"
    return Due(at=None, text=f"Not known: {why}.")


def due_from(edges: Readers, name: str, secret: str, expires: datetime | None) -> Due:
    """When the next rotation is due of a credential on whose secret something serves."""
    settings, credential = edges.settings, edges.configuration.credential(name)
    when = due(
        secret,
        expires,
        credential.rotate_before,
        edges.now(),
        paused=settings.paused,
        schedule=settings.sweep_schedule,
    )
    return in_window(when, credential.hours, edges.now())


def look(edges: Readers, name: str, rotation: str | None) -> SeenCredential:
    """What one credential looks like now; `rotation` is the one that is under way."""
    at = wire.moment(edges.now())
    found = world.show(edges, name, edges.configuration.credential(name), WAYS.prove)
    moving = found.seen is not None and found.active is None and rotation is not None
    return SeenCredential(
        credential=name,
        at=at,
        active=found.active,
        rotation=rotation,
        slots=_slots(found.seen) if found.seen else {},
        findings=[] if moving else list(found.findings),
    )


class Ways:
    """Keeps what was found of ways back for `fresh` seconds: each look logs in, and a server may
    shut out who is refused too often. What raises is looked at again."""

    def __init__(self, fresh: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._fresh = fresh
        self._clock = clock
        # With the edges that were asked, so that those stay what their id says.
        self._known: dict[object, tuple[float, Readers, WayBack]] = {}
        self._lock = threading.Lock()

    def prove(
        self, edges: Readers, credential: Credential, slot: Slot, state: SlotState
    ) -> WayBack:
        """What was found lately, or else what a new look finds. Raises what that does."""
        version = state.secret.version if state.secret else None
        key = (id(edges), credential.vault, credential.slots[slot].secret, version, state.role)
        with self._lock:
            now = self._clock()
            self._known = {k: v for k, v in self._known.items() if now - v[0] < self._fresh}
            known = self._known.get(key)
        if known is not None:
            return known[2]
        way = wayback.look(edges, credential, slot, state)
        with self._lock:
            self._known[key] = now, edges, way
        return way


WAYS = Ways()


def _slots(seen: Snapshot) -> dict[Slot, SeenSlot]:
    serves = serving(seen)
    return {slot: _slot(seen.slots[slot], serves=slot in serves) for slot in SLOTS}


def _slot(state: SlotState, *, serves: bool) -> SeenSlot:
    role, secret = state.role, state.secret
    return SeenSlot(
        serves=serves,
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
        through="preview" if before_swap(record) else "service",
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

    async def shared(  # noqa: PLR0913 - all that it depends on
        self,
        edges: Readers,
        rotation: str,
        credential: str,
        slot: Slot,
        *,
        planned: Readers | None = None,
        swapped: Moment | None = None,
        through: Through = "service",
    ) -> Evidence:
        """The evidence of a rotation, from a look under way or begun `fresh` seconds ago at most.

        Raises what `collect` raises.
        """
        asked, before = planned or edges, Before(credential, swapped)
        configured = asked.configuration.credential(credential)

        def look_now() -> Evidence:
            seen = [one.seen for one in looked(*of_today(edges, asked, credential))]
            return collect(asked, configured, slot, rotation, before, through=through, watched=seen)

        look = self._kept_or_new(edges, rotation, look_now)
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
