"""Who may decide: what `approvers` allows, and four eyes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotation.decisions.verdict import Identity, is_object_id, known, requester, told_apart

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rotation.config import Approval, Approver
    from rotation.front.principals import Principal
    from rotation.model.record import Choice, Request

POLICY = "policy"  # how the record names the owner's own rule: nobody may call themselves so


@dataclass(frozen=True)
class Decider:
    """Somebody who wants to decide.

    `by` is how the record names them. `ids` are the object ids and app roles that `approvers` may
    have for them, `address` the mailbox that they answer from. `identity` is what four eyes looks
    at. `keyed`: they hold a function key and named themselves.
    """

    by: str
    channel: str
    identity: Identity
    ids: frozenset[str] = frozenset()
    address: str | None = None
    keyed: bool = False
    groups_cut: bool = False


def entra(found: Principal, channel: str) -> Decider:
    """Object id, groups and app roles count. Mail addresses do not: tenants can make them up."""
    return Decider(
        by=found.name,
        channel=channel,
        identity=known({*found.names, found.name}, found.id, signed_in=True),
        ids=frozenset({found.id} | found.groups | found.roles),
        groups_cut=found.groups_cut,
    )


def recipient(address: str) -> Decider:
    """Whoever holds the link that was sent to this address."""
    return Decider(by=address, channel="link", identity=known([address]), address=address)


def keyed(by: str, channel: str) -> Decider:
    """A function key proves possession; the name is the caller's word.

    They can be named by their address only: nobody asks an app role, a group or an object id.
    """
    address = by if "@" in by else None
    return Decider(by=by, channel=channel, identity=spoken(by), address=address, keyed=True)


def spoken(by: str) -> Identity:
    """Somebody as a program named them."""
    return known([by], by if is_object_id(by) else None)


def identity(decider: Decider, approval: Approval) -> Identity:
    """With the object id that the owner wrote down next to their address."""
    return identified(decider.identity, decider.address, approval)


def identified(found: Identity, address: str | None, approval: Approval) -> Identity:
    if address is None or found.object_id:
        return found
    return known(found.names, approval.object_id(address), signed_in=found.signed_in)


def refusal(decider: Decider, approval: Approval, request: Request, choice: Choice) -> str | None:
    """Why they may not, or None.

    Without any approvers a function key is enough, since there is nobody to compare with; nobody
    can decide by sign-in or link.
    """
    if not approval.listed and not decider.keyed:
        return "this credential has no approvers: nobody may decide until credentials.yaml has some"
    if approval.listed and not _is_listed(decider, approval):
        return (
            f"the approvers of this credential do not include {decider.by}"
            f"{_by_key(decider)}{_cut(decider)}"
        )
    asked = requester(request)
    if choice == "reject" or approval.allow_requester or asked is None:
        return None
    apart = told_apart(asked, identity(decider, approval))
    if apart is None:
        return (
            f"{decider.by} cannot be compared with {request.requested_by}, who asked for this "
            f"rotation, and may be the same person: {_who_may(asked, approval)}"
        )
    return None if apart else f"somebody else must approve it: {decider.by} asked for this rotation"


def _is_listed(decider: Decider, approval: Approval) -> bool:
    if decider.address is not None:
        return bool(_folded(approval.addresses) & _folded([decider.address]))
    return bool(_folded(approval.ids) & _folded(decider.ids))


def _folded(names: Iterable[str]) -> set[str]:
    return {name.strip().casefold() for name in names}


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
    """Those among the approvers who can be compared with whoever asked."""
    able = [one.address or one.id for one in approval.listed if _can_be_compared(asked, one)]
    if able:
        return f"it can be approved by {', '.join(map(str, able))}"
    return (
        "no approver can be compared with them; reject it, write the approvers as {id, address} "
        "in credentials.yaml, and start it again"
    )


def _can_be_compared(asked: Identity, one: Approver) -> bool:
    """An id without an address is for whoever signs in with it: of a person, a group, a role."""
    if one.address is None:
        return asked.object_id is not None and _folded([str(one.id)]).isdisjoint(asked.names)
    return told_apart(asked, known([one.address], one.id)) is True
