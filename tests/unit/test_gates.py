"""A rotation whose owner has a decision asked for before the swap; and a canary."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rotation.decisions.windows import Hours, Window
from rotation.model import wire
from rotation.model.activities import ApprovalPolicy
from tests.unit.virtual import APPROVAL, DAY, EVIDENCE, HEALTHY, Story, denied, pytestmark, sequence

if TYPE_CHECKING:
    from rotation.model.record import Record

__all__ = ["pytestmark"]

SESSION: dict[str, Any] = {"role": "orders_blue", "application": "etl", "client": "10.1.2.3"}
SESSION |= {"sessions": 1, "workload": None}


@pytest.fixture
def story() -> Story:
    story = Story("api", "web")
    story.before = rules()
    return story


def rules(**more: Any) -> ApprovalPolicy:
    return wire.read(ApprovalPolicy, {**APPROVAL, **more})


def steps(record: Record) -> list[str]:
    return [str(step.step) for step in record.steps]


# -- before the swap


def test_nothing_is_swapped_before_somebody_lets_it(story: Story) -> None:
    story.to_approval()
    story.wait(days=5)
    assert (story.gate, story.status.stage) == ("before-1", "gate")
    assert story.count("swap") == 0
    (asked,) = story.notices("AwaitingApproval")
    assert asked["terms"]["gate"] == "before"
    assert asked["terms"]["serves"] == "green"
    assert len(story.notices("Reminder")) == 5


def test_its_evidence_is_of_the_slot_that_does_not_serve_yet(story: Story) -> None:
    story.to_approval()
    (looked,) = [ref for _, name, ref in story.calls if name == "evidence"]
    assert (looked["slot"], looked["through"]) == ("green", "preview")


def test_both_are_asked_for_one_after_the_other(story: Story) -> None:
    story.to_approval().decide("approve", id="first")
    story.to_approval()
    assert story.gate == "decision-1"
    assert story.status.decided_before is not None
    assert (story.status.decided_before.id, story.status.decision) == ("first", None)
    assert story.serving == "green"
    story.decide("approve", by="linus@contoso.example", id="second")
    output = story.run()
    assert output.outcome == "completed"
    assert output.decision is not None
    assert output.decision.id == "second"
    assert output.evidence.before is not None
    assert story.told()[:5] == [
        "Started",
        "AwaitingApproval",
        "Approved",
        "AwaitingApproval",
        "Approved",
    ]


@pytest.mark.guarantee(6)
def test_a_decision_that_was_meant_for_the_first_does_not_count_as_the_second(story: Story) -> None:
    story.to_approval().decide("approve")
    story.to_approval()
    said = {"decision": "approve", "by": "linus@contoso.example", "channel": "page"}
    story.raise_event(said, "before-1")
    story.raise_event(said, "before-2")
    story.wait(hours=1)
    assert (story.status.decision, story.gate) == (None, "decision-1")


def test_a_rejection_ends_it_and_no_traffic_moves(story: Story) -> None:
    story.to_approval().decide("reject")
    output = story.run()
    assert (output.outcome, output.outcome_reason) == (
        "aborted",
        "rejected by grace@contoso.example, before the swap",
    )
    assert [why.code for why in output.reasons] == ["rejected"]
    assert story.count("swap") + story.count("swap_back") == 0
    assert story.names()[-2:] == ["deactivate green", "disable green"]


@pytest.mark.guarantee(6)
def test_four_eyes_holds_there_too(story: Story) -> None:
    story.to_approval().decide("approve", by="ada@contoso.example")
    assert story.status.before is not None
    assert story.status.before.ignored
    assert (story.gate, story.count("swap")) == ("before-2", 0)


def test_it_can_be_cancelled_while_it_waits(story: Story) -> None:
    story.to_approval().wait(hours=3)
    story.cancel()
    output = story.run()
    assert (output.outcome, output.outcome_reason) == (
        "aborted",
        "cancelled by ada@contoso.example",
    )
    assert output.before is not None
    assert output.before.event is None
    assert story.count("swap") == 0


def test_a_cancel_is_heard_while_evidence_is_collected(story: Story) -> None:
    def cancels(_: dict[str, Any]) -> Any:
        story.world.engine.raise_event(
            "r-1", "cancel-1", '{"by": "ada@contoso.example", "channel": "http"}'
        )
        return EVIDENCE

    story.script["evidence"] = cancels
    assert story.run().outcome == "aborted"
    assert story.count("swap") == 0


def test_what_was_proved_long_ago_is_proved_again(story: Story) -> None:
    story.to_approval().wait(hours=1)
    story.decide("approve")
    story.to_approval()
    assert steps(story.status).count("prepare") == 2
    phases = [ref.get("phase") for _, name, ref in story.calls if name == "deliver"]
    assert phases == [None, None, "prepare-2", "prepare-2"]
    assert [str(step.step) for step in story.status.steps].count("swap") == 1


def test_who_decides_soon_waits_for_no_second_proof(story: Story) -> None:
    story.to_approval().wait(minutes=5)
    story.decide("approve")
    story.to_approval()
    assert steps(story.status).count("prepare") == 1


def test_what_fails_by_then_is_taken_down_again(story: Story) -> None:
    story.script["verify"] = sequence({}, {}, denied)
    story.to_approval().wait(days=2)
    story.decide("approve")
    assert story.run().outcome == "aborted"
    assert story.count("swap") == 0


@pytest.mark.parametrize(
    ("policy", "outcome"), [("abort", "aborted"), ("approve", "completed"), ("keep", None)]
)
def test_the_deadline_before_the_swap(story: Story, policy: str, outcome: str | None) -> None:
    story.before, story.asks_after = rules(onDeadline=policy, deadline=2 * DAY), False
    story.start().wait(days=4)
    if outcome is None:
        assert story.gate == "before-1"
        assert story.status.before is not None
        assert story.status.before.overdue
        return
    assert story.output.outcome == outcome
    assert story.output.decided_before is not None
    assert story.output.decided_before.by == "policy"


def test_the_policy_does_not_approve_what_fails_its_tests(story: Story) -> None:
    story.before = rules(onDeadline="approve", deadline=2 * DAY)
    story.script["evidence"] = {**EVIDENCE, "passed": False}
    story.start().wait(days=6)
    assert (story.gate, story.count("swap")) == ("before-1", 0)


def test_an_approval_outside_the_windows_waits_for_the_next(story: Story) -> None:
    nights = Hours((Window(frozenset(range(7)), 22 * 60, 4 * 60, "Europe/Berlin"),))
    opens = datetime(2027, 3, 1, 21, tzinfo=UTC)
    story.hours = nights
    story.to_approval()
    story.wait(hours=12)  # the next morning
    story.decide("approve")
    story.to_approval()
    swapped = {moment for moment, name, _ in story.calls if name == "swap"}
    assert swapped == {opens + timedelta(days=1)}
    assert steps(story.status).count("prepare") == 2


# -- before the swap alone


@pytest.mark.guarantee(6)
def test_the_decision_before_the_swap_is_the_one_that_retires(story: Story) -> None:
    story.asks_after = False
    story.to_approval().decide("approve", id="it")
    output = story.run()
    assert output.outcome == "completed"
    assert output.decision is not None
    assert output.decision == output.decided_before
    assert output.decision.id == "it"
    assert output.approval is None
    assert output.evidence.decided is not None


def test_it_lets_both_run_for_as_long_as_its_owner_says(story: Story) -> None:
    story.asks_after = False
    story.approval |= {"soak": 2 * DAY + 3600}
    story.to_approval().decide("approve")
    story.wait(days=2)
    assert story.count("scale_down") == 0
    assert story.run().outcome == "completed"


@pytest.mark.parametrize(
    "against",
    [{"stillInUse": [SESSION]}, {"passed": False}, {"complete": False, "problems": ["away"]}],
)
@pytest.mark.guarantee(6)
def test_where_something_speaks_against_it_a_person_is_asked_after_all(
    story: Story, against: dict[str, Any]
) -> None:
    story.asks_after = False
    story.script["evidence"] = sequence(EVIDENCE, EVIDENCE, {**EVIDENCE, **against})
    story.to_approval().decide("approve")
    story.to_approval()
    assert (story.gate, story.serving) == ("decision-1", "green")
    assert story.count("scale_down") == 0
    story.decide("reject")
    assert story.run().outcome == "rolled-back"


def test_a_story_without_it_is_asked_after_the_swap_alone(story: Story) -> None:
    story.before = None
    output = story.approve()
    assert (output.outcome, output.before, output.decided_before) == ("completed", None, None)
    assert story.count("evidence") == 2


# -- a canary


def order(story: Story, *names: str) -> list[str]:
    return [f"{name} {ref['workload']}" for _, name, ref in story.calls if name in names]


def test_a_canary_moves_first_and_the_others_once_it_is_tested() -> None:
    story = Story("web", "api", "jobs")
    story.canary = "api"
    assert story.approve().outcome == "completed"
    moves = order(story, "swap")
    assert moves[0] == "swap api"
    assert sorted(moves[1:]) == ["swap jobs", "swap web"]
    through = [
        ref["workload"]
        for _, name, ref in story.calls
        if name == "test" and ref["through"] == "service"
    ]
    assert through[0] == "api"
    assert sorted(through) == ["api", "jobs", "web"]
    names = story.names()
    assert names.index("test green", names.index("swap green")) < names.index(
        "swap green", names.index("swap green") + 1
    )


def test_a_canary_that_fails_goes_back_alone() -> None:
    story = Story("web", "api", "jobs")
    story.canary = "api"

    def only_before(reference: dict[str, Any]) -> Any:
        return HEALTHY["test"] if reference["through"] == "preview" else denied(reference)

    story.script["test"] = only_before
    output = story.run()
    assert output.outcome == "rolled-back"
    assert order(story, "swap", "swap_back") == ["swap api", "swap_back api"]
    assert sorted(order(story, "scale_down")) == [
        "scale_down api",
        "scale_down jobs",
        "scale_down web",
    ]


def test_another_that_fails_takes_all_back_that_moved() -> None:
    story = Story("web", "api")
    story.canary = "api"

    def web_fails(reference: dict[str, Any]) -> Any:
        fails = reference["through"] == "service" and reference["workload"] == "web"
        return denied(reference) if fails else HEALTHY["test"]

    story.script["test"] = web_fails
    assert story.run().outcome == "rolled-back"
    assert sorted(order(story, "swap_back")) == ["swap_back api", "swap_back web"]


@pytest.mark.parametrize("name", ["api", "gone"])
def test_without_others_all_move_at_once(name: str) -> None:
    story = Story("api")
    story.canary = name
    assert story.approve().outcome == "completed"
    assert order(story, "swap") == ["swap api"]
