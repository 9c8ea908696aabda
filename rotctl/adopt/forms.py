"""What Git has once rotations run, in the form in which the team keeps it."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from rotctl.adopt import login, patching, shipped, telling, twin
from rotctl.adopt.cleaning import cleaned
from rotctl.adopt.original import name_of
from rotctl.adopt.plan import SLOTS
from rotctl.adopt.writing import dumped, manifests

if TYPE_CHECKING:
    from rotctl.adopt.original import Object
    from rotctl.adopt.plan import Plan, Workload

FOLDER = "git"
HAND_OVER = "kubernetes/gitops/hand-over.sh"
MARK = "credential-rotation-twin"  # an annotation that no object keeps


def files(plan: Plan) -> dict[str, str]:
    """Each file's text by its path: the manifests without what rotations own, in the plan's form;
    and what hands these fields over."""
    made = {
        "manifests": _manifests,
        "kustomize": _kustomize,
        "helm": _helm,
    }[plan.form](plan)
    made["hand-over.sh"] = shipped.text(HAND_OVER)
    return {f"{FOLDER}/{name}": text for name, text in made.items()}


def objects(workload: Workload, plan: Plan) -> list[Object]:
    """All objects of a workload that Git has then."""
    slots = [one for slot in SLOTS for one in twin.slot(workload, plan.credential, slot)]
    return twin.of_git([*slots, *twin.traffic(workload), *twin.moving(workload)])


def _manifests(plan: Plan) -> dict[str, str]:
    return {f"{one.name}.yaml": manifests(objects(one, plan)) for one in plan.workloads}


# -- Kustomize


def _kustomize(plan: Plan) -> dict[str, str]:
    """An overlay: the base twice, once for each slot, and what is new. A release changes the base,
    and with it both slots by one commit."""
    base = plan.base if posixpath.isabs(plan.base) else posixpath.join("..", plan.base)
    made = {f"{slot}/kustomization.yaml": dumped(_overlay(plan, slot, base)) for slot in SLOTS}
    new = [one for workload in plan.workloads for one in _new(workload, plan)]
    resources = [*SLOTS, "own.yaml"]
    return {
        **made,
        "own.yaml": manifests(new),
        "kustomization.yaml": dumped(_kustomization(resources=resources)),
    }


def _new(workload: Workload, plan: Plan) -> list[Object]:
    """What the base has nothing of."""
    moving = {(one["kind"], name_of(one)) for one in twin.moving(workload)}
    return [
        one
        for one in objects(workload, plan)
        if one["kind"] != workload.original.kind and (one["kind"], name_of(one)) not in moving
    ]


def _kustomization(**parts: Any) -> Object:
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **parts}


def _overlay(plan: Plan, slot: str, base: str) -> Object:
    patches = [each for one in plan.workloads for each in _slot(one, plan, slot)]
    if slot == SLOTS[0]:
        patches += [each for one in plan.workloads for each in _replaced(one)]
    else:
        # All but the workloads is there already, from the other slot's half.
        marks = [_marked(one, MARK) for one in plan.workloads]
        unmarks = [_marked(one, None, slot) for one in plan.workloads]
        rest = {
            "target": {"annotationSelector": f"!{MARK}"},
            "patch": dumped(_deleted("All", "all")),
        }
        patches = [*marks, rest, *patches, *unmarks]
    return _kustomization(resources=[base], patches=patches)


def _slot(workload: Workload, plan: Plan, slot: str) -> list[Object]:
    """Makes the slot's of the base's, under a name of its own."""
    (wanted,) = twin.of_git([twin.running(workload, plan.credential, slot)])
    before = cleaned(workload.original.workload)
    change = patching.patch(before, wanted)
    change.pop("metadata", None)
    labels = wanted["metadata"].get("labels")
    metadata = {"name": workload.name, **({"labels": labels} if labels else {})}
    kind = {"apiVersion": wanted["apiVersion"], "kind": wanted["kind"]}
    rename = [{"op": "replace", "path": "/metadata/name", "value": workload.at(slot)}]
    return [
        {"target": _target(workload), "patch": dumped({**kind, "metadata": metadata, **change})},
        {
            "target": _target(workload),
            "patch": dumped(rename),
            "options": {"allowNameChange": True},
        },
    ]


def _target(workload: Workload, slot: str = "") -> Object:
    name = workload.at(slot) if slot else workload.name
    return {"kind": workload.original.kind, "name": name}


def _marked(workload: Workload, mark: str | None, slot: str = "") -> Object:
    kind = workload.original.workload
    metadata = {"name": _target(workload, slot)["name"], "annotations": {MARK: mark}}
    change = {"apiVersion": kind["apiVersion"], "kind": kind["kind"], "metadata": metadata}
    return {"target": _target(workload, slot), "patch": dumped(change)}


def _replaced(workload: Workload) -> list[Object]:
    """Of the base's other objects: Services lose their selector, and what counted the pods of the
    one Deployment goes."""
    gone = [*telling.adopted_budgets(workload.original), *telling.autoscalers(workload.original)]
    selectors: list[Object] = [
        {
            "target": {"kind": "Service", "name": name_of(one)},
            "patch": dumped([{"op": "remove", "path": "/spec/selector"}]),
        }
        for one in twin.moving(workload)
    ]
    return [*selectors, *(_gone(one) for one in gone)]


def _gone(obj: Object) -> Object:
    target = {"kind": obj["kind"], "name": name_of(obj)}
    return {"target": target, "patch": dumped(_deleted(obj["kind"], name_of(obj)))}


def _deleted(kind: str, name: str) -> Object:
    return {"$patch": "delete", "apiVersion": "v1", "kind": kind, "metadata": {"name": name}}


# -- Helm


def _helm(plan: Plan) -> dict[str, str]:
    """The same overlay over what the chart renders."""
    raise NotImplementedError(login.__name__, plan)
