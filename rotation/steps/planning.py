"""Plans a rotation from a snapshot of the credential's world."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, assert_never

from rotation import log
from rotation.decisions.plan import Refuse, Rotate, Skip, Wait, active_slot, apart, doubts
from rotation.decisions.plan import plan as decide
from rotation.model.activities import ApprovalPolicy, Planned, Policy, Retry, WorkloadTimes
from rotation.model.catalogue import Origin, Outcome
from rotation.model.errors import Unavailable
from rotation.model.reasons import Code, reason
from rotation.model.record import Waiver
from rotation.model.world import SLOTS, Drift, SlotState, Snapshot, WorkloadState
from rotation.steps import cron_jobs, exchanging, jobs, proving, shared, strangers, wayback
from rotation.steps.drift import drift
from rotation.steps.explaining import explain
from rotation.steps.wayback import WayBack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rotation.config import Credential, Workload
    from rotation.contracts.edges import Readers
    from rotation.model.reasons import Reason
    from rotation.model.record import Request, WaivedVia
    from rotation.model.world import Maker, Slot
    from rotation.steps.running import Step

# Retry timeouts, in seconds. Of refusals, while stopping is still possible: caches of rights fill,
# and a webhook comes back, within a minute. In steps that undo or retire a grant has as long as
# Azure takes for one at most, and what is final is tried again too: an answer may be outdated, and
# a person would try it once more as well. None is longer than the credential's own time.
REFUSALS = 120.0
OWNER = "the owner of credentials.yaml"  # who has waived what the file waives
REFUSALS_OF_UNDO = 600.0
FINAL_OF_UNDO = 120.0


def plan(step: Step) -> Planned:
    """The active slot and the policy of the rotation, or why there is none to be done.

    What is due is refused unless there is a way back. Raises `Unavailable` while the active
    Deployments are not healthy, and what the edges raise.
    """
    request = step.reference.request
    if request is None:
        raise LookupError("the reference of plan has no request")
    credential = step.credential
    world = snapshot(step.edges, step.name, credential)
    waive = request.waive if _by_hand(request) else credential.waive
    decision = decide(world, request, step.edges.now(), credential.rotate_before, waive)
    way = WayBack()
    beside: tuple[Reason, ...] = ()
    active = active_slot(world)
    if active is not None and isinstance(decision, Rotate | Wait):
        # First of all: pods may be unhealthy for what is found here.
        way = wayback.look(step.edges, credential, active, world.slots[active])
        _tell(step.name, way.doubts)
        beside = tuple(obstacles(step.edges, credential))
    in_the_way, also_waived = apart((*way.problems, *beside), waive)
    if in_the_way:
        waivers = _waivers(request, also_waived)
        return Planned(outcome=Outcome.REFUSED, reasons=list(in_the_way), waivers=waivers)
    match decision:
        case Rotate(active, waived):
            return Planned(
                active=active,
                policy=_policy(credential),
                waivers=_waivers(request, (*also_waived, *waived)),
                doubts=[*way.doubts, *proved_by_sessions(credential), *doubts(world, active)],
                entry=_kept(step),
            )
        case Skip(reason):
            return Planned(outcome=Outcome.SKIPPED, reasons=[reason])
        case Refuse(problems, waived):
            waivers = _waivers(request, waived)
            return Planned(outcome=Outcome.REFUSED, reasons=list(problems), waivers=waivers)
        case Wait(unhealthy, code):
            raise Unavailable(code, "; ".join(_why(step, world, unhealthy)))
        case _:
            assert_never(decision)


def obstacles(edges: Readers, credential: Credential) -> Iterator[Reason]:
    """What forbids a rotation and is in no snapshot: whatever else leads to the slots' pods, and
    tests that cannot be made. Raises what the edges raise."""
    yield from strangers.problems(edges, credential)
    yield from proving.problems(edges, credential)
    yield from jobs.problems(edges, credential)
    yield from proving.in_use(edges, credential)


def proved_by_sessions(credential: Credential) -> Iterator[Reason]:
    """A doubt for each workload of which no test names the role that serves."""
    for workload in credential.workloads:
        if not workload.names_role:
            known_by = {"pods": "its pods", "nodes": "its pods' nodes"}.get(
                str(workload.addresses), "its addresses"
            )
            text = f"workload {workload.name}: sessions from {known_by} prove which role serves"
            if workload.cron_jobs:
                text += "; before the swap none of its Jobs runs"
            yield reason(Code.PROOF_BY_SESSIONS, text)


def _by_hand(request: Request) -> bool:
    """Whether a person asked, who waives in the request; events and sweeps go by the file."""
    return request.origin is Origin.MANUAL


def _waivers(request: Request, waived: Iterable[Reason]) -> list[Waiver]:
    """The problems that were waived, with who gave the waiver."""
    by = request.requested_by if _by_hand(request) else OWNER
    via: WaivedVia = "request" if _by_hand(request) else "file"
    return [Waiver(code=one.code, text=one.text, by=by, via=via) for one in waived]


def _tell(credential: str, doubts: Iterable[Reason]) -> None:
    """Logs what stands in no way and should be known."""
    for doubt in doubts:
        log.event(
            "secret.doubt",
            level=logging.WARNING,
            credential=credential,
            codes=[doubt.code],
            reason=doubt.text,
        )


def _why(step: Step, world: Snapshot, unhealthy: dict[str, str]) -> Iterator[str]:
    """Why the active Deployments are not healthy, one text for each of these workloads."""
    active = active_slot(world)
    for state in world.workloads:
        serving = state.deployments[active] if active else None
        if active is None or serving is None or state.name not in unhealthy:
            continue
        workload = step.credential.workload(state.name)
        pods = step.edges.pods(workload.cluster)
        why = explain(pods, workload.deployment(active), serving, unhealthy[state.name])
        text = f"its active {serving.kind} {serving.name} is not healthy: {why.text}"
        yield f"workload {state.name}: {text}"


def _kept(step: Step) -> str:
    """The entry that the rotation goes on with."""
    from rotation.config import kept  # noqa: PLC0415 - a cold start is paid for

    return kept.keep(step.edges.configuration, step.name)


def _policy(credential: Credential) -> Policy:
    """The credential's times and choices that orchestrators need."""
    approval, retry = credential.approval, credential.retry
    forward, undo = retry.retry_timeout.total_seconds(), retry.compensation.total_seconds()
    return Policy(
        forward=Retry(forward, min(REFUSALS, forward)),
        undo=Retry(undo, min(REFUSALS_OF_UNDO, undo), min(FINAL_OF_UNDO, undo)),
        drain=credential.drain.total_seconds(),
        workloads={
            workload.name: WorkloadTimes(
                workload.ready.total_seconds(),
                workload.drain.total_seconds(),
                workload.stops,
                in_place=bool(workload.in_place),
                weights=list(workload.route.weights) if workload.route else [],
                settle=workload.route.settle.total_seconds() if workload.route else 0.0,
                jobs=jobs.longest(workload),
            )
            for workload in credential.workloads
        },
        approval=ApprovalPolicy(
            remind=approval.remind.total_seconds(),
            deadline=approval.deadline.total_seconds(),
            on_deadline=approval.on_deadline,
            soak=approval.soak.total_seconds() if approval.soak else None,
            four_eyes=not approval.allow_requester,
        ),
    )


