"""Credentials as a caller sees them: what each looks like now, and the evidence for a decision."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct, field

from rotation.decisions.plan import active_slot
from rotation.front import rotations
from rotation.front.problems import Problem
from rotation.model import wire
from rotation.model.errors import RotationError
from rotation.model.reasons import Code, Reason
from rotation.model.wire import Moment
from rotation.model.world import SLOTS, Slot, SlotState
from rotation.steps.planning import snapshot
from rotation.steps.proving import collect

if TYPE_CHECKING:
    from azure.durable_functions import DurableOrchestrationClient

    from rotation.contracts.edges import Readers
    from rotation.model.record import Evidence, ShownRecord


class SeenSlot(Struct, frozen=True, kw_only=True, rename="camel"):
    """A slot's role and the current version of its secret; None for what is not there."""

    role: str | None
    login: bool | None
    secret: str | None
    version: str | None
    enabled: bool | None
    expires: Moment | None


class SeenCredential(Struct, frozen=True, kw_only=True, rename="camel"):
    """`active` is None when the workloads disagree, `rotation` the one that is under way.

    `problem` says why it cannot be looked at, `reason` the same with its code and remedy; there are
    no `slots` then.
    """

    credential: str
    active: Slot | None
    rotation: str | None
    slots: dict[Slot, SeenSlot] = field(default_factory=dict)
    problem: str | None = None
    reason: Reason | None = None


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
    slots = {slot: _slot(world.slots[slot]) for slot in SLOTS}
    return SeenCredential(credential=name, active=active_slot(world), rotation=running, slots=slots)


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


async def fresh_evidence(edges: Readers, record: ShownRecord) -> Evidence:
    """Looked at just now, for whoever is about to decide. Raises `Problem`."""
    if record.standby is None or record.outcome is not None:
        text = "there is nothing to decide about now"
        raise Problem(409, Code.NOT_WAITING, text, stage=record.stage)
    credential = edges.configuration.credential(record.credential)
    return await asyncio.to_thread(collect, edges, credential, record.standby)
