"""Starts, finds, lists and decides rotations, for the HTTP API and the pages.

All of it goes through the durable client, whose statuses are the only record there is. Nothing is
concluded from one that could not be read: see `hub`.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from azure.durable_functions import OrchestrationRuntimeStatus as Status

from rotation.front.approvers import identity
from rotation.front.hub import unavailable
from rotation.front.lines import standing as standing_in_line
from rotation.front.planned import standing
from rotation.model import wire
from rotation.model.activities import PartEnded, PartStatus, Seat
from rotation.model.catalogue import DONE, Origin, Outcome, Progress, Stage
from rotation.model.errors import Unavailable
from rotation.model.reasons import Code, reason
from rotation.model.record import (
    Decision,
    Request,
    ShownRecord,
    Tried,
    awaited_decision,
    before_swap,
    new_record,
)
from rotation.story.progress import part_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from azure.durable_functions import DurableOrchestrationClient as Client
    from msgspec import Struct

    from rotation.contracts.edges import Readers
    from rotation.front.approvers import Decider
    from rotation.model.catalogue import Gate
    from rotation.model.record import Approval, Choice, Record
    from rotation.model.wire import JsonObject

T = TypeVar("T")

RUNNING = {Status.Running, Status.Pending, Status.ContinuedAsNew, Status.Suspended}
PAGE = 100  # instances that a host answers with at once
MOMENT = timedelta(milliseconds=2)  # a sweep of a fleet makes hundreds in one second
RETENTION = timedelta(days=30)
MOST_FOLLOWED = 20  # rotations of a list
GRACE = 8.0  # seconds to look whether a decision counted, before answering `Accepted`

# The durable client puts ids into its URLs as they are: what comes from a caller must not be able
# to lead such a request elsewhere.
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}")


def event_id(credential: str, origin: Origin, secret: str, version: str) -> str:
    """The id of the rotation for an event about a secret version, the same for each delivery."""
    digest = hashlib.sha256(f"{secret.lower()}/{version}".encode()).hexdigest()
    return f"{credential}-{origin}-{digest[:12]}"


def sweep_id(credential: str, day: datetime) -> str:
    """The id of the rotation that a day's sweep asks for, the same if the sweep is repeated."""
    return f"{credential}-sweep-{day:%Y%m%d}"


def manual_id(credential: str, now: datetime) -> str:
    """A new id for a rotation that somebody asked for."""
    return f"{credential}-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"


OWN_PART = re.compile(
    rf"-(?:sweep-[0-9]{{8}}|[0-9]{{8}}T[0-9]{{6}}-[0-9a-f]{{4}}|(?:{'|'.join(Origin)})-[0-9a-f]{{12}})"
)


def owners(rotation: str) -> set[str]:
    """The names of credentials that a rotation with this id may be of: as a rule one, and none
    where the id is not one of those above."""
    ends = (match.start() for match in OWN_PART.finditer(rotation) if match.end() == len(rotation))
    return {rotation[:end] for end in ends}


@dataclass(frozen=True)
class Started:
    """The answer to a request whose rotation was started."""

    rotation: str


@dataclass(frozen=True)
class Known:
    """The answer to a request that was taken before; its rotation may have ended."""

    rotation: str


@dataclass(frozen=True)
class Busy:
    """The answer to a request while the credential has another rotation under way."""

    rotation: str


async def start(client: Client, request: Request) -> Started | Known | Busy:
    """Starts the credential's orchestration, unless it runs or this request was taken before.

    Raises `Unavailable`, after which it may have been started: a repeat finds out.
    """
    if await client.get_status(request.rotation):
        return Known(request.rotation)
    running = await current(client, request.credential)
    if running is not None:
        return _already_running(request, running)
    try:
        await client.start_new("credential", request.credential, wire.value_of(request))
    except Unavailable:
        raise
    except Exception as error:
        # The SDK raises bare exceptions: that another one was first is seen by looking.
        running = await current(client, request.credential)
        if running is None:
            raise unavailable(f"{request.rotation} was not started") from error
        return _already_running(request, running)
    # Two callers can both have seen nothing: the one whose request did not get in hears of it.
    running = await current(client, request.credential)
    if running in {None, request.rotation}:
        return Started(request.rotation)
    return Busy(str(running))


def _already_running(request: Request, running: str) -> Known | Busy:
    """The answer to a request whose credential has the rotation `running` under way."""
    return Known(running) if running == request.rotation else Busy(running)


