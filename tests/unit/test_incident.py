"""A password has leaked: what an incident does at once, what it waits for, and never does."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rotation.decisions.windows import Hours, Window
from rotation.model import wire
from rotation.model.activities import TAKEOVER, ApprovalPolicy, Seat
from rotation.model.record import Record
from tests.unit.virtual import (
    APPROVAL,
    HEALTHY,
    REQUEST,
    Story,
    denied,
    pytestmark,
    sequence,
    unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["pytestmark"]

GRACE = "grace@contoso.example"
NEVER = Hours((Window(frozenset({6}), 0, 60, "UTC"),))  # an hour of Sundays
AFTER: dict[str, Any] = {"compromised": True, "cut": "after", "reason": "it is in a log"}
FIRST = {**AFTER, "cut": "first"}
BUILT = ["stage green", "activate green", "verify green"]


@pytest.fixture
def story() -> Story:
    return Story("api")


def confirm(story: Story, decision: str = "approve", by: str = GRACE) -> Record:
    story.to_approval()
    story.decide(decision, by=by)
    return story.run()


def position(story: Story, *names: str) -> list[int]:
    told = story.names()
    return [told.index(name) for name in names]


# -- after: the normal path, at once


def test_the_normal_path_without_a_person_before_it_retires(story: Story) -> None:
    story.start(**AFTER)
    story.to_approval()
    assert "disable blue" in story.names()
    assert story.count("cut") == 0
    shown = story.status
    assert (shown.stage, shown.outcome) == ("confirmation", None)
    assert shown.decision is not None
    assert (shown.decision.by, shown.decision.channel) == (REQUEST["requestedBy"], "incident")
    swap, down, away = position(story, "swap green", "scale_down blue", "deactivate blue")
    assert swap < down < away
    output = confirm(story)
    assert (output.outcome, output.outcome_reason) == ("completed", f"confirmed by {GRACE}")
    assert output.confirmation is not None
    assert output.leak is not None
    assert [one.pid for one in output.leak.connected] == [7]
    assert story.told() == ["Compromised", "Started", "AwaitingConfirmation", "Completed"]


def test_it_goes_back_as_any_other_where_production_fails_its_tests(story: Story) -> None:
    def only_before(reference: dict[str, Any]) -> Any:
        return HEALTHY["test"] if reference["through"] == "preview" else denied(reference)

    story.script["test"] = only_before
    story.start(**AFTER)
    output = story.run()
    assert (output.outcome, story.serving) == ("rolled-back", "blue")
    assert output.decision is None


def test_a_login_that_serves_nothing_is_taken_away_and_nothing_is_moved(story: Story) -> None:
    story.start(**AFTER, leaked="green")
    output = confirm(story)
    assert output.outcome == "completed"
    names = story.names()
    assert "deactivate green" in names
    assert not [name for name in names if name.startswith(("swap", "stage"))]


# -- first: the leaked login ends before another one serves


def test_the_login_ends_first_and_the_other_slot_serves_then(story: Story) -> None:
    story.start(**FIRST)
    output = confirm(story)
    cut, plan, stage, swap = position(story, "cut blue", "plan", "stage green", "swap green")
    assert cut < plan < stage < swap
    assert output.outcome == "completed"
    assert output.leak is not None
    assert output.leak.refused is not None
    assert output.leak.ended == output.leak.refused
    assert story.told() == [
        "Compromised",
        "LoginCut",
        "Started",
        "AwaitingConfirmation",
        "Completed",
    ]


def test_it_is_cut_until_no_session_is_left(story: Story) -> None:
    other = {"pid": 8, "application": "x", "client": "10.0.0.9", "state": "active"}
    busy = {"left": True, "connected": [other], "observed": "1 sessions are left"}
    story.script["cut"] = sequence(busy, unavailable, busy, {"left": False})
    story.start(**FIRST)
    output = confirm(story)
    assert story.count("cut") == 4
    assert output.leak is not None
    assert [one.pid for one in output.leak.connected] == [7, 8]
    assert output.leak.sessions == 2


def test_sessions_that_do_not_end_do_not_keep_the_other_slot_from_serving(story: Story) -> None:
    story.script["cut"] = {"left": True, "observed": "1 sessions are left"}
    story.start(**FIRST)
    output = confirm(story)
    assert (output.outcome, story.serving) == ("completed", "green")


@pytest.mark.parametrize("step", ["plan", "stage", "activate", "verify", "start", "test", "swap"])
def test_nothing_goes_back_to_a_login_that_was_cut(story: Story, step: str) -> None:
    story.script[step] = denied
    story.start(**FIRST)
    output = story.run()
    assert output.outcome == "needs-attention"
    assert output.reasons[0].code == "login-cut"
    names = story.names()
    assert not [one for one in names if one.startswith(("swap_back", "deactivate", "scale_down"))]
    assert "activate blue" not in names


@pytest.mark.parametrize("step", ["verify", "start", "test", "swap"])
def test_it_goes_on_for_as_long_as_there_is_time(story: Story, step: str) -> None:
    story.script[step] = sequence(*[denied] * 200, HEALTHY[step])
    story.start(**FIRST)
    story.wait(minutes=20)
    assert not story.ended
    story.script[step] = HEALTHY[step]
    assert confirm(story).outcome == "completed"


def test_a_refusal_before_the_cut_cuts_nothing(story: Story) -> None:
    why = {"code": "deployment-missing", "text": "its green Deployment does not exist"}
    story.script["locate"] = {"reasons": [{**why, "remedy": "", "object": "", "command": ""}]}
    story.start(**FIRST)
    output = story.run()
    assert (output.outcome, story.count("cut")) == ("refused", 0)


def test_a_cut_that_is_refused_needs_attention(story: Story) -> None:
    story.script["cut"] = denied
    story.start(**FIRST)
    output = story.run()
    assert (output.outcome, story.count("stage")) == ("needs-attention", 0)


# -- the second person


def test_whoever_called_it_does_not_confirm_it_whatever_is_allowed(story: Story) -> None:
    story.approval["fourEyes"] = False
    story.start(**FIRST).to_approval()
    gate = story.gate
    story.decide("approve", by=REQUEST["requestedBy"])
    assert not story.ended
    assert story.gate != gate
    assert story.status.approval is not None
    assert len(story.status.approval.ignored) == 1
    assert confirm(story).outcome == "completed"


def test_a_dispute_undoes_nothing(story: Story) -> None:
    story.start(**FIRST)
    output = confirm(story, "reject")
    assert output.outcome == "needs-attention"
    assert [why.code for why in output.reasons] == ["disputed"]
    assert story.serving == "green"
    assert "swap_back blue" not in story.names()


def test_nobody_confirms(story: Story) -> None:
    story.start(**AFTER).to_approval()
    story.wait(days=3)
    assert len(story.notices("AwaitingConfirmation")) > 1
    output = story.run()
    assert output.outcome == "needs-attention"
    assert [why.code for why in output.reasons] == ["unconfirmed"]


# -- an incident takes the place of a rotation


def calls(story: Story, rotation: str = "i-1", **request: Any) -> None:
    """Calls an incident as the app does where a rotation runs."""
    seat = wire.read(Seat, story.world.show("orders-db")["customStatus"])
    assert seat.hears is not None
    value = {**REQUEST, "rotation": rotation, **AFTER, **request}
    story.world.engine.raise_event("orders-db", seat.hears, json.dumps(value))
    story.world.settle()


def record_of(story: Story, rotation: str) -> Record:
    shown = story.world.show(rotation)
    return wire.read(Record, shown["output"] or shown["customStatus"])


def waiting_in_prepare(story: Story) -> None:
    story.script["await_ready"] = {"done": False, "observed": "0 of 2 pods are ready"}
    story.start().wait(seconds=5)
    story.script["await_ready"] = HEALTHY["await_ready"]


def waiting_for_a_window(story: Story) -> None:
    story.hours = NEVER
    story.start().wait(hours=1)


def waiting_for_a_retry(story: Story) -> None:
    story.script["stage"] = unavailable
    story.start().wait(seconds=9)
    story.script["stage"] = HEALTHY["stage"]


def waiting_in_its_plan(story: Story) -> None:
    story.script["plan"] = unavailable
    story.start().wait(seconds=9)
    del story.script["plan"]


def waiting_for_a_person(story: Story) -> None:
    """Before its swap."""
    story.before = wire.read(ApprovalPolicy, APPROVAL)
    story.to_approval()
    assert story.status.before is not None


def waiting_for_a_place(story: Story) -> None:
    story.things = ["server pg-1"]
    story.start().wait(hours=2)
    assert story.status.place is not None


BEFORE = [
    waiting_in_prepare,
    waiting_for_a_window,
    waiting_for_a_retry,
    waiting_in_its_plan,
    waiting_for_a_person,
    waiting_for_a_place,
]


@pytest.mark.guarantee(5)
@pytest.mark.parametrize("waits", BEFORE)
@pytest.mark.parametrize("cut", ["after", "first"])
def test_whatever_waits_before_its_swap_makes_way(
    story: Story, waits: Callable[[Story], None], cut: str
) -> None:
    waits(story)
    calls(story, cut=cut)
    story.wait(minutes=2)
    before, after = record_of(story, "r-1"), record_of(story, "i-1")
    assert before.outcome == "superseded"
    assert before.taken_over is not None
    assert (before.taken_over.rotation, before.window) == ("i-1", None)
    assert before.cancelling is not None
    assert before.cancelling.event is None
    assert not [step for step in before.steps if step.until is None]
    assert (after.stage, story.serving) == ("confirmation", "green")
    # Nothing was taken down for it, and the place was never free.
    assert "deactivate green" not in story.names()
    assert story.world.show("orders-db")["runtimeStatus"] == "Running"


def test_one_whose_plan_refuses_meanwhile_makes_way_too(story: Story) -> None:
    """What it says of how it ended is what it ended for."""

    def refuses(_: dict[str, Any]) -> Any:
        calls_now(story, cut="first")
        story.world.engine.raise_event(
            "r-1", TAKEOVER, json.dumps({"by": "ada", "rotation": "i-1"})
        )
        return {"outcome": "refused", "reasons": []}

    story.script["plan"] = sequence(refuses, story.plan(calm=False))
    story.start().wait(minutes=2)
    assert record_of(story, "r-1").outcome == "superseded"
    assert record_of(story, "i-1").stage == "confirmation"


def test_an_approval_makes_way_and_the_leaked_login_is_retired(story: Story) -> None:
    story.start().to_approval()
    calls(story, leaked="blue")
    story.wait(minutes=1)
    before, after = record_of(story, "r-1"), record_of(story, "i-1")
    assert (before.outcome, before.decision) == ("superseded", None)
    assert before.approval is not None
    assert before.approval.event is None
    assert after.stage == "confirmation"
    assert "deactivate blue" in story.names()
    assert story.serving == "green"


@pytest.mark.parametrize("retires", [False, True])
def test_what_waits_with_conditions_makes_way_and_they_are_watched_no_more(
    story: Story, *, retires: bool
) -> None:
    """While it waits for a decision, or for the time to be over after which it retires."""
    story.conditions = {"errors": 0.0}
    if retires:
        story.before, story.asks_after = wire.read(ApprovalPolicy, APPROVAL), False
        story.approval |= {"soak": 86400.0}
    story.to_approval()
    if retires:
        story.decide("approve")
    story.wait(hours=3)
    looks = story.count("conditions")
    calls(story, leaked="blue")
    story.wait(hours=5)
    before = record_of(story, "r-1")
    assert (before.outcome, story.serving) == ("superseded", "green")
    assert not [step for step in before.steps if step.until is None]
    assert record_of(story, "i-1").stage == "confirmation"
    assert story.count("conditions") <= looks + 1


def test_a_canary_that_is_watched_takes_the_others_along_and_makes_way() -> None:
    """Half of a move would leave the workloads in both slots."""
    story = Story("api", "web")
    story.canary, story.conditions, story.watch = "api", {"errors": 0.0}, 7200.0
    story.start().wait(minutes=30)
    swapped = [ref["workload"] for _, name, ref in story.calls if name == "swap"]
    assert swapped == ["api"]
    calls(story, leaked="blue")
    story.wait(minutes=2)
    before = record_of(story, "r-1")
    swaps = [(ref["rotation"], ref["workload"]) for _, name, ref in story.calls if name == "swap"]
    assert swaps == [("r-1", "api"), ("r-1", "web")]
    assert before.outcome == "superseded"
    assert record_of(story, "i-1").stage == "confirmation"
    assert "deactivate blue" in story.names()


def test_nothing_keeps_an_incident_waiting(story: Story) -> None:
    """Neither a window, nor a place, a decision before the swap, or a condition."""
    story.hours, story.things = NEVER, ["server pg-1"]
    story.before, story.conditions = wire.read(ApprovalPolicy, APPROVAL), {"errors": 99.0}
    story.start(**AFTER).wait(minutes=1)
    assert story.status.stage == "confirmation"
    assert {"window", "conditions", "ask_place"} & {name for _, name, _ in story.calls} == set()


def test_what_waits_for_its_window_to_retire_makes_way(story: Story) -> None:
    story.hours, story.retires = NEVER, True
    story.world.clock.now += timedelta(days=6) - timedelta(hours=12)  # into the window
    story.start().to_approval()
    story.wait(hours=2)
    story.decide("approve")
    story.wait(hours=1)
    assert record_of(story, "r-1").window is not None
    calls(story, leaked="blue")
    story.wait(minutes=1)
    assert record_of(story, "r-1").outcome == "superseded"
    assert record_of(story, "i-1").stage == "confirmation"


def test_a_swap_goes_on_and_the_incident_begins_at_its_approval(story: Story) -> None:
    raised: list[bool] = []

    def swaps(reference: dict[str, Any]) -> Any:
        if not raised:
            raised.append(True)
            calls_now(story, leaked="blue")
        return {}

    story.script["swap"] = swaps
    story.start().wait(minutes=1)
    before, after = record_of(story, "r-1"), record_of(story, "i-1")
    assert before.outcome == "superseded"
    assert [step.step for step in before.steps if step.step == "observe"]
    assert (after.stage, story.serving) == ("confirmation", "green")


def calls_now(story: Story, **request: Any) -> None:
    value = {**REQUEST, "rotation": "i-1", **AFTER, **request}
    story.world.engine.raise_event("orders-db", "incident-1", json.dumps(value))


def test_one_that_ends_by_itself_is_followed_by_the_incident(story: Story) -> None:
    def fails(reference: dict[str, Any]) -> Any:
        calls_now(story)
        return denied(reference)

    story.script["confirm"] = sequence(fails, HEALTHY["confirm"])
    story.start().to_approval()
    story.decide("reject")
    story.wait(minutes=5)
    assert record_of(story, "i-1").stage == "confirmation"


def test_an_incident_takes_the_place_of_an_incident(story: Story) -> None:
    story.start(**AFTER).to_approval()
    calls(story, cut="first", leaked="blue")
    story.wait(minutes=1)
    assert record_of(story, "r-1").outcome == "superseded"
    assert record_of(story, "i-1").stage == "confirmation"
    assert (story.serving, story.count("cut")) == ("green", 1)


@pytest.mark.parametrize(
    "said",
    [
        "no JSON object",
        {**REQUEST, "rotation": "i-1"},
        {**REQUEST, **AFTER},
        {**REQUEST, **AFTER, "rotation": "i-1", "credential": "billing-db"},
    ],
)
def test_what_is_no_incident_of_the_credential_is_not_heard(story: Story, said: Any) -> None:
    story.start().to_approval()
    story.world.engine.raise_event("orders-db", "incident-1", json.dumps(said))
    story.world.settle()
    seat = wire.read(Seat, story.world.show("orders-db")["customStatus"])
    assert (seat.rotation, seat.hears) == ("r-1", "incident-2")
    assert story.approve().outcome == "completed"


def test_what_refuses_it_after_the_cut_may_be_mended_meanwhile(story: Story) -> None:
    why = {"code": "other-service", "text": "it is found by one", "remedy": ""}
    refused = {"outcome": "refused", "reasons": [{**why, "object": "", "command": ""}]}
    story.script["plan"] = sequence(refused, refused, story.plan(calm=False))
    story.start(**FIRST)
    assert confirm(story).outcome == "completed"
    assert story.count("plan") == 3
    assert story.count("cut") == 1
