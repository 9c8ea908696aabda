"""Whether a credential rotates now, and from which slot to which."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, assert_never

from rotation.decisions import cron_jobs, in_place
from rotation.decisions.ownership import named, unscaled
from rotation.decisions.rollout import unready
from rotation.decisions.selectors import refusals
from rotation.decisions.templates import beyond_containers, has_probe, listed, takes_all_down
from rotation.model.catalogue import Origin
from rotation.model.commands import Problem, Thing, told
from rotation.model.reasons import WAIVABLE, Code, Reason, reason
from rotation.model.world import (
    SLOTS,
    Deployment,
    Route,
    SecretVersion,
    Slot,
    Snapshot,
    WorkloadState,
    other,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from datetime import datetime

    from rotation.model.record import Request
    from rotation.model.world import SlotState


@dataclass(frozen=True)
class Rotate:
    """The plan to rotate away from the active slot, in spite of the problems that were waived."""

    active: Slot
    waived: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class Skip:
    """The plan to do nothing, since nothing has to be done."""

    reason: Reason


@dataclass(frozen=True)
class Refuse:
    """The plan to do nothing, until somebody has mended the problems; others were waived."""

    problems: tuple[Reason, ...]
    waived: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class Wait:
    """The plan to look again soon: the problems may pass by themselves.

    `unhealthy` are why the active Deployments are not ready, by workload; `code` is of the first.
    """

    unhealthy: dict[str, str]
    code: Code


@dataclass(frozen=True)
class Unhealthy:
    """A workload whose active Deployment is not ready, and why."""

    workload: str
    slot: Slot
    serving: Deployment
    why: str
    code: Code

    def text(self, why: str) -> str:
        at = f"{self.serving.kind} {self.serving.name}"
        return f"workload {self.workload}: its active {at} is not healthy: {why}"

    @property
    def reason(self) -> Reason:
        return told(self.code, self.text(self.why), _thing(self.serving))


# Key Vault announces at 30 days; its clock and ours, and the time of a delivery, may differ.
EVENT_SLACK = timedelta(days=1)

Plan = Rotate | Skip | Refuse | Wait


def plan(
    world: Snapshot,
    request: Request,
    now: datetime,
    rotate_before: timedelta,
    waive: Collection[str] = (),
) -> Plan:
    """The plan for a request: rotate, skip, refuse with all problems, or wait.

    What is not due is skipped even if there are problems, unless there is no active slot. `waive`
    are codes whose problems do not count; whoever names one that cannot be waived has no effect.
    """
    active = active_slot(world)
    if active is None:
        return Refuse(tuple(_slots_disagree(world)))
    not_due = _not_due(world, request, active, now, rotate_before)
    if not_due is not None:
        return Skip(not_due)
    problems, waived = apart(_problems(world, active), waive)
    if problems:
        return Refuse(problems, waived)
    waiting = tuple(unhealthy(world, active))
    passing = [one for one in waiting if one.code not in _effective(waive)]
    if passing:
        return Wait({one.workload: one.why for one in passing}, passing[0].code)
    return Rotate(active, waived + tuple(one.reason for one in waiting))


def apart(
    problems: Iterable[Reason], waive: Collection[str]
) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """The problems that stand, and those that are waived."""
    listed, effective = tuple(problems), _effective(waive)
    waived = tuple(problem for problem in listed if problem.code in effective)
    return tuple(problem for problem in listed if problem.code not in effective), waived


def _effective(waive: Collection[str]) -> set[str]:
    """The codes that count as waived, of those that are named.

    Who may waive is looked at where a rotation is asked for. What nobody may is looked at here, so
    that it holds against whoever can write into the task hub, too.
    """
    return set(waive) & set(WAIVABLE)


def active_slot(world: Snapshot) -> Slot | None:
    """The slot that all traffic of every workload goes to, and whose login each Secret of one in
    place holds, if they agree on one."""
    selected = {slot for workload in world.workloads for slot in workload.selected}
    for slot in SLOTS:
        if selected == {slot}:
            return slot
    return None


def serving(world: Snapshot) -> set[Slot]:
    """The slots that any traffic goes to, or whose login a Secret in place holds: both where the
    workloads disagree."""
    return {
        slot
        for workload in world.workloads
        for slot in SLOTS
        if slot in workload.selected
        or any(route.share(slot) for route in workload.productions.values() if route)
    }


def _slots_disagree(world: Snapshot) -> Iterator[Reason]:
    """Why there is no active slot, with what each workload's Service selects."""
    yield told(
        Code.SLOTS_DISAGREE,
        "the workloads do not agree on the active slot; point every production Service's "
        "selector at the slot that is to serve",
        Thing("credential", world.credential),
    )
    for workload in world.workloads:
        for problem in chain(in_place.named(workload), _pointing(workload)):
            yield problem.of(f"workload {workload.name}")


