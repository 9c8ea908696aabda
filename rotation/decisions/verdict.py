"""Whether a decision counts."""

from __future__ import annotations

from rotation.model.record import Decision

# A decision becomes part of the custom status, which is limited to 16 KB.
LONGEST_NAME = 500
LONGEST_COMMENT = 2000
LONGEST_ID = 64
MOST_NAMES = 10  # that are kept: all of them are looked at


def verdict(event: object, requested_by: str | None) -> Decision | str:
    """The decision in an event, checked again where it counts; or why it does not count.

    `requested_by` is who must not approve (four eyes), or None where that is allowed.
    """
    if not isinstance(event, dict):
        return "it is not a JSON object"
    decision, by = event.get("decision"), event.get("by")
    if decision not in ("approve", "reject"):  # a tuple: an event may hold what has no hash
        return "its decision is neither approve nor reject"
    if not isinstance(by, str) or not by.strip() or len(by) > LONGEST_NAME:
        return "it does not say who decided"
    given, identity = event.get("knownAs"), event.get("id")
    names = [str(name) for name in given] if isinstance(given, list) else []
    if (
        decision == "approve"
        and requested_by is not None
        and any(same_person(name, requested_by) for name in (by, *names))
    ):
        return f"{by} asked for this rotation and may not approve it"
    return Decision(
        decision=decision,
        by=by,
        channel=str(event.get("channel") or "unknown")[:LONGEST_NAME],
        comment=str(event.get("comment") or "")[:LONGEST_COMMENT],
        id=None if identity is None else str(identity)[:LONGEST_ID],
        known_as=[name[:LONGEST_NAME] for name in names[:MOST_NAMES]],
    )


def same_person(one: str, two: str) -> bool:
    """Mail addresses and object ids ignore case."""
    return one.strip().casefold() == two.strip().casefold()
