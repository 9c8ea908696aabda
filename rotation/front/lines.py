"""The lines of those that wait for a place, as the instance that keeps the places shows them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from rotation.model import wire
from rotation.model.places import KEEPER, Shown, place_id

if TYPE_CHECKING:
    from azure.durable_functions import DurableOrchestrationClient as Client

DIGEST = 8  # characters, of an id


def digest(place: str) -> str:
    """What stands in a line for the instance that asks for a place."""
    return hashlib.sha256(place.encode()).hexdigest()[:DIGEST]


async def standing(client: Client, rotation: str, number: int) -> str:
    """How it stands with a place that a rotation waits for; empty where that is not known. Raises
    `Unavailable`."""
    status = await client.get_status(KEEPER)
    return stands(shown_by(status), place_id(rotation, number)) if status else ""


def stands(shown: Shown, place: str) -> str:
    """How it stands with a place, in words; empty where that is not known."""
    if shown.problem:
        return f"a place: {shown.problem}"
    own = digest(place)
    for thing, line in shown.lines.items():
        queue = [line.queue[at : at + DIGEST] for at in range(0, len(line.queue), DIGEST)]
        if own in queue:
            taken = f"{thing}, {line.taken} of {line.most}"
            return f"a place: {taken}, {queue.index(own)} before it"
    return ""


def shown_by(status: Any) -> Shown:
    """What that instance shows; nothing, where that cannot be read."""
    try:
        return wire.read(Shown, status.custom_status or {})
    except (ValueError, RecursionError):
        return Shown()
