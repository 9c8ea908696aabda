"""The form by which an approver says on a page that a password has leaked."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from tests.security.attacked import (
    ADA_ID,
    CREDENTIAL,
    GRACE,
    GRACE_ID,
    ORIGIN,
    Answer,
    App,
    person,
)
from tests.unit.test_incident_calls import asked, following, running, site

FIELDS: dict[str, str] = {"reason": "it is in a log", "confirmCredential": CREDENTIAL}
FIELDS |= {"sure": "yes", "cut": "first", "slot": ""}
KEY = {"x-functions-key": "k"}


def opened(app: App, headers: Any) -> Answer:
    query = {"do": "incident"}
    return app.ask("credential_page", "GET", b"", headers=headers, params=query, name=CREDENTIAL)


def posted(app: App, headers: Any, **fields: str) -> Answer:
    """Opens the form, and posts it as the browser that opened it."""
    form = opened(app, headers)
    token = form.text.partition('name="token" value="')[2].partition('"')[0]
    cookie = form.headers.get("Set-Cookie", "").partition(";")[0]
    kind = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie}
    body = urlencode({"token": token, **FIELDS, **fields}).encode()
    given = {**headers, **kind, "Origin": ORIGIN}
    return app.ask("credential_page", "POST", body, headers=given, name=CREDENTIAL)


def test_the_page_has_a_link_and_the_form_costs_no_look() -> None:
    app = site()
    page = app.ask("credential_page", "GET", b"", headers=person(GRACE_ID), name=CREDENTIAL)
    assert f'href="/api/pages/credentials/{CREDENTIAL}?do=incident"' in page.text
    assert 'name="confirmCredential"' not in page.text
    made = len(app.edges.calls.made)
    form = opened(app, person(GRACE_ID))
    assert 'name="confirmCredential"' in form.text
    assert len(app.edges.calls.made) == made
    assert app.client.instances == {}


def test_an_approver_who_has_signed_in_calls_one() -> None:
    app = site()
    answer = posted(app, person(GRACE_ID))
    assert answer.status == 303, answer.text
    request = asked(app)
    assert (request["cut"], request["objectId"]) == ("first", GRACE_ID)
    assert answer.headers["Location"].endswith(request["rotation"])


def test_what_runs_makes_way() -> None:
    app = site()
    rotation = running(app)
    assert posted(app, person(GRACE_ID), cut="after").status == 303
    assert following(app)["takesOver"] == rotation


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"confirmCredential": "orders"}, 422),
        ({"sure": ""}, 400),
        ({"reason": " "}, 400),
        ({"token": "0" * 64}, 403),
    ],
)
def test_a_form_bad(fields: dict[str, str], status: int) -> None:
    app = site()
    assert posted(app, person(GRACE_ID), **fields).status == status
    assert app.client.instances == {}


def test_with_a_key_nothing_is_cut_and_an_approver_is_named() -> None:
    app = site(by_key=True)
    form = opened(app, KEY)
    assert 'value="first" disabled' in form.text
    assert posted(app, KEY, by=GRACE).status == 403
    assert posted(app, KEY, by=GRACE, cut="after").status == 303


def test_who_may_not_approve_is_told_so() -> None:
    app = site()
    stranger = person("6" * 8 + ADA_ID[8:], "otto@contoso.example")
    assert "You cannot do this." in opened(app, stranger).text
    assert posted(app, stranger).status == 403


def test_what_the_file_does_not_allow_is_not_offered() -> None:
    app = site(allowed=False)
    form = opened(app, person(GRACE_ID))
    assert 'value="first" disabled' in form.text
    assert "incident: allowed" in form.text


def test_the_page_of_an_incident_says_what_leaked_and_asks_for_a_confirmation() -> None:
    app = site()
    posted(app, person(GRACE_ID))
    rotation = asked(app)["rotation"]
    connected = [{"pid": 7, "application": "psql", "client": "10.0.0.9", "state": "idle"}]
    leak = {"slot": "blue", "role": "orders-db_blue", "version": "v1", "serves": True}
    shown = app.client.instances[rotation].custom_status
    shown |= {"stage": "confirmation", "leak": {**leak, "connected": connected, "sessions": 1}}
    shown["approval"]["confirms"] = True
    page = app.ask("rotation_page", "GET", b"", headers=person(ADA_ID), id=rotation).text
    assert "Waiting for your confirmation" in page
    assert "confirm what was done" in page
    assert "10.0.0.9" in page
    own = app.ask("rotation_page", "GET", b"", headers=person(GRACE_ID), id=rotation).text
    assert "somebody else must approve it" in own.lower()
