"""Another site decides through the browser of somebody who may: over the API, or with a form."""

from __future__ import annotations

import json

import pytest

from tests.security.attacked import (
    ADA,
    ADA_ID,
    CREDENTIAL,
    GRACE,
    GRACE_ID,
    ORIGIN,
    App,
    entra_app,
    links_app,
    person,
)

GRACE_SIGNED_IN = person(GRACE_ID, GRACE)
# What a form or script of another site can send without asking first.
PLAIN = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "")
FOREIGN = {
    "origin": {"Origin": "https://evil.example"},
    "sandboxed frame": {"Origin": "null"},
    "fetch metadata": {"Sec-Fetch-Site": "cross-site"},
    "sibling": {"Sec-Fetch-Site": "same-site"},
    "referer only": {"Referer": f"https://evil.example/?{ORIGIN}/"},
    "longer name": {"Origin": f"{ORIGIN}.evil.example"},
    "another port": {"Origin": f"{ORIGIN}:8443"},
    "without TLS": {"Origin": ORIGIN.replace("https", "http")},
    "no origin": {"Origin": "evil"},
    "broken": {"Origin": "https://[evil"},
}


@pytest.fixture
def app() -> App:
    return entra_app([GRACE_ID])


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("kind", PLAIN)
def test_a_decision_of_another_kind(app: App, kind: str) -> None:
    rotation = app.start(person(ADA_ID, ADA))
    found = app.decide(rotation, {**GRACE_SIGNED_IN, "Content-Type": kind})
    assert (found.status, found.json["code"]) == (415, "media-type")
    assert app.client.events == []


@pytest.mark.parametrize("kind", PLAIN)
def test_a_start_of_another_kind(app: App, kind: str) -> None:
    headers = {**GRACE_SIGNED_IN, "Content-Type": kind}
    found = app.ask("start_rotation", body={"credential": CREDENTIAL}, headers=headers)
    assert (found.status, found.json["code"]) == (415, "media-type")
    assert app.client.instances == {}


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("headers", FOREIGN.values(), ids=list(FOREIGN))
def test_a_decision_from_another_site(app: App, headers: dict[str, str]) -> None:
    rotation = app.start(person(ADA_ID, ADA))
    found = app.decide(rotation, {**GRACE_SIGNED_IN, **headers})
    assert (found.status, found.json["code"]) == (403, "form-foreign")
    assert app.client.events == []


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=list(FOREIGN))
def test_a_start_from_another_site(app: App, headers: dict[str, str]) -> None:
    found = app.ask(
        "start_rotation",
        body={"credential": CREDENTIAL},
        headers={**GRACE_SIGNED_IN, **headers},
    )
    assert (found.status, found.json["code"]) == (403, "form-foreign")
    assert app.client.instances == {}


@pytest.mark.parametrize("name", ["cancel_rotation", "retry_rotation"])
@pytest.mark.parametrize("headers", FOREIGN.values(), ids=list(FOREIGN))
def test_a_cancel_or_a_retry_from_another_site(
    app: App, headers: dict[str, str], name: str
) -> None:
    rotation = app.start(person(ADA_ID, ADA))
    before = dict(app.client.instances)
    found = app.ask(name, body={}, headers={**GRACE_SIGNED_IN, **headers}, id=rotation)
    assert (found.status, found.json["code"]) == (403, "form-foreign")
    assert app.client.events == []
    assert app.client.instances == before


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("headers", FOREIGN.values(), ids=list(FOREIGN))
def test_a_form_from_another_site(headers: dict[str, str]) -> None:
    app = links_app([GRACE])
    rotation = app.start(by=ADA)
    fields, key = {"decision": "approve", "by": GRACE}, {"x-functions-key": "k"}
    found = app.post_form("rotation_page", {**key, **headers}, fields=fields, id=rotation)
    assert found.status == 403
    assert app.client.events == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "Application/JSON"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin", "Referer": f"{ORIGIN}/api/pages"},
        {"Origin": ORIGIN.upper()},
    ],
)
def test_programs_and_scripts_of_our_own_pages_decide(app: App, headers: dict[str, str]) -> None:
    rotation = app.start(person(ADA_ID, ADA))
    assert app.decide(rotation, {**GRACE_SIGNED_IN, **headers}).status == 200


def test_a_form_of_ours_decides() -> None:
    app = links_app([GRACE])
    rotation = app.start(by=ADA)
    headers = {"x-functions-key": "k", "Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
    fields = {"decision": "approve", "by": GRACE}
    assert app.post_form("rotation_page", headers, fields=fields, id=rotation).status == 303


def test_pages_let_the_browser_name_them_to_us_and_to_nobody_else(app: App) -> None:
    """With `no-referrer` a browser sends `Origin: null`, which the platform's sign-in refuses."""
    page = app.ask("overview_page", "GET", b"", headers=GRACE_SIGNED_IN)
    assert page.headers["Referrer-Policy"] == "same-origin"


def test_a_body_is_still_looked_at(app: App) -> None:
    rotation = app.start(person(ADA_ID, ADA))
    found = app.ask("decide", body=b"[" * 60_000, headers=GRACE_SIGNED_IN, id=rotation)
    assert found.status == 400
    assert json.loads(found.text)["code"] == "request-invalid"
