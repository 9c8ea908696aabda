"""Samples of who uses the logins: what is asked, how often, and what of it is on the page later."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from rotation.config import parse
from rotation.decisions import usage
from rotation.front.usage import Sampler
from rotation.front.whose import Whose
from rotation.model import wire
from rotation.model.errors import Denied, Unavailable
from rotation.model.reasons import Code
from rotation.model.usage import Day
from rotation.model.world import OWN_APPLICATION, Session
from rotation.steps import ledger
from rotation.steps.ledger import Before
from rotation.steps.proving import collect
from tests.memory import MemoryEdges
from tests.memory.cluster import NODE
from tests.unit.people import NOW
from tests.unit.test_config import CREDENTIAL, WORKLOAD, changed
from tests.unit.test_cron_jobs import FILE
from tests.unit.test_pages import Site, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.model.record import Usage
    from tests.memory.store import StoreModel

ETL = Session("orders_blue", "etl-nightly", "10.1.2.3", "active", None)
MINUTE = timedelta(minutes=1)


class World:
    """One credential that blue serves, and a sampler that is called once a minute."""

    def __init__(self, *changes: tuple[str, Any], edges: MemoryEdges | None = None) -> None:
        self.edges = edges or MemoryEdges(parse(yaml.safe_dump(changed(*changes))))
        self.sampler = Sampler(self.edges)

    def __call__(self, *jobs: Session, minutes: int = 1) -> World:
        """So many minutes with these sessions, beside those of pods."""
        self.edges.world.database.jobs = list(jobs)
        for _ in range(minutes):
            self.sampler.run()
            self.edges.clock.now += MINUTE
        return self

    @property
    def store(self) -> StoreModel:
        self.edges.store("notes")
        return self.edges.world.stores["notes"]  # type: ignore[index]

    def days(self) -> list[Day]:
        return [usage.read(kept.content) for _, kept in sorted(self.store.kept.items())]

    def rows(self) -> list[tuple[str, str, str | None, int]]:
        return [
            (row.application, row.client, row.workload, row.samples)
            for day in self.days()
            for row in day.rows
        ]

    def asked(self, what: str) -> int:
        return sum(call.startswith(what) for call in self.edges.calls.reads)

    def used(self) -> Usage:
        credential = self.edges.configuration.credential("orders-db")
        found = ledger.used(self.edges, credential, "green", Before("orders-db", None))
        assert found is not None
        return found


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    lines = [json.loads(record.getMessage()) for record in caplog.records]
    return [
        (line["event"], line["subject"], line.get("code", ""))
        for line in lines
        if line["event"].startswith("usage.")
    ]


@pytest.fixture(autouse=True)
def _logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level("INFO", "rotation"):
        yield


def days_of(site: Site, first: datetime, connected: Any) -> None:
    """Thirty days with a sample each minute; `connected` are the sessions of a moment."""
    world = World(edges=site.edges)
    site.edges.clock.now = first
    for _ in range(30 * 1440):
        # Only where somebody may be seen, and four times a day: the rest is alike.
        at = site.edges.clock.now
        jobs = connected(at)
        if jobs or (at.minute == 0 and at.hour % 6 == 0):
            world(*jobs)
        else:
            site.edges.clock.now += MINUTE


@pytest.mark.parametrize("second", [0, 31, 59])
def test_a_client_of_ninety_seconds_a_day_is_on_the_page_thirty_days_later(second: int) -> None:
    """Wherever between two samples it begins, one of them sees it."""
    site, first = Site("key"), NOW - timedelta(days=30)

    def daily(at: datetime) -> list[Session]:
        begins = at.replace(hour=2, minute=10, second=second)
        return [ETL] if begins <= at < begins + timedelta(seconds=90) else []

    days_of(site, first.replace(hour=0, minute=0, second=0), daily)
    site.edges.world.database.jobs = []
    page = visible(site.ask())
    last = (site.edges.clock.now - timedelta(days=1)).replace(hour=2, minute=10)
    seen = usage.read(site.edges.store("notes").read(f"usage/orders-db/{last:%F}.json").content)  # type: ignore[union-attr]
    assert [row.samples for row in seen.rows if row.workload is None] in ([1], [2])
    words = f"etl-nightly from 10.1.2.3, last seen {last:%a %-d %b}, 02:1"
    assert "Others used the blue login in the last 31 days" in page
    assert words in page
    assert "in no workload" in page


@pytest.mark.parametrize("seconds", [1, 5, 30, 60, 90])
def test_a_shorter_client_is_seen_with_the_chance_that_the_guide_says(seconds: int) -> None:
    """In as many of the sixty seconds of a minute at which it may begin as it has itself."""
    world = World()
    seen = 0
    for begins in range(60):
        client = replace(ETL, application=f"from {begins}")
        for minute in range(3):
            at = minute * 60 - begins
            world(*([client] if 0 <= at < seconds else []))
        seen += any(row[0] == client.application for row in world.rows())
    assert seen == min(60, seconds)


def test_a_client_of_thirty_days_ago_is_on_the_page() -> None:
    site = Site("key")
    world = World(edges=site.edges)
    site.edges.clock.now = NOW - timedelta(days=30)
    world(ETL)
    world()
    site.edges.clock.now = NOW
    assert "etl-nightly from 10.1.2.3, last seen Sun 25 Oct, 03:00 UTC" in visible(site.ask())
    assert [user.client for user in world.used().users] == ["10.1.2.3"]
    site.edges.clock.now = NOW + timedelta(days=2)
    assert world.used().users == []


def test_a_minute_is_one_query_of_each_server_for_all_of_its_credentials() -> None:
    file = changed()
    for name, host in (("second", "pg.example"), ("third", "other.example")):
        text = json.dumps(file["credentials"]["orders-db"]).replace("orders", name)
        file["credentials"][name] = json.loads(text)
        file["credentials"][name]["database"]["host"] = host
    file["credentials"]["second"]["database"]["replicas"] = ["ro.example"]
    world = World(edges=MemoryEdges(parse(yaml.safe_dump(file))))
    world(ETL, replace(ETL, role="second_green"), minutes=5)
    asked = [what for what in world.edges.calls.reads if what.startswith("database sessions")]
    both = "database sessions orders_blue orders_green second_blue second_green"
    assert asked[:3] == [
        both,
        "database sessions second_blue second_green at ro.example:5432",
        "database sessions third_blue third_green",
    ]
    assert len(asked) == 3 * 5
    assert [day.samples for day in world.days()] == [
        5,
        5,
        3,
    ]  # of the third all is written at its minute
    strange = [[row.role for row in day.rows if row.workload is None] for day in world.days()]
    assert strange == [["orders_blue"], ["second_green"], []]


def test_a_schedule_that_is_too_eager_asks_no_more_often() -> None:
    world = World()
    world(ETL)
    for _ in range(5):
        world.edges.clock.now += timedelta(seconds=10)
        world.sampler.run()
    assert world.asked("database sessions") == 2


def test_pods_are_of_their_workload_and_asked_for_once() -> None:
    world = World()
    world(minutes=60)
    assert world.rows() == [("", "", "api", 53)]
    looks = world.asked("cluster listed")
    assert looks == 2 * 6  # both slots, at the first sample and each time that a look is old


def test_a_pod_that_comes_up_is_looked_for_at_once_and_a_stranger_not_each_minute() -> None:
    world = World()
    world(ETL)
    cluster = world.edges.world.clusters["aks"]
    before = world.asked("cluster listed")
    world(ETL, minutes=5)
    assert world.asked("cluster listed") == before
    cluster.scale(cluster.deployments["orders", "api-blue"], 4)
    world.edges.calls.pause(5)
    world(ETL, minutes=4)
    assert world.asked("cluster listed") == before + 2
    assert world.rows()[1:] == [("etl-nightly", "10.1.2.3", None, 10)]


def test_strangers_on_two_servers_are_not_forgotten_for_each_other() -> None:
    world = World((f"{CREDENTIAL}.database.replicas", ["ro.example"]))
    world.edges.world.database.readers = [replace(ETL, client="10.1.2.4")]
    world(ETL, minutes=10)
    # One look for both, or one for each where they answer one after the other.
    assert world.asked("cluster listed") == 4
    (day,) = world.days()
    assert {row.client for row in day.rows if row.workload is None} == {"10.1.2.3", "10.1.2.4"}


def test_a_session_stays_its_workloads_when_its_pod_is_gone() -> None:
    """A node that is gone says goodbye to no server: for hours its sessions seem to be there."""
    whose, edges = Whose(), MemoryEdges(parse(yaml.safe_dump(changed())))
    credential = edges.configuration.credential("orders-db")
    (pod, *_) = edges.pods("aks").listed(credential.workloads[0].deployment("blue"))
    left = Session("orders_blue", "", pod.addresses[0], "idle", edges.clock.now)
    assert whose.of(edges, credential, "pg", [left]) == ([(left, "api")], None)
    cluster = edges.world.clusters["aks"]
    cluster.deployments["orders", "api-blue"].pods.clear()
    edges.clock.now += timedelta(hours=2)
    renamed = replace(left, application="api/blue", state="idle in transaction")
    assert whose.of(edges, credential, "pg", [renamed]) == ([(renamed, "api")], None)
    later = replace(left, since=edges.clock.now)
    assert whose.of(edges, credential, "pg", [later]) == ([(later, None)], None)


@pytest.mark.parametrize(
    ("addresses", "client", "application", "workload", "looks"),
    [
        (["203.0.113.0/28"], "203.0.113.7", "api", "api", 0),
        (["203.0.113.0/28"], "203.0.113.7", "psql", None, 0),
        ("nodes", NODE, "api", "api", 2),
        ("nodes", NODE, "psql", None, 2),
    ],
)
def test_whose_sessions_are_is_told_as_in_the_evidence(
    addresses: Any, client: str, application: str, workload: str | None, looks: int
) -> None:
    world = World((f"{WORKLOAD}.addresses", addresses))
    world.edges.world.clusters["aks"].deployments["orders", "api-blue"].pods[0].connected = False
    whose, credential = Whose(), world.edges.configuration.credential("orders-db")
    seen = Session("orders_blue", application, client, "idle", None)
    assert whose.of(world.edges, credential, "pg", [seen]) == ([(seen, workload)], None)
    assert world.asked("cluster listed") == looks


def test_a_job_that_runs_by_schedule_is_its_workloads() -> None:
    world = World(edges=MemoryEdges(parse(yaml.safe_dump(FILE))))
    schedules = world.edges.world.clusters["aks"].schedules
    job = schedules.found["orders", "report-blue"]
    job.lasts = 7200.0
    schedules.begin(job, "report-blue-by-hand")
    world(ETL)
    assert {row[2] for row in world.rows()} == {"api", "report", None}
    assert [row[0] for row in world.rows() if row[2] is None] == ["etl-nightly"]


def test_the_apps_own_logins_and_others_roles_are_left_out() -> None:
    world = World()
    world(replace(ETL, application=OWN_APPLICATION), replace(ETL, role="somebody"))
    assert world.rows() == [("", "", "api", 1)]


def test_a_credential_that_is_not_to_be_sampled_is_not() -> None:
    world = World((f"{CREDENTIAL}.usage", False))
    world(ETL, minutes=3)
    assert world.asked("database") == 0
    credential = world.edges.configuration.credential("orders-db")
    before = Before("orders-db", None)
    assert collect(world.edges, credential, "green", "r-1", before).usage is None


REFUSAL = Denied(Code.LOGIN_REFUSED, "the server says: password authentication failed")


def test_a_server_that_refuses_is_told_of_once_and_left_alone_for_an_hour(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    world.edges.calls.failing["database sessions"] = REFUSAL
    asked = []
    ask = world.edges.calls.read

    def counting(target: str, what: str, effect: Any) -> Any:
        asked.extend([what] if what.startswith("sessions") else [])
        return ask(target, what, effect)

    world.edges.calls.read = counting  # type: ignore[method-assign]
    world(ETL, minutes=150)
    assert len(asked) == 3
    assert told(caplog) == [("usage.failed", "pg.example:5432", "login-refused")]
    used = world.used()
    assert (used.samples, used.users) == (0, [])
    assert used.gaps > 100
    del world.edges.calls.failing["database sessions"]
    world(ETL, minutes=60)
    assert told(caplog)[1:] == [("usage.resumed", "pg.example:5432", "")]
    assert [user.application for user in world.used().users] == ["etl-nightly"]


def test_a_server_that_hides_where_sessions_come_from_calls_nobody_a_stranger(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As it does from a login without pg_read_all_stats: each session would come from nowhere."""
    world = World()
    world(Session("orders_blue", "api/blue", "local", "unknown", None), minutes=2)
    (day,) = world.days()
    assert (day.samples, day.gaps, day.rows) == (0, 1, [])
    assert told(caplog) == [("usage.failed", "pg.example:5432", str(Code.DATABASE_RIGHT))]
    world.edges.clock.now += timedelta(hours=1)
    begun = world.edges.clock.now - MINUTE
    world(replace(ETL, client="local", since=begun))  # by a socket file
    assert ("etl-nightly", "local", None, 1) in world.rows()


