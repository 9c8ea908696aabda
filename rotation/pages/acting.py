"""The forms beside a decision's: cancel a rotation before its swap, start an ended one again.

Each has a page of its own, which a link on the rotation's page opens (`?do=`): nothing is done by
being fetched, and what is typed is not lost to a reload.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from rotation.decisions.rights import Action
from rotation.front import approvers, cancelling, rights, rotations, starting
from rotation.front.approvers import POLICY, keyed
from rotation.front.problems import Problem, text
from rotation.model.reasons import Code
from rotation.pages import forms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from azure.durable_functions import DurableOrchestrationClient as Client

    from rotation.config import Credential, Listed
    from rotation.contracts.edges import Readers
    from rotation.front.approvers import Decider
    from rotation.model.record import ShownRecord
    from rotation.pages.visitors import Visitor

Deed = Literal["cancel", "again"]
DEEDS: tuple[Deed, ...] = ("cancel", "again")
STALE = "the page was out of date, so nothing was done; here is how it stands now"


@dataclass(frozen=True)
class Offer:
    """What can be done with a rotation besides deciding it. `barred` says why this visitor may not;
    `opens` is the address of the form, `shuts` that of the page without it. `windows`: what is
    begun waits for one, unless a reason is given."""

    deed: Deed
    token: str
    action: str
    opens: str
    shuts: str
    barred: str | None
    addresses: list[str]
    windows: bool = False


def deed_of(given: Mapping[str, str]) -> Deed | None:
    """The deed that a query or a form names; None for none."""
    return next((deed for deed in DEEDS if deed == given.get("do")), None)


def offer(
    edges: Readers, who: Visitor, record: ShownRecord, entry: Credential | None
) -> Offer | None:
    """What can be done with the rotation just now; `entry` is its credential's, where that is
    known. A link lets in to decide its one rotation, and starts no other."""
    if cancelling.awaited(record) is not None:
        barred = cancelling.refusal(who.decider, record, entry) if who.decider else None
        people = [*entry.starters, *entry.approval.listed] if entry else []
        return _offered("cancel", who, record, barred, people)
    known = edges.configuration.credentials.get(record.credential)
    if record.request.compromised:
        return None  # it is called again on the page of its credential, whose name is typed twice
    if known is not None and starting.why_not_again(record) is None and who.way != "link":
        barred = rights.refusal(Action.RETRY, who.decider, known) if who.decider else None
        people = known.starters or known.approval.listed
        return replace(_offered("again", who, record, barred, people), windows=bool(known.hours))
    return None


def _offered(
    deed: Deed, who: Visitor, record: ShownRecord, barred: str | None, people: Iterable[Listed]
) -> Offer:
    own = who.path(record.rotation)
    return Offer(
        deed=deed,
        token=forms.token(who.secret, *_bound_to(deed, who, record)),
        action=own,
        opens=f"{own}{'&' if '?' in own else '?'}do={deed}",
        shuts=own,
        barred=barred,
        addresses=list(dict.fromkeys(one.address for one in people if one.address)),
    )


def _bound_to(deed: Deed, who: Visitor, record: ShownRecord) -> tuple[str, str, str]:
    """What a form's token is bound to: visitor, rotation, and the cancel that is waited for or the
    end that it came to. A form whose time is over counts no more."""
    about = cancelling.awaited(record) if deed == "cancel" else record.outcome
    return who.subject, record.rotation, f"{deed} {about}"


def demand_fresh(
    deed: Deed, who: Visitor, record: ShownRecord, given: Mapping[str, str]
) -> str | None:
    """Why a form that was posted does nothing; None if it may. Raises `Problem` where it was not
    filled in."""
    if not forms.matches(given.get("token", ""), who.secret, *_bound_to(deed, who, record)):
        return STALE
    if given.get("sure") != "yes":
        detail = "nothing was done: tick the box that says what happens"
        raise Problem(400, Code.BAD_REQUEST, detail)
    return None


async def cancel(
    edges: Readers, client: Client, who: Visitor, record: ShownRecord, given: Mapping[str, str]
) -> cancelling.Result:
    """Cancels as the form says. Raises `Problem`."""
    why = text({"comment": _line(given, "comment")}, "comment", longest=2000)
    return await cancelling.cancel(edges, client, record, who.decider or named(given), why)


async def again(
    edges: Readers, client: Client, who: Visitor, record: ShownRecord, given: Mapping[str, str]
) -> str:
    """Starts the rotation again as the form says, and returns the id of the one that runs. Raises
    `Problem`."""
    if who.way == "link":
        detail = "a link is for one rotation: sign in, or use a function key, to start another"
        raise Problem(403, Code.NOT_ALLOWED, detail)
    starting.demand_ended(record)
    decider = who.decider or named(given)
    credential = starting.credential_of(edges, who.decider, record.credential)
    starting.demand_starter(Action.RETRY, decider, credential)
    known = approvers.with_object_id(decider.identity, decider.address, credential)
    outside = _line(given, "outsideWindow")
    request = starting.asked(
        edges,
        record.credential,
        decider.by,
        known,
        text({"reason": _line(given, "comment")}, "reason"),
        retries=record.rotation,
        outside_window=starting.outside_window({"outsideWindow": outside} if outside else {}),
    )
    match await rotations.start(client, request):
        case rotations.Busy(rotation):
            detail = f"credential {record.credential} has rotation {rotation} under way"
            raise Problem(409, Code.BUSY, detail, rotation=rotation)
        case rotations.Started(rotation) | rotations.Known(rotation):
            return rotation


def _line(given: Mapping[str, str], field: str) -> str:
    return " ".join(given.get(field, "").split())


def named(given: Mapping[str, str]) -> Decider:
    """Whom the form of a visitor with a function key names. Raises `Problem`."""
    by = text(dict(given), "by", required=True)
    if by.casefold() == POLICY:
        detail = f"nobody is called {by!r} here: the app itself uses that name"
        raise Problem(400, Code.BAD_REQUEST, detail)
    return keyed(by, "page with function key")
