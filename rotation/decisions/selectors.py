"""Whether selectors tell the pods of one slot from those of the other."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

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


def overlapping(workload: WorkloadState) -> Iterator[str]:
    """Each Deployment of the workload that selects the other slot's pods, in words."""
    for slot in SLOTS:
        own, foreign = workload.deployments[slot], workload.deployments[other(slot)]
        if own is None or foreign is None or own.selector is None or foreign.labels is None:
            continue
        if matches(own.selector, foreign.labels):
            yield f"Deployment {own.name} selects pods like those of {foreign.name} too"


def astray(workload: WorkloadState, all_of_them: tuple[WorkloadState, ...]) -> Iterator[str]:
    """Each way in which a Service of the workload selects other pods than a slot's, in words."""
    further = {f"its Service {name}": route for name, route in workload.further.items()}
    routes = {"its Service": workload.production, **further, "its preview": workload.preview}
    for what, route in routes.items():
        if route is None or route.weights is not None:
            continue
        for slot in SLOTS:
            own = workload.deployments[slot]
            if own is None:
                continue
            if not _selects(route, slot, own, otherwise=True):
                yield f"with {slot}, {what} would select no pod of Deployment {own.name}"
            for foreign in _others(own, workload, all_of_them):
                if _selects(route, slot, foreign, otherwise=False):
                    yield f"with {slot}, {what} would select the pods of {foreign.name} as well"


def astray_backends(
    workload: WorkloadState, all_of_them: tuple[WorkloadState, ...]
) -> Iterator[str]:
    """Each way in which a slot's own Service selects other pods than the slot's, in words."""
    for slot, route in workload.backends.items():
        own = workload.deployments[slot]
        if route is None or own is None:
            continue
        what = f"the {slot} slot's own Service"
        if not _finds(route.selects, own, otherwise=True):
            yield f"{what} selects no pod of Deployment {own.name}"
        for foreign in _others(own, workload, all_of_them):
            if _finds(route.selects, foreign, otherwise=False):
                yield f"{what} selects the pods of {foreign.name} as well"


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


def refusals(
    workload: WorkloadState, all_of_them: tuple[WorkloadState, ...]
) -> Iterator[tuple[Code, str]]:
    """The problems of a workload's selectors, each a code and a text."""
    for text in overlapping(workload):
        yield Code.SELECTORS_OVERLAP, text
    for text in chain(astray(workload, all_of_them), astray_backends(workload, all_of_them)):
        yield Code.SERVICE_PODS, text
