"""Whole rotations of a web application and a pair of CronJobs, whose Jobs are real processes."""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import BatchV1Api

from local import world
from local.cluster.client import apply, read_manifests
from local.process import wait_until
from local.stack import APP, Options, Stack
from local.stack.provisioner import PODS
from rotation.model.world import SLOTS, Slot, other
from tests.conftest import QUICK
from tests.e2e.test_rotation import active, codes, ended, started, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

NAME, SPACE = "report", "orders"
REPORT = {
    "name": NAME,
    "cluster": "local",
    "namespace": SPACE,
    "service": NAME,
    "cronJobs": {slot: f"{NAME}-{slot}" for slot in SLOTS},
    "application": "orders-report",
    "drain": "60s",
}
JOB_SECONDS = 2  # of what runs by schedule
DUE = "batch.kubernetes.io/cronjob-scheduled-timestamp"
NEVER, EACH_MINUTE = "0 0 29 2 *", "* * * * *"


@pytest.fixture(scope="module")
def scheduled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A web application and the CronJobs of the example's own manifests."""
    retry = {"patience": "6m", "compensation": "6m"}
    credential = QUICK | {"workloads": [*QUICK["workloads"], REPORT], "retry": retry}
    options = Options(replicas=1, watch_seconds=2, credential=credential)
    with Stack(tmp_path_factory.mktemp("scheduled"), options) as stack:
        apply(stack.owner.kubernetes, list(manifests(stack)))
        yield stack


def manifests(stack: Stack) -> Iterator[dict[str, Any]]:
    for found in read_manifests(world.MANIFESTS / "example" / "report.yaml"):
        manifest = world.localised(
            found, stack.addresses, app=APP.principal_id, pods=PODS.client_id
        )
        if manifest["kind"] == "CronJob":
            spec = manifest["spec"]
            spec |= {"schedule": NEVER, "startingDeadlineSeconds": 30}
            spec["successfulJobsHistoryLimit"] = 20
            (container,) = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
            container["env"].append({"name": "JOB_SECONDS", "value": str(JOB_SECONDS)})
        yield manifest


def batch(stack: Stack) -> Any:
    return BatchV1Api(stack.owner.kubernetes)


def schedule(stack: Stack, text: str) -> None:
    for slot in SLOTS:
        body = {"spec": {"schedule": text}}
        batch(stack).patch_namespaced_cron_job(f"{NAME}-{slot}", SPACE, body)


def suspended(stack: Stack) -> dict[str, bool]:
    return {
        slot: batch(stack).read_namespaced_cron_job(f"{NAME}-{slot}", SPACE).spec.suspend
        for slot in SLOTS
    }


def by_hand(stack: Stack, slot: Slot, name: str, seconds: float) -> None:
    """What `kubectl create job --from` makes, which takes its time."""
    owner = batch(stack).read_namespaced_cron_job(f"{NAME}-{slot}", SPACE)
    path = f"/apis/batch/v1/namespaces/{SPACE}/cronjobs/{NAME}-{slot}"
    spec = stack.owner.kubernetes_get(path)["spec"]["jobTemplate"]["spec"]
    for variable in spec["template"]["spec"]["containers"][0]["env"]:
        if variable["name"] == "JOB_SECONDS":
            variable["value"] = str(seconds)
    reference = {"apiVersion": "batch/v1", "kind": "CronJob", "name": owner.metadata.name}
    reference |= {"uid": owner.metadata.uid, "controller": True}
    notes = {"cronjob.kubernetes.io/instantiate": "manual"}
    metadata = {"name": name, "ownerReferences": [reference], "annotations": notes}
    batch(stack).create_namespaced_job(SPACE, {"metadata": metadata, "spec": spec})


def jobs(stack: Stack, slot: Slot) -> list[dict[str, Any]]:
    """All Jobs of the slot's CronJob, as the API server has them."""
    found = stack.owner.kubernetes_get(f"/apis/batch/v1/namespaces/{SPACE}/jobs")["items"]
    owner = f"{NAME}-{slot}"
    return [job for job in found if job["metadata"]["ownerReferences"][0]["name"] == owner]


def outcome(job: dict[str, Any]) -> str:
    conditions = (job.get("status") or {}).get("conditions") or []
    return str(conditions[0]["type"]) if conditions else ""


def swapping(record: dict[str, Any]) -> bool:
    return record["stage"] == "swap" or waiting(record)


