"""Rotations as a caller sees them: start one, find them, decide one. HTTP and HTML come on top.

All of it goes through the durable client, whose statuses are the only record there is.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from azure.durable_functions import OrchestrationRuntimeStatus as Status

from rotation.run import decoded, iso

if TYPE_CHECKING:
    from azure.durable_functions import DurableOrchestrationClient as Client

    from rotation.model import Origin, Request

RUNNING = {Status.Running, Status.Pending, Status.ContinuedAsNew, Status.Suspended}
PAGE = 100  # instances that a host answers with at once
MOMENT = timedelta(milliseconds=2)  # a sweep of a fleet makes hundreds in one second
RETENTION = timedelta(days=30)

# The durable client puts ids into its URLs as they are: what comes from a caller must not be able
# to lead such a request elsewhere.
ID = re.compile(r"[A-Za-z0-9-]{1,100}")


def event_id(credential: str, origin: Origin, secret: str, version: str) -> str:
    """One rotation for all deliveries of an event about a secret version."""
    digest = hashlib.sha256(f"{secret.lower()}/{version}".encode()).hexdigest()
    return f"{credential}-{origin}-{digest[:12]}"


def sweep_id(credential: str, day: datetime) -> str:
    return f"{credential}-sweep-{day:%Y%m%d}"


def manual_id(credential: str, now: datetime) -> str:
    return f"{credential}-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"


@dataclass(frozen=True)
class Started:
    rotation: str


@dataclass(frozen=True)
class Known:
    """This very request was taken before; it may have ended."""

    rotation: str


@dataclass(frozen=True)
class Busy:
    """The credential has another rotation under way."""

    rotation: str


async def start(client: Client, request: Request) -> Started | Known | Busy:
    """Starts the credential's orchestration, unless it runs or this request was taken before."""
    if await client.get_status(request.rotation):
        return Known(request.rotation)
    running = await current(client, request.credential)
    if running is not None:
        return _as_seen(request, running)
    try:
        await client.start_new("credential", request.credential, request.as_value())
    except Exception:
        # The SDK raises bare exceptions: that another one was first is seen by looking.
        running = await current(client, request.credential)
        if running is None:
            raise
        return _as_seen(request, running)
    # Two callers can both have seen nothing: the one whose request did not get in hears of it.
    running = await current(client, request.credential)
    if running in {None, request.rotation}:
        return Started(request.rotation)
    return Busy(str(running))


def _as_seen(request: Request, running: str) -> Known | Busy:
    return Known(running) if running == request.rotation else Busy(running)


async def current(client: Client, credential: str) -> str | None:
    """The id of the credential's rotation that is under way."""
    status = await client.get_status(credential, show_input=True)
    if not status or status.runtime_status not in RUNNING:
        return None
    return str(decoded(status.input_)["rotation"])


async def find(client: Client, rotation: str) -> dict[str, Any] | None:
    """A rotation's whole record, with what its workloads do just now; None if there is none."""
    if not ID.fullmatch(rotation):
        return None
    status = await client.get_status(rotation, show_input=True)
    if not status:
        return await _queued(client, rotation)
    if status.name != "rotation":
        return None
    record = describe(status)
    if record["outcome"] is None:
        record["workloads"] = await _progress(client, record)
    return record


async def _queued(client: Client, rotation: str) -> dict[str, Any] | None:
    """One that was taken, and that its credential's orchestration has yet to begin.

    The id begins with the credential's name and ends with two or three parts of its own.
    """
    for parts in (2, 3):
        credential = rotation.rsplit("-", parts)[0]
        status = await client.get_status(credential, show_input=True)
        if not status or status.name != "credential" or status.runtime_status not in RUNNING:
            continue
        if decoded(status.input_)["rotation"] == rotation:
            return {**describe(status), "rotation": rotation}
    return None


async def _progress(client: Client, record: dict[str, Any]) -> dict[str, Any]:
    """The parts show more than their rotation does while they run: which activity they are in."""
    stage = record["stage"]
    names = list(record["workloads"])
    parts = await asyncio.gather(
        *(client.get_status(f"{record['rotation']}.{stage}.{name}") for name in names)
    )
    return {
        name: str(part.custom_status)
        if part and part.runtime_status in RUNNING and part.custom_status
        else record["workloads"][name]
        for name, part in zip(names, parts, strict=True)
    }


