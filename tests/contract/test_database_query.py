"""A test's query as a slot's role: what it finds, what it may not do, and what is told of it.

The newest PostgreSQL in `make test`, earlier ones in `make long`. What `contracts.database`
promises is asked of the database in memory too.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
import pytest
import yaml

from local.postgres import Postgres, installations
from local.process import wait_until
from rotation.config import Admin, Database, parse
from rotation.edges.database import connecting, login
from rotation.edges.database.server import PostgreSQL
from rotation.model.errors import Denied, EdgeError, Invalid, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import ServerTarget
from rotation.model.world import Found, Query
from rotation.secrecy import Secret, new_password
from tests.memory import MemoryEdges
from tests.memory.database import RoleState
from tests.unit.test_config import VALID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.contracts import database as contract

VERSIONS = {str(found.major): found.binaries for found in installations()}
REAL = [
    pytest.param(major, marks=() if major == list(VERSIONS)[-1] else pytest.mark.long)
    for major in VERSIONS
]
everywhere = pytest.mark.parametrize("place", [*REAL, "memory"], indirect=True, scope="module")
real = pytest.mark.parametrize("place", REAL, indirect=True, scope="module")
ROLE = "orders_green"
MADE = """
CREATE TABLE orders (id int PRIMARY KEY, what text);
INSERT INTO orders VALUES (1, 'tea'), (2, 'a secret word');
CREATE TABLE others AS SELECT * FROM orders;
CREATE SEQUENCE numbers;
GRANT ALL ON orders TO orders_green;
GRANT ALL ON SEQUENCE numbers TO orders_green;
CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS
  $$ INSERT INTO public.orders VALUES (9, 'written') RETURNING id $$;