async def current(client: Client, credential: str) -> str | None:
    """The id of the credential's rotation that is under way; None if there is none.

    It is the credential's name where the request cannot be read: whatever runs there keeps others
    out.
    """
    return _under_way(await client.get_status(credential, show_input=True), credential)


def _under_way(status: Any, credential: str) -> str | None:
    """The rotation of a credential's orchestration, as `current` has it."""
    if not status or status.runtime_status not in RUNNING:
        return None
    try:
        return seat_of(status).rotation
    except (ValueError, RecursionError):
        return credential


def seat_of(status: Any) -> Seat:
    """What a credential's orchestration shows; of one that began before the story's version 1.2 the
    rotation alone. Raises `ValueError` or `RecursionError` where it cannot be read."""
    shown = wire.decoded(status.custom_status)
    if shown:
        return wire.read(Seat, shown)
    return Seat(rotation=wire.read(Request, status.input_).rotation)


@dataclass(frozen=True)
class Lately:
    """What a credential's rotations did last: the one that is under way, and when any of them last
    went on; None where there was none that is known."""

    rotation: str | None
    changed: datetime | None


async def lately(client: Client, credential: str) -> Lately:
    """What the credential's rotations did last. Raises `Unavailable`."""
    status = await client.get_status(credential, show_input=True)
    if not status:
        return Lately(None, None)
    rotation = _under_way(status, credential)
    # What has begun says of its own how it goes on.
    own = await client.get_status(rotation) if rotation and ID.fullmatch(rotation) else None
    times = [one.last_updated_time for one in (status, own) if one and one.last_updated_time]
    return Lately(rotation, max(map(_utc, times), default=None))


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


async def find(client: Client, rotation: str) -> ShownRecord | None:
    """A rotation's whole record, with what its workloads do just now; None if there is none."""
    if not ID.fullmatch(rotation):
        return None
    status = await client.get_status(rotation, show_input=True)
    if not status:
        return await _queued(client, rotation)
    if status.name != "rotation":
        return None
    record = describe(status)
    if record.outcome is None:
        await _add_progress(client, record)
        await _add_place(client, record)
    return record


async def _add_place(client: Client, record: ShownRecord) -> None:
    """Adds how it stands with the place that a rotation waits for, which it asks seldom itself."""
    place = record.place
    if place is None or place.state != "waits":
        return
    text = await standing_in_line(client, record.rotation, place.number)
    if text:
        record.place = msgspec.structs.replace(place, text=text)
        if record.steps and record.steps[-1].until is None:
            record.steps[-1].waits = text


async def _queued(client: Client, rotation: str) -> ShownRecord | None:
    """The record of a rotation that its credential's orchestration has yet to begin.

    The rotation's id begins with the credential's name and ends with two or three parts of its own.
    """
    for parts in (2, 3):
        credential = rotation.rsplit("-", parts)[0]
        if not ID.fullmatch(credential):
            continue
        status = await client.get_status(credential, show_input=True)
        if not status or status.name != "credential" or status.runtime_status not in RUNNING:
            continue
        try:
            asked = [wire.read(Request, status.input_), seat_of(status).next]
        except (ValueError, RecursionError):
            continue
        for request in asked:
            if request is not None and request.rotation == rotation:
                return _waiting(request, status)
    return None


def _waiting(request: Request, status: Any) -> ShownRecord:
    """The record of a rotation that has yet to begin, or an incident that another one makes way
    for."""
    value = wire.value_of(new_record(request, Stage.QUEUED, _moment(status.created_time)))
    return wire.read(ShownRecord, {**value, **_instance_fields(status)})


async def add_progress(client: Client, records: list[ShownRecord]) -> None:
    """Adds to records of a list how far the workloads of those that run are: of the first of them,
    since each takes some questions to the hub."""
    running = [record for record in records if record.outcome is None][:MOST_FOLLOWED]
    await asyncio.gather(*(_add_progress(client, record) for record in running))


async def _add_progress(client: Client, record: ShownRecord) -> None:
    """Adds to the record of a running rotation how far each workload is, and what it waits for.

    While they run, the parts show more than their rotation does: which activity they are in.
    """
    names = list(record.workloads)
    # A stage may have several steps that have parts, and is called as the first of these.
    step = next((str(one.step) for one in record.steps[-1:] if one.until is None), record.stage)
    ids = [part_id(record.rotation, step, name, record.attempt) for name in names]
    parts = await asyncio.gather(*map(client.get_status, ids))
    for name, part in zip(names, parts, strict=True):
        if part and part.runtime_status in RUNNING:
            _add_running(record, name, _shown(part.custom_status))
        elif part and part.runtime_status is Status.Completed:
            _add_ended(record, name, step, _ended(part.output))


