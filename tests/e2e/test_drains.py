"""Rotations in the night of a cluster upgrade, through the real function_app, under load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local import proof, world
from local.load import Load
from local.process import wait_until
from local.stack import Options, Stack
from rotation.model.world import other
from tests.conftest import QUICK
from tests.e2e.draining import night
from tests.e2e.test_rotation import active, assert_proved, codes, ended, started, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

# A step waits for a pod that has moved as long as it does by default.
PATIENT: dict[str, Any] = {**QUICK, "retry": {"patience": "60s", "compensation": "90s"}}


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two pods a slot, with the budgets of infra/kubernetes/example."""
    options = Options(replicas=2, watch_seconds=2, credential=PATIENT)
    with Stack(tmp_path_factory.mktemp("drains"), options) as running:
        yield running


@pytest.mark.guarantee(1, 2)
@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_nodes_are_drained_all_the_time(clustered: Stack, decision: str) -> None:
    before = active(clustered)
    urls = [clustered.owner.service_url(space, name) for name, space in world.WORKLOADS.items()]
    with Load(urls, rate=40, workers=9, fresh=3, pooled=3) as load:
        with night(clustered) as upgrade:
            wait_until(lambda: upgrade.drained, 60, "a drained node")
            rotation = started(clustered)
            record = clustered.client.follow(rotation, waiting, timeout=150)
            assert record["outcome"] is None, record["outcomeReason"]
            asked = len(upgrade.drained)
            wait_until(lambda: len(upgrade.drained) > asked + 1, 60, "each node, while it waits")
            seen = proof.Passwords.read(clustered)
            clustered.client.decide(rotation, decision)
            record = ended(clustered, rotation)
        report = load.stop()
    outcome, why = {"approve": ("completed", "approved"), "reject": ("rolled-back", "rejected")}[
        decision
    ]
    assert (record["outcome"], codes(record)) == (outcome, {why})
    assert (report.failed, report.failures) == (0, [])
    assert report.requests > 0
    assert upgrade.evicted > 4
    serving = other(before) if decision == "approve" else before
    assert_proved(clustered, record, serving, seen)
