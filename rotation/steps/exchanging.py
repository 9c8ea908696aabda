"""Looks at a workload in place: whose login its Secret holds, and how its pods read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.decisions.in_place import readings
from rotation.formats import read
from rotation.model.errors import Conflict, Invalid
from rotation.model.reasons import Code
from rotation.model.world import SLOTS, InPlaceState, WorkloadState

if TYPE_CHECKING:
    from rotation.config import Credential, InPlace, Workload
    from rotation.contracts.edges import Readers
    from rotation.contracts.pods import Exchanged
    from rotation.model.targets import SlotSecretTarget
    from rotation.model.world import Slot


def held(edges: Readers, workload: Workload) -> Exchanged:
    """The workload's Secret. Raises `Conflict` if it is gone."""
    target = of(workload)[1]
    found = edges.pods(workload.cluster).exchanged(target)
    if found is None:
        raise Conflict(Code.EXCHANGED_MISSING, f"Secret {target} does not exist")
    return found


def of(workload: Workload) -> tuple[InPlace, SlotSecretTarget]:
    """What the file says of a workload in place, and its Secret."""
    settings, target = workload.in_place, workload.exchanged
    if settings is None or target is None:
        raise LookupError(f"workload {workload.name} is none in place")
    return settings, target


def serving(edges: Readers, workload: Workload) -> Slot | None:
    """The slot whose login the workload's Secret holds; None if it names none, or is gone."""
    found = edges.pods(workload.cluster).exchanged(of(workload)[1])
    return next((slot for slot in SLOTS if found and found.seen.slot == slot), None)


def state(edges: Readers, credential: Credential, workload: Workload) -> WorkloadState:
    """The workload as a plan sees it. Raises what the edges raise."""
    settings, target = of(workload)
    pods, at = edges.pods(workload.cluster), workload.deployment("blue")
    found, seen = pods.exchanged(target), pods.deployment(at)
    holds, readable = _holds(credential, target, found)
    active = next((slot for slot in SLOTS if found and found.seen.slot == slot), SLOTS[0])
    document = seen.template.document if seen and seen.template else {}
    return WorkloadState(
        name=workload.name,
        at=f"{at.kind} {at}",
        production=None,
        preview=None,
        deployments={slot: seen if slot == active else None for slot in SLOTS},
        cluster=workload.cluster,
        in_place=InPlaceState(
            secret=str(target),
            label=target.label,
            then=settings.then,
            found=found.seen if found else None,
            holds=holds,
            readable=readable,
            readings=readings(document, target.name),
        ),
    )


def _holds(
    credential: Credential, target: SlotSecretTarget, found: Exchanged | None
) -> tuple[Slot | None, bool]:
    """The slot whose role a Secret names, and whether its value can be read. Under the role's key
    anything may stand, a password too: it is compared, and not told."""
    if found is None or found.value is None:
        return None, False
    try:
        value = read(credential.shape, found.value, f"Secret {target}")
    except Invalid:
        return None, False
    named = {value.role} if value.role is not None else set()
    if target.role_key is not None:
        named.add(found.role.reveal() if found.role else "")
    return next((slot for slot in SLOTS if named == {credential.slots[slot].role}), None), True
