"""When windows are open: by the clocks of their zones, both changes of those included."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rotation.decisions.windows import (
    CLOSES_WITHIN,
    HORIZON,
    MINUTES,
    Blackout,
    Hours,
    Opening,
    Window,
    opening,
)

BERLIN = "Europe/Berlin"
EVERY_DAY = "0123456"
# With changes at midnight, of half an hour, of a whole day, of a negative one, and none.
ZONES = (
    BERLIN, "America/New_York", "America/Havana", "Australia/Lord_Howe", "Pacific/Apia",
    "Europe/Dublin", "Africa/Casablanca", "Asia/Kathmandu", "UTC",
)  # fmt: skip


def window(days: str, since: str, until: str, zone: str = BERLIN) -> Window:
    return Window(frozenset(map(int, days)), minutes(since), minutes(until), zone)


def minutes(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)


def blackout(first: str, last: str, zone: str = BERLIN) -> Blackout:
    return Blackout(date.fromisoformat(first), date.fromisoformat(last), zone)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def spans(hours: Hours, at: datetime, many: int) -> list[tuple[str, str]]:
    """The next openings with their ends, in UTC."""
    found: list[tuple[str, str]] = []
    while len(found) < many:
        each = opening(hours, at)
        assert each is not None
        assert each.closes is not None
        found.append((f"{each.opens:%F %H:%M}", f"{each.closes:%F %H:%M}"))
        at = each.closes
    return found


# -- both changes of the clock


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("02:30", "03:30", ("01:00", "01:30")),  # begins after the gap, at 03:00
        ("01:30", "02:30", ("00:30", "01:00")),  # ends there
        ("02:10", "02:50", ("01:00", "01:40")),  # lies in it: as long as ever, right after it
        ("02:00", "03:00", ("01:00", "02:00")),
        ("01:00", "04:00", ("00:00", "02:00")),  # an hour less
        ("03:00", "04:00", ("01:00", "02:00")),
        ("00:00", "24:00", ("23:00", "22:00")),  # a day of 23 hours
    ],
)
def test_where_an_hour_is_left_out(since: str, until: str, expected: tuple[str, str]) -> None:
    """In Berlin 28 March 2027, a Sunday, has no 02:00 to 03:00."""
    at = utc("2027-03-27T12:00")
    ((opens, closes),) = spans(Hours((window("6", since, until),)), at, 1)
    assert (opens[-5:], closes[-5:]) == expected


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("02:30", "03:30", ("00:30", "02:30")),  # the first 02:30
        ("01:30", "02:30", ("23:30", "01:30")),  # to the second one
        ("02:10", "02:50", ("00:10", "01:50")),
        ("02:00", "03:00", ("00:00", "02:00")),  # both
        ("03:00", "04:00", ("02:00", "03:00")),
        ("00:00", "24:00", ("22:00", "23:00")),  # a day of 25 hours
    ],
)
def test_where_an_hour_comes_twice(since: str, until: str, expected: tuple[str, str]) -> None:
    """In Berlin 31 October 2027, a Sunday, has 02:00 to 03:00 twice."""
    at = utc("2027-10-30T12:00")
    ((opens, closes),) = spans(Hours((window("6", since, until),)), at, 1)
    assert (opens[-5:], closes[-5:]) == expected


def test_across_a_change_it_stays_at_the_hours_that_the_clock_shows() -> None:
    nightly = Hours((window(EVERY_DAY, "22:00", "04:00"),))
    assert spans(nightly, utc("2027-03-26T12:00"), 3) == [
        ("2027-03-26 21:00", "2027-03-27 03:00"),
        ("2027-03-27 21:00", "2027-03-28 02:00"),
        ("2027-03-28 20:00", "2027-03-29 02:00"),
    ]


# -- days, blackouts, several windows


def test_it_begins_on_its_days_and_may_end_on_the_next() -> None:
    weekend = Hours((window("45", "22:00", "04:00"),))  # Friday and Saturday
    assert spans(weekend, utc("2027-06-06T03:00"), 2) == [
        ("2027-06-11 20:00", "2027-06-12 02:00"),
        ("2027-06-12 20:00", "2027-06-13 02:00"),
    ]


def test_inside_it_is_open_at_once_until_its_end() -> None:
    nightly = Hours((window(EVERY_DAY, "22:00", "04:00", "UTC"),))
    assert spans(nightly, utc("2027-06-07T02:00"), 1) == [("2027-06-07 02:00", "2027-06-07 04:00")]
    at_its_end = opening(nightly, utc("2027-06-07T04:00"))
    assert at_its_end is not None
    assert at_its_end.opens == utc("2027-06-07T22:00")


def test_windows_that_follow_each_other_are_one() -> None:
    both = Hours((window("0", "20:00", "24:00", "UTC"), window("1", "00:00", "06:00", "UTC")))
    assert spans(both, utc("2027-06-07T00:00"), 1) == [("2027-06-07 20:00", "2027-06-08 06:00")]


def test_always_has_no_end() -> None:
    always = Hours((window(EVERY_DAY, "00:00", "24:00"),))
    at = utc("2027-03-27T12:34")
    assert opening(always, at) == Opening(at, None, BERLIN)


def test_a_blackout_cuts_a_window_that_begins_before_it() -> None:
    hours = Hours((window("4", "22:00", "04:00"),), (blackout("2027-06-12", "2027-06-12"),))
    assert spans(hours, utc("2027-06-11T00:00"), 2) == [
        ("2027-06-11 20:00", "2027-06-11 22:00"),
        ("2027-06-18 20:00", "2027-06-19 02:00"),
    ]


def test_blackouts_alone_leave_all_other_days() -> None:
    hours = Hours((), (blackout("2027-12-24", "2027-12-26"), blackout("2027-12-27", "2027-12-27")))
    found = opening(hours, utc("2027-12-25T12:00"))
    assert found == Opening(utc("2027-12-27T23:00"), None, BERLIN)
    assert found.words == "Tue 28 Dec 2027, 00:00 Europe/Berlin"


def test_a_blackout_has_the_days_of_its_own_zone() -> None:
    hours = Hours((), (blackout("2027-06-07", "2027-06-07", "Asia/Kathmandu"),))
    assert opening(hours, utc("2027-06-06T18:14")).closes == utc("2027-06-06T18:15")  # type: ignore[union-attr]
    assert opening(hours, utc("2027-06-06T18:15")).opens == utc("2027-06-07T18:15")  # type: ignore[union-attr]


@pytest.mark.parametrize("windows", [(), (window(EVERY_DAY, "22:00", "04:00"),)])
def test_where_all_is_shut_there_is_none(windows: tuple[Window, ...]) -> None:
    hours = Hours(windows, (blackout("2027-01-01", "2029-01-01"),))
    assert opening(hours, utc("2027-06-01T00:00")) is None


def test_words_are_by_the_clock_of_the_window_that_opens() -> None:
    hours = Hours((window("1", "01:00", "02:00"), window("0", "20:00", "21:00", "America/Havana")))
    found = opening(hours, utc("2027-06-07T00:00"))
    assert found is not None
    assert found.words == "Tue 8 Jun 2027, 01:00 Europe/Berlin"


# -- whatever they are

times = st.integers(0, MINUTES - 1)
windows = st.builds(
    Window,
    st.frozensets(st.integers(0, 6), min_size=1),
    times,
    st.integers(1, MINUTES),
    st.sampled_from(ZONES),
).filter(lambda one: one.start != one.end)
days = st.dates(date(2026, 1, 1), date(2028, 12, 31))
blackouts = st.builds(
    lambda first, more, zone: Blackout(first, first + timedelta(days=more), zone),
    days,
    st.integers(0, 40),
    st.sampled_from(ZONES),
)
anything = st.builds(
    Hours,
    st.lists(windows, max_size=3).map(tuple),
    st.lists(blackouts, max_size=3).map(tuple),
)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2028, 12, 31)).map(  # noqa: DTZ001 - made UTC
    lambda at: at.replace(tzinfo=UTC, second=0, microsecond=0)
)


def shown(at: datetime, zone: str) -> datetime:
    return at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def inside(hours: Hours, at: datetime) -> bool:
    """What a person would say who looks at a clock and a calendar."""
    for each in hours.blackouts:
        if each.first <= shown(at, each.zone).date() <= each.last:
            return False
    return not hours.windows or any(_within(each, shown(at, each.zone)) for each in hours.windows)


def _within(one: Window, clock: datetime) -> bool:
    at = clock.hour * 60 + clock.minute
    today, yesterday = clock.weekday() in one.days, (clock.weekday() - 1) % 7 in one.days
    if one.start < one.end:
        return today and one.start <= at < one.end
    return (today and at >= one.start) or (yesterday and at < one.end)


def _changes(hours: Hours, at: datetime) -> bool:
    """Whether a clock changes about then: a window that lies in a gap comes after it, and one in an
    hour that comes twice has all of it."""
    about = (at - timedelta(days=3), at + timedelta(days=3))
    zones = [*(one.zone for one in hours.windows), *(one.zone for one in hours.blackouts)]
    return any(
        len({each.astimezone(ZoneInfo(zone)).utcoffset() for each in about}) > 1 for zone in zones
    )


@given(anything, moments)
def test_an_opening_is_inside_and_nothing_before_it_is(hours: Hours, at: datetime) -> None:
    found = opening(hours, at)
    before = found.opens if found else at + HORIZON
    if found is not None:
        assert at <= found.opens <= at + HORIZON
        assert _changes(hours, found.opens) or inside(hours, found.opens)
    step = max(timedelta(minutes=1), (before - at) / 300)
    while at < before:
        assert _changes(hours, at) or not inside(hours, at), at
        at += step


@given(anything, moments)
@example(Hours((window("6", "02:10", "02:50"),)), utc("2027-03-28T00:59"))
def test_it_stays_open_until_it_closes(hours: Hours, at: datetime) -> None:
    found = opening(hours, at)
    if found is None:
        return
    ends = found.closes or found.opens + CLOSES_WITHIN
    assert ends > found.opens
    for number in range(20):
        during = found.opens + (ends - found.opens) * number / 20
        again = opening(hours, during)
        assert again is not None
        assert (again.opens, again.closes or ends) >= (during, ends)
        assert again.opens == during
    if found.closes is not None:
        after = opening(hours, found.closes)
        assert after is None or after.opens > found.closes


@given(windows, moments)
def test_no_time_of_a_window_is_empty_or_out_of_order(one: Window, at: datetime) -> None:
    before = None
    for begins, ends in one.spans(at):
        assert begins < ends
        assert before is None or before <= begins
        before = begins
        if begins > at + timedelta(days=370):
            break


@given(windows, moments)
def test_a_window_without_a_change_of_the_clock_lasts_as_long_as_ever(
    one: Window, at: datetime
) -> None:
    hours = Hours((one,))
    for begins, ends in one.spans(at):
        if begins > at:
            if not _changes(hours, begins):
                assert ends - begins == one.lasts
            break
