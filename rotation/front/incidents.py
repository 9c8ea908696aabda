"""Calls incidents: who may, of what, and what becomes of a rotation that runs already."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from msgspec.structs import replace

from rotation.decisions.rights import Action, Way
from rotation.front import approvers, rights, rotations, starting
from rotation.front.approvers import way_of
from rotation.front.hub import unavailable
from rotation.front.problems import Problem, only, text
from rotation.model import wire
from rotation.model.catalogue import Stage, StepName
from rotation.model.errors import RotationError, Unavailable
from rotation.model.reasons import Code
from rotation.model.record import Cut
from rotation.model.world import SLOTS, Slot

if TYPE_CHECKING:
    from azure.durable_functions import DurableOrchestrationClient as Client

    from rotation.config import Credential
    from rotation.contracts.edges import Readers
    from rotation.decisions.verdict import Identity
    from rotation.front.approvers import Decider
    from rotation.model.record import Request, ShownRecord
    from rotation.model.wire import JsonObject

FIELDS = ("compromised", "cut", "confirmCredential", "slot", "role")
OF_A_SERVER = ("server", "confirmServer", "skipNotAllowed")
GRACE = 8.0  # seconds to look whether a rotation that runs has been told
TRIES = 3


@dataclass(frozen=True)
class Wish:
    """What an incident is to do: why, when the leaked login ends, that of a slot or of whichever
    serves, and what was named for the second time."""

    reason: str
    cut: Cut
    leaked: Slot | None
    repeated: str


@dataclass(frozen=True)
class Speaker:
    """Whoever calls an incident: for their rights, by name for people, by identity for four eyes.
    `who` is None for whoever holds a key and does not say who they are. `person`: the platform has
    signed somebody in, and no application."""

    who: Decider | None
    by: str
    known: Identity
    person: bool


def is_one(document: JsonObject) -> bool:
    """Whether a request for a rotation calls an incident. Raises `Problem`."""
    given = document.get("compromised", False)
    if not isinstance(given, bool):
        detail = "'compromised' must be true or false"
        raise Problem(400, Code.BAD_REQUEST, detail, field="compromised")
    if not given:
        for field in (*FIELDS, *OF_A_SERVER):
            if field in document and field != "compromised":
                detail = f'{field!r} goes with "compromised": true'
                raise Problem(400, Code.BAD_REQUEST, detail, field=field)
    return given


def wish(document: JsonObject, credential: Credential | None) -> Wish:
    """What a request asks an incident to do; `credential` is None for those of a whole server.
    Raises `Problem`."""
    why = text(document, "reason", required=True)
    cut = document.get("cut", "after")
    if cut not in get_args(Cut):
        detail = "'cut' must be 'after' or 'first'"
        raise Problem(400, Code.BAD_REQUEST, detail, field="cut")
    leaked = _leaked(document, credential) if credential else None
    return Wish(why, cut, leaked, text(document, "confirmCredential"))


def _leaked(document: JsonObject, credential: Credential) -> Slot | None:
    """The slot whose password leaked, by its name or its role; None for whichever serves."""
    slot, role = text(document, "slot"), text(document, "role")
    by_role = [each for each in SLOTS if credential.slots[each].role == role]
    if role and not by_role:
        detail = f"no slot of this credential has role {role!r}"
        raise Problem(400, Code.BAD_REQUEST, detail, field="role")
    if slot and slot not in SLOTS:
        detail = f"'slot' must be one of {', '.join(SLOTS)}"
        raise Problem(400, Code.BAD_REQUEST, detail, field="slot")
    if slot and by_role and slot != by_role[0]:
        detail = f"role {role!r} is that of {by_role[0]}, and 'slot' says {slot}"
        raise Problem(400, Code.BAD_REQUEST, detail, field="slot")
    return next((each for each in SLOTS if each in {slot, *by_role}), None)


def demand_caller(speaker: Speaker, credential: Credential, cut: Cut) -> None:
    """Raises `Problem` for somebody who may not call this incident of a credential."""
    who, action = speaker.who, Action.CUT_FIRST if cut == "first" else Action.INCIDENT
    signed_in = speaker.person and way_of(who) is Way.SIGN_IN
    if rights.allows(action, who, credential) and (signed_in or cut == "after"):
        return
    if cut == "first" and not signed_in:
        detail = "`cut: first` is for an approver who has signed in, and for no key and no link"
        raise Problem(403, Code.CUT_BY_KEY, detail)
    if who is None:
        detail = f"only who may approve may call an incident, not {approvers.whom_instead(who)}"
        raise Problem(403, Code.NOT_ALLOWED, detail, field="by")
    barred = approvers.not_entitled(who, credential.approval, Action.INCIDENT)
    detail = f"only who may approve may call an incident: {barred}"
    raise Problem(403, Code.NOT_ALLOWED, detail)


def demand_allowed(name: str, credential: Credential, wished: Wish) -> None:
    """Raises `Problem` where the file does not let what serves be cut, or the credential is not
    named twice."""
    if wished.cut == "first" and credential.incident != "allowed":
        detail = f"credentials.yaml does not say `incident: allowed` of {name}: nothing was begun"
        raise Problem(422, Code.INCIDENT_OFF, detail, field="cut")
    named = wished.repeated or (name if wished.cut == "after" else "")
    if named != name:
        detail = f"'confirmCredential' must say {name!r} once more: nothing was begun"
        raise Problem(422, Code.NAME_NOT_REPEATED, detail, field="confirmCredential")


def asked(
    edges: Readers,
    name: str,
    speaker: Speaker,
    wished: Wish,
    *,
    waive: list[str] | None = None,
    retries: str | None = None,
) -> Request:
    """The request for an incident. Raises `Problem`."""
    credential = edges.configuration.credential(name)
    demand_caller(speaker, credential, wished.cut)
    demand_allowed(name, credential, wished)
    starting.demand_comparable(edges, speaker.known)
    made = starting.asked(
        edges, name, speaker.by, speaker.known, wished.reason, waive=waive, retries=retries
    )
    return replace(made, compromised=True, cut=wished.cut, leaked=wished.leaked)


# -- starting one


async def call(client: Client, request: Request, grace: float = GRACE) -> Request:
    """Starts an incident, or has the rotation that runs make way for it, and returns what was
    started. Raises `Problem`, and `Unavailable`, after which it may have been: a repeat finds out.
    """
    for _ in range(TRIES):
        result = await rotations.start(client, request)
        if not isinstance(result, rotations.Busy):
            return request
        taking = await _prepared(client, request, result.rotation)
        if await _take_over(client, taking, grace):
            return taking
    raise unavailable(f"{request.rotation} was not started")


async def _prepared(client: Client, request: Request, running: str) -> Request:
    """The request as it is where a rotation runs. Raises `Problem` where that is not to make way,
    or it is not sure which password has leaked."""
    record = await rotations.find(client, running)
    if record is None:
        return replace(request, takes_over=running)
    why_not = stays(record, request)
    if why_not is not None:
        text = f"credential {request.credential} has incident {running} under way: {why_not}"
        raise Problem(409, Code.BUSY, text, rotation=running)
    leaked = request.leaked
    if leaked is None and _moved(record):
        text = (
            f"rotation {running} has moved traffic from {record.active} to {record.standby}, and "
            "both logins work: say in 'slot' which password has leaked"
        )
        raise Problem(422, Code.WHICH_LEAKED, text, field="slot", rotation=running)
    return replace(request, takes_over=running, leaked=leaked or record.active)


def stays(record: ShownRecord, request: Request) -> str | None:
    """Why what runs does not make way for an incident; None if it does: every rotation, and an
    incident that has done what it was for, or has not cut yet what is to be cut."""
    if not record.request.compromised or record.stage is Stage.CONFIRMATION:
        return None
    if record.request.cut == "after" and request.cut == "first":
        return None
    return f"its stage is {record.stage}"


def _moved(record: ShownRecord) -> bool:
    """Whether a rotation has begun to move traffic: from then on both slots may serve."""
    return any(step.step is StepName.SWAP for step in record.steps)


async def _take_over(client: Client, request: Request, grace: float) -> bool:
    """Has the rotation that runs make way for an incident. False where there is none any more.

    Raises `Problem` where another one has been called first, or what runs cannot be told.
    """
    name = request.credential
    raised: str | None = None
    deadline = asyncio.get_running_loop().time() + grace
    while True:
        status = await client.get_status(name, show_input=True)
        if not status or status.runtime_status not in rotations.RUNNING:
            return False
        seat = rotations.seat_of(status)
        ours = seat.next is not None and seat.next.rotation == request.rotation
        if ours or seat.rotation == request.rotation:
            return True
        if seat.next is not None:
            text = f"credential {name} has incident {seat.next.rotation} called already"
            raise Problem(409, Code.BUSY, text, rotation=seat.next.rotation)
        if seat.hears is None:
            text = (
                f"rotation {seat.rotation} began under an earlier release, which hears of no "
                "incident: cancel or reject it, and call this again"
            )
            raise Problem(409, Code.BUSY, text, rotation=seat.rotation)
        if raised != seat.hears:
            await _raise(client, name, seat.hears, request)
            raised = seat.hears
        if asyncio.get_running_loop().time() > deadline:
            return True  # the hub has taken it; what becomes of it is seen later
        await asyncio.sleep(0.2)


async def _raise(client: Client, name: str, event: str, request: Request) -> None:
    """Raises the event of an incident. One that is too late is seen by looking."""
    try:
        await client.raise_event(name, event, wire.value_of(request))
    except Unavailable:
        raise
    except Exception as error:
        # The SDK raises bare exceptions: that it has ended meanwhile is seen by looking.
        status = await client.get_status(name)
        if status and status.runtime_status in rotations.RUNNING:
            raise unavailable(f"{name} may not have got the incident") from error


# -- a whole server


@dataclass(frozen=True)
class Called:
    """What became of the call for one credential of a server: the incident, or the problem."""

    credential: str
    request: Request | None = None
    problem: Problem | None = None


def demand_server(document: JsonObject) -> tuple[str, bool]:
    """The server that a request names, and whether credentials that may not be cut are left out.
    Raises `Problem`."""
    only(
        document, "server", "confirmServer", "skipNotAllowed", "compromised", "cut", "reason", "by"
    )
    server = text(document, "server", required=True).lower()
    if text(document, "confirmServer").lower() != server:
        detail = f"'confirmServer' must say {server!r} once more: nothing was begun"
        raise Problem(422, Code.NAME_NOT_REPEATED, detail, field="confirmServer")
    skip = document.get("skipNotAllowed", False)
    if not isinstance(skip, bool):
        detail = "'skipNotAllowed' must be true or false"
        raise Problem(400, Code.BAD_REQUEST, detail, field="skipNotAllowed")
    return server, skip


def on_server(edges: Readers, who: Decider | None, server: str) -> list[str]:
    """The credentials on a server that somebody sees. Raises `Problem` if there are none."""
    credentials = edges.configuration.credentials
    names = [
        name
        for name in rights.visible(edges, who)
        if credentials[name].database.host.lower().rstrip(".") == server.rstrip(".")
    ]
    if not names:
        detail = f"no credential that you see is on server {server!r}"
        raise Problem(404, Code.UNKNOWN_CREDENTIAL, detail, field="server")
    return names


async def call_each(client: Client, requests: dict[str, Request | Problem]) -> list[Called]:
    """What became of each credential's incident, all begun side by side: one that cannot be begun
    keeps no other one waiting."""

    async def begun(name: str, made: Request | Problem) -> Called:
        if isinstance(made, Problem):
            return Called(name, problem=made)
        try:
            return Called(name, await call(client, made))
        except Problem as problem:
            return Called(name, problem=problem)
        except RotationError as error:
            after = error.retry_after
            return Called(name, problem=Problem(503, error.code, error.message, retry_after=after))

    return list(await asyncio.gather(*(begun(*each) for each in requests.items())))


def demand_all(requests: dict[str, Request | Problem], *, skip: bool) -> None:
    """Raises `Problem` where any credential of a server is refused, before anything begins: half of
    a server that is said to be done is worse than none. With `skip` those are left out, and named.
    """
    refused = {name: made for name, made in requests.items() if isinstance(made, Problem)}
    if refused and (not skip or len(refused) == len(requests)):
        listed = [f"{name}: {made.reason.text}" for name, made in refused.items()]
        first = next(iter(refused.values()))
        detail = f"{len(refused)} of {len(requests)} credentials are refused: nothing was begun"
        raise Problem(first.status, first.code, detail, problems=listed)
