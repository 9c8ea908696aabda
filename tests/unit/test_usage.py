"""The usage ledger's days: what is kept of samples, and who of it is told of."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotation.decisions import usage
from rotation.decisions.usage import holding, merged, sampled, told
from rotation.model import wire
from rotation.model.usage import Day, Row
from rotation.model.world import OWN_APPLICATION, Session

if TYPE_CHECKING:
    from rotation.model.record import PastUser

AT = datetime(2027, 3, 2, 2, 10, tzinfo=UTC)  # a Tuesday
BLUE, GREEN = "orders_blue", "orders_green"


def session(role: str = BLUE, application: str = "etl", client: str = "10.1.2.3") -> Session:
    return Session(role, application, client, "idle", None)


def seen(*sessions: Session, at: datetime = AT, workload: str | None = None) -> Day:
    return sampled([(one, workload) for one in sessions], at, whole=True)


def minutes(count: int) -> datetime:
    return AT + timedelta(minutes=count)


def test_many_sessions_of_one_client_are_one_row_of_a_sample() -> None:
    day = seen(session(), session(), session(client="10.1.2.4"))
    assert (day.day, day.samples, day.gaps) == ("2027-03-02", 1, 0)
    assert [(row.client, row.samples, row.workload) for row in day.rows] == [
        ("10.1.2.3", 1, None),
        ("10.1.2.4", 1, None),
    ]


def test_a_workload_is_one_row_whatever_its_pods() -> None:
    pods = [session(client=f"10.2.0.{number}", application=f"api-{number}") for number in range(9)]
    (row,) = seen(*pods, workload="api").rows
    assert (row.workload, row.application, row.client, row.samples) == ("api", "", "", 1)


def test_the_apps_own_logins_are_no_use_of_a_login() -> None:
    assert seen(session(application=OWN_APPLICATION)).rows == []


def test_first_and_last_are_kept_of_many_samples() -> None:
    day = merged(*(seen(session(), at=minutes(count)) for count in (7, 0, 3)))
    (row,) = day.rows
    assert (day.samples, row.samples) == (3, 3)
    assert (row.first, row.last) == (wire.moment(AT), wire.moment(minutes(7)))


def test_a_sample_that_is_not_whole_is_a_gap() -> None:
    day = merged(sampled([], AT, whole=False), seen(session()))
    assert (day.samples, day.gaps) == (1, 1)


rows = st.lists(
    st.builds(
        session,
        st.sampled_from([BLUE, GREEN]),
        st.text(max_size=80),
        st.sampled_from(["10.1.2.3", "10.1.2.4", "local", "fd00::1"]),
    ),
    max_size=4,
)
samples = st.lists(
    st.builds(
        lambda sessions, count, workload: seen(*sessions, at=minutes(count), workload=workload),
        rows,
        st.integers(0, 600),
        st.sampled_from([None, None, "api", "web"]),
    ),
    min_size=1,
    max_size=4,
)


@given(samples)
def test_the_order_of_samples_and_of_merges_does_not_matter(given_: list[Day]) -> None:
    whole = merged(*given_)
    for order in permutations(given_):
        step = order[0]
        for day in order[1:]:
            step = merged(step, day)
        assert step == whole


@given(samples)
def test_what_is_written_is_read_again(given_: list[Day]) -> None:
    day = merged(*given_)
    again = usage.read(usage.written(day))
    assert (again.day, again.samples) == (day.day, day.samples)
    assert sum(row.samples for row in again.rows) == sum(row.samples for row in day.rows)
    assert usage.read(usage.written(again)) == again


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=400))
def test_a_day_has_a_largest_size_and_forgets_nobody(numbers: list[int]) -> None:
    """Clients that call themselves something else each time, for as long as they like."""
    day = Day(day="2027-03-02")
    for number in numbers:
        name = f"{'x' * 50}-{number}"
        for role in (BLUE, GREEN):
            row = session(role, name, "fd00:1111:2222:3333:4444:5555:6666:7777")
            day = merged(day, seen(row, at=minutes(number % 60)))
    for role in (BLUE, GREEN):
        mine = [row for row in day.rows if row.role == role]
        assert len(mine) <= usage.MOST_ROWS + 1
        assert sum(row.samples for row in mine) == len(numbers)
        assert any(row.others for row in mine) is (len(set(numbers)) > usage.MOST_ROWS)
        assert max(row.last for row in mine) == wire.moment(minutes(max(n % 60 for n in numbers)))
    assert len(usage.written(day)) < usage.LARGEST


def test_the_largest_day_is_read_again() -> None:
    day = Day(day="2027-03-02")
    for number in range(usage.MOST_ROWS + 5):
        name = f"{'x' * 58}{number:05}"
        address = "fd00:1111:2222:3333:4444:5555:6666:7777"
        day = merged(day, seen(session(BLUE, name, address), session(GREEN, name, address)))
    assert usage.read(usage.written(day)) == day
    assert len(usage.written(day)) < 50_000


BROKEN: list[bytes] = [
    b"",
    b"[]",
    b"\xff",
    b"{" * 10_000,
    b'{"day": "tomorrow"}',
    b'{"day": "2027-03-02", "rows": [{"role": "b"}]}',
    json.dumps(
        {
            "day": "2027-03-02",
            "rows": [{"role": "b", "first": "2027-03-02T00:00:00", "last": "x", "samples": 1}],
        }
    ).encode(),
    b" " * (usage.LARGEST + 1),
]


@pytest.mark.parametrize("content", BROKEN)
def test_what_is_no_day_is_refused(content: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        usage.read(content)


@pytest.mark.parametrize(
    ("application", "client", "shown"),
    [
        ("etl", "10.1.2.3", ("etl", "10.1.2.3")),
        ("see https://evil.example", "local", ("a name that is not shown", "local")),
        ("a\nb", "<script>", ("a name that is not shown", "an address that is not shown")),
    ],
)
def test_what_others_wrote_there_is_shown_as_a_clients_own_words_are(
    application: str, client: str, shown: tuple[str, str]
) -> None:
    moment = wire.moment(AT)
    row = Row(
        role=BLUE, application=application, client=client, first=moment, last=moment, samples=1
    )
    (found,) = usage.read(usage.written(Day(day="2027-03-02", rows=[row]))).rows
    assert (found.application, found.client) == shown


@pytest.mark.parametrize(
    ("name", "told_of", "outdated"),
    [
        ("usage/orders-db/2027-03-02.json", True, False),
        ("usage/orders-db/2027-01-30.json", True, False),
        ("usage/orders-db/2027-01-29.json", False, False),
        ("usage/orders-db/2027-01-21.json", False, False),
        ("usage/orders-db/2027-01-20.json", False, True),
        ("usage/orders-db/note.json", False, False),
    ],
)
def test_how_long_a_day_counts(name: str, told_of: bool, outdated: bool) -> None:
    assert (usage.told_of(name, AT), usage.outdated(name, AT)) == (told_of, outdated)


SWAPPED = AT + timedelta(hours=10)


def users(*days: Day, swapped: datetime = SWAPPED) -> list[PastUser]:
    return usage.usage(days, BLUE, GREEN, wire.moment(swapped)).users


def hours(count: float) -> datetime:
    return AT + timedelta(hours=count)


def test_who_used_the_replaced_role_and_is_in_no_workload_is_told() -> None:
    days = [
        merged(seen(session()), seen(session(application="api"), workload="api")),
        seen(session(), at=hours(24)),
        seen(session(GREEN, "psql"), at=hours(24)),
    ]
    (user,) = users(*days)
    assert (user.application, user.client, user.days, user.moved) == ("etl", "10.1.2.3", 2, None)
    assert told(user) == "etl from 10.1.2.3, last seen Wed 3 Mar, 02:10 UTC, in no workload"
    assert holding(usage.usage(days, BLUE, GREEN, None)) == [user]


MOVES: list[tuple[str, list[tuple[str, float]], float | None]] = [
    ("on the new one after the swap", [(BLUE, 0), (GREEN, 24)], 24),
    ("on the new one in the hour of the swap", [(BLUE, 0), (GREEN, 10)], 10),
    ("on the new one in an earlier era alone", [(GREEN, 0), (BLUE, 5)], None),
    ("before and after the swap", [(GREEN, 0), (BLUE, 5), (GREEN, 11)], 11),
    ("on both", [(GREEN, 11), (BLUE, 24), (GREEN, 25)], None),
    ("not on the new one", [(BLUE, 0), (BLUE, 24)], None),
]


@pytest.mark.parametrize(("what", "samples", "moved"), MOVES, ids=[what for what, *_ in MOVES])
def test_who_has_moved(what: str, samples: list[tuple[str, float]], moved: float | None) -> None:
    del what
    days: dict[str, Day] = {}
    for role, at in samples:
        day = seen(session(role), at=hours(at))
        days[day.day] = merged(*(known for known in [days.get(day.day), day] if known))
    (user,) = users(*days.values())
    assert user.moved == (None if moved is None else wire.moment(hours(moved)))
    found = usage.usage(list(days.values()), BLUE, GREEN, wire.moment(SWAPPED))
    assert holding(found) == ([user] if moved is None else [])


def test_a_client_of_the_same_name_elsewhere_has_not_moved() -> None:
    """Everybody can call themselves so."""
    (user,) = users(seen(session()), seen(session(GREEN, client="10.1.2.9"), at=hours(24)))
    assert user.moved is None


def test_those_that_had_no_room_hold_a_policy_too() -> None:
    many = [session(application=f"x{number}") for number in range(usage.MOST_ROWS + 1)]
    day = merged(
        seen(*many), *(seen(session(GREEN, one.application), at=hours(24)) for one in many)
    )
    found = usage.usage([day], BLUE, GREEN, wire.moment(SWAPPED))
    (held,) = [user for user in holding(found) if user.others]
    assert told(held) == "others, last seen Tue 2 Mar, 02:10 UTC, in no workload"


def test_those_that_have_not_moved_are_told_first_and_the_rest_is_counted() -> None:
    many = [session(application=f"x{number:02}") for number in range(usage.MOST_USERS + 5)]
    days = [
        seen(*many),
        seen(*(session(GREEN, one.application) for one in many[1:]), at=hours(24)),
    ]
    found = usage.usage(days, BLUE, GREEN, wire.moment(SWAPPED))
    assert (len(found.users), found.more) == (usage.MOST_USERS, 5)
    assert [user.application for user in holding(found)] == ["x00"]
    assert found.users[0].application == "x00"


def test_what_was_looked_at_is_told() -> None:
    days = [Day(day="2027-03-01", gaps=3), Day(day="2027-03-02", samples=5, gaps=1)]
    found = usage.usage(days, BLUE, GREEN, None, "1 of 3 days could not be read")
    told_: dict[str, Any] = wire.value_of(found)
    assert told_ == {
        "days": 31,
        "since": "2027-03-02",
        "samples": 5,
        "gaps": 4,
        "users": [],
        "more": 0,
        "problem": "1 of 3 days could not be read",
    }


GUIDE = Path(__file__).parents[2] / "docs" / "operations.md"
CHANCES = re.compile(r"^\| (\d+) s \| ([0-9.]+) % \| ([0-9.]+) % \| ([0-9.]+) % \|$", re.MULTILINE)


def test_the_guide_says_with_what_chance_a_short_connection_is_missed() -> None:
    found = CHANCES.findall(GUIDE.read_text(encoding="utf-8"))
    assert [int(seconds) for seconds, *_ in found] == [1, 5, 10, 20, 30, 60]
    for seconds, *told_ in found:
        missed = 1 - int(seconds) / 60
        assert told_ == [f"{100 * missed**times:.1f}" for times in (30, 4, 1)]
