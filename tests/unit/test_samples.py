"""Samples of credentials: what lists show, how old it is, and what a timer tells of them."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from azure.durable_functions import OrchestrationRuntimeStatus as Status

from rotation import log
from rotation.config import parse
from rotation.front import credentials, rotations, samples
from rotation.front.credentials import Ways
from rotation.model import wire
from rotation.model.errors import Denied, Unavailable
from rotation.model.reasons import Code
from tests.memory import MemoryEdges
from tests.memory.store import StoreModel
from tests.unit.test_config import CREDENTIAL, VALID, changed
from tests.unit.test_rotations import Client, Instance, running

if TYPE_CHECKING:
    from rotation.front.credentials import SeenCredential
    from rotation.model.wire import JsonObject

NAME = "orders-db"


@pytest.fixture(autouse=True)
def ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "WAYS", Ways(fresh=0.0))


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[JsonObject]:
    told: list[JsonObject] = []
    monkeypatch.setattr(log, "event", lambda name, **fields: told.append({"event": name, **fields}))
    return told


class Site:
    """An app's credentials, and the hours of its clock."""

    def __init__(self, memory: MemoryEdges | None = None, *instances: Instance) -> None:
        self.edges = memory or MemoryEdges(parse(yaml.safe_dump(VALID)))
        self.client: Any = Client(*instances)

    def one(self, *, fresh: bool = False) -> SeenCredential:
        return asyncio.run(samples.one(self.edges, self.client, NAME, fresh=fresh))

    def sample(self) -> None:
        asyncio.run(samples.sample_all(self.edges, self.client))

    def later(self, **span: float) -> None:
        self.edges.clock.now += timedelta(**span)

    def disable(self) -> None:
        credential = self.edges.configuration.credential(NAME)
        version = self.edges.world.current(credential, "blue")
        assert version is not None
        version.disabled = self.edges.now()

    @property
    def looks(self) -> int:
        return sum(what.startswith("database roles") for what in self.edges.calls.reads)

    @property
    def asked(self) -> int:
        """How many times the store was asked for a sample."""
        return sum(what.startswith("storage read") for what in self.edges.calls.reads)

    @property
    def notes(self) -> StoreModel:
        stores = self.edges.world.stores
        assert stores is not None
        return stores.setdefault("notes", StoreModel())


def refusals(seen: SeenCredential) -> list[str]:
    return [one.code for one in seen.findings if one.severity == "refuses"]


def test_a_list_shows_the_last_look_and_when_that_was() -> None:
    site = Site()
    first = site.one()
    site.disable()
    site.later(minutes=9)
    assert site.one() == first
    assert site.looks == 1
    now = site.one(fresh=True)
    assert (refusals(now), now.at > first.at) == (["active-version-disabled"], True)
    assert site.one() == now
    assert site.looks == 2


def test_another_process_shows_the_same() -> None:
    site = Site()
    first = site.one()
    again = MemoryEdges(site.edges.configuration)
    again.world = site.edges.world
    other = Site(again)
    assert other.one() == first
    assert other.looks == 0


def test_what_a_rotation_changed_since_is_looked_at_anew() -> None:
    site = Site()
    first = site.one()
    site.later(minutes=2)
    ended = running("orders-db-1", runtime_status=Status.Completed)
    site.client.instances[NAME] = replace(ended, last_updated_time=site.edges.now())
    site.later(minutes=1)
    assert site.one().at > first.at
    assert site.one().rotation is None
    assert site.looks == 2


def test_while_one_is_under_way_each_of_its_steps_makes_a_sample_old() -> None:
    site = Site()
    began = site.edges.now()
    site.client.instances[NAME] = running("orders-db-1", last_updated_time=began)
    own = Instance("orders-db-1", last_updated_time=began)
    site.client.instances["orders-db-1"] = own
    site.later(minutes=1)
    assert site.one().rotation == "orders-db-1"
    assert site.one().rotation == "orders-db-1"
    assert site.looks == 1
    site.client.instances["orders-db-1"] = replace(own, last_updated_time=site.edges.now())
    site.later(minutes=1)
    site.one()
    assert site.looks == 2