CREATE FUNCTION raises() RETURNS int LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'a secret word'; END $$;
"""


class Place(Protocol):
    password: Secret

    def database(self) -> contract.Entrance: ...

    def answers(self, statement: str, answer: Exception | str | int | bool | None) -> None:
        """Has the statement answered so, where no server does."""


class Real:
    """A server with an application's database on it."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.password = new_password()

    def database(self) -> PostgreSQL:
        settings = Database(
            host="127.0.0.1",
            port=self.server.port,
            name="orders",
            admin=Admin(role="postgres", secret="from-the-test"),
            sslmode="disable",
        )
        return PostgreSQL(settings, lambda: Secret(self.server.admin_password))

    def answers(self, *_: object) -> None:
        """It answers by itself."""

    def tell(self, statement: str, dbname: str = "orders") -> list[tuple[Any, ...]]:
        info = f"{self.server.admin_conninfo} dbname={dbname}"
        with psycopg.connect(info, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


class Memory:
    def __init__(self) -> None:
        self._edges = MemoryEdges(parse(yaml.safe_dump(VALID)))
        self.password = new_password()
        state = RoleState(login=True, password=self.password.reveal())
        self._edges.world.database.roles[ROLE] = state

    def database(self) -> contract.Entrance:
        return self._edges.database(self._edges.configuration.credential("orders-db"))

    def answers(self, statement: str, answer: Exception | str | int | bool | None) -> None:
        self._edges.world.database.answers[statement] = answer


@pytest.fixture(scope="module")
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    if request.param == "memory":
        yield Memory()
        return
    with Postgres(
        tmp_path_factory.mktemp("postgres"), binaries=VERSIONS[str(request.param)]
    ) as server:
        found = Real(server)
        found.tell("CREATE ROLE orders_green", "postgres")
        found.tell("CREATE DATABASE orders", "postgres")
        found.tell(MADE)
        found.database().activate(ROLE, found.password)
        yield found


def query(statement: str, value: object = None, timeout: float = 20) -> Query:
    return Query(statement, timeout, None if value is None else json.dumps(value))


def ask(place: Place, statement: str, value: object = None, timeout: float = 20) -> Found:
    """By the edge's own means; in this process, since another one takes its time to begin."""
    if not isinstance(place, Real):
        return place.database().query(ROLE, place.password, query(statement, value, timeout))
    server = ServerTarget("127.0.0.1", place.server.port, "orders", "disable")
    given = connecting.Login(server, ROLE, place.password, "scram-sha-256", None)
    with connecting.connected("asked", given, options="") as connection:
        return login.answer_to(query(statement, value, timeout), "asked", given, connection)


def ask_apart(place: Place, statement: str, value: object = None, timeout: float = 20) -> Found:
    """In a process of its own, as the product does."""
    return place.database().query(ROLE, place.password, query(statement, value, timeout))


Asking = Callable[..., Found]


def refused(place: Place, statement: str, asking: Asking = ask, timeout: float = 20) -> EdgeError:
    with pytest.raises(EdgeError) as caught:
        asking(place, statement, timeout=timeout)
    assert "a secret word" not in f"{caught.value!r} {caught.value.message}"
    assert place.password.reveal() not in caught.value.message
    return caught.value


@everywhere
@pytest.mark.parametrize(
    ("statement", "answer", "value", "found"),
    [
        ("select count(*) from orders", 2, 2, "as expected"),
        ("select count(*) from orders", 2, "2", "another value"),
        ("select current_user", ROLE, ROLE, "as expected"),
        ("select current_user", ROLE, "orders_blue", "another value"),
        ("select 'ü \" %s %% {} \\'", 'ü " %s %% {} \\', 'ü " %s %% {} \\', "as expected"),
        ("select true", True, True, "as expected"),
        ("select true", True, 1, "another value"),
        ("select id, what from orders where id > 2", None, 1, "no row"),
        ("select id, what from orders where id > 2", None, None, "as expected"),
        ("select * from orders order by id desc -- 2", 2, 2, "as expected"),
    ],
)
def test_a_query_finds(
    place: Place, statement: str, answer: str | int | bool | None, value: object, found: Found
) -> None:
    place.answers(statement, answer)
    assert ask(place, statement, value) == found


@everywhere
@pytest.mark.parametrize(("value", "found"), [(3, "as expected"), (4, "another value")])
def test_it_is_asked_in_a_process_of_its_own(place: Place, value: int, found: Found) -> None:
    place.answers("select 3", 3)
    assert ask_apart(place, "select 3", value) == found


@everywhere
def test_a_query_asks_with_the_password_that_is_given(place: Place) -> None:
    with pytest.raises(Denied) as caught:
        place.database().query(ROLE, new_password(), Query("select 1", 20))
    assert caught.value.code is Code.LOGIN_REFUSED


@real
@pytest.mark.parametrize(
    ("statement", "value", "found"),
    [
        ("values (1), (2)", 1, "as expected"),
        ("table orders", 1, "as expected"),
        ("with a as (select 3 as x) select x from a", 3, "as expected"),
        ("select null", 1, "another value"),
        ("select 1.0::numeric", 1, "as expected"),
        ("select 9007199254740993::bigint", 9007199254740993, "as expected"),
        ("select date '2027-03-01'", "2027-03-01", "as expected"),
        ("select 'x'::name as asked, 2 as asked", "x", "as expected"),
        ("select current_setting('transaction_read_only')", "on", "as expected"),
        ("select current_setting('statement_timeout')", "20s", "as expected"),
        ("select current_database()", "orders", "as expected"),
    ],
)
def test_what_a_query_may_be(place: Place, statement: str, value: object, found: Found) -> None:
    assert ask(place, statement, value) == found


NOT_A_QUERY = "42601"  # a syntax error, as all that stands where a query must
FAILS = [
    ("select * from others", "42501", Denied),
    ("select * from nowhere", "42P01", Invalid),
    ("select 1/0", "22012", Invalid),
    ("select what::int from orders where id = 2", "22P02", Invalid),
    ("select 1, (select what::int from orders where id = 2)", "22P02", Invalid),
    ("select (select id from orders)", "21000", Invalid),
    ("select raises()", "P0001", Invalid),
    ("select", "42P10", Invalid),
    ("selec 1", NOT_A_QUERY, Invalid),
]


@pytest.mark.guarantee(3)
@real
@pytest.mark.parametrize(("statement", "state", "kind"), FAILS)
def test_a_query_that_is_refused_is_told_by_its_sqlstate(
    place: Place, statement: str, state: str, kind: type[EdgeError]
) -> None:
    """Of any of its columns, whether somebody reads it or not."""
    error = refused(place, statement)
    assert (type(error), error.code) == (kind, Code.TEST_QUERY)
    assert error.message.endswith(f"(SQLSTATE {state})")


WRITES = [
    ("select writes()", "25006"),
    ("select nextval('numbers')", "25006"),
    ("select * from orders for update", "25006"),
    ("select setval('numbers', 7)", "25006"),
    ("select set_config('transaction_read_only', 'off', true)", "25001"),
    ("with gone as (delete from orders returning id) select * from gone", "0A000"),
    ("insert into orders values (9, 'written') returning id", NOT_A_QUERY),
    ("delete from orders", NOT_A_QUERY),
    ("set role orders_owner", NOT_A_QUERY),
    ("reset all", NOT_A_QUERY),
    ("commit", NOT_A_QUERY),
    ("copy orders to program 'true'", NOT_A_QUERY),
    ("call raises()", NOT_A_QUERY),
    ("do $$ begin perform writes(); end $$", NOT_A_QUERY),
    ("select 1; commit; drop table orders", NOT_A_QUERY),
    ("select 1; select 2", NOT_A_QUERY),
    ('select 1) as a("b"); commit; drop table orders; --', NOT_A_QUERY),
    ("select 1) as a; commit; select * from (select 2", NOT_A_QUERY),
    ("select 1 /*", NOT_A_QUERY),
    ("select * into copied from orders", NOT_A_QUERY),
]


@pytest.mark.guarantee(8)
@real
@pytest.mark.parametrize(("statement", "state"), WRITES)
def test_a_query_changes_nothing(place: Place, statement: str, state: str) -> None:
    """It is one, and in a transaction that is read-only and rolled back."""
    assert isinstance(place, Real)
    rows = place.tell("SELECT id FROM orders ORDER BY id")
    error = refused(place, statement)
    assert (type(error), error.code) == (Invalid, Code.TEST_QUERY)
    assert error.message.endswith(f"(SQLSTATE {state})")
    assert place.tell("SELECT id FROM orders ORDER BY id") == rows


@real
def test_read_only_keeps_no_query_from_ending_sessions_of_its_role(place: Place) -> None:
    """As docs/threat-model.md says: it is not about data."""
    assert isinstance(place, Real)
    own = f"host=127.0.0.1 port={place.server.port} dbname=orders user={ROLE}"
    with psycopg.connect(own, password=place.password.reveal(), autocommit=True) as connection:
        ending = f"select pg_terminate_backend({connection.info.backend_pid})"
        assert ask(place, ending, True) == "as expected"
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT pg_sleep(20)")


@real
def test_what_a_query_sets_ends_with_it(place: Place) -> None:
    """Though it may take its own limits away, it has begun under them, and has no time beyond
    them."""
    assert ask(place, "select set_config('statement_timeout', '0', false)", "0") == "as expected"
    began = time.monotonic()
    statement = "select set_config('statement_timeout', '0', false), pg_sleep(60)"
    error = refused(place, statement, ask_apart, timeout=1)
    assert (type(error), error.code) == (Unavailable, Code.TEST_NO_ANSWER)
    assert time.monotonic() - began < 30


@real
def test_a_query_that_takes_too_long_ends_on_the_server_too(place: Place) -> None:
    assert isinstance(place, Real)
    error = refused(place, "select pg_sleep(60)", ask_apart, timeout=0.5)
    assert (type(error), error.code) == (Unavailable, Code.TEST_NO_ANSWER)
    assert error.message.endswith("as role orders_green: not done within 0.5 s")
    left = "SELECT 1 FROM pg_stat_activity WHERE usename = 'orders_green'"
    wait_until(lambda: not place.tell(left), 20, "the end of the session")


@real
@pytest.mark.parametrize(
    "statement",
    [
        "select repeat('a secret word', 2000000)",
        "select generate_series(9, 2000000000)",
        "select a.*, b.* from orders a, lateral (select generate_series(1, 2000000000)) b",
    ],
)
def test_of_a_large_answer_nothing_travels(place: Place, statement: str) -> None:
    assert ask(place, statement, "x") == "another value"
    assert ask(place, statement) == "as expected"


@real
def test_a_server_that_has_no_connection_left_answers_no_query(place: Place) -> None:
    """That would prove the login, and says nothing of what was asked."""
    assert isinstance(place, Real)
    place.tell("ALTER ROLE orders_green CONNECTION LIMIT 0")
    try:
        error = refused(place, "select 1", ask_apart)
    finally:
        place.tell("ALTER ROLE orders_green CONNECTION LIMIT -1")
    assert (type(error), error.code) == (Unavailable, Code.DATABASE_FULL)


@real
def test_settings_of_the_role_are_in_force_as_for_its_application(place: Place) -> None:
    assert isinstance(place, Real)
    place.tell("CREATE SCHEMA own; GRANT USAGE ON SCHEMA own TO orders_green")
    place.tell("CREATE VIEW own.seen AS SELECT 5 AS five; GRANT SELECT ON own.seen TO orders_green")
    assert refused(place, "table seen").code is Code.TEST_QUERY
    place.tell("ALTER ROLE orders_green SET search_path = own")
    try:
        assert ask(place, "table seen", 5) == "as expected"
    finally:
        place.tell("ALTER ROLE orders_green RESET search_path")


@pytest.mark.guarantee(3)
@real
def test_no_password_of_a_query_is_in_the_servers_log(place: Place) -> None:
    assert isinstance(place, Real)
    place.tell("ALTER SYSTEM SET log_statement = 'all'")
    place.tell("SELECT pg_reload_conf()")
    refused(place, "select raises()", ask_apart)
    assert place.password.reveal() not in place.server.log.read_text(errors="replace")


LOGIN = connecting.Login(
    ServerTarget("127.0.0.1", 1, "orders", "disable"), ROLE, Secret("x"), "scram-sha-256", None
)


def test_only_some_queries_have_a_process_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many workloads ask: the memory of an instance is not theirs alone."""
    running: list[int] = []
    most: list[int] = []

    def process(*_: object) -> bytes:
        running.append(1)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()
        return b"as expected"

    monkeypatch.setattr(login, "_process", process)
    with ThreadPoolExecutor(4 * login.AT_ONCE) as threads:
        calls = [threads.submit(login.ask, "x", LOGIN, query("select 1")) for _ in range(80)]
        assert {call.result() for call in calls} == {"as expected"}
    assert 1 < max(most) <= login.AT_ONCE


def test_a_query_whose_turn_does_not_come_is_unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "TURNS", threading.BoundedSemaphore(1))
    with login.TURNS, pytest.raises(Unavailable, match=r"x: not done within 0\.05 s") as caught:
        login.ask("x", LOGIN, query("select 1", timeout=0.05))
    assert caught.value.code is Code.TEST_NO_ANSWER
    with pytest.raises(Unavailable):  # nobody is there
        login.ask("x", LOGIN, query("select 1"))
    assert login.TURNS.acquire(blocking=False)
