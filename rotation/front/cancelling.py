"""Cancels rotations, for the HTTP API and the pages: until the swap begins, which the story tells.

Whoever may start a rotation may stop it, and so may who approves it: nothing is lost by it, and
production never notices.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotation.decisions.rights import Action, Way
from rotation.front import planned, rights
from rotation.front.approvers import way_of, with_object_id
from rotation.front.rotations import GRACE, Accepted, NotAllowed, hand_over
from rotation.model.catalogue import Stage, StepName
from rotation.model.record import Cancel

if TYPE_CHECKING:
    from azure.durable_functions import DurableOrchestrationClient as Client

    from rotation.config import Credential
    from rotation.contracts.edges import Readers
    from rotation.front.approvers import Decider
    from rotation.model.record import ShownRecord

BEFORE_ITS_BEGINNING = {Stage.QUEUED}
SWAPPED = {StepName.SWAP, StepName.SWAP_BACK}


@dataclass(frozen=True)
class Cancelled:
    """The answer to a cancel where one has counted, `cancel`: this one, or one before it."""

    record: ShownRecord
    cancel: Cancel


@dataclass(frozen=True)
class NotCancellable:
    """The answer to a cancel that did not count: it was too late, or too early."""

    record: ShownRecord


Result = Cancelled | Accepted | NotCancellable | NotAllowed


def awaited(record: ShownRecord) -> str | None:
    """The name of the event that a cancel is raised as; None where it is too late or too early."""
    if record.outcome is not None or record.cancelling is None:
        return None
    return record.cancelling.event


def refusal(decider: Decider, record: ShownRecord, entry: Credential | None) -> str | None:
    """Why somebody may not cancel a rotation that they see, or None if they may; `entry` is its
    credential's, where that is known."""
    if entry is not None:
        return rights.refusal(Action.CANCEL, decider, entry)
    if way_of(decider) is Way.LINK:
        return f"credentials.yaml has no credential {record.credential} any more"
    return None


async def cancel(
    edges: Readers, client: Client, record: ShownRecord, decider: Decider, comment: str
) -> Result:
    """Hands a cancel to the rotation if it may count, and returns what became of it."""
    entry = await planned.entry(edges, client, record)
    why_not = refusal(decider, record, entry)
    if why_not is not None:
        return NotAllowed(why_not)
    event = awaited(record)
    if record.cancelled is not None:
        return Cancelled(record, record.cancelled)
    if event is None:
        return NotCancellable(record)
    who = decider.identity
    if entry is not None:
        who = with_object_id(who, decider.address, entry)
    wish = Cancel(
        by=decider.by,
        channel=decider.channel,
        comment=comment,
        id=secrets.token_hex(8),
        known_as=sorted(who.names),
        object_id=who.object_id,
        signed_in=who.signed_in,
    )
    return await submit(client, record, event, wish)


async def submit(
    client: Client, record: ShownRecord, event: str, wish: Cancel, grace: float = GRACE
) -> Result:
    """Hands a cancel to the rotation, and returns what became of it within `grace` seconds.

    Raises `Unavailable`, after which it may have got there: a repeat finds out.
    """

    def became(found: ShownRecord) -> Cancelled | NotCancellable | None:
        gone = found.cancelled is not None or awaited(found) != event
        return _ended(found) if gone or found.outcome is not None else None

    return await hand_over(client, record, event, wish, became, grace)


def _ended(record: ShownRecord) -> Cancelled | NotCancellable:
    """What became of a cancel that is not waited for any more."""
    if record.cancelled is not None:
        return Cancelled(record, record.cancelled)
    return NotCancellable(record)


def why_not(record: ShownRecord) -> str:
    """Why a cancel did not count."""
    if record.outcome is not None:
        return f"it has ended already: {record.outcome}"
    if record.stage in BEFORE_ITS_BEGINNING:
        return "it has yet to begin: cancel it again in a moment"
    if any(step.step in SWAPPED for step in record.steps):
        return (
            "its swap has begun, and a cancel comes too late: from there only a rejection by an "
            "approver goes back, once a decision is due"
        )
    if record.cancelling is None:
        return (
            "it began under an earlier release, which cannot be told to stop: wait for its end, or "
            "reject it when a decision is due"
        )
    if record.cancelling.event is not None:
        said = record.cancelling.ignored[-1:] or ["it was not understood"]
        return f"the cancel did not count: {said[0]}"
    return "it is being aborted already"
