"""HTTPRoutes of the Gateway API that lead to a workload's Service, and what shares their requests
between its slots (docs/consumers.md, Gateway API)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from rotctl.adopt.original import called, name_of
from rotctl.adopt.plan import SLOTS
from rotctl.adopt.refusal import GUIDE, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotctl.adopt.original import Object, Original
    from rotctl.adopt.plan import Workload

KIND = "HTTPRoute"
WHOLE = 100


def leading(original: Original, services: tuple[str, ...]) -> list[Object]:
    """The HTTPRoutes of the namespace that send requests to one of these Services."""
    return [
        one
        for one in original.of(KIND)
        if any(_is(back, service) for _, _, back in _backends(one) for service in services)
    ]


def backends(route: Object) -> list[str]:
    """The Services that it names, each once."""
    return list(dict.fromkeys(str(back["name"]) for _, _, back in _backends(route)))


def _backends(route: Object) -> Iterator[tuple[int, int, Object]]:
    """The place of each in its rule, and of the rule."""
    for number, rule in enumerate((route.get("spec") or {}).get("rules") or []):
        for at, back in enumerate(rule.get("backendRefs") or []):
            yield number, at, back


def _is(reference: Object, service: str) -> bool:
    """https://gateway-api.sigs.k8s.io/reference/spec/#backendref"""
    core = not reference.get("group") and reference.get("kind", "Service") == "Service"
    return bool(core and reference["name"] == service)


def shared(route: Object, workload: Workload) -> list[Object]:
    """A JSON patch: in each rule, both slots' Services in the place of the one that both are behind
    today. All of its share is blue's. It holds for the rules as they were read, and no others."""
    changes: list[Object] = []
    for number, rule in enumerate(route["spec"]["rules"]):
        before = rule.get("backendRefs") or []
        if any(_is(one, workload.service) for one in before):
            changes += _replaced(number, before, _both(before, workload))
    return changes


def unshared(route: Object, workload: Workload) -> list[Object]:
    """The way back."""
    changes: list[Object] = []
    for number, rule in enumerate(route["spec"]["rules"]):
        before = rule.get("backendRefs") or []
        if any(_is(one, workload.service) for one in before):
            changes += _replaced(number, _both(before, workload), before)
    return changes


def _both(before: list[Object], workload: Workload) -> list[Object]:
    made = []
    for one in before:
        if not _is(one, workload.service):
            made.append(one)
            continue
        # Beside others it keeps its share of theirs; alone any number is all of it.
        weight = one.get("weight", 1) if len(before) > 1 else WHOLE
        for slot, share in zip(SLOTS, (weight, 0), strict=True):
            made.append({**copy.deepcopy(one), "name": workload.backend(slot), "weight": share})
    return made


def _replaced(number: int, before: list[Object], after: list[Object]) -> list[Object]:
    path = f"/spec/rules/{number}/backendRefs"
    asked: list[Any] = [
        {"op": "test", "path": f"{path}/{at}/name", "value": one["name"]}
        for at, one in enumerate(before)
    ]
    return [*asked, {"op": "replace", "path": path, "value": after}]


def told(workload: Workload) -> Iterator[str]:
    original = workload.original
    if workload.routes:
        yield (
            f"Service {workload.service} stays, and finds both slots' pods. Whoever comes by it in"
            " another way than by these HTTPRoutes (an Ingress, a GRPCRoute, callers in the"
            " cluster, HTTPRoutes of other namespaces) reaches either slot: let them use the"
            " Gateway, and take it away."
        )
        return
    moving = (workload.service, *workload.services) if workload.called else ()
    for one in leading(original, moving):
        yield (
            f"{called(one)} sends requests to a Service that moves, and goes on as it is. To have"
            f" rotations move its weights instead: --route {name_of(one)} (docs/consumers.md,"
            " Gateway API)."
        )
    for one in leading(original, workload.others):
        yield f"{called(one)} sends requests to a Service that keeps both slots, and so to either."


def refused(workload: Workload) -> Iterator[Refusal]:
    """What cannot be adopted by weights."""
    original = workload.original
    if not workload.routes:
        return
    for slot in SLOTS:
        there = original.one("Service", workload.backend(slot))
        if there is not None:
            yield Refusal(
                called(there),
                f"it is there already, and the {slot} slot's own would be called so",
                "go on with the folder that it came from, or give it another name first",
            )
    for one in leading(original, (workload.service,)):
        if name_of(one) not in workload.routes:
            yield Refusal(
                called(one),
                f"it sends requests to Service {workload.service} too, which leads to both slots",
                f"let it move with the others: add --route {name_of(one)}",
            )
    for one in original.of(KIND):
        if workload.service in _mirrored(one):
            yield Refusal(
                called(one),
                f"it mirrors requests to Service {workload.service}",
                f"take the mirror away first ({GUIDE}, Gateway API)",
            )


def _mirrored(route: Object) -> list[str]:
    rules = (route.get("spec") or {}).get("rules") or []
    filters = [one for rule in rules for one in rule.get("filters") or []]
    filters += [one for _, _, back in _backends(route) for one in back.get("filters") or []]
    mirrors = [(one.get("requestMirror") or {}).get("backendRef") or {} for one in filters]
    return [str(one["name"]) for one in mirrors if one]
