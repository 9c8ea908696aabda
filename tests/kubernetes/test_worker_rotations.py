"""Whole rotations of a queue worker that nothing calls on a real API server with its controllers,
under the rights and guard of infra/kubernetes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from local import world
from local.cluster.client import apply
from local.postgres.provision import run_sql
from local.process import wait_until
from local.stack import APP, Options
from rotation.model.world import other
from tests.conftest import QUICK
from tests.e2e.test_rotation import active, ended, started, waiting
from tests.e2e.test_worker import MAILER, NAME, SPACE, jobs, manifests, pods, stream, works
from tests.kubernetes.conftest import needs_binaries
from tests.kubernetes.test_rotations import RealStack

if TYPE_CHECKING:
    from collections.abc import Iterator

# Its pods have other addresses in this cluster than those that their sessions come from.
WORKER = MAILER | {"addresses": ["127.0.0.0/8"]}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStack]:
    credential = QUICK | {"workloads": [*QUICK["workloads"], WORKER]}
    options = Options(replicas=1, watch_seconds=2, credential=credential)
    with RealStack(tmp_path_factory.mktemp("worker"), options) as running:
        with psycopg.connect(running.owner.dsn(world.DATABASE)) as connection:
            run_sql(connection, "queue", {"group": "orders"})
        apply(running.owner.kubernetes, list(manifests(running)))
        wait_until(lambda: running.owner.ready(SPACE, f"{NAME}-blue"), 60, "the worker")
        yield running


@needs_binaries
@pytest.mark.timeout(600)
@pytest.mark.parametrize("decision", ["reject", "approve"])
def test_no_job_of_a_worker_is_lost_and_none_is_done_twice(real: RealStack, decision: str) -> None:
    before = active(real)
    after = other(before)
    with stream(real):
        wait_until(lambda: works(real, before), 30, "jobs that are done")
        rotation = started(real)
        record = real.client.follow(rotation, waiting, timeout=150)
        assert record["outcome"] is None, record["outcomeReason"]
        assert (len(pods(real, before)), len(pods(real, after))) == (0, 2)
        assert works(real, after)
        real.client.decide(rotation, decision)
        record = ended(real, rotation)
        serving = after if decision == "approve" else before
        real.owner.sql("UPDATE jobs SET done_as = NULL WHERE done_by IS NOT NULL")
        wait_until(lambda: works(real, serving), 30, "jobs that are done afterwards")
    assert record["outcome"] == ("completed" if decision == "approve" else "rolled-back")
    assert [step["step"] for step in record["steps"]].count("stop") == 1
    wait_until(lambda: jobs(real).left == 0, 60, "the end of the queue")
    assert jobs(real).begun_twice == 0
    service = real.owner.kubernetes_get(f"/api/v1/namespaces/{SPACE}/services/{NAME}")["spec"]
    assert (service["selector"]["slot"], service["clusterIP"]) == (serving, "None")
    assert pods(real, other(serving)) == []
    asked = [e for e in real.plane.events() if e["user"]["username"] == APP.principal_id]
    assert {e["annotations"]["authorization.k8s.io/decision"] for e in asked} == {"allow"}
