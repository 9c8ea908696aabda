"""The pages: who sees what, what a form must prove, and that only a POST decides."""

from __future__ import annotations

import asyncio
import copy
import html
import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from rotation.front import archive
from rotation.front.credentials import look
from rotation.front.samples import Glance
from rotation.links import SignedLinks
from rotation.model import wire
from rotation.model.errors import ConfigurationError, Denied
from rotation.model.reasons import Code
from rotation.model.world import Session
from rotation.pages import forms, guides
from rotation.pages import routes as pages
from rotation.pages.mending import serving
from rotation.pages.visitors import visitor
from rotation.settings import Settings
from rotation.telling.recipients import with_recipients
from tests.memory import MemoryEdges
from tests.unit.people import (
    ANNA,
    BEN,
    GROUP,
    LINK_KEY,
    NOW,
    ORIGIN,
    ROTATION,
    FakeClient,
    Instance,
    configuration,
    edges,
    handlers,
    record,
    request,
    shown,
    signed_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import azure.functions as func

    from rotation.config import Configuration

    Poster = Callable[..., func.HttpResponse]

HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}"
ADDRESS = "anna@contoso.example"


class Broken(MemoryEdges):
    """Whose file cannot be read, and would say why."""

    @property
    def configuration(self) -> Configuration:
        raise ConfigurationError("credentials.yaml", ["credentials.payroll-db.vault: is missing"])

    @configuration.setter
    def configuration(self, value: Configuration) -> None:
        pass


class Site:
    """The pages as the host serves them, with one way in: `entra`, `key` or `link`."""

    def __init__(self, way: str, client: FakeClient | None = None, **approval: Any) -> None:
        approval = {"approvers": [ANNA, ADDRESS], **approval}
        self.way = way
        self.client = client or FakeClient()
        settings = Settings(
            sign_in="entra" if way == "entra" else "links",
            easy_auth=way == "entra",
            link_key=LINK_KEY,
            public_url=ORIGIN,
        )
        self.edges = edges(settings, **approval)
        self.functions = handlers(pages.blueprint(self.edges))
        self.headers: dict[str, str] = {}
        self.params: dict[str, str] = {}
        if way == "entra":
            self.headers = signed_in(("oid", ANNA), ("preferred_username", ADDRESS))
        elif way == "key":
            self.params = {"code": "the-function-key"}
        else:
            self.params = {"link": self.link()}

    def link(self, recipient: str = ADDRESS, life: timedelta = timedelta(hours=1)) -> str:
        return SignedLinks(self.edges).mint(ROTATION, recipient, self.edges.now() + life)

    def call(self, name: str, req: func.HttpRequest) -> func.HttpResponse:
        found: func.HttpResponse = asyncio.run(self.functions[name](req=req, client=self.client))
        return found

    def ask(
        self,
        method: str = "GET",
        *,
        form: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        rotation: str = ROTATION,
        **more: Any,
    ) -> func.HttpResponse:
        """The rotation's page."""
        name, path = "rotation_page", f"/api/pages/rotations/{rotation}"
        if self.way == "link":
            name, path = "decision_page", "/api/pages/decision"
        req = request(
            method,
            path,
            params=self.params,
            headers={**self.headers, **(headers or {})},
            form=form,
            id=rotation,
            **more,
        )
        return self.call(name, req)

    def open(self) -> dict[str, str]:
        """The form's fields; the browser keeps the cookie."""
        answer = self.ask()
        cookie = answer.headers.get("Set-Cookie")
        if cookie:
            self.headers["Cookie"] = cookie.partition(";")[0]
        fields = {"token": hidden(answer)}
        return fields | ({"by": ADDRESS} if self.way == "key" else {})

    def choose(self, decision: str = "approve", **fields: str) -> func.HttpResponse:
        """Presses the button of the first form."""
        return self.ask("POST", form={**self.open(), "decision": decision, **fields})

    def form(self, decision: str = "approve", **fields: str) -> dict[str, str]:
        """The fields of the form that confirms a decision."""
        answer = self.choose(decision, **fields)
        assert answer.status_code == 200, visible(answer)
        return hidden_fields(answer)

    def post(self, decision: str = "approve", **fields: str) -> func.HttpResponse:
        """Decides, and says that it is meant."""
        return self.ask("POST", form=self.form(decision, **fields))

    @property
    def untouched(self) -> bool:
        return self.client.raised == [] and self.client.shown["decision"] is None


def text(answer: func.HttpResponse) -> str:
    return answer.get_body().decode()


def visible(answer: func.HttpResponse) -> str:
    """The words of a page, without style, script and markup."""
    bare = re.sub(r"<(style|script)>.*?</\1>", " ", text(answer), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", bare)).split())


def hidden_fields(answer: func.HttpResponse) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text(answer))
    return {name: html.unescape(value) for name, value in found}


def hidden(answer: func.HttpResponse) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{64})"', text(answer))
    assert found, visible(answer)
    return found.group(1)


ways = pytest.mark.parametrize("way", ["entra", "key", "link"])


@ways
def test_the_first_line_says_what_is_asked(way: str) -> None:
    answer = Site(way).ask()
    words = visible(answer)
    assert answer.status_code == 200
    assert re.search(r"<h1>Waiting for (your|a) decision</h1>", text(answer))
    assert "Approve takes the blue login away. Reject goes back to blue." in words


