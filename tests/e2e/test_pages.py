"""The pages over HTTP: what crosses the wire, and what is kept of it."""

from __future__ import annotations

import html
import re
import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import psycopg
import pytest
import urllib3
from psycopg import sql

from local import engines, world
from local.process import wait_until
from rotation.secrecy import new_password
from tests.e2e import site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import Stack


ADA, GRACE = world.APPROVERS


class Browser:
    """Keeps the cookie and posts forms, as a browser without JavaScript does."""

    def __init__(self, stack: Stack, **headers: str) -> None:
        self._url = stack.components["host"].url
        self._headers = dict(headers)
        self._http = urllib3.PoolManager(retries=False)

    def get(self, path: str, method: str = "GET") -> urllib3.BaseHTTPResponse:
        answer = self._http.request(method, self._url + path, headers=self._headers, redirect=False)
        cookie = answer.headers.get("Set-Cookie")
        if cookie:
            self._headers["Cookie"] = cookie.partition(";")[0]
        return answer

    def post(self, path: str, **form: str) -> urllib3.BaseHTTPResponse:
        kind = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Sec-Fetch-Site": "same-origin",
        }
        return self._http.request(
            "POST",
            self._url + path,
            body=urlencode(form),
            headers={**self._headers, **kind, "Origin": self._url},
            redirect=False,
        )

    def token(self, path: str) -> str:
        found = re.search(rb'name="token" value="([0-9a-f]{64})"', self.get(path).data)
        assert found
        return found.group(1).decode()

    def decide(self, path: str, decision: str, **form: str) -> urllib3.BaseHTTPResponse:
        """Presses the button, and says that it is meant, whatever the evidence says."""
        asked = self.post(path, token=self.token(path), decision=decision, **form)
        return self.confirm(path, asked) if asked.status == 200 else asked

    def confirm(self, path: str, asked: urllib3.BaseHTTPResponse) -> urllib3.BaseHTTPResponse:
        found = re.findall(rb'<input type="hidden" name="(\w+)" value="([^"]*)">', asked.data)
        fields = {name.decode(): html.unescape(value.decode()) for name, value in found}
        return self.post(path, **fields, acknowledged="yes")


@pytest.fixture
def linked(stack: Stack) -> Iterator[Stack]:
    with site.with_links(stack) as found:
        yield found


@pytest.fixture
def signed(stack: Stack) -> Iterator[Stack]:
    with site.with_sign_in(stack) as found:
        yield found


@pytest.mark.guarantee(6)
def test_a_mailed_link_decides_once_and_is_kept_nowhere(linked: Stack) -> None:
    rotation = site.asked(linked, by=GRACE)
    link, browser = site.mailed(linked, rotation), Browser(linked)
    # Mail scanners look at links, again and again.
    for method in ("GET", "GET", "HEAD", "OPTIONS"):
        browser.get(link, method)
    assert linked.client.rotation(rotation)["decision"] is None

    token = browser.token(link)
    asked = browser.post(link, token=token, decision="approve", comment="fine")
    assert asked.status == 200
    assert linked.client.rotation(rotation)["decision"] is None
    assert browser.confirm(link, asked).status == 303
    decision = linked.client.rotation(rotation)["decision"]
    assert (decision["by"], decision["channel"], decision["comment"]) == (ADA, "link", "fine")

    assert browser.post(link, token=token, decision="reject").status == 409
    assert site.ended(linked, rotation)["outcome"] == "completed"
    assert browser.post(link, token=token, decision="reject").status == 409
    assert b"Approved" in browser.get(link).data
    assert_kept_nowhere(linked, site.token_of(link))


@pytest.mark.long
def test_an_expired_link_has_another_sent_to_its_recipient_alone(linked: Stack) -> None:
    rotation = site.asked(linked, by=GRACE)
    old = site.minted(linked, rotation, ADA, timedelta(seconds=-1))
    browser = Browser(linked)
    answer = browser.post(old, token=browser.token(old), do="renew")
    assert answer.status == 202
    assert rotation.encode() not in answer.data
    sent: list[list[str]] = []

    def reminded() -> bool:
        data = [
            one["data"] for one in site.published(linked) if one["eventType"].endswith("Reminder")
        ]
        mine = [one for one in data if one["rotation"] == rotation]
        sent[:] = [[each["approver"] for each in one["recipients"]] for one in mine]
        return bool(sent)

    wait_until(reminded, 30, "a reminder")
    assert sent == [[ADA]]
    linked.client.reject(rotation)


def assert_kept_nowhere(stack: Stack, token: str) -> None:
    """The topic has it, since it was sent there; the engine's journal and the logs have not."""
    logs = [path.read_text(errors="replace") for path in stack.directory.glob("logs/*.log")]
    assert logs
    assert not any(token in log for log in logs)
    if stack.options.engine == engines.AZURE:
        files = [path for path in (stack.directory / "storage").rglob("*") if path.is_file()]
        assert not any(token.encode() in path.read_bytes() for path in files)
        return
    place = f"file:{stack.directory / 'journal.db'}?mode=ro"
    with closing(sqlite3.connect(place, uri=True)) as journal:
        assert not any(token in line for line in journal.iterdump())