def test_an_old_sample_is_not_shown() -> None:
    site = Site()
    site.one()
    site.later(hours=1, seconds=1)
    site.one()
    assert site.looks == 2


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"credential": "orders-db"}', b"\xff"])
def test_a_sample_of_another_release_is_none(content: bytes) -> None:
    site = Site()
    site.notes.put(f"samples/{NAME}.json", content)
    site.one()
    assert site.looks == 1
    kept = json.loads(site.notes.kept[f"samples/{NAME}.json"].content)
    assert kept["credential"] == NAME


def test_without_a_storage_account_this_process_remembers(lines: list[JsonObject]) -> None:
    site = Site()
    site.edges.world.stores = None
    first = site.one()
    site.later(minutes=1)
    assert (site.one(), site.looks) == (first, 1)
    site.sample()
    assert lines[-1]["codes"] == ["storage-not-set"]
    assert (lines[-1]["event"], lines[-1]["looked"]) == ("sample.done", 1)


def test_storage_that_is_away_stops_nobody() -> None:
    site = Site()
    site.edges.calls.failing["storage"] = Unavailable(Code.STORAGE_UNAVAILABLE, "no answer")
    assert site.one() == site.one()
    assert site.looks == 1


def test_storage_that_is_away_is_left_alone_for_a_minute() -> None:
    """Each of many would wait for it twice, and so would whoever looks at the list."""
    site = Site()
    site.edges.calls.failing["storage"] = Unavailable(Code.STORAGE_UNAVAILABLE, "no answer")
    site.one()
    site.edges.calls.failing.clear()
    site.one(fresh=True)
    assert site.asked == 0
    site.later(minutes=1)
    assert site.one(fresh=True) == site.one()
    assert site.asked > 0


def test_storage_that_does_not_answer_in_time_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site()
    seen = site.one()

    def late(_: MemoryEdges, calls: list[object], seconds: float) -> list[None]:
        assert seconds == samples.STORE_SECONDS
        return [None for _ in calls]

    with monkeypatch.context() as patched:
        patched.setattr(MemoryEdges, "side_by_side", late)
        failure = samples.keep(site.edges, seen)
    assert failure is not None
    assert "did not answer within 5 s" in failure.message


def test_slow_looks_hold_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's own threads are few, and events and pages need them."""
    site, slow, own = Site(), threading.Event(), ThreadPoolExecutor(1)

    def look(*_: Any) -> Any:
        assert slow.wait(20)
        raise Denied(Code.DATABASE_RIGHT, "at last")

    async def beside() -> str:
        asyncio.get_running_loop().set_default_executor(own)
        looking = asyncio.create_task(samples.sample_all(site.edges, site.client))
        await asyncio.sleep(0.05)
        answer = await asyncio.wait_for(asyncio.to_thread(str, "here"), 5)
        slow.set()
        await looking
        return answer

    monkeypatch.setattr(samples, "look", look)
    assert asyncio.run(beside()) == "here"


def test_the_newer_of_two_looks_stays() -> None:
    site = Site()
    early = site.one()
    site.later(minutes=1)
    late = site.one(fresh=True)
    assert samples.keep(site.edges, early) is None
    kept = samples.read(site.edges, NAME)
    assert kept is not None
    assert kept.at == late.at


def test_nothing_in_a_sample_is_secret() -> None:
    site = Site()
    for how in ("role", "password"):
        site.edges.world.spoil(NAME, how)
        site.one(fresh=True)
        text = site.notes.kept[f"samples/{NAME}.json"].content.decode()
        assert not [value for value in site.edges.world.values if value in text]


# -- the timer


