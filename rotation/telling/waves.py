"""The log events of a wave, and its events for the Event Grid topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from msgspec import Struct

from rotation import log
from rotation.model import wire
from rotation.model.catalogue import PREFIX, WaveAnnouncement, wave_announcement_facts
from rotation.model.waves import WaveCancel, WavePhase
from rotation.model.wire import Moment

if TYPE_CHECKING:
    from rotation.model.waves import WaveNotice
    from rotation.model.wire import JsonObject


class WaveLinks(Struct, frozen=True, kw_only=True, rename="camel"):
    """The URLs of a wave, which need a sign-in or a function key; paths without
    ROTATION_PUBLIC_URL."""

    status: str
    page: str


class WaveEventData(Struct, frozen=True, kw_only=True, rename="camel"):
    """The `data` of a wave's event. `title` and `text` are a mail's subject and body, without
    markup. `members` says how many credentials are in which state, `why` why it stopped."""

    wave: str
    requested_by: str
    reason: str
    phase: WavePhase
    why: str
    members: dict[str, int]
    cancelled: WaveCancel | None
    links: WaveLinks
    title: str
    text: str


class WaveEvent(Struct, frozen=True, kw_only=True, rename="camel"):
    """A wave's event in the Event Grid schema. `id` is the same for a repeat of it."""

    id: str
    event_type: str
    subject: str
    event_time: Moment
    data_version: str
    data: WaveEventData


def logged(notice: WaveNotice) -> None:
    """Logs a notice, and counts the waves that have ended."""
    fields = wire.value_of(notice)
    for known in ("kind", "number", "time"):
        fields.pop(known)
    log.event(wave_announcement_facts(notice.kind).log_event, **fields)
    if notice.kind is not WaveAnnouncement.STARTED:
        log.WAVES.add(1, {"phase": notice.phase})


def links(wave: str, public_url: str | None) -> WaveLinks:
    base = public_url or ""
    return WaveLinks(status=f"{base}/api/waves/{wave}", page=f"{base}/api/pages/waves/{wave}")


def event(notice: WaveNotice, public_url: str | None) -> JsonObject:
    """The event for a notice, in the Event Grid schema."""
    title, text = words(notice)
    data = WaveEventData(
        wave=notice.wave,
        requested_by=notice.requested_by,
        reason=notice.reason,
        phase=notice.phase,
        why=notice.why,
        members=notice.members,
        cancelled=notice.cancelled,
        links=links(notice.wave, public_url),
        title=f"{notice.wave}: {title}",
        text=text,
    )
    made = WaveEvent(
        id=f"{notice.wave}.{notice.number}",
        event_type=PREFIX + notice.kind,
        subject=f"/waves/{notice.wave}",
        event_time=notice.time,
        data_version="1",
        data=data,
    )
    return wire.value_of(made)


def words(notice: WaveNotice) -> tuple[str, str]:
    """A mail's subject, in one line, and its body, in a few sentences; both without markup."""
    listed = ", ".join(f"{number} {state}" for state, number in notice.members.items())
    match notice.kind:
        case WaveAnnouncement.STARTED:
            number = sum(notice.members.values())
            what = f"{number} credentials begin, a few at a time."
            return "wave started", f"{what} Nothing is asked of you."
        case WaveAnnouncement.STOPPED:
            title = "wave cancelled" if notice.cancelled else "wave stopped"
            return title, f"{notice.why.rstrip('.')}. Nothing more begins: {listed}."
        case WaveAnnouncement.FINISHED:
            return "wave finished", f"All have begun: {listed}."
        case _:
            assert_never(notice.kind)
