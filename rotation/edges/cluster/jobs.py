"""Makes Jobs from the templates of CronJobs, and looks how they end, in known words.

A pod template is copied as the API server has it: the SDK would leave out what it does not know,
and what is in it may be secret.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from rotation.decisions.jobs import SLACK
from rotation.edges.cluster.client import TIMEOUT, resource_version
from rotation.edges.cluster.patches import MANAGER, OURS, ROTATION
from rotation.edges.cluster.pods import ENDED, claim_of, pod_of
from rotation.model.errors import Conflict, Invalid, Missing
from rotation.model.reasons import Code
from rotation.model.world import Job, JobTemplate, Template

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.edges.cluster.client import Api
    from rotation.model.targets import CronJobTarget, JobTarget
    from rotation.model.wire import JsonObject
    from rotation.model.world import JobState, JobWanted

RUN = f"{OURS}run"  # of a Job and of its pod
# https://pkg.go.dev/k8s.io/api/batch/v1#pkg-constants: why a Job has failed.
WHY = {"BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy"}


class KubernetesJobs:
    """Implements `contracts.jobs.Jobs`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def template(self, target: CronJobTarget) -> JobTemplate | None:
        what = f"CronJob {target}"
        try:
            with self._api.translated("read", what):
                answer: Any = self._api.batch.read_namespaced_cron_job(
                    target.name,
                    target.namespace,
                    _preload_content=False,
                    _request_timeout=TIMEOUT,
                )
                return _template(json.loads(answer.data))
        except Missing:
            return None

    def attempt(self, target: JobTarget, wanted: JobWanted) -> None:
        with self._api.translated("try to make", f"Job {target}"):
            self._create(target, wanted, dry_run="All")

    def make(self, target: JobTarget, wanted: JobWanted) -> None:
        with self._api.translated("make", f"Job {target}"):
            try:
                self._create(target, wanted)
            except ApiException as error:
                if error.status != 409:
                    raise
                made = self._api.batch.read_namespaced_job(
                    target.name, target.namespace, _request_timeout=TIMEOUT
                )
            else:
                return
        if _note(made, ROTATION) != wanted.rotation:
            text = f"Job {target} is there, and was not made by this rotation"
            raise Conflict(Code.JOB_FOREIGN, text)

    def of_run(self, namespace: str, run: str) -> list[Job]:
        with self._api.translated("list Jobs in", f"namespace {namespace}"):
            jobs, _ = self._listed(namespace, run)
            return self._seen(namespace, run, jobs)

    def watch(
        self, namespace: str, run: str, until: Callable[[list[Job]], bool], seconds: float
    ) -> list[Job]:
        with self._api.translated("watch Jobs in", f"namespace {namespace}"):
            jobs, version = self._listed(namespace, run)
            if not until(_without_pods(jobs)):
                for event in self._api.watch(
                    self._api.batch.list_namespaced_job,
                    namespace,
                    seconds,
                    label_selector=f"{RUN}={run}",
                    resource_version=version,
                ):
                    name = str(event["object"].metadata.name)
                    jobs.pop(name, None)
                    if event["type"] != "DELETED":
                        jobs[name] = event["object"]
                    if until(_without_pods(jobs)):
                        break
            return self._seen(namespace, run, jobs)

    def _create(self, target: JobTarget, wanted: JobWanted, **more: Any) -> None:
        body: Any = manifest(target, wanted)
        self._api.batch.create_namespaced_job(
            target.namespace, body, field_manager=MANAGER, _request_timeout=TIMEOUT, **more
        )

    def _listed(self, namespace: str, run: str) -> tuple[dict[str, client.V1Job], str]:
        """The Jobs of a run by name, and the version of the list. Raises what the SDK raises."""
        listed = self._api.batch.list_namespaced_job(
            namespace, label_selector=f"{RUN}={run}", _request_timeout=TIMEOUT
        )
        jobs = {str(job.metadata.name): job for job in listed.items if job.metadata}
        return jobs, resource_version(listed.metadata)

    def _seen(self, namespace: str, run: str, jobs: dict[str, client.V1Job]) -> list[Job]:
        """The Jobs with how their pods do. Raises what the SDK raises."""
        pods = self._api.core.list_namespaced_pod(
            namespace, label_selector=f"{RUN}={run}", _request_timeout=TIMEOUT
        ).items
        return [_job(job, _of(job, pods)) for _, job in sorted(jobs.items())]


