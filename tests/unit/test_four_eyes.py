"""Whether two identities are two persons, and what is said where they are not."""

from __future__ import annotations

from typing import Any

import pytest

from rotation.config import Approval
from rotation.decisions.verdict import Identity, are_different_people, identity_of, verdict
from rotation.front.approvers import recipient, refusal
from rotation.model.catalogue import Origin
from rotation.model.record import Request

ADA, ADA_ID = "ada@contoso.example", "11111111-1111-4111-8111-111111111111"
GRACE, GRACE_ID = "grace@contoso.example", "22222222-2222-4222-8222-222222222222"
BY_ID = identity_of([ADA], ADA_ID)
BY_ADDRESS = identity_of([ADA])
SIGNED_IN = identity_of([ADA], signed_in=True)
NAMELESS = identity_of([])

PEOPLE = [
    # Two object ids are two persons, whatever else is known of them.
    (BY_ID, identity_of([GRACE], GRACE_ID), True),
    (BY_ID, identity_of([GRACE], GRACE_ID, signed_in=True), True),
    (BY_ID, identity_of(["ada.l@contoso.example"], ADA_ID.upper()), False),
    # An object id against an address: it may be the same person's.
    (BY_ID, identity_of([GRACE]), None),
    (BY_ID, identity_of([GRACE], signed_in=True), None),
    (BY_ADDRESS, identity_of([GRACE], GRACE_ID), True),
    # Two addresses are taken for two persons, unless one of them has been signed in with.
    (BY_ADDRESS, identity_of([GRACE]), True),
    (BY_ADDRESS, identity_of([f" {ADA.upper()} "]), False),
    (SIGNED_IN, identity_of([GRACE]), None),
    (BY_ADDRESS, identity_of([GRACE], signed_in=True), None),
    # What is no address says nothing about a person.
    (BY_ADDRESS, identity_of(["deploy-bot"]), None),
    (identity_of(["deploy-bot"]), identity_of([GRACE]), None),
    (NAMELESS, identity_of([GRACE]), None),
    (NAMELESS, NAMELESS, None),
]


@pytest.mark.guarantee(6)
@pytest.mark.parametrize(("asked", "decider", "apart"), PEOPLE)
def test_different_people(asked: Identity, decider: Identity, apart: bool | None) -> None:
    assert are_different_people(asked, decider) is apart


def test_who_cannot_be_compared_may_reject_and_not_approve() -> None:
    event = {"decision": "approve", "by": GRACE}
    assert verdict(event, BY_ID) == (
        f"{GRACE} cannot be compared with whoever asked for this rotation, and may not approve it"
    )
    assert not isinstance(verdict({**event, "decision": "reject"}, BY_ID), str)
    assert not isinstance(verdict({**event, "objectId": GRACE_ID}, BY_ID), str)


APP_ROLE = "Rotation.Approve"
BOTH = {"id": GRACE_ID, "address": GRACE}
NOBODY = (
    "no approver can be compared with them; reject it, write the approvers as {id, address} "
    "in credentials.yaml, and start it again"
)
# The other approvers, what is known of whoever asked, and what is said of who may approve.
ABLE: list[tuple[list[Any], dict[str, Any], str]] = [
    ([ADA, BOTH], {"object_id": ADA_ID}, f"it can be approved by {GRACE}"),
    ([BOTH, GRACE_ID], {"object_id": ADA_ID}, f"it can be approved by {GRACE}, {GRACE_ID}"),
    ([ADA, GRACE], {"object_id": ADA_ID}, NOBODY),
    ([APP_ROLE, ADA_ID.upper()], {"object_id": ADA_ID}, f"it can be approved by {APP_ROLE}"),
    ([ADA_ID], {"object_id": ADA_ID}, NOBODY),
    ([GRACE_ID, BOTH], {"signed_in": True}, NOBODY),
]


@pytest.mark.guarantee(6)
@pytest.mark.parametrize(("others", "asked", "able"), ABLE)
def test_who_cannot_be_compared_hears_who_can(
    others: list[Any], asked: dict[str, Any], able: str
) -> None:
    decider = recipient("grace.m@contoso.example")
    approval = Approval.model_validate({"approvers": [decider.by, *others]})
    request = Request(
        rotation="r-1",
        credential="orders-db",
        origin=Origin.MANUAL,
        requested_by=ADA,
        reason="",
        **asked,
    )
    why = refusal(decider, approval, request, "approve")
    assert why == (
        f"{decider.by} cannot be compared with {ADA}, who asked for this rotation, and may be the "
        f"same person: {able}"
    )
    assert refusal(decider, approval, request, "reject") is None


def test_nobody_has_signed_in_unless_it_is_said() -> None:
    assert Identity(frozenset()) == NAMELESS
    assert not NAMELESS.signed_in