@pytest.mark.guarantee(1, 2)
@pytest.mark.parametrize("decision", ["reject", "approve"])
def test_a_job_that_runs_across_the_swap_ends_by_itself(scheduled: Stack, decision: str) -> None:
    before = active(scheduled)
    name = f"{NAME}-{decision}"
    rotation = started(scheduled)
    # The swap has at least ten seconds before it: the other slot's pods may take long to start.
    scheduled.client.follow(rotation, swapping, timeout=120)
    by_hand(scheduled, before, name, 40)
    record = scheduled.client.follow(rotation, waiting, timeout=120)
    assert record["outcome"] is None, record["outcomeReason"]
    assert suspended(scheduled) == {before: True, other(before): False}
    evidence = scheduled.client.api("GET", f"/rotations/{rotation}/evidence").json
    assert evidence["jobs"] == {NAME: [name]}
    assert (evidence["complete"], evidence["stillInUse"]) == (True, []), evidence
    own = [row for row in evidence["sessions"] if row["workload"] == NAME]
    assert {(row["role"], row["slot"]) for row in own} == {(f"orders_{before}", before)}
    by_hand(scheduled, other(before), f"{name}-new", 8)
    scheduled.client.decide(rotation, decision)
    record = ended(scheduled, rotation)
    assert record["outcome"] == ("completed" if decision == "approve" else "rolled-back")
    serving = other(before) if decision == "approve" else before
    assert suspended(scheduled) == {serving: False, other(serving): True}
    path = f"/api/v1/namespaces/{SPACE}/services/{NAME}"
    assert scheduled.owner.kubernetes_get(path)["spec"]["selector"]["slot"] == serving
    ran = {job["metadata"]["name"]: job for slot in SLOTS for job in jobs(scheduled, slot)}
    for one in (name, f"{name}-new"):
        wait_until(lambda: outcomes(scheduled)[one], 60, f"the end of {one}")  # noqa: B023
        assert (outcomes(scheduled)[one], ran[one]["status"].get("failed") or 0) == ("Complete", 0)
    # What was retired had ended before its login went.
    gone = name if decision == "approve" else f"{name}-new"
    assert outcome(ran[gone]) == "Complete"
    told = json.dumps(record)
    assert "jobs-left" not in told


def outcomes(stack: Stack) -> dict[str, str]:
    return {job["metadata"]["name"]: outcome(job) for slot in SLOTS for job in jobs(stack, slot)}


def test_each_minute_is_run_once(scheduled: Stack) -> None:
    before = active(scheduled)
    schedule(scheduled, EACH_MINUTE)
    try:
        wait_until(lambda: dues(scheduled, before), 90, "a run by schedule")
        rotation = started(scheduled)
        record = scheduled.client.follow(rotation, waiting, timeout=150)
        assert record["outcome"] is None, record["outcomeReason"]
        wait_until(lambda: dues(scheduled, other(before)), 90, "a run of the new slot")
        scheduled.client.decide(rotation, "approve")
        assert ended(scheduled, rotation)["outcome"] == "completed"
    finally:
        schedule(scheduled, NEVER)
    runs = sorted([*dues(scheduled, before), *dues(scheduled, other(before))])
    assert len(runs) >= 2
    steps = {later - earlier for earlier, later in itertools.pairwise(runs)}
    assert steps == {timedelta(minutes=1)}
    assert set(outcomes(scheduled).values()) == {"Complete"}


def dues(stack: Stack, slot: Slot) -> list[datetime]:
    """The minutes that the slot's CronJob has made a Job of."""
    notes = (job["metadata"].get("annotations") or {} for job in jobs(stack, slot))
    return [datetime.fromisoformat(each[DUE]) for each in notes if DUE in each]


def test_a_standby_that_is_not_suspended_is_refused_with_the_command(scheduled: Stack) -> None:
    before = active(scheduled)
    body = {"spec": {"suspend": False}}
    batch(scheduled).patch_namespaced_cron_job(f"{NAME}-{other(before)}", SPACE, body)
    try:
        record = ended(scheduled, started(scheduled))
    finally:
        body = {"spec": {"suspend": True}}
        batch(scheduled).patch_namespaced_cron_job(f"{NAME}-{other(before)}", SPACE, body)
    assert (record["outcome"], codes(record)) == ("refused", {"standby-not-suspended"})
    assert '--type merge --patch \'{"spec": {"suspend": true}}\'' in record["outcomeReason"]
