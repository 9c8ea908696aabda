"""Waves: reads what is asked for, resolves whom it means, starts them, and tells how they stand.

Whom a wave means is decided once, when it is asked for: by the file, by what was last seen of the
secrets, and by whom the credentials list.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from azure.durable_functions import OrchestrationRuntimeStatus as Status

from rotation.decisions.rights import Action
from rotation.decisions.verdict import MOST_NAMES, identity_of
from rotation.front import cancelling, rights, rotations, samples, starting
from rotation.front.approvers import with_object_id
from rotation.front.hub import unavailable
from rotation.front.problems import Problem, only, text
from rotation.model import wire
from rotation.model.activities import (
    CANCEL_ROTATIONS,
    FOLLOW_ROTATIONS,
    START_ROTATIONS,
    TELL_WAVE,
    Reference,
)
from rotation.model.catalogue import Origin
from rotation.model.errors import ConfigurationError, RotationError, Unavailable
from rotation.model.reasons import Code
from rotation.model.record import Cancel, Request
from rotation.model.waves import (
    Followed,
    Wave,
    WaveCancel,
    WaveLeft,
    WaveMember,
    WaveStatus,
    WaveSummary,
)
from rotation.steps.running import Implementation, run
from rotation.telling import waves as telling

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from azure.durable_functions import DurableOrchestrationClient as Client

    from rotation.config import Credential
    from rotation.contracts.edges import Edges, Readers
    from rotation.decisions.verdict import Identity
    from rotation.front.approvers import Decider
    from rotation.model.waves import MemberState, Running
    from rotation.model.wire import JsonObject

# Ids that are no credential's name.
ID = re.compile(r"wave\.[0-9]{8}T[0-9]{6}-[0-9a-f]{4}")
FIELDS = (
    *("select", "canary", "size", "pause", "stopAfter"),
    *("reason", "by", "outsideWindow", "dryRun"),
)
SELECT = ("credentials", "labels", "dueWithin", "all")
SIZE, MOST_AT_ONCE = 5, 40  # of a wave's batch: unless asked for, and what its status has room for
MOST_SELECTED = 2000
LONGEST_PAUSE = timedelta(days=30)
MOST_NAMED = 20
PREFIX = "wave."  # of the ids of all
LISTED = timedelta(days=400)  # since when, if the task hub has them still
NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Asker:
    """Whoever asks for a wave: for their rights, by name, and for a credential's four eyes."""

    who: Decider | None
    by: str
    known: Callable[[Credential], Identity]
    onlooker: Decider | None


@dataclass
class Selected:
    """The credentials that a selection means and that may be started, and the others."""

    names: list[str] = field(default_factory=list)
    left: list[WaveLeft] = field(default_factory=list)


# -- what is asked for


async def asked(edges: Readers, document: JsonObject, asker: Asker) -> Wave:
    """The wave that a document asks for. Raises `Problem`."""
    if "waive" in document:
        detail = (
            "'waive' goes with one 'credential', not with 'select': what stands in the way is "
            "looked at, and waived, for each; ask for a rotation of that credential alone"
        )
        raise Problem(400, Code.BAD_REQUEST, detail, field="waive")
    only(document, *FIELDS)
    select = _select(document)
    selected = await _selected(edges, select, asker)
    if not selected.names:
        left = "; ".join(f"{one.credential}: {one.text}" for one in selected.left[:MOST_NAMED])
        detail = f"'select' means no credential that can be started{f': {left}' if left else ''}"
        raise Problem(400, Code.BAD_REQUEST, detail, field="select")
    names, first = _in_order(document, selected.names)
    now = edges.now()
    wave = f"wave.{now.astimezone(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    known = _comparable(edges, names, asker)
    return Wave(
        wave=wave,
        requested_by=asker.by,
        reason=text(document, "reason"),
        select=select,
        first=first,
        size=_number(document, "size", SIZE, MOST_AT_ONCE),
        pause=_pause(document),
        stop_after=_number(document, "stopAfter", 1, MOST_SELECTED),
        members=[
            WaveMember(credential=name, rotation=rotation_id(wave, now, name)) for name in names
        ],
        left=selected.left,
        known_as=sorted(known.names)[:MOST_NAMES],
        object_id=known.object_id,
        signed_in=known.signed_in,
        outside_window=starting.outside_window(document),
    )