@ways
def test_evidence_is_collected_when_the_page_is_opened(way: str) -> None:
    site = Site(way)
    site.edges.world.database.jobs = [
        Session("orders_green", "api/green", "10.0.0.7", "idle", None),
        Session("orders_blue", "psql", "10.9.9.9", "idle", None),
    ]
    words = visible(site.ask())
    assert "1 test passed through production" in words
    assert "Served by role orders_green" in words
    assert "The blue login is still in use by psql at 10.9.9.9: 1 session" in words
    assert "api-green-1" in words


@ways
def test_evidence_that_cannot_be_had_is_told_and_hides_no_form(way: str) -> None:
    site = Site(way)

    site.edges.calls.failing["database sessions"] = Denied(
        Code.DATABASE_RIGHT, "the database refuses us"
    )
    answer = site.ask()
    assert "the database refuses us" in visible(answer)
    assert "Who uses the blue login is not known" in visible(answer)
    assert hidden(answer)


@ways
@pytest.mark.parametrize(("choice", "word"), [("approve", "approve"), ("reject", "reject")])
def test_a_decision_with_its_comment_is_recorded(way: str, choice: str, word: str) -> None:
    site = Site(way)
    answer = site.post(choice, comment="looks\r\ngood")
    assert answer.status_code == 303
    raised = site.client.raised
    assert len(raised) == 1
    assert raised[0][1]["decision"] == word
    assert raised[0][1]["comment"] == "looks good"
    assert len(raised[0][1]["id"]) == 16  # characters: no two are alike
    assert raised[0][1]["by"] == ADDRESS
    assert raised[0][1]["channel"] == {"key": "page with function key"}.get(
        way, way.replace("entra", "page")
    )


@ways
def test_a_reload_after_a_decision_is_a_get_of_the_same_page(way: str) -> None:
    site = Site(way)
    location = urlsplit(site.post().headers["Location"])
    assert parse_qs(location.query) == {key: [value] for key, value in site.params.items()}
    words = visible(site.ask())
    assert f"Approved by {ADDRESS}" in words
    assert "Your decision" not in words


@ways
def test_a_second_decision_is_refused_and_changes_nothing(way: str) -> None:
    site = Site(way)
    form = site.form()
    assert site.ask("POST", form=form).status_code == 303
    before = copy.deepcopy(site.client.shown)
    again = site.ask("POST", form={**form, "decision": "reject"})
    assert again.status_code == 409
    assert "It was approved already, by anna@contoso.example" in visible(again)
    assert site.client.shown == before


@ways
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_nothing_but_a_post_decides(way: str, method: str) -> None:
    site = Site(way)
    site.ask(method, form={**site.open(), "decision": "approve"})
    assert site.untouched


@ways
@pytest.mark.parametrize("token", [None, "", "0" * 64, "é"])
def test_a_form_without_our_token_decides_nothing(way: str, token: str | None) -> None:
    site = Site(way)
    form = site.form()
    form.pop("token")
    answer = site.ask("POST", form=form if token is None else {**form, "token": token})
    assert answer.status_code == 403
    assert "nothing was decided" in visible(answer)
    assert site.untouched


@ways
def test_a_form_is_bound_to_the_rotation_and_to_the_gate(way: str) -> None:
    site = Site(way)
    form = site.form()
    site.client.shown["approval"] |= {"event": "decision-2", "gate": 2}
    assert site.ask("POST", form=form).status_code == 403
    assert site.untouched


def test_a_form_is_bound_to_the_browser() -> None:
    mine, theirs = Site("entra"), Site("entra")
    form = theirs.form()
    mine.open()
    assert mine.ask("POST", form=form).status_code == 403
    assert mine.untouched


def test_a_form_is_bound_to_whoever_is_signed_in() -> None:
    site = Site("entra", approvers=[ANNA, BEN])
    form = site.form()
    site.headers |= signed_in(("oid", BEN), ("preferred_username", "ben@contoso.example"))
    assert site.ask("POST", form=form).status_code == 403
    assert site.untouched


@ways
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://rotation.example.evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_a_form_from_another_site_decides_nothing(way: str, headers: dict[str, str]) -> None:
    site = Site(way)
    form = site.form()
    answer = site.ask("POST", form=form, headers=headers)
    assert answer.status_code == 403
    assert "another site" in visible(answer)
    assert site.untouched


@ways
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"},
        {"Host": "custom.example", "Origin": "https://custom.example"},
    ],
)
def test_forms_of_our_own_pages_come_through(way: str, headers: dict[str, str]) -> None:
    site = Site(way)
    assert site.ask("POST", form=site.form(), headers=headers).status_code == 303


