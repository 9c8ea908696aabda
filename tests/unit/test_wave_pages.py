"""The pages of waves: who sees what, and how one is cancelled there."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import azure.functions as func
import pytest
from azure.durable_functions import OrchestrationRuntimeStatus as Status

from rotation.front import api, waves
from rotation.front.approvers import keyed
from rotation.front.problems import Problem
from rotation.model import wire
from rotation.model.waves import WaveMember
from rotation.pages import waving
from rotation.pages.visitors import Visitor
from tests.memory import MemoryEdges
from tests.unit.people import FakeClient, Instance
from tests.unit.test_wave_requests import ADA, CONFIGURATION, EVE, of

if TYPE_CHECKING:
    from rotation.model.waves import Wave

NAME = "wave.20270301T120000-ab12"


class Client(FakeClient):
    """Has one wave."""

    def __init__(self, wave: Wave) -> None:
        super().__init__()
        self.wave = wave
        self.told: list[tuple[str, str, Any]] = []

    @property
    def status(self) -> Instance:
        ended = self.wave.cancelling is None
        return Instance(
            NAME,
            "wave",
            None,
            wire.value_of(self.wave),
            output=wire.value_of(self.wave) if ended else None,
            runtime_status=Status.Completed if ended else Status.Running,
        )

    async def get_status(self, instance_id: str, **_: Any) -> Instance | None:
        return self.status if instance_id == NAME else None

    async def get_status_by(self, **_: Any) -> list[Instance]:
        return [self.status, Instance("wave.other", "wave", None, {"of": "another release"})]

    async def raise_event(self, instance_id: str, event_name: str, event_data: Any) -> None:
        self.told.append((instance_id, event_name, json.loads(json.dumps(event_data))))


@pytest.fixture
def edges() -> MemoryEdges:
    return MemoryEdges(CONFIGURATION)


def visitor(by: str | None = ADA) -> Visitor:
    return Visitor(keyed(by, "page") if by else None, "a secret of theirs", "key")


def asked(method: str = "GET", **given: str) -> func.HttpRequest:
    url = f"https://app.example/api/pages/waves/{NAME}"
    headers = {"Sec-Fetch-Site": "same-origin"}
    if method == "GET":
        return func.HttpRequest("GET", url, headers=headers, params=given, body=b"")
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    return func.HttpRequest(method, url, headers=headers, body=urlencode(given).encode())


def page(
    edges: MemoryEdges, client: Client, request: func.HttpRequest, who: Visitor | None = None
) -> func.HttpResponse:
    client_: Any = client
    return asyncio.run(waving.one(edges, client_, request, who or visitor(), NAME))


def text(answer: func.HttpResponse) -> str:
    return answer.get_body().decode()


def token(edges: MemoryEdges, client: Client, who: Visitor | None = None) -> str:
    found = re.search(
        r'name="token" value="(\w+)"', text(page(edges, client, asked(do="cancel"), who))
    )
    assert found is not None
    return found[1]


def test_the_form_has_a_page_of_its_own_and_a_get_cancels_nothing(edges: MemoryEdges) -> None:
    client = Client(of("dev-db", "orders-db"))
    assert "<form" not in text(page(edges, client, asked()))
    opened = text(page(edges, client, asked(do="cancel")))
    assert "Cancel the wave" in opened
    assert "Let nothing more begin" in opened
    assert client.told == []


@pytest.mark.parametrize(("given", "running"), [({}, "keep"), ({"running": "cancel"}, "cancel")])
def test_a_form_cancels(edges: MemoryEdges, given: dict[str, str], running: str) -> None:
    client = Client(of("dev-db", "orders-db"))
    fields = {"token": token(edges, client), "sure": "yes", "comment": "not today", **given}
    answer = page(edges, client, asked("POST", **fields))
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"/api/pages/waves/{NAME}"
    ((instance, event, wish),) = client.told
    assert (instance, event) == (NAME, "cancel-1")
    assert (wish["by"], wish["comment"], wish["running"]) == (ADA, "not today", running)


def test_whoever_has_a_key_alone_names_themselves(edges: MemoryEdges) -> None:
    client, who = Client(of("dev-db")), visitor(None)
    fields = {"token": token(edges, client, who), "sure": "yes", "comment": "no"}
    with pytest.raises(Problem, match="by"):
        page(edges, client, asked("POST", **fields), who)
    assert page(edges, client, asked("POST", **fields, by=ADA), who).status_code == 303
    assert client.told[0][2]["channel"] == "page with function key"


def test_a_form_of_another_time_or_place_does_nothing(edges: MemoryEdges) -> None:
    client = Client(of("dev-db"))
    mine = token(edges, client)
    assert page(edges, client, asked("POST", token="f" * 64, sure="yes")).status_code == 403
    with pytest.raises(Problem, match="tick the box"):
        page(edges, client, asked("POST", token=mine, comment="no"))
    client.wave = of("dev-db", cancelling="cancel-2")
    assert page(edges, client, asked("POST", token=mine, sure="yes")).status_code == 403
    client.wave = of("dev-db", cancelling=None, phase="completed")
    assert page(edges, client, asked("POST", token=mine, sure="yes")).status_code == 409
    assert client.told == []


def test_whoever_may_not_cancel_each_gets_no_form(edges: MemoryEdges) -> None:
    client = Client(of("dev-db", "web-db"))
    opened = text(page(edges, client, asked(do="cancel")))
    assert "<form" not in opened
    assert "You cannot do this." in opened
    allowed = Client(of("web-db"))
    fields = {"token": token(edges, allowed, visitor(EVE)), "sure": "yes", "comment": "x"}
    assert page(edges, allowed, asked("POST", **fields), visitor(EVE)).status_code == 303


def test_one_that_has_ended_offers_no_cancel(edges: MemoryEdges) -> None:
    client = Client(of("dev-db", cancelling=None, phase="completed"))
    assert "Cancel this wave" not in text(page(edges, client, asked()))
    assert "<form" not in text(page(edges, client, asked(do="cancel")))


def test_all_that_somebody_sees_are_listed(edges: MemoryEdges) -> None:
    wave = of("dev-db", "orders-db")
    wave.members[0] = WaveMember(credential="dev-db", rotation="r", state="waiting")
    client: Any = Client(wave)
    (one,) = asyncio.run(waves.listing(edges, client, None))
    assert (one.wave, one.members) == (NAME, {"waiting": 1, "planned": 1})
    listed = text(asyncio.run(waving.listing(edges, client, visitor())))
    assert f'href="/api/pages/waves/{NAME}"' in listed
    assert "1 waiting, 1 planned" in listed


def test_what_is_waived_goes_with_one_credential(edges: MemoryEdges) -> None:
    client: Any = FakeClient()
    document = {"select": {"all": True}, "waive": ["database-restarts"], "by": ADA}
    with pytest.raises(Problem, match="goes with one 'credential'"):
        asyncio.run(api.start(edges, client, document))
