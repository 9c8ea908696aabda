"""Signed links: whom they let in, and whom not any more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer

from rotation import activities
from rotation.model.errors import ConfigurationError
from rotation.links import Expired, Forged, Link, Links, address, recipients, validity
from rotation.telling.messages import TYPES, notification
from rotation.settings import Settings
from rotation.steps.running import run
from tests.unit.people import LINK_KEY, NOW, ROTATION, FakeEdges, FakeVault, configuration

OLD, NEW, NEWER = ("o" * 40, True), ("n" * 40, True), ("m" * 40, True)
HOUR = timedelta(hours=1)


def edges(*versions: tuple[str, bool], **approval: Any) -> FakeEdges:
    return FakeEdges(
        settings=Settings(
            link_key=LINK_KEY,
            topic="https://topic.example/api/events",
            public_url="https://app.example",
        ),
        configuration=configuration(**approval),
        vault_=FakeVault({"link-key": list(versions or [NEW])}),
    )


def test_a_link_says_who_may_decide_what_until_when() -> None:
    links = Links(edges())
    token = links.mint(ROTATION, "anna@x.example", NOW + HOUR)
    assert links.read(token) == Link(ROTATION, "anna@x.example", NOW + HOUR)


def test_a_link_ends() -> None:
    found = edges()
    links = Links(found)
    token = links.mint(ROTATION, "anna@x.example", NOW + HOUR)
    found.time = NOW + HOUR - timedelta(seconds=1)
    assert isinstance(links.read(token), Link)
    found.time = NOW + HOUR
    assert links.read(token) == Expired(NOW + HOUR)


@pytest.mark.parametrize("position", range(0, 90, 7))
def test_a_link_with_one_sign_changed_is_forged(position: int) -> None:
    links = Links(edges())
    token = links.mint(ROTATION, "anna@x.example", NOW + HOUR)
    sign = "A" if token[position] != "A" else "B"
    assert links.read(token[:position] + sign + token[position + 1 :]) == Forged()


@given(st.text(max_size=2000))
def test_no_text_is_taken_for_a_link(text: str) -> None:
    assert Links(edges()).read(text) == Forged()


def test_a_token_of_the_same_key_for_another_purpose_is_forged() -> None:
    other = URLSafeSerializer(NEW[0], salt="something else").dumps({"rotation": ROTATION})
    assert Links(edges()).read(str(other)) == Forged()


def test_links_outlive_one_new_key_and_no_second_one() -> None:
    token = Links(edges(OLD)).mint(ROTATION, "anna@x.example", NOW + HOUR)
    assert isinstance(Links(edges(OLD, NEW)).read(token), Link)
    assert Links(edges(OLD, NEW, NEWER)).read(token) == Forged()


def test_links_are_signed_with_the_newest_key() -> None:
    token = Links(edges(OLD, NEW)).mint(ROTATION, "anna@x.example", NOW + HOUR)
    assert isinstance(Links(edges(NEW)).read(token), Link)
    assert Links(edges(OLD)).read(token) == Forged()


def test_a_disabled_key_withdraws_its_links() -> None:
    token = Links(edges(OLD)).mint(ROTATION, "anna@x.example", NOW + HOUR)
    assert Links(edges((OLD[0], False), NEW)).read(token) == Forged()


def test_a_disabled_newest_key_leaves_the_one_before_in_force() -> None:
    found = edges(OLD, NEW, (NEWER[0], False))
    token = Links(found).mint(ROTATION, "anna@x.example", NOW + HOUR)
    assert isinstance(Links(edges(NEW)).read(token), Link)


@pytest.mark.parametrize(
    "versions", [[("short", True)], [NEW, ("short", True)], [("n" * 40, False)]]
)
def test_read_keys_bad(versions: list[tuple[str, bool]]) -> None:
    with pytest.raises(ConfigurationError, match="ROTATION_LINK_KEY") as caught:
        Links(edges(*versions)).mint(ROTATION, "anna@x.example", NOW)
    assert "short" not in caught.value.message.replace("random", "")


def test_bad_links_do_not_reach_the_vault_each_time() -> None:
    found = edges()
    links = Links(found)
    for _ in range(50):
        links.read("a.b")
    assert found.vault_.reads == 1
    found.time += timedelta(minutes=5)
    links.read("a.b")
    assert found.vault_.reads == 2


def event(kind: str, approvers: list[str] | None = None) -> dict[str, Any]:
    terms = {
        "serves": "green",
        "replaced": "blue",
        "deadline": "2026-12-01T03:00:00Z",
        "onDeadline": "keep",
        "overdue": False,
        "sessions": [],
        "outcome": "completed",
        "reason": "approved",
        "decision": {"decision": "approve", "by": "a", "channel": "page", "comment": ""},
    }
    reference = {
        "rotation": ROTATION,
        "credential": "orders-db",
        "type": kind,
        "number": 2,
        "time": "2026-11-24T03:00:00.000Z",
        "request": {"origin": "manual", "requestedBy": "x", "reason": ""},
        "facts": terms,
    }
    credential = configuration(approvers=approvers or []).credential("orders-db")
    return notification(reference, credential, "https://app.example")


def tokens(sent: dict[str, Any]) -> dict[str, str]:
    return {
        one["approver"]: parse_qs(urlsplit(one["link"]).query)["link"][0]
        for one in sent["data"]["recipients"]
    }


def test_each_approver_with_an_address_gets_a_link_of_their_own() -> None:
    approvers = ["anna@x.example", "0c8e6f2c-0000-4000-8000-000000000000", "ben@x.example"]
    found = edges(approvers=approvers)
    credential = found.configuration.credential("orders-db")
    sent = recipients(found, event("AwaitingApproval", approvers), credential)
    read = {who: Links(found).read(token) for who, token in tokens(sent).items()}
    expires = NOW + validity(credential)
    assert read == {
        who: Link(ROTATION, who, expires) for who in ("anna@x.example", "ben@x.example")
    }


@pytest.mark.parametrize("kind", TYPES)
def test_only_what_asks_for_a_decision_carries_links(kind: str) -> None:
    found = edges(approvers=["anna@x.example"])
    sent = recipients(found, event(kind), found.configuration.credential("orders-db"))
    assert ("recipients" in sent["data"]) is (kind in {"AwaitingApproval", "Reminder"})


def test_a_link_lives_longer_than_until_the_next_reminder() -> None:
    for remind in ("1h", "24h", "14d"):
        credential = configuration(remind=remind).credential("orders-db")
        assert validity(credential) > credential.approval.remind


def test_the_record_of_an_event_holds_no_link() -> None:
    """The activity's input is what the task hub stores; the link is made after it."""
    found = edges(approvers=["anna@x.example"])
    reference = {
        "rotation": ROTATION,
        "credential": "orders-db",
        "event": event("AwaitingApproval", ["anna@x.example"]),
    }
    before = repr(reference)
    answer = run(activities.publish_event, found, reference)
    assert tokens(found.topic_.published[0])
    assert answer == {}
    assert repr(reference) == before
    assert "link=" not in before


def test_the_token_stands_in_the_query_which_no_host_records() -> None:
    parts = urlsplit(address("a.b-c_d", "https://app.example"))
    assert (parts.path, parts.query) == ("/api/pages/decision", "link=a.b-c_d")