@ways
@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"decision": "approve"}', "application/json", 415),
        (b"decision=approve", "", 415),
        (b"%ff=%ff&\xff", forms.MEDIA_TYPE, 400),
        (b"token=1&token=2", forms.MEDIA_TYPE, 400),
        (b"a" * 70_000, forms.MEDIA_TYPE, 413),
        (b"&".join(b"f%d=1" % n for n in range(30)), forms.MEDIA_TYPE, 400),
        (b"", forms.MEDIA_TYPE, 403),
    ],
)
def test_form_bad(way: str, body: bytes, kind: str, status: int) -> None:
    site = Site(way)
    site.open()
    answer = site.ask("POST", body=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert site.untouched


@ways
@pytest.mark.parametrize("decision", ["", "maybe", "APPROVE"])
def test_a_form_with_no_decision_is_told_so(way: str, decision: str) -> None:
    site = Site(way)
    assert site.choose(decision).status_code == 400
    assert site.untouched


@ways
def test_a_comment_that_is_too_long_is_told_so(way: str) -> None:
    site = Site(way)
    assert site.choose(comment="x" * 2001).status_code == 400
    assert site.untouched


# -- who they are


@pytest.mark.parametrize(
    ("headers", "easy_auth", "says"),
    [
        ({}, True, "no signed-in principal"),
        (signed_in(("oid", ANNA)), False, "ign-in is not in force"),
        ({"X-MS-CLIENT-PRINCIPAL": "e30="}, True, "cannot be read"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_a_sign_in_that_is_in_force_nobody_gets_in(
    headers: dict[str, str], easy_auth: bool, says: str, method: str
) -> None:
    site = Site("entra")
    site.edges.settings = Settings(sign_in="entra", easy_auth=easy_auth)
    site.headers = headers
    answer = site.ask(method)
    assert answer.status_code == 403
    assert says in visible(answer)
    assert "orders" not in visible(answer)
    assert site.untouched


def test_somebody_who_is_no_approver_sees_why_and_cannot_decide() -> None:
    site = Site("entra", approvers=[GROUP])
    answer = site.ask()
    assert "You cannot decide this" in visible(answer)
    listed = f"approvers of this credential do not include anna@contoso.example; they are {GROUP}"
    assert listed in visible(answer)
    assert "<form" not in text(answer)
    # A form made up with the right token is refused as well.
    who = visitor(site.edges, request(headers=site.headers))
    cookie = str(who.set_cookie).partition(";")[0]
    token = forms.token(who.secret, who.subject, ROTATION, "decision-1")
    form = {"token": token, "decision": "approve"}
    refused = site.ask("POST", form=form, headers={"Cookie": cookie})
    assert refused.status_code == 403
    assert "do not include anna@contoso.example" in visible(refused)
    assert site.untouched


@ways
def test_whoever_asked_for_a_rotation_can_reject_it_only(way: str) -> None:
    requested = {**record()["request"], "requestedBy": ADDRESS, "origin": "manual"}
    site = Site(way, FakeClient(record(request=requested)))
    answer = site.choose("approve")
    assert answer.status_code == 403
    assert "omebody else must approve it" in visible(answer)
    assert site.untouched
    if way != "key":  # with a key the page cannot know yet who it is
        assert re.search(r'value="approve" disabled', text(site.ask()))
    assert site.post("reject").status_code == 303


def test_the_entra_page_needs_no_key_and_the_key_page_one() -> None:
    def levels(way: str) -> dict[str, str]:
        found = pages.blueprint(Site(way).edges)._function_builders  # noqa: SLF001
        built = [builder._function for builder in found]  # noqa: SLF001
        return {
            function.get_function_name(): str(function.get_trigger().auth_level.name)
            for function in built
        }

    assert levels("entra") == {
        "credential_page": "ANONYMOUS",
        "guide_page": "ANONYMOUS",
        "overview_page": "ANONYMOUS",
        "history_page": "ANONYMOUS",
        "rotation_page": "ANONYMOUS",
        "decision_page": "ANONYMOUS",
        "wave_page": "ANONYMOUS",
        "waves_page": "ANONYMOUS",
    }
    assert levels("key") == {
        "credential_page": "FUNCTION",
        "guide_page": "ANONYMOUS",
        "overview_page": "FUNCTION",
        "history_page": "FUNCTION",
        "rotation_page": "FUNCTION",
        "decision_page": "ANONYMOUS",
        "wave_page": "FUNCTION",
        "waves_page": "FUNCTION",
    }


def test_a_key_holder_must_say_who_they_are() -> None:
    site = Site("key")
    assert site.choose(by="").status_code == 400
    assert site.choose(by="policy").status_code == 400
    assert site.choose(by="eve@contoso.example").status_code == 403
    assert site.untouched


def test_a_mistyped_name_keeps_the_comment_and_is_told_who_may() -> None:
    site = Site("key")
    answer = site.choose(by="anna@contoso.exmaple", comment="seen by <both>")
    words = visible(answer)
    assert f"do not include anna@contoso.exmaple; those who can be named are {ADDRESS}" in words
    assert "nothing was decided" in words
    assert ">seen by &lt;both&gt;</textarea>" in text(answer)
    assert f'<option value="{ADDRESS}">' in text(answer)
    assert hidden_fields(answer).keys() == {"token"}
    assert site.untouched


# -- nothing is decided by accident


@ways
@pytest.mark.parametrize("choice", ["approve", "reject"])
def test_a_first_form_decides_nothing_and_is_asked_back(way: str, choice: str) -> None:
    site = Site(way)
    answer = site.choose(choice, comment="looks\r\n<good>")
    words, fields = visible(answer), hidden_fields(answer)
    assert (answer.status_code, site.untouched) == (200, True)
    assert ("This cannot be undone." in words) is (choice == "approve")
    assert f"Yes, {choice}" in words
    assert fields["comment"] == "looks <good>"
    assert site.untouched
    assert site.ask("POST", form=fields).status_code == 303
    assert site.client.raised[0][1]["decision"] == choice


@ways
def test_a_confirmation_is_of_one_choice_only(way: str) -> None:
    site = Site(way)
    assert site.ask("POST", form={**site.form("reject"), "decision": "approve"}).status_code == 403
    assert site.untouched


def red(site: Site) -> None:
    site.edges.world.database.jobs = [Session("orders_blue", "psql", "10.9.9.9", "idle", None)]


@ways
def test_what_speaks_against_an_approval_has_to_be_acknowledged(way: str) -> None:
    site = Site(way)
    red(site)
    form = site.form()
    answer = site.ask("POST", form=form)
    assert answer.status_code == 400
    assert "the evidence speaks against it" in visible(answer)
    assert 'name="acknowledged" value="yes" required' in text(answer)
    assert site.untouched
    assert site.ask("POST", form={**form, "acknowledged": "yes"}).status_code == 303


@ways
def test_evidence_that_cannot_be_had_has_to_be_acknowledged_too(way: str) -> None:
    site = Site(way)
    site.edges.calls.failing["database sessions"] = Denied(Code.DATABASE_RIGHT, "refused")
    assert site.post().status_code == 400
    assert site.untouched


@ways
def test_a_rejection_needs_no_acknowledgement(way: str) -> None:
    site = Site(way)
    red(site)
    assert site.post("reject").status_code == 303


# -- links


def link_page(site: Site, token: str, method: str = "GET") -> func.HttpResponse:
    site.params = {"link": token} if token else {}
    return site.ask(method)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("token", ["", "x", "a.b", "é.é", "A" * 5000])
def test_a_forged_link_shows_nothing(method: str, token: str) -> None:
    site = Site("link")
    answer = link_page(site, token, method)
    assert answer.status_code == 403
    assert "this link is not valid" in visible(answer).lower()
    assert "orders" not in visible(answer)
    assert site.untouched


def expired(client: FakeClient | None = None, **approval: Any) -> Site:
    """A site whose link has expired; mails go by its topic."""
    site = Site("link", client, **approval)
    site.edges.settings = replace(site.edges.settings, topic="https://topic.example/api/events")
    site.edges.clock.now = NOW + timedelta(hours=2)
    return site


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_expired_link_shows_nothing_and_offers_a_new_one(method: str) -> None:
    site = expired()
    answer = site.ask(method, form={"decision": "approve", "token": "x"})
    assert answer.status_code == 410
    assert "This link has expired" in visible(answer)
    assert "Nothing was changed" in visible(answer)
    assert "orders" not in visible(answer)
    assert ADDRESS not in text(answer)
    assert site.untouched
    assert site.client.started == []
    site.edges.settings = replace(site.edges.settings, topic=None)
    assert "<form" not in text(site.ask())


def again(site: Site) -> func.HttpResponse:
    return site.ask("POST", form=hidden_fields(site.ask()))


def test_an_expired_link_has_a_new_one_sent_to_its_own_address_once_an_hour() -> None:
    site = expired(approvers=[ADDRESS, "ben@contoso.example"])
    assert again(site).status_code == 202
    assert again(site).status_code == 202
    (given,) = site.client.started
    event = given["event"]
    assert event["eventType"] == "CredentialRotation.Reminder"
    assert event["data"]["approvers"] == [ADDRESS]
    assert (event["data"]["serves"], event["data"]["replaced"]) == ("green", "blue")
    assert site.params["link"] not in json.dumps(given)
    # What is published has the link, of nobody else.
    approval = site.edges.configuration.credential("orders-db").approval
    (sent,) = with_recipients(site.edges, event, approval)["data"]["recipients"]
    assert sent["approver"] == ADDRESS
    site.params = {"link": parse_qs(urlsplit(sent["link"]).query)["link"][0]}
    assert site.ask().status_code == 200
    # An hour later it may have got lost.
    site.edges.clock.now += timedelta(days=7)
    assert again(site).status_code == 202
    assert len(site.client.started) == 2
    assert site.client.started[1]["event"]["id"] != event["id"]


@pytest.mark.parametrize(
    ("changes", "approvers"),
    [
        ({"outcome": "completed"}, [ADDRESS]),
        ({"approval": None}, [ADDRESS]),
        ({"rotation": "orders-db-another-0123"}, [ADDRESS]),
        ({}, ["ben@contoso.example"]),
        ({}, [ANNA]),
    ],
)
def test_whether_a_new_link_is_sent_is_not_shown(
    changes: dict[str, Any], approvers: list[str]
) -> None:
    sent, unsent = expired(), expired(FakeClient(record(**changes)), approvers=approvers)
    answers = [again(site) for site in (sent, unsent)]
    assert text(answers[0]) == text(answers[1])
    assert answers[0].status_code == answers[1].status_code == 202
    assert (len(sent.client.started), unsent.client.started) == (1, [])


def test_an_expired_link_tells_nothing_of_a_file_that_cannot_be_read() -> None:
    """That names credentials; whether a rotation waits is not told either."""
    sites = expired(), expired(FakeClient(record(outcome="completed")))
    forms_of = [hidden_fields(site.ask()) for site in sites]
    for site in sites:
        site.edges.__class__ = Broken
    answers = [site.ask("POST", form=form) for site, form in zip(sites, forms_of, strict=True)]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert text(answers[0]) == text(answers[1])
    assert "payroll" not in text(answers[0])


def test_an_expired_link_does_not_show_that_nobody_may_decide_any_more() -> None:
    """The file lost the credential, and the rotation has no entry of its own."""
    site = expired()
    site.edges.configuration = configuration().model_copy(update={"credentials": {}})
    assert again(site).status_code == 202
    assert site.client.started == []


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}]
)
def test_another_site_asks_for_no_link(headers: dict[str, str]) -> None:
    site = expired()
    answer = site.ask("POST", form=hidden_fields(site.ask()), headers=headers)
    assert answer.status_code == 403
    assert site.client.started == []


def test_a_form_without_its_token_and_a_get_ask_for_no_link() -> None:
    site = expired()
    form = hidden_fields(site.ask())
    for wrong in ({**form, "token": "0" * 64}, {**form, "do": "again"}):
        assert site.ask("POST", form=wrong).status_code == 410
    assert site.ask("GET", form=form).status_code == 410
    assert site.client.started == []


def test_a_link_of_somebody_who_is_no_approver_any_more_decides_nothing() -> None:
    site = Site("link")
    site.params = {"link": site.link("former@contoso.example")}
    answer = site.ask()
    assert "You cannot decide this" in visible(answer)
    token = forms.token(site.params["link"], "former@contoso.example", ROTATION, "decision-1")
    refused = site.ask("POST", form={"token": token, "decision": "approve"})
    assert refused.status_code == 403
    assert site.untouched


def test_a_link_opens_its_own_rotation_only_and_leads_nowhere_else() -> None:
    site = Site("link")
    body = text(site.ask(rotation="orders-db-some-other"))
    assert ROTATION in body
    assert set(re.findall(r'href="(/[^"?]*)', body)) == {"/api/pages/decision"}


def test_a_link_works_in_no_app_that_signs_people_in() -> None:
    site = Site("link")
    site.edges.settings = Settings(sign_in="entra", easy_auth=True, link_key=LINK_KEY)
    answer = site.ask()
    assert answer.status_code == 403


def test_a_vault_that_is_down_is_not_explained_to_anybody_who_asks() -> None:
    site = Site("link")
    site.functions = handlers(pages.blueprint(site.edges))

    site.edges.calls.failing["vault versions"] = Denied(
        Code.DATABASE_RIGHT, "Key Vault kv-keys refuses us"
    )
    answer = site.ask()
    assert answer.status_code == 503
    assert "kv-keys" not in text(answer)


# -- what a page holds


@ways
def test_every_answer_is_locked_down(way: str) -> None:
    site = Site(way)
    answers = [site.ask(), site.ask("POST", body=b"{}"), site.post()]
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Cache-Control"] == "no-store"


@ways
def test_nothing_is_loaded_from_elsewhere_and_nothing_is_inline(way: str) -> None:
    body = text(Site(way).ask())
    assert not re.search(r'(src|href)="(https?:)?//', body)
    assert not re.search(r"\son\w+=|\sstyle=|javascript:", body.split("</style>")[1])


@pytest.mark.guarantee(8)
@ways
def test_hostile_values_are_shown_as_they_are(way: str) -> None:
    hostile = record(
        request={**record()["request"], "requestedBy": HOSTILE, "reason": HOSTILE},
        workloads={HOSTILE: "test"},
        version=HOSTILE,
        steps=[
            {
                "step": "plan",
                "since": NOW.isoformat(),
                "until": NOW.isoformat(),
                "failure": HOSTILE,
            }
        ],
    )
    hostile["approval"]["ignored"] = [HOSTILE]
    site = Site(way, FakeClient(hostile))
    site.edges.world.database.jobs = [Session("orders_blue", HOSTILE, HOSTILE, "idle", None)]
    answer = site.ask()
    assert answer.status_code == 200
    assert "<script>alert" not in text(answer)
    assert visible(answer).count(HOSTILE) >= 7


def test_a_hostile_comment_is_shown_as_it_is() -> None:
    site = Site("entra")
    site.post(comment=HOSTILE)
    assert HOSTILE in visible(site.ask())
    assert "<script>alert" not in text(site.ask())


def test_live_progress_collects_no_evidence() -> None:
    site = Site("entra")

    site.edges.calls.failing["database sessions"] = AssertionError("it was collected")
    assert site.ask(headers={"X-Live": "1"}).status_code == 200


def test_a_live_overview_asks_no_vault_and_tells_what_changed() -> None:
    site = Site("entra")

    def phase(answer: func.HttpResponse) -> str:
        return str(re.findall(r'data-phase="([^"]*)"', text(answer)))

    before = phase(overview(site))
    before_it = list(site.edges.calls.made)
    live = request(headers={**site.headers, "X-Live": "1"})
    assert phase(site.call("overview_page", live)) == before
    assert site.edges.calls.made == before_it
    site.client.shown |= {"outcome": "completed", "outcomeReason": "approved", "approval": None}
    assert phase(site.call("overview_page", live)) != before


def test_an_unknown_rotation_is_not_found() -> None:
    assert Site("entra").ask(rotation="orders-db-none").status_code == 404


def test_a_decision_that_nobody_confirms_is_said_to_be_on_its_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site("entra")
    site.client.deaf = True
    form = site.form()
    ticks = iter(range(0, 1000, 5))
    monkeypatch.setattr(asyncio.BaseEventLoop, "time", lambda _: float(next(ticks)))
    answer = site.ask("POST", form=form)
    assert answer.status_code == 202
    assert "handed over" in visible(answer)


def test_a_fault_of_ours_shows_no_more_than_its_type() -> None:
    site = Site("entra")
    site.client.shown["steps"] = [{"step": "plan", "since": "password hunter2", "until": None}]
    answer = site.ask()
    assert answer.status_code == 500
    assert "hunter2" not in text(answer)


# -- the overview


def overview(site: Site, **params: str) -> func.HttpResponse:
    req = request(headers=site.headers, params={**site.params, **params})
    return site.call("overview_page", req)


@pytest.mark.parametrize("way", ["entra", "key"])
def test_the_overview_says_first_what_needs_a_person(way: str) -> None:
    answer = overview(Site(way))
    assert "<h1>1 rotation needs you</h1>" in text(answer)
    assert "orders-db Waiting for a decision since 02:55:00 UTC" in visible(answer)
    assert "expires in 20 days" in visible(answer)


class Patient(FakeClient):
    """A hub in which the rotation began long ago, and which answers what is asked for."""

    BEGAN = NOW - timedelta(days=45)

    async def get_status_by(self, **asked: Any) -> list[Instance]:
        found = replace(self.instance, created_time=self.BEGAN)
        standing = asked.get("runtime_status")
        there = asked["created_time_from"] <= self.BEGAN <= asked["created_time_to"]
        return [found] if there and (not standing or found.runtime_status in standing) else []


def test_the_overview_counts_what_has_waited_for_longer_than_the_hub_keeps_what_ended() -> None:
    site = Site("entra", Patient())
    answer = overview(site)
    assert "<h1>1 rotation needs you</h1>" in text(answer)
    phase = re.findall(r'data-phase="([^"]*)"', text(answer))
    live = site.call("overview_page", request(headers={**site.headers, "X-Live": "1"}))
    assert re.findall(r'data-phase="([^"]*)"', text(live)) == phase != [""]


def calm(way: str = "entra", **changes: Any) -> Site:
    """After a rotation that went well, a moment ago."""
    ended = {"outcome": "completed", "outcomeReason": "approved by x", "stage": "done"}
    site = Site(way, FakeClient(record(**{**ended, "approval": None, **changes})))
    credential = site.edges.configuration.credential("orders-db")
    version = site.edges.world.current(credential, "green")
    assert version is not None
    version.expires = NOW + timedelta(days=80)
    return site


def test_the_overview_is_calm_when_nothing_is_asked() -> None:
    answer = overview(calm())
    assert "<h1>Nothing needs you</h1>" in text(answer)
    assert "Done: green serves, blue is retired" in visible(answer)


@pytest.mark.parametrize("outcome", ["aborted", "rolled-back", "refused", "needs-attention"])
def test_the_overview_counts_what_did_not_get_there(outcome: str) -> None:
    answer = overview(calm(outcome=outcome))
    assert "<h1>1 rotation needs you</h1>" in text(answer)
    assert "Nothing needs you" not in text(answer)


def test_the_overview_counts_what_cannot_be_read() -> None:
    site = calm()
    site.client.shown["stage"] = "of another time"
    assert "<h1>1 rotation needs you</h1>" in text(overview(site))


def test_the_overview_is_not_calm_while_something_stands_in_a_rotations_way() -> None:
    site = calm()
    site.edges.world.database.roles["orders_green"].login = False
    answer = overview(site)
    assert "<h1>1 credential needs you</h1>" in text(answer)
    assert "orders-db a rotation would be refused" in visible(answer)
    assert 'href="/api/pages/credentials/orders-db"' in text(answer)


def test_a_live_look_that_has_seen_no_credential_does_not_say_that_nothing_needs_anybody() -> None:
    site = calm()
    live = request(headers={**site.headers, "X-Live": "1"})
    assert 'id="state"' not in text(site.call("overview_page", live))


def test_the_next_rotation_is_said_with_how_that_was_worked_out() -> None:
    site = calm("key")
    says = (
        "Secret orders-db-green expires on 12 Feb 2027, 03:00 UTC. The daily sweep finds it due 30 "
        "days before (rotateBefore), and Key Vault announces it 30 days before."
    )
    for answer in (overview(site), examined(site)):
        assert says in visible(answer)
        assert "due 13 Jan 2027, 03:00 UTC" in visible(answer)


def test_a_credential_that_cannot_be_looked_at_hides_no_other() -> None:
    site = Site("entra")

    site.edges.calls.failing["database roles"] = Denied(
        Code.DATABASE_RIGHT, "the database refuses us"
    )
    answer = overview(site)
    assert answer.status_code == 200
    assert "the database refuses us" in visible(answer)


def test_what_stands_in_the_way_is_shown_with_the_command_that_mends_it() -> None:
    site = Site("entra", FakeClient(record(outcome="completed", approval=None, stage="done")))
    site.edges.world.database.roles["orders_green"].login = False
    shown = visible(overview(site))
    assert "a rotation would be refused looked at just now" in shown
    assert "refuses role orders_green active-role-nologin" in shown
    assert "the green slot serves and its role orders_green has NOLOGIN" in shown
    assert "ALTER ROLE ... LOGIN" in shown
    command = (
        "psql --host=pg --port=5432 --dbname=orders '--command=ALTER ROLE \"orders_green\" LOGIN'"
    )
    assert command in shown


def test_the_overview_says_how_old_its_look_is_and_has_a_link_for_a_new_one() -> None:
    ended = record(outcome="completed", approval=None, stage="done")
    site = Site("key", FakeClient(ended))
    overview(site)
    site.edges.clock.now += timedelta(minutes=4)
    site.edges.world.database.roles["orders_green"].login = False
    assert "at rest looked at 4 min 0 s ago" in visible(overview(site))
    link = re.search(r'href="(/api/pages[?][^"]*fresh=true)"', text(overview(site)))
    assert link is not None
    asked = {key: one for key, (one,) in parse_qs(urlsplit(html.unescape(link[1])).query).items()}
    assert asked == {"code": "the-function-key", "page": "1", "fresh": "true"}
    fresh = overview(site, fresh="true")
    assert "a rotation would be refused looked at just now" in visible(fresh)
    again = re.search(r'http-equiv="refresh" content="30; url=([^"]*)"', text(fresh))
    assert again is not None
    assert "fresh" not in again[1]


def test_links_carry_the_key_on_only_where_it_came_in_the_query() -> None:
    site = Site("key")
    assert f"/api/pages/rotations/{ROTATION}?code=the-function-key" in text(overview(site))
    site.params, site.headers = {}, {"x-functions-key": "the-function-key"}
    assert "the-function-key" not in text(overview(site))


@pytest.mark.parametrize("page", ["0", "-1", "x", "1.5", "²", "99999999999"])
def test_overview_page_bad(page: str) -> None:
    assert overview(Site("entra"), page=page).status_code in {400, 404}


# -- a credential


def examined(site: Site, name: str = "orders-db") -> func.HttpResponse:
    req = request(headers=site.headers, params=site.params, name=name)
    return site.call("credential_page", req)


@pytest.mark.parametrize("way", ["entra", "key"])
def test_a_credentials_page_says_whether_it_would_rotate_and_changes_nothing(way: str) -> None:
    site = Site(way, FakeClient(record(outcome="completed", approval=None, stage="done")))
    answer = examined(site)
    assert answer.status_code == 200
    assert "Nothing was changed" in visible(answer)
    assert "Try everything again" in visible(answer)
    assert "pg_hba.conf" in visible(answer)
    assert site.edges.calls.writes == []
    if way == "key":  # the button carries on what let the visitor in
        assert 'name="code"' in text(answer)


def test_a_credentials_page_has_what_refuses_with_its_command() -> None:
    site = Site("entra", FakeClient(record(outcome="completed", approval=None, stage="done")))
    site.edges.world.database.foreign = {"orders_blue", "orders_green"}
    shown = visible(examined(site))
    assert "A rotation would be refused" in shown
    assert "role-not-administered" in shown
    assert "WITH ADMIN TRUE" in shown


def test_a_page_of_no_credential() -> None:
    assert examined(Site("entra"), "no-such").status_code == 404


# -- the history


def past(site: Site, **params: str) -> func.HttpResponse:
    req = request(headers=site.headers, params={**site.params, **params})
    return site.call("history_page", req)


def kept_by_the_store(site: Site, number: int) -> list[str]:
    """Rotations that the hub has forgotten, one a day."""
    names = [f"orders-db-{one}-a" for one in range(number)]
    for age, name in enumerate(names, start=40):
        one = shown(outcome="completed", stage="done", approval=None)
        one.rotation = name
        one.created = wire.moment(NOW - timedelta(days=age))
        one.runtime_status = "Completed"
        archive.write(site.edges.store("records"), one)
    return names


@pytest.mark.parametrize("way", ["entra", "key"])
def test_the_history_has_what_the_hub_has_forgotten_in_pages(way: str) -> None:
    site = Site(way)
    names = kept_by_the_store(site, 30)
    answer = past(site)
    listed = re.findall(r"/api/pages/rotations/([\w-]+)", text(answer))
    assert listed == [ROTATION, *names[:24]]
    older = html.unescape(re.findall(r'href="([^"]+)" rel="next"', text(answer))[0])
    query = {key: found[0] for key, found in parse_qs(urlsplit(older).query).items()}
    assert ("code" in query) is (way == "key")
    answer = past(site, **query)
    assert re.findall(r"/api/pages/rotations/([\w-]+)", text(answer)) == names[24:]
    assert 'rel="next"' not in text(answer)
    assert site.ask(rotation=names[29]).status_code == 200
    assert "History of orders-db" in visible(overview(site))


def test_the_history_is_searched_by_credential_and_time() -> None:
    site = Site("entra")
    kept_by_the_store(site, 3)
    assert "None." in visible(past(site, credential="other"))
    day = (NOW - timedelta(days=41)).date()
    answer = past(site, credential="orders-db", since=f"{day}", until=f"{day + timedelta(days=1)}")
    assert re.findall(r"/api/pages/rotations/([\w-]+)", text(answer)) == ["orders-db-1-a"]
    assert f'value="{day}"' in text(answer)
    assert past(site, since="yesterday").status_code == 400
    assert past(site, after="x").status_code == 400
    hostile = '"><script>alert(1)</script>'
    assert hostile not in text(past(site, credential=hostile))


def test_the_history_says_what_is_missing_in_it() -> None:
    site = Site("entra")
    kept_by_the_store(site, 1)
    site.edges.calls.failing["storage"] = Denied(Code.STORAGE_DENIED, "the account refuses us")
    answer = past(site)
    assert "Not all can be shown: the account refuses us" in visible(answer)
    assert ROTATION in text(answer)
    site.edges.world.stores = None
    assert "no storage account of its own" in visible(past(site))
    answer = site.ask(rotation="orders-db-0-a")
    assert answer.status_code == 404
    assert "keeps finished ones for 30 days" in visible(answer)


def test_a_record_that_was_kept_and_cannot_be_read_has_a_page() -> None:
    site = Site("entra")
    site.edges.store("records").create("by-id/orders-db-0-a.json", b"of another time")
    answer = site.ask(rotation="orders-db-0-a")
    assert answer.status_code == 200
    assert "cannot be read by this release" in visible(answer)


def test_nobody_decides_about_a_rotation_that_was_kept() -> None:
    site = Site("entra")
    kept_by_the_store(site, 1)
    answer = site.ask("POST", rotation="orders-db-0-a", form={"decision": "approve", "token": "x"})
    assert answer.status_code == 409
    assert site.client.raised == []


# -- what needs somebody


def both_alive(way: str = "entra", *codes: Code, **changes: Any) -> Site:
    why = [{"code": one, "text": f"the {one}", "remedy": "mend it"} for one in codes]
    ended = {"outcome": "needs-attention", "outcomeReason": "x", "reasons": why, "stage": "done"}
    return Site(way, FakeClient(record(**{**ended, "approval": None, **changes})))


@ways
def test_a_rotation_that_needs_attention_says_which_slot_serves_now(way: str) -> None:
    site = both_alive(way)
    assert "Green serves all workloads. Seen 03:00:00 UTC , just now" in visible(site.ask())
    site.edges.clock.now += timedelta(seconds=9)
    assert "Green serves all workloads. Seen 03:00:00 UTC , 9.0 s ago" in visible(site.ask())


def test_that_it_is_not_known_which_slot_serves_is_said_with_why() -> None:
    site = both_alive()
    site.edges.calls.failing["database roles"] = Denied(Code.DATABASE_RIGHT, "refused")
    words = visible(site.ask())
    assert "Which slot serves is not known" in words
    assert "refused" in words
    gone = visible(both_alive(credential="gone").ask())
    assert "Credentials.yaml has no credential gone any more" in gone


def test_workloads_that_disagree_are_listed() -> None:
    site = both_alive()
    site.edges.world.clusters["weu"].services["orders", "api"].selector.pop("slot")
    words = visible(site.ask())
    assert "The workloads disagree: no slot serves" in words
    assert "the workloads do not agree on the active slot" in words
    assert "kubectl patch --namespace orders service/api" in words


@pytest.mark.parametrize(
    ("serves", "words"),
    [({"blue", "green"}, "both slots serve"), ({"blue"}, "blue serves"), ((), "no slot serves")],
)
def test_what_disagrees_says_which_slots_serve(serves: Collection[str], words: str) -> None:
    seen = look(both_alive().edges, "orders-db", None)
    slots = {
        slot: msgspec.structs.replace(one, serves=slot in serves)
        for slot, one in seen.slots.items()
    }
    found = serving(Glance(msgspec.structs.replace(seen, active=None, slots=slots)), NOW)
    assert found.text == f"The workloads disagree: {words}"


def test_what_needs_somebody_leads_to_the_guide_and_to_a_new_rotation() -> None:
    answer = both_alive("entra", Code.ROLLING_BACK_FAILED, Code.ENDED_OUTSIDE).ask()
    for code in (Code.ROLLING_BACK_FAILED, Code.ENDED_OUTSIDE):
        assert f'href="/api/pages/guides/recovery#code-{code}">{code}</a>' in text(answer)
        assert f"the {code} mend it" in visible(answer)
    part = "/api/pages/guides/recovery#failed-terminated-or-stuck-orchestrations"
    assert part in text(answer)
    assert "Start again…" in visible(answer)
    assert "#needs-attention" in text(both_alive().ask())
    aborted = text(both_alive(outcome="aborted").ask())
    assert "#how-rotations-end" in aborted
    assert "serves all workloads" not in aborted


# -- guides


def guide(name: str) -> func.HttpResponse:
    site = Site("link")
    found: func.HttpResponse = asyncio.run(site.functions["guide_page"](req=request(name=name)))
    return found


def test_the_guide_to_recovery_is_there_with_all_codes() -> None:
    answer = guide("recovery")
    assert answer.status_code == 200
    ids = re.findall(r' id="([^"]+)"', text(answer))
    assert len(ids) == len(set(ids))
    assert {f"code-{code}" for code in Code} <= set(ids)
    assert "make generated" not in text(answer)
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


GUIDES = sorted(path.stem for path in guides.FOLDER.glob("*.md"))


@pytest.mark.parametrize("name", GUIDES)
def test_links_between_guides_lead_to_what_is_there(name: str) -> None:
    body = text(guide(name))
    assert not re.search(r"<img|\sstyle=|\son\w+=", body.split("</style>")[1])
    for target in re.findall(r'<a href="([^"]+)"', body.partition("<main")[2]):
        if target.startswith("https://"):
            continue
        path, _, anchor = html.unescape(target).partition("#")
        assert not path or path.startswith("/api/pages/guides/"), target
        there = body if not path else text(guide(path.rpartition("/")[2]))
        assert not anchor or f' id="{anchor}"' in there, target


@pytest.mark.parametrize("name", ["no-such", "..", "../secrets", "recovery.md", "Recovery", ""])
def test_a_guide_that_is_none(name: str) -> None:
    assert guide(name).status_code == 404


def test_a_remedy_is_shown_as_the_guide_has_it_and_leads_to_guides_alone() -> None:
    site = both_alive()
    remedy = (
        "`az x`: [onboarding.md](onboarding.md), [look](#look), [out](https://evil.example), "
        "[run](javascript:alert(1)) <img src=x> <https://evil.example/2>"
    )
    site.client.shown["reasons"] = [{"code": "of-another", "text": "t", "remedy": remedy}]
    body = text(site.ask())
    assert "<code>az x</code>" in body
    assert '<a href="/api/pages/guides/onboarding">onboarding.md</a>' in body
    assert '<a href="/api/pages/guides/recovery#look">look</a>' in body
    assert not re.search(r'href="(https|javascript)', body)
    assert "&lt;img src=x&gt;" in body
    assert "#code-of-another" not in body


def test_after_a_fault_nobody_is_told_that_nothing_was_changed() -> None:
    site = Site("entra")
    site.client.shown["steps"] = [{"step": "plan", "since": "never", "until": None}]
    answer = site.ask()
    assert answer.status_code == 500
    assert "Nothing was changed" not in visible(answer)
    assert "look whether it counted" in visible(answer)
