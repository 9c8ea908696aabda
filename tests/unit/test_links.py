"""Signed links: whom they let in, and whom not any more."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer

from rotation.links import Expired, Forged, Link, SignedLinks, decision_url, validity
from rotation.model import wire
from rotation.model.activities import Notice, Reference, Terms
from rotation.model.catalogue import Announcement, Outcome
from rotation.model.errors import ConfigurationError
from rotation.model.record import Decision, Request
from rotation.model.wire import Moment
from rotation.settings import Settings
from rotation.steps import telling
from rotation.steps.running import Implementation, run
from rotation.telling.messages import announcement
from rotation.telling.recipients import with_recipients
from tests.unit import people
from tests.unit.people import LINK_KEY, NOW, ROTATION, configuration

if TYPE_CHECKING:
    from tests.memory import MemoryEdges

OLD = ("Zk3Vw9Qe7Tb1Yn5Ux0Mr8Jc4Hd6Gf2SaLpKoIiEu", True)
NEW = ("q7Zr2LwPx9TfKj4VbN8mHc5sDy3GtRe6UaQo1WiE", True)
NEWER = ("b8Nf4Kx2Wq6Zt0Rj5Ly9Hm3Gc7Vd1SpAaEeUuOoIiQ", True)
HOUR = timedelta(hours=1)


def edges(*versions: tuple[str, bool], **approval: Any) -> MemoryEdges:
    settings = Settings(
        link_key=LINK_KEY,
        topic="https://topic.example/api/events",
        public_url="https://app.example",
    )
    return people.edges(settings, link_keys=versions or (NEW,), **approval)


def test_a_link_says_who_may_decide_what_until_when() -> None:
    links = SignedLinks(edges())
    token = links.mint(ROTATION, "anna@x.example", NOW + HOUR)
    assert links.read(token) == Link(ROTATION, "anna@x.example", NOW + HOUR)


def test_a_link_ends() -> None:
    found = edges()
    links = SignedLinks(found)
    token = links.mint(ROTATION, "anna@x.example", NOW + HOUR)
    found.clock.now = NOW + HOUR - timedelta(seconds=1)
    assert isinstance(links.read(token), Link)
    found.clock.now = NOW + HOUR
    assert links.read(token) == Expired(NOW + HOUR, ROTATION, "anna@x.example")


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("position", range(0, 90, 7))
def test_a_link_with_one_sign_changed_is_forged(position: int) -> None:
    links = SignedLinks(edges())
    token = links.mint(ROTATION, "anna@x.example", NOW + HOUR)
    sign = "A" if token[position] != "A" else "B"
    assert links.read(token[:position] + sign + token[position + 1 :]) == Forged()


@given(st.text(max_size=2000))
def test_no_text_is_taken_for_a_link(text: str) -> None:
    assert SignedLinks(edges()).read(text) == Forged()


def test_a_token_of_the_same_key_for_another_purpose_is_forged() -> None:
    other = URLSafeSerializer(NEW[0], salt="something else").dumps({"rotation": ROTATION})
    assert SignedLinks(edges()).read(str(other)) == Forged()


def test_links_outlive_one_new_key_and_no_second_one() -> None:
    token = SignedLinks(edges(OLD)).mint(ROTATION, "anna@x.example", NOW + HOUR)
    assert isinstance(SignedLinks(edges(OLD, NEW)).read(token), Link)
    assert SignedLinks(edges(OLD, NEW, NEWER)).read(token) == Forged()


def test_links_are_signed_with_the_newest_key() -> None:
    token = SignedLinks(edges(OLD, NEW)).mint(ROTATION, "anna@x.example", NOW + HOUR)
    assert isinstance(SignedLinks(edges(NEW)).read(token), Link)
    assert SignedLinks(edges(OLD)).read(token) == Forged()


def test_a_disabled_key_withdraws_its_links() -> None:
    token = SignedLinks(edges(OLD)).mint(ROTATION, "anna@x.example", NOW + HOUR)
    assert SignedLinks(edges((OLD[0], False), NEW)).read(token) == Forged()


def test_a_disabled_newest_key_leaves_the_one_before_in_force() -> None:
    found = edges(OLD, NEW, (NEWER[0], False))
    token = SignedLinks(found).mint(ROTATION, "anna@x.example", NOW + HOUR)
    assert isinstance(SignedLinks(edges(NEW)).read(token), Link)


@pytest.mark.parametrize("versions", [[("short", True)], [NEW, ("short", True)], [(NEW[0], False)]])
def test_read_keys_bad(versions: list[tuple[str, bool]]) -> None:
    with pytest.raises(ConfigurationError, match="ROTATION_LINK_KEY") as caught:
        SignedLinks(edges(*versions)).mint(ROTATION, "anna@x.example", NOW)
    assert "short" not in caught.value.message.replace("random", "")


def test_bad_links_do_not_reach_the_vault_each_time() -> None:
    found = edges()
    links = SignedLinks(found)
    for _ in range(50):
        links.read("a.b")
    assert found.calls.reads.count("vault versions link-key") == 1
    found.clock.now += timedelta(minutes=5)
    links.read("a.b")
    assert found.calls.reads.count("vault versions link-key") == 2


def event(kind: Announcement, approvers: list[str] | None = None) -> dict[str, Any]:
    notice = Notice(
        kind=kind,
        number=2,
        time=Moment("2026-11-24T03:00:00.000Z"),
        request=wire.read(Request, people.record()["request"]),
        terms=Terms(
            serves="green",
            replaced="blue",
            deadline=Moment("2026-12-01T02:55:00.000Z"),
            on_deadline="keep",
        ),
        overdue=False,
        sessions=[],
        decision=Decision(decision="approve", by="a", channel="page", comment="", id=None),
        outcome=Outcome.COMPLETED,
        outcome_reason="approved",
    )
    return announcement(notice, approvers or [], "https://app.example")


def tokens(sent: dict[str, Any]) -> dict[str, str]:
    return {
        one["approver"]: parse_qs(urlsplit(one["link"]).query)["link"][0]
        for one in sent["data"]["recipients"]
    }


def test_each_approver_with_an_address_gets_a_link_of_their_own() -> None:
    approvers = ["anna@x.example", "0c8e6f2c-0000-4000-8000-000000000000", "ben@x.example"]
    found = edges(approvers=approvers)
    credential = found.configuration.credential("orders-db")
    sent = with_recipients(
        found, event(Announcement.AWAITING_APPROVAL, approvers), credential.approval
    )
    read = {who: SignedLinks(found).read(token) for who, token in tokens(sent).items()}
    expires = NOW + validity(credential.approval)
    assert read == {
        who: Link(ROTATION, who, expires) for who in ("anna@x.example", "ben@x.example")
    }


@pytest.mark.parametrize("kind", list(Announcement))
def test_only_what_asks_for_a_decision_carries_links(kind: Announcement) -> None:
    found = edges(approvers=["anna@x.example"])
    sent = with_recipients(found, event(kind), found.configuration.credential("orders-db").approval)
    assert ("recipients" in sent["data"]) is (
        kind in {"AwaitingApproval", "AwaitingConfirmation", "Reminder"}
    )


def test_a_link_lives_longer_than_until_the_next_reminder() -> None:
    for remind in ("1h", "24h", "14d"):
        credential = configuration(remind=remind).credential("orders-db")
        assert validity(credential.approval) > credential.approval.remind


def test_the_record_of_an_event_holds_no_link() -> None:
    """The activity's input is what the task hub stores; the link is made after it."""
    found = edges(approvers=["anna@x.example"])
    sent = event(Announcement.AWAITING_APPROVAL, ["anna@x.example"])
    reference = wire.value_of(Reference(rotation=ROTATION, credential="orders-db", event=sent))
    before = repr(reference)
    publish = Implementation("publish_event", telling.publish_event)
    answer = run(publish, found, reference)
    assert tokens(found.world.published[0])
    assert answer == {}
    assert repr(reference) == before
    assert "link=" not in before


def test_the_token_stands_in_the_query_which_no_host_records() -> None:
    parts = urlsplit(decision_url("a.b-c_d", "https://app.example"))
    assert (parts.path, parts.query) == ("/api/pages/decision", "link=a.b-c_d")
