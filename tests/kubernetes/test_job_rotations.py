"""Whole rotations with tests that are Jobs on a real API server, with its own Job controller, under
the rights and guards of infra/kubernetes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.stack import APP, Options
from rotation.model.world import other
from tests.e2e.test_job_tests import behave, credential, jobs, provide
from tests.e2e.test_rotation import active, codes, ended, started, waiting
from tests.kubernetes.conftest import needs_binaries
from tests.kubernetes.test_rotations import RealStack

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStack]:
    options = Options(replicas=1, watch_seconds=2, credential=credential())
    with RealStack(tmp_path_factory.mktemp("jobs"), options) as running:
        provide(running)
        yield running


@needs_binaries
@pytest.mark.timeout(600)
def test_one_that_passes_lets_the_rotation_complete(real: RealStack) -> None:
    slot = other(active(real))
    rotation = started(real)
    record = real.client.follow(rotation, waiting, timeout=150)
    assert record["outcome"] is None, record["outcomeReason"]
    evidence = real.client.api("GET", f"/rotations/{rotation}/evidence").json
    (result,) = [one for one in evidence["tests"]["web"] if one["job"]]
    assert (result["test"], result["passed"]) == (f"job web-check-{slot}", True)
    assert result["job"]["exitCode"] == 0
    assert "web-check" not in str(evidence["sessions"])  # it is over by then
    real.client.decide(rotation, "approve")
    assert ended(real, rotation)["outcome"] == "completed"
    made = jobs(real, rotation)
    assert len(made) == 2
    asked = [e for e in real.plane.events() if e["user"]["username"] == APP.principal_id]
    denied = {e["annotations"]["authorization.k8s.io/decision"] for e in asked} - {"allow"}
    assert denied == set()


@needs_binaries
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"CHECK_EXIT": "3"}, "exit code 3 after"),
        ({"CHECK_SECONDS": "600"}, "(DeadlineExceeded) after"),
    ],
)
def test_one_that_fails_or_hangs_stops_the_rotation(
    real: RealStack, variables: dict[str, str], problem: str
) -> None:
    serving = active(real)
    behave(real, other(serving), **variables)
    try:
        rotation = started(real)
        record = ended(real, rotation)
    finally:
        behave(real, other(serving))
    assert (record["outcome"], codes(record)) == ("aborted", {"job-failed"})
    assert problem in record["outcomeReason"]
    (made,) = jobs(real, rotation)
    assert (
        f"kubectl logs --namespace shop job/{made['metadata']['name']}" in record["outcomeReason"]
    )
    assert active(real) == serving
