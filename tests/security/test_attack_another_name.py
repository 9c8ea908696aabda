"""Four eyes under another name: whoever asked for a rotation approves it as somebody else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotation.config import parse
from rotation.decisions.verdict import requester, verdict
from rotation.links import SignedLinks
from rotation.model import wire
from rotation.model.errors import ConfigurationError
from rotation.model.record import Decision, Request
from tests.security.attacked import (
    ADA,
    ADA_ID,
    GRACE,
    GRACE_ID,
    NOW,
    STRONG,
    App,
    application,
    entra_app,
    links_app,
    person,
    with_key,
)

OTHER = "ada.lovelace@contoso.example"  # hers too: mail goes there
GROUP = "a0c8e6f2-0000-4000-8000-000000000000"
ROLE = "Rotation.Approve"


def refused(app: App, rotation: str, headers: dict[str, str], **body: Any) -> str:
    """Why, after nothing was decided and no event was raised."""
    found = app.decide(rotation, headers, **body)
    assert found.status == 403, found.text
    assert app.decided(rotation) is None
    assert app.client.events == []
    return str(found.json["detail"])


@pytest.mark.guarantee(6)
def test_started_signed_in_and_approved_by_mail_under_another_address() -> None:
    app = entra_app([ADA_ID, OTHER])
    rotation = app.start(person(ADA_ID, ADA))
    why = refused(app, rotation, application(), by=OTHER)
    assert OTHER in why


def test_started_and_approved_with_tokens_that_have_different_names() -> None:
    app = entra_app([ADA_ID])
    rotation = app.start(person(ADA_ID, ADA))
    refused(app, rotation, person(ADA_ID, name="Ada Lovelace"))


def test_started_with_a_token_that_has_only_a_display_name() -> None:
    app = entra_app([ADA_ID, ADA])
    rotation = app.start(person(ADA_ID, name="Ada Lovelace"))
    refused(app, rotation, application(), by=ADA)


def test_started_by_a_program_and_approved_signed_in_under_another_name() -> None:
    app = entra_app([ADA_ID])
    answer = app.ask(
        "start_rotation", body={"credential": "orders-db", "by": OTHER}, headers=application()
    )
    if answer.status == 202:
        refused(app, answer.json["rotation"], person(ADA_ID, ADA))
    else:
        assert (answer.status, answer.json["field"]) == (400, "by")


@pytest.mark.parametrize("by", ["", "somebody", "Ada Lovelace", ROLE])
def test_started_with_a_key_by_somebody_who_cannot_be_compared(by: str) -> None:
    """Found out at the start: it could be approved by anybody otherwise, or by nobody."""
    app = links_app([ADA, GRACE])
    answer = app.ask("start_rotation", body={"credential": "orders-db", "by": by or None})
    assert (answer.status, answer.json["field"]) == (400, "by")
    assert app.client.instances == {}


def test_started_with_a_key_under_an_object_id_and_approved_by_link() -> None:
    app = links_app([ADA, GRACE])
    rotation = app.start(by=ADA_ID)
    assert "no approver can be compared" in refused(app, rotation, {}, by=ADA)


def test_an_address_that_is_written_down_as_hers_is_hers() -> None:
    app = links_app([{"id": ADA_ID, "address": ADA}, {"id": ADA_ID, "address": OTHER}, GRACE])
    rotation = app.start(by=ADA)
    assert "asked for this rotation" in refused(app, rotation, {}, by=OTHER)
    assert "cannot be compared" in refused(app, rotation, {}, by=GRACE)


class TestWhoMay:
    APPROVERS = ({"id": ADA_ID, "address": OTHER}, {"id": GRACE_ID, "address": GRACE}, ROLE, GROUP)

    def app(self) -> App:
        return entra_app([*self.APPROVERS, "joan@contoso.example"])

    @pytest.mark.guarantee(6)
    def test_whoever_asked_may_under_no_name(self) -> None:
        app = self.app()
        rotation = app.start(person(ADA_ID, ADA))
        for headers, body in (
            (application(), {"by": OTHER}),
            (person(ADA_ID, name="Ada"), {}),
            (person(ADA_ID.upper(), "ada_ext@other.example", roles=ROLE), {}),
        ):
            assert "asked for this rotation" in refused(app, rotation, headers, **body)

    def test_whoever_cannot_be_compared_is_told_why_and_who_may(self) -> None:
        app = self.app()
        rotation = app.start(person(ADA_ID, ADA))
        why = refused(app, rotation, application(), by="joan@contoso.example")
        assert why.endswith(f"it can be approved by {GRACE}, {ROLE}, {GROUP}")
        assert ADA in why

    @pytest.mark.parametrize("headers", [person(GRACE_ID), person("f" * 36, "x@y", roles=ROLE)])
    def test_others_who_sign_in_may(self, headers: dict[str, str]) -> None:
        app = self.app()
        assert app.decide(app.start(person(ADA_ID, ADA)), headers).status == 200

    def test_others_may_by_mail_if_it_is_written_down_who_they_are(self) -> None:
        app = self.app()
        found = app.decide(app.start(person(ADA_ID, ADA)), application(), by=GRACE)
        assert found.status == 200
        assert found.json["decision"]["objectId"] == GRACE_ID

    def test_everybody_among_them_may_reject(self) -> None:
        for headers, body in (
            (person(ADA_ID, ADA), {}),
            (application(), {"by": OTHER}),
            (application(), {"by": "joan@contoso.example"}),
        ):
            app = self.app()
            rotation = app.start(person(ADA_ID, ADA))
            assert app.decide(rotation, headers, decision="reject", **body).status == 200

    def test_the_owner_may_allow_it(self) -> None:
        app = entra_app([OTHER], allowRequester=True)
        rotation = app.start(person(ADA_ID, ADA))
        assert app.decide(rotation, application(), by=OTHER).status == 200

    def test_nobody_asked_for_what_came_by_itself(self) -> None:
        app = self.app()
        rotation = app.start(person(ADA_ID, ADA))
        instance = app.client.instances[rotation]
        instance.input_ = {**instance.input_, "origin": "sweep", "requestedBy": "daily sweep"}
        assert app.decide(rotation, application(), by=OTHER).status == 200

    def test_a_program_that_asks_for_itself_is_an_identity_too(self) -> None:
        app = self.app()
        rotation = app.start(application())
        assert app.decide(rotation, person(GRACE_ID)).status == 200

    def test_the_page_says_it_and_has_no_way_to_approve(self) -> None:
        app = with_links(self.APPROVERS)
        rotation = app.start(by=ADA_ID)
        page = app.ask("decision_page", "GET", b"", params={"link": app.link(rotation, OTHER)})
        assert "asked for this rotation" in page.text
        assert 'value="approve" disabled' in page.text
        joan = app.link(rotation, "joan@contoso.example")
        page = app.ask("decision_page", "GET", b"", params={"link": joan})
        assert "cannot be compared with" in page.text
        assert f"it can be approved by {GRACE}" in page.text
        assert 'value="approve" disabled' in page.text


def with_links(approvers: Any) -> Any:
    """The app with signed links, and what makes them."""
    app = links_app([*approvers, "joan@contoso.example"])
    with_key(app.edges, STRONG)
    links = SignedLinks(app.edges)
    app.link = lambda rotation, to: links.mint(rotation, to, NOW + timedelta(hours=1))  # type: ignore[attr-defined] # for this test
    return app


SIGNED: dict[str, Any] = {
    "requestedBy": ADA,
    "knownAs": [ADA, ADA_ID],
    "objectId": ADA_ID,
    "signedIn": True,
}


class TestWhereItCounts:
    """The orchestrator compares the same sets, whoever raised the event."""

    def request(self, **asked: Any) -> Request:
        known = {"rotation": "r", "credential": "c", "reason": "", "origin": "manual", **asked}
        return wire.read(Request, known)

    def event(self, by: str, **more: Any) -> dict[str, Any]:
        return {"decision": "approve", "by": by, "channel": "x", **more}

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize(
        "event",
        [
            {"by": OTHER},
            {"by": OTHER, "signedIn": True},
            {"by": "Ada Lovelace", "objectId": ADA_ID.upper(), "signedIn": True},
            {"by": OTHER, "knownAs": [OTHER, f" {ADA.upper()}"], "objectId": GRACE_ID},
            {"by": OTHER, "objectId": 7},
            {"by": OTHER, "objectId": "", "knownAs": "x"},
        ],
    )
    def test_what_does_not_count(self, event: dict[str, Any]) -> None:
        found = verdict(self.event(**event), requester(self.request(**SIGNED)))
        assert isinstance(found, str)
        assert "may not approve it" in found

    @pytest.mark.parametrize("choice", ["approve", "reject"])
    def test_what_counts(self, choice: str) -> None:
        event = {**self.event(GRACE, objectId=GRACE_ID, signedIn=True), "decision": choice}
        assert isinstance(verdict(event, requester(self.request(**SIGNED))), Decision)

    def test_a_request_of_an_older_release_has_only_a_name(self) -> None:
        asked = requester(self.request(requestedBy=ADA))
        assert isinstance(verdict(self.event(ADA), asked), str)
        assert isinstance(verdict(self.event(GRACE, objectId=GRACE_ID, signedIn=True), asked), str)
        assert isinstance(verdict(self.event(GRACE), asked), Decision)

    @given(
        st.one_of(st.none(), st.text(), st.integers()),
        st.one_of(st.none(), st.lists(st.one_of(st.text(), st.integers())), st.text()),
        st.one_of(st.none(), st.booleans(), st.text()),
    )
    def test_no_event_of_any_shape_lets_the_same_id_through(
        self, name: Any, names: Any, signed: Any
    ) -> None:
        event = {"decision": "approve", "by": name, "knownAs": names, "signedIn": signed}
        event["objectId"] = ADA_ID
        asked = requester(self.request(**SIGNED))
        assert isinstance(verdict(event, asked), str)


@pytest.mark.parametrize(
    ("approvers", "problem"),
    [
        ("[{id: ada, address: ada@contoso.example}]", "object id in Entra"),
        (f"[{{id: {ADA_ID}}}]", "both `id` and `address`"),
        ("[{address: ada@contoso.example}]", "both `id` and `address`"),
        (f"[{{id: {ADA_ID}, address: ada}}]", "must be a mail address"),
        (f"[{{id: {ADA_ID}, address: ada@x.example, name: Ada}}]", "no such key"),
        (
            f"[{{id: {ADA_ID}, address: a@x.example}}, {{id: {GRACE_ID}, address: A@x.example}}]",
            "with two ids",
        ),
        ("['@']", "must be a mail address"),
        ("['']", "must be a text of one line"),
        ("[7]", "approvers"),
    ],
)
def test_a_person_is_written_with_both(approvers: str, problem: str) -> None:
    file = f"clusters: {{}}\ncredentials:\n  a1:\n    approval:\n      approvers: {approvers}\n"
    with pytest.raises(ConfigurationError) as caught:
        parse(file)
    found = [line for line in caught.value.problems if ".approval.approvers" in line]
    assert found
    assert problem in " ".join(found)
