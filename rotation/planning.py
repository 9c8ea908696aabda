"""Pure decisions over what was observed. The time is passed in; nothing here waits or calls."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rotation.model import (
    SLOTS,
    Decision,
    Deployment,
    Refuse,
    Request,
    Rotate,
    Skip,
    Slot,
    Snapshot,
    Wait,
    WorkloadState,
    other,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime, timedelta


def decide(world: Snapshot, request: Request, now: datetime, rotate_before: timedelta) -> Decision:
    """Rotate from the active slot to the other, skip, refuse with all problems, or wait."""
    active = active_slot(world)
    if active is None:
        return Refuse(tuple(_disagreement(world)))
    reason = _not_due(world, request, active, now, rotate_before)
    if reason is not None:
        return Skip(reason)
    problems = tuple(_problems(world, active))
    if problems:
        return Refuse(problems)
    unhealthy = tuple(_unhealthy(world, active))
    return Wait(unhealthy) if unhealthy else Rotate(active, other(active))


def active_slot(world: Snapshot) -> Slot | None:
    """The slot that every workload's production Service selects, if they agree on one."""
    selected = {workload.service.slot if workload.service else None for workload in world.workloads}
    for slot in SLOTS:
        if selected == {slot}:
            return slot
    return None


def _disagreement(world: Snapshot) -> Iterator[str]:
    yield (
        "the workloads do not agree on the active slot; point every production Service's "
        "selector at the slot that is to serve"
    )
    for workload in world.workloads:
        service = workload.service
        if service is None:
            yield f"workload {workload.name}: its Service does not exist"
        else:
            yield (
                f"workload {workload.name}: Service {service.namespace}/{service.name} "
                f"selects {service.slot or 'no slot'}"
            )


def _not_due(
    world: Snapshot, request: Request, active: Slot, now: datetime, rotate_before: timedelta
) -> str | None:
    current = world.slots[active].secret
    if request.origin in {"near-expiry", "expired"}:
        return _stale_event(world, request, active)
    if request.origin == "sweep" and current is not None:
        if current.expires is None:
            return f"secret {current.secret} has no expiry date: nothing makes it due"
        if current.expires > now + rotate_before:
            return f"secret {current.secret} is not due before {current.expires - rotate_before:%F}"
    return None


def _stale_event(world: Snapshot, request: Request, active: Slot) -> str | None:
    current, standby = world.slots[active].secret, world.slots[other(active)].secret
    if standby and _same(standby.secret, request.secret):
        return (
            f"the event is about the standby slot's secret {standby.secret}: nothing serves on it"
        )
    if current and not _same(current.secret, request.secret):
        return f"the event is about secret {request.secret}, not about {current.secret}"
    if current and current.version != request.version:
        return (
            f"the event is about version {request.version} of secret {current.secret}, "
            f"which is no longer current: {current.version} is"
        )
    return None


def _same(name: str, given: str | None) -> bool:
    """Key Vault names ignore case."""
    return given is not None and name.lower() == given.lower()


def _problems(world: Snapshot, active: Slot) -> Iterator[str]:
    yield from _slot_problems(world, active)
    for workload in world.workloads:
        yield from (f"workload {workload.name}: {text}" for text in _workload(workload, active))


def _slot_problems(world: Snapshot, active: Slot) -> Iterator[str]:
    serving = world.slots[active]
    if serving.secret is None:
        yield f"the {active} slot serves and its secret does not exist"
    elif not serving.secret.enabled:
        yield (
            f"the {active} slot serves and the current version of its secret "
            f"{serving.secret.secret} is disabled; enable it first"
        )
    if serving.role is not None and not serving.role.login:
        yield f"the {active} slot serves and its role {serving.role.name} has NOLOGIN"
    for slot in SLOTS:
        if world.slots[slot].role is None:
            yield f"the {slot} slot's role does not exist in the database; create it first"


