"""Jobs: pods that run to their end, one after the other until enough have succeeded; with a
deadline, and a time after which a Job that is over goes.

https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

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
from local.cluster.registry import is_finished

if TYPE_CHECKING:
    from local.cluster.kinds import Object
    from local.cluster.store import Change


LATE = "Job was active longer than specified deadline"


class JobController(Controller):
    kind = kinds.JOB

    def concerns(self, change: Change) -> list[Key]:
        if change.kind is kinds.JOB:
            return [key_of(change.object)]
        if change.kind is kinds.POD:
            return owner_key(change.object, kinds.JOB)
        return []

    def reconcile(self, obj: Object) -> None:
        if leaving(obj):
            return
        if _is_over(obj):
            self._forget(obj)
            return
        pods = [
            pod
            for pod in self.store.items(kinds.POD, obj["metadata"]["namespace"])
            if is_controlled_by(pod, obj)
        ]
        spec = obj["spec"]
        phases = [(pod.get("status") or {}).get("phase", "Pending") for pod in pods]
        succeeded, ended = phases.count("Succeeded"), phases.count("Failed")
        active = len(pods) - succeeded - ended
        failed = ended - sum(_is_ignored(spec, pod) for pod in pods)
        over = _outcome(spec, succeeded, failed, active)
        if over is None and self._is_late(obj):
            over = _condition("Failed", "DeadlineExceeded", LATE)
            for pod in pods:
                if not is_finished(pod):
                    self.registry.delete(kinds.POD, pod)
            active = 0
        wanted = min(spec["parallelism"], spec["completions"] - succeeded)
        if over is None and not spec["suspend"]:
            for _ in range(wanted - active):
                self.registry.create(kinds.POD, _new_pod(obj))
        self._report(obj, succeeded, failed, active, over)

    def _is_late(self, job: Object) -> bool:
        """Whether a Job has run for too long; looks again when it will have."""
        seconds = job["spec"].get("activeDeadlineSeconds")
        started = (job.get("status") or {}).get("startTime")
        if seconds is None or started is None:
            return False
        left = seconds - (times.now() - times.parse(started)).total_seconds()
        if left > 0:
            self.enqueue_after(key_of(job), left)
        return bool(left <= 0)

    def _forget(self, job: Object) -> None:
        """Deletes a Job that has been over for as long as it says."""
        seconds = job["spec"].get("ttlSecondsAfterFinished")
        if seconds is None:
            return
        ended = max(each["lastTransitionTime"] for each in job["status"]["conditions"])
        left = seconds - (times.now() - times.parse(ended)).total_seconds()
        if left > 0:
            self.enqueue_after(key_of(job), left)
        else:
            self.registry.delete(kinds.JOB, job)

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


def _is_ignored(spec: Object, pod: Object) -> bool:
    """Whether a pod that failed does not count, by the Job's policy: it was taken away."""
    rules = (spec.get("podFailurePolicy") or {}).get("rules") or []
    status = pod.get("status") or {}
    true = {c["type"] for c in status.get("conditions") or [] if c["status"] == "True"}
    ignored = {
        pattern["type"]
        for rule in rules
        if rule["action"] == "Ignore"
        for pattern in rule.get("onPodConditions") or []
    }
    return status.get("phase") == "Failed" and bool(true & ignored)


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
