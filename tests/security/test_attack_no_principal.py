"""With Entra sign-in on, whoever comes to the API without a sign-in is nobody."""

from __future__ import annotations

import base64

import pytest

from rotation.front import api
from tests.security.attacked import (
    ADA,
    ADA_ID,
    CREDENTIAL,
    GRACE,
    App,
    application,
    entra_app,
    person,
    principal,
)

HEADER = "X-MS-CLIENT-PRINCIPAL"
NOBODIES = {
    "none": {},
    "empty": {HEADER: ""},
    "no base64": {HEADER: "%%%"},
    "no JSON": {HEADER: base64.b64encode(b"[" * 40_000).decode()},
    "no object": {HEADER: base64.b64encode(b"[]").decode()},
    "another provider": {HEADER: base64.b64encode(b'{"auth_typ":"x","claims":[]}').decode()},
    "no object id": principal(("preferred_username", ADA)),
    "two object ids": principal(("oid", "a"), ("oid", "b")),
    "too long": {HEADER: "A" * 70_000},
}
READS = (
    "list_rotations",
    "get_rotation",
    "get_evidence",
    "list_credentials",
    "get_credential",
    "list_waves",
    "get_wave",
)
ENDS_AND_BEGINS = ("cancel_rotation", "retry_rotation")
CHANGES = ("start_rotation", "decide", "cancel_wave", *ENDS_AND_BEGINS)
OPEN = ("health", "openapi")  # which say nothing of rotations


@pytest.fixture
def app() -> App:
    return entra_app([ADA, GRACE])


@pytest.mark.parametrize("headers", NOBODIES.values(), ids=list(NOBODIES))
def test_nobody_starts_a_rotation(app: App, headers: dict[str, str]) -> None:
    body = {"credential": CREDENTIAL, "by": GRACE}
    found = app.ask("start_rotation", body=body, headers=headers)
    assert (found.status, found.json["code"]) == (403, "not-signed-in")
    assert app.client.instances == {}


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("headers", NOBODIES.values(), ids=list(NOBODIES))
def test_nobody_decides(app: App, headers: dict[str, str]) -> None:
    rotation = app.start(person(ADA_ID, ADA))
    for choice in ("approve", "reject"):
        found = app.decide(rotation, headers, decision=choice, by=GRACE)
        assert (found.status, found.json["code"]) == (403, "not-signed-in")
    assert app.client.events == []


@pytest.mark.parametrize("headers", NOBODIES.values(), ids=list(NOBODIES))
@pytest.mark.parametrize("name", [*ENDS_AND_BEGINS, "cancel_wave"])
def test_nobody_cancels_or_starts_again(app: App, name: str, headers: dict[str, str]) -> None:
    rotation = app.start(person(ADA_ID, ADA))
    before = dict(app.client.instances)
    found = app.ask(name, body={"by": GRACE}, headers=headers, id=rotation)
    assert (found.status, found.json["code"]) == (403, "not-signed-in")
    assert app.client.events == []
    assert app.client.instances == before


@pytest.mark.parametrize("headers", NOBODIES.values(), ids=list(NOBODIES))
@pytest.mark.parametrize("name", READS)
def test_nobody_reads(app: App, name: str, headers: dict[str, str]) -> None:
    rotation = app.start(person(ADA_ID, ADA))
    found = app.ask(name, "GET", b"", headers=headers, id=rotation)
    assert (found.status, found.json["code"]) == (403, "not-signed-in")
    assert rotation not in found.text


def test_every_route_is_tried() -> None:
    routes = api.blueprint(entra_app([ADA]).edges)._function_builders  # noqa: SLF001 - no other listing
    names = {builder._function.get_function_name() for builder in routes}  # noqa: SLF001 - as above
    assert names == {*READS, *CHANGES, *OPEN}


def test_a_platform_that_does_not_sign_in_lets_nobody_in() -> None:
    app = App([ADA], {"ROTATION_SIGN_IN": "entra"})
    body = {"credential": CREDENTIAL, "by": GRACE}
    for headers in ({}, application(), person(ADA_ID, ADA)):
        found = app.ask("start_rotation", body=body, headers=headers)
        assert (found.status, found.json["code"]) == (403, "not-signed-in")


@pytest.mark.parametrize("by", [ADA, GRACE, ADA_ID, "policy"])
def test_a_person_names_nobody_not_even_themselves(app: App, by: str) -> None:
    headers = person(ADA_ID, ADA)
    found = app.ask("start_rotation", body={"credential": CREDENTIAL, "by": by}, headers=headers)
    assert (found.status, found.json["field"]) == (403, "by")
    rotation = app.start(headers)
    found = app.decide(rotation, headers, decision="reject", by=by)
    assert (found.status, found.json["field"]) == (403, "by")
    assert app.client.events == []


def test_a_probe_needs_no_sign_in(app: App) -> None:
    """The platform leaves it out as well; it says nothing of rotations."""
    assert app.ask("health", "GET", b"").status == 200
