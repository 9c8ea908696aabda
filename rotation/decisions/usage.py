"""The usage ledger: what is kept of samples of sessions, and who of it is told of at an approval.

A day of a credential is one small document. Samples are merged into it in any order and by
anybody, and its size is bounded, whatever clients call themselves.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from rotation.decisions.sessions import network, printable
from rotation.model import wire
from rotation.model.record import PastUser, Usage
from rotation.model.usage import Day, Row
from rotation.model.world import OWN_APPLICATION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rotation.model.wire import Moment
    from rotation.model.world import Session

PREFIX = "usage/"
DAYS = 31  # that are told of, and that a policy waits for: a job that runs once a month is in them
KEPT = 40  # days
MOST_ROWS = 100  # of a role on one day, in no workload
MOST_USERS = 50  # that are told of
LARGEST = 256 * 1024  # bytes of a day: a full one has about 40 KB

Key = tuple[str, str, str, str | None, bool]


def name(credential: str, day: str) -> str:
    """The name under which a credential's day is stored."""
    return f"{PREFIX}{credential}/{day}.json"


def day_in(name: str) -> date | None:
    """The day in such a name; None in any other."""
    try:
        return date.fromisoformat(name.rpartition("/")[2].removesuffix(".json"))
    except ValueError:
        return None


def told_of(name: str, now: datetime) -> bool:
    """Whether a stored day is one of the last `DAYS`."""
    day = day_in(name)
    return day is not None and day >= (now.astimezone(UTC) - timedelta(days=DAYS)).date()


def outdated(name: str, now: datetime) -> bool:
    """Whether a stored day is to be removed."""
    day = day_in(name)
    return day is not None and day < (now.astimezone(UTC) - timedelta(days=KEPT)).date()


def sampled(seen: Iterable[tuple[Session, str | None]], at: datetime, *, whole: bool) -> Day:
    """What one sample has: sessions with the workload that each belongs to, None for none.

    It is not `whole` where something could not be looked at. The app's own logins are left out.
    """
    moment = wire.moment(at)
    rows = [
        Row(
            role=session.role,
            application="" if workload else session.application,
            client="" if workload else session.client,
            workload=workload,
            first=moment,
            last=moment,
            samples=1,
        )
        for session, workload in seen
        if session.application != OWN_APPLICATION
    ]
    # Ten sessions of one client are one row, seen in one sample.
    once = list({_key(row): row for row in rows}.values())
    day = at.astimezone(UTC).date().isoformat()
    return merged(Day(day=day, samples=int(whole), gaps=int(not whole), rows=once))


def merged(*days: Day) -> Day:
    """The same day as several have seen parts of it, with the rows that there is room for."""
    rows: dict[Key, Row] = {}
    for row in (row for day in days for row in day.rows):
        rows[_key(row)] = _both(rows[_key(row)], row) if _key(row) in rows else row
    return Day(
        day=days[0].day,
        samples=sum(day.samples for day in days),
        gaps=sum(day.gaps for day in days),
        rows=sorted(_bounded(rows.values()), key=_order),
    )


def _key(row: Row) -> Key:
    return row.role, row.application, row.client, row.workload, row.others


def _order(row: Row) -> tuple[str, bool, Moment, str, str, str]:
    return row.role, row.others, row.first, row.application, row.client, row.workload or ""


def _both(one: Row, two: Row) -> Row:
    return msgspec.structs.replace(
        one,
        first=min(one.first, two.first),
        last=max(one.last, two.last),
        samples=one.samples + two.samples,
    )


def _bounded(rows: Iterable[Row]) -> list[Row]:
    """All rows of workloads, the first ones of each role that are of none, and one for the rest."""
    kept: list[Row] = []
    strange: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        (kept if row.workload else strange[row.role]).append(row)
    for role, found in strange.items():
        ordered = sorted(found, key=_order)
        named = [row for row in ordered if not row.others]
        kept += named[:MOST_ROWS]
        rest = [row for row in ordered if row.others] + named[MOST_ROWS:]
        if rest:
            one = Row(role=role, first=rest[0].first, last=rest[0].last, samples=0, others=True)
            for row in rest:
                one = _both(one, row)
            kept.append(one)
    return kept