def test_a_store_that_hangs_is_not_waited_for() -> None:
    """Evidence has seconds; whoever decides is told that this part of it is not known."""
    world = World()
    world(ETL)
    whole = world.edges.side_by_side

    def cut(calls: Any, seconds: float) -> Any:
        return [None for _ in calls] if seconds == ledger.SECONDS else whole(calls, seconds)

    world.edges.side_by_side = cut  # type: ignore[method-assign]
    used = world.used()
    assert (used.users, used.problem) == (
        [],
        "the app's storage did not name the days within 5 s",
    )


def test_where_one_login_is_refused_another_one_asks_for_all() -> None:
    file = changed()
    text = json.dumps(file["credentials"]["orders-db"]).replace("orders", "second")
    file["credentials"]["second"] = json.loads(text)
    file["credentials"]["second"]["database"]["admin"] = {"role": "rotator2", "secret": "r2"}
    world = World(edges=MemoryEdges(parse(yaml.safe_dump(file))))
    world.edges.calls.failing["database sessions"] = REFUSAL
    world()
    del world.edges.calls.failing["database sessions"]
    world(ETL)
    assert [day.samples for day in world.days()] == [1, 0]
    world(minutes=10)
    assert next(day.samples for day in world.days()) > 1


def test_a_server_that_is_away_is_asked_again_a_minute_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    away = Unavailable(Code.DATABASE_DOWN, "connection refused")
    world.edges.calls.failing["database sessions"] = away
    world(minutes=3)
    del world.edges.calls.failing["database sessions"]
    world(ETL)
    assert told(caplog) == [
        ("usage.failed", "pg.example:5432", "database-connection-refused"),
        ("usage.resumed", "pg.example:5432", ""),
    ]
    (day,) = world.days()
    assert (day.samples, day.gaps) == (1, 3)


