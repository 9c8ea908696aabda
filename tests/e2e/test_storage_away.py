"""The task hub's storage is away while people and programs ask for something."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from local import world
from local.load import Load
from local.process import wait_until
from tests.e2e.test_rotation import active, announced, ended, started, waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.stack import Answer, Stack

WITHIN = 5.0  # seconds, and a moment for this machine
MOMENT = 1.0
SENTENCE = "storage did not answer; try again in 10 seconds"


def page(stack: Stack, path: str) -> Answer:
    key = quote(stack.keys["function"], safe="")
    return stack.client.request("GET", f"/api/pages{path}?code={key}")


def asking(stack: Stack, rotation: str) -> dict[str, Callable[[], Answer]]:
    """Everything that the app does for those outside, but for health and its own description."""
    api, client = stack.client.api, stack.client
    start = {"credential": world.CREDENTIAL, "by": world.OPERATOR}
    return {
        "start": lambda: api("POST", "/rotations", start),
        "list": lambda: api("GET", "/rotations"),
        "get": lambda: api("GET", f"/rotations/{rotation}"),
        "of one that is not there": lambda: api("GET", "/rotations/orders-db-nothing-here"),
        "evidence": lambda: api("GET", f"/rotations/{rotation}/evidence"),
        "decide": lambda: client.decide(rotation, "approve"),
        "credentials": lambda: api("GET", "/credentials"),
        "overview": lambda: page(stack, ""),
        "page": lambda: page(stack, f"/rotations/{rotation}"),
    }


def timed(ask: Callable[[], Answer]) -> tuple[Answer, float]:
    began = time.monotonic()
    return ask(), time.monotonic() - began


def told(answer: Answer, seconds: float) -> dict[str, Any]:
    return {
        "status": answer.status,
        "Retry-After": answer.headers.get("Retry-After"),
        "sentence": SENTENCE in answer.body.decode().replace("&#39;", "'"),
        "in time": seconds < WITHIN + MOMENT,
    }


RIGHT = {"status": 503, "Retry-After": "10", "sentence": True, "in time": True}


@pytest.mark.guarantee(5, 6)
@pytest.mark.long
def test_storage_trouble_is_not_absence_and_decides_nothing(stack: Stack) -> None:
    before = active(stack)
    urls = [stack.owner.service_url(space, name) for name, space in world.WORKLOADS.items()]
    with Load(urls, rate=20) as load:
        rotation = started(stack)
        stack.client.follow(rotation, waiting)
        known = {record["rotation"] for record in stack.client.rotations()}
        with stack.faults.without_storage():
            found = {name: timed(ask) for name, ask in asking(stack, rotation).items()}
        assert {name: told(*answer) for name, answer in found.items()} == dict.fromkeys(
            found, RIGHT
        )
        record = stack.client.rotation(rotation)
        assert waiting(record)
        assert (record["decision"], record["approval"]["ignored"]) == (None, [])
        assert {record["rotation"] for record in stack.client.rotations()} == known
        assert stack.client.decide(rotation, "approve").status in {200, 202}
        assert ended(stack, rotation)["outcome"] == "completed"
        report = load.stop()
    assert active(stack) != before
    assert (report.failed, report.failures) == (0, [])


@pytest.mark.guarantee(5)
@pytest.mark.long
def test_an_event_is_refused_and_delivered_again(stack: Stack) -> None:
    """The extension answers 500 for whatever a function raises; Event Grid delivers it again."""
    rotation = started(stack)  # to a version that nobody has announced before
    stack.client.follow(rotation, waiting)
    assert stack.client.decide(rotation, "approve").status in {200, 202}
    ended(stack, rotation)
    wait_until(stack.client.free, 120, "the credential being free")
    slot = active(stack)
    known = {record["rotation"] for record in stack.client.rotations()}
    with stack.faults.without_storage():
        answer, seconds = timed(lambda: stack.client.announce(slot))
        assert answer.status == 500
        assert seconds < WITHIN + MOMENT
    assert {record["rotation"] for record in stack.client.rotations()} == known
    rotation = announced(stack, slot)
    stack.client.follow(rotation, waiting)
    # Approved: an event about a version is one rotation, and the next test may announce this slot.
    assert stack.client.decide(rotation, "approve").status in {200, 202}
    assert ended(stack, rotation)["outcome"] == "completed"
