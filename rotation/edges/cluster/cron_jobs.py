"""Looks at CronJobs and their Jobs, suspends and resumes them, and sets what Jobs are made from."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kubernetes import client

from rotation.decisions import ownership
from rotation.edges.cluster import events, patches
from rotation.edges.cluster.client import STRATEGIC, TIMEOUT, uid_of
from rotation.edges.cluster.patches import Note
from rotation.edges.cluster.pods import claim_of, name_of, pod_of
from rotation.edges.cluster.races import revision_of, swapped
from rotation.edges.cluster.rollouts import known_version
from rotation.model.errors import Missing
from rotation.model.world import CronJob, StartedJob, Template

if TYPE_CHECKING:
    from rotation.edges.cluster.client import Api
    from rotation.model.targets import CronJobTarget
    from rotation.model.wire import JsonObject
    from rotation.model.world import Pod

# https://kubernetes.io/docs/reference/labels-annotations-taints/
DUE = "batch.kubernetes.io/cronjob-scheduled-timestamp"
BY_HAND = "cronjob.kubernetes.io/instantiate"
JOB_NAME = "batch.kubernetes.io/job-name"  # the label of a Job's pods
# Settings that two CronJobs of a workload have in common; of others nobody sees a difference in
# what runs, and when.
OF_RUNS = ("concurrencyPolicy", "schedule", "timeZone")
OF_ITS_JOBS = (
    "activeDeadlineSeconds", "backoffLimit", "backoffLimitPerIndex", "completionMode",
    "completions", "maxFailedIndexes", "parallelism", "podFailurePolicy", "podReplacementPolicy",
    "successPolicy", "ttlSecondsAfterFinished",
)  # fmt: skip


class ScheduledJobs:
    """Implements `contracts.cron_jobs.CronJobs`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def cron_job(self, target: CronJobTarget) -> CronJob | None:
        try:
            with self._api.translated("read", f"CronJob {target}"):
                return cron_job_of(self._read(target))
        except Missing:
            return None

    def jobs(self, target: CronJobTarget) -> list[StartedJob]:
        return sorted((job_of(each) for each in self._jobs(target)), key=lambda job: job.name)

    def pods(self, target: CronJobTarget) -> list[Pod]:
        running = [job for job in self._jobs(target) if not job_of(job).over]
        uids = {uid_of(job.metadata) for job in running}
        if not running:
            return []
        names = ",".join(sorted(job_of(job).name for job in running))
        with self._api.translated("list pods in", f"namespace {target.namespace}"):
            listed = self._api.core.list_namespaced_pod(
                target.namespace,
                label_selector=f"{JOB_NAME} in ({names})",
                _request_timeout=TIMEOUT,
            ).items
            claims = [(pod, claim_of(pod)) for pod in listed]
            own = [
                pod_of(pod)
                for pod, claim in claims
                if claim.controller is not None
                and claim.controller.uid in uids
                and claim.phase not in ownership.OVER
            ]
            return sorted(own, key=lambda pod: pod.name)

    def suspend(
        self,
        target: CronJobTarget,
        at: datetime,
        *,
        revision: str | None,
        by: str,
        fence: bool = False,
    ) -> None:
        body = patches.suspend(at, by if fence else None)
        self._patch("suspend", target, body, revision, Note(by, "SlotSuspended", "suspended it"))

    def resume(
        self, target: CronJobTarget, *, revision: str | None, by: str, fence: bool = False
    ) -> None:
        body = patches.suspend(None, by if fence else None)
        self._patch("resume", target, body, revision, Note(by, "SlotResumed", "resumed it"))

    def equip(
        self,
        target: CronJobTarget,
        *,
        images: dict[str, str],
        version: str | None,
        revision: str | None,
        by: str,
    ) -> None:
        named = "as it was" if version is None else f"with secret version {version}"
        note = Note(by, "SlotEquipped", f"equipped it {named}")
        self._patch("equip", target, patches.equip(images, version), revision, note)

    def _read(self, target: CronJobTarget) -> JsonObject:
        """The CronJob as the API server answers it: the SDK leaves out what it does not know.

        Raises what the SDK raises.
        """
        answer: Any = self._api.batch.read_namespaced_cron_job(
            target.name, target.namespace, _preload_content=False, _request_timeout=TIMEOUT
        )
        document: JsonObject = json.loads(answer.data)
        return document

    def _jobs(self, target: CronJobTarget) -> list[client.V1Job]:
        """The Jobs that the CronJob controls. Raises `Missing`."""
        with self._api.translated("read", f"CronJob {target}"):
            uid = _metadata(self._read(target)).uid
        with self._api.translated("list Jobs in", f"namespace {target.namespace}"):
            listed = self._api.batch.list_namespaced_job(
                target.namespace, _request_timeout=TIMEOUT
            ).items
            return [job for job in listed if uid is not None and _owner(job) == uid]

    def _patch(
        self,
        verb: str,
        target: CronJobTarget,
        body: JsonObject,
        revision: str | None,
        note: Note,
    ) -> None:
        with self._api.translated(verb, f"CronJob {target}"):
            made = swapped(
                lambda version: self._api.batch.patch_namespaced_cron_job(
                    target.name,
                    target.namespace,
                    patches.with_metadata(body, version, note),
                    field_manager=patches.MANAGER,
                    _content_type=STRATEGIC,
                    _request_timeout=TIMEOUT,
                ),
                lambda: revision_of(_metadata(self._read(target))),
                revision,
            )
            uid = uid_of(made.metadata)
        told = events.Subject("batch/v1", "CronJob", target.namespace, target.name, uid)
        events.tell(self._api, told, note)


