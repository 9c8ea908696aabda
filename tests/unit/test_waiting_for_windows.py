"""A rotation whose owner allows some hours: where it waits for them, and where it never does."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rotation.decisions.windows import Blackout, Hours, Window
from rotation.model import wire
from tests.unit.virtual import HEALTHY, Story, denied, pytestmark, sequence

if TYPE_CHECKING:
    from rotation.model.record import Record

__all__ = ["pytestmark"]

# A story begins on Monday 1 March 2027 at 12:00 UTC, which is 13:00 in Berlin.
NIGHTS = Hours((Window(frozenset(range(7)), 22 * 60, 4 * 60, "Europe/Berlin"),))
OPENS, CLOSES = datetime(2027, 3, 1, 21, tzinfo=UTC), datetime(2027, 3, 2, 3, tzinfo=UTC)
DAY = timedelta(days=1)
UNTIL = "until Mon 1 Mar 2027, 22:00 Europe/Berlin"
BEGUN = ("stage", "swap")


@pytest.fixture
def story() -> Story:
    story = Story("api", "web")
    story.hours = NIGHTS
    return story


def when(story: Story, *names: str) -> list[datetime]:
    return [moment for moment, name, _ in story.calls if name in names]


def assert_inside(story: Story) -> None:
    for moment in when(story, *BEGUN):
        assert (moment - OPENS) % DAY < CLOSES - OPENS, moment


def waits_of(record: Record) -> list[tuple[str, str | None]]:
    return [(step.since[11:16], step.until and step.until[11:16]) for step in record.steps
            if step.step == "window"]  # fmt: skip


def takes(story: Story, *lengths: timedelta) -> None:
    """Has pods take that long to start: the first time, and each time after."""
    left = list(lengths)

    def starts(_: dict[str, Any]) -> Any:
        story.world.clock.now += left.pop(0) if len(left) > 1 else left[0]
        return {}

    story.script["start"] = starts


NO_TIME = timedelta()


# -- before it begins


def test_what_is_asked_for_outside_waits_for_its_window(story: Story) -> None:
    output = story.approve()
    assert output.outcome == "completed"
    assert when(story, "stage") == [OPENS]
    assert waits_of(output) == [("12:00", "21:00")]
    assert output.window is None
    assert story.told()[:3] == ["WaitingForWindow", "Started", "AwaitingApproval"]
    (notice,) = story.notices("WaitingForWindow")
    assert notice["window"] == {
        "before": "stage",
        "opens": wire.moment(OPENS),
        "text": UNTIL,
    }


def test_meanwhile_it_says_until_when(story: Story) -> None:
    story.start().wait(hours=1)
    shown = story.status
    assert shown.window is not None
    assert (shown.window.text, shown.steps[-1].waits) == (UNTIL, UNTIL)
    assert (shown.active, shown.stage) == (None, "plan")


def test_it_looks_again_before_it_begins(story: Story) -> None:
    nothing = {"outcome": "skipped", "reasons": [wire.value_of(_reason())]}
    story.script["plan"] = sequence(story.plan(), nothing)
    output = story.run()
    assert (output.outcome, output.active) == ("skipped", None)
    assert when(story, "plan") == [OPENS - timedelta(hours=9), OPENS]
    assert not when(story, *BEGUN)


def test_it_looks_again_by_the_file_of_then(story: Story) -> None:
    story.script["plan"] = sequence(
        {**story.plan(), "entry": "of the first look"}, {**story.plan(), "entry": "of the second"}
    )
    story.to_approval()
    entries = {(name, ref.get("entry")) for _, name, ref in story.calls}
    assert {each for each in entries if each[0] in {"plan", "stage"}} == {
        ("plan", None),
        ("stage", "of the second"),
    }
    assert ("window", "of the first look") in entries


def _reason() -> Any:
    from rotation.model.reasons import Code, reason  # noqa: PLC0415 - of this test alone

    return reason(Code.NOT_DUE, "it was rotated by hand meanwhile")


def test_inside_it_begins_at_once(story: Story) -> None:
    story.world.clock.now = OPENS + timedelta(hours=1)
    output = story.approve()
    assert (output.outcome, waits_of(output)) == ("completed", [])
    assert story.count("plan") == 1


def test_without_windows_nobody_asks_for_one(story: Story) -> None:
    story.hours = None
    assert story.approve().outcome == "completed"
    assert story.count("window") == 0


def test_a_story_that_began_before_there_were_windows_asks_for_none(story: Story) -> None:
    story.world.version = "1.1"
    story.world.engine._version = "1.1"  # noqa: SLF001 - as its release had it
    assert story.approve().outcome == "completed"
    assert story.count("window") == 0


def test_a_wait_of_weeks_is_of_timers_of_a_day(story: Story) -> None:
    story.hours = Hours(NIGHTS.windows, (Blackout(date(2027, 3, 1), date(2027, 4, 9), "UTC"),))
    output = story.approve()
    assert output.outcome == "completed"
    assert when(story, "stage") == [datetime(2027, 4, 10, 0, tzinfo=UTC)]
    assert max(story.times_of("window")[:-4]) <= DAY.total_seconds()
    assert len(story.notices("WaitingForWindow")) == 1


def test_a_day_that_is_shut_meanwhile_is_shut(story: Story) -> None:
    """Who writes a blackout into the file means what waits, too."""
    story.start().wait(hours=1)
    story.hours = Hours(NIGHTS.windows, (Blackout(date(2027, 3, 1), date(2027, 3, 1), "UTC"),))
    story.approve()
    assert when(story, "stage") == [datetime(2027, 3, 2, 0, tzinfo=UTC)]
    assert [one["window"]["opens"] for one in story.notices("WaitingForWindow")] == [
        wire.moment(OPENS),
        "2027-03-02T00:00:00.000Z",
    ]


def test_where_no_window_is_near_it_looks_once_a_day(story: Story) -> None:
    story.hours = Hours((), (Blackout(date(2027, 1, 1), date(2028, 12, 31), "UTC"),))
    story.start().wait(days=10)
    assert story.status.window is not None
    assert story.status.window.text == "no window opens in the next 400 days"
    assert story.count("window") == 11
    story.hours = Hours((), (Blackout(date(2027, 1, 1), date(2027, 3, 12), "UTC"),))
    assert story.approve().outcome == "completed"


def test_an_answer_that_comes_after_the_closing_counts_no_more(story: Story) -> None:
    """The host was away in between."""
    story.world.clock.now = CLOSES - timedelta(seconds=1)

    def late(reference: dict[str, Any]) -> Any:
        answer = story.window(reference)
        if story.count("window") == 1:
            story.world.clock.now = CLOSES + timedelta(hours=2)
        return answer

    story.script["window"] = late
    assert story.approve().outcome == "completed"
    assert_inside(story)


def test_it_can_be_cancelled_while_it_waits(story: Story) -> None:
    story.start().wait(hours=1)
    story.cancel()
    output = story.run()
    assert (output.outcome, output.active, output.window) == ("aborted", None, None)
    assert not when(story, *BEGUN, "scale_down")
    assert story.told() == ["WaitingForWindow", "Cancelled", "Aborted"]


# -- before the swap


def test_a_swap_that_comes_too_late_waits_for_the_next_window(story: Story) -> None:
    takes(story, timedelta(hours=7), NO_TIME)
    output = story.approve()
    assert output.outcome == "completed"
    assert set(when(story, "swap")) == {OPENS + DAY}
    assert [one["window"]["before"] for one in story.notices("WaitingForWindow")] == [
        "stage",
        "swap",
    ]
    # What was proved the night before is proved again, by Jobs of their own.
    assert [str(step.step) for step in output.steps].count("prepare") == 2
    assert story.count("stage") == 1
    phases = [ref.get("phase") for _, name, ref in story.calls if name == "deliver"]
    assert phases == [None, None, "prepare-2", "prepare-2"]
    assert_inside(story)


def test_a_window_that_is_always_too_short_does_not_keep_it_for_ever(story: Story) -> None:
    story.hours = Hours((Window(frozenset(range(7)), 22 * 60, 22 * 60 + 1, "Europe/Berlin"),))
    takes(story, timedelta(seconds=61))
    output = story.approve()
    assert output.outcome == "completed"
    assert set(when(story, "swap")) == {OPENS + 2 * DAY}
    assert [str(step.step) for step in output.steps].count("prepare") == 2


def test_a_cancel_before_the_swap_takes_the_slot_down_at_once(story: Story) -> None:
    story.world.clock.now = CLOSES - timedelta(seconds=10)
    takes(story, timedelta(seconds=15), NO_TIME)
    story.start().wait(hours=1)
    assert story.status.window is not None
    assert story.status.window.before == "swap"
    story.cancel()
    output = story.run()
    assert (output.outcome, output.window) == ("aborted", None)
    assert story.names()[-2:] == ["deactivate green", "disable green"]
    assert when(story, "disable")[0] < CLOSES + timedelta(hours=2)


def test_what_fails_there_is_taken_back_outside(story: Story) -> None:
    story.world.clock.now = CLOSES - timedelta(seconds=10)
    takes(story, timedelta(seconds=15), NO_TIME)
    story.script["verify"] = sequence({}, denied)
    assert story.run().outcome == "aborted"
    assert not when(story, "swap")


# -- after it


@pytest.mark.parametrize("choice", ["approve", "reject"])
def test_neither_a_decision_nor_what_follows_waits(story: Story, choice: str) -> None:
    story.to_approval().wait(hours=12)
    decided = story.world.clock.now
    assert decided > CLOSES
    story.decide(choice)
    output = story.run()
    assert output.outcome == ("completed" if choice == "approve" else "rolled-back")
    assert story.world.clock.now < decided + timedelta(minutes=10)
    assert len(waits_of(output)) == 1


def test_going_back_waits_for_no_window_where_retiring_would(story: Story) -> None:
    story.retires = True
    story.to_approval().wait(hours=12)
    decided = story.world.clock.now
    story.decide("reject")
    assert story.run().outcome == "rolled-back"
    assert story.world.clock.now < decided + timedelta(minutes=10)


def test_retiring_waits_for_one_if_its_owner_wants_that(story: Story) -> None:
    story.retires = True
    story.to_approval().wait(hours=12)
    story.decide("approve")
    story.wait(minutes=1)
    assert story.status.window is not None
    assert story.status.window.before == "retire"
    output = story.run()
    assert output.outcome == "completed"
    assert set(when(story, "scale_down")) == {OPENS + DAY}


def test_a_production_test_that_fails_goes_back_at_once(story: Story) -> None:
    def only_before(reference: dict[str, Any]) -> Any:
        return HEALTHY["test"] if reference["through"] == "preview" else denied(reference)

    story.world.clock.now = CLOSES - timedelta(seconds=1)
    story.script["test"] = only_before
    assert story.run().outcome == "rolled-back"
    assert story.world.clock.now < CLOSES + timedelta(minutes=10)


# -- what expires before its window


@pytest.mark.parametrize(
    ("latest", "told"),
    [
        (None, "WaitingForWindow"),
        (OPENS, "WaitingForWindow"),
        (OPENS - timedelta(seconds=1), "ExpiresBeforeWindow"),
    ],
)
def test_that_the_secret_expires_before_it_is_told(
    story: Story, latest: datetime | None, told: str
) -> None:
    story.latest = wire.moment(latest) if latest else None
    story.start().wait(hours=1)
    (notice,) = story.notices()
    assert notice["kind"] == told
    assert notice["window"]["text"] == UNTIL
    codes = [why["code"] for why in notice.get("reasons", [])]
    assert codes == (["expires-before-window"] if told == "ExpiresBeforeWindow" else [])