def rotation_id(wave: str, now: datetime, credential: str) -> str:
    """The id of a credential's rotation in a wave: the same whenever it is started."""
    digest = hashlib.sha256(f"{wave}/{credential}".encode()).hexdigest()[:4]
    return f"{credential}-{now.astimezone(UTC):%Y%m%dT%H%M%S}-{digest}"


def _select(document: JsonObject) -> JsonObject:
    """The selection, as it was given. Raises `Problem`."""
    given = document.get("select")
    if not isinstance(given, dict) or not given:
        detail = f"'select' must be an object with at least one of: {', '.join(SELECT)}"
        raise Problem(400, Code.BAD_REQUEST, detail, field="select")
    for key, value in given.items():
        why_not = _why_not(key, value)
        if why_not is not None:
            raise Problem(400, Code.BAD_REQUEST, why_not, field=f"select.{key}"[:60])
    if "all" in given and given.keys() & {"credentials", "labels"}:
        detail = "'select.all' goes with neither 'credentials' nor 'labels', which say whom"
        raise Problem(400, Code.BAD_REQUEST, detail, field="select.all")
    return given


def _why_not(key: str, value: object) -> str | None:
    """What is wrong with a part of a selection; None if nothing is."""
    match key:
        case "credentials":
            names = value if isinstance(value, list) else []
            texts = all(isinstance(one, str) for one in names)
            if not names or not texts or len(set(names)) < len(names):
                return "'select.credentials' must be a list of names, each once"
        case "labels":
            texts = isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
            if not texts or not value:
                return "'select.labels' must be an object of labels and their values, as texts"
        case "dueWithin":
            try:
                _time(value)
            except ValueError as error:
                return f"'select.dueWithin': {error}"
        case "all":
            if value is not True:
                return "'select.all' must be true, or left out"
        case _:
            return f"{key[:40]!r} is not a part of 'select'; there are: {', '.join(SELECT)}"
    return None


def _time(value: object) -> timedelta:
    """A length of time, as the file has them. Raises `ValueError`."""
    from rotation.config.fields import duration  # noqa: PLC0415 - a cold start is paid for

    return duration(value)


def _number(document: JsonObject, key: str, default: int, most: int) -> int:
    given = document.get(key, default)
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= most:
        detail = f"{key!r} must be a whole number from 1 to {most}"
        raise Problem(400, Code.BAD_REQUEST, detail, field=key)
    return given


def _pause(document: JsonObject) -> float:
    """The pause between batches, in seconds. Raises `Problem`."""
    try:
        pause = _time(document.get("pause", "0s"))
    except ValueError as error:
        raise Problem(400, Code.BAD_REQUEST, f"'pause': {error}", field="pause") from None
    if pause > LONGEST_PAUSE:
        detail = f"'pause' must be at most {LONGEST_PAUSE.days}d"
        raise Problem(400, Code.BAD_REQUEST, detail, field="pause")
    return pause.total_seconds()


def _in_order(document: JsonObject, names: list[str]) -> tuple[list[str], int]:
    """The names with the canary first, and how many begin alone. Raises `Problem`."""
    canary = document.get("canary", names[0])
    if canary is False:
        return names, 0
    if not isinstance(canary, str) or canary not in names:
        detail = "'canary' must be false, or a credential that is selected and can be started"
        raise Problem(400, Code.BAD_REQUEST, detail, field="canary")
    return [canary, *(name for name in names if name != canary)], 1


def _comparable(edges: Readers, names: list[str], asker: Asker) -> Identity:
    """Whoever asks, as the first credential knows them. Raises `Problem` where somebody could
    approve none of a credential's rotations, since nobody could be compared with whoever asks."""
    for name in names:
        credential = edges.configuration.credential(name)
        if not credential.approval.allow_requester:
            starting.demand_comparable(edges, asker.known(credential))
    return asker.known(edges.configuration.credential(names[0]))


# -- whom it means