def written(day: Day) -> bytes:
    return msgspec.json.encode(day)


def read(content: bytes) -> Day:
    """A stored day. Raises `ValueError` for what is none.

    Others may write there: no text of theirs gets any further that a client could not have sent.
    """
    if len(content) > LARGEST:
        raise ValueError("it is too large")
    day = wire.read(Day, content.decode())
    date.fromisoformat(day.day)
    return merged(msgspec.structs.replace(day, rows=[_clean(row) for row in day.rows]))


def _clean(row: Row) -> Row:
    """The row with texts that can be shown. Raises `ValueError` for times that are none."""
    known = row.client in {"", "local"} or network(row.client) is not None
    return msgspec.structs.replace(
        row,
        application=printable(row.application),
        client=row.client if known else "an address that is not shown",
        first=_moment(row.first),
        last=_moment(row.last),
    )


def _moment(given: Moment) -> Moment:
    at = wire.instant(given)
    if at.tzinfo is None:
        raise ValueError("it has a time without a zone")
    return wire.moment(at)


def strange(day: Day) -> bool:
    """Whether it has anybody who is in no workload."""
    return any(row.workload is None for row in day.rows)


def usage(
    days: Sequence[Day],
    replaced: str,
    serving: str,
    swapped: Moment | None,
    problem: str | None = None,
) -> Usage:
    """What the days have of the users of role `replaced`, which role `serving` stands in for since
    it `swapped`."""
    looked = sorted(day.day for day in days if day.samples)
    users = sorted(_users(days, replaced, serving, swapped), key=_told_first)
    return Usage(
        days=DAYS,
        since=looked[0] if looked else None,
        samples=sum(day.samples for day in days),
        gaps=sum(day.gaps for day in days),
        users=users[:MOST_USERS],
        more=len(users[MOST_USERS:]),
        problem=problem,
    )


def _told_first(user: PastUser) -> tuple[bool, float, str, str]:
    """Those that have not moved come first, and then who was seen last."""
    last = wire.instant(user.last).timestamp()
    return user.moved is not None, -last, user.application, user.client


def _users(
    days: Iterable[Day], replaced: str, serving: str, swapped: Moment | None
) -> list[PastUser]:
    rows: dict[tuple[str, str, bool], list[Row]] = defaultdict(list)
    now: dict[tuple[str, str, bool], list[Row]] = defaultdict(list)
    for row in (row for day in days for row in day.rows if row.workload is None):
        by = {replaced: rows, serving: now}.get(row.role)
        if by is not None:
            by[row.application, row.client, row.others].append(row)
    return [_user(found, now[key], swapped) for key, found in rows.items()]


def _user(rows: list[Row], now: list[Row], swapped: Moment | None) -> PastUser:
    """One user by the rows of its days. Of several that have no name nobody knows who moved."""
    last = max(row.last for row in rows)
    moved = None if rows[0].others else _first_since(now, swapped)
    return PastUser(
        application=rows[0].application,
        client=rows[0].client,
        first=min(row.first for row in rows),
        last=last,
        days=len({row.first[:10] for row in rows}),
        moved=moved if moved is not None and moved > last else None,
        others=rows[0].others,
    )


def _first_since(rows: Iterable[Row], swapped: Moment | None) -> Moment | None:
    """The first time in the rows that is not before the swap, of those that they know."""
    times = [at for row in rows for at in (row.first, row.last) if swapped and at >= swapped]
    return min(times, default=None)


def holding(usage: Usage | None) -> list[PastUser]:
    """Those who may still need the replaced login, whoever they are: a policy does not take it away
    from them."""
    return [] if usage is None else [user for user in usage.users if user.moved is None]


def told(user: PastUser) -> str:
    """A user in words: `etl-nightly from 10.1.2.3, last seen Tue 2 Mar, 02:10 UTC, in no
    workload`."""
    who = "others" if user.others else f"{user.application or 'unnamed'} from {user.client}"
    text = f"{who}, last seen {_time(user.last)}, in no workload"
    return f"{text}; on the login that serves since {_time(user.moved)}" if user.moved else text


def _time(at: Moment) -> str:
    return f"{wire.instant(at).astimezone(UTC):%a %-d %b, %H:%M} UTC"