def _pointing(workload: WorkloadState) -> Iterator[Problem]:
    """Where the traffic of a workload goes, or why that is nowhere."""
    for name, route in workload.productions.items():
        thing = Thing.at(workload.kind, name, label=workload.names.label)
        if route is None:
            service = workload.kind == "Service"
            code = Code.SERVICE_MISSING if service else Code.ROUTE_MISSING
            yield Problem(code, f"its {workload.kind} {name} does not exist", thing)
        else:
            yield Problem(Code.SLOTS_DISAGREE, f"{workload.kind} {name} {route.goes}", thing)
            yield from _unmovable(workload.kind, name, route)


def _not_due(
    world: Snapshot, request: Request, active: Slot, now: datetime, rotate_before: timedelta
) -> Reason | None:
    """Why the request calls for no rotation now, or None if it does. A person's always does."""
    current = world.slots[active].secret
    match request.origin:
        case Origin.MANUAL:
            return None
        case Origin.SWEEP:
            return not_soon(current, now, rotate_before)
        case Origin.NEAR_EXPIRY | Origin.EXPIRED:
            # Whoever can send events chooses what they say: what counts is what the vault says.
            stale = _stale_event(world, request, active)
            return stale or not_soon(current, now, rotate_before + EVENT_SLACK)
        case _:
            assert_never(request.origin)


def not_soon(current: SecretVersion | None, now: datetime, before: timedelta) -> Reason | None:
    """Why the version does not expire soon; None if it does, or if there is no version."""
    if current is None:
        return None
    if current.expires is None:
        text = f"secret {current.secret} has no expiry date: nothing makes it due"
        return reason(Code.NO_EXPIRY, text)
    if current.expires > now + before:
        due = current.expires - before
        return reason(Code.NOT_DUE, f"secret {current.secret} is not due before {due:%F}")
    return None


def _stale_event(world: Snapshot, request: Request, active: Slot) -> Reason | None:
    """Why an event is not about the active slot's current version, or None if it is."""
    current, standby = world.slots[active].secret, world.slots[other(active)].secret
    if standby and _same_secret(standby.secret, request.secret):
        return reason(
            Code.STANDBY_EVENT,
            f"the event is about the standby slot's secret {standby.secret}: nothing serves on it",
        )
    if current and not _same_secret(current.secret, request.secret):
        text = f"the event is about secret {request.secret}, not about {current.secret}"
        return reason(Code.FOREIGN_EVENT, text)
    if current and current.version != request.version:
        return reason(
            Code.STALE_EVENT,
            f"the event is about version {request.version} of secret {current.secret}, "
            f"which is no longer current: {current.version} is",
        )
    return None


def _same_secret(name: str, given: str | None) -> bool:
    """Whether the given name is the secret's; Key Vault's names ignore case."""
    return given is not None and name.lower() == given.lower()


def _problems(world: Snapshot, active: Slot) -> Iterator[Reason]:
    """Everything that forbids a rotation until somebody mends it."""
    yield from _slot_problems(world, active)
    for workload in world.workloads:
        if workload.in_place is not None:
            obstacles: tuple[Iterable[Problem], ...] = (in_place.problems(workload, active),)
        elif workload.cron_jobs:
            obstacles = (cron_jobs.problems(workload, active),)
        else:
            obstacles = (
                _workload_problems(workload, active),
                _called(workload),
                _shared(workload),
                refusals(workload, world.workloads),
            )
        for problem in chain(*obstacles):
            yield problem.of(f"workload {workload.name}")


