"""Whole rotations of a queue worker that nothing calls, with a real queue in PostgreSQL."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest
from kubernetes.client import AppsV1Api

from local import world
from local.cluster.client import apply, read_manifests
from local.postgres.provision import run_sql
from local.process import wait_until
from local.stack import APP, Options, Stack
from local.stack.provisioner import PODS
from rotation.model.world import Slot, other
from tests.conftest import QUICK
from tests.e2e.test_rotation import active, codes, ended, started, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

NAME, SPACE = "mailer", "orders"
MAILER = {
    "name": NAME,
    "cluster": "local",
    "namespace": SPACE,
    "service": NAME,
    "deployments": {slot: f"{NAME}-{slot}" for slot in ("blue", "green")},
    "application": "orders-mailer",
    # One test has a slot's pods log in as the other role, and a look at templates would find it.
    "differs": [f"spec.containers[{NAME}].env", "spec.volumes[secrets]"],
    "ready": "20s",
    "drain": "20s",
}
JOB_SECONDS = 0.3  # so that at the swap each pod has one
PAUSE = 0.2  # seconds between two new jobs: two pods are done with more


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A web application and a worker, of the example's own manifests."""
    credential = QUICK | {"workloads": [*QUICK["workloads"], MAILER]}
    options = Options(replicas=2, watch_seconds=2, credential=credential)
    with Stack(tmp_path_factory.mktemp("worker"), options) as stack:
        with psycopg.connect(stack.owner.dsn(world.DATABASE)) as connection:
            run_sql(connection, "queue", {"group": "orders"})
        apply(stack.owner.kubernetes, list(manifests(stack)))
        wait_until(lambda: stack.owner.ready(SPACE, f"{NAME}-blue"), 30, "the worker")
        yield stack


def manifests(stack: Stack) -> Iterator[dict[str, Any]]:
    for found in read_manifests(world.MANIFESTS / "example" / "mailer.yaml"):
        manifest = world.localised(
            found, stack.addresses, app=APP.principal_id, pods=PODS.client_id
        )
        if manifest["kind"] == "Deployment":
            (container,) = manifest["spec"]["template"]["spec"]["containers"]
            container["env"].append({"name": "JOB_SECONDS", "value": str(JOB_SECONDS)})
        yield manifest


class Jobs(NamedTuple):
    """The queue's jobs: how many there were, who has done them, and which were begun twice."""

    put: int
    left: int
    roles: set[str]
    begun_twice: int


@contextmanager
def stream(stack: Stack) -> Iterator[None]:
    """Somebody puts jobs into the queue all the time."""
    over = threading.Event()

    def puts() -> None:
        with psycopg.connect(stack.owner.dsn(world.DATABASE), autocommit=True) as connection:
            while not over.wait(PAUSE):
                connection.execute("INSERT INTO jobs DEFAULT VALUES")

    stack.owner.sql("TRUNCATE jobs, begun")
    thread = threading.Thread(target=puts)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def jobs(stack: Stack) -> Jobs:
    with psycopg.connect(stack.owner.dsn(world.DATABASE)) as connection:
        put, left, roles = connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE done_by IS NULL), "
            "coalesce(array_agg(DISTINCT done_as) FILTER (WHERE done_by IS NOT NULL), '{}') "
            "FROM jobs"
        ).fetchall()[0]
        (twice,) = connection.execute(
            "SELECT count(*) FROM (SELECT FROM begun GROUP BY job HAVING count(*) > 1) AS again"
        ).fetchall()[0]
    return Jobs(put, left, set(roles), twice)


def works(stack: Stack, slot: Slot) -> bool:
    return f"orders_{slot}" in jobs(stack).roles


def pods(stack: Stack, slot: Slot) -> list[str]:
    found = stack.owner.kubernetes_get(f"/api/v1/namespaces/{SPACE}/pods")["items"]
    names = (str(pod["metadata"]["name"]) for pod in found)
    return [name for name in names if name.startswith(f"{NAME}-{slot}-")]


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("decision", ["reject", "approve"])
def test_no_job_is_lost_and_none_is_done_twice(working: Stack, decision: str) -> None:
    before = active(working)
    with stream(working):
        wait_until(lambda: works(working, before), 20, "jobs that are done")
        rotation = started(working)
        record = working.client.follow(rotation, waiting)
        assert record["outcome"] is None, record["outcomeReason"]
        assert pods(working, before) == []
        assert len(pods(working, other(before))) == 2
        assert works(working, other(before))
        evidence = working.client.api("GET", f"/rotations/{rotation}/evidence").json
        working.client.decide(rotation, decision)
        record = ended(working, rotation)
        serving = other(before) if decision == "approve" else before
        working.owner.sql("UPDATE jobs SET done_as = NULL WHERE done_by IS NOT NULL")
        wait_until(lambda: works(working, serving), 20, "jobs that are done afterwards")
    assert record["outcome"] == ("completed" if decision == "approve" else "rolled-back")
    assert [step["step"] for step in record["steps"]].count("stop") == 1
    assert (evidence["complete"], evidence["passed"]) == (True, True), evidence
    (proof,) = evidence["tests"][NAME]
    assert (proof["test"], proof["role"]) == ("database sessions", f"orders_{other(before)}")
    assert {row["role"] for row in evidence["sessions"] if row["workload"] == NAME} == {
        f"orders_{other(before)}"
    }
    wait_until(lambda: jobs(working).left == 0, 60, "the end of the queue")
    found = jobs(working)
    assert found.put > 30
    assert found.begun_twice == 0
    assert (
        working.owner.kubernetes_get(f"/api/v1/namespaces/{SPACE}/services/{NAME}")["spec"][
            "selector"
        ]["slot"]
        == serving
    )
    assert pods(working, other(serving)) == []


@pytest.mark.guarantee(2)
def test_one_that_logs_in_as_the_other_role_is_stopped_before_the_swap(working: Stack) -> None:
    before = active(working)
    login(working, other(before), before)
    try:
        record = ended(working, started(working))
        assert record["outcome"] == "aborted", record["outcomeReason"]
        assert "tests-failed" in codes(record)
        assert f"sessions of the replaced role orders_{before}" in record["outcomeReason"]
        assert "swap" not in [step["step"] for step in record["steps"]]
        assert len(pods(working, before)) == 2
    finally:
        login(working, other(before), other(before))


def login(stack: Stack, of: Slot, to: Slot) -> None:
    """Gives the slot's pods that start from now on the login of one of the slots."""
    path = f"/apis/apps/v1/namespaces/{SPACE}/deployments/{NAME}-{of}"
    pod = stack.owner.kubernetes_get(path)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    for variable in container["env"]:
        if variable["name"] == "DATABASE_ROLE":
            variable["value"] = f"orders_{to}"
    (volume,) = pod["volumes"]
    volume["csi"]["volumeAttributes"]["secretProviderClass"] = world.secret(to)
    body = {"spec": {"template": {"spec": pod}}}
    AppsV1Api(stack.owner.kubernetes).patch_namespaced_deployment(f"{NAME}-{of}", SPACE, body)