def manifest(target: JobTarget, wanted: JobWanted) -> JsonObject:
    """The Job as it is made: one pod, tried once.

    A pod that the cluster takes away, as a drain does, does not count as tried. The CronJob owns
    it, so that it goes with it, and does not control it: its own history does not count it.
    """
    template = wanted.template.template.document
    metadata, spec = dict(template.get("metadata") or {}), dict(template.get("spec") or {})
    labels = {**(metadata.get("labels") or {}), RUN: wanted.run}
    # A pod that ends by its own deadline stays, with its log.
    spec |= {"restartPolicy": "Never", "activeDeadlineSeconds": wanted.seconds}
    ignored = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": target.name,
            "namespace": target.namespace,
            "labels": {RUN: wanted.run},
            "annotations": {ROTATION: wanted.rotation},
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1",
                    "kind": "CronJob",
                    "name": wanted.template.name,
                    "uid": wanted.template.uid,
                }
            ],
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": wanted.seconds + SLACK,
            "ttlSecondsAfterFinished": wanted.kept,
            "podFailurePolicy": {"rules": [ignored]},
            "template": {"metadata": {**metadata, "labels": labels}, "spec": spec},
        },
    }


def _template(document: JsonObject) -> JobTemplate:
    """A CronJob as the API server answered it. Raises `Invalid` if it is none."""
    metadata, spec = document.get("metadata") or {}, document.get("spec") or {}
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    if not metadata.get("name") or not metadata.get("uid") or not job.get("template"):
        text = "the API server answered a CronJob without metadata or template"
        raise Invalid(Code.CLUSTER_ANSWER, text)
    counts = {job.get(key, 1) for key in ("completions", "parallelism")}
    one = counts == {1} and job.get("completionMode", "NonIndexed") == "NonIndexed"
    return JobTemplate(
        name=str(metadata["name"]),
        uid=str(metadata["uid"]),
        suspended=spec.get("suspend") is True,
        template=Template(job["template"]),
        pods=1 if one else 0,
    )


def _note(job: client.V1Job, key: str) -> str | None:
    metadata = job.metadata or client.V1ObjectMeta()
    return (metadata.annotations or {}).get(key)


def _without_pods(jobs: dict[str, client.V1Job]) -> list[Job]:
    return [_job(job, None) for job in jobs.values()]


def _of(job: client.V1Job, pods: list[client.V1Pod]) -> client.V1Pod | None:
    """The Job's pod: the last one that was made for it, where the cluster has taken some away."""
    uid = job.metadata.uid if job.metadata else None
    own = [pod for pod in pods if (by := claim_of(pod).controller) and by.uid == uid]
    return max(own, key=_made, default=None)


def _made(pod: client.V1Pod) -> str:
    return str(pod.metadata.creation_timestamp if pod.metadata else None)


def _job(seen: client.V1Job, pod: client.V1Pod | None) -> Job:
    """The SDK's Job as a `Job`. Its name is that of one which was asked for, or is left out by
    whoever looks."""
    status = seen.status or client.V1JobStatus()
    state: JobState = "running"
    why, ended_at = None, status.completion_time
    for condition in status.conditions or []:
        if condition.status == "True" and condition.type in {"Complete", "Failed"}:
            state = "complete" if condition.type == "Complete" else "failed"
            if state == "failed":
                why = condition.reason if condition.reason in WHY else "Failed"
            ended_at = ended_at or condition.last_transition_time
    exit_code, ended, waiting = _how(pod) if pod is not None else (None, None, None)
    if state == "complete":
        exit_code = 0
    return Job(
        name=str(seen.metadata.name if seen.metadata else ""),
        rotation=_note(seen, ROTATION),
        state=state,
        began=status.start_time,
        ended_at=ended_at,
        exit_code=exit_code,
        why=why,
        ended=ended,
        waiting=waiting,
    )


def _how(pod: client.V1Pod) -> tuple[int | None, str | None, str | None]:
    """The exit code of a pod's container that failed, why it or the pod ended, and why the pod does
    not run."""
    how, status = pod_of(pod), pod.status or client.V1PodStatus()
    own = status.reason if status.reason in ENDED | {"Evicted"} else None
    return how.exit_code, own or how.ended, how.waiting
