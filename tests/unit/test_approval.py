"""The human step: asked, reminded, decided once; over weeks of virtual time."""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from local.engine import InstanceFinished, Timer, Turn
from rotation.model import wire
from tests.unit.virtual import DAY, EVIDENCE, HOUR, Story, denied, pytestmark, sequence

if TYPE_CHECKING:
    from rotation.model.record import Approval, Decision

__all__ = ["pytestmark"]


@pytest.fixture
def story() -> Story:
    return Story("api")


@pytest.fixture
def waiting(story: Story) -> Story:
    return story.to_approval()


def asked(story: Story) -> Approval:
    """The wait for a decision, as the status has it."""
    found = story.status.approval
    assert found is not None
    return found


def decided(story: Story) -> Decision:
    found = story.run().decision
    assert found is not None
    return found


def test_it_is_asked_with_evidence_and_a_deadline(waiting: Story) -> None:
    approval = asked(waiting)
    since = wire.instant(approval.requested)
    assert wire.instant(approval.deadline) - since == timedelta(days=7)
    assert (approval.event, approval.overdue, approval.reminders, approval.ignored) == (
        "decision-1",
        False,
        0,
        [],
    )
    notice = waiting.notices()[-1]
    assert notice["kind"] == "AwaitingApproval"
    assert notice["evidence"] == EVIDENCE
    assert notice["terms"] == {
        "serves": "green",
        "replaced": "blue",
        "deadline": approval.deadline,
        "onDeadline": "keep",
    }


@pytest.mark.parametrize("minutes", [0, 4.05, 61])
def test_the_deadline_that_was_told_is_obeyed_to_the_millisecond(
    story: Story, minutes: float
) -> None:
    """However long the evidence takes, which is collected between asking and waiting."""
    story.approval |= {"onDeadline": "roll-back"}
    story.world.clock.now += timedelta(milliseconds=123)
    began = story.world.clock.now

    def slow(reference: dict[str, Any]) -> Any:
        story.world.clock.now += timedelta(minutes=minutes)
        return EVIDENCE

    story.script["evidence"] = slow
    story.to_approval()
    told, shown = story.notices("AwaitingApproval")[0]["terms"]["deadline"], asked(story)
    assert told == shown.deadline == wire.moment(began + timedelta(days=7))
    story.wait(days=8)
    (overdue,) = [notice for notice in story.notices("Reminder") if notice["overdue"]]
    assert overdue["time"] == overdue["terms"]["deadline"] == told
    assert decided(story).at == told
    assert story.output.approval
    assert story.output.approval.deadline == told
    assert {notice["terms"]["deadline"] for notice in story.notices() if "terms" in notice} == {
        told
    }


def test_nothing_happens_without_a_decision(waiting: Story) -> None:
    before = waiting.names()
    waiting.wait(days=30)
    assert waiting.names() == before
    assert not waiting.ended
    assert (waiting.serving, waiting.status.stage) == ("green", "approval")


def test_an_approval_is_recorded(waiting: Story) -> None:
    waiting.wait(hours=5)
    waiting.decide("approve", comment="looks good", id="abc", channel="page")
    decision = wire.value_of(decided(waiting))
    since = wire.instant(asked(waiting).requested)
    assert wire.instant(decision.pop("at")) == since + timedelta(hours=5)
    assert decision == {
        "decision": "approve",
        "by": "grace@contoso.example",
        "channel": "page",
        "comment": "looks good",
        "id": "abc",
    }


def test_a_decision_ends_the_wait_at_once(waiting: Story) -> None:
    """The timer that lost is cancelled: an instance ends only when none is open."""
    waiting.decide("approve")
    assert waiting.ended
    assert waiting.world.engine.next_timer() is None


def test_evidence_is_collected_again_for_an_approval(waiting: Story) -> None:
    waiting.script["evidence"] = {**EVIDENCE, "at": "later"}
    waiting.decide("approve")
    evidence = waiting.run().evidence
    assert evidence.requested
    assert evidence.decided
    assert (evidence.requested.at, evidence.decided.at) == (EVIDENCE["at"], "later")


def test_a_rejection_waits_for_no_evidence(waiting: Story) -> None:
    """What would be asked may be what is wrong, and slow."""
    before = len([name for _, name, _ in waiting.calls if name == "evidence"])
    waiting.decide("reject")
    assert waiting.run().evidence.decided is None
    assert len([name for _, name, _ in waiting.calls if name == "evidence"]) == before


def test_an_event_that_is_json_in_json_counts(waiting: Story) -> None:
    waiting.raise_event(json.dumps({"decision": "approve", "by": "grace@contoso.example"}))
    assert waiting.output.outcome == "completed"


