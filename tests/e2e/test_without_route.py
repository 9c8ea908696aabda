"""Whole rotations of applications without a route for a proof: sessions prove the login."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local import proof, world
from local.load import Load
from local.stack import Options, Stack
from rotation.model.world import other
from tests.conftest import QUICK
from tests.e2e.test_rotation import active, assert_proved, ended, started, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

HEALTHY = {"path": "/healthz", "repeat": 1}
AS_THE_ROLE = {"sql": "select session_user from orders limit 1", "value": "{role}", "repeat": 1}


@pytest.fixture(scope="module")
def unnamed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One workload with tests of which no answer is its own word on the role, and one with none."""
    api, web = QUICK["workloads"]
    workloads = [{**api, "tests": [HEALTHY, AS_THE_ROLE]}, {**web, "tests": []}]
    folder: Path = tmp_path_factory.mktemp("unnamed")
    credential = QUICK | {"workloads": workloads}
    with Stack(folder, Options(replicas=2, watch_seconds=2, credential=credential)) as stack:
        yield stack


def proofs(evidence: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: tests[-1] for name, tests in evidence["tests"].items()}


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("decision", ["reject", "approve"])
def test_it_is_rotated_and_no_request_fails(unnamed: Stack, decision: str) -> None:
    before = active(unnamed)
    role = f"orders_{other(before)}"
    urls = [unnamed.owner.service_url(space, name) for name, space in world.WORKLOADS.items()]
    with Load(urls, rate=40) as load:
        rotation = started(unnamed)
        record = unnamed.client.follow(rotation, waiting)
        seen = proof.Passwords.read(unnamed)
        evidence = unnamed.client.api("GET", f"/rotations/{rotation}/evidence").json
        unnamed.client.decide(rotation, decision)
        record = ended(unnamed, rotation)
        report = load.stop()
    told = {doubt["code"]: doubt["text"] for doubt in record["doubts"]}
    assert set(told) == {"proof-by-sessions"}
    assert evidence["passed"], evidence
    assert evidence["stillInUse"] == []
    found = {name: (one["test"], one["role"]) for name, one in proofs(evidence).items()}
    assert found == dict.fromkeys(world.WORKLOADS, ("database sessions", role))
    (_, query, _) = evidence["tests"]["api"]
    assert (query["test"], query["passed"], query["role"]) == (AS_THE_ROLE["sql"], True, None)
    rows = [row for row in evidence["sessions"] if row["role"] == role]
    assert {row["slot"] for row in rows} == {other(before)}
    assert record["outcome"] == ("completed" if decision == "approve" else "rolled-back")
    assert (report.failed, report.failures) == (0, [])
    assert_proved(unnamed, record, other(before) if decision == "approve" else before, seen)
