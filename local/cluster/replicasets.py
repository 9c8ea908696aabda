"""ReplicaSets: as many pods of a template as asked for."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from local.cluster import kinds, times
from local.cluster.controllers import (
    RETRY,
    Controller,
    Key,
    is_controlled_by,
    key_of,
    leaving,
    owner_key,
    reference_to,
    set_condition,
)
from local.cluster.errors import ApiError
from local.cluster.registry import is_finished

if TYPE_CHECKING:
    from local.cluster.events import Recorder
    from local.cluster.kinds import Object
    from local.cluster.registry import Registry
    from local.cluster.store import Change


FAILURE = "ReplicaFailure"
CREATE = "FailedCreate"


class ReplicaSetController(Controller):
    kind = kinds.REPLICA_SET

    def __init__(self, registry: Registry, record: Recorder) -> None:
        super().__init__(registry)
        self._record = record

    def concerns(self, change: Change) -> list[Key]:
        if change.kind is kinds.REPLICA_SET:
            return [key_of(change.object)]
        if change.kind is kinds.POD:
            return owner_key(change.object, kinds.REPLICA_SET)
        return []

    def reconcile(self, obj: Object) -> None:
        pods = self._pods(obj)
        missing = obj["spec"]["replicas"] - len(pods)
        if leaving(obj):
            return
        refusal = self._create(obj, missing)
        for pod in sorted(pods, key=_worth)[: max(0, -missing)]:
            self.registry.delete(kinds.POD, pod)
        self._report(obj, refusal)

    def _create(self, replica_set: Object, missing: int) -> ApiError | None:
        """Makes pods, until one is refused: the rest would be refused too, and is tried later."""
        for _ in range(missing):
            try:
                self.registry.create(kinds.POD, _new_pod(replica_set))
            except ApiError as error:
                self._record(replica_set, CREATE, f"Error creating: {error.message}", "Warning")
                self.enqueue_after(key_of(replica_set), RETRY)
                return error
        return None

    def _pods(self, replica_set: Object) -> list[Object]:
        """The pods of a ReplicaSet that count: neither finished nor on their way out."""
        return [
            pod
            for pod in self.store.items(kinds.POD, replica_set["metadata"]["namespace"])
            if is_controlled_by(pod, replica_set) and not leaving(pod) and not is_finished(pod)
        ]

    def _report(self, replica_set: Object, refusal: ApiError | None) -> None:
        pods = self._pods(replica_set)
        minimum = replica_set["spec"].get("minReadySeconds") or 0
        waits = [wait for pod in pods if (wait := until_available(pod, minimum)) is not None]
        status: Object = {
            "replicas": len(pods),
            "fullyLabeledReplicas": len(pods),
            "readyReplicas": sum(is_ready(pod) for pod in pods),
            "availableReplicas": sum(wait <= 0 for wait in waits),
            "observedGeneration": replica_set["metadata"]["generation"],
        }
        if refusal is not None:
            # As upstream it stays as it was first until all pods could be made.
            known = (replica_set.get("status") or {}).get("conditions") or []
            status["conditions"] = copy.deepcopy(known)
            if not known:
                set_condition(status, FAILURE, "True", CREATE, refusal.message)
        pending = [wait for wait in waits if wait > 0]
        if pending and refusal is None:
            self.enqueue_after(key_of(replica_set), min(pending))
        self.registry.modify(
            kinds.REPLICA_SET, replica_set, lambda new: new.update(status=status), "status"
        )


def _new_pod(replica_set: Object) -> Object:
    template = copy.deepcopy(replica_set["spec"]["template"])
    metadata = template.get("metadata") or {}
    return {
        "metadata": {
            "generateName": f"{replica_set['metadata']['name']}-",
            "namespace": replica_set["metadata"]["namespace"],
            "labels": metadata.get("labels"),
            "annotations": metadata.get("annotations"),
            "ownerReferences": [reference_to(replica_set)],
        },
        "spec": template["spec"],
    }


def _worth(pod: Object) -> tuple[bool, bool, float]:
    """A sort key: pods to go first come first: not running, not ready, the youngest."""
    phase = (pod.get("status") or {}).get("phase")
    born = times.parse(pod["metadata"]["creationTimestamp"]).timestamp()
    return phase == "Running", is_ready(pod), -born


def is_ready(pod: Object) -> bool:
    condition = _ready_condition(pod)
    return condition is not None and condition["status"] == "True"


def _ready_condition(pod: Object) -> Object | None:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return next((item for item in conditions if item["type"] == "Ready"), None)


def until_available(pod: Object, minimum: int) -> float | None:
    """Seconds until it has been ready for `minimum` seconds; None while it is not ready."""
    condition = _ready_condition(pod)
    if condition is None or condition["status"] != "True":
        return None
    since = times.parse(condition["lastTransitionTime"])
    return minimum - (times.now() - since).total_seconds() if minimum else 0.0
