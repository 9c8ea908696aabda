"""A decision's way to the orchestration, and a rotation that has yet to begin."""

# ruff: noqa: ARG002 - the fakes have the signatures of what they stand in for
from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from rotation.front import rotations
from rotation.model.errors import Unavailable
from rotation.model.record import Decision
from tests.unit.people import ROTATION, FakeClient, Instance, record, shown

if TYPE_CHECKING:
    from rotation.model.record import ShownRecord


def decide(client: FakeClient, seen: ShownRecord | None = None) -> Any:
    """`seen` is what the caller saw before, which may be out of date."""
    given = Decision(
        decision="approve",
        by="anna@contoso.example",
        channel="http",
        comment="",
        id=secrets.token_hex(8),
    )
    seen = seen or rotations.describe(client.instance)
    event = rotations.awaited(seen) or "none"
    return asyncio.run(rotations.submit(client, seen, event, given, grace=0))


def test_a_decision_that_counts_is_recorded() -> None:
    result = decide(FakeClient())
    assert isinstance(result, rotations.Recorded)
    assert result.decision.by == "anna@contoso.example"


def test_of_two_decisions_the_first_counts() -> None:
    client = FakeClient()
    seen = shown()
    decide(client)
    result = decide(client, seen)
    assert isinstance(result, rotations.TooLate)


def test_a_decision_for_one_that_has_ended_meanwhile_is_not_waited_for() -> None:
    class Ended(FakeClient):
        async def raise_event(self, instance_id: str, event_name: str, event_data: Any) -> None:
            raise Exception("Instance is gone")  # noqa: TRY002 - what the SDK raises

    ended = record(outcome="needs-attention", outcomeReason="its orchestration was terminated")
    result = decide(Ended(ended), shown())
    assert isinstance(result, rotations.NotWaiting)
    with pytest.raises(Unavailable, match="may not have got the decision"):
        decide(Ended(record()))


def test_a_decision_that_is_not_taken_up_yet_is_on_its_way() -> None:
    client = FakeClient()
    client.deaf = True
    assert isinstance(decide(client), rotations.Accepted)


class Taken(FakeClient):
    """The credential's orchestration has the request, and has not begun its rotation."""

    def __init__(self, rotation: str) -> None:
        super().__init__()
        self.request = {**record()["request"], "rotation": rotation, "requestedBy": "anna"}

    async def get_status(self, instance_id: str, **_: Any) -> Instance | None:
        if instance_id != "orders-db":
            return None
        return Instance("orders-db", "credential", None, self.request)


@pytest.mark.parametrize(
    "rotation",
    [
        "orders-db-20261124T030000-0a1b",
        "orders-db-sweep-20261124",
        "orders-db-expired-0123456789ab",
        ROTATION,
    ],
)
def test_a_rotation_can_be_read_as_soon_as_it_was_taken(rotation: str) -> None:
    found = asyncio.run(rotations.find(Taken(rotation), rotation))
    assert found is not None
    assert (found.rotation, found.credential) == (rotation, "orders-db")
    assert (found.stage, found.outcome) == ("queued", None)


def test_a_rotation_that_was_never_taken_is_not_found() -> None:
    client = Taken("orders-db-sweep-20261124")
    for other in ("orders-db-sweep-20261125", "orders-db", "x", "a-b"):
        assert asyncio.run(rotations.find(client, other)) is None
