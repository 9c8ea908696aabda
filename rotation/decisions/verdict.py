"""Whether a decision counts, and four eyes: whoever asked for a rotation does not approve it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from rotation.model.catalogue import Origin
from rotation.model.record import Cancel, Decision

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rotation.model.record import Request

OBJECT_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

# A decision becomes part of the custom status, which is limited to 16 KB.
LONGEST_NAME = 500
LONGEST_COMMENT = 2000
LONGEST_ID = 64
MOST_NAMES = 10  # that are kept: all of them are looked at


@dataclass(frozen=True)
class Identity:
    """The names and ids by which somebody is known; `names` are all of them, folded, ids included.

    A person has one object id and any number of addresses. `signed_in`: the directory says so, and
    nobody's word has to be taken for it.
    """

    names: frozenset[str]
    object_id: str | None = None
    signed_in: bool = False

    @property
    def has_address(self) -> bool:
        return any("@" in name for name in self.names)


def identity_of(
    names: Iterable[str], object_id: str | None = None, *, signed_in: bool = False
) -> Identity:
    """The identity of whoever has these names and this object id, which ignore case."""
    own = _folded(object_id) if object_id else None
    folded = {_folded(name) for name in names} - {""}
    return Identity(frozenset(folded | ({own} if own else set())), own, signed_in)


def is_object_id(text: str) -> bool:
    """Whether a text has the form of an object id in Entra."""
    return OBJECT_ID.fullmatch(text.strip()) is not None


def _folded(name: str) -> str:
    return name.strip().casefold()


def requester(request: Request) -> Identity | None:
    """The identity of whoever asked for a rotation; None where no person did."""
    if request.origin is not Origin.MANUAL:
        return None
    names = [*request.known_as, request.requested_by]
    return identity_of(names, request.object_id, signed_in=request.signed_in)


def are_different_people(asked: Identity, decider: Identity) -> bool | None:
    """Whether whoever asked and the decider are two persons; None where nobody can tell.

    Two object ids are two persons. Two addresses may be one, so they are taken for two only where
    there is nothing better: no object id of whoever asked, and nobody has signed in.
    """
    if asked.names & decider.names:
        return False
    if asked.object_id is not None:
        return True if decider.object_id is not None else None
    if asked.signed_in or decider.signed_in:
        return None
    return True if asked.has_address and decider.has_address else None


def verdict(event: object, asked: Identity | None) -> Decision | str:
    """The decision in an event, checked again where it counts; or why it does not count.

    `asked` is who must not approve (four eyes), or None where nobody asked or that is allowed.
    """
    if not isinstance(event, dict):
        return "it is not a JSON object"
    choice = event.get("decision")
    if choice not in ("approve", "reject"):  # a tuple: an event may hold what has no hash
        return "its decision is neither approve nor reject"
    said = cancel(event)
    if isinstance(said, str):
        return "it does not say who decided"
    if choice == "approve" and asked is not None:
        # All names are looked at, also those that are not kept.
        decider = identity_of(
            [said.by, *_names(event)], _object_id(event), signed_in=said.signed_in
        )
        apart = are_different_people(asked, decider)
        if not apart:
            return _not_theirs(said.by, apart)
    return Decision(decision=choice, **msgspec.structs.asdict(said))


def cancel(event: object) -> Cancel | str:
    """The cancel in an event, checked again where it counts; or why it does not count."""
    if not isinstance(event, dict):
        return "it is not a JSON object"
    by, identity, object_id = event.get("by"), event.get("id"), _object_id(event)
    if not isinstance(by, str) or not by.strip() or len(by) > LONGEST_NAME:
        return "it does not say who wants it"
    return Cancel(
        by=by,
        channel=str(event.get("channel") or "unknown")[:LONGEST_NAME],
        comment=str(event.get("comment") or "")[:LONGEST_COMMENT],
        id=None if identity is None else str(identity)[:LONGEST_ID],
        known_as=[name[:LONGEST_NAME] for name in _names(event)[:MOST_NAMES]],
        object_id=object_id[:LONGEST_ID] if object_id else None,
        signed_in=event.get("signedIn") is True,
    )


def makes_way(event: object) -> tuple[str, str]:
    """Who called the incident in an event, and its id, as far as it says so."""
    said = event if isinstance(event, dict) else {}
    by, rotation = said.get("by"), said.get("rotation")
    known = by[:LONGEST_NAME] if isinstance(by, str) and by.strip() else "somebody"
    return known, rotation[:100] if isinstance(rotation, str) else ""


def _names(event: dict[str, Any]) -> list[str]:
    given = event.get("knownAs")
    return [str(name) for name in given] if isinstance(given, list) else []


def _object_id(event: dict[str, Any]) -> str | None:
    own = event.get("objectId")
    return own if isinstance(own, str) and own.strip() else None


def _not_theirs(by: str, apart: bool | None) -> str:
    """Why an approval by whoever asked, or by somebody who may have been, does not count."""
    if apart is None:
        return (
            f"{by} cannot be compared with whoever asked for this rotation, and may not approve it"
        )
    return f"{by} asked for this rotation and may not approve it"
