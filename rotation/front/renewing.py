"""Sends whoever has a link that expired a new one: to the address that the old one was signed for.

Nothing of it is told to whoever asks: an expired link shows nothing any more, and so it does not
show whether a rotation waits, or who may decide it.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from rotation import log
from rotation.decisions.rights import Action
from rotation.front import approvers, rotations
from rotation.front.hub import unavailable
from rotation.front.planned import entry_of, standing
from rotation.model import wire
from rotation.model.activities import Notice, Terms
from rotation.model.catalogue import Announcement
from rotation.model.errors import ConfigurationError, Unavailable
from rotation.telling.messages import announcement

if TYPE_CHECKING:
    from datetime import datetime

    from azure.durable_functions import DurableOrchestrationClient as Client

    from rotation.contracts.edges import Readers
    from rotation.front.planned import Standing
    from rotation.links import Expired
    from rotation.model.record import ShownRecord
    from rotation.model.wire import JsonObject

AT_MOST_EVERY = timedelta(hours=1)  # a mail to one recipient about one rotation
RECIPIENTS = 1_000_000  # numbers of events that an hour has


async def renew(edges: Readers, client: Client, link: Expired) -> None:
    """Has a reminder with a new link sent to the recipient of an expired one, and to nobody else.

    Not if the rotation waits no more, or they may not decide it any more; nor if one was sent in
    this hour, which the task hub remembers. Raises `Unavailable`.
    """
    result = await _renewed(edges, client, link)
    log.event("link.asked", rotation=link.rotation, result=result)


async def _renewed(edges: Readers, client: Client, link: Expired) -> str:
    """What became of it, in a word."""
    record = await rotations.find(client, link.rotation)
    if record is None or not rotations.waits(record):
        return "not-waiting"
    rules = await _rules(edges, client, record, link.recipient)
    if rules is None:
        return "no-approver"
    event = _reminder(edges, record, rules, link.recipient)
    if event is None:
        return "not-waiting"
    if await client.get_status(event["id"]):
        return "sent-lately"
    given = {"event": event, "entry": await entry_of(client, record)}
    try:
        await client.start_new("publish", event["id"], given)
    except Unavailable:
        raise
    except Exception as error:
        # The SDK raises bare exceptions: that another one was first is seen by looking.
        if await client.get_status(event["id"]):
            return "sent-lately"
        raise unavailable(f"a new link for {link.rotation} was not asked for") from error
    return "sent"


async def _rules(
    edges: Readers, client: Client, record: ShownRecord, recipient: str
) -> Standing | None:
    """How the rotation stands to the file; None where the recipient may not decide it any more, or
    nothing says who may. Raises `Unavailable`."""
    try:
        rules = await standing(edges, client, record)
    except ConfigurationError:
        return None
    asking = approvers.recipient(recipient)
    barred = approvers.not_entitled(asking, rules.approval, Action.REJECT)
    return rules if barred is None else None


def _reminder(
    edges: Readers, record: ShownRecord, rules: Standing, recipient: str
) -> JsonObject | None:
    """The event of a reminder to one recipient; None where there is nothing to decide."""
    approval, now = rotations.approval_of(record), edges.now()
    gate = rotations.gate_of(record) or "after"
    before = rules.approval.before_swap if gate == "before" else None
    if approval is None or record.standby is None or record.active is None:
        return None
    notice = Notice(
        kind=Announcement.REMINDER,
        number=_number(now, recipient),
        time=wire.moment(now),
        request=record.request,
        terms=Terms(
            serves=record.standby,
            replaced=record.active,
            deadline=approval.deadline,
            on_deadline=(before or rules.approval).on_deadline,
            gate=gate,
            again=rules.approval.gate != "before",
        ),
        overdue=approval.overdue,
    )
    return announcement(notice, [recipient], edges.settings.public_url)


def _number(now: datetime, recipient: str) -> int:
    """The number of the event, the same for a recipient within an hour; a rotation's own are far
    below."""
    digest = hashlib.sha256(recipient.strip().casefold().encode()).digest()
    hour = int(now.timestamp() // AT_MOST_EVERY.total_seconds())
    return hour * RECIPIENTS + int.from_bytes(digest[:8], "big") % RECIPIENTS