def test_a_server_that_hangs_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    world = World()

    def late(calls: Any, seconds: float) -> Any:
        return [None if seconds == 40.0 and len(calls) == 1 else call() for call in calls]

    world.edges.side_by_side = late  # type: ignore[method-assign]
    world(ETL)
    assert told(caplog)[0] == ("usage.failed", "pg.example:5432", "cut-off")


def test_where_pods_cannot_be_looked_at_nobody_is_called_a_stranger(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A workload's own pods would hold up a policy for a month."""
    world = World()
    world.edges.calls.failing["cluster listed"] = Denied(Code.CLUSTER_DENIED, "the API refuses us")
    world(ETL, minutes=2)
    (day,) = world.days()
    assert (day.samples, day.rows) == (0, [])
    assert told(caplog) == [("usage.failed", "credential orders-db", "cluster-denied")]
    del world.edges.calls.failing["cluster listed"]
    world(ETL)
    assert ("etl-nightly", "10.1.2.3", None, 1) in world.rows()
    assert told(caplog)[1:] == [("usage.resumed", "credential orders-db", "")]


def test_a_restart_loses_no_stranger_and_goes_on_with_the_day() -> None:
    world = World()
    world(ETL, minutes=3)
    again = World(edges=world.edges)
    again(ETL, minutes=2)
    (used,) = again.used().users
    assert (used.first, used.last) == ("2027-03-01T12:00:00.000Z", "2027-03-01T12:04:00.000Z")
    assert ("etl-nightly", "10.1.2.3", None, 5) in again.rows()


def test_what_only_goes_on_as_it_was_is_written_every_ten_minutes() -> None:
    world = World()
    world(minutes=60)
    assert sum(world.store.writes.values()) == 7
    before = sum(world.store.writes.values())
    world(ETL)
    assert sum(world.store.writes.values()) == before + 1


def test_two_that_sample_at_once_lose_nothing() -> None:
    world = World()
    world(ETL)
    store = world.edges.store("notes")
    name = "usage/orders-db/2027-03-01.json"
    once = [True]

    def meanwhile(read: str) -> Any:
        kept = store.read(read)
        if once.pop() if once else False:
            ledger.add(world.edges, "orders-db", world.days()[0])
        return kept

    class Racing:
        def __getattr__(self, verb: str) -> Any:
            return meanwhile if verb == "read" else getattr(store, verb)

    edges: Any = type("Raced", (), {"store": lambda *_: Racing()})()
    moment = wire.moment(world.edges.clock.now)
    late = usage.sampled([(replace(ETL, application="other"), None)], NOW, whole=True)
    late = Day(day="2027-03-01", samples=1, rows=[replace_row(late.rows[0], moment)])
    assert ledger.add(edges, "orders-db", late)
    (day,) = world.days()
    assert day.samples == 3
    assert {row.application for row in day.rows} == {"", "etl-nightly", "other"}
    assert store.read(name) is not None


def replace_row(row: Any, moment: Any) -> Any:
    import msgspec  # noqa: PLC0415 - here only

    return msgspec.structs.replace(row, first=moment, last=moment)


def test_a_day_that_others_change_all_the_time_is_left_for_the_next_minute() -> None:
    world = World()
    world(ETL)
    store = world.edges.store("notes")

    class Busy:
        def __getattr__(self, verb: str) -> Any:
            return (lambda *_: False) if verb == "replace" else getattr(store, verb)

    edges: Any = type("Raced", (), {"store": lambda *_: Busy()})()
    assert not ledger.add(edges, "orders-db", world.days()[0])


def test_a_store_that_is_away_is_told_of_once_and_made_up_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    away = Unavailable(Code.STORAGE_UNAVAILABLE, "the account did not answer")
    world.edges.calls.failing["storage"] = away
    world(ETL, minutes=3)
    used = world.used()
    assert (used.users, used.problem) == ([], "the account did not answer")
    world.edges.calls.failing.clear()
    world()
    assert told(caplog) == [
        ("usage.failed", "the ledger", "storage-unavailable"),
        ("usage.resumed", "the ledger", ""),
    ]
    assert ("etl-nightly", "10.1.2.3", None, 3) in world.rows()


def test_without_a_store_nobody_is_asked_and_evidence_is_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    world.edges.world.stores = None
    world(ETL, minutes=2)
    assert world.asked("database") == 0
    assert told(caplog) == [("usage.failed", "the ledger", "storage-not-set")]
    world.edges.world.database.jobs = []
    credential = world.edges.configuration.credential("orders-db")
    found = collect(world.edges, credential, "blue", "r-1", Before("orders-db", None))
    assert (found.complete, found.passed, found.problems) == (True, True, [])
    assert found.usage is not None
    assert found.usage.problem == "the app has no storage account of its own"


def test_days_that_cannot_be_read_are_told_and_made_anew(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world(ETL)
    world.store.put("usage/orders-db/2027-02-28.json", b"{")
    world.store.put("usage/orders-db/2027-03-01.json", b"[]")
    assert world.used().problem == "2 of 2 days could not be read"
    world(ETL)
    used = world.used()
    assert used.problem == "1 of 2 days could not be read"
    assert [user.application for user in used.users] == ["etl-nightly"]
    assert "usage.unreadable" in caplog.text


def test_days_that_are_too_old_are_removed_once_a_day_whoever_they_were_of() -> None:
    world = World()
    for name in ("orders-db/2027-01-19", "orders-db/2027-01-20", "gone/2026-12-31"):
        world.store.put(f"usage/{name}.json", b"{}")
    world.store.put("something/else.json", b"{}")
    world(minutes=2)
    assert sorted(world.store.kept) == [
        "something/else.json",
        "usage/orders-db/2027-01-20.json",
        "usage/orders-db/2027-03-01.json",
    ]
    assert world.asked("storage names") == 1


def test_more_days_than_one_list_has_are_all_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "PAGE", 3)
    world = World()
    for number in range(1, 11):
        world.store.put(f"usage/gone/2026-12-{number:02}.json", b"{}")
    assert ledger.tidy(world.edges) == 10
    assert world.store.kept == {}


def test_a_round_that_still_runs_is_not_begun_twice() -> None:
    world = World()
    world.edges.world.database.jobs = [ETL]
    inside, go = threading.Event(), threading.Event()
    ask = world.edges.calls.read

    def held(target: str, what: str, effect: Any) -> Any:
        if what.startswith("sessions"):
            inside.set()
            assert go.wait(30)
        return ask(target, what, effect)

    world.edges.calls.read = held  # type: ignore[method-assign]
    first = threading.Thread(target=world.sampler.run)
    first.start()
    assert inside.wait(30)
    world.sampler.run()  # returns at once
    go.set()
    first.join(30)
    assert world.days()[0].samples == 1


def test_a_day_ends_at_midnight_in_utc() -> None:
    world = World()
    world.edges.clock.now = datetime(2027, 3, 1, 23, 58, tzinfo=UTC)
    world(ETL, minutes=4)
    assert [(day.day, day.samples) for day in world.days()] == [
        ("2027-03-01", 2),
        ("2027-03-02", 2),
    ]
    (user,) = world.used().users
    assert user.days == 2
