"""Whoever holds a function key names an app role, a group or an object id, and decides as it."""

from __future__ import annotations

import pytest

from tests.security.attacked import (
    ADA,
    GRACE,
    GRACE_ID,
    App,
    application,
    entra_app,
    links_app,
    person,
)

GROUP = "a0c8e6f2-0000-4000-8000-000000000000"
ROLE = "Rotation.Approve"
LISTED = [ROLE, GROUP, GRACE_ID, ADA]
CANNOT = (ROLE, ROLE.upper(), f" {ROLE} ", GROUP, GROUP.upper(), GRACE_ID)


def asked(app: App, headers: dict[str, str]) -> str:
    """A rotation that nobody asked for by hand: four eyes have no say in it."""
    rotation = app.start(headers, **({} if headers else {"by": "zoe@contoso.example"}))
    instance = app.client.instances[rotation]
    instance.input_["origin"] = instance.custom_status["request"]["origin"] = "near-expiry"
    instance.custom_status["request"]["requestedBy"] = "Key Vault"
    return rotation


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("by", CANNOT)
@pytest.mark.parametrize("choice", ["approve", "reject"])
def test_over_the_api(by: str, choice: str) -> None:
    app = links_app(LISTED)
    rotation = asked(app, {})
    found = app.decide(rotation, by=by, decision=choice)
    assert (found.status, found.json["code"]) == (403, "not-allowed")
    assert app.client.events == []


@pytest.mark.parametrize("by", CANNOT)
def test_over_the_api_with_the_token_of_an_application(by: str) -> None:
    app = entra_app(LISTED)
    rotation = asked(app, person("d0c8e6f2-0000-4000-8000-000000000000", "zoe@contoso.example"))
    found = app.decide(rotation, application(), by=by)
    assert (found.status, found.json["code"]) == (403, "not-allowed")
    assert app.client.events == []


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("by", CANNOT)
def test_on_the_page(by: str) -> None:
    app = links_app(LISTED)
    rotation = asked(app, {})
    fields = {"decision": "approve", "by": by}
    found = app.post_form("rotation_page", {"x-functions-key": "k"}, fields=fields, id=rotation)
    assert found.status == 403
    assert app.client.events == []


def test_the_page_offers_addresses_only() -> None:
    app = links_app(LISTED)
    rotation = asked(app, {})
    page = app.ask("rotation_page", "GET", b"", headers={"x-functions-key": "k"}, id=rotation)
    assert f'<option value="{ADA}">' in page.text
    assert f'<option value="{ROLE}">' not in page.text
    assert f'<option value="{GROUP}">' not in page.text


def test_an_app_role_that_looks_like_an_address_lets_nobody_in_who_has_it() -> None:
    """An address stands for a mailbox, and never for whoever signs in with such a claim."""
    app = entra_app([GRACE])
    rotation = asked(app, person("d0c8e6f2-0000-4000-8000-000000000000", "zoe@contoso.example"))
    for claims in ({"roles": GRACE}, {"groups": GRACE}, {"email": GRACE}):
        found = app.decide(rotation, person("e0c8e6f2-0000-4000-8000-000000000000", **claims))
        assert found.status == 403
    assert app.client.events == []


def test_an_address_can_be_named() -> None:
    app = links_app(LISTED)
    rotation = asked(app, {})
    assert app.decide(rotation, by=ADA.upper()).status == 200