def secret_of(state: SlotState) -> Thing:
    """A slot's secret, with the version that it has now."""
    version = state.secret.version if state.secret else ""
    name = state.secret.secret if state.secret else state.names.secret
    more = {"vault": state.names.vault, "version": version}
    return Thing("secret", name, more={key: value for key, value in more.items() if value})


def role_of(state: SlotState) -> Thing:
    """A slot's role, on its server."""
    name = state.role.name if state.role else state.names.role
    return Thing("role", name, more=state.names.server)


def _slot_problems(world: Snapshot, active: Slot) -> Iterator[Reason]:
    """The problems of the slots' secrets and roles."""
    serving = world.slots[active]
    if serving.secret is None:
        text = f"the {active} slot serves and its secret does not exist"
        yield told(Code.SECRET_MISSING, text, secret_of(serving))
    elif not serving.secret.enabled:
        yield told(
            Code.VERSION_DISABLED,
            f"the {active} slot serves and the current version of its secret "
            f"{serving.secret.secret} is disabled; enable it first",
            secret_of(serving),
        )
    if serving.role is not None and not serving.role.login:
        text = f"the {active} slot serves and its role {serving.role.name} has NOLOGIN"
        yield told(Code.ROLE_NOLOGIN, text, role_of(serving))
    for slot in SLOTS:
        if world.slots[slot].role is None:
            text = f"the {slot} slot's role does not exist in the database; create it first"
            yield told(Code.ROLE_MISSING, text, role_of(world.slots[slot]))


def _workload_problems(workload: WorkloadState, active: Slot) -> Iterator[Problem]:
    """The problems of a workload's Services and Deployments."""
    if workload.preview is None and workload.kind == "Service" and not workload.uncalled:
        thing = Thing.at("Service", workload.names.preview)
        yield Problem(Code.SERVICE_MISSING, "its preview Service does not exist", thing)
    for slot in SLOTS:
        if workload.deployments[slot] is None:
            text = f"its {slot} Deployment does not exist"
            thing = Thing.at("Deployment", workload.names.slots.get(slot, slot))
            yield _made_otherwise(workload, slot, Problem(Code.DEPLOYMENT_MISSING, text, thing))
    serving, standby = workload.deployments[active], workload.deployments[other(active)]
    if serving is None or standby is None:
        return
    at_work, aside = _thing(serving), _thing(standby)
    drift = workload.drift
    lone = (set(serving.images) ^ set(standby.images)) - drift.own
    # Images go by the names of containers: what a sync brings under another one gets none.
    if lone & drift.named if drift.policy == "sync" else lone:
        text = (
            f"Deployments {serving.name} and {standby.name} do not have the same containers: "
            f"{_container_names(serving)} and {_container_names(standby)}"
        )
        yield Problem(Code.CONTAINERS_DIFFER, text, aside)
    paths = beyond_containers(drift.paths)
    if paths and drift.policy == "refuse":
        yield Problem(Code.TEMPLATES_DIFFER, _drifted(serving, standby, paths), aside)
    if serving.replicas == 0:
        text = f"its active Deployment {serving.name} is scaled to zero"
        yield _made_otherwise(workload, active, Problem(Code.ACTIVE_AT_ZERO, text, at_work))
    if standby.paused:
        text = f"its standby Deployment {standby.name} is paused: it would start no new pods"
        yield Problem(Code.DEPLOYMENT_PAUSED, text, aside)


def _thing(deployment: Deployment) -> Thing:
    return Thing(deployment.kind, deployment.name, deployment.namespace)


def _made_otherwise(workload: WorkloadState, slot: Slot, problem: Problem) -> Problem:
    """The problem of a Deployment without pods, with what makes those of the slot instead.

    A kind that cannot be scaled has a code of its own, which says what to do.
    """
    makers = workload.makers.get(slot, ())
    if not makers:
        return problem
    text = f"{problem.text}; the pods that its Service finds with {slot} are of {named(makers)}"
    code = Code.OTHER_KIND if unscaled(makers) else problem.code
    return problem._replace(code=code, text=text)


