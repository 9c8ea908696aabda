"""DaemonSets: one pod on each node, replaced on some of them at a time.

https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/. `maxSurge` is not made.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from local.cluster import kinds, revisions
from local.cluster.controllers import (
    RETRY,
    Controller,
    Key,
    is_controlled_by,
    key_of,
    leaving,
    owner_key,
)
from local.cluster.errors import ApiError
from local.cluster.registry import is_finished
from local.cluster.replicasets import is_ready, until_available
from local.cluster.revisions import revision_of
from local.cluster.scheduler import fits, pinned_to

if TYPE_CHECKING:
    from local.cluster.events import Recorder
    from local.cluster.kinds import Object
    from local.cluster.registry import Registry
    from local.cluster.store import Change


class DaemonSetController(Controller):
    kind = kinds.DAEMON_SET

    def __init__(self, registry: Registry, record: Recorder) -> None:
        super().__init__(registry)
        self._record = record

    def concerns(self, change: Change) -> list[Key]:
        if change.kind is self.kind:
            return [key_of(change.object)]
        if change.kind is kinds.NODE and change.type != "MODIFIED":
            return [key_of(each) for each in self.store.items(self.kind)]
        return owner_key(change.object, self.kind) if change.kind is kinds.POD else []

    def reconcile(self, obj: Object) -> None:
        if leaving(obj):
            return
        update = revisions.current(self.registry, obj)
        pods = self._pods(obj)
        for node in self._nodes(obj):
            there = pods.get(node)
            if there is not None and is_finished(there) and not leaving(there):
                self.registry.delete(kinds.POD, there, {"gracePeriodSeconds": 0})
            elif there is None:
                self._create(obj, node, update)
        for node in pods.keys() - set(self._nodes(obj)):
            if not leaving(pods[node]):
                self.registry.delete(kinds.POD, pods[node])
        if obj["spec"]["updateStrategy"]["type"] == "RollingUpdate":
            self._replace(obj, update)
        self._report(obj, update)

    def _replace(self, obj: Object, update: str) -> None:
        """Deletes earlier pods: those that are not available at once, the others as long as no more
        than `maxUnavailable` nodes are without one."""
        pods, nodes, minimum = self._pods(obj), self._nodes(obj), _minimum(obj)
        most = _at_once(obj["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"], nodes)
        down = sum(not _available(pods.get(node), minimum) for node in nodes)
        for node in nodes:
            pod = pods.get(node)
            if pod is None or leaving(pod) or revision_of(pod) == update:
                continue
            if _available(pod, minimum):
                if down >= most:
                    continue
                down += 1
            self.registry.delete(kinds.POD, pod)

    def _create(self, obj: Object, node: str, update: str) -> None:
        pod = revisions.new_pod(self.registry, obj, update)
        pod["metadata"]["generateName"] = f"{obj['metadata']['name']}-"
        affinity = pod["spec"].get("affinity") or {}
        pod["spec"]["affinity"] = {**affinity, "nodeAffinity": pinned_to(node)}
        try:
            self.registry.create(kinds.POD, pod)
        except ApiError as error:
            self._record(obj, "FailedCreate", f"Error creating: {error.message}", "Warning")
            self.enqueue_after(key_of(obj), RETRY)

    def _nodes(self, obj: Object) -> list[str]:
        """The names of the nodes that its pods fit; a cordoned one too, as upstream."""
        spec = obj["spec"]["template"]["spec"]
        nodes = self.store.items(kinds.NODE)
        return sorted(node["metadata"]["name"] for node in nodes if fits(node, spec))

    def _pods(self, obj: Object) -> dict[str, Object]:
        """Its pods by their nodes, those that are on their way out too."""
        found = {}
        for pod in self.store.items(kinds.POD, obj["metadata"]["namespace"]):
            if is_controlled_by(pod, obj):
                found[_node_of(pod)] = pod
        return found

    def _report(self, obj: Object, update: str) -> None:
        nodes, minimum = self._nodes(obj), _minimum(obj)
        pods = [pod for pod in self._pods(obj).values() if not leaving(pod)]
        available = sum(_available(pod, minimum) for pod in pods)
        status: Object = {
            "observedGeneration": obj["metadata"]["generation"],
            "desiredNumberScheduled": len(nodes),
            "currentNumberScheduled": len(pods),
            "updatedNumberScheduled": sum(revision_of(pod) == update for pod in pods),
            "numberReady": sum(is_ready(pod) for pod in pods),
            "numberAvailable": available,
            "numberUnavailable": len(nodes) - available,
            "numberMisscheduled": 0,
        }
        waits = [wait for pod in pods if (wait := until_available(pod, minimum)) is not None]
        if pending := [wait for wait in waits if wait > 0]:
            self.enqueue_after(key_of(obj), min(pending))
        self.registry.modify(self.kind, obj, lambda new: new.update(status=status), "status")


def _minimum(obj: Object) -> int:
    return int(obj["spec"].get("minReadySeconds") or 0)


def _available(pod: Object | None, minimum: int) -> bool:
    wait = None if pod is None or leaving(pod) else until_available(pod, minimum)
    return wait is not None and wait <= 0


def _at_once(most: int | str, nodes: list[str]) -> int:
    if isinstance(most, int):
        return most
    return math.ceil(int(most.removesuffix("%")) * len(nodes) / 100)


def _node_of(pod: Object) -> str:
    """The node that a pod runs on, or is meant for."""
    terms = pod["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]
    return str(pod["spec"].get("nodeName") or terms[0]["matchFields"][0]["values"][0])