def _add_running(record: ShownRecord, name: str, shown: PartStatus | None) -> None:
    """Adds what a workload's part shows that is under way."""
    if shown is None:
        return
    record.workloads[name] = shown.progress
    if shown.waits is not None:
        record.waits[name] = shown.waits
    if shown.next_try is not None:
        record.tried[name] = Tried(attempt=shown.attempt, next_try=shown.next_try)


def _add_ended(record: ShownRecord, name: str, step: str, ended: PartEnded | None) -> None:
    """Adds how a workload's part has ended, which its rotation tells when all have."""
    done = next((done for of, done in DONE.items() if of == step), None)
    if ended is None or done is None:
        return
    record.workloads[name] = Progress.FAILED if ended.reasons else done
    if ended.reasons:
        record.waits[name] = "; ".join(why.text for why in ended.reasons)


def _ended(output: object) -> PartEnded | None:
    """How a part ended; None for what cannot be read."""
    try:
        return wire.read(PartEnded, output)
    except (ValueError, RecursionError):
        return None


def _shown(status: object) -> PartStatus | None:
    """What a part shows; None for nothing, and for words of another release."""
    value = {"progress": status} if isinstance(status, str) else status
    try:
        return wire.read(PartStatus, value)
    except (ValueError, RecursionError):
        return None


def describe(status: Any) -> ShownRecord:
    """The record of a rotation that waits, runs, has ended, or was ended from outside."""
    try:
        record = _read(status)
    except (ValueError, RecursionError):
        # Of another release, or damaged: seen as what it is, instead of hiding all the others.
        record = unreadable(
            status.instance_id,
            _moment(status.created_time),
            _moment(status.last_updated_time),
            status.runtime_status.name,
        )
    if status.runtime_status in {Status.Failed, Status.Terminated, Status.Canceled}:
        # Ended from outside or by a fault of the engine: nothing was taken back.
        text = f"its orchestration was {status.runtime_status.name.lower()}"
        record.outcome, record.outcome_reason = Outcome.NEEDS_ATTENTION, text
        record.reasons = [reason(Code.ENDED_OUTSIDE, text)]
    return record


def _read(status: Any) -> ShownRecord:
    """The record in a status. Raises `ValueError` or `RecursionError` if it cannot be read."""
    request = wire.read(Request, status.input_)
    created = _moment(status.created_time)
    value = wire.value_of(new_record(request, Stage.QUEUED, created))
    value |= wire.decoded(status.custom_status) or {}
    if status.runtime_status == Status.Completed:
        value |= wire.decoded(status.output) or {}
    value["request"] = wire.value_of(request)  # whole: a status may have shortened it
    return wire.read(ShownRecord, {**value, **_instance_fields(status)})


def _instance_fields(status: Any) -> JsonObject:
    """The fields of a shown record that come from the task hub, not from the rotation."""
    return {
        "runtimeStatus": status.runtime_status.name,
        "created": _moment(status.created_time),
        "updated": _moment(status.last_updated_time),
    }


def unreadable(
    rotation: str, created: wire.Moment | None, updated: wire.Moment | None, status: str
) -> ShownRecord:
    """The record to show for one that cannot be read: it needs attention."""
    known = {"rotation": rotation, "credential": "", "requestedBy": "", "reason": ""}
    request = wire.read(Request, {**known, "origin": "manual"})
    value = wire.value_of(new_record(request, Stage.DONE, created))
    fields = {"runtimeStatus": status, "created": created, "updated": updated}
    record = wire.read(ShownRecord, {**value, **fields})
    text = "its record cannot be read by this release"
    record.outcome, record.outcome_reason = Outcome.NEEDS_ATTENTION, text
    record.reasons = [reason(Code.UNREADABLE, text)]
    return record


def _moment(at: datetime | None) -> wire.Moment | None:
    return wire.moment(at) if at else None


