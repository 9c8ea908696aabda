"""Records that outlive the task hub: what is kept of them, and lists over both."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from azure.durable_functions import OrchestrationRuntimeStatus as Status
from hypothesis import given
from hypothesis import strategies as st

from rotation.app import notify_and_publish
from rotation.config import parse
from rotation.front import archive, history, keeping
from rotation.front.rotations import describe
from rotation.front.triggers import sweep_all
from rotation.model import wire
from rotation.model.activities import Notice, Reference
from rotation.model.catalogue import Origin, Outcome
from rotation.model.errors import Denied, Unavailable
from rotation.model.reasons import Code
from rotation.model.record import Request, ShownRecord
from tests.memory import MemoryEdges
from tests.unit.test_config import VALID
from tests.unit.test_rotations import Client, Instance

if TYPE_CHECKING:
    from datetime import datetime

NOW = Instance("x").created_time
SPAN = archive.Span(NOW - timedelta(days=400), NOW + timedelta(days=1))
ROTATION = "orders-db-20261124T030000-ab12"
AWAY = Unavailable(Code.STORAGE_UNAVAILABLE, "the account does not answer")


def request(rotation: str, credential: str = "orders-db") -> Request:
    return Request(
        rotation=rotation,
        credential=credential,
        origin=Origin.MANUAL,
        requested_by="ada",
        reason="",
    )


def instance(
    rotation: str = ROTATION,
    at: datetime = NOW,
    credential: str = "orders-db",
    status: Status = Status.Completed,
    **changes: Any,
) -> Instance:
    """A rotation that has ended, as the hub has it."""
    output = {"outcome": "completed", "stage": "done", "outcomeReason": "approved", **changes}
    return Instance(
        rotation,
        input_=json.dumps(wire.value_of(request(rotation, credential))),
        output=json.dumps(output) if status is Status.Completed else None,
        runtime_status=status,
        created_time=at,
        last_updated_time=at + timedelta(minutes=1),
    )


@pytest.fixture
def edges() -> MemoryEdges:
    found = MemoryEdges(parse(yaml.safe_dump(VALID)))
    found.clock.now = NOW
    return found


def kept(edges: MemoryEdges, *instances: Instance) -> None:
    for one in instances:
        archive.write(edges.store("records"), describe(one))


def files(edges: MemoryEdges) -> dict[str, bytes]:
    assert edges.world.stores is not None
    model = edges.world.stores.get("records")
    return {} if model is None else {name: one.content for name, one in model.kept.items()}


def page(edges: MemoryEdges, client: Any, limit: int = 100, **more: Any) -> history.Page:
    span, credential = more.get("span", SPAN), more.get("credential")
    search = history.Search(span, credential, more.get("who"), limit)
    return asyncio.run(history.page(edges, client, search))


def walked(
    edges: MemoryEdges, client: Client, limit: int, credential: str | None, between: Any = None
) -> list[str]:
    """The rotations of all pages, by their cursors."""
    span: archive.Span | None = SPAN
    found = []
    while True:
        assert span is not None
        part = page(edges, client, limit, span=span, credential=credential)
        assert part.incomplete is None
        assert len(part.records) <= limit
        found += [record.rotation for record in part.records]
        if part.next is None:
            return found
        span = history.beginning(SPAN, part.next)
        if between is not None:
            between()


def test_what_is_kept_is_what_the_hub_said(edges: MemoryEdges) -> None:
    one = instance(evidence={"decided": None}, workloads={"api": "retired"})
    kept(edges, one)
    assert archive.read(edges.store("records"), ROTATION) == describe(one)
    place = archive.key(describe(one)) + "completed"
    assert sorted(files(edges)) == [
        f"by-credential/orders-db/{place}",
        f"by-id/{ROTATION}.json",
        f"by-time/{place}",
    ]


def test_a_store_that_hangs_is_waited_for_as_long_as_said(
    edges: MemoryEdges, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(_: MemoryEdges, calls: list[object], seconds: float) -> list[None]:
        assert seconds == history.ANSWER_WITHIN
        return [None for _ in calls]

    monkeypatch.setattr(MemoryEdges, "side_by_side", late)
    found = page(edges, Client(instance()))
    assert [record.rotation for record in found.records] == [ROTATION]
    assert found.incomplete is not None
    assert "did not answer within 10 s" in found.incomplete.text
    with pytest.raises(Unavailable, match="did not answer"):
        asyncio.run(history.find(edges, Client(), ROTATION))


def test_a_repeat_changes_nothing_and_completes_what_is_missing(edges: MemoryEdges) -> None:
    for number in range(3):
        edges.calls.failing = {f"storage create records/{begins}": AWAY for begins in ("by-t",)}
        if number == 0:
            with pytest.raises(Unavailable):
                kept(edges, instance())
            assert len(files(edges)) == 2
        edges.calls.failing = {}
        kept(edges, instance(outcome="aborted") if number else instance())
    assert edges.world.stores is not None
    assert set(edges.world.stores["records"].writes.values()) == {1}
    assert len(files(edges)) == 3
    found = archive.read(edges.store("records"), ROTATION)
    assert found is not None
    assert found.outcome is Outcome.COMPLETED


def test_the_newest_sort_first_and_those_of_one_moment_by_id() -> None:
    moments = [NOW, NOW + timedelta(milliseconds=1), NOW - timedelta(days=9000)]
    ids = ["a", "a-1", "a0", "ab", "b", "A"]
    records = [describe(instance(name, at)) for at in moments for name in ids]
    keys = sorted(archive.key(record) + "rolled-back" for record in records)
    expected = sorted(records, key=lambda one: str(one.created), reverse=True)
    assert [archive.rotation_of(key[: -len("rolled-back")]) for key in keys[:6]] == [
        one.rotation for one in sorted(expected[:6], key=lambda one: f"{one.rotation}.")
    ]
    assert [archive.created(key).date() for key in keys] == [
        wire.instant(one.created).date() for one in expected if one.created
    ]


OTHERS = [
    b"",
    b"{}",
    b"[]",
    b"\xff",
    b'{"format": 2, "record": {"created": "2026-11-01T00:00:00.000Z"}}',
    b'{"format": 1, "record": {"created": "yesterday"}}',
    b'{"format": 1, "record": []}',
    b"[" * 60_000,
]


@pytest.mark.parametrize("content", OTHERS)
def test_what_this_release_does_not_understand_is_shown_as_such(
    edges: MemoryEdges, content: bytes
) -> None:
    edges.store("records").create(f"by-id/{ROTATION}.json", content)
    found = archive.read(edges.store("records"), ROTATION)
    assert found is not None
    assert (found.rotation, found.outcome) == (ROTATION, Outcome.NEEDS_ATTENTION)
    assert found.reasons[0].code == Code.UNREADABLE


def test_a_record_of_an_earlier_release_is_read(edges: MemoryEdges) -> None:
    """It lacks what later ones brought."""
    value = wire.value_of(describe(instance()))
    for later in ("changed", "releases", "doubts", "untold", "reasons", "evidence", "waivers"):
        del value[later]
    content = json.dumps({"format": 1, "record": value}).encode()
    edges.store("records").create(f"by-id/{ROTATION}.json", content)
    assert archive.read(edges.store("records"), ROTATION) == describe(instance())


def test_one_that_only_the_store_has_is_found(edges: MemoryEdges) -> None:
    kept(edges, instance())
    found = asyncio.run(history.find(edges, Client(), ROTATION))
    assert found == describe(instance())
    assert asyncio.run(history.find(edges, Client(), f"{ROTATION}-2")) is None
    assert asyncio.run(history.find(edges, Client(), "../by-time")) is None


def test_the_hub_s_word_counts_while_it_has_one(edges: MemoryEdges) -> None:
    kept(edges, instance())
    client = Client(instance(outcome="rolled-back"))
    found = asyncio.run(history.find(edges, client, ROTATION))
    assert found is not None
    assert found.outcome is Outcome.ROLLED_BACK
    assert [one.outcome for one in page(edges, client).records] == [Outcome.ROLLED_BACK]


def test_without_an_account_all_is_as_the_hub_has_it(edges: MemoryEdges) -> None:
    edges.world.stores = None
    client = Client(instance())
    assert [one.rotation for one in page(edges, client).records] == [ROTATION]
    assert asyncio.run(history.find(edges, Client(), ROTATION)) is None
    assert archive.kept_at_all(edges) is False
    asyncio.run(keeping.catch_up(edges, client))
    ended(edges, client)
    assert client.started == []


def test_a_store_that_is_away_is_told_and_hides_nothing_of_the_hub(edges: MemoryEdges) -> None:
    kept(edges, instance("orders-db-1-a", NOW - timedelta(days=100)))
    client = Client(instance())
    for away in ("storage names", "storage read"):
        edges.calls.failing = {away: AWAY}
        part = page(edges, client)
        assert [one.rotation for one in part.records] == [ROTATION]
        assert part.incomplete is not None
        assert (part.incomplete.code, part.next) == (Code.STORAGE_UNAVAILABLE, None)
        if away == "storage read":
            with pytest.raises(Unavailable):  # what cannot be looked up is not absent
                asyncio.run(history.find(edges, client, "orders-db-1-a"))


NAMES = st.sampled_from(["orders-db", "orders", "orders-db-2"])
PLACES = st.sampled_from(["hub", "store", "both"])
MOMENTS = st.integers(0, 40).map(lambda minutes: NOW - timedelta(minutes=7 * minutes))
AGES = st.one_of(MOMENTS, st.integers(0, 399).map(lambda days: NOW - timedelta(days=days)))


@given(
    drawn=st.lists(st.tuples(NAMES, PLACES, AGES), max_size=60),
    limit=st.integers(1, 9),
    credential=st.one_of(st.none(), NAMES),
    late=st.integers(0, 2),
)
def test_pages_have_each_rotation_once_the_newest_first(
    drawn: list[tuple[str, str, datetime]], limit: int, credential: str | None, late: int
) -> None:
    edges, client = MemoryEdges(parse(yaml.safe_dump(VALID))), Client()
    expected = []
    for number, (name, place, at) in enumerate(drawn):
        one = instance(f"{name}-{number}-a", at, name)
        if place != "store":
            client.instances[one.instance_id] = one
        if place != "hub":
            kept(edges, one)
        if credential in {None, name}:
            expected.append(archive.key(describe(one)))

    def begin() -> None:
        """Another one begins between two pages, which no later page has."""
        number = len(client.instances)
        if late:
            one = instance(f"orders-db-new{number}-a", NOW + timedelta(seconds=number + 1))
            client.instances[one.instance_id] = one

    found = walked(edges, client, limit, credential, begin)
    assert found == [archive.rotation_of(key) for key in sorted(expected)]


def test_a_page_asks_for_little_of_ten_thousand(edges: MemoryEdges) -> None:
    for number in range(10_000):
        one = describe(instance(f"orders-db-{number}-a", NOW - timedelta(hours=number)))
        place = f"{archive.key(one)}completed"
        for prefix in ("by-time", "by-credential/orders-db"):
            edges.store("records").create(f"{prefix}/{place}", b"")
        if number % 100 < 3:
            kept(edges, instance(f"orders-db-{number}-a", NOW - timedelta(hours=number)))
    client = Client()
    edges.calls.made.clear()
    span = archive.Span(NOW - timedelta(days=4000), NOW)
    for credential in (None, "orders-db"):
        part = page(edges, client, 50, span=span, credential=credential)
        assert part.next is not None
        assert [one.rotation for one in part.records] == [f"orders-db-{n}-a" for n in range(3)]
    assert len(edges.calls.reads) == 2 * (1 + 50)
    assert len(client.queries) <= 4


def test_a_hub_full_of_rotations_is_asked_for_the_newest_alone(edges: MemoryEdges) -> None:
    every = [
        instance(f"orders-db-{number}-a", NOW - timedelta(minutes=number)) for number in range(3000)
    ]
    client = Client(*every)
    part = page(edges, client, 20)
    assert [one.rotation for one in part.records] == [one.instance_id for one in every[:20]]
    assert len(client.queries) < 30
    client.queries.clear()
    span = history.beginning(SPAN, str(part.next))
    assert span is not None
    part = page(edges, client, 20, span=span)
    assert [one.rotation for one in part.records] == [one.instance_id for one in every[20:40]]
    assert len(client.queries) < 30


def ended(edges: MemoryEdges, client: Client, outcome: Outcome | None = Outcome.COMPLETED) -> None:
    """Runs `notify` as at the end of a rotation."""
    notice = Notice(
        kind=None,
        number=9,
        time=wire.moment(NOW),
        request=request(ROTATION),
        outcome=outcome,
        outcome_reason="approved",
    )
    reference = Reference(rotation=ROTATION, credential="orders-db", notice=notice)
    asyncio.run(notify_and_publish(edges, client, wire.value_of(reference)))


def keep(edges: MemoryEdges, client: Client) -> dict[str, Any]:
    reference = wire.value_of(Reference(rotation=ROTATION, credential="orders-db"))
    return asyncio.run(keeping.keep(edges, client, reference))


def test_a_rotation_s_end_starts_what_keeps_it_once(edges: MemoryEdges) -> None:
    client = Client()
    ended(edges, client, None)
    assert client.started == []
    for _ in range(2):
        ended(edges, client)
    assert client.started == [{"rotation": ROTATION, "credential": "orders-db"}]
    assert client.instances[f"{ROTATION}.keep"].name == "keep"


def test_that_it_cannot_be_started_alters_nothing(
    edges: MemoryEdges, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client()

    def fails() -> None:
        raise RuntimeError("the hub says no")

    client.before = fails
    ended(edges, client)
    assert '"record.unkept"' in caplog.text
    assert "says no" not in caplog.text


def test_it_is_kept_once_it_has_ended(edges: MemoryEdges) -> None:
    client = Client()
    assert keep(edges, client)["done"] is False
    for status in (Status.Pending, Status.Running):
        client.instances[ROTATION] = instance(status=status)
        assert keep(edges, client)["done"] is False
    assert files(edges) == {}
    client.instances[ROTATION] = instance()
    edges.calls.failing = {"storage": AWAY}
    assert keep(edges, client)["error"]["transient"] is True
    edges.calls.failing = {}
    for _ in range(2):
        assert keep(edges, client)["done"] is True
    assert archive.read(edges.store("records"), ROTATION) == describe(instance())


def test_the_sweep_keeps_what_nothing_else_has_kept(
    edges: MemoryEdges, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    client = Client(
        instance(),
        instance("orders-db-1-a", NOW - timedelta(days=20), status=Status.Terminated),
        instance("orders-db-2-a", NOW - timedelta(days=2), status=Status.Failed),
        instance("orders-db-3-a", NOW - timedelta(days=1), status=Status.Running),
    )
    kept(edges, instance())
    edges.calls.failing = {"storage create": AWAY}
    asyncio.run(sweep_all(edges, client))
    assert len(files(edges)) == 3
    assert caplog.text.count('"record.unkept"') == 1  # each of the others would wait as well
    edges.calls.failing = {
        "storage create records/by-id/orders-db-1": Denied(Code.STORAGE_DENIED, "no")
    }
    asyncio.run(sweep_all(edges, client))
    edges.calls.failing = {}
    asyncio.run(sweep_all(edges, client))
    assert edges.world.stores is not None
    writes = edges.world.stores["records"].writes
    by_id = sorted(name for name in writes if name.startswith("by-id/"))
    assert by_id == sorted(
        f"by-id/{one}.json" for one in (ROTATION, "orders-db-1-a", "orders-db-2-a")
    )
    assert set(writes.values()) == {1}
    found = archive.read(edges.store("records"), "orders-db-1-a")
    assert found is not None
    assert found.reasons[0].code == Code.ENDED_OUTSIDE
    said = [
        json.loads(one.getMessage())
        for one in caplog.records
        if "records.kept" in one.msg or "records.kept" in one.getMessage()
    ]
    assert [one["added"] for one in said] == [0, 1, 1]


@pytest.mark.parametrize("status", [Status.Completed, Status.Terminated])
def test_what_this_release_cannot_read_is_left_to_one_that_can(
    edges: MemoryEdges, status: Status
) -> None:
    """After a release was taken back: what were kept instead would stay for good."""
    one = instance(status=status)
    client = Client(replace(one, custom_status={"workloads": ["of a later release"]}))
    assert keep(edges, client)["done"] is False
    asyncio.run(sweep_all(edges, client))
    assert files(edges) == {}
    asyncio.run(sweep_all(edges, Client(one)))
    assert f"by-id/{ROTATION}.json" in files(edges)


def test_the_sweep_goes_on_though_the_list_cannot_be_had(
    edges: MemoryEdges, caplog: pytest.LogCaptureFixture
) -> None:
    edges.calls.failing = {"storage names": AWAY}
    asyncio.run(sweep_all(edges, Client(instance())))
    assert '"record.unkept"' in caplog.text
    assert files(edges) == {}


def test_cursors_are_taken_back_as_they_were_given() -> None:
    key = archive.key(describe(instance()))
    assert history.beginning(SPAN, history.encoded(key)) == replace(SPAN, after=key)
    for other in ("x", "é", history.encoded("1.a."), history.encoded(f"{key}completed"), "A" * 999):
        assert history.beginning(SPAN, other) is None


def test_a_list_is_not_of_other_credentials(edges: MemoryEdges) -> None:
    kept(edges, instance("orders-db-2-1-a", credential="orders-db-2"))
    assert page(edges, Client(), credential="orders-db").records == []
    assert page(edges, Client(), credential="no/name").records == []
    shown: list[ShownRecord] = page(edges, Client(), credential="orders-db-2").records
    assert [one.credential for one in shown] == ["orders-db-2"]
