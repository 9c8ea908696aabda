"""A decision over the API, of a rotation that asks before its swap as well."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from rotation.edges.azure import AzureEdges
from rotation.front import api, rotations
from rotation.front.problems import Problem
from rotation.pages import views
from tests.unit.people import shown

if TYPE_CHECKING:
    import azure.durable_functions as df

WAIT = {"requested": "2026-11-24T02:55:00.000Z", "deadline": "2026-12-01T02:55:00.000Z"}
OVER, ASKING = {**WAIT, "event": None}, {**WAIT, "event": "before-1"}
MADE = {"decision": "approve", "by": "ada@x", "channel": "page", "comment": "", "id": "1"}


def refused(document: dict[str, Any], **changes: Any) -> tuple[int, str]:
    client = cast("df.DurableOrchestrationClient", None)  # nothing is asked of it
    with pytest.raises(Problem) as caught:
        asyncio.run(api.decision(AzureEdges({}), client, shown(**changes), document))
    return caught.value.status, str(caught.value.reason.code)


def test_it_has_to_say_which_decision_it_is() -> None:
    said = {"decision": "approve", "by": "ada@x"}
    assert refused(said, before=OVER, decidedBefore=MADE) == (400, "request-invalid")
    assert refused({**said, "gate": "now"}) == (400, "request-invalid")


@pytest.mark.guarantee(6)
def test_an_answer_to_the_first_does_not_count_as_the_second() -> None:
    said = {"decision": "approve", "by": "ada@x", "gate": "before"}
    assert refused(said, before=OVER, decidedBefore=MADE) == (409, "other-gate")


def test_an_answer_to_the_second_does_not_count_as_the_first() -> None:
    said = {"decision": "approve", "by": "ada@x", "gate": "after"}
    assert refused(said, before=ASKING, approval=None) == (409, "other-gate")


def test_which_one_it_waits_for() -> None:
    before, after = shown(before=ASKING, approval=None), shown(before=OVER, decidedBefore=MADE)
    assert (rotations.gate_of(before), rotations.awaited(before)) == ("before", "before-1")
    assert rotations.gate_of(after) == "after"
    assert rotations.gate_of(shown(approval=None)) is None


def test_a_page_says_what_is_asked() -> None:
    asked = views.headline(shown(before=ASKING, approval=None), yours=True)
    assert asked.title == "Waiting for your decision before the swap"
    assert "Approve moves traffic to green" in asked.ask
    assert "Approve takes the blue login away" in views.headline(shown()).ask
