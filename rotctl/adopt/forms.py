"""What Git has once rotations run, in the form in which the team keeps it."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from rotctl.adopt import in_place, patching, routes, shipped, telling, twin
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
    """All objects of a workload that Git has then. Of one in place, no field of it is a
    rotation's; its Secret is."""
    if workload.in_place:
        return [in_place.running(workload, plan.credential)]
    slots = [one for slot in SLOTS for one in twin.slot(workload, plan.credential, slot)]
    traffic = [one for slot in SLOTS for one in twin.traffic(workload, slot)]
    return twin.of_git([*slots, *traffic, *twin.moving(workload)], workload)


def _manifests(plan: Plan) -> dict[str, str]:
    return {f"{one.name}.yaml": manifests(objects(one, plan)) for one in plan.workloads}


# -- Kustomize


def _kustomize(plan: Plan) -> dict[str, str]:
    """An overlay: the base twice, once for each slot, and what is new. A release changes the base,
    and with it both slots by one commit."""
    base = posixpath.normpath(posixpath.join("../..", plan.base))
    return _over(plan, base)


def _over(plan: Plan, base: str) -> dict[str, str]:
    """`base` is as a slot's folder sees it."""
    twins = _twins(plan)
    if not twins:
        above = posixpath.normpath(posixpath.join("slot", base))
        only = _kustomization(resources=[above], patches=_stays(plan))
        return {"kustomization.yaml": dumped(only)}
    made = {f"{slot}/kustomization.yaml": dumped(_overlay(plan, slot, base)) for slot in SLOTS}
    own = [one for workload in twins for one in new(workload, plan)]
    resources = [*SLOTS, "own.yaml"]
    return {
        **made,
        "own.yaml": manifests(own),
        "kustomization.yaml": dumped(_kustomization(resources=resources)),
    }


def new(workload: Workload, plan: Plan) -> list[Object]:
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
    twins = _twins(plan)
    patches = [each for one in twins for each in _slot(one, plan, slot)]
    if slot == SLOTS[0]:
        patches += [each for one in twins for each in _replaced(one)]
        patches += _stays(plan)
    else:
        # All but the workloads is there already, from the other slot's half.
        marks = [_marked(one) for one in twins]
        unmarks = [_unmarked(one) for one in twins]
        rest = {
            "target": {"annotationSelector": f"!{MARK}"},
            "patch": dumped(_deleted("All", "all")),
        }
        patches = [*marks, rest, *unmarks, *patches]
    return _kustomization(resources=[base], patches=patches)


def _twins(plan: Plan) -> list[Workload]:
    return [one for one in plan.workloads if not one.in_place]


def _stays(plan: Plan) -> list[Object]:
    """Has those in place read their own Secret."""
    return [
        {
            "target": _target(one),
            "patch": dumped({**_head(one), **in_place.change(one, plan.credential)}),
        }
        for one in plan.workloads
        if one.in_place
    ]


def _head(workload: Workload) -> Object:
    whole = workload.original.workload
    name = {"name": workload.name}
    return {"apiVersion": whole["apiVersion"], "kind": whole["kind"], "metadata": name}


def _slot(workload: Workload, plan: Plan, slot: str) -> list[Object]:
    """Makes the slot's of the base's, under a name of its own."""
    (wanted,) = twin.of_git([twin.running(workload, plan.credential, slot)], workload)
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


def _target(workload: Workload) -> Object:
    return {"kind": workload.original.kind, "name": workload.name}


def _marked(workload: Workload) -> Object:
    kind, metadata = (
        workload.original.workload,
        {"name": workload.name, "annotations": {MARK: "on"}},
    )
    change = {"apiVersion": kind["apiVersion"], "kind": kind["kind"], "metadata": metadata}
    return {"target": _target(workload), "patch": dumped(change)}


def _unmarked(workload: Workload) -> Object:
    gone = [{"op": "remove", "path": f"/metadata/annotations/{MARK}"}]
    return {"target": _target(workload), "patch": dumped(gone)}


def _replaced(workload: Workload) -> list[Object]:
    """Of the base's other objects: Services lose their selector, and what counted the pods of the
    one Deployment goes."""
    original = workload.original
    gone = [*telling.adopted_budgets(original), *telling.autoscalers(original)]
    # Its weights are a rotation's; what applies the rest would set them.
    gone += [one for one in original.of(routes.KIND) if name_of(one) in workload.routes]
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
    """The same overlay, over what the chart renders: no value of the chart changes."""
    made = {f"slots/{name}": text for name, text in _over(plan, "../../base").items()}
    moving = [one for each in plan.workloads for one in twin.moving(each)]
    return {
        **made,
        "base/kustomization.yaml": dumped(_kustomization(resources=["rendered.yaml"])),
        "handing-over/kustomization.yaml": dumped(
            _kustomization(resources=["../slots"], patches=[_gone(one) for one in moving])
        ),
        "post-render.sh": POST_RENDER,
        "plugin.yaml": PLUGIN,
    }


# https://helm.sh/docs/topics/advanced/#post-rendering
POST_RENDER = """\
#!/bin/sh
# Makes two slots of what a chart renders.
# Helm 3: helm upgrade RELEASE CHART --post-renderer ./post-render.sh
# Helm 4 takes it as a plugin: helm plugin install ., then --post-renderer two-slots
#
# HAND_OVER=on leaves out the Services that rotations move, once, so that the release forgets them.
set -eu
umask 077 # a chart may render passwords, which nobody else reads and nothing keeps
here="$(cd "$(dirname "$0")" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cp -R "$here/base" "$here/slots" "$here/handing-over" "$work"
cat > "$work/base/rendered.yaml"
folder=slots
[ -z "${HAND_OVER:-}" ] || folder=handing-over
"${KUBECTL:-kubectl}" kustomize "$work/$folder"
"""
# https://helm.sh/docs/plugins/developer/
PLUGIN = """\
apiVersion: v1
type: postrenderer/v1
name: two-slots
version: 1.0.0
runtime: subprocess
runtimeConfig:
  platformCommand:
    - command: ${HELM_PLUGIN_DIR}/post-render.sh
"""
