"""What a rotation is asked for with, and which ended ones are started again: for API and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.decisions.verdict import MOST_NAMES
from rotation.front import rotations
from rotation.front.problems import Problem
from rotation.model.catalogue import Origin, Outcome
from rotation.model.reasons import Code
from rotation.model.record import Request

if TYPE_CHECKING:
    from rotation.config import Approval
    from rotation.contracts.edges import Readers
    from rotation.decisions.verdict import Identity
    from rotation.model.record import ShownRecord

# The ends after which the world is as it was before: the same wish can be asked for once more.
AGAIN = frozenset({Outcome.ABORTED, Outcome.REFUSED, Outcome.ROLLED_BACK})


def approval_of(edges: Readers, name: str) -> Approval:
    """The rules of approval of a credential in the file. Raises `Problem` if there is none."""
    if name not in edges.configuration.credentials:
        detail = f"there is no credential {name!r}"
        raise Problem(404, Code.UNKNOWN_CREDENTIAL, detail, field="credential")
    return edges.configuration.credential(name).approval


def asked(  # noqa: PLR0913 - what a request holds
    edges: Readers,
    credential: str,
    by: str,
    who: Identity,
    reason: str,
    *,
    waive: list[str] | None = None,
    retries: str | None = None,
) -> Request:
    """A request by hand, under a new id.

    Raises `Problem` for whom nobody could be compared with.
    """
    if not approval_of(edges, credential).allow_requester:
        demand_comparable(edges, who)
    return Request(
        rotation=rotations.manual_id(credential, edges.now()),
        credential=credential,
        origin=Origin.MANUAL,
        requested_by=by,
        reason=reason,
        known_as=sorted(who.names)[:MOST_NAMES],
        object_id=who.object_id,
        signed_in=who.signed_in,
        waive=waive or [],
        retries=retries,
    )


def demand_comparable(edges: Readers, who: Identity) -> None:
    """Raises `Problem` for whom no approver could be compared with.

    It is found out now, rather than by those who are to approve the rotation.
    """
    if edges.settings.sign_in == "entra":
        if who.object_id is None:
            detail = (
                "'by' must be the object id of whoever asks, or the address of an approver who is "
                "written as {id, address}: nobody could approve the rotation otherwise"
            )
            raise Problem(400, Code.BAD_REQUEST, detail, field="by")
    elif who.object_id is None and not who.has_address:
        detail = (
            "'by' must be the mail address or object id of whoever asks: nobody could approve the "
            "rotation otherwise, unless the credential has allowRequester"
        )
        raise Problem(400, Code.BAD_REQUEST, detail, field="by")


def why_not_again(record: ShownRecord) -> str | None:
    """Why a rotation is not started again by its id; None if it can be."""
    match record.outcome:
        case None:
            return f"it has not ended: its stage is {record.stage}"
        case outcome if outcome in AGAIN:
            return None
        case Outcome.NEEDS_ATTENTION:
            return (
                "it needs attention: see to what it left, as docs/recovery.md says, and then ask "
                "for another one"
            )
        case outcome:
            return f"it is {outcome}: there is nothing to do again"


def demand_ended(record: ShownRecord) -> None:
    """Raises `Problem` for a rotation that is not started again."""
    detail = why_not_again(record)
    if detail is not None:
        raise Problem(409, Code.NOT_RETRIED, detail, stage=record.stage)
