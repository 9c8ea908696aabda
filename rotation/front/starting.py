"""What a rotation is asked for with, and which ended ones are started again: for API and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.decisions.verdict import MOST_NAMES
from rotation.front import rights, rotations
from rotation.front.problems import Problem, text
from rotation.model.catalogue import Origin, ending
from rotation.model.reasons import Code
from rotation.model.record import Request

if TYPE_CHECKING:
    from rotation.config import Credential
    from rotation.contracts.edges import Readers
    from rotation.decisions.rights import Action
    from rotation.decisions.verdict import Identity
    from rotation.front.approvers import Decider
    from rotation.model.record import ShownRecord
    from rotation.model.wire import JsonObject


def credential_of(edges: Readers, who: Decider | None, name: str) -> Credential:
    """A credential in the file that somebody sees. Raises `Problem` if there is none."""
    rights.demand_seen(edges, who, name, "credential")
    return edges.configuration.credential(name)


def demand_starter(action: Action, who: Decider | None, credential: Credential) -> None:
    """Raises `Problem` for somebody who may not start the credential's rotations."""
    why_not = rights.refusal(action, who, credential)
    if why_not is not None:
        raise Problem(403, Code.NOT_ALLOWED, why_not)


def asked(  # noqa: PLR0913 - what a request holds
    edges: Readers,
    credential: str,
    by: str,
    who: Identity,
    reason: str,
    *,
    waive: list[str] | None = None,
    retries: str | None = None,
    outside_window: str | None = None,
) -> Request:
    """A request by hand, under a new id.

    Raises `Problem` for whom nobody could be compared with, and `ConfigurationError` for a
    credential that the file does not have.
    """
    configured = edges.configuration.credential(credential)
    if not configured.approval.allow_requester:
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
        restricted=bool(configured.viewers),
        outside_window=outside_window,
    )


def outside_window(document: JsonObject) -> str | None:
    """Why a request waits for no window; None where it does. Raises `Problem` for one that gives no
    reason."""
    if "outsideWindow" not in document:
        return None
    return text(document, "outsideWindow", required=True)


def demand_comparable(edges: Readers, who: Identity) -> None:
    """Raises `Problem` for whom no approver could be compared with.

    It is found out now, rather than by those who are to approve the rotation.
    """
    if edges.settings.sign_in == "entra":
        if who.object_id is None:
            detail = (
                "'by' must be the object id of whoever asks, or the address of an approver or a "
                "starter who is written as {id, address}: nobody could approve it otherwise"
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
    if record.outcome is None:
        return f"it has not ended: its stage is {record.stage}"
    end = ending(record.outcome)
    if end.again:
        return None
    return f"it is {record.outcome}. {end.asks or 'There is nothing to do again'}".rstrip(".")


def demand_ended(record: ShownRecord) -> None:
    """Raises `Problem` for a rotation that is not started again."""
    detail = why_not_again(record)
    if detail is not None:
        raise Problem(409, Code.NOT_RETRIED, detail, stage=record.stage)
