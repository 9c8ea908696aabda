"""Places at things that have limits: what the activities of `rotation.story.places` do.

Who waits and who has a place is read from the task hub; it is decided by the file as it is now.
Nothing is concluded from a status that may be older than what it is compared with.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from azure.durable_functions import OrchestrationRuntimeStatus as Status

from rotation.decisions.places import decide
from rotation.decisions.windows import Hours, opening
from rotation.front import rotations
from rotation.front.hub import unavailable
from rotation.front.lines import DIGEST, digest, shown_by, stands
from rotation.front.parts import tell_to_stop
from rotation.model import wire
from rotation.model.activities import ASK_PLACE, GRANT_PLACES, TELL_PLACES, Reference, Watched
from rotation.model.errors import RotationError, Unavailable
from rotation.model.places import (
    GRANT,
    KEEPER,
    PREFIX,
    Granted,
    Held,
    Kept,
    Line,
    PlaceEnded,
    Wanted,
)
from rotation.steps.running import Implementation, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime

    from azure.durable_functions import DurableOrchestrationClient as Client
    from msgspec import Struct

    from rotation.contracts.edges import Edges
    from rotation.decisions.places import Decided
    from rotation.model.wire import JsonObject

# How long ago one may have asked that still waits; and the days in which nearly all of them have.
LONGEST_WAIT, LATELY = timedelta(days=400), timedelta(days=1)
LONGEST_LINES = 6000  # characters, of all digests: a custom status has 16 KB of UTF-16
NOT_YET = "waits"


# -- asking


async def ask(edges: Edges, client: Client, reference: object) -> JsonObject:
    """Runs the activity `ask_place`: has the instance that keeps the places look now, or starts it;
    the answer says how it stands with the place that is asked for."""
    given = wire.read(Reference, reference)

    async def asked() -> Watched:
        status = await client.get_status(KEEPER)
        if not status or status.runtime_status not in rotations.RUNNING:
            await _begin(client, status)
            return Watched(done=False)  # it looks as soon as it begins
        shown = shown_by(status)
        known = stands(shown, given.place or "")
        # Who is in a line is known, and asks how it stands.
        if not known and shown.event and not await _raise(client, KEEPER, shown.event):
            await _begin(client, await client.get_status(KEEPER))  # it has ended meanwhile
        return Watched(done=False, observed=known)

    return await _answered(ASK_PLACE.name, edges, reference, asked)


async def _begin(client: Client, before: Any) -> None:
    """Starts the instance that keeps the places. One that has ended by itself left none; whoever
    had one, where it was ended from outside, is to be found out, and where there is none any more,
    since somebody may have purged it."""
    if before and before.runtime_status in rotations.RUNNING:
        return
    known = bool(before)
    ended = known and before.runtime_status is Status.Completed
    kept = Kept(anew=not ended, settles=known and not ended)
    try:
        await client.start_new("keep_places", KEEPER, wire.value_of(kept))
    except Unavailable:
        raise
    except Exception as error:
        # The SDK raises bare exceptions: that another one was first is seen by looking.
        status = await client.get_status(KEEPER)
        if not status or status.runtime_status not in rotations.RUNNING:
            raise unavailable(f"{KEEPER} was not started") from error


async def _raise(client: Client, instance: str, event: str) -> bool:
    """Raises an event at an instance, and returns whether that has taken it."""
    try:
        await client.raise_event(instance, event, {})
    except Unavailable:
        raise
    except Exception:  # noqa: BLE001 - the SDK's own, of one that has ended
        return False
    return True


async def begin_again(client: Client) -> None:
    """Starts the instance that keeps the places again, where it was ended from outside: else that
    would be found out by the next that asks. Raises `Unavailable`."""
    status = await client.get_status(KEEPER)
    if status and status.runtime_status in {Status.Failed, Status.Terminated, Status.Canceled}:
        await _begin(client, status)


# -- keeping


async def grant(edges: Edges, client: Client, reference: object) -> JsonObject:
    """Runs the activity `grant_places`: finds out who still has a place, and who gets one. It
    changes nothing."""
    given = wire.read(Reference, reference)

    async def granted() -> Granted:
        look = Look(edges, client)
        held = await look.found_out() if given.anew else given.held
        return await look.granted(held)

    return await _answered(GRANT_PLACES.name, edges, reference, granted)


@dataclass
class Look:
    """One look at who waits, and who has a place. Rotations are looked at once each."""

    edges: Edges
    client: Client
    seen: dict[str, Any] = field(default_factory=dict)

    async def granted(self, held: list[Held]) -> Granted:
        """Who has a place from now on, of those that had one and those that wait."""
        await self._see(one.rotation for one in held)
        kept = [one for one in held if not self._is_over(one)]
        # Listed after that: what is held and not in the list of those that wait has been heard of.
        waiting = await self._waiting()
        ids = {one.id for one in kept}
        tell = [each for each in waiting if each in ids]
        for each in ids:
            waiting.pop(each, None)
        waiting, opens = self._inside(waiting)
        most = self.edges.configuration.max_parallel.most
        things = [one.things for one in kept]
        stop: list[str] = []
        while True:
            decided = decide(most, things, waiting.values())
            await self._see(one.rotation for one in decided.granted)
            gone = {one.id for one in decided.granted if not self._waits(one)}
            stop += [one.id for one in decided.granted if self._ended(one.rotation)]
            if not gone:
                break
            for each in gone:
                waiting.pop(each)
        new = [_held(one) for one in decided.granted]
        left = len(waiting) - len(new)
        return Granted(
            held=[*kept, *new],
            tell=[*tell, *(one.id for one in new)],
            stop=stop,
            waiting=left,
            opens=wire.moment(opens) if opens else None,
            lines=_lines(decided, most, [*things, *(one.things for one in new)]),
        )

    async def found_out(self) -> list[Held]:
        """Who has a place, by the rotations themselves."""
        ended = await self._list(Status.Completed)
        asked = [wanted for one in ended if (wanted := _had(one)) is not None]
        await self._see(one.rotation for one in asked)
        held = [_held(one) for one in asked]
        return [one for one in held if not self._is_over(one) and self._number(one) == one.number]

    async def _see(self, names: Iterable[str]) -> None:
        new = sorted(set(names) - self.seen.keys())
        found = await asyncio.gather(*map(self.client.get_status, new))
        self.seen.update(zip(new, found, strict=True))

    def _ended(self, rotation: str) -> bool:
        status = self.seen[rotation]
        return not status or status.runtime_status not in rotations.RUNNING

    def _place(self, rotation: str) -> tuple[int, str]:
        """The number and the state of the place that a rotation shows; 0 for none yet."""
        try:
            value = wire.decoded(self.seen[rotation].custom_status) or {}
            place = value.get("place") or {}
            return int(place.get("number", 0)), str(place.get("state", ""))
        except (AttributeError, TypeError, ValueError, RecursionError):
            return 0, ""

    def _number(self, one: Held) -> int:
        return self._place(one.rotation)[0]

    def _is_over(self, one: Held) -> bool:
        """Whether a rotation has ended, or says that it has the place no more. What it showed
        before it asked for it says nothing."""
        if self._ended(one.rotation):
            return True
        number, state = self._place(one.rotation)
        return number > one.number or (number == one.number and state == "over")

    def _waits(self, one: Wanted) -> bool:
        """Whether a rotation waits for this very place, as far as it shows."""
        if self._ended(one.rotation):
            return False
        return self._place(one.rotation) == (one.number, NOT_YET)

    async def _waiting(self) -> dict[str, Wanted]:
        """What is asked for, by the ids of the instances that ask."""
        wanted = [_asked(one) for one in await self._list(Status.Running)]
        return {one.id: one for one in wanted if one is not None}

    def _inside(self, waiting: dict[str, Wanted]) -> tuple[dict[str, Wanted], datetime | None]:
        """Those that wait and may begin now, by the file as it is; and when the first of the others
        may, or when to look again."""
        now, inside, later = self.edges.now(), {}, []
        opens: dict[Hours, datetime] = {}
        for place, one in waiting.items():
            credential = self.edges.configuration.credentials.get(one.credential)
            # What the file does not know goes by what it was planned with, and looks itself.
            hours = credential.hours if credential and one.inside else Hours()
            if hours not in opens:
                found = opening(hours, now)
                opens[hours] = found.opens if found else now + timedelta(days=1)
            if opens[hours] <= now:
                inside[place] = one
            else:
                later.append(opens[hours])
        return inside, min(later, default=None)

    async def _list(self, status: Status) -> list[Any]:
        now = self.edges.now()
        standing = {"instance_id_prefix": PREFIX, "runtime_status": [status]}
        spans = [(now - LONGEST_WAIT, now - LATELY), (now - LATELY, now + LATELY)]
        found = [
            await rotations.between(self.client, since, until, standing) for since, until in spans
        ]
        return [one for each in found for one in each if one.name == "await_place"]


def _asked(status: Any) -> Wanted | None:
    """What an instance asks for; None for one of another release."""
    try:
        return wire.read(Wanted, status.input_)
    except (ValueError, RecursionError):
        return None


def _had(status: Any) -> Wanted | None:
    """The place that an instance has ended with; None where it has ended without."""
    try:
        granted = wire.read(PlaceEnded, status.output).granted
    except (ValueError, RecursionError):
        return None
    return _asked(status) if granted else None


def _held(one: Wanted) -> Held:
    return Held(rotation=one.rotation, number=one.number, things=one.things)


def _lines(
    decided: Decided, most: Callable[[str], int | None], held: list[list[str]]
) -> dict[str, Line]:
    """What is full, with as many of those that wait as there is room for."""
    lines, room = {}, LONGEST_LINES // DIGEST
    for thing, waiting in decided.lines.items():
        named = waiting[: max(room, 0)]
        room -= len(named)
        lines[thing] = Line(
            taken=sum(thing in things for things in held),
            most=most(thing) or 0,
            queue="".join(digest(one.id) for one in named),
            more=len(waiting) - len(named),
        )
    return lines


# -- telling


async def tell(edges: Edges, client: Client, reference: object) -> JsonObject:
    """Runs the activity `tell_places`: tells instances that their rotation has a place, and those
    to stop whose rotation is over. A repeat does no harm."""
    given = wire.read(Reference, reference)

    async def told() -> None:
        for place in given.told:
            await _raise(client, place, GRANT)
        await tell_to_stop(client, given.parts)

    return await _answered(TELL_PLACES.name, edges, reference, told)


async def _answered(
    name: str, edges: Edges, reference: object, ask: Callable[[], Awaitable[Struct | None]]
) -> JsonObject:
    """The activity's answer, or the failure that it ended with; logged as that of others."""
    try:
        answer = await ask()
    except RotationError as error:
        failure = error

        def failed(_: object) -> None:
            raise failure

        return run(Implementation(name, failed), edges, reference)
    return run(Implementation(name, lambda _: answer), edges, reference)
