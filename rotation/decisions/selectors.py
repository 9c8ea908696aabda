"""Whether selectors tell the pods of one slot from those of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.model.commands import Problem, Thing
from rotation.model.reasons import Code
from rotation.model.world import SLOTS, other

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rotation.model.world import Deployment, Requirement, Route, Selector, WorkloadState

OPERATORS = {"In", "NotIn", "Exists", "DoesNotExist"}


def matches(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether pods with these labels meet every requirement of the selector."""
    return all(_holds(requirement, labels) for requirement in selector.requirements)


def _holds(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    """Whether labels meet one requirement, as Kubernetes decides it."""
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    raise ValueError(f"the operator {requirement.operator} is none that can be decided")


def overlapping(workload: WorkloadState) -> Iterator[Problem]:
    """Each Deployment of the workload that selects the other slot's pods."""
    for slot in SLOTS:
        own, foreign = workload.deployments[slot], workload.deployments[other(slot)]
        if own is None or foreign is None or own.selector is None or foreign.labels is None:
            continue
        if matches(own.selector, foreign.labels):
            text = f"Deployment {own.name} selects pods like those of {foreign.name} too"
            thing = Thing(own.kind, own.name, own.namespace)
            yield Problem(Code.SELECTORS_OVERLAP, text, thing)


def astray(workload: WorkloadState, all_of_them: tuple[WorkloadState, ...]) -> Iterator[Problem]:
    """Each way in which a Service of the workload selects other pods than a slot's."""
    for what, at, route in _routes(workload):
        thing = Thing.at("Service", at)
        if route is None or route.weights is not None:
            continue
        for slot in SLOTS:
            own = workload.deployments[slot]
            if own is None:
                continue
            if not _selects(route, slot, own, otherwise=True):
                text = f"with {slot}, {what} would select no pod of Deployment {own.name}"
                yield Problem(Code.SERVICE_PODS, text, thing)
            for foreign in _others(own, workload, all_of_them):
                if _selects(route, slot, foreign, otherwise=False):
                    text = f"with {slot}, {what} would select the pods of {foreign.name} as well"
                    yield Problem(Code.SERVICE_PODS, text, thing)


def astray_backends(
    workload: WorkloadState, all_of_them: tuple[WorkloadState, ...]
) -> Iterator[Problem]:
    """Each way in which a slot's own Service selects other pods than the slot's."""
    for slot, route in workload.backends.items():
        own = workload.deployments[slot]
        if route is None or own is None:
            continue
        what = f"the {slot} slot's own Service"
        thing = Thing.at("Service", workload.names.backends.get(slot, slot))
        if not _finds(route.selects, own, otherwise=True):
            text = f"{what} selects no pod of Deployment {own.name}"
            yield Problem(Code.SERVICE_PODS, text, thing)
        for foreign in _others(own, workload, all_of_them):
            if _finds(route.selects, foreign, otherwise=False):
                text = f"{what} selects the pods of {foreign.name} as well"
                yield Problem(Code.SERVICE_PODS, text, thing)


def _routes(workload: WorkloadState) -> Iterator[tuple[str, str, Route | None]]:
    """The Services whose selectors have a slot: in words, by namespace and name, and as seen."""
    yield "its Service", workload.at, workload.production
    for name, route in workload.further.items():
        yield f"its Service {name}", name, route
    yield "its preview", workload.names.preview, workload.preview


def _selects(route: Route, slot: str, deployment: Deployment, *, otherwise: bool) -> bool:
    """Whether a Service with the slot selects the Deployment's pods; `otherwise` if not known."""
    return _finds(route.selector(slot), deployment, otherwise=otherwise)


def _finds(selector: dict[str, str] | None, deployment: Deployment, *, otherwise: bool) -> bool:
    if selector is None or deployment.labels is None:
        return otherwise
    return selector.items() <= deployment.labels.items()


def _others(
    own: Deployment, workload: WorkloadState, all_of_them: tuple[WorkloadState, ...]
) -> Iterator[Deployment]:
    """The other Deployments that are known of the same namespace."""
    for each in all_of_them:
        if each.cluster == workload.cluster:
            for deployment in each.deployments.values():
                if (
                    deployment
                    and deployment.namespace == own.namespace
                    and deployment.name != own.name
                ):
                    yield deployment


def refusals(workload: WorkloadState, all_of_them: tuple[WorkloadState, ...]) -> Iterator[Problem]:
    """The problems of a workload's selectors."""
    yield from overlapping(workload)
    yield from astray(workload, all_of_them)
    yield from astray_backends(workload, all_of_them)
