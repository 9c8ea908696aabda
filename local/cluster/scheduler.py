"""The scheduler: gives each pod a node, of those that nobody has cordoned."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from local.cluster import kinds, times
from local.cluster.controllers import Controller, Key, controller_of, key_of, leaving
from local.cluster.registry import is_finished

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.cluster.events import Recorder
    from local.cluster.kinds import Object
    from local.cluster.registry import Registry
    from local.cluster.store import Change, Store

NODES = ("local-1", "local-2")


def node_manifest(name: str) -> Object:
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    return {"metadata": {"name": name, "labels": labels}, "spec": {}}


def node_status(name: str) -> Object:
    ready = {"reason": "KubeletReady", "lastHeartbeatTime": times.stamp()}
    ready |= {"lastTransitionTime": times.stamp(), "message": "it is this machine"}
    return {
        "addresses": [
            {"type": "InternalIP", "address": "127.0.0.1"},
            {"type": "Hostname", "address": name},
        ],
        "conditions": [{"type": "Ready", "status": "True", **ready}],
    }


def choose(store: Store, pod: Object, bound: Iterable[Object] = ()) -> str | None:
    """The name of the node with the fewest pods of the same owner, and then of all; None if each
    is cordoned or not what the pod's nodeSelector asks for.

    `bound` are pods that the store does not know yet.
    """
    nodes = [node for node in store.items(kinds.NODE) if _takes(node, pod)]
    pods = [other for other in (*store.items(kinds.POD), *bound) if not is_finished(other)]
    owner = (controller_of(pod) or {}).get("uid")

    def load(node: Object) -> tuple[int, int, str]:
        name = node["metadata"]["name"]
        there = [other for other in pods if other["spec"].get("nodeName") == name]
        own = [other for other in there if (controller_of(other) or {}).get("uid") == owner]
        return sum(not leaving(other) for other in own), len(there), name

    return str(min(nodes, key=load)["metadata"]["name"]) if nodes else None


def _takes(node: Object, pod: Object) -> bool:
    affinity = pod["spec"].get("affinity") or {}
    if (controller_of(pod) or {}).get("kind") == kinds.DAEMON_SET.kind:
        return bool(affinity.get("nodeAffinity") == pinned_to(node["metadata"]["name"]))
    return fits(node, pod["spec"]) and not node["spec"].get("unschedulable")


def fits(node: Object, spec: Object) -> bool:
    """Whether a node has the labels that a pod's `nodeSelector` asks for."""
    labels = node["metadata"].get("labels") or {}
    wanted = spec.get("nodeSelector") or {}
    return all(labels.get(key) == value for key, value in wanted.items())


def pinned_to(node: str) -> Object:
    """The affinity to nodes that a DaemonSet's pod has, whether its node is cordoned or not."""
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"nodeSelectorTerms": [term]}
    return {"requiredDuringSchedulingIgnoredDuringExecution": required}


def unschedulable(store: Store) -> Object:
    """The condition of a pod that no node takes."""
    count = len(store.items(kinds.NODE))
    return {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": f"0/{count} nodes are available: none takes this pod.",
        "lastTransitionTime": times.stamp(),
    }


class Scheduler(Controller):
    kind = kinds.POD

    def __init__(self, registry: Registry, record: Recorder) -> None:
        super().__init__(registry)
        self._record = record

    def concerns(self, change: Change) -> list[Key]:
        if change.kind is kinds.POD:
            return [] if is_bound(change.object) else [key_of(change.object)]
        if change.kind is kinds.NODE:
            return [key_of(pod) for pod in self.store.items(kinds.POD) if not is_bound(pod)]
        return []

    def reconcile(self, obj: Object) -> None:
        if is_bound(obj) or leaving(obj):
            return
        node = choose(self.store, obj)
        if node is not None:
            self.store.put(kinds.POD, {**obj, "spec": {**obj["spec"], "nodeName": node}})
        elif not (obj.get("status") or {}).get("conditions"):
            condition = unschedulable(self.store)
            status = {**(obj.get("status") or {}), "phase": "Pending", "conditions": [condition]}
            self.store.put(kinds.POD, {**copy.deepcopy(obj), "status": status})
            self._record(obj, "FailedScheduling", condition["message"], "Warning")


def is_bound(pod: Object) -> bool:
    return bool(pod["spec"].get("nodeName"))
