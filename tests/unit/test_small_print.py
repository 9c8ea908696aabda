"""Of the front, what is easily lost: a second digit, a count, a length, a time, a flag."""

# ruff: noqa: ARG002 - the fakes have the signatures of what they stand in for
from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import azure.functions as func
import pytest

from rotation import log
from rotation.config import Approval
from rotation.front import rotations, sites, triggers
from rotation.front.approvers import keyed, refusal
from rotation.front.principals import LONGEST_HEADER, principal
from rotation.front.rotations import current, find, submit, why_not
from rotation.model.record import Decision
from tests.unit.people import ROTATION, FakeClient, shown
from tests.unit.test_rotations import NOW, REQUEST, Client, edges


def lines(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    said = [json.loads(record.getMessage()) for record in caplog.records]
    return [line for line in said if line["event"] == event]


def test_days_have_two_digits(caplog: pytest.LogCaptureFixture) -> None:
    hub: Any = Client()
    with caplog.at_level("INFO", "rotation"):
        asyncio.run(triggers.sweep_all(edges(orders_blue=12.3456), hub))
    (first, *_) = lines(caplog, "secret.expires")
    assert first["days"] == 12.35


def test_a_sweep_counts_what_it_has_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    hub: Any = Client()
    with caplog.at_level("INFO", "rotation"):
        asyncio.run(triggers.sweep_all(edges(orders_blue=1, second_blue=2), hub))
    (done,) = lines(caplog, "sweep.done")
    assert (done["credentials"], done["due"], done["paused"]) == (2, 2, False)


class Counted:
    def __init__(self) -> None:
        self.added: list[tuple[int, Any]] = []

    def add(self, number: int, attributes: Any) -> None:
        self.added.append((number, attributes))


def test_an_event_is_counted_and_what_is_said_of_it_is_cut(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted()
    monkeypatch.setattr(log, "EVENTS", counted)
    hub: Any = Client()
    kind = "x" * 1000
    with caplog.at_level("INFO", "rotation"):
        asyncio.run(triggers.take(edges(orders_blue=1), hub, kind, {}, "e" * 1000))
    (ignored,) = lines(caplog, "event.ignored")
    assert ignored["eventId"] == "e" * 200
    assert len(ignored["reason"]) == triggers.LONGEST_REASON
    assert counted.added == [(1, {"result": "ignored"})]


CLAIMS = {"auth_typ": "aad", "claims": [{"typ": "oid", "val": "a"}, {"typ": 7}, {"val": "x"}, "y"]}
HEADER = base64.b64encode(json.dumps(CLAIMS).encode()).decode()


def test_a_header_is_base64_and_nothing_else() -> None:
    found = principal(HEADER)
    assert not isinstance(found, str)
    assert found.id == "a"
    assert principal(f"{HEADER[:8]}!{HEADER[8:]}") == "the signed-in principal cannot be read"


@pytest.mark.parametrize(("told", "roles"), [({"role_typ": "duty"}, {"approver"}), ({}, set())])
def test_the_header_may_name_what_its_roles_are_called(told: Any, roles: set[str]) -> None:
    listed = [{"typ": "oid", "val": "a"}, {"typ": "duty", "val": "approver"}]
    document = {"auth_typ": "aad", "claims": listed, **told}
    found = principal(base64.b64encode(json.dumps(document).encode()).decode())
    assert not isinstance(found, str)
    assert found.roles == roles


APP = "https://app.internal"
SITES = [
    (APP, {"Origin": APP}, None, True),
    (APP, {"Origin": f"{APP}:443"}, None, True),
    (f"{APP}:8443", {"Origin": f"{APP}:8443"}, None, True),
    (f"{APP}:8443", {"Origin": APP}, None, False),
    (APP, {"Host": "a.example", "Origin": "https://a.example"}, None, True),
    (APP, {"Origin": "https://a.example"}, "https://a.example", True),
    (APP, {"Origin": "https://a.example"}, None, False),
]


@pytest.mark.parametrize(("sent_to", "headers", "public", "own"), SITES)
def test_a_site_is_a_scheme_a_host_and_a_port(
    sent_to: str, headers: dict[str, str], public: str | None, own: bool
) -> None:
    request = func.HttpRequest("POST", f"{sent_to}/api/x", headers=headers, body=b"")
    assert sites.is_own(request, public) is own


DECIDED = {"decision": "approve", "by": "ada@x", "channel": "page", "comment": "", "id": "1"}
AT = "2026-11-24T03:00:00.123Z"
WHY = [
    (
        {**DECIDED, "at": "2026-11-24T03:00:00.123Z"},
        "approved already, by ada@x at 2026-11-24T03:00:00Z:",
    ),
    ({**DECIDED, "at": None, "decision": "reject"}, "rejected already, by ada@x: one"),
]


@pytest.mark.parametrize(("decision", "said"), WHY)
def test_why_a_decision_did_not_count(decision: dict[str, Any], said: str) -> None:
    assert said in why_not(shown(decision=decision))


def test_who_is_named_with_a_key_has_to_be_an_address() -> None:
    listed = Approval.model_validate({"approvers": ["ada@contoso.example"]})
    start = "the approvers of this credential do not include"
    able = "those who can be named are ada@contoso.example"
    assert refusal(keyed("bot", "http"), listed, REQUEST, "approve") == (
        f"{start} bot as a mail address; with a function key nobody else can be named; {able}"
    )
    assert refusal(keyed("eve@x", "http"), listed, REQUEST, "approve") == f"{start} eve@x; {able}"


class Asked(FakeClient):
    """Remembers with which options it was asked; shows a decision from the second look on."""

    def __init__(self) -> None:
        super().__init__()
        self.options: list[dict[str, Any]] = []
        self.looks = 0

    async def get_status(self, instance_id: str, **options: Any) -> Any:
        self.options.append(options)
        self.looks += 1
        if self.raised and self.looks == 2:
            self.shown |= {"decision": {**self.raised[0][1], "at": "2026-11-24T03:00:00.000Z"}}
        return await super().get_status(instance_id)

    async def raise_event(self, instance_id: str, event_name: str, event_data: Any) -> None:
        self.raised.append((event_name, event_data))


def test_the_input_is_asked_for_where_it_is_read() -> None:
    client: Any = Asked()
    asyncio.run(find(client, ROTATION))
    asyncio.run(current(client, "orders-db"))
    assert asyncio.run(find(client, "orders-db-20270301T120000-1a2b")) is None
    whole = [options for options in client.options if options]
    assert whole == [{"show_input": True}] * 5  # twice for a rotation that may be queued


def test_a_new_id_ends_in_four_digits() -> None:
    made = rotations.manual_id("orders-db", NOW)
    assert made.startswith("orders-db-20270301T120000-")
    assert len(made.rpartition("-")[2]) == 4


def test_a_header_may_be_as_long_as_it_may() -> None:
    whole = json.dumps(CLAIMS).encode().ljust(LONGEST_HEADER // 4 * 3)
    header = base64.b64encode(whole).decode()
    assert len(header) == LONGEST_HEADER
    assert not isinstance(principal(header), str)
    assert isinstance(principal(f"{header}AAAA"), str)


def test_a_decision_is_waited_for_within_its_grace() -> None:
    client: Any = Asked()
    decision = Decision(decision="approve", by="ada@x", channel="http", comment="", id="7")
    found = asyncio.run(submit(client, shown(), "decision-1", decision, grace=30))
    assert isinstance(found, rotations.Recorded)
    assert client.looks >= 2