def test_the_timer_tells_what_changed_and_one_line_for_all(lines: list[JsonObject]) -> None:
    site = Site()
    site.sample()
    at_first = [line for line in lines if line["event"] == "credential.finding"]
    assert {line["severity"] for line in at_first} <= {"tells"}
    lines.clear()
    site.disable()
    site.later(minutes=10)
    site.sample()
    change, done = lines
    assert (change["event"], change["change"], change["codes"], change["object"]) == (
        "credential.finding",
        "appeared",
        ["active-version-disabled"],
        "secret orders-db-blue",
    )
    assert change["command"].startswith("az keyvault secret set-attributes --id https://")
    assert (done["event"], done["looked"], done["refuses"], done["codes"]) == (
        "sample.done",
        1,
        1,
        [],
    )
    lines.clear()
    site.later(minutes=10)
    site.sample()
    assert [line["event"] for line in lines] == ["sample.done"]


def test_whoever_sees_a_change_first_tells_it_once(lines: list[JsonObject]) -> None:
    site = Site()
    site.sample()
    site.disable()
    lines.clear()
    site.one(fresh=True)
    site.sample()
    assert [line["event"] for line in lines] == ["credential.finding", "sample.done"]


def test_what_is_mended_is_told_too(lines: list[JsonObject]) -> None:
    site = Site()
    site.disable()
    site.sample()
    credential = site.edges.configuration.credential(NAME)
    version = site.edges.world.current(credential, "blue")
    assert version is not None
    version.disabled = None
    lines.clear()
    site.sample()
    assert [(line.get("change"), line.get("codes")) for line in lines] == [
        ("gone", ["active-version-disabled"]),
        (None, []),
    ]


def test_metrics_have_a_number_for_each_severity(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: dict[str, int] = {}

    class Gauge:
        def set(self, value: int, labels: dict[str, str]) -> None:
            assert labels["credential"] == NAME
            numbers[labels["severity"]] = value

    monkeypatch.setattr(log, "FINDINGS", Gauge())
    site = Site()
    site.disable()
    site.sample()
    assert numbers.keys() == {"refuses", "waits", "aborts", "waived", "tells"}
    assert (numbers["refuses"], numbers["waits"]) == (1, 0)


def test_one_that_cannot_be_looked_up_keeps_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch, lines: list[JsonObject]
) -> None:
    two = changed(("credentials.away-db", other_entry()))
    site = Site(MemoryEdges(parse(yaml.safe_dump(two))))
    found = rotations.lately

    async def lately(client: Any, name: str) -> Any:
        if name == "away-db":
            raise Unavailable(Code.HUB_UNAVAILABLE, "no answer")
        return await found(client, name)

    monkeypatch.setattr(rotations, "lately", lately)
    site.sample()
    assert (lines[-1]["credentials"], lines[-1]["looked"]) == (2, 1)
    assert lines[-1]["codes"] == ["task-hub-unavailable"]


def test_the_one_that_was_not_looked_at_for_longest_comes_first(
    monkeypatch: pytest.MonkeyPatch, lines: list[JsonObject]
) -> None:
    two = changed(("credentials.away-db", other_entry()))
    site = Site(MemoryEdges(parse(yaml.safe_dump(two))))
    asyncio.run(samples.one(site.edges, site.client, "away-db"))
    site.later(minutes=1)
    order: list[str] = []
    look = credentials.look

    def slow(edges: MemoryEdges, name: str, rotation: str | None) -> SeenCredential:
        order.append(name)
        site.later(minutes=5)
        return look(edges, name, rotation)

    monkeypatch.setattr(samples, "look", slow)
    monkeypatch.setattr(samples, "BY_TIMER", 1)
    site.sample()
    assert order == [NAME]
    assert (lines[-1]["credentials"], lines[-1]["looked"]) == (2, 1)
    site.sample()
    assert order == [NAME, "away-db"]


def other_entry() -> JsonObject:
    """Another credential, on names of its own."""
    text = yaml.safe_dump(VALID["credentials"][NAME])
    for name in ("orders_", "orders-", "api", "app_", "reports"):
        text = text.replace(name, f"x{name}")
    entry: JsonObject = yaml.safe_load(text)
    return entry


