"""The parts of a rotation, which are instances of their own: tells those under way to stop. And
rotations to make way for an incident."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azure.durable_functions import OrchestrationRuntimeStatus as Status

from rotation.front.hub import unavailable
from rotation.model import wire
from rotation.model.activities import STOP, TAKEOVER, MakesWay
from rotation.model.errors import Unavailable
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from azure.durable_functions import DurableOrchestrationClient as Client

    from rotation.model.record import Request

SOON = 1.0  # seconds, until an instance that was just asked for has begun
TO_COME = {None, Status.Pending}


async def tell_to_stop(client: Client, parts: list[str]) -> None:
    """Raises the event by which parts stop, at all that are under way. A repeat does no harm.

    Raises `Unavailable` where that is to be done again: one has yet to begin, or the task hub did
    not answer. What is raised before an instance has begun may be lost.
    """
    waiting = [part for part in parts if not await _told(client, part)]
    if waiting:
        text = f"{', '.join(waiting)} cannot be told to stop before they have begun"
        raise Unavailable(Code.HUB_UNAVAILABLE, text, retry_after=SOON)


async def tell_to_make_way(client: Client, rotation: str, incident: Request) -> None:
    """Raises the event by which a rotation makes way for an incident. A repeat does no harm.

    Raises `Unavailable` as `tell_to_stop` does.
    """
    value = wire.value_of(MakesWay(by=incident.requested_by, rotation=incident.rotation))
    if not await _told(client, rotation, TAKEOVER, value):
        text = f"{rotation} cannot be told to make way before it has begun"
        raise Unavailable(Code.HUB_UNAVAILABLE, text, retry_after=SOON)


async def _told(client: Client, part: str, event: str = STOP, value: object = None) -> bool:
    """Whether the part has been told, or has ended. Raises `Unavailable`."""
    status = await client.get_status(part)
    runs = status.runtime_status if status else None
    if runs in TO_COME:
        return False
    if runs is Status.Running:
        try:
            await client.raise_event(part, event, value or {})
        except Unavailable:
            raise
        except Exception as error:
            # The SDK raises bare exceptions: that it has ended meanwhile is seen by looking.
            found = await client.get_status(part)
            if found and found.runtime_status is Status.Running:
                raise unavailable(f"{part} may not have got the {event}") from error
    return True