async def _selected(edges: Readers, select: JsonObject, asker: Asker) -> Selected:
    """The credentials that are meant, those whose secret expires first in front. Raises
    `Problem` for a name that whoever asks does not see."""
    for name in select.get("credentials", ()):
        starting.credential_of(edges, asker.onlooker, name)
    seen = rights.visible(edges, asker.onlooker)
    wanted = [name for name in seen if _means(edges.configuration.credential(name), name, select)]
    if len(wanted) > MOST_SELECTED:
        detail = f"'select' means {len(wanted)} credentials; a wave has {MOST_SELECTED} at most"
        raise Problem(400, Code.BAD_REQUEST, detail, field="select")
    found = Selected()
    for name in wanted:
        why_not = rights.refusal(Action.START, asker.who, edges.configuration.credential(name))
        if why_not is None:
            found.names.append(name)
        else:
            found.left.append(WaveLeft(credential=name, text=why_not))
    return await _by_expiry(edges, select, found)


def _means(credential: Credential, name: str, select: JsonObject) -> bool:
    named = name in select.get("credentials", (name,))
    labels = select.get("labels", {}).items()
    return named and all(credential.labels.get(key) == value for key, value in labels)


async def _by_expiry(edges: Readers, select: JsonObject, found: Selected) -> Selected:
    """The same in the order in which their secrets expire, without those that are not due in the
    time that is asked for. It is known by the last look at each."""
    seen = await samples.known(edges, found.names)
    expires = {name: _expires(one) for name, one in zip(found.names, seen, strict=True)}
    within = select.get("dueWithin")
    names = sorted(found.names, key=lambda name: (expires[name] or NEVER, name))
    if within is None:
        return Selected(names, found.left)
    until = edges.now() + _time(within)
    kept, left = [], [*found.left]
    for name in names:
        at = expires[name]
        if at is None:
            text = "it is not known when the secret that serves expires"
            left.append(WaveLeft(credential=name, text=text))
        elif at <= until:
            kept.append(name)
    return Selected(kept, left)


def _expires(seen: Any) -> datetime | None:
    slot = seen.slots.get(seen.active) if seen is not None and seen.active else None
    return wire.instant(slot.expires) if slot is not None and slot.expires else None


# -- starting, looking, cancelling


async def start(client: Client, wave: Wave) -> None:
    """Starts a wave. Raises `Unavailable`."""
    try:
        await client.start_new("wave", wave.wave, wire.value_of(wave))
    except Unavailable:
        raise
    except Exception as error:
        raise unavailable(f"{wave.wave} was not started") from error


def planned(wave: Wave) -> JsonObject:
    """What a wave would do: who would begin together, in their order."""
    batches = [[one.credential for one in batch] for batch in wave.batches]
    left = [wire.value_of(one) for one in wave.left]
    return {"wave": None, "batches": batches, "left": left, "pause": wave.pause}


async def find(client: Client, wave: str) -> Wave | None:
    """A wave's record as it is now; None if there is none. Raises `Unavailable`."""
    if not ID.fullmatch(wave):
        return None
    status = await client.get_status(wave, show_input=True)
    return _of(status) if status and status.name == "wave" else None


def _of(status: Any) -> Wave:
    """A wave's record, by its instance's status."""
    if status.runtime_status is Status.Completed:
        return wire.read(Wave, status.output)
    found = wire.read(Wave, status.input_)
    shown = wire.decoded(status.custom_status)
    found = _with(found, wire.read(WaveStatus, shown)) if shown else found
    if status.runtime_status not in rotations.RUNNING:  # ended from outside, or by a fault
        found.phase, found.cancelling, found.until = "stopped", None, None
        found.why = f"its orchestration was {status.runtime_status.name.lower()}"
    return found


def _with(found: Wave, shown: WaveStatus) -> Wave:
    """A wave's record with what it shows of what is under way."""
    members = {one.credential: one for one in shown.members}
    found.members = [members.get(one.credential, one) for one in found.members]
    found.batch, found.phase, found.until = shown.batch, shown.phase, shown.until
    found.cancelling, found.cancelled, found.why = shown.cancelling, shown.cancelled, shown.waits
    return found


def seen_by(edges: Readers, who: Decider | None, wave: Wave) -> Wave | None:
    """A wave with what somebody sees of it; None where they see nothing. Where that is not all,
    neither what was selected nor why it ended is in it: both have names of credentials."""
    if rights.sees_all(who):
        return wave
    names = set(rights.visible(edges, who))
    members = [one for one in wave.members if one.credential in names]
    left = [one for one in wave.left if one.credential in names]
    if not members:
        return None
    if (len(members), len(left)) == (len(wave.members), len(wave.left)):
        return wave
    why = "it has credentials that you do not see" if wave.why else ""
    return msgspec.structs.replace(wave, members=members, left=left, select={}, why=why)


