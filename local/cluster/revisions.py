"""Revisions of the pod template of a StatefulSet or a DaemonSet, each a ControllerRevision."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from local.cluster import kinds
from local.cluster.controllers import is_controlled_by, reference_to
from local.cluster.deployments import template_hash

if TYPE_CHECKING:
    from local.cluster.kinds import Object
    from local.cluster.registry import Registry

HASH = "controller-revision-hash"  # the label of pods that names their revision


def current(registry: Registry, owner: Object) -> str:
    """The name of the revision of the owner's template as it is now, which is kept."""
    name = f"{owner['metadata']['name']}-{template_hash(owner['spec']['template'])}"
    namespace = owner["metadata"]["namespace"]
    if registry.store.get(kinds.CONTROLLER_REVISION, namespace, name) is None:
        kept = registry.store.items(kinds.CONTROLLER_REVISION, namespace)
        numbers = [each["revision"] for each in kept if is_controlled_by(each, owner)]
        registry.create(
            kinds.CONTROLLER_REVISION,
            {
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "labels": {HASH: name},
                    "ownerReferences": [reference_to(owner)],
                },
                "revision": max(numbers, default=0) + 1,
                "data": {"spec": {"template": copy.deepcopy(owner["spec"]["template"])}},
            },
        )
    return name


def new_pod(registry: Registry, owner: Object, revision: str) -> Object:
    """A pod of a kept revision, without a name yet."""
    namespace = owner["metadata"]["namespace"]
    kept = registry.store.get(kinds.CONTROLLER_REVISION, namespace, revision)
    template = copy.deepcopy((kept["data"] if kept else owner)["spec"]["template"])
    metadata = template.get("metadata") or {}
    return {
        "metadata": {
            "namespace": namespace,
            "labels": {**(metadata.get("labels") or {}), HASH: revision},
            "annotations": metadata.get("annotations"),
            "ownerReferences": [reference_to(owner)],
        },
        "spec": template["spec"],
    }


def revision_of(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(HASH, ""))
