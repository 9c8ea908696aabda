"""What a rotation under way goes on with, for whoever looks at it or decides it.

That is the entry that it was planned with, whatever `credentials.yaml` says by now. Who may decide
is read anew: whoever was taken off the list may not, at once. Where the file lost the credential,
the approvers of then may still reject, which goes back to what the owner knows; they cannot approve
what no file asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotation.front import approvers
from rotation.model import wire
from rotation.model.activities import Part
from rotation.model.catalogue import StepName
from rotation.model.errors import ConfigurationError
from rotation.story.progress import part_id

if TYPE_CHECKING:
    from azure.durable_functions import DurableOrchestrationClient as Client

    from rotation.config import Approval, Credential
    from rotation.contracts.edges import Readers
    from rotation.front.approvers import Decider
    from rotation.model.record import Choice, Record, Request


@dataclass(frozen=True)
class Standing:
    """How a rotation stands to the file.

    `edges` are those of the entry that it goes on with. `gone`: the file lost the credential, and
    `approval` is of then. `changed` is what the file says by now; None where no entry was kept.
    """

    edges: Readers
    approval: Approval
    gone: bool = False
    changed: list[str] | None = None

    def refusal(self, decider: Decider, request: Request, choice: Choice) -> str | None:
        """Why the decider may not make this choice, or None if they may."""
        if self.gone and choice == "approve":
            return (
                f"credentials.yaml has no credential {request.credential} any more: reject the "
                "rotation, or deploy the file with it to approve"
            )
        return approvers.refusal(decider, self.approval, request, choice)


async def standing(edges: Readers, client: Client, record: Record) -> Standing:
    """How a rotation under way stands to the file.

    Raises `ConfigurationError` where neither the file nor the rotation has an entry.
    """
    from rotation.config import kept  # noqa: PLC0415 - a cold start is paid for

    today, text = edges.configuration, await entry_of(client, record)
    if text is None:
        return Standing(edges, today.credential(record.credential).approval)
    entry = kept.read(text)
    listed = today.credentials.get(record.credential)
    return Standing(
        edges=edges.planned(entry),
        approval=(listed or entry.credential(record.credential)).approval,
        gone=listed is None,
        changed=kept.changes(entry, today),
    )


async def planned_edges(edges: Readers, client: Client, record: Record) -> Readers:
    """The edges to look at a rotation's world with: of one under way, those of its entry."""
    if record.outcome is not None:
        return edges
    return (await standing(edges, client, record)).edges


async def lost_entry(client: Client, record: Record) -> Credential | None:
    """The entry of a credential that the file lost, as a rotation was planned with it; None where
    there is none, or none that can be read. Raises `Unavailable`."""
    from rotation.config import kept  # noqa: PLC0415 - a cold start is paid for

    try:
        text = await entry_of(client, record)
        return None if text is None else kept.read(text).credential(record.credential)
    except (ConfigurationError, ValueError, RecursionError):
        return None


async def entry(edges: Readers, client: Client, record: Record) -> Credential | None:
    """What the file says of a rotation's credential, or else what it said when it was planned; None
    where neither is known. Raises `Unavailable`."""
    listed = edges.configuration.credentials.get(record.credential)
    return listed or await lost_entry(client, record)


async def entry_of(client: Client, record: Record) -> str | None:
    """The entry that a rotation was planned with.

    None before it is prepared, and for rotations that an earlier release planned.

    It is too large for the custom status. The parts that prepare workloads were started with it.
    """
    name = next(iter(record.workloads), None)
    # The first attempts may have ended before there were parts, and the last may have none yet.
    for attempt in range(record.attempt, 0, -1) if name else ():
        part = part_id(record.rotation, StepName.PREPARE, str(name), attempt)
        status = await client.get_status(part, show_input=True)
        if status and status.input_ is not None:
            return wire.read(Part, status.input_).reference.entry
    return None