async def listing(edges: Readers, client: Client, who: Decider | None) -> list[WaveSummary]:
    """The waves that the task hub has, of which somebody sees something, the newest first. Raises
    `Unavailable`."""
    now = edges.now()
    found = await rotations.between(
        client, now - LISTED, now + timedelta(days=1), {"instance_id_prefix": PREFIX}
    )
    waves = [wave for status in found if (wave := _readable(status)) is not None]
    seen = [one for wave in waves if (one := seen_by(edges, who, wave)) is not None]
    return sorted(map(_summary, seen), key=lambda one: one.wave, reverse=True)


def _readable(status: Any) -> Wave | None:
    """A wave's record; None of another instance, or of one of another release."""
    if status.name != "wave":
        return None
    try:
        return _of(status)
    except (ValueError, RecursionError):
        return None


def _summary(wave: Wave) -> WaveSummary:
    return WaveSummary(
        wave=wave.wave,
        requested_by=wave.requested_by,
        reason=wave.reason,
        phase=wave.phase,
        why=wave.why,
        started=wave.started,
        until=wave.until,
        members=dict(Counter(one.state for one in wave.members)),
    )


async def existing(edges: Readers, client: Client, who: Decider | None, name: str) -> Wave:
    """The record of a wave, with what somebody sees of it. Raises `Problem` if there is none."""
    found = await find(client, name)
    seen = seen_by(edges, who, found) if found is not None else None
    if seen is None:
        raise Problem(404, Code.UNKNOWN_ROTATION, f"there is no wave {name[:60]!r}")
    return seen


def why_not_cancelled(edges: Readers, who: Decider, wave: Wave) -> str | None:
    """Why somebody may not cancel a wave; None if they may: who may cancel each rotation of it that
    has not ended. Names no credential that they do not see."""
    names = set(rights.visible(edges, who))
    for one in wave.members:
        credential = edges.configuration.credentials.get(one.credential)
        why_not = rights.refusal(Action.CANCEL, who, credential) if credential else None
        if why_not is not None and one.credential not in names:
            return "it has credentials that you do not see"
        if why_not is not None:
            return f"{one.credential}: {why_not}"
    return None


async def cancel(edges: Readers, client: Client, name: str, who: Decider, wish: WaveCancel) -> None:
    """Hands a cancel to a wave. Raises `Problem` for whom that is not allowed, and where it has
    ended, or is cancelled already."""
    wave = await find(client, name)
    if wave is None:
        raise Problem(404, Code.UNKNOWN_ROTATION, f"there is no wave {name[:60]!r}")
    why_not = why_not_cancelled(edges, who, wave)
    if why_not is not None:
        raise Problem(403, Code.NOT_ALLOWED, why_not)
    if wave.cancelling is None:
        by = wave.cancelled.by if wave.cancelled else ""
        detail = f"it was cancelled by {by}" if by else f"it has ended: {wave.phase}"
        raise Problem(409, Code.NOT_CANCELLABLE, detail)
    try:
        await client.raise_event(wave.wave, wave.cancelling, wire.value_of(wish))
    except Unavailable:
        raise
    except Exception as error:
        raise unavailable(f"{wave.wave} may not have got the cancel") from error


def running(document: JsonObject) -> Running:
    """What becomes of what has begun, as a cancel asks. Raises `Problem`."""
    given = document.get("running", "keep")
    if given not in ("keep", "cancel"):  # a tuple: a body may hold what has no hash
        raise Problem(400, Code.BAD_REQUEST, "'running' must be keep or cancel", field="running")
    return given  # type: ignore[no-any-return]  # one of them


# -- the activities of `rotation.story.waves`