INVALID: list[tuple[Any, str]] = [
    (None, "it is not a JSON object"),
    ("approve", "it is not a JSON object"),
    ("{", "it is not a JSON object"),
    (["approve"], "it is not a JSON object"),
    ({}, "its decision is neither approve nor reject"),
    (
        {"decision": ["approve"], "by": "grace@contoso.example"},
        "its decision is neither approve nor reject",
    ),
    ({"decision": "approve"}, "it does not say who decided"),
    (
        {"decision": "approve", "by": "Ada@contoso.example"},
        "Ada@contoso.example asked for this rotation and may not approve it",
    ),
]


@pytest.mark.parametrize(("event", "reason"), INVALID)
def test_a_decision_that_does_not_count(waiting: Story, event: Any, reason: str) -> None:
    waiting.raise_event(event)
    assert not waiting.ended
    assert (asked(waiting).ignored, waiting.gate) == ([reason], "decision-2")
    assert waiting.status.decision is None
    waiting.decide("approve")
    assert waiting.output.outcome == "completed"


def test_many_decisions_that_do_not_count_leave_the_last_five(waiting: Story) -> None:
    for number in range(12):
        waiting.decide("approve", by="ada@contoso.example", comment=str(number))
    assert len(asked(waiting).ignored) == 5
    assert waiting.gate == "decision-13"
    waiting.decide("reject")
    assert waiting.run().outcome == "rolled-back"


def test_an_event_for_a_gate_that_is_over_changes_nothing(waiting: Story) -> None:
    waiting.raise_event({})
    waiting.raise_event({"decision": "approve", "by": "grace@contoso.example"}, gate="decision-1")
    waiting.raise_event(
        {"decision": "approve", "by": "grace@contoso.example"}, gate="something-else"
    )
    assert not waiting.ended
    assert waiting.status.decision is None


def test_four_eyes_lets_the_requester_reject(waiting: Story) -> None:
    waiting.decide("reject", by="ada@contoso.example")
    assert waiting.run().outcome == "rolled-back"


def test_without_four_eyes_the_requester_may_approve(story: Story) -> None:
    story.approval["fourEyes"] = False
    story.to_approval().decide("approve", by="ada@contoso.example")
    assert story.output.outcome == "completed"


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [("approve", "reject", "completed"), ("reject", "approve", "rolled-back")],
)
def test_of_two_decisions_the_first_counts(
    waiting: Story, first: str, second: str, outcome: str
) -> None:
    engine = waiting.world.engine
    for decision in (first, second):
        event = json.dumps({"decision": decision, "by": "grace@contoso.example"})
        engine.raise_event("r-1", "decision-1", event)
    assert waiting.run().outcome == outcome
    assert decided(waiting).decision == first


def test_a_decision_after_the_end_is_refused(waiting: Story) -> None:
    waiting.decide("approve")
    with pytest.raises(InstanceFinished):
        waiting.raise_event(
            {"decision": "reject", "by": "grace@contoso.example"}, gate="decision-1"
        )


@pytest.mark.parametrize("timer_first", [True, False])
def test_a_decision_in_the_moment_of_a_reminder(waiting: Story, timer_first: bool) -> None:
    engine = waiting.world.engine
    fires = engine.next_timer()
    assert fires is not None
    waiting.world.clock.now = fires
    due = next(unit for unit in engine.ready() if isinstance(unit, Timer))
    if timer_first:
        engine.execute(due)
    event = json.dumps({"decision": "approve", "by": "grace@contoso.example"})
    engine.raise_event("r-1", "decision-1", event)
    if not timer_first:
        engine.execute(due)
    assert any(isinstance(unit, Turn) for unit in engine.ready())
    assert waiting.run().outcome == "completed"


def test_reminders_over_weeks(waiting: Story) -> None:
    """One a day; on the seventh it is overdue, which is told instead."""
    waiting.wait(days=6, hours=1)
    assert asked(waiting).reminders == 6
    assert not asked(waiting).overdue
    waiting.wait(days=1)
    assert asked(waiting).reminders == 6
    assert asked(waiting).overdue
    waiting.wait(days=14)
    assert asked(waiting).reminders == 20
    assert waiting.told().count("Reminder") == 21
    overdue = [notice["overdue"] for notice in waiting.notices("Reminder")]
    assert overdue == [False] * 6 + [True] * 15
    waiting.decide("approve")
    assert waiting.output.outcome == "completed"


def test_a_deadline_between_two_reminders(story: Story) -> None:
    story.approval |= {"deadline": 36 * HOUR}
    story.to_approval()
    start = story.world.clock.now
    story.wait(days=3, hours=1)
    moments = [wire.instant(notice["time"]) for notice in story.notices("Reminder")]
    told = [(at - start) / timedelta(hours=1) for at in moments]
    assert told == [24, 36, 48, 72]


