"""Traffic that HTTPRoutes share between a workload's slots: what a swap of it looks at besides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.decisions.rollout import named
from rotation.model.commands import Thing, told
from rotation.model.errors import Conflict, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import RouteTarget
from rotation.model.words import few
from rotation.model.world import other

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rotation.config import Workload
    from rotation.contracts.edges import Readers
    from rotation.contracts.traffic import TrafficReader
    from rotation.model.reasons import Reason
    from rotation.model.targets import ServiceTarget, TrafficTarget
    from rotation.model.world import Route, Slot
    from rotation.steps.running import Step


def ensure_taken(step: Step) -> None:
    """Raises `Unavailable` until each Gateway has taken the workload's HTTPRoutes as they are: what
    they have not taken moves no request, and pods that it leads to are needed."""
    for target in step.workload.productions:
        if isinstance(target, RouteTarget):
            route = step.traffic.route(target)
            if route is not None and route.pending:
                raise Unavailable(Code.ROUTE_PENDING, f"HTTPRoute {target}: {route.pending}")


def refuse_release(step: Step, routes: Mapping[TrafficTarget, Route | None]) -> None:
    """Raises `Conflict` if others have deployed to the slot that traffic is leaving while both
    served: neither may be changed any more, and to go on would undo the release."""
    if not any(isinstance(target, RouteTarget) for target in routes):
        return  # cut off between two Services: the record says what was left behind
    leaving = other(step.slot)
    own = step.pods.deployment(step.deployment)
    others = step.pods.deployment(step.workload.deployment(leaving))
    if own is None or others is None:
        return
    both = own.images.keys() & others.images.keys()
    had, has = ({name: one.images[name] for name in both} for one in (own, others))
    if had != has:
        text = f"{leaving} was given {named(has, had)} while requests were shared with {step.slot}"
        raise Conflict(Code.RELEASED_MEANWHILE, text)


def selectors(
    step: Step, routes: Mapping[TrafficTarget, Route | None]
) -> dict[ServiceTarget, dict[str, str] | None]:
    """By Service, the labels that pods must have once traffic goes to the slot; None where that is
    not known."""
    if step.workload.route is not None:
        target = step.workload.backends[step.slot]
        own = step.traffic.route(target)
        return {target: own.selects if own else None}
    return {
        target: route.selector(step.slot) if route else None
        for target, route in routes.items()
        if not isinstance(target, RouteTarget)
    }


def selector(traffic: TrafficReader, workload: Workload, slot: Slot) -> dict[str, str] | None:
    """The labels of the pods to which the slot's traffic goes; None where that is not known."""
    if workload.route is not None:
        own = traffic.route(workload.backends[slot])
        return own.selects if own else None
    route = traffic.route(workload.production)
    return route.selector(slot) if route else None


def others(edges: Readers, workload: Workload) -> list[str]:
    """The HTTPRoutes of the workload's namespace that send requests to its slots' own Services, and
    that the file does not name. Of other namespaces and kinds of routes nothing is known."""
    if workload.route is None:
        return []
    own = {target.name for target in workload.productions} | set(workload.route.others)
    services = {target.name for target in workload.backends.values()}
    seen = edges.traffic(workload.cluster).http_routes(workload.namespace)
    return sorted(each.name for each in seen if each.services & services and each.name not in own)


def problems(edges: Readers, workload: Workload) -> Iterator[Reason]:
    """A reason for HTTPRoutes that nobody named, if there are some."""
    found = others(edges, workload)
    if found:
        text = f"workload {workload.name}: requests go to its slots' own Services by HTTPRoute"
        thing = Thing("HTTPRoute", few(found), workload.namespace)
        yield told(Code.OTHER_ROUTE, f"{text} {few(found)}, which the file does not name", thing)
