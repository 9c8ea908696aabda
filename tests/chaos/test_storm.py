"""Events by the thousand, most of them duplicates, stale, foreign or malformed."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from local import world
from local.process import wait_until
from rotation import log
from rotation.front import triggers
from rotation.model import activities, wire
from rotation.model.world import SLOTS
from rotation.steps import planning
from rotation.steps.running import implements, run
from tests.chaos.support import drawn, patient
from tests.e2e.test_rotation import active, waiting
from tests.local.engine.support import sdk_warnings
from tests.simulation.client import Client
from tests.unit import people
from tests.unit.virtual import Story

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from local.stack import Stack
    from rotation.contracts.edges import Readers
    from tests.memory import MemoryEdges

pytestmark = [patient, *sdk_warnings]

NEAR = "Microsoft.KeyVault.SecretNearExpiry"
VAULT = "https://kv-orders.vault.azure.net"
STORM = 10_000
MEMORY = 64 * 2**20  # bytes that all of it may add to the process
PLAN = implements(activities.PLAN, planning.plan)
LONGEST_LINE = 2000  # characters of a log line, whatever an event holds


def announcement(secret: str, version: str, kind: str = NEAR, **data: Any) -> tuple[str, Any]:
    location = f"{VAULT}/secrets/{secret}/{version}"
    return kind, {"Id": location, "ObjectName": secret, "Version": version, **data}


def current() -> tuple[str, Any]:
    return announcement("orders-db-green", "v3")


def malformed(draw: random.Random) -> tuple[str, Any]:
    huge = "x" * draw.choice([10, 200_000])
    return draw.choice(
        [
            (NEAR, None),
            (NEAR, []),
            (NEAR, {}),
            (NEAR, {"ObjectName": 7, "Version": None}),
            announcement("orders-db-green", huge),
            announcement(huge, "v3"),
            announcement("orders-db-green", "v3", Id="https://["),
            announcement("orders-db-green", "v3", Id=huge),
            (huge, {}),
            announcement("orders-db-green", "v3\nERROR forged line"),
        ]
    )


def foreign(draw: random.Random) -> tuple[str, Any]:
    return draw.choice(
        [
            announcement("somebody-elses", "v1"),
            announcement("orders-db-green", "v3", Id="https://kv-other.example/secrets/a/b"),
            announcement(
                "orders-db-green", "v3", kind="Microsoft.KeyVault.SecretNewVersionCreated"
            ),
            announcement("orders-db-green", "v3", kind="Microsoft.Storage.BlobCreated"),
        ]
    )


def stale(draw: random.Random) -> tuple[str, Any]:
    slot = draw.choice(["blue", "green"])  # what stands by, and older ones of what serves
    return announcement(f"orders-db-{slot}", f"v{draw.randrange(3)}")


def storm(draw: random.Random, count: int) -> Iterator[tuple[str, Any]]:
    """Seven of ten are deliveries of the one event that is due."""
    for _ in range(count):
        kind = draw.choices([None, stale, foreign, malformed], [7, 1, 1, 1])[0]
        yield current() if kind is None else kind(draw)


class Heard(logging.Handler):
    """What was logged about events: counts only, so that it measures no memory of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: Counter[str] = Counter()
        self.results: Counter[str] = Counter()
        self.longest = 0

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        assert "\n" not in line
        told = json.loads(line)
        if told["event"].startswith("event."):
            assert told["reason"]
            self.longest = max(self.longest, len(line))
            self.ids[told["eventId"]] += 1
            self.results[told["event"].removeprefix("event.")] += 1


class Metric:
    def __init__(self) -> None:
        self.results: Counter[str] = Counter()

    def add(self, number: int, attributes: dict[str, str]) -> None:
        self.results[attributes["result"]] += number


@pytest.fixture
def heard() -> Iterator[Heard]:
    """Instead of the handlers that keep every line."""
    handler, logger = Heard(), logging.getLogger("rotation")
    logger.addHandler(handler)
    logger.propagate = False
    yield handler
    logger.propagate = True
    logger.removeHandler(handler)


