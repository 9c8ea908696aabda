"""Looks at the evidence: shared by those who ask, with a deadline, and in nobody else's way."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from rotation.front import api, credentials
from rotation.front.credentials import Looks
from rotation.model import wire
from rotation.model.record import Evidence, no_evidence
from rotation.pages import routes as pages
from rotation.pages.visitors import Visitor
from tests.unit.people import NOW, ROTATION, FakeClient, edges, handlers, request

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = 30.0  # seconds, for what does not happen unless a test fails


class Collecting:
    """Stands in for `collect`: counts the looks, and holds each until `go`."""

    def __init__(self) -> None:
        self.looks: list[Evidence] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()

    def __call__(self, *_: object, **__: object) -> Evidence:
        found = no_evidence(wire.moment(NOW), f"look {len(self.looks)}")
        self.looks.append(found)
        self.begun.release()
        assert self.go.wait(LONG)
        return found


@pytest.fixture
def collecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collecting]:
    found = Collecting()
    monkeypatch.setattr(credentials, "collect", found)
    monkeypatch.setattr(credentials, "LOOKS", Looks())
    yield found
    found.go.set()


def test_those_who_ask_at_once_share_one_look(collecting: Collecting) -> None:
    site = edges()

    async def ask() -> list[Evidence]:
        looks = Looks()
        asked = [
            asyncio.create_task(looks.shared(site, ROTATION, "orders-db", "green"))
            for _ in range(8)
        ]
        await asyncio.sleep(0)  # all have asked now, and none has an answer
        collecting.go.set()
        return await asyncio.gather(*asked)

    found = asyncio.run(ask())
    assert len(found) == 8
    assert all(evidence is collecting.looks[0] for evidence in found)
    assert len(collecting.looks) == 1


def test_other_rotations_have_looks_of_their_own(collecting: Collecting) -> None:
    looks, site = Looks(), edges()
    collecting.go.set()

    async def ask() -> None:
        for rotation in ("a", "b", "a"):
            await looks.shared(site, rotation, "orders-db", "green")

    asyncio.run(ask())
    assert len(collecting.looks) == 2


@pytest.mark.parametrize(("after", "looks"), [(0.0, 1), (2.9, 1), (3.0, 2), (600.0, 2)])
def test_a_look_is_old_after_a_while(collecting: Collecting, after: float, looks: int) -> None:
    now = [100.0]
    known, site = Looks(fresh=3.0, clock=lambda: now[0]), edges()
    collecting.go.set()

    async def ask() -> None:
        await known.shared(site, ROTATION, "orders-db", "green")
        now[0] += after
        await known.shared(site, ROTATION, "orders-db", "green")

    asyncio.run(ask())
    assert len(collecting.looks) == looks


def test_one_who_gives_up_takes_it_from_nobody(collecting: Collecting) -> None:
    looks, site = Looks(), edges()

    async def ask() -> Evidence:
        first, second = (
            asyncio.create_task(looks.shared(site, ROTATION, "orders-db", "green"))
            for _ in range(2)
        )
        await asyncio.sleep(0)
        first.cancel()
        collecting.go.set()
        return await second

    assert asyncio.run(ask()) is collecting.looks[0]
    assert len(collecting.looks) == 1


def test_looks_that_are_held_up_keep_nobody_from_the_overview(collecting: Collecting) -> None:
    """More than there are threads for, and the overview has a single one that is not theirs."""
    looks, site = Looks(threads=2), edges()

    async def ask() -> Any:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        asked = [
            asyncio.create_task(looks.shared(site, f"r{n}", "orders-db", "green")) for n in range(8)
        ]
        await asyncio.sleep(0)
        for _ in range(2):
            assert collecting.begun.acquire(timeout=LONG)
        client: Any = FakeClient()
        visitor = Visitor(None, "key", "key", {})
        overview = pages.overview(site, client, visitor, pages.Look(1, fresh=False))
        answer = await asyncio.wait_for(overview, LONG)
        assert not any(task.done() for task in asked)
        collecting.go.set()
        await asyncio.gather(*asked)
        return answer

    assert asyncio.run(ask()).status_code == 200
    assert len(collecting.looks) == 8


SENTENCE = "evidence took more than 0.01 s; look again in 10 s"


def test_evidence_that_takes_too_long_is_said_to_a_program(
    collecting: Collecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "EVIDENCE_TIMEOUT", 0.01)
    evidence = handlers(api.blueprint(edges()))["get_evidence"]
    answer = asyncio.run(evidence(request(id=ROTATION), FakeClient()))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    assert json.loads(answer.get_body())["detail"] == SENTENCE


def test_evidence_that_takes_too_long_is_said_on_the_page(
    collecting: Collecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "EVIDENCE_TIMEOUT", 0.01)
    page = handlers(pages.blueprint(edges()))["rotation_page"]
    answer = asyncio.run(page(request(id=ROTATION), FakeClient()))
    assert answer.status_code == 200
    assert SENTENCE in answer.get_body().decode()


def test_the_description_has_the_deadline() -> None:
    operation = api.description()["paths"]["/rotations/{id}/evidence"]["get"]
    assert f"more than {credentials.EVIDENCE_TIMEOUT:g} seconds" in operation["description"]
    assert "503" in operation["responses"]
