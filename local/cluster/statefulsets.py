"""StatefulSets: pods with names that stay, made in their order and replaced in the reverse one.

https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/. Claims of volumes are not
made: there is nothing here that pods could claim.
"""

from __future__ import annotations

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

if TYPE_CHECKING:
    from local.cluster.events import Recorder
    from local.cluster.kinds import Object
    from local.cluster.registry import Registry
    from local.cluster.store import Change

POD_NAME, INDEX = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"


class StatefulSetController(Controller):
    kind = kinds.STATEFUL_SET

    def __init__(self, registry: Registry, record: Recorder) -> None:
        super().__init__(registry)
        self._record = record

    def concerns(self, change: Change) -> list[Key]:
        if change.kind is self.kind:
            return [key_of(change.object)]
        return owner_key(change.object, self.kind) if change.kind is kinds.POD else []

    def reconcile(self, obj: Object) -> None:
        if leaving(obj):
            return
        update = revisions.current(self.registry, obj)
        current = (obj.get("status") or {}).get("currentRevision") or update
        self._step(obj, current, update)
        self._report(obj, current, update)

    def _step(self, obj: Object, current: str, update: str) -> None:
        """Does what is next. In their order a pod waits for the ones before it, unless they are
        managed in parallel."""
        pods = self._pods(obj)
        in_order = obj["spec"]["podManagementPolicy"] != "Parallel"
        if not self._fill(obj, pods, (current, update), in_order=in_order):
            return
        beyond = [each for each in pods if each >= obj["spec"]["replicas"]]
        for ordinal in sorted(beyond, reverse=True):
            if not leaving(pods[ordinal]):
                self.registry.delete(kinds.POD, pods[ordinal])
            if in_order:
                return
        if obj["spec"]["updateStrategy"]["type"] == "RollingUpdate":
            self._roll(obj, pods, update)

    def _fill(
        self, obj: Object, pods: dict[int, Object], kept: tuple[str, str], *, in_order: bool
    ) -> bool:
        """Makes what is missing; whether what comes after that may be done."""
        for ordinal in range(obj["spec"]["replicas"]):
            pod = pods.get(ordinal)
            if pod is not None and is_finished(pod) and not leaving(pod):
                self.registry.delete(kinds.POD, pod, {"gracePeriodSeconds": 0})
                pod = None
            if pod is None and not self._create(obj, ordinal, *kept):
                return False
            if in_order and (pod is None or leaving(pod) or not is_ready(pod)):
                return False
        return True

    def _roll(self, obj: Object, pods: dict[int, Object], update: str) -> None:
        """Deletes the last pod of an earlier revision, once all behind it are ready."""
        first = obj["spec"]["updateStrategy"]["rollingUpdate"]["partition"]
        for ordinal in reversed(range(first, obj["spec"]["replicas"])):
            pod = pods.get(ordinal)
            if pod is None or leaving(pod):
                return
            if revision_of(pod) != update:
                self.registry.delete(kinds.POD, pod)
                return
            if not is_ready(pod):
                return

    def _create(self, obj: Object, ordinal: int, current: str, update: str) -> bool:
        """Makes a pod; whether it could be made."""
        strategy = obj["spec"]["updateStrategy"]
        kept = strategy["type"] != "OnDelete" and ordinal < strategy["rollingUpdate"]["partition"]
        pod = revisions.new_pod(self.registry, obj, current if kept else update)
        name = f"{obj['metadata']['name']}-{ordinal}"
        pod["metadata"]["name"] = name
        pod["metadata"]["labels"] |= {POD_NAME: name, INDEX: str(ordinal)}
        pod["spec"] |= {"hostname": name, "subdomain": obj["spec"].get("serviceName") or ""}
        try:
            self.registry.create(kinds.POD, pod)
        except ApiError as error:
            text = f"create Pod {name} in StatefulSet {obj['metadata']['name']} failed error: "
            self._record(obj, "FailedCreate", text + error.message, "Warning")
            self.enqueue_after(key_of(obj), RETRY)
            return False
        return True

    def _pods(self, obj: Object) -> dict[int, Object]:
        """Its pods by their ordinals, those that are on their way out too."""
        found = {}
        for pod in self.store.items(kinds.POD, obj["metadata"]["namespace"]):
            number = pod["metadata"]["name"].rpartition("-")[2]
            if is_controlled_by(pod, obj) and number.isdecimal():
                found[int(number)] = pod
        return found

    def _report(self, obj: Object, current: str, update: str) -> None:
        pods = list(self._pods(obj).values())
        alive = [pod for pod in pods if not leaving(pod)]
        ready = [pod for pod in pods if is_ready(pod)]
        minimum = obj["spec"].get("minReadySeconds") or 0
        waits = [wait for pod in ready if (wait := until_available(pod, minimum)) is not None]
        status: Object = {
            "observedGeneration": obj["metadata"]["generation"],
            "replicas": len(pods),
            "readyReplicas": len(ready),
            "availableReplicas": sum(wait <= 0 for wait in waits),
            "currentReplicas": sum(revision_of(pod) == current for pod in alive),
            "updatedReplicas": sum(revision_of(pod) == update for pod in alive),
            "currentRevision": current,
            "updateRevision": update,
            "collisionCount": 0,
        }
        wanted = obj["spec"]["replicas"]
        done = status["updatedReplicas"] == status["readyReplicas"] == len(pods) == wanted
        if done and obj["spec"]["updateStrategy"]["type"] == "RollingUpdate":
            status |= {"currentRevision": update, "currentReplicas": status["updatedReplicas"]}
        if pending := [wait for wait in waits if wait > 0]:
            self.enqueue_after(key_of(obj), min(pending))
        self.registry.modify(self.kind, obj, lambda new: new.update(status=status), "status")