async def listing(
    client: Client, since: datetime, until: datetime, credential: str | None = None
) -> list[ShownRecord]:
    """The rotations created in a span of time, the newest first."""
    if credential is not None and not ID.fullmatch(credential):
        return []
    statuses = await between(client, since, until, {"instance_id_prefix": credential})
    rotations = {status.instance_id: status for status in statuses if status.name == "rotation"}
    records = [describe(status) for status in rotations.values()]
    if credential is not None:
        records = [record for record in records if record.credential == credential]
    return sorted(records, key=lambda record: str(record.created), reverse=True)


async def unended(client: Client, since: datetime, until: datetime) -> list[ShownRecord]:
    """The rotations created in a span of time that have not ended, the newest first. Nothing says
    how long one may wait for a decision."""
    standing = {"instance_id_prefix": None, "runtime_status": sorted(RUNNING, key=str)}
    statuses = await between(client, since, until, standing)
    found = {one.instance_id: describe(one) for one in statuses if one.name == "rotation"}
    running = [record for record in found.values() if record.outcome is None]
    return sorted(running, key=lambda record: str(record.created), reverse=True)


async def newest(
    client: Client,
    since: datetime,
    until: datetime,
    credential: str | None,
    wanted: Callable[[ShownRecord], bool],
    most: int,
) -> list[ShownRecord]:
    """At least `most` of the newest wanted rotations created in a span of time, or all, in any
    order.

    Spans are looked at from their end, and halved where they fill a page: what is older is asked
    for only if it is needed.
    """
    recent = max(since, until - RETENTION)
    spans = [(since, recent), (recent, until)] if since < recent else [(since, until)]
    found: dict[str, ShownRecord] = {}
    while spans and len(found) < most:
        begin, end = spans.pop()
        page = await client.get_status_by(
            created_time_from=begin, created_time_to=end, instance_id_prefix=credential
        )
        if len(page) >= PAGE and end - begin >= MOMENT:
            middle = begin + (end - begin) / 2
            spans += [(begin, middle), (middle, end)]
            continue
        records = [describe(status) for status in page if status.name == "rotation"]
        found |= {
            record.rotation: record
            for record in records
            if credential in {None, record.credential} and wanted(record)
        }
    return list(found.values())


async def between(
    client: Client, since: datetime, until: datetime, wanted: dict[str, Any]
) -> list[Any]:
    """The statuses of all instances created in a span of time that are wanted.

    A host answers with one page, and the SDK does not ask for the next: a span that fills one is
    halved.
    """
    page: list[Any] = await client.get_status_by(
        created_time_from=since, created_time_to=until, **wanted
    )
    if len(page) < PAGE or until - since < MOMENT:
        return page
    middle = since + (until - since) / 2
    halves = await asyncio.gather(
        between(client, since, middle, wanted), between(client, middle, until, wanted)
    )
    return [*halves[0], *halves[1]]


def waits(record: ShownRecord) -> bool:
    """Whether the rotation takes a decision now."""
    return awaited(record) is not None and record.outcome is None


def awaited(record: ShownRecord) -> str | None:
    """The name of the approval event that the rotation waits for; None if it waits for none."""
    for asked in (record.before, record.approval):
        if asked is not None and asked.event is not None:
            return asked.event
    return None


def gate_of(record: ShownRecord) -> Gate | None:
    """Which decision the rotation waits for; None if it waits for none."""
    if awaited(record) is None or record.outcome is not None:
        return None
    return "before" if before_swap(record) else "after"


def approval_of(record: Record) -> Approval | None:
    """The wait for a decision that is under way, or was the last one."""
    return record.before if record.approval is None else record.approval


def _made_after(record: Record) -> Decision | None:
    """The decision after the swap; of an incident that is done, a second person's."""
    confirms = record.approval is not None and record.approval.confirms
    return record.confirmation if confirms else record.decision


@dataclass(frozen=True)
class NotWaiting:
    """The answer when a rotation is not at its approval (any more); `record` says where it is."""

    record: ShownRecord


@dataclass(frozen=True)
class Recorded:
    """The answer to a decision that counted."""

    record: ShownRecord
    decision: Decision


@dataclass(frozen=True)
class Accepted:
    """The answer to a decision or a cancel that was handed over, and is not recorded yet."""

    record: ShownRecord


@dataclass(frozen=True)
class TooLate:
    """The answer to a decision after somebody else's, `decision`, has counted."""

    record: ShownRecord
    decision: Decision


@dataclass(frozen=True)
class NotAllowed:
    """The answer to somebody who may not decide or cancel this; nothing was changed."""

    reason: str