def describe(status: Any) -> dict[str, Any]:
    """One record for a rotation that waits, runs, has ended, or was ended from outside."""
    shown = decoded(status.custom_status) or {}
    output = decoded(status.output) if status.runtime_status == Status.Completed else None
    request = decoded(status.input_) or {}
    record: dict[str, Any] = {
        "rotation": status.instance_id,
        "credential": request.get("credential"),
        "request": request,
        "stage": "queued",
        "since": _time(status.created_time),
        "active": None,
        "standby": None,
        "version": None,
        "workloads": {},
        "steps": [],
        "approval": None,
        "decision": None,
        "outcome": None,
        "outcomeReason": None,
        "evidence": {},
        **shown,
        **(output or {}),
        "runtimeStatus": status.runtime_status.name,
        "created": _time(status.created_time),
        "updated": _time(status.last_updated_time),
    }
    if status.runtime_status in {Status.Failed, Status.Terminated, Status.Canceled}:
        # Ended from outside or by a fault of the engine: nothing was taken back.
        record |= {
            "outcome": "needs-attention",
            "outcomeReason": f"its orchestration was {status.runtime_status.name.lower()}",
        }
    return record


def _time(moment: datetime | None) -> str | None:
    return iso(moment.astimezone(UTC)) if moment else None


async def listing(
    client: Client, since: datetime, until: datetime, credential: str | None = None
) -> list[dict[str, Any]]:
    """The rotations created in a span of time, the newest first."""
    if credential is not None and not ID.fullmatch(credential):
        return []
    statuses = await _between(client, since, until, credential)
    found = {status.instance_id: status for status in statuses if status.name == "rotation"}
    records = [describe(status) for status in found.values()]
    if credential is not None:
        records = [record for record in records if record["credential"] == credential]
    return sorted(records, key=lambda record: str(record["created"]), reverse=True)


async def _between(
    client: Client, since: datetime, until: datetime, prefix: str | None
) -> list[Any]:
    """A host answers with one page, and the SDK does not ask for the next: halve the span."""
    found: list[Any] = await client.get_status_by(
        created_time_from=since, created_time_to=until, instance_id_prefix=prefix
    )
    if len(found) < PAGE or until - since < MOMENT:
        return found
    middle = since + (until - since) / 2
    halves = await asyncio.gather(
        _between(client, since, middle, prefix), _between(client, middle, until, prefix)
    )
    return [*halves[0], *halves[1]]


@dataclass(frozen=True)
class Decision:
    """What a person decided; `channel` says how it reached us.

    `known_as` are all names and ids of theirs, for four eyes.
    """

    decision: Literal["approve", "reject"]
    by: str
    channel: str
    comment: str
    known_as: tuple[str, ...] = ()


@dataclass(frozen=True)
class NotWaiting:
    """The rotation is not at its approval (any more); `record` says where it is."""

    record: dict[str, Any]


@dataclass(frozen=True)
class Recorded:
    record: dict[str, Any]


@dataclass(frozen=True)
class Accepted:
    """Handed over; it is not recorded yet."""

    record: dict[str, Any]


@dataclass(frozen=True)
class TooLate:
    """Somebody else's decision counted."""

    record: dict[str, Any]


async def decide(
    client: Client, record: dict[str, Any], decision: Decision, patience: float = 8.0
) -> NotWaiting | Recorded | Accepted | TooLate:
    """Raises the decision and looks whether it is the one that counted.

    `patience` is how many seconds to look for it before answering `Accepted`.
    """
    gate = (record["approval"] or {}).get("event")
    if gate is None:
        return NotWaiting(record)
    rotation, mine = record["rotation"], secrets.token_hex(8)
    try:
        await client.raise_event(rotation, gate, {**asdict(decision), "id": mine})
    except Exception:
        # The SDK raises bare exceptions: that it has ended meanwhile is seen by looking.
        ended = await find(client, rotation)
        if ended is None or ended["outcome"] is None:
            raise
        return NotWaiting(ended)
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        found = await find(client, rotation) or record
        if found["decision"] is not None:
            won = found["decision"].get("id") == mine
            return Recorded(found) if won else TooLate(found)
        if (found["approval"] or {}).get("event") != gate:
            return NotWaiting(found)  # it was looked at and did not count: `ignored` says why
        if asyncio.get_running_loop().time() > deadline:
            return Accepted(found)
        await asyncio.sleep(0.2)
