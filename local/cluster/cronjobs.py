"""CronJobs: a Job for each time that is due, unless it was missed for too long.

https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/
"""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from local.cluster import kinds, schedules, times
from local.cluster.controllers import (
    Controller,
    Key,
    is_controlled_by,
    key_of,
    leaving,
    owner_key,
    reference_to,
)
from local.cluster.errors import ApiError

if TYPE_CHECKING:
    from local.cluster.kinds import Object
    from local.cluster.store import Change

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
ENDINGS = {"Complete": "successfulJobsHistoryLimit", "Failed": "failedJobsHistoryLimit"}
MOST_MISSED = 1000  # that are looked at, one after the other


class CronJobController(Controller):
    kind = kinds.CRON_JOB

    def concerns(self, change: Change) -> list[Key]:
        if change.kind is kinds.CRON_JOB:
            return [key_of(change.object)]
        return owner_key(change.object, kinds.CRON_JOB) if change.kind is kinds.JOB else []

    def reconcile(self, obj: Object) -> None:
        namespace = obj["metadata"]["namespace"]
        jobs = [j for j in self.store.items(kinds.JOB, namespace) if is_controlled_by(j, obj)]
        status = copy.deepcopy(obj.get("status") or {})
        running = {job["metadata"]["uid"] for job in jobs if not _ending(job)}
        # Of what somebody made from it by hand the status tells nothing.
        status["active"] = [one for one in status.get("active") or [] if one["uid"] in running]
        for job in jobs:
            if _ending(job) == "Complete":
                done = [job["status"].get("completionTime"), status.get("lastSuccessfulTime")]
                status["lastSuccessfulTime"] = max(filter(None, done))
        if not leaving(obj) and not obj["spec"]["suspend"]:
            self._run(obj, jobs, status)
        self._report(obj, status)
        self._forget(obj, jobs)

    def _run(self, obj: Object, jobs: list[Object], status: Object) -> None:
        """Starts what is due, and comes back when something is due again."""
        now = times.now()
        schedule = schedules.parse(obj["spec"]["schedule"])
        following = schedule.next(now)
        if following is not None:
            self.enqueue_after(key_of(obj), (following - now).total_seconds() + 0.05)
        due = _last_missed(obj, now)
        if due is None or times.text(due) == status.get("lastScheduleTime"):
            return
        policy = obj["spec"]["concurrencyPolicy"]
        if policy == "Forbid" and status["active"]:
            return
        if policy == "Replace":
            active = {one["uid"] for one in status["active"]}
            for job in (job for job in jobs if job["metadata"]["uid"] in active):
                self.registry.delete(kinds.JOB, job)
            status["active"] = []
        try:
            made = self.registry.create(kinds.JOB, _new_job(obj, due))
        except ApiError as error:
            if error.code != 409:
                raise
            return  # another one of that minute
        metadata = made["metadata"]
        status["active"].append(
            {
                "apiVersion": made["apiVersion"],
                "kind": made["kind"],
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            }
        )
        status["lastScheduleTime"] = times.text(due)

    def _report(self, obj: Object, status: Object) -> None:
        def change(new: Object) -> None:
            new["status"] = status

        if status != (obj.get("status") or {}):
            self.registry.modify(kinds.CRON_JOB, obj, change, "status")

    def _forget(self, obj: Object, jobs: list[Object]) -> None:
        """Deletes ended Jobs beyond those that are kept, the oldest first."""
        for ending, limit in ENDINGS.items():
            ended = [job for job in jobs if _ending(job) == ending and not leaving(job)]
            ended.sort(key=lambda job: (job["status"].get("startTime") or "", key_of(job)))
            for job in ended[: max(0, len(ended) - obj["spec"][limit])]:
                self.registry.delete(kinds.JOB, job)


def _ending(job: Object) -> str:
    """How a Job has ended, empty for one that runs."""
    conditions = (job.get("status") or {}).get("conditions") or []
    ended = (
        one["type"] for one in conditions if one["type"] in ENDINGS and one["status"] == "True"
    )
    return next(ended, "")


def _last_missed(obj: Object, now: datetime) -> datetime | None:
    """The last time that was due, after the last one that was seen to and within the deadline."""
    spec, status = obj["spec"], obj.get("status") or {}
    schedule = schedules.parse(spec["schedule"])
    moment = times.parse(status.get("lastScheduleTime") or obj["metadata"]["creationTimestamp"])
    if spec.get("startingDeadlineSeconds") is not None:
        moment = max(moment, now - timedelta(seconds=spec["startingDeadlineSeconds"]))
    last = None
    for _ in range(MOST_MISSED):
        following = schedule.next(moment)
        if following is None or following > now:
            break
        last = moment = following
    return last


def _new_job(cron_job: Object, due: datetime) -> Object:
    template = copy.deepcopy(cron_job["spec"]["jobTemplate"])
    metadata = template.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), SCHEDULED: times.text(due)}
    return {
        "metadata": {
            "name": f"{cron_job['metadata']['name']}-{int(due.timestamp()) // 60}",
            "namespace": cron_job["metadata"]["namespace"],
            "labels": metadata.get("labels"),
            "annotations": annotations,
            "ownerReferences": [reference_to(cron_job)],
        },
        "spec": template["spec"],
    }