def cron_job_of(document: JsonObject) -> CronJob:
    """The API server's CronJob as a `CronJob`. Raises what `client.STRANGE` has for what is
    none."""
    metadata, spec, status = document["metadata"], document["spec"], document.get("status") or {}
    notes = metadata.get("annotations") or {}
    of_job = spec["jobTemplate"]["spec"]
    template = of_job["template"]
    labelled = template.get("metadata") or {}
    pod = template["spec"]
    images = {each["name"]: str(each.get("image") or "") for each in pod["containers"]}
    for each in pod.get("initContainers") or []:
        images[f"init:{each['name']}"] = str(each.get("image") or "")
    deadline = spec.get("startingDeadlineSeconds")
    settings = {name: spec.get(name) for name in OF_RUNS}
    settings |= {f"jobTemplate.spec.{name}": of_job.get(name) for name in OF_ITS_JOBS}
    return CronJob(
        namespace=str(metadata["namespace"]),
        name=str(metadata["name"]),
        suspended=bool(spec.get("suspend")),
        deadline=None if deadline is None else int(deadline),
        alone=spec.get("concurrencyPolicy") not in {None, "Allow"},
        images=images,
        version=known_version((labelled.get("annotations") or {}).get(patches.VERSION)),
        last=_moment(status.get("lastScheduleTime")),
        paused=_noted(notes.get(patches.SUSPENDED)),
        fence=notes.get(patches.FENCE),
        settings=settings,
        labels=dict(labelled.get("labels") or {}),
        template=Template(template),
        revision=revision_of(_metadata(document)),
    )


def job_of(job: client.V1Job) -> StartedJob:
    """The SDK's Job as a `Job`. Raises `ValueError` for what is none: names stand in records."""
    metadata, status = job.metadata, job.status or client.V1JobStatus()
    name = name_of(client.V1Pod(metadata=metadata))
    if metadata is None or metadata.creation_timestamp is None:
        raise ValueError("not a Job")
    over = any(
        each.type in {"Complete", "Failed"} and each.status == "True"
        for each in status.conditions or []
    )
    notes = metadata.annotations or {}
    made = None if notes.get(BY_HAND) == "manual" else metadata.creation_timestamp
    return StartedJob(name, _noted(notes.get(DUE)) or made, over)


def _owner(job: client.V1Job) -> str | None:
    """The uid of what controls a Job, if anything does."""
    owners = (job.metadata.owner_references if job.metadata else None) or []
    return next((str(owner.uid) for owner in owners if owner.controller), None)


def _metadata(document: JsonObject) -> client.V1ObjectMeta:
    """What of an object's metadata a revision is made of."""
    metadata = document.get("metadata") or {}
    return client.V1ObjectMeta(
        uid=metadata.get("uid"),
        generation=metadata.get("generation"),
        annotations=metadata.get("annotations"),
        resource_version=metadata.get("resourceVersion"),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _noted(text: object) -> datetime | None:
    """The time that an annotation names; None if it names none: anybody may have written it."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
