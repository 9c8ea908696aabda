"""Who somebody is, whether a list has them, and who may decide: `approvers`, and four eyes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotation.decisions.rights import Action, People, Way, may
from rotation.decisions.verdict import (
    Identity,
    are_different_people,
    identity_of,
    is_object_id,
    requester,
)
from rotation.model.words import few

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rotation.config import Approval, Credential, Listed
    from rotation.front.principals import Principal
    from rotation.model.record import Choice, Request

POLICY = "policy"  # how the record names the owner's own rule: nobody may call themselves so


@dataclass(frozen=True)
class Decider:
    """Somebody who wants to decide, or to do anything else.

    `by` is how the record names them. `ids` are the object ids and app roles that a list may have
    for them, `address` the mailbox that they answer from. `identity` is what four eyes looks
    at. `keyed`: they hold a function key and named themselves.
    """

    by: str
    channel: str
    identity: Identity
    ids: frozenset[str] = frozenset()
    address: str | None = None
    keyed: bool = False
    groups_cut: bool = False


def way_of(who: Decider | None) -> Way:
    """How somebody came in; None holds a function key and has not said who they are."""
    if who is None or who.keyed:
        return Way.KEY
    return Way.SIGN_IN if who.address is None else Way.LINK


def entra(principal: Principal, channel: str) -> Decider:
    """The decider whom Entra has signed in.

    Object id, groups and app roles count. Mail addresses do not: tenants can make them up.
    """
    return Decider(
        by=principal.name,
        channel=channel,
        identity=identity_of({*principal.names, principal.name}, principal.id, signed_in=True),
        ids=frozenset({principal.id} | principal.groups | principal.roles),
        groups_cut=principal.groups_cut,
    )


def recipient(address: str) -> Decider:
    """The decider who holds the link that was sent to this address."""
    return Decider(by=address, channel="link", identity=identity_of([address]), address=address)


def keyed(by: str, channel: str) -> Decider:
    """The decider whom the holder of a function key names; the name is the caller's word.

    They can be named by their address only: nobody asks an app role, a group or an object id.
    """
    address = by if "@" in by else None
    return Decider(
        by=by, channel=channel, identity=claimed_identity(by), address=address, keyed=True
    )


def claimed_identity(by: str) -> Identity:
    """The identity of somebody whom a program names, by address, object id or otherwise."""
    return identity_of([by], by if is_object_id(by) else None)


def identity(decider: Decider, approval: Approval) -> Identity:
    """The decider's identity, with the object id that `approvers` has next to their address."""
    return with_object_id(decider.identity, decider.address, approval)


def with_object_id(known: Identity, address: str | None, of: Approval | Credential) -> Identity:
    """The identity, with the object id that the file has next to the address, if it has none."""
    if address is None or known.object_id:
        return known
    return identity_of(known.names, of.object_id(address), signed_in=known.signed_in)


def refusal(decider: Decider, approval: Approval, request: Request, choice: Choice) -> str | None:
    """Why the decider may not make this choice, or None if they may.

    Without any approvers a function key is enough, since there is nobody to compare with; nobody
    can decide by sign-in or link.
    """
    action = Action.APPROVE if choice == "approve" else Action.REJECT
    barred = not_entitled(decider, approval, action)
    if barred is not None:
        return barred
    asked = requester(request)
    # Whoever called an incident has decided alone, and in a hurry: somebody else confirms it.
    alone = approval.allow_requester and not request.compromised
    if choice == "reject" or alone or asked is None:
        return None
    apart = are_different_people(asked, identity(decider, approval))
    if apart is None:
        return (
            f"{decider.by} cannot be compared with {request.requested_by}, who asked for this "
            f"rotation, and may be the same person: {_who_may(asked, approval)}"
        )
    return None if apart else f"somebody else must approve it: {decider.by} asked for this rotation"


def not_entitled(decider: Decider, approval: Approval, action: Action) -> str | None:
    """Why the decider is none of the credential's approvers, or None if they are one.

    It is all that a waiver is asked; four eyes is about the approval of one rotation.
    """
    listed = {People.APPROVERS} if approval.listed else set[People]()
    on = {People.APPROVERS} if is_listed(decider, approval.listed) else set[People]()
    if may(action, way_of(decider), listed, on):
        return None
    if not approval.listed:
        return "this credential has no approvers: nobody may decide until credentials.yaml has some"
    who = f"{whom_instead(decider)}{_others(decider, approval)}"
    return f"the approvers of this credential do not include {who}"


def _others(decider: Decider, approval: Approval) -> str:
    """Who may, for whoever mistyped a name or has to ask somebody. Holders of links are not told:
    theirs may be of another time."""
    if decider.channel == "link":
        return ""
    if not decider.keyed:
        return f"; they are {few([one.address or str(one.id) for one in approval.listed])}"
    if not approval.addresses:
        return "; none of them has an address, so that they must sign in"
    return f"; those who can be named are {few(approval.addresses)}"


def is_listed(decider: Decider, listed: list[Listed]) -> bool:
    """Whether a list has the decider's address, or one of their ids if they have none."""
    if decider.address is not None:
        return bool(_folded(one.address for one in listed) & _folded([decider.address]))
    return bool(_folded(one.id for one in listed) & _folded(decider.ids))


def whom_instead(who: Decider | None) -> str:
    """Whom a list does not include, with what there is to know about them."""
    if who is None:
        return "whoever holds a function key and does not say in 'by' who they are"
    return f"{who.by}{_by_key(who)}{_cut(who)}"


def _folded(names: Iterable[str | None]) -> set[str]:
    return {name.strip().casefold() for name in names if name}


def _by_key(decider: Decider) -> str:
    if not decider.keyed or decider.address is not None:
        return ""
    return " as a mail address; with a function key nobody else can be named"


def _cut(decider: Decider) -> str:
    if not decider.groups_cut:
        return ""
    return (
        "; their sign-in has too many groups to list them, "
        "so name their object id or an app role instead of a group"
    )


def _who_may(asked: Identity, approval: Approval) -> str:
    """A sentence that names the approvers who can be compared with whoever asked, or what to do."""
    able = [one.address or one.id for one in approval.listed if _can_be_compared(asked, one)]
    if able:
        return f"it can be approved by {', '.join(map(str, able))}"
    return (
        "no approver can be compared with them; reject it, write the approvers as {id, address} "
        "in credentials.yaml, and start it again"
    )


def _can_be_compared(asked: Identity, one: Listed) -> bool:
    """Whether an approver, other than whoever asked, can be told apart from them.

    An id without an address is for whoever signs in with it: of a person, a group, a role.
    """
    if one.address is None:
        return asked.object_id is not None and _folded([str(one.id)]).isdisjoint(asked.names)
    return are_different_people(asked, identity_of([one.address], one.id)) is True