@pytest.mark.long
def test_links_that_are_not_good_show_and_change_nothing(linked: Stack) -> None:
    rotation = site.asked(linked, by=GRACE)
    hour = timedelta(hours=1)
    good = site.minted(linked, rotation, ADA, hour)
    cases = {
        site.minted(linked, rotation, ADA, -hour): 410,
        # Not the last character, which has bits that no byte has.
        good[:-2] + ("A" if good[-2] != "A" else "B") + good[-1]: 403,
        "/api/pages/decision": 403,
        site.minted(linked, "orders-db-20200101T000000-0000", ADA, hour): 404,
    }
    browser = Browser(linked)
    for link, status in cases.items():
        for answer in (browser.get(link), browser.post(link, token="0" * 64, decision="approve")):
            assert answer.status == status
            assert rotation.encode() not in answer.data
    foreign = site.minted(linked, rotation, "eve@contoso.example", hour)
    assert b"<form" not in browser.get(foreign).data
    assert linked.client.rotation(rotation)["decision"] is None


@pytest.mark.long
def test_whoever_asked_for_a_rotation_cannot_approve_it_by_link(linked: Stack) -> None:
    rotation = site.asked(linked, by=ADA)
    link, browser = site.mailed(linked, rotation), Browser(linked)
    answer = browser.decide(link, "approve")
    assert answer.status == 403
    assert b"omebody else must approve it" in answer.data
    assert linked.client.rotation(rotation)["decision"] is None
    other = site.mailed(linked, rotation, GRACE)
    assert browser.decide(other, "reject").status == 303
    assert site.ended(linked, rotation)["outcome"] == "rolled-back"


@pytest.mark.long
def test_a_signed_in_approver_decides_and_others_do_not(signed: Stack) -> None:
    rotation = site.asked(signed, by=site.OLGA)
    path = f"/api/pages/rotations/{rotation}"
    nobody, reader = Browser(signed), Browser(signed, **site.sign_in("reader@contoso.example"))
    anna = Browser(signed, **site.sign_in("anna@contoso.example", site.APP_ROLE))
    assert nobody.get(path).status == 403
    assert b"<form" not in reader.get(path).data
    # The platform takes a forged header away; without a sign-in there is nobody.
    forged = site.sign_in("anna@contoso.example", site.APP_ROLE)["X-Local-Sign-In"]
    assert Browser(signed, **{"X-MS-CLIENT-PRINCIPAL": forged}).get(path).status == 403
    # Somebody else's form is worth nothing in this browser.
    stolen = anna.token(path)
    ben = Browser(signed, **site.sign_in("ben@contoso.example", site.APP_ROLE, oid="b" * 36))
    ben.get(path)
    assert ben.post(path, token=stolen, decision="approve").status == 403
    assert signed.client.rotation(rotation)["decision"] is None

    assert anna.decide(path, "approve").status == 303
    decision = signed.client.rotation(rotation)["decision"]
    assert (decision["by"], decision["channel"]) == ("anna@contoso.example", "page")
    assert site.ended(signed, rotation)["outcome"] == "completed"


@pytest.mark.guarantee(6)
@pytest.mark.long
def test_without_the_platforms_sign_in_a_forged_principal_is_nobody(stack: Stack) -> None:
    principal = site.sign_in("anna@contoso.example", site.APP_ROLE)["X-Local-Sign-In"]
    with site.host_with(stack, {"ROTATION_SIGN_IN": "entra"}, [site.APP_ROLE]):
        browser = Browser(stack, **{"X-MS-CLIENT-PRINCIPAL": principal})
        answer = browser.get("/api/pages")
        assert answer.status == 403
        assert b"WEBSITE_AUTH_ENABLED" in answer.data


@pytest.mark.long
def test_the_overview_needs_a_key_and_is_locked_down(stack: Stack) -> None:
    assert Browser(stack).get("/api/pages").status == 401
    answer = Browser(stack, **{"x-functions-key": stack.keys["function"]}).get("/api/pages")
    assert answer.status == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert stack.keys["function"].encode() not in answer.data


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_apps_own_login_and_the_link_key_change_while_a_rotation_waits(
    linked: Stack,
) -> None:
    """Each use reads them anew: nobody starts the app or the rotation again.

    A link that is out outlives one change of the key and not two, as docs/approvals.md says.
    """
    rotation = site.asked(linked, by=GRACE)
    out, browser = site.mailed(linked, rotation), Browser(linked)
    new_login(linked)
    site.new_link_key(linked)
    opened(browser, site.minted(linked, rotation, ADA, timedelta(hours=1)))
    assert browser.token(out)
    site.new_link_key(linked)
    fresh = site.minted(linked, rotation, ADA, timedelta(hours=1))
    opened(browser, fresh)
    assert browser.get(out).status == 403
    assert browser.post(out, token="0" * 64, decision="approve").status == 403
    assert linked.client.rotation(rotation)["decision"] is None
    assert browser.decide(fresh, "approve").status == 303
    record = site.ended(linked, rotation)
    # What retires the replaced slot signed in with the new password: there is no other.
    assert (record["outcome"], record["decision"]["channel"]) == ("completed", "link")


def opened(browser: Browser, link: str) -> None:
    """After half a minute at most: for a link that they do not fit, keys are read again."""
    wait_until(lambda: browser.get(link).status == 200, 60, "the link's key being read")


def new_login(stack: Stack) -> None:
    """Another password of the rotating login, and nobody signed in with the one before."""
    password, role = new_password(), sql.Identifier("rotator")
    with psycopg.connect(stack.owner.dsn(), autocommit=True) as connection:
        verifier = connection.pgconn.encrypt_password(
            password.reveal().encode(), b"rotator", b"scram-sha-256"
        ).decode()
        change = sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(verifier))
        connection.execute(change)
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rotator'"
        )
    stack.provisioner.put_secret("rotator", password, timedelta(days=365))
