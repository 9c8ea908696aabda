"""A rotation that somebody cancels: where it stops, what it takes down, and from when on it does
not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from rotation.model.activities import STOP, PartStatus
from rotation.model.record import Cancelling
from tests.unit.virtual import HEALTHY, Story, denied, pytestmark, sequence, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.model.record import Record

__all__ = ["pytestmark"]

ADA = "ada@contoso.example"
TAKEN_DOWN = ["await_sessions green", "deactivate green", "disable green"]
NEVER = {"done": False, "observed": "0 of 2 pods are ready"}


@pytest.fixture
def story() -> Story:
    return Story("api", "web")


def raises(story: Story, name: str = "cancel-1", **said: Any) -> Callable[[Any], Any]:
    """An activity that does its work while somebody cancels."""

    def activity(reference: dict[str, Any]) -> Any:
        event = {"by": ADA, "channel": "http", "comment": "no", **said}
        story.world.engine.raise_event("r-1", name, json.dumps(event))
        return HEALTHY["verify" if "through" not in reference else "test"]

    return activity


def assert_aborted(story: Story, output: Record) -> None:
    """It was cancelled, nothing moved, and what there was is taken down once nothing starts any."""
    assert (output.outcome, output.outcome_reason) == ("aborted", f"cancelled by {ADA}")
    assert [why.code for why in output.reasons] == ["cancelled"]
    assert output.cancelled is not None
    assert (output.cancelled.by, output.cancelled.channel) == (ADA, "http")
    assert output.cancelled.at
    names = story.names("stop_parts")
    assert not [name for name in names if name.startswith("swap")]
    assert names[-3:] == TAKEN_DOWN
    down = names.index("confirm blue")
    assert not [name for name in names[down:] if name.startswith(("start", "deliver", "stage"))]
    assert story.told() == ["Started", "Cancelled", "Aborted"]


# -- where it stops


@pytest.mark.guarantee(2)
@pytest.mark.parametrize(
    ("step", "seconds"),
    [("stage", 9), ("activate", 9), ("verify", 9), ("deliver", 9), ("start", 9), ("test", 9)],
)
def test_between_the_attempts_of_a_step(story: Story, step: str, seconds: float) -> None:
    story.script[step] = unavailable
    story.start()
    story.wait(seconds=seconds)
    before = story.count(step)
    story.cancel()
    assert_aborted(story, story.run())
    assert story.count(step) == before


def test_while_pods_come_up(story: Story) -> None:
    story.script["await_ready"] = NEVER
    story.start()
    story.wait(seconds=5)
    before = story.world.clock.now
    story.cancel()
    assert story.status.cancelled is not None
    output = story.run()
    assert_aborted(story, output)
    assert (story.world.clock.now - before).total_seconds() < 20
    assert [(s.step, s.failure) for s in output.steps if s.failure] == [
        ("prepare", f"cancelled by {ADA}")
    ]
    assert output.workloads == {"api": "retired", "web": "retired"}


def test_a_part_that_has_ended_is_not_told(story: Story) -> None:
    def ready(reference: dict[str, Any]) -> Any:
        return HEALTHY["await_ready"] if reference["workload"] == "api" else NEVER

    story.script["await_ready"] = ready
    story.start()
    story.wait(seconds=5)
    assert story.world.show("r-1.prepare.api")["runtimeStatus"] == "Completed"
    story.cancel()
    assert_aborted(story, story.run())


@pytest.mark.parametrize("number", [1, 2], ids=["before the pods start", "right before the swap"])
def test_while_the_login_is_proved(story: Story, number: int) -> None:
    story.script["verify"] = sequence(*[{}] * (number - 1), raises(story))
    assert_aborted(story, story.run())
    assert story.count("verify") == number


def test_in_the_last_attempt_of_what_would_fail(story: Story) -> None:
    """What failed meanwhile is not why it ends."""

    def failing(reference: dict[str, Any]) -> Any:
        raises(story)(reference)
        return denied(reference)

    story.script["activate"] = failing
    assert_aborted(story, story.run())


def test_of_one_that_begins_anew(story: Story) -> None:
    story.script["stage"] = sequence({"version": "v2"}, {"version": "v3"})
    foreign = {"error": {"code": "foreign-version", "message": "v9", "transient": False}}
    story.script["verify"] = sequence(foreign, {})
    story.script["await_ready"] = NEVER
    story.start()
    story.wait(seconds=5)
    assert story.status.attempt == 2
    story.cancel()
    output = story.run()
    assert_aborted(story, output)
    assert story.calls[[name for _, name, _ in story.calls].index("stop_parts")][2]["parts"] == [
        "r-1.prepare.api.2",
        "r-1.prepare.web.2",
    ]


def test_while_it_is_planned_it_ends_and_has_nothing_to_take_down(story: Story) -> None:
    story.script["plan"] = unavailable
    story.start()
    story.wait(seconds=5)
    story.cancel()
    output = story.run()
    assert (output.outcome, output.outcome_reason) == ("aborted", f"cancelled by {ADA}")
    assert set(story.names()) == {"plan"}
    assert story.told() == ["Cancelled", "Aborted"]


def test_while_it_is_planned_for_the_first_time(story: Story) -> None:
    plan = story.plan()

    def planning(reference: dict[str, Any]) -> Any:
        raises(story)({"through": None})
        return plan

    story.script["plan"] = planning
    output = story.run()
    assert (output.outcome, story.names()) == ("aborted", ["plan"])
    assert (output.active, output.standby) == ("blue", "green")
    assert story.told() == ["Cancelled", "Aborted"]


def test_what_the_plan_refuses_is_refused(story: Story) -> None:
    def planning(reference: dict[str, Any]) -> Any:
        raises(story)({"through": None})
        return {"outcome": "refused", "reasons": [{"code": "x", "text": "no", "remedy": "mend"}]}

    story.script["plan"] = planning
    assert story.run().outcome == "refused"


def test_parts_that_hear_nothing_are_waited_for(story: Story) -> None:
    """The task hub is away for a while: nothing is taken down before they have ended."""
    story.script |= {"await_ready": sequence(*[NEVER] * 20, HEALTHY["await_ready"])}
    story.script["stop_parts"] = denied
    story.start()
    story.wait(seconds=3)
    story.cancel()
    output = story.run()
    assert_aborted(story, output)
    assert story.count("stop_parts") == 1
    assert len(output.untold) == 1
    assert story.names().index("confirm blue") > max(
        number for number, name in enumerate(story.names()) if name == "test green"
    )


# -- from when on it does not


@pytest.mark.guarantee(1, 2)
def test_from_the_swap_on_nobody_is_heard(story: Story) -> None:
    story.to_approval()
    assert story.status.cancelling == Cancelling(event=None, gate=1)
    for name in ("cancel-1", "cancel-2"):
        story.raise_event({"by": ADA}, name)
    story.decide("approve")
    output = story.run()
    assert (output.outcome, output.cancelled) == ("completed", None)
    assert "Cancelled" not in story.told()


@pytest.mark.guarantee(2)
def test_during_the_swap_nobody_is_heard(story: Story) -> None:
    def swapping(reference: dict[str, Any]) -> Any:
        raises(story)({"through": None})
        return {}

    story.script["swap"] = swapping
    story.to_approval()
    assert story.status.cancelled is None
    story.decide("reject")
    assert story.run().outcome == "rolled-back"


def test_during_an_abort_nobody_is_heard(story: Story) -> None:
    story.script |= {"start": denied, "scale_down": unavailable}
    story.start()
    story.wait(seconds=5)
    assert story.status.stage == "retire"
    assert story.status.cancelling == Cancelling(event=None, gate=1)
    story.raise_event({"by": ADA}, "cancel-1")
    story.script.pop("scale_down")
    output = story.run()
    assert (output.outcome, output.cancelled) == ("aborted", None)
    assert output.reasons[0].code == "vault-denied"


def test_a_second_one_changes_nothing(story: Story) -> None:
    story.script |= {"await_ready": NEVER, "scale_down": unavailable}
    story.start()
    story.wait(seconds=5)
    story.cancel()
    story.raise_event({"by": "grace@contoso.example"}, "cancel-1")
    story.script.pop("scale_down")
    assert_aborted(story, story.run())


@pytest.mark.parametrize("event", [None, "no", {"by": ""}, {"by": 7}, [], {"comment": "x"}])
@pytest.mark.parametrize("step", ["activate", "await_ready"])
def test_what_is_no_cancel_is_ignored(story: Story, event: Any, step: str) -> None:
    story.script[step] = NEVER if step == "await_ready" else unavailable
    story.start()
    story.wait(seconds=5)
    story.raise_event(event, "cancel-1")
    shown = story.status.cancelling
    assert shown is not None
    assert (shown.event, shown.gate, len(shown.ignored)) == ("cancel-2", 2, 1)
    story.raise_event({"by": ADA}, "cancel-1")
    assert story.status.cancelled is None
    story.cancel()
    assert_aborted(story, story.run())


@pytest.mark.parametrize("step", ["activate", "await_ready"])
def test_after_one_that_did_not_count_it_goes_on_to_its_end(story: Story, step: str) -> None:
    """The host waits for what is new in each wait: not for a cancel that never comes."""
    last: dict[str, Any] = HEALTHY[step]
    story.script[step] = sequence(*[NEVER if step == "await_ready" else unavailable] * 6, last)
    story.start()
    story.wait(seconds=2)
    story.raise_event({}, "cancel-1")
    assert story.approve().outcome == "completed"


def test_a_story_of_1_1_hears_nobody(story: Story) -> None:
    story.world.version = "1.1"
    story.world.restart()
    story.script["activate"] = sequence(unavailable, unavailable, {})
    story.start()
    story.wait(seconds=1)
    assert story.status.cancelling is None
    story.raise_event({"by": ADA}, "cancel-1")
    assert story.approve().outcome == "completed"


def test_a_part_that_somebody_else_tells_to_stop_ends_in_an_abort(story: Story) -> None:
    story.script["await_ready"] = NEVER
    story.start()
    story.wait(seconds=5)
    story.world.engine.raise_event("r-1.prepare.api", STOP, json.dumps("whatever"))
    story.script["await_ready"] = HEALTHY["await_ready"]
    output = story.run()
    assert (output.outcome, output.cancelled) == ("aborted", None)
    assert [why.code for why in output.reasons] == ["cancelled"]
    assert "workload api: stop: it was told to stop" in str(output.outcome_reason)


# -- what it shows


def test_it_is_announced_with_who_and_why(story: Story) -> None:
    story.script["await_ready"] = NEVER
    story.start()
    story.wait(seconds=5)
    story.cancel(knownAs=[ADA], id="7", objectId="0-1", signedIn=True, secret="x")
    story.run()
    (notice,) = story.notices("Cancelled")
    assert notice["cancelled"] == {
        "by": ADA,
        "channel": "http",
        "comment": "not today",
        "id": "7",
        "at": notice["time"],
        "knownAs": [ADA],
        "objectId": "0-1",
        "signedIn": True,
    }


def test_a_part_shows_which_attempt_failed_and_when_the_next_one_is(story: Story) -> None:
    story.script["deliver"] = unavailable
    story.start()
    story.wait(seconds=4)
    shown = story.world.show("r-1.prepare.api")["customStatus"]
    assert shown == {
        "progress": "deliver",
        "waits": "it is away",
        "attempt": 3,
        "nextTry": "2027-03-01T12:00:07.000Z",
    }
    assert PartStatus.__struct_config__.omit_defaults


def test_a_step_shows_which_attempt_failed_and_when_the_next_one_is(story: Story) -> None:
    story.script["activate"] = sequence(unavailable, unavailable, unavailable, {})
    story.start()
    story.wait(seconds=4)
    step = story.status.steps[-1]
    assert (step.waits, step.attempt) == ("it is away", 3)
    assert step.next_try == "2027-03-01T12:00:07.000Z"
    story.wait(seconds=10)
    step = next(step for step in story.status.steps if step.step == "activate")
    assert (step.waits, step.attempt, step.next_try) == (None, 3, None)