def _called(workload: WorkloadState) -> Iterator[Problem]:
    """The Services through which clients may call pods that are to end at the swap."""
    for name, route in workload.productions.items() if workload.stops else ():
        if route is not None and not route.headless:
            text = f"its Service {name} is not headless and without ports"
            text = f"{text}: clients may call the pods that end at the swap"
            yield Problem(Code.SERVICE_CALLED, text, Thing.at("Service", name))


def _shared(workload: WorkloadState) -> Iterator[Problem]:
    """Why the weights of the workload's HTTPRoutes cannot be moved, or would have no effect."""
    for slot, route in workload.backends.items():
        if route is None:
            thing = Thing.at("Service", workload.names.backends.get(slot, slot))
            text = f"the {slot} slot's own Service does not exist"
            yield Problem(Code.SERVICE_MISSING, text, thing)
    for name, route in workload.productions.items():
        if route is not None:
            yield from _unmovable(workload.kind, name, route)


def _unmovable(kind: str, name: str, route: Route) -> Iterator[Problem]:
    thing = Thing.at(kind, name)
    for lack in route.lacks:
        yield Problem(Code.ROUTE_BACKENDS, f"{kind} {name}: {lack}", thing)
    if route.refused:
        yield Problem(Code.ROUTE_REFUSED, f"{kind} {name}: {route.pending}", thing)


def _drifted(serving: Deployment, standby: Deployment, paths: tuple[str, ...]) -> str:
    at = f"Deployments {serving.name} and {standby.name}"
    return f"the pod templates of {at} differ at {listed(paths)}"


def problems(world: Snapshot, active: Slot | None) -> Iterator[Reason]:
    """Everything that a plan would refuse now, whatever is waived and whether or not it is due."""
    return _slots_disagree(world) if active is None else _problems(world, active)


def doubts(world: Snapshot, active: Slot) -> Iterator[Reason]:
    """What stands in no rotation's way and should be known: of pod templates that differ where the
    owner is told of it only, and of Deployments that give less than they could."""
    for workload in world.workloads:
        for doubt in _workload_doubts(workload, active):
            yield doubt.of(f"workload {workload.name}")


def _workload_doubts(workload: WorkloadState, active: Slot) -> Iterator[Problem]:
    serving, standby = workload.deployments[active], workload.deployments[other(active)]
    paths = beyond_containers(workload.drift.paths)
    if serving and standby and paths and workload.drift.policy == "warn":
        yield Problem(Code.TEMPLATES_DIFFER, _drifted(serving, standby, paths), _thing(standby))
    if serving and serving.paused:
        text = f"its active {serving.kind} {serving.name} is paused"
        yield Problem(Code.ACTIVE_PAUSED, text, _thing(serving))
    for slot in SLOTS:
        deployment = workload.deployments[slot]
        if deployment is None or deployment.template is None:
            continue
        if not has_probe(deployment.template.document):
            text = f"no container of {deployment.kind} {deployment.name} has a readiness probe"
            yield Problem(Code.NO_PROBE, text, _thing(deployment))
        reloads = workload.in_place is not None and workload.in_place.then == "reload"
        at_once = 0 if deployment.kind == "Deployment" else 1
        strategy = deployment.template.strategy
        if not reloads and takes_all_down(strategy, deployment.replicas, at_once):
            text = (
                f"{deployment.kind} {deployment.name} ends all its pods before new ones are ready"
            )
            yield Problem(Code.TAKES_ALL_DOWN, text, _thing(deployment))


def unhealthy(world: Snapshot, active: Slot) -> Iterator[Unhealthy]:
    """The workloads whose active Deployment is not ready, for which a plan waits.

    A deployment under way, a node being drained: it may be over in a minute.
    """
    for workload in world.workloads:
        serving = workload.deployments[active]
        waiting = unready(serving) if serving else None
        if serving and waiting:
            # Without any pod that is ready there is nothing to go back to.
            code = Code.ACTIVE_UNHEALTHY if serving.ready else Code.ACTIVE_DOWN
            yield Unhealthy(workload.name, active, serving, waiting, code)


def _container_names(deployment: Deployment) -> str:
    """The names of a Deployment's containers, in one text."""
    return ", ".join(sorted(deployment.images))