def _workload(workload: WorkloadState, active: Slot) -> Iterator[str]:
    if workload.preview is None:
        yield "its preview Service does not exist"
    for slot in SLOTS:
        if workload.deployments[slot] is None:
            yield f"its {slot} Deployment does not exist"
    serving, standby = workload.deployments[active], workload.deployments[other(active)]
    if serving is None or standby is None:
        return
    if set(serving.images) != set(standby.images):
        yield (
            f"Deployments {serving.name} and {standby.name} do not have the same containers: "
            f"{_names(serving)} and {_names(standby)}"
        )
    if serving.replicas == 0:
        yield f"its active Deployment {serving.name} is scaled to zero"


def _unhealthy(world: Snapshot, active: Slot) -> Iterator[str]:
    """A deployment under way, a node being drained: it may be over in a minute."""
    for workload in world.workloads:
        serving = workload.deployments[active]
        waiting = unready(serving) if serving else None
        if serving and waiting:
            yield (
                f"workload {workload.name}: its active Deployment {serving.name} is not healthy: "
                f"{waiting}"
            )


def _names(deployment: Deployment) -> str:
    return ", ".join(sorted(deployment.images))


def unready(deployment: Deployment, version: str | None = None) -> str | None:
    """Why a rollout is not finished, or None. With `version`: on pods of that secret version."""
    if not deployment.observed:
        return "the controller has not seen the latest change"
    if version is not None and deployment.version != version:
        return f"its pods are of secret version {deployment.version}, not {version}"
    wanted = deployment.replicas
    if deployment.updated < wanted:
        return f"{deployment.updated} of {wanted} pods are updated"
    if deployment.total > deployment.updated:
        return f"{deployment.total - deployment.updated} earlier pods are still there"
    if deployment.ready < wanted:
        return f"{deployment.ready} of {wanted} pods are ready"
    return None


@dataclass(frozen=True)
class Expectation:
    """What a test's answer must be; `fields` with `{role}` and `{slot}` filled in."""

    status: int
    fields: Mapping[str, object]


def fill(text: str, role: str, slot: Slot) -> str:
    """`{role}` and `{slot}` only: a configuration file must not reach format's attribute access."""
    return text.replace("{role}", role).replace("{slot}", slot)


def judge(expected: Expectation, status: int, body: bytes) -> str | None:
    """Why an answer does not pass, or None. Says keys and expected values, never the body."""
    if status != expected.status:
        return f"answered {status}, not {expected.status}"
    if not expected.fields:
        return None
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "did not answer JSON"
    if not isinstance(document, dict):
        return "did not answer a JSON object"
    for key, value in expected.fields.items():
        found = document.get(key)
        equal = found == value and isinstance(found, bool) is isinstance(value, bool)
        if key not in document or not equal:
            return f"JSON field {key!r} is not {value!r}"
    return None


# A verdict becomes part of the custom status, which is limited to 16 KB.
LONGEST_NAME = 500
LONGEST_COMMENT = 2000


@dataclass(frozen=True)
class Verdict:
    """A person's decision, once it is valid."""

    decision: Literal["approve", "reject"]
    by: str
    channel: str
    comment: str


def verdict(event: object, requested_by: str | None) -> Verdict | str:
    """Checks a decision event again where it counts; otherwise says why it does not count.

    `requested_by` is who must not approve (four eyes), or None where that is allowed.
    """
    if not isinstance(event, dict):
        return "it is not a JSON object"
    decision, by = event.get("decision"), event.get("by")
    if decision not in ("approve", "reject"):  # a tuple: an event may hold what has no hash
        return "its decision is neither approve nor reject"
    if not isinstance(by, str) or not by.strip() or len(by) > LONGEST_NAME:
        return "it does not say who decided"
    if decision == "approve" and requested_by is not None:
        known = event.get("known_as")
        names = [by, *map(str, known)] if isinstance(known, list) else [by]
        if any(same_person(name, requested_by) for name in names):
            return f"{by} asked for this rotation and may not approve it"
    channel, comment = str(event.get("channel") or "unknown"), str(event.get("comment") or "")
    return Verdict(decision, by, channel[:LONGEST_NAME], comment[:LONGEST_COMMENT])


def same_person(one: str, two: str) -> bool:
    """Mail addresses and object ids ignore case."""
    return one.strip().casefold() == two.strip().casefold()
