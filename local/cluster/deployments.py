"""Deployments: one ReplicaSet a template, and the rolling from one to the next."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from typing import TYPE_CHECKING

from local.cluster import kinds, times
from local.cluster.controllers import (
    Controller,
    Key,
    is_controlled_by,
    key_of,
    leaving,
    owner_key,
    reference_to,
    set_condition,
)
from local.cluster.replicasets import FAILURE

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.cluster.events import Recorder
    from local.cluster.kinds import Object
    from local.cluster.registry import Registry
    from local.cluster.store import Change

REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
COMPLETE, LATE = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"
HASH = "pod-template-hash"


class DeploymentController(Controller):
    kind = kinds.DEPLOYMENT

    def __init__(self, registry: Registry, record: Recorder) -> None:
        super().__init__(registry)
        self._record = record

    def concerns(self, change: Change) -> list[Key]:
        if change.kind is kinds.DEPLOYMENT:
            return [key_of(change.object)]
        if change.kind is kinds.REPLICA_SET:
            return owner_key(change.object, kinds.DEPLOYMENT)
        if change.kind is kinds.POD and change.type == "DELETED":
            return self._deployment_of(change.object)
        return []

    def _deployment_of(self, pod: Object) -> list[Key]:
        """A Recreate waits for pods that are gone, which no ReplicaSet's status tells."""
        return [
            found
            for _, name in owner_key(pod, kinds.REPLICA_SET)
            if (rs := self.store.get(kinds.REPLICA_SET, pod["metadata"]["namespace"], name))
            for found in owner_key(rs, kinds.DEPLOYMENT)
        ]

    def reconcile(self, obj: Object) -> None:
        if leaving(obj):
            return
        owned = self._replica_sets(obj)
        paused = bool(obj["spec"].get("paused"))
        if paused or _is_scaled(obj, owned):
            # As upstream: the change counts as observed now, and what is told of progress and
            # failures stays what it was, until the next turn that rolls.
            self._resize(obj, owned)
            self._report(obj, rolls=False)
            return
        self._roll(obj)
        self._report(obj, rolls=True)

    def _resize(self, deployment: Object, owned: list[Object]) -> None:
        """Scales what is there, without a new template: upstream shares a difference out among the
        ReplicaSets, here the newest ones take it."""
        wanted = deployment["spec"]["replicas"]
        active = [rs for rs in owned if rs["spec"]["replicas"]]
        newest = sorted(active or owned, key=_revision, reverse=True)
        missing = wanted - sum(rs["spec"]["replicas"] for rs in newest)
        for rs in newest if missing > 0 else reversed(newest):
            before = rs["spec"]["replicas"]
            after = max(0, before + missing)
            missing -= after - before
            self._scale(rs, after, deployment)

    def _roll(self, deployment: Object) -> None:
        owned = self._replica_sets(deployment)
        new = next((rs for rs in owned if _runs(rs, deployment)), None)
        old = [rs for rs in owned if rs is not new]
        if deployment["spec"]["strategy"]["type"] == "Recreate" and self._clear(old):
            return
        if new is None:
            new = self._create(deployment, old)
        self._set_revision(deployment, new, old)
        self._scale_up(deployment, new, old)
        self._scale_down(deployment, new, old)
        self._forget(deployment, old)

    def _replica_sets(self, deployment: Object) -> list[Object]:
        found = self.store.items(kinds.REPLICA_SET, deployment["metadata"]["namespace"])
        return [rs for rs in found if is_controlled_by(rs, deployment)]

    def _clear(self, old: list[Object]) -> bool:
        """Takes all old pods away, and returns whether any is left."""
        for rs in old:
            self._scale(rs, 0)
        pods = self.store.items(kinds.POD, old[0]["metadata"]["namespace"]) if old else []
        return any(is_controlled_by(pod, rs) for pod in pods for rs in old)

    def _create(self, deployment: Object, old: list[Object]) -> Object:
        spec = deployment["spec"]
        digest = template_hash(spec["template"])
        rolling = spec["strategy"]["type"] == "RollingUpdate" and old
        allowed = spec["replicas"] + _surge(deployment) - sum(rs["spec"]["replicas"] for rs in old)
        replicas = max(0, min(spec["replicas"], allowed)) if rolling else spec["replicas"]
        created = self.registry.create(
            kinds.REPLICA_SET, _new_replica_set(deployment, digest, replicas)
        )
        self._announce(deployment, created, "up", replicas)

        def begin(obj: Object) -> None:
            message = f'Created new replica set "{created["metadata"]["name"]}"'
            status = obj.setdefault("status", {})
            _touch(status, "Progressing", "True", "NewReplicaSetCreated", message)

        self.registry.modify(kinds.DEPLOYMENT, deployment, begin, "status")
        return created

    def _set_revision(self, deployment: Object, new: Object, old: list[Object]) -> None:
        newest = max((_revision(rs) for rs in old), default=0)
        revision = str(max(_revision(new), newest + 1))

        def change(obj: Object) -> None:
            obj["metadata"].setdefault("annotations", {})[REVISION] = revision

        self.registry.modify(kinds.REPLICA_SET, new, change)
        self.registry.modify(kinds.DEPLOYMENT, deployment, change)

    def _scale_up(self, deployment: Object, new: Object, old: list[Object]) -> None:
        """Scales the new ReplicaSet up, as far as replicas and surge leave room."""
        wanted, current = deployment["spec"]["replicas"], new["spec"]["replicas"]
        if current > wanted:
            self._scale(new, wanted, deployment)
            return
        total = current + sum(rs["spec"]["replicas"] for rs in old)
        surge = _surge(deployment) if old else 0
        room = max(0, wanted + surge - total)
        self._scale(new, current + min(room, wanted - current), deployment)

    def _scale_down(self, deployment: Object, new: Object, old: list[Object]) -> None:
        """Scales old ReplicaSets down: pods that are not available first, then as many as
        availability allows."""
        minimum = deployment["spec"]["replicas"] - _max_unavailable(deployment)
        new = self.store.get(kinds.REPLICA_SET, *key_of(new)) or new
        old = [self.store.get(kinds.REPLICA_SET, *key_of(rs)) or rs for rs in old]
        total = sum(rs["spec"]["replicas"] for rs in [new, *old])
        missing = max(0, new["spec"]["replicas"] - _count(new, "availableReplicas"))
        spare = max(0, total - minimum - missing)
        for rs in sorted(old, key=_revision):
            unhealthy = max(0, rs["spec"]["replicas"] - _count(rs, "availableReplicas"))
            gone = min(spare, unhealthy)
            spare -= gone
            self._scale(rs, rs["spec"]["replicas"] - gone, deployment)
        self._scale_down_healthy(deployment, [new, *old], minimum)

    def _scale_down_healthy(
        self, deployment: Object, replica_sets: list[Object], minimum: int
    ) -> None:
        new, *old = [self.store.get(kinds.REPLICA_SET, *key_of(rs)) or rs for rs in replica_sets]
        available = sum(
            min(_count(rs, "availableReplicas"), rs["spec"]["replicas"]) for rs in [new, *old]
        )
        spare = max(0, available - minimum)
        for rs in sorted(old, key=_revision):
            gone = min(spare, rs["spec"]["replicas"])
            spare -= gone
            self._scale(rs, rs["spec"]["replicas"] - gone, deployment)

    def _scale(self, rs: Object, replicas: int, deployment: Object | None = None) -> None:
        before = rs["spec"]["replicas"]

        def change(new: Object) -> None:
            new["spec"].update(replicas=replicas)
            if deployment:
                wanted = str(deployment["spec"]["replicas"])
                new["metadata"].setdefault("annotations", {})[DESIRED] = wanted

        self.registry.modify(kinds.REPLICA_SET, rs, change)
        if deployment and replicas != before:
            self._announce(deployment, rs, "up" if replicas > before else "down", replicas)

    def _announce(self, deployment: Object, rs: Object, way: str, replicas: int) -> None:
        message = f"Scaled {way} replica set {rs['metadata']['name']} to {replicas}"
        self._record(deployment, "ScalingReplicaSet", message)

    def _forget(self, deployment: Object, old: list[Object]) -> None:
        """Drops the oldest empty ReplicaSets beyond the history limit."""
        empty = [rs for rs in old if not rs["spec"]["replicas"] and not _count(rs, "replicas")]
        limit = deployment["spec"]["revisionHistoryLimit"]
        for rs in sorted(empty, key=_revision)[: max(0, len(empty) - limit)]:
            self.registry.delete(kinds.REPLICA_SET, rs)

    def _report(self, deployment: Object, *, rolls: bool) -> None:
        owned = self._replica_sets(deployment)
        new = next((rs for rs in owned if _runs(rs, deployment)), None)
        current = self.store.get(kinds.DEPLOYMENT, *key_of(deployment)) or deployment
        status = copy.deepcopy(current.get("status") or {})
        before = copy.deepcopy(status)
        _count_replicas(status, current, owned, new)
        _set_available(status, current)
        if rolls:
            self._set_progress(status, before, current, new)
            _pass_failures_on(status, owned, new)
        else:
            _set_paused(status, paused=bool(current["spec"].get("paused")))
        self.registry.modify(
            kinds.DEPLOYMENT, current, lambda obj: obj.update(status=status), "status"
        )

    def _set_progress(
        self, status: Object, before: Object, deployment: Object, new: Object | None
    ) -> None:
        name = new["metadata"]["name"] if new else ""
        known = _condition(status, "Progressing")
        if known and known["reason"] == COMPLETE and not _old(status):
            return  # rolled out before: what is scaled or fails now is no matter of progress
        if is_complete(status, deployment):
            message = f'ReplicaSet "{name}" has successfully progressed.'
            set_condition(status, "Progressing", "True", COMPLETE, message)
            return
        if _progressed(before, status):
            message = f'ReplicaSet "{name}" is progressing.'
            _touch(status, "Progressing", "True", "ReplicaSetUpdated", message)
            known = _condition(status, "Progressing")
        if known is None or known["reason"] == COMPLETE:
            return
        left = 0.0 if known["reason"] == LATE else _deadline(status, deployment)
        if left > 0:
            self.enqueue_after(key_of(deployment), left)
            return
        message = f'ReplicaSet "{name}" has timed out progressing.'
        set_condition(status, "Progressing", "False", LATE, message)


