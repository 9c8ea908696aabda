"""Whole rotations with a test that is a Kubernetes Job, under the guard of such Jobs."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import BatchV1Api

from local import world
from local.cluster.client import apply, read_manifests
from local.process import wait_until
from local.stack import APP, Options, Stack
from local.stack.provisioner import PODS
from rotation.model.world import other
from tests.conftest import QUICK
from tests.e2e.test_rotation import active, codes, ended, started, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

SPACE = "shop"


def credential() -> dict[str, Any]:
    found = copy.deepcopy(QUICK)
    for workload in found["workloads"]:
        if workload["name"] == "web":
            workload["tests"] = [*workload["tests"], {"job": "web-check-{slot}", "timeout": "15s"}]
    return found


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    options = Options(replicas=1, watch_seconds=2, credential=credential())
    with Stack(tmp_path_factory.mktemp("jobs"), options) as stack:
        provide(stack)
        yield stack


def provide(stack: Stack) -> None:
    """Applies the guard and the CronJobs, as their owner has them."""
    for file in ("jobs-guard.yaml", "example/web-check.yaml"):
        for found in read_manifests(world.MANIFESTS / file):
            addresses = stack.addresses
            manifest = world.localised(found, addresses, app=APP.principal_id, pods=PODS.client_id)
            if manifest["kind"] == "CronJob":
                pod = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]
                pod["terminationGracePeriodSeconds"] = 1
            apply(stack.owner.kubernetes, [manifest])


def behave(stack: Stack, slot: str, **variables: str) -> None:
    """Gives the slot's check other variables of its own, in the place of those that it has."""
    name = f"web-check-{slot}"
    batch = BatchV1Api(stack.owner.kubernetes)
    path = f"/apis/batch/v1/namespaces/{SPACE}/cronjobs/{name}"
    template = stack.owner.kubernetes_get(path)["spec"]["jobTemplate"]
    (container,) = template["spec"]["template"]["spec"]["containers"]
    own = [one for one in container["env"] if not one["name"].startswith("CHECK_")]
    container["env"] = own + [{"name": key, "value": text} for key, text in variables.items()]
    # As a JSON patch: others merge variables by their names, and those that are left out stay.
    whole = [{"op": "replace", "path": "/spec/jobTemplate", "value": template}]
    batch.patch_namespaced_cron_job(name, SPACE, whole)


def jobs(stack: Stack, rotation: str) -> list[dict[str, Any]]:
    found = stack.owner.kubernetes_get(f"/apis/batch/v1/namespaces/{SPACE}/jobs")["items"]
    key = "credential-rotation/rotation"
    return [job for job in found if (job["metadata"].get("annotations") or {}).get(key) == rotation]


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("decision", ["reject", "approve"])
def test_a_job_logs_in_as_the_slots_role_and_an_approver_sees_how_it_ended(
    checked: Stack, decision: str
) -> None:
    slot = other(active(checked))
    rotation = started(checked)
    record = checked.client.follow(rotation, waiting)
    assert record["outcome"] is None, record["outcomeReason"]
    evidence = checked.client.api("GET", f"/rotations/{rotation}/evidence").json
    assert (evidence["complete"], evidence["passed"]) == (True, True), evidence
    (result,) = [one for one in evidence["tests"]["web"] if one["job"]]
    job = result["job"]
    assert (result["test"], job["exitCode"]) == (f"job web-check-{slot}", 0)
    assert job["seconds"] >= 0
    assert job["logs"] == f"kubectl logs --namespace shop job/{job['name']} --all-containers"
    assert evidence["stillInUse"] == []
    made = jobs(checked, rotation)
    assert len(made) == 2
    assert job["name"] in [one["metadata"]["name"] for one in made]
    checked.client.decide(rotation, decision)
    record = ended(checked, rotation)
    assert record["outcome"] == ("completed" if decision == "approve" else "rolled-back")
    assert len(jobs(checked, rotation)) == 2


@pytest.mark.guarantee(2)
@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"CHECK_EXIT": "3"}, "exit code 3 after"),
        ({"CHECK_SECONDS": "600"}, "(DeadlineExceeded) after"),
    ],
)
def test_one_that_fails_or_hangs_stops_the_rotation_before_the_swap(
    checked: Stack, variables: dict[str, str], problem: str
) -> None:
    serving = active(checked)
    slot = other(serving)
    behave(checked, slot, **variables)
    try:
        rotation = started(checked)
        record = ended(checked, rotation)
    finally:
        behave(checked, slot)
    assert record["outcome"] == "aborted", record["outcomeReason"]
    assert codes(record) == {"job-failed"}
    (made,) = jobs(checked, rotation)
    logs = f"kubectl logs --namespace shop job/{made['metadata']['name']}"
    assert f"job web-check-{slot}: exit code" in record["outcomeReason"]
    assert problem in record["outcomeReason"]
    assert logs in record["outcomeReason"]
    assert "logged in as" not in str(record)
    assert active(checked) == serving


@pytest.mark.guarantee(2)
def test_one_that_fails_after_the_swap_goes_back(checked: Stack) -> None:
    """Its CronJob is changed while the Job runs that was made from it before."""
    serving = active(checked)
    slot = other(serving)
    behave(checked, slot, CHECK_SECONDS="5")
    try:
        rotation = started(checked)
        wait_until(lambda: len(jobs(checked, rotation)) == 1, 60, "the first Job")
        behave(checked, slot, CHECK_EXIT="4")
        record = ended(checked, rotation)
    finally:
        behave(checked, slot)
    assert record["outcome"] == "rolled-back", record["outcomeReason"]
    assert codes(record) == {"job-failed"}
    assert "exit code 4 after" in record["outcomeReason"]
    assert len(jobs(checked, rotation)) == 2
    assert active(checked) == serving


def test_what_is_not_suspended_or_not_listed_is_refused_by_the_plan(checked: Stack) -> None:
    batch = BatchV1Api(checked.owner.kubernetes)
    name = f"web-check-{other(active(checked))}"
    batch.patch_namespaced_cron_job(name, SPACE, {"spec": {"suspend": False}})
    record = ended(checked, started(checked))
    batch.patch_namespaced_cron_job(name, SPACE, {"spec": {"suspend": True}})
    assert (record["outcome"], codes(record)) == ("refused", {"job-not-suspended"})
