"""Jobs: pods that run to their end, one after the other until enough have succeeded."""

from __future__ import annotations

import copy
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
)

if TYPE_CHECKING:
    from local.cluster.kinds import Object
    from local.cluster.store import Change


class JobController(Controller):
    kind = kinds.JOB

    def concerns(self, change: Change) -> list[Key]:
        if change.kind is kinds.JOB:
            return [key_of(change.object)]
        if change.kind is kinds.POD:
            return owner_key(change.object, kinds.JOB)
        return []

    def reconcile(self, obj: Object) -> None:
        if leaving(obj) or _is_over(obj):
            return
        pods = [
            pod
            for pod in self.store.items(kinds.POD, obj["metadata"]["namespace"])
            if is_controlled_by(pod, obj)
        ]
        phases = [(pod.get("status") or {}).get("phase", "Pending") for pod in pods]
        succeeded, failed = phases.count("Succeeded"), phases.count("Failed")
        active = len(pods) - succeeded - failed
        spec = obj["spec"]
        over = _outcome(spec, succeeded, failed, active)
        wanted = min(spec["parallelism"], spec["completions"] - succeeded)
        if over is None and not spec["suspend"]:
            for _ in range(wanted - active):
                self.registry.create(kinds.POD, _new_pod(obj))
        self._report(obj, succeeded, failed, active, over)

    def _report(
        self, job: Object, succeeded: int, failed: int, active: int, over: Object | None
    ) -> None:
        def change(new: Object) -> None:
            status = new.get("status") or {"startTime": times.stamp()}
            status |= {"succeeded": succeeded, "failed": failed, "active": active}
            if over:
                status["conditions"] = [over]
                if over["type"] == "Complete":
                    status["completionTime"] = times.stamp()
            new["status"] = status

        self.registry.modify(kinds.JOB, job, change, "status")


def _is_over(job: Object) -> bool:
    return bool((job.get("status") or {}).get("conditions"))


def _outcome(spec: Object, succeeded: int, failed: int, active: int) -> Object | None:
    if succeeded >= spec["completions"]:
        return _condition("Complete", "CompletionsReached", "Reached expected number of pods")
    if failed > spec["backoffLimit"] and not active:
        return _condition("Failed", "BackoffLimitExceeded", "Job has reached its backoff limit")
    return None


def _condition(type_: str, reason: str, message: str) -> Object:
    return {
        "type": type_,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": times.stamp(),
        "lastProbeTime": times.stamp(),
    }


def _new_pod(job: Object) -> Object:
    template = copy.deepcopy(job["spec"]["template"])
    metadata = template.get("metadata") or {}
    return {
        "metadata": {
            "generateName": f"{job['metadata']['name']}-",
            "namespace": job["metadata"]["namespace"],
            "labels": metadata.get("labels"),
            "annotations": metadata.get("annotations"),
            "ownerReferences": [reference_to(job)],
        },
        "spec": template["spec"],
    }
