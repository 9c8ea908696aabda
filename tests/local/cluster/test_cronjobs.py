"""CronJobs: what is stored of them, and when their schedules are due."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import ApiException

from local.cluster.schedules import parse
from local.process import wait_until

if TYPE_CHECKING:
    from tests.local.cluster.support import Kube, Manifest


def cron_job(name: str, schedule: str = "0 3 * * *", **spec: Any) -> Manifest:
    container = {"name": "run", "image": "shell:1", "command": ["true"]}
    pod = {"restartPolicy": "Never", "containers": [container]}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name},
        "spec": {
            "schedule": schedule,
            "jobTemplate": {"spec": {"template": {"spec": pod}}},
            **spec,
        },
    }


def test_one_is_stored_with_its_defaults_and_suspended_by_a_patch(kube: Kube) -> None:
    kube.apply(cron_job("nightly"))
    stored = kube.batch.read_namespaced_cron_job("nightly", kube.namespace)
    assert (stored.spec.suspend, stored.spec.concurrency_policy) == (False, "Allow")
    assert stored.spec.successful_jobs_history_limit == 3
    pod = stored.spec.job_template.spec.template.spec
    assert pod.termination_grace_period_seconds == 30
    image = {"containers": [{"name": "run", "image": "shell:2"}]}
    template = {"spec": {"template": {"spec": image}}}
    patched = kube.batch.patch_namespaced_cron_job(
        "nightly", kube.namespace, {"spec": {"suspend": True, "jobTemplate": template}}
    )
    (container,) = patched.spec.job_template.spec.template.spec.containers
    assert (container.image, container.command) == ("shell:2", ["true"])
    assert (patched.spec.suspend, patched.metadata.generation) == (True, 2)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("spec.schedule", {"schedule": "61 * * * *"}),
        ("spec.schedule", {"schedule": "TZ=UTC 0 3 * * *"}),
        ("spec.concurrencyPolicy", {"concurrencyPolicy": "Never"}),
        ("spec.startingDeadlineSeconds", {"startingDeadlineSeconds": -1}),
    ],
)
def test_what_cannot_run_is_refused(kube: Kube, field: str, change: dict[str, Any]) -> None:
    with pytest.raises(ApiException, match=field):
        kube.apply(cron_job("nightly", **change))
    with pytest.raises(ApiException, match="no more than 52 characters"):
        kube.apply(cron_job("n" * 53))


@pytest.mark.parametrize(
    ("schedule", "after", "due"),
    [
        ("* * * * *", "2026-02-28 23:59:10", "2026-03-01 00:00:00"),
        ("*/15 9-17 * * mon-fri", "2026-11-27 17:50:00", "2026-11-30 09:00:00"),
        ("0 3 13 * 5", "2026-11-01 00:00:00", "2026-11-06 03:00:00"),
        ("0 3 */2 * 5", "2026-11-01 04:00:00", "2026-11-03 03:00:00"),
        ("30 1 29 feb ?", "2026-03-01 00:00:00", "2028-02-29 01:30:00"),
        ("@weekly", "2026-11-30 00:00:00", "2026-12-06 00:00:00"),
        ("@every 1m30s", "2026-11-30 00:00:10", "2026-11-30 00:01:40"),
    ],
)
def test_a_schedule_is_due(schedule: str, after: str, due: str) -> None:
    def moment(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    assert parse(schedule).next(moment(after)) == moment(due)


@pytest.mark.parametrize(
    "schedule", ["", "* * * *", "a * * * *", "5-1 * * * *", "*/0 * * * *", "@every x", "@often"]
)
def test_a_schedule_that_is_none(schedule: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has words of its own
        parse(schedule)


def test_a_day_that_never_comes() -> None:
    assert parse("0 0 30 feb *").next(datetime(2026, 1, 1, tzinfo=UTC)) is None


def jobs(kube: Kube) -> list[Any]:
    return list(kube.batch.list_namespaced_job(kube.namespace).items)


def by_hand(kube: Kube, name: str, command: str) -> None:
    """What `kubectl create job --from` makes of a CronJob, with another command."""
    owner = kube.batch.read_namespaced_cron_job(name, kube.namespace)
    container = {"name": "run", "image": "shell:1", "command": ["sh", "-c", command]}
    reference = {"apiVersion": "batch/v1", "kind": "CronJob", "name": name, "controller": True}
    metadata = {
        "name": f"{name}-by-hand",
        "ownerReferences": [{**reference, "uid": owner.metadata.uid}],
    }
    pod = {"restartPolicy": "Never", "containers": [container]}
    body = {"metadata": metadata, "spec": {"template": {"spec": pod}}}
    kube.batch.create_namespaced_job(kube.namespace, body)


def status(kube: Kube, name: str) -> Any:
    return kube.batch.read_namespaced_cron_job(name, kube.namespace).status


def test_one_that_is_resumed_makes_up_for_the_last_run_within_its_deadline(kube: Kube) -> None:
    """Each was due a moment ago: one is allowed to be late, one is not, and one is suspended."""
    kube.apply(
        cron_job("late", "@every 1s", suspend=True, startingDeadlineSeconds=100),
        cron_job("too-late", "@every 1h", suspend=True, startingDeadlineSeconds=10),
        cron_job("suspended", "@every 1s", suspend=True),
    )
    created = kube.batch.read_namespaced_cron_job("late", kube.namespace).metadata
    time.sleep(1.1)  # `@every` counts from the creation
    for name in ("late", "too-late"):
        kube.batch.patch_namespaced_cron_job(name, kube.namespace, {"spec": {"suspend": False}})
    wait_until(lambda: jobs(kube), 10, "a Job")
    (job,) = jobs(kube)
    (owner,) = job.metadata.owner_references
    assert (owner.kind, owner.name, owner.uid) == ("CronJob", "late", created.uid)
    due = status(kube, "late").last_schedule_time
    assert job.metadata.name == f"late-{int(due.timestamp()) // 60}"
    assert due > created.creation_timestamp
    assert job.metadata.annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"]
    wait_until(
        lambda: (
            kube.batch.read_namespaced_cron_job("late", kube.namespace).status.last_successful_time
        ),
        10,
        "its end",
    )


def test_a_job_by_hand_is_none_of_its_active_ones_and_is_not_ended(kube: Kube) -> None:
    kube.apply(cron_job("nightly", suspend=True, successfulJobsHistoryLimit=0))
    by_hand(kube, "nightly", "sleep 1")
    wait_until(lambda: jobs(kube)[0].status.active == 1, 10, "its pod")
    assert not status(kube, "nightly").active
    wait_until(lambda: not jobs(kube), 10, "the end of what is kept of it")