async def begin(edges: Edges, client: Client, reference: object) -> JsonObject:
    """Runs the activity `start_rotations`: starts those of a wave's members, each once."""

    async def one(wave: Wave, member: WaveMember) -> WaveMember:
        try:
            credential = edges.configuration.credential(member.credential)
        except ConfigurationError as error:
            return _as(member, "not-started", error.message)
        match await rotations.start(client, _request(wave, member, credential)):
            case rotations.Busy(rotation):
                return _as(member, "busy", f"rotation {rotation} is under way")
            case _:
                return _as(member, "started")

    return await _each(START_ROTATIONS.name, edges, reference, one)


def _request(wave: Wave, member: WaveMember, credential: Credential) -> Request:
    known = identity_of(wave.known_as, wave.object_id, signed_in=wave.signed_in)
    known = with_object_id(known, wave.requested_by, credential)
    return Request(
        rotation=member.rotation,
        credential=member.credential,
        origin=Origin.MANUAL,
        requested_by=wave.requested_by,
        reason=wave.reason,
        known_as=sorted(known.names)[:MOST_NAMES],
        object_id=known.object_id,
        signed_in=known.signed_in,
        restricted=bool(credential.viewers),
        outside_window=wave.outside_window,
        wave=wave.wave,
    )


async def follow(edges: Edges, client: Client, reference: object) -> JsonObject:
    """Runs the activity `follow_rotations`: looks how those of a wave's members stand."""

    async def one(_: Wave, member: WaveMember) -> WaveMember:
        record = await rotations.find(client, member.rotation)
        if record is None:
            return _as(member, "not-started", "the task hub has no such rotation")
        if record.outcome is not None:
            return _as(member, str(record.outcome), record.outcome_reason or "")  # type: ignore[arg-type]
        return _as(member, "waiting" if rotations.waits(record) else "started")

    return await _each(FOLLOW_ROTATIONS.name, edges, reference, one)


async def cancel_each(edges: Edges, client: Client, reference: object) -> JsonObject:
    """Runs the activity `cancel_rotations`: cancels those of a wave's members that can be."""

    async def one(wave: Wave, member: WaveMember) -> WaveMember:
        record = await rotations.find(client, member.rotation)
        event = cancelling.awaited(record) if record is not None else None
        wish = wave.cancelled
        if event is not None and wish is not None:
            cancel = Cancel(
                by=wish.by,
                channel=wish.channel,
                comment=wish.comment,
                id=hashlib.sha256(member.rotation.encode()).hexdigest()[:16],
            )
            try:
                await client.raise_event(member.rotation, event, wire.value_of(cancel))
            except Unavailable:
                raise
            except Exception:  # noqa: BLE001 - the SDK's own: it has ended meanwhile
                return member
        return member

    return await _each(CANCEL_ROTATIONS.name, edges, reference, one)


async def tell(edges: Edges, client: Client, reference: object) -> JsonObject:
    """Runs the activity `tell_wave`: logs how far a wave is, and starts the orchestration that
    publishes its event where there is a topic."""
    notice = wire.read(Reference, reference).wave_notice
    if notice is None:
        raise LookupError(f"the reference of {TELL_WAVE.name} has no notice")
    topic = edges.settings.topic is not None
    event = telling.event(notice, edges.settings.public_url) if topic else None

    def known(error: RotationError | None) -> JsonObject:
        def end(_: object) -> None:
            if error is not None:
                raise error
            telling.logged(notice)

        return run(Implementation(TELL_WAVE.name, end), edges, reference)

    try:
        if event is not None and not await client.get_status(event["id"]):
            await client.start_new("publish", event["id"], event)
    except RotationError as error:
        return known(error)
    return known(None)


def _as(member: WaveMember, state: MemberState, text: str = "") -> WaveMember:
    return msgspec.structs.replace(member, state=state, text=wire.truncated(text, 200))


async def _each(
    name: str,
    edges: Edges,
    reference: object,
    one: Callable[[Wave, WaveMember], Awaitable[WaveMember]],
) -> JsonObject:
    """The answer of an activity that does the same for each member, or its failure."""
    wave = wire.read(Reference, reference).wave
    if wave is None:
        raise LookupError(f"the reference of {name} has no wave")
    try:
        answer = Followed([await one(wave, member) for member in wave.members])
    except RotationError as error:
        failure = error

        def failed(_: object) -> None:
            raise failure

        return run(Implementation(name, failed), edges, reference)
    return run(Implementation(name, lambda _: answer), edges, reference)
