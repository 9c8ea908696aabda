"""Rotations as they are known for good: those that the task hub has, and those that were kept.

The hub's word counts for as long as it has one; most back ends forget after 30 days.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from rotation.front import archive, rights, rotations
from rotation.front.problems import Problem
from rotation.model.errors import RotationError, Unavailable
from rotation.model.reasons import Code, Reason, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from azure.durable_functions import DurableOrchestrationClient as Client

    from rotation.contracts.edges import Readers
    from rotation.front.approvers import Decider
    from rotation.front.archive import Span
    from rotation.front.rights import Sieve
    from rotation.model.record import ShownRecord

READ_WITHIN = 20.0  # seconds, for the records of one page
ANSWER_WITHIN = 10.0  # seconds, for one record, or the names of a page

T = TypeVar("T")


async def find(edges: Readers, client: Client, rotation: str) -> ShownRecord | None:
    """A rotation's record, from the hub or else from what was kept; None if there is none.

    Raises `Unavailable` where either does not answer: what cannot be looked up is not absent.
    """
    record = await rotations.find(client, rotation)
    if record is not None or not rotations.ID.fullmatch(rotation):
        return record
    store = archive.opened(edges)
    if store is None:
        return None
    return await asyncio.to_thread(_in_time, edges, lambda: archive.read(store, rotation))


async def shown(
    edges: Readers, client: Client, who: Decider | None, rotation: str
) -> ShownRecord | None:
    """The record of a rotation that somebody sees, as `find` has it; None as well where they do not
    see it, after the same looks as for one that is not there."""
    record = await find(edges, client, rotation)
    if record is None or await rights.sees_rotation(edges, client, who, record):
        return record
    store = archive.opened(edges)
    if store is not None:
        await asyncio.to_thread(_in_time, edges, lambda: archive.read(store, rotation))
    return None


@dataclass(frozen=True)
class Page:
    """A part of a list, the newest first; `next` is where the next part begins, None at the end.

    `incomplete` says why what was kept is missing in it.
    """

    records: list[ShownRecord]
    next: str | None
    incomplete: Reason | None = None


@dataclass(frozen=True)
class Search:
    """What a list is of: the rotations of a span, of one credential if it is given, that somebody
    sees, at most `limit` of them."""

    span: Span
    credential: str | None
    who: Decider | None
    limit: int


async def page(edges: Readers, client: Client, search: Search) -> Page:
    """The newest rotations that are searched for, each once.

    The same place is the same rotation, however many begin meanwhile: those come before it. Neither
    the length of a page nor its end tells of a rotation that is not seen. Raises `Unavailable`
    where the hub does not answer.
    """
    if search.credential is not None and not rotations.ID.fullmatch(search.credential):
        return Page([], None)
    if rights.sees_all(search.who):
        return await _page(edges, client, search)
    hidden = search.credential and not rights.may_be_seen(edges, search.who, search.credential)
    span, limit, incomplete = search.span, search.limit, None
    shown: list[ShownRecord] = []
    while True:
        # One more than is shown tells whether there are more.
        found = await _page(edges, client, replace(search, span=span, limit=limit + 1))
        shown += await rights.seen_of(edges, client, search.who, found.records)
        incomplete = incomplete or found.incomplete
        rest = beginning(span, found.next) if found.next and not hidden else None
        if rest is None or len(shown) > limit:
            break
        span = rest
    last = archive.key(shown[limit - 1]) if len(shown) > limit else None
    return Page(shown[:limit], last and encoded(last), incomplete)


async def _page(edges: Readers, client: Client, search: Search) -> Page:
    """The same, with those in it of credentials that the file does not know, seen or not."""
    limit, seen = search.limit, rights.Sieve(edges, search.who)
    more = replace(search, limit=limit + 1)
    hub, (kept, incomplete) = await asyncio.gather(
        _in_hub(client, more, seen), _kept(edges, more, seen)
    )
    known = {archive.key(record): record for record in hub}
    ids = {record.rotation for record in hub}
    there = {*known, *(key for key in kept if archive.rotation_of(key) not in ids)}
    keys = sorted(there)[:limit]
    missing = [key for key in keys if key not in known]
    if missing:
        try:
            known |= await asyncio.to_thread(_read, edges, missing)
        except RotationError as error:
            keys, there = sorted(known)[:limit], set(known)
            incomplete = error.reason if rights.sees_all(search.who) else _nameless(error)
    shown = [known[key] for key in keys if key in known]
    last = keys[-1] if len(there) > limit else None
    return Page(shown, last and encoded(last), incomplete)


def _nameless(error: RotationError) -> Reason:
    """Why records are missing, without the name of the one that was read: of a credential that the
    file has lost, only the record says who sees it."""
    return reason(error.code, "records that were kept could not be read")


async def _in_hub(client: Client, search: Search, seen: Sieve) -> list[ShownRecord]:
    """The newest rotations that are searched for and that the hub has."""
    span, most = search.span, search.limit
    until = span.until
    if span.after:
        until = min(until, archive.created(span.after) + archive.MILLISECOND)
    since = min(max(span.since, archive.EPOCH), until)

    def wanted(record: ShownRecord) -> bool:
        return span.has(archive.key(record)) and seen.may_be(record.credential)

    found = await rotations.newest(client, since, until, search.credential, wanted, most)
    return sorted(found, key=archive.key)[:most]


async def _kept(edges: Readers, search: Search, seen: Sieve) -> tuple[list[str], Reason | None]:
    """The keys of the newest rotations that are searched for and were kept, or why they cannot be
    had."""
    wanted = seen.may_be_of if seen.holds_back and search.credential is None else None
    try:
        store = archive.opened(edges)
        if store is None:
            return [], None
        look = partial(archive.listed, store, search.span, search.credential, search.limit, wanted)
        return await asyncio.to_thread(_in_time, edges, look), None
    except RotationError as error:
        return [], error.reason


def _in_time(edges: Readers, look: Callable[[], T]) -> T:
    """What one look into the store finds. Raises what that does, and `Unavailable` where it takes
    too long: the threads on which pages wait are few."""
    (found,) = edges.side_by_side([lambda: (look(),)], ANSWER_WITHIN)
    if found is None:
        text = f"the app's storage did not answer within {ANSWER_WITHIN:g} s"
        raise Unavailable(Code.STORAGE_UNAVAILABLE, text)
    return found[0]


def _read(edges: Readers, keys: list[str]) -> dict[str, ShownRecord]:
    """The records of these keys that are kept. Raises what the store does, and `Unavailable` where
    it takes too long."""
    store = edges.store("records")

    def reading(key: str) -> Callable[[], tuple[ShownRecord | None]]:
        return lambda: (archive.read(store, archive.rotation_of(key)),)

    calls = [reading(key) for key in keys]
    found = edges.side_by_side(calls, READ_WITHIN)
    if None in found:
        text = f"{len(keys)} records could not be read within {READ_WITHIN:g} s"
        raise Unavailable(Code.STORAGE_UNAVAILABLE, text)
    records = {key: one[0] for key, one in zip(keys, found, strict=True) if one is not None}
    return {key: record for key, record in records.items() if record is not None}


def asked(query: Mapping[str, str], now: datetime, back: timedelta) -> Span:
    """The span that a query is about, from its cursor on: since `back` ago unless it says since
    when. Raises `Problem`."""
    span = archive.Span(
        _moment(query, "since", now - back), _moment(query, "until", now + timedelta(minutes=5))
    )
    if span.since >= span.until:
        raise Problem(400, Code.BAD_REQUEST, "'since' must be before 'until'", field="since")
    cursor = query.get("after")
    begins = beginning(span, cursor) if cursor else span
    if begins is None:
        detail = "'after' is not what 'next' of another page was"
        raise Problem(400, Code.BAD_REQUEST, detail, field="after")
    return begins


def _moment(query: Mapping[str, str], field: str, default: datetime) -> datetime:
    """The time in a field of the query, in UTC, or the default. Raises `Problem`."""
    given = query.get(field)
    if not given:
        return default
    try:
        moment = datetime.fromisoformat(given)
        # The durable client writes it as UTC without looking at its zone.
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        detail = f"{field!r} is not an ISO 8601 time"
        raise Problem(400, Code.BAD_REQUEST, detail, field=field) from None


def encoded(key: str) -> str:
    """A key as a cursor, which means nothing to whoever gets it."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def beginning(span: Span, cursor: str) -> Span | None:
    """The span from behind a cursor on; None for what is no cursor."""
    try:
        key = base64.urlsafe_b64decode(f"{cursor}{'=' * (-len(cursor) % 4)}").decode()
    except (binascii.Error, ValueError):
        return None
    return replace(span, after=key) if archive.KEY.fullmatch(key) else None
