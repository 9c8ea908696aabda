"""A person is asked before the swap, and a value is watched after it: on the local stack, whose
metrics come over HTTP."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from local import engines, world
from local.load import Load
from local.metrics import Sources, serving
from local.stack import Options, Stack
from rotation.model.world import other
from tests.conftest import QUICK
from tests.e2e.test_rotation import active, codes, ended, started, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(580 + 5 * engines.slack(engines.selected())),
]

ERRORS = 'sum(rate(http_requests_total{code=~"5.."}[5m]))'
APPROVAL = {"approvers": world.APPROVERS}


@pytest.fixture
def sources() -> Iterator[Sources]:
    with serving() as found:
        found.series[ERRORS] = [0.0]
        yield found


def gated(sources: Sources, gate: str) -> dict[str, Any]:
    """A credential's keys, with a gate and a condition."""
    one = {"name": "errors", "above": 1, "prometheus": {"url": sources.url, "query": ERRORS}}
    watched = {"conditions": [one], "watch": "1s"}
    return {**QUICK, **watched, "approval": {**APPROVAL, "gate": gate}}


def asked_before(record: dict[str, Any]) -> bool:
    return bool(record["outcome"] or (record["before"] or {}).get("event"))


def decided(stack: Stack, rotation: str, decision: str, **more: str) -> tuple[int, str]:
    """The status of the answer to a decision, and the code of what is against it. One that is
    handed over, and recorded a moment later, counts as recorded: who waits sees that."""
    body = {"decision": decision, "by": world.APPROVERS[0], **more}
    answer = stack.client.api("POST", f"/rotations/{rotation}/approval", body)
    return 200 if answer.status == 202 else answer.status, answer.json.get("code", "")


def findings(stack: Stack) -> dict[str, str]:
    """What a dry run tells of conditions, by code."""
    body = {"credential": world.CREDENTIAL, "by": world.OPERATOR, "dryRun": True}
    answer = stack.client.api("POST", "/rotations", body)
    while answer.status == 503:  # a busy machine: the test's own time limit ends it
        time.sleep(float(answer.headers["Retry-After"]))
        answer = stack.client.api("POST", "/rotations", body)
    assert answer.status == 200, answer.json
    told = answer.json["findings"]
    return {one["code"]: one["text"] for one in told if one["code"].startswith("condition-")}


@pytest.mark.guarantee(2, 6)
def test_traffic_moves_when_somebody_lets_it_and_goes_back_by_itself(
    tmp_path: Path, sources: Sources
) -> None:
    options = Options(replicas=1, watch_seconds=2, credential=gated(sources, "both"))
    with Stack(tmp_path / "stack", options) as stack:
        before = active(stack)
        assert findings(stack) == {}
        sources.failing = 503
        (text,) = findings(stack).values()
        assert "condition errors cannot be looked at: Prometheus" in text
        assert "HTTP 503" in text
        sources.failing, sources.series[ERRORS] = None, [7.0]
        assert list(findings(stack)) == ["condition-beyond-limit"]
        sources.series[ERRORS] = [0.0]

        urls = [stack.owner.service_url(space, name) for name, space in world.WORKLOADS.items()]
        with Load(urls, rate=20, workers=4, fresh=2, pooled=2) as load:
            rotation = started(stack)
            record = stack.client.follow(rotation, asked_before)
            assert (record["stage"], record["approval"]) == ("gate", None)
            seen = stack.client.api("GET", f"/rotations/{rotation}/evidence").json
            assert (seen["complete"], seen["passed"]) == (True, True)
            assert [one["name"] for one in seen["conditions"]] == ["errors"]
            assert active(stack) == before
            assert decided(stack, rotation, "approve") == (400, "request-invalid")
            assert decided(stack, rotation, "approve", gate="after") == (409, "other-gate")
            assert active(stack) == before
            assert decided(stack, rotation, "approve", gate="before") == (200, "")
            record = stack.client.follow(rotation, waiting)
            assert record["decidedBefore"]["decision"] == "approve"
            assert (record["outcome"], record["decision"]) == (None, None)
            assert active(stack) == other(before)
            # The first answer, once more: it takes no login away.
            assert decided(stack, rotation, "approve", gate="before") == (409, "other-gate")
            sources.series[ERRORS] = [0.5, 12.5]
            record = ended(stack, rotation)
            report = load.stop()
        assert (record["outcome"], codes(record)) == ("rolled-back", {"condition-breached"})
        assert record["outcomeReason"] == "condition errors: its value is 12.5, above 1"
        assert (record["decision"], active(stack)) == (None, before)
        assert (report.failed, report.failures) == (0, [])


@pytest.mark.guarantee(6)
def test_what_was_decided_before_the_swap_takes_the_login_away_or_ends_it(
    tmp_path: Path, sources: Sources
) -> None:
    options = Options(replicas=1, watch_seconds=2, credential=gated(sources, "before"))
    with Stack(tmp_path / "stack", options) as stack:
        before = active(stack)
        rotation = started(stack)
        stack.client.follow(rotation, asked_before)
        assert decided(stack, rotation, "reject", gate="before") == (200, "")
        record = ended(stack, rotation)
        assert (record["outcome"], codes(record)) == ("aborted", {"rejected"})
        assert "swap" not in {step["step"] for step in record["steps"]}
        assert active(stack) == before

        rotation = started(stack)
        stack.client.follow(rotation, asked_before)
        stack.replace(stack.release)  # nobody waits in a process
        assert decided(stack, rotation, "approve", gate="before") == (200, "")
        record = ended(stack, rotation)
        assert (record["outcome"], codes(record)) == ("completed", {"approved"})
        assert record["approval"] is None
        assert record["decision"] == record["decidedBefore"]
        assert [one["name"] for one in record["conditions"]] == ["errors"]
        assert active(stack) == other(before)