def snapshot(edges: Readers, name: str, credential: Credential) -> Snapshot:
    """The slots and workloads of a credential as they are now.

    Raises what the edges raise: a half-seen world is no ground for a decision.
    """
    vault = edges.vault(credential.vault)
    roles = edges.database(credential).roles([credential.slots[slot].role for slot in SLOTS])
    return Snapshot(
        credential=name,
        slots={
            slot: SlotState(
                role=roles.get(credential.slots[slot].role),
                secret=vault.current(credential.secret(slot)),
            )
            for slot in SLOTS
        },
        workloads=tuple(_workload_state(edges, credential, one) for one in credential.workloads),
    )


def _workload_state(edges: Readers, credential: Credential, workload: Workload) -> WorkloadState:
    if workload.in_place:
        return exchanging.state(edges, credential, workload)
    if workload.cron_jobs:
        return cron_jobs.state(edges, credential, workload)
    traffic, pods = edges.traffic(workload.cluster), edges.pods(workload.cluster)
    production = traffic.route(workload.production)
    preview = traffic.route(workload.standby) if workload.standby else None
    deployments = {slot: pods.deployment(workload.deployment(slot)) for slot in SLOTS}
    active = next((slot for slot in SLOTS if production and production.slot == slot), None)
    makers: dict[Slot, tuple[Maker, ...]] = {}
    for slot in SLOTS:
        seen = deployments[slot]
        if seen is None or (slot == active and not seen.replicas):
            selector = shared.selector(traffic, workload, slot)
            makers[slot] = tuple(pods.makers(workload.namespace, selector)) if selector else ()
    return WorkloadState(
        name=workload.name,
        at=str(workload.production),
        production=production,
        preview=preview,
        deployments=deployments,
        cluster=workload.cluster,
        drift=drift(credential, workload, active, deployments)
        if active
        else Drift(workload.template),
        further={str(target): traffic.route(target) for target in workload.productions[1:]},
        uncalled=not workload.called,
        stops=workload.stops,
        makers=makers,
        kind=workload.production.kind,
        backends={slot: traffic.route(target) for slot, target in workload.backends.items()},
    )