Decided = NotWaiting | Recorded | Accepted | TooLate | NotAllowed


async def decide(  # noqa: PLR0913 - all that it depends on
    edges: Readers,
    client: Client,
    record: ShownRecord,
    decider: Decider,
    choice: Choice,
    comment: str,
    *,
    gate: Gate | None = None,
) -> Decided:
    """Hands a decision to the rotation if it may count, and returns what became of it. `gate` is
    which one it is meant for, where that is known."""
    event = awaited(record)
    if event is None or record.outcome is not None or gate not in {None, gate_of(record)}:
        return NotWaiting(record)
    rules = await standing(edges, client, record)
    why_not = rules.refusal(decider, record.request, choice)
    if why_not is not None:
        return NotAllowed(why_not)
    who = identity(decider, rules.approval)
    decision = Decision(
        decision=choice,
        by=decider.by,
        channel=decider.channel,
        comment=comment,
        id=secrets.token_hex(8),
        known_as=sorted(who.names),
        object_id=who.object_id,
        signed_in=who.signed_in,
    )
    return await submit(client, record, event, decision)


async def submit(
    client: Client, record: ShownRecord, event: str, decision: Decision, grace: float = GRACE
) -> Decided:
    """Hands a decision to the rotation, and returns what became of it within `grace` seconds.

    Raises `Unavailable`, after which it may have got there: a repeat finds out, and one counts.
    """

    asked_before = record.before.event if record.before else None

    def became(found: ShownRecord) -> Decided | None:
        made = found.decided_before if event == asked_before else _made_after(found)
        if made is not None:
            won = made.id == decision.id
            return Recorded(found, made) if won else TooLate(found, made)
        if awaited(found) != event or found.outcome is not None:
            return NotWaiting(found)  # it was looked at and did not count: `ignored` says why
        return None

    return await hand_over(client, record, event, decision, became, grace)


async def hand_over(
    client: Client,
    record: ShownRecord,
    event: str,
    value: Struct,
    became: Callable[[ShownRecord], T | None],
    grace: float,
) -> T | Accepted:
    """Raises an event of a rotation, and returns what `became` of it as soon as a look at the
    rotation shows that, within `grace` seconds.

    Raises `Unavailable`, after which it may have got there: a repeat finds out.
    """
    rotation = record.rotation
    try:
        await client.raise_event(rotation, event, wire.value_of(value))
    except Unavailable:
        raise
    except Exception as error:
        # The SDK raises bare exceptions: that it has ended meanwhile is seen by looking.
        ended = await seen(client, rotation)
        known = became(ended) if ended is not None and ended.outcome is not None else None
        if known is None:
            what = type(value).__name__.lower()
            raise unavailable(f"{rotation} may not have got the {what}") from error
        return known
    deadline = asyncio.get_running_loop().time() + grace
    while True:
        found = await seen(client, rotation)
        if found is None:
            return Accepted(record)  # the hub has taken it; what becomes of it is seen later
        known = became(found)
        if known is not None:
            return known
        if asyncio.get_running_loop().time() > deadline:
            return Accepted(found)
        await asyncio.sleep(0.2)


async def seen(client: Client, rotation: str) -> ShownRecord | None:
    """The record as it is now; None where a look shows nothing, for whatever reason.

    What was raised is on its way: a look that fails must not say otherwise.
    """
    try:
        return await find(client, rotation)
    except Unavailable:
        return None


def why_not(record: ShownRecord) -> str:
    """Why a decision did not count."""
    gate, confirms = gate_of(record), bool(record.approval and record.approval.confirms)
    if gate is not None and record.decision is None and not confirms:
        what = "whether traffic moves" if gate == "before" else "whether the replaced login goes"
        asked = approval_of(record)
        if asked is not None and asked.ignored:
            return f"the decision did not count: {asked.ignored[-1]}"
        return f"it waits for another decision by now: {what} (gate: {gate})"
    decided = awaited_decision(record)
    if decided:
        word = "approved" if decided.decision == "approve" else "rejected"
        at = f" at {decided.at[:19]}Z" if decided.at else ""
        return f"it was {word} already, by {decided.by}{at}: one decision counts"
    asked = approval_of(record)
    if asked is not None and asked.ignored:
        return f"the decision did not count: {asked.ignored[-1]}"
    return f"the rotation does not wait for a decision: its stage is {record.stage}"