def test_no_timer_is_longer_than_a_day(story: Story) -> None:
    story.approval |= {"remind": 30 * DAY, "deadline": 60 * DAY}
    story.to_approval()
    story.wait(days=20)
    assert "Reminder" not in story.told()
    history = story.world.show("r-1", show_history=True)["historyEvents"]
    # A set: the one that was raced with the parts, and cancelled, fires as well, and is unheard.
    fired = {entry["Timestamp"] for entry in history if entry["EventType"] == "TimerFired"}
    moments = sorted(datetime.fromisoformat(moment) for moment in fired)
    assert {b - a for a, b in itertools.pairwise(moments)} == {timedelta(days=1)}
    assert len(fired) == 20


def test_overdue_rolls_back_if_the_owner_wrote_so(story: Story) -> None:
    story.approval |= {"onDeadline": "roll-back"}
    story.to_approval()
    story.wait(days=6, hours=23)
    assert story.status.decision is None
    story.wait(hours=2)
    output = story.run()
    assert (output.outcome, output.outcome_reason) == ("rolled-back", "rejected by policy")
    assert decided(story).channel == "policy onDeadline: roll-back"
    assert story.serving == "blue"


def test_overdue_approves_after_the_soak_if_the_owner_wrote_so(story: Story) -> None:
    story.approval |= {"onDeadline": "approve", "deadline": DAY, "soak": 3 * DAY}
    story.to_approval()
    story.wait(days=2, hours=23)
    assert asked(story).overdue
    assert story.status.decision is None
    story.wait(hours=2)
    output = story.run()
    assert (output.outcome, output.outcome_reason) == ("completed", "approved by policy")
    assert decided(story).channel == "policy onDeadline: approve"


def test_the_soak_alone_approves_nothing(story: Story) -> None:
    story.approval |= {"onDeadline": "approve", "deadline": 7 * DAY, "soak": 0}
    story.to_approval()
    story.wait(days=6, hours=23)
    assert story.status.decision is None
    story.wait(hours=2)
    assert story.run().outcome == "completed"


STRANGER = {
    "role": "orders_blue",
    "application": "psql",
    "client": "10.0.0.9",
    "sessions": 1,
    "workload": None,
    "knownBy": None,
    "slot": None,
    "lastQuery": None,
}
UNSAFE: list[dict[str, Any]] = [
    {"passed": False},
    {"complete": False},
    {"stillInUse": [STRANGER]},
]


@pytest.mark.parametrize("evidence", UNSAFE)
def test_overdue_approves_nothing_that_is_not_proved(
    story: Story, evidence: dict[str, Any]
) -> None:
    story.approval |= {"onDeadline": "approve", "deadline": DAY, "soak": 0}
    story.script["evidence"] = {**EVIDENCE, **evidence}
    story.to_approval()
    story.wait(days=10)
    assert story.status.decision is None
    assert story.serving == "green"
    story.script["evidence"] = EVIDENCE
    story.wait(days=1)
    assert story.run().outcome == "completed"


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_person_comes_before_the_policy(story: Story, decision: str) -> None:
    story.approval |= {"onDeadline": "approve", "deadline": DAY, "soak": 5 * DAY}
    story.to_approval()
    story.wait(days=3)
    story.decide(decision)
    assert decided(story).by == "grace@contoso.example"


@pytest.mark.parametrize("policy", ["approve", "roll-back"])
def test_a_person_who_decides_while_the_policy_looks_comes_first(story: Story, policy: str) -> None:
    """The decision is there before the policy's would have been recorded."""
    story.approval |= {"onDeadline": policy, "deadline": DAY, "soak": 0}
    story.to_approval()
    given = "reject" if policy == "approve" else "approve"

    def meanwhile(reference: dict[str, Any]) -> Any:
        if asked(story).overdue and story.gate:
            event = json.dumps({"decision": given, "by": "grace@contoso.example"})
            story.world.engine.raise_event("r-1", "decision-1", event)
        return EVIDENCE if "slot" in reference else {}

    story.script |= {"evidence": meanwhile} if policy == "approve" else {"notify": meanwhile}
    story.wait(days=2)
    assert decided(story).by == "grace@contoso.example"


def test_evidence_that_cannot_be_collected_is_itself_evidence(story: Story) -> None:
    story.script["evidence"] = sequence(denied, EVIDENCE)
    story.to_approval()
    shown = story.notices()[-1]["evidence"]
    assert (shown["complete"], shown["passed"]) == (False, False)
    assert shown["problems"] == ["evidence: it is refused"]
    story.decide("approve")
    assert story.output.outcome == "completed"


def test_who_still_uses_the_old_role_is_told(story: Story) -> None:
    still = [STRANGER]
    story.script["evidence"] = {**EVIDENCE, "stillInUse": still}
    story.to_approval()
    told = [(notice["kind"], notice.get("sessions")) for notice in story.notices()]
    assert told == [("Started", None), ("AwaitingApproval", None), ("StillInUse", still)]
