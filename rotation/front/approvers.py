"""Who may decide: what `approvers` allows, and four eyes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotation.decisions.verdict import same_person

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rotation.config import Approval
    from rotation.front.principals import Principal
    from rotation.model.record import Choice

POLICY = "policy"  # how the record names the owner's own rule: nobody may call themselves so


@dataclass(frozen=True)
class Decider:
    """Somebody who wants to decide.

    `by` is how the record names them, `entries` are those that `approvers` may have for them,
    `known_as` is what four eyes looks at. `keyed`: they hold a function key and named themselves.
    """

    by: str
    channel: str
    entries: frozenset[str]
    known_as: frozenset[str]
    keyed: bool = False
    groups_cut: bool = False


def entra(found: Principal, channel: str) -> Decider:
    """Object id, groups and app roles count. Mail addresses do not: tenants can make them up."""
    return Decider(
        by=found.name,
        channel=channel,
        entries=frozenset({found.id} | found.groups | found.roles),
        known_as=found.names | {found.name},
        groups_cut=found.groups_cut,
    )


def recipient(address: str) -> Decider:
    """Whoever holds the link that was sent to this address."""
    names = frozenset({address})
    return Decider(by=address, channel="link", entries=names, known_as=names)


def keyed(by: str, channel: str) -> Decider:
    """A function key proves possession; the name is the caller's word."""
    names = frozenset({by})
    return Decider(by=by, channel=channel, entries=names, known_as=names, keyed=True)


def refusal(decider: Decider, approval: Approval, requested_by: str, choice: Choice) -> str | None:
    """Why they may not, or None.

    Without any approvers a function key is enough, since there is nobody to compare with; nobody
    can decide by sign-in or link.
    """
    listed = _folded(approval.approvers)
    if not listed and not decider.keyed:
        return "this credential has no approvers: nobody may decide until credentials.yaml has some"
    if listed and not listed & _folded(decider.entries):
        return f"the approvers of this credential do not include {decider.by}{_cut(decider)}"
    if choice == "reject" or approval.allow_requester:
        return None
    if any(same_person(name, requested_by) for name in decider.known_as):
        return f"somebody else must approve it: {decider.by} asked for this rotation"
    return None


def _folded(names: Iterable[str]) -> set[str]:
    return {name.strip().casefold() for name in names}


def _cut(decider: Decider) -> str:
    if not decider.groups_cut:
        return ""
    return (
        "; their sign-in has too many groups to list them, "
        "so name their object id or an app role instead of a group"
    )