# -- what a waiver of the file makes of it


def test_what_the_file_waives_is_told_as_waived() -> None:
    waived = changed((f"{CREDENTIAL}.waive", ["standby-role-weaker"]))
    site = Site(MemoryEdges(parse(yaml.safe_dump(waived))))
    from tests.unit.test_parity import INSERT  # noqa: PLC0415 - of one test

    site.edges.world.database.lacking["orders_green"] = (INSERT,)
    (finding,) = (one for one in site.one().findings if one.code == "standby-role-weaker")
    assert (finding.severity, finding.waivable) == ("waived", True)
    assert wire.read(type(finding), wire.value_of(finding)) == finding


def test_a_right_that_is_missing_is_found_by_the_timer(lines: list[JsonObject]) -> None:
    site = Site()
    site.edges.calls.failing["cluster routing"] = Denied(Code.CLUSTER_DENIED, "list services")
    site.sample()
    assert [line["codes"] for line in lines if line.get("severity") == "refuses"] == [
        ["cluster-denied"]
    ]


# -- at a glance


def glance(site: Site, seconds: float = 5.0) -> samples.Glance:
    return asyncio.run(samples.now(site.edges, site.client, NAME, seconds))


def test_a_glance_is_a_look_unless_there_was_one_a_moment_ago() -> None:
    site = Site()
    first = glance(site)
    assert first.seen is not None
    assert (first.seen.active, first.problem, site.looks) == ("blue", None, 1)
    site.later(seconds=10)
    assert (glance(site).seen, site.looks) == (first.seen, 1)
    site.later(seconds=10)
    assert glance(site).seen != first.seen
    assert site.looks == 2


def test_a_glance_that_takes_too_long_shows_the_last_look_and_is_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site()
    before = glance(site).seen
    site.later(minutes=1)
    goes_on, begun, looks = threading.Event(), threading.Event(), 0

    def slow(*given: Any) -> SeenCredential:
        nonlocal looks
        looks += 1
        begun.set()
        goes_on.wait(30)
        return credentials.look(*given)

    monkeypatch.setattr(samples, "look", slow)
    try:
        for _ in range(2):
            late = glance(site, 0.01)
            assert begun.wait(30)
            assert (late.seen, looks) == (before, 1)
            assert "the look took more than 0.01 s" in str(late.problem)
        # What a rotation may have changed since is not shown in its place.
        site.client.instances[NAME] = replace(
            running("orders-db-1", runtime_status=Status.Completed),
            last_updated_time=site.edges.now(),
        )
        assert glance(site, 0.01).seen is None
    finally:
        goes_on.set()


def test_a_glance_where_the_hub_is_away_says_so() -> None:
    site = Site()

    async def away(*_: Any, **__: Any) -> None:
        raise Unavailable(Code.HUB_UNAVAILABLE, "the task hub does not answer")

    site.client.get_status = away
    assert glance(site) == samples.Glance(None, "the task hub does not answer")


def known(site: Site) -> list[SeenCredential | None]:
    return asyncio.run(samples.known(site.edges, [NAME, "other-db"]))


def test_what_is_known_of_many_is_no_look_and_no_older_than_an_hour() -> None:
    site = Site()
    assert known(site) == [None, None]
    seen = site.one()
    again = Site(MemoryEdges(site.edges.configuration))
    again.edges.world = site.edges.world  # another process has the store
    assert known(again) == [seen, None]
    asked = again.asked
    site.later(minutes=9)
    assert [one and one.at for one in known(site)] == [seen.at, None]
    site.later(minutes=59)
    assert known(site) == [None, None]
    assert (site.looks, again.looks, asked) == (1, 0, 2)


def test_what_is_known_of_many_is_what_this_process_has_where_the_store_is_away() -> None:
    site = Site()
    seen = site.one()
    site.edges.calls.failing["storage"] = Denied(Code.STORAGE_DENIED, "the account refuses us")
    site.later(minutes=30)
    assert [one and one.at for one in known(site)] == [seen.at, None]