class TestTenThousand:
    """The app's own functions on the engine, without HTTP in between."""

    @pytest.mark.guarantee(5)
    def test_one_rotation_for_each_version_and_every_event_accounted_for(
        self, heard: Heard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        metric = Metric()
        monkeypatch.setattr(log, "EVENTS", metric)
        story, edges = Story("api"), with_versions(4)
        story.serving = "green"
        story.script["plan"] = lambda reference: run(PLAN, edges, reference)
        story.script["swap"] = lambda reference: swap(edges, reference)
        memory = psutil.Process().memory_info().rss
        asyncio.run(self.deliver(story, edges))
        assert heard.results.total() == STORM
        assert set(heard.ids) == {f"event-{number}" for number in range(STORM)}
        assert metric.results == heard.results
        assert heard.longest < LONGEST_LINE
        assert psutil.Process().memory_info().rss - memory < MEMORY
        self.check(story, heard)

    async def deliver(self, story: Story, edges: Readers) -> None:
        """Work goes on between events; the decision comes in the middle of the storm."""
        client: Any = Client(lambda: story.world.engine, None)
        draw = drawn("storm")
        for number, (kind, data) in enumerate(storm(draw, STORM)):
            await triggers.take(edges, client, kind, data, f"event-{number}")
            if number % 50 == 0:
                story.wait(seconds=1)
            if number == STORM // 2:
                self.approve(story)

    def approve(self, story: Story) -> None:
        waits = [found for found in rotations(story) if "decision-1" in str(found["customStatus"])]
        decision = json.dumps(json.dumps({"decision": "approve", "by": "ada@contoso.example"}))
        story.world.engine.raise_event(str(waits[0]["instanceId"]), "decision-1", decision)
        story.wait(seconds=1)

    def check(self, story: Story, heard: Heard) -> None:
        requests = [wire.decoded(found["input"]) for found in rotations(story)]
        asked = Counter((request["secret"], request["version"]) for request in requests)
        assert set(asked.values()) == {1}
        assert [found["output"]["outcome"] for found in rotations(story)] == ["completed"]
        assert heard.results["started"] == len(asked) == 1
        assert set(heard.results) == {"started", "duplicate", "stale", "foreign", "ignored"}


def with_versions(count: int) -> MemoryEdges:
    """Green serves; each slot's secret has the versions v0, v1 and so on."""
    edges = people.edges()
    credential = edges.configuration.credential("orders-db")
    vault = edges.world.vault(credential)
    for slot in SLOTS:
        secret = credential.slots[slot].secret
        # The role's own, where it has one: the one that serves must be able to log in.
        known = edges.world.database.roles[credential.slots[slot].role].password
        for number in range(len(vault.of(secret)), count):
            edges.world.write(credential, slot, known or f"value {number}")
        for number, version in enumerate(vault.of(secret)):
            version.version = f"v{number}"
            version.expires = edges.now() + timedelta(days=20)
    return edges


def swap(edges: MemoryEdges, reference: dict[str, Any]) -> dict[str, Any]:
    cluster = edges.world.clusters["weu"]
    cluster.select(cluster.services["orders", "api"], reference["slot"])
    return {}


def rotations(story: Story) -> list[dict[str, Any]]:
    page, _ = story.world.engine.query(top=10_000)
    return [found for found in page if found["name"] == "rotation"]


@pytest.mark.guarantee(5)
def test_a_few_hundred_over_http(chaos_stack: Stack) -> None:
    stack, draw = chaos_stack, drawn("http")
    before = active(stack)
    known = {record["rotation"] for record in stack.client.rotations()}
    due, ids = stack.client.near_expiry(before), [f"storm-{number}" for number in range(300)]
    host = psutil.Process(stack.components["host"].pid)
    deliver(stack, due, draw, ids[:100])
    memory = host.memory_info().rss  # by now everything that is imported on first use is there
    deliver(stack, due, draw, ids[100:])
    new = [record for record in stack.client.rotations() if record["rotation"] not in known]
    asked = Counter((r["request"]["secret"], r["request"]["version"]) for r in new)
    assert asked
    assert set(asked.values()) == {1}
    lines = stack.components["host"].log.read_text(encoding="utf-8").splitlines()
    told = Counter(identity for line in lines for identity in ids if f'"{identity}"' in line)
    assert told == dict.fromkeys(ids, 1)
    assert host.memory_info().rss - memory < MEMORY


def deliver(stack: Stack, due: dict[str, Any], draw: random.Random, ids: list[str]) -> None:
    """Twenty at a time, and then as long as it takes until nothing moves any more."""
    for begin in range(0, len(ids), 20):
        batch = [{**event(due, draw), "id": identity} for identity in ids[begin : begin + 20]]
        assert stack.client.webhook(batch, "Notification").status == 202
    wait_until(
        lambda: all(map(waiting, stack.client.rotations())), 60, "each rotation's end or question"
    )


def event(due: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """The event that is due, or one with other data in its place."""
    kind, data = next(storm(draw, 1))
    if (kind, data) == current():
        return due
    if isinstance(data, dict) and str(data.get("Id", "")).startswith(VAULT):
        data = {**data, "Id": due["data"]["Id"]}
    return {**due, "eventType": kind, "data": data, "subject": world.CREDENTIAL}
