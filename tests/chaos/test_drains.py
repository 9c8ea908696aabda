"""A node that is drained while a step is under way: in each of them, with CHAOS=full.

The night of a cluster upgrade as a whole, without a break, is in `tests/e2e/test_drains.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local.stack import Options, Stack
from tests.chaos.support import FULL, Story, clients, drawn, patient, running, slow
from tests.conftest import QUICK
from tests.e2e.draining import Night

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = patient

# By number, as in test_outages; the wait for a decision comes between two of them.
STEPS = range(15)
WAIT = -1
CASES = [(decision, step) for decision in ("approve", "reject") for step in (WAIT, *STEPS)]
SAMPLED = CASES if FULL else [CASES[0], *drawn("drains").sample(CASES[1:], 3)]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """With two pods a slot: of a single one, a budget that lets it go is an outage."""
    credential = {**QUICK, "retry": {"patience": "60s", "compensation": "90s"}}
    options = Options(replicas=2, watch_seconds=5, credential=credential)
    with Stack(tmp_path_factory.mktemp("nodes"), options) as stack:
        yield stack


@pytest.mark.guarantee(2)
@pytest.mark.parametrize(("decision", "step"), SAMPLED)
def test_a_node_is_drained_in_a_step_and_no_request_fails(
    nodes: Stack, decision: str, step: int
) -> None:
    drains: list[Night] = []

    def disturb(record: dict[str, Any]) -> None:
        now = running(record)
        waits = step == WAIT and (record["approval"] or {}).get("event")
        if not drains and (waits or (now is not None and now[0] >= step >= 0)):
            story.hit.append(now[1] if now else "the wait for a decision")
            drains.append(Night(nodes.directory / "cluster" / "kubeconfig", most=1))
            drains[0].start()
            if waits:
                drains[0].end()

    with clients(nodes) as callers:
        slow(nodes)
        story = Story.begin(nodes, decision)
        record = story.run(disturb)
        for drained in drains:
            drained.end()
        assert callers.failed() == 0, callers.load.report().failures
        assert callers.load.report().requests > 50
    assert len(story.hit) == 1
    assert drains[0].evicted > 0
    story.prove(record)
    assert record["outcome"] == {"approve": "completed", "reject": "rolled-back"}[decision]
