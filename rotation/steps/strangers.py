"""Looks for Services and EndpointSlices that lead to a slot's pods, and that nobody named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.decisions import ownership, reaching
from rotation.model.commands import Problem, Thing
from rotation.model.errors import Conflict
from rotation.model.reasons import Code
from rotation.model.words import few
from rotation.model.world import SLOTS
from rotation.steps import shared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.config import Credential, Workload
    from rotation.contracts.edges import Readers
    from rotation.decisions.reaching import Stranger
    from rotation.model.reasons import Reason
    from rotation.model.world import Pod, Routing, Slot


def problems(edges: Readers, credential: Credential) -> Iterator[Reason]:
    """The reasons that forbid a rotation: Services and EndpointSlices, by their names, that lead to
    a slot's pods and that the file does not name. Raises what the edges raise.

    Each step that takes pods away will look again, and list pods: a right to that which is missing
    is found here, before anything has changed.
    """
    seen: dict[tuple[str, str], Routing] = {}  # once for all that are in one namespace
    for workload in credential.workloads:
        if workload.in_place:
            continue  # nothing of it is scaled or moved
        if workload.cron_jobs:
            continue  # nothing is led to pods of Jobs: the plan has looked at what the switch finds
        at = (workload.cluster, workload.namespace)
        if at not in seen:
            seen[at] = _routing(edges, workload)
        strangers: set[Stranger] = set()
        known: set[str] = set()
        for slot in SLOTS:
            leading, pods = _leading_to(edges, workload, slot, seen[at])
            strangers |= leading
            known |= {pod.name for pod in pods}
        if not reaching.behind(seen[at], _own(workload)) <= known:
            yield from _of_another_kind(edges, workload)
        for code, names in reaching.named(strangers):
            text = f"pods of a slot are found by {names}, which the file does not name"
            yield _problem(workload, code, text, strangers)
        yield from shared.problems(edges, workload)


def refuse(edges: Readers, workload: Workload, slot: Slot) -> None:
    """Raises `Conflict`, with the names, if Services or EndpointSlices lead to the slot's pods that
    the file does not name."""
    if not workload.deployments:
        return
    routes = shared.others(edges, workload)
    if routes:
        text = f"requests go to slots of {workload.name} by HTTPRoute {few(routes)}"
        raise Conflict(Code.OTHER_ROUTE, f"{text}, which the file does not name")
    leading, _ = _leading_to(edges, workload, slot, None)
    for code, names in reaching.named(leading):
        text = f"pods of Deployment {workload.deployment(slot)} are found by {names}, which"
        raise Conflict(code, f"{text} the file does not name: what may serve is not scaled down")


def _problem(workload: Workload, code: Code, text: str, strangers: set[Stranger]) -> Reason:
    kind = "Service" if code is Code.OTHER_SERVICE else "EndpointSlice"
    found = few(sorted(one.name for one in strangers if one.kind == kind))
    return Problem(code, text, Thing(kind, found, workload.namespace)).of(_whose(workload))


def _whose(workload: Workload) -> str:
    return f"workload {workload.name}"


def _routing(edges: Readers, workload: Workload) -> Routing:
    """All that leads traffic to pods of the workload's namespace."""
    return edges.traffic(workload.cluster).routing(workload.namespace)


def _of_another_kind(edges: Readers, workload: Workload) -> Iterator[Reason]:
    """A reason for each slot in which the workload's Service finds pods too that a rotation cannot
    start and stop, by what makes them."""
    for slot in SLOTS:
        selector = shared.selector(edges.traffic(workload.cluster), workload, slot)
        if not selector:
            continue
        makers = edges.pods(workload.cluster).makers(workload.namespace, selector)
        foreign = ownership.unscaled(makers)
        if foreign:
            text = f"its Service finds pods with {slot} that are of {ownership.named(foreign)}"
            beside = f"besides those of Deployment {workload.deployments[slot]}"
            thing = Thing.at(workload.production.kind, str(workload.production))
            yield Problem(Code.OTHER_KIND, f"{text}, {beside}", thing).of(_whose(workload))


def _own(workload: Workload) -> set[str]:
    """The names of the workload's own Services."""
    return {target.name for target in workload.own_services}


def _leading_to(
    edges: Readers, workload: Workload, slot: Slot, routing: Routing | None
) -> tuple[set[Stranger], list[Pod]]:
    """The Services and EndpointSlices that lead to the slot's pods and that the file does not name,
    now, or in what was seen of the namespace; and those pods. None leads to a Deployment that is
    gone."""
    target, pods = workload.deployment(slot), edges.pods(workload.cluster)
    deployment = pods.deployment(target)
    if deployment is None:
        return set(), []
    listed = pods.listed(target)
    routing = routing or _routing(edges, workload)
    labels, own = deployment.labels or {}, _own(workload)
    return reaching.strangers(routing, own, workload.other_services, labels, listed), listed
