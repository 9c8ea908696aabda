"""A rotation that is cancelled while its pods come up, and started again, on the local stack."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from local import proof, world
from local.cluster.client import apply, path_of
from local.load import Load
from local.process import wait_until
from rotation.model.world import Slot, other
from tests.e2e.test_rotation import active, assert_proved, codes, ended, started, waiting
from tests.e2e.troubles import SPACE, ask, quota, used

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import Answer, Stack


@contextmanager
def no_more_pods(stack: Stack) -> Iterator[None]:
    """A quota is full: what a rotation starts in one of the namespaces does not come up."""
    apply(stack.owner.kubernetes, [quota()], namespace=SPACE)
    wait_until(lambda: used(stack) is not None, 30, "the quota's count")
    try:
        yield
    finally:
        assert ask(stack, "DELETE", path_of(quota(), SPACE)) == 200


def cancel(stack: Stack, rotation: str, **body: Any) -> Answer:
    said = {"by": world.OPERATOR, "comment": "not during the sale", **body}
    return stack.client.api("POST", f"/rotations/{rotation}/cancel", said)


def retry(stack: Stack, rotation: str) -> Answer:
    body = {"by": world.OPERATOR, "reason": "the sale is over"}
    return stack.client.api("POST", f"/rotations/{rotation}/retry", body)


def half_prepared(record: dict[str, Any]) -> bool:
    """One workload is done, and says so; the other says what keeps it."""
    done = [name for name, progress in record["workloads"].items() if progress == "prepared"]
    return bool(record["outcome"] or (done and "FailedCreate" in str(record["waits"])))


def assert_as_before(stack: Stack, serving: Slot) -> None:
    assert active(stack) == serving
    for name, space in world.WORKLOADS.items():
        found = stack.owner.deployment(space, f"{name}-{other(serving)}")
        assert found["spec"]["replicas"] == 0, name


@pytest.mark.guarantee(2)
@pytest.mark.long
def test_a_rotation_is_cancelled_and_started_again_and_no_request_fails(stack: Stack) -> None:
    before = active(stack)
    urls = [stack.owner.service_url(space, name) for name, space in world.WORKLOADS.items()]
    with Load(urls, rate=40, workers=9, fresh=3, pooled=3) as load:
        with no_more_pods(stack):
            first = started(stack)
            assert retry(stack, first).json["code"] == "not-retried"
            record = stack.client.follow(first, half_prepared, timeout=60)
            assert record["outcome"] is None, record["outcomeReason"]
            answers = [cancel(stack, first), cancel(stack, first, by="ada@contoso.example")]
            record = ended(stack, first)
        assert [answer.status for answer in answers] == [200, 200]
        assert {answer.json["cancelled"]["by"] for answer in answers} == {world.OPERATOR}
        assert (record["outcome"], codes(record)) == ("aborted", {"cancelled"})
        assert record["cancelled"]["comment"] == "not during the sale"
        assert "swap" not in {step["step"] for step in record["steps"]}
        assert_as_before(stack, before)

        again = retry(stack, first)
        assert again.status == 202, again.json
        second = again.json["rotation"]
        record = stack.client.follow(second, waiting)
        assert record["request"]["retries"] == first
        late = cancel(stack, second)
        assert (late.status, late.json["code"]) == (409, "not-cancellable")
        assert "only a rejection by an approver goes back" in late.json["detail"]
        seen = proof.Passwords.read(stack)
        assert stack.client.decide(second, "reject").status == 200
        record = ended(stack, second)
        report = load.stop()
    assert (record["outcome"], record["cancelled"]) == ("rolled-back", None)
    assert (report.failed, report.failures) == (0, [])
    assert report.requests > 0
    assert_proved(stack, record, before, seen)