def template_hash(template: Object) -> str:
    content = json.dumps(_bare(template), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:10]


def _bare(template: Object) -> Object:
    metadata = template.get("metadata") or {}
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != HASH}
    return {**template, "metadata": {**metadata, "labels": labels, "creationTimestamp": None}}


def _runs(replica_set: Object, deployment: Object) -> bool:
    return _bare(replica_set["spec"]["template"]) == _bare(deployment["spec"]["template"])


def _new_replica_set(deployment: Object, digest: str, replicas: int) -> Object:
    metadata, spec = deployment["metadata"], deployment["spec"]
    template = copy.deepcopy(spec["template"])
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels[HASH] = digest
    selector = copy.deepcopy(spec["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH: digest}
    return {
        "metadata": {
            "name": f"{metadata['name']}-{digest}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": {DESIRED: str(spec["replicas"])},
            "ownerReferences": [reference_to(deployment)],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": spec.get("minReadySeconds") or 0,
            "selector": selector,
            "template": template,
        },
    }


def _revision(replica_set: Object) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(REVISION, 0))


def _count(replica_set: Object, field: str) -> int:
    return int((replica_set.get("status") or {}).get(field, 0))


def _surge(deployment: Object) -> int:
    return _limits(deployment)[0]


def _max_unavailable(deployment: Object) -> int:
    return _limits(deployment)[1]


def _limits(deployment: Object) -> tuple[int, int]:
    """Pods allowed above and below the replicas; not both are none, or nothing could roll."""
    spec = deployment["spec"]
    rolling = spec["strategy"].get("rollingUpdate")
    if rolling is None:
        return 0, 0
    surge = _part(rolling["maxSurge"], spec["replicas"], math.ceil)
    unavailable = _part(rolling["maxUnavailable"], spec["replicas"], math.floor)
    return surge, min(spec["replicas"], unavailable if surge or unavailable else 1)


def _part(value: int | str, whole: int, rounded: Callable[[float], int]) -> int:
    if isinstance(value, int):
        return value
    return rounded(whole * int(value.removesuffix("%")) / 100)


def _count_replicas(
    status: Object, deployment: Object, owned: list[Object], new: Object | None
) -> None:
    total = sum(rs["spec"]["replicas"] for rs in owned)
    available = sum(_count(rs, "availableReplicas") for rs in owned)
    status |= {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": sum(_count(rs, "replicas") for rs in owned),
        "updatedReplicas": _count(new, "replicas") if new else 0,
        "readyReplicas": sum(_count(rs, "readyReplicas") for rs in owned),
        "availableReplicas": available,
        "unavailableReplicas": max(0, total - available),
    }


def _set_available(status: Object, deployment: Object) -> None:
    minimum = deployment["spec"]["replicas"] - _max_unavailable(deployment)
    if status["availableReplicas"] >= minimum:
        message = "Deployment has minimum availability."
        set_condition(status, "Available", "True", "MinimumReplicasAvailable", message)
    else:
        message = "Deployment does not have minimum availability."
        set_condition(status, "Available", "False", "MinimumReplicasUnavailable", message)


def _pass_failures_on(status: Object, owned: list[Object], new: Object | None) -> None:
    """Takes over the ReplicaFailure of a ReplicaSet, of the newest one first; or takes it away."""
    found = [
        failure
        for rs in sorted(owned, key=lambda rs: rs is not new)
        if (failure := _condition(rs.get("status") or {}, FAILURE)) is not None
    ]
    if found:
        set_condition(status, FAILURE, "True", found[0]["reason"], found[0]["message"])
    else:
        others = [item for item in status.get("conditions") or [] if item["type"] != FAILURE]
        status["conditions"] = others


def _set_paused(status: Object, *, paused: bool) -> None:
    """Says whether the Deployment is paused; that it is late stays, as upstream."""
    known = _condition(status, "Progressing")
    reason = known["reason"] if known else ""
    if paused and reason not in {LATE, "DeploymentPaused"}:
        set_condition(status, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
    elif not paused and reason == "DeploymentPaused":
        message = "Deployment is resumed"
        set_condition(status, "Progressing", "Unknown", "DeploymentResumed", message)


def _is_scaled(deployment: Object, owned: list[Object]) -> bool:
    """Whether a ReplicaSet with pods was sized for another number of replicas."""
    wanted = str(deployment["spec"]["replicas"])
    return any(
        rs["spec"]["replicas"]
        and (rs["metadata"].get("annotations") or {}).get(DESIRED, wanted) != wanted
        for rs in owned
    )


def is_complete(status: Object, deployment: Object) -> bool:
    """Whether all replicas run the newest template and are available, and no others are left."""
    wanted = deployment["spec"]["replicas"]
    counts = ("updatedReplicas", "replicas", "availableReplicas")
    return all(status[name] == wanted for name in counts)


def _progressed(before: Object, after: Object) -> bool:
    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    fewer_old = _old(after) < _old(before)
    return fewer_old or any(after[name] > before.get(name, 0) for name in grown)


def _old(status: Object) -> int:
    return int(status.get("replicas", 0) - status.get("updatedReplicas", 0))


def _condition(status: Object, type_: str) -> Object | None:
    found = status.get("conditions") or []
    return next((item for item in found if item["type"] == type_), None)


def _touch(status: Object, type_: str, value: str, reason: str, message: str) -> None:
    """As `set_condition`, but its update time moves though nothing else does: that time is what
    the progress deadline counts from."""
    set_condition(status, type_, value, reason, message)
    condition = _condition(status, type_)
    if condition:
        condition["lastUpdateTime"] = times.stamp()


def _deadline(status: Object, deployment: Object) -> float:
    """The seconds left until no progress counts as failure."""
    condition = _condition(status, "Progressing")
    since = times.parse(condition["lastUpdateTime"]) if condition else times.now()
    elapsed = (times.now() - since).total_seconds()
    return float(deployment["spec"]["progressDeadlineSeconds"] - elapsed)
