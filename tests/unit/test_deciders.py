"""Who may decide, and what the platform's sign-in says about them."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotation.front import rotations
from rotation.front.approvers import Decider, entra, keyed, recipient, refusal
from rotation.front.principals import Principal, principal, signed_in
from rotation.model import wire
from rotation.model.record import Request
from rotation.settings import Settings
from tests.unit.people import (
    ANNA,
    BEN,
    GROUP,
    FakeClient,
    configuration,
    edges,
    record,
)
from tests.unit.people import signed_in as header

ENTRA = Settings(sign_in="entra", easy_auth=True)
SCHEMAS = "http://schemas.microsoft.com/identity/claims/"
SOAP = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
WS = "http://schemas.microsoft.com/ws/2008/06/identity/claims/"


def anna(*more: tuple[str, str]) -> Principal:
    found = signed_in(
        ENTRA, header(("oid", ANNA), ("preferred_username", "anna@contoso.example"), *more)
    )
    assert isinstance(found, Principal)
    return found


@pytest.mark.parametrize(
    "claims",
    [
        [
            ("oid", ANNA),
            ("preferred_username", "anna@x.example"),
            ("groups", GROUP),
            ("roles", "A"),
        ],
        [
            (f"{SCHEMAS}objectidentifier", ANNA),
            (f"{SOAP}upn", "anna@x.example"),
            (f"{WS}groups", GROUP),
            (f"{WS}role", "A"),
        ],
    ],
    ids=["short", "long"],
)
def test_claims_are_read_under_their_short_and_their_long_names(
    claims: list[tuple[str, str]],
) -> None:
    found = signed_in(ENTRA, header(*claims))
    assert isinstance(found, Principal)
    assert (found.id, found.name) == (ANNA, "anna@x.example")
    assert found.groups == {GROUP}
    assert found.roles == {"A"}
    assert found.person


def test_a_group_is_no_role_and_a_name_claim_no_object_id() -> None:
    found = anna(("name", BEN), ("groups", "Approvers"))
    decider = entra(found, "page")
    assert BEN not in decider.ids | decider.identity.names
    assert found.roles == set()


@pytest.mark.parametrize(
    ("claims", "person"),
    [
        ([("oid", ANNA), ("sub", "pairwise")], True),
        ([("oid", ANNA), ("sub", ANNA)], False),
        ([("oid", ANNA), (f"{SOAP}nameidentifier", ANNA)], False),
        ([("oid", ANNA), ("idtyp", "app")], False),
    ],
)
def test_an_app_is_told_from_a_person(claims: list[tuple[str, str]], person: bool) -> None:
    found = signed_in(ENTRA, header(*claims))
    assert isinstance(found, Principal)
    assert found.person is person


@pytest.mark.parametrize(
    ("settings", "headers", "says"),
    [
        (Settings(sign_in="entra"), header(("oid", ANNA)), "WEBSITE_AUTH_ENABLED"),
        (ENTRA, {}, "no signed-in principal"),
        (ENTRA, {"X-MS-CLIENT-PRINCIPAL": "not base64"}, "cannot be read"),
        (ENTRA, {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(b"[]").decode()}, "cannot be read"),
        (ENTRA, {"X-MS-CLIENT-PRINCIPAL": "A" * 70_000}, "cannot be read"),
        (ENTRA, header(("oid", ANNA), auth_typ="facebook"), "cannot be read"),
        (ENTRA, header(("preferred_username", "anna@x.example")), "no object id"),
        (ENTRA, header(("oid", ANNA), ("oid", BEN)), "no object id"),
        (ENTRA, header(("oid", " ")), "no object id"),
    ],
)
def test_signed_in_bad(settings: Settings, headers: dict[str, str], says: str) -> None:
    found = signed_in(settings, headers)
    assert isinstance(found, str)
    assert says in found


@given(st.text() | st.binary().map(lambda raw: base64.b64encode(raw).decode()))
def test_no_header_makes_it_fail(text: str) -> None:
    assert isinstance(principal(text), str | Principal)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


@given(st.fixed_dictionaries({"auth_typ": st.just("aad"), "claims": json_values}))
def test_no_claims_make_it_fail(document: dict[str, Any]) -> None:
    text = base64.b64encode(json.dumps(document).encode()).decode()
    assert isinstance(principal(text), str | Principal)


def test_control_characters_of_a_name_are_dropped() -> None:
    found = signed_in(ENTRA, header(("oid", ANNA), ("preferred_username", "an\nna\u202e@x")))
    assert isinstance(found, Principal)
    assert found.name == "anna@x"


def why(
    decider: Decider,
    approvers: list[str],
    choice: Literal["approve", "reject"] = "approve",
    requested_by: str = "Key Vault",
    **approval: Any,
) -> str | None:
    policy = configuration(approvers=approvers, **approval).credential("orders-db").approval
    origin = "near-expiry" if requested_by == "Key Vault" else "manual"
    known = {"rotation": "r", "credential": "c", "origin": origin, "reason": ""}
    request = wire.read(Request, {**known, "requestedBy": requested_by})
    return refusal(decider, policy, request, choice)


@pytest.mark.parametrize("approvers", [[ANNA], [ANNA.upper()], [GROUP], ["Rotation.Approve"]])
def test_object_id_group_and_role_let_decide(approvers: list[str]) -> None:
    found = anna(("groups", GROUP), ("roles", "Rotation.Approve"))
    assert why(entra(found, "page"), approvers) is None


@pytest.mark.parametrize("approvers", [[BEN], ["anna@contoso.example"], ["Rotation.Read"]])
def test_refusal_bad(approvers: list[str]) -> None:
    """A mail address is no proof in a sign-in: tenants can make one up."""
    assert "approvers of this credential do not include" in str(
        why(entra(anna(), "page"), approvers)
    )


def test_without_approvers_nobody_decides_by_sign_in_or_link() -> None:
    assert "has no approvers" in str(why(entra(anna(), "page"), []))
    assert "has no approvers" in str(why(recipient("anna@contoso.example"), []))


def test_without_approvers_a_function_key_is_enough() -> None:
    assert why(keyed("anna", "http"), []) is None


def test_a_name_given_with_a_function_key_must_be_an_approvers() -> None:
    assert why(keyed("Anna@Contoso.example", "http"), ["anna@contoso.example"]) is None
    assert why(keyed("eve", "http"), ["anna@contoso.example"]) is not None


def test_too_many_groups_are_explained() -> None:
    found = anna(("hasgroups", "true"))
    assert "too many groups" in str(why(entra(found, "page"), [GROUP]))


@pytest.mark.guarantee(6)
@pytest.mark.parametrize(
    "requested_by", [ANNA.upper(), "Anna@contoso.example", " anna@contoso.example"]
)
def test_four_eyes_knows_a_person_under_all_names(requested_by: str) -> None:
    decider = entra(anna(), "page")
    assert "somebody else must approve" in str(why(decider, [ANNA], requested_by=requested_by))
    assert why(decider, [ANNA], "reject", requested_by) is None
    assert why(decider, [ANNA], requested_by=requested_by, allowRequester=True) is None


def test_four_eyes_knows_whoever_is_recorded_by_a_display_name() -> None:
    found = signed_in(ENTRA, header(("oid", ANNA), ("name", "Anna Example")))
    assert isinstance(found, Principal)
    assert "somebody else" in str(why(entra(found, "page"), [ANNA], requested_by=found.name))


def submitted(
    decider: Decider, client: FakeClient, **approval: Any
) -> tuple[Any, list[tuple[str, Any]]]:
    """What became of an approval, and the events that were raised for it."""
    found = edges(**{"approvers": ["anna@contoso.example"], **approval})
    seen = rotations.describe(client.instance)
    result = asyncio.run(rotations.decide(found, client, seen, decider, "approve", ""))
    return result, client.raised


def test_nothing_is_raised_for_a_refused_decision() -> None:
    result, raised = submitted(recipient("eve@x.example"), FakeClient())
    assert isinstance(result, rotations.NotAllowed)
    assert raised == []


def test_nothing_is_raised_when_nothing_waits() -> None:
    client = FakeClient(record(stage="prepare", approval=None))
    result, raised = submitted(recipient("anna@contoso.example"), client)
    assert isinstance(result, rotations.NotWaiting)
    assert raised == []


def test_the_orchestrator_gets_every_name_of_the_decider() -> None:
    """It checks four eyes once more, where the decision counts."""
    client = FakeClient()
    client.shown["request"] |= {"requestedBy": ANNA, "origin": "manual"}
    lenient = {"approvers": [ANNA], "allowRequester": True}
    result, raised = submitted(entra(anna(), "page"), client, **lenient)
    assert isinstance(result, rotations.NotWaiting)  # the rotation began under four eyes
    assert sorted(raised[0][1]["knownAs"]) == sorted([ANNA, "anna@contoso.example"])
