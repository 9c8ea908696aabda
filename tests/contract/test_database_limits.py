"""What a PostgreSQL server says that passes: full, read-only, or changed by two at once."""

from __future__ import annotations

import secrets
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from local.postgres import Postgres, installations
from local.process import wait_until
from rotation.config import Admin, Database
from rotation.edges.database.server import PostgreSQL
from rotation.model.errors import Denied, EdgeError, Unavailable
from rotation.model.reasons import Code
from rotation.secrecy import Secret, new_password

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rotation.contracts import database as contract
    from tests.memory import MemoryEdges

MOST, RESERVED = 8, 2  # connections, and those of them that are a superuser's
VERSIONS = {str(found.major): found.binaries for found in installations()}


# One version by default; `make long` has all.
PARAMETERS = [
    pytest.param(major, marks=() if major == list(VERSIONS)[-1] else pytest.mark.long)
    for major in VERSIONS
]


@pytest.fixture(scope="module", params=PARAMETERS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Postgres]:
    """A server with few connections, whose log would do for a standby."""
    server = Postgres(tmp_path_factory.mktemp("postgres"), binaries=VERSIONS[request.param])
    server.settings |= {
        "max_connections": str(MOST),
        "superuser_reserved_connections": str(RESERVED),
        "wal_level": "replica",
    }
    with server:
        tell(server, "CREATE ROLE rotator LOGIN CREATEROLE")
        tell(server, "CREATE DATABASE orders")
        yield server


def tell(server: Postgres, statement: str) -> None:
    with psycopg.connect(server.admin_conninfo, autocommit=True) as connection:
        connection.execute(statement.encode())


class World:
    """A slot's role, and the login that rotates it."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.role = f"green_{secrets.token_hex(4)}"
        self.password, self.admin_password = new_password(), new_password()
        self.refused: list[bool] = []
        server_admin = Secret(server.admin_password)
        PostgreSQL(self._settings("postgres"), lambda: server_admin).activate(
            "rotator", self.admin_password
        )
        self.database = PostgreSQL(
            self._settings("rotator"),
            lambda: self.admin_password,
            lambda: self.refused.append(True),
        )
        with psycopg.connect(self.login("rotator", self.admin_password), autocommit=True) as it:
            it.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(self.role)))
        self.database.activate(self.role, self.password)

    def _settings(self, admin: str) -> Database:
        return Database(
            host="127.0.0.1",
            port=self.server.port,
            name="orders",
            admin=Admin(role=admin, secret="from-the-test"),
            sslmode="disable",
        )

    def login(self, role: str, password: Secret) -> str:
        return self.server.conninfo(role, password.reveal(), "orders")

    def fill(self, role: str, password: Secret, stack: ExitStack) -> int:
        """Opens connections until there are none for the role, and says how many it got."""
        count = 0
        while True:
            try:
                opened = psycopg.connect(self.login(role, password))
            except psycopg.OperationalError:
                return count
            stack.callback(opened.close)
            count += 1


@pytest.fixture
def world(server: Postgres) -> World:
    # Those of the test before have ended, as far as their clients know.
    with psycopg.connect(server.admin_conninfo, autocommit=True) as connection:
        query = "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'client backend'"
        wait_until(lambda: len(connection.execute(query).fetchall()) == 1, 10, "an empty server")
    return World(server)


@pytest.mark.parametrize("limit", ["ROLE", "DATABASE", "max_connections"])
def test_a_limit_that_is_met_once_the_password_was_accepted_proves_the_login(
    world: World, limit: str
) -> None:
    own = {"ROLE": world.role, "DATABASE": "orders"}.get(limit)
    if own is not None:
        tell(world.server, f"ALTER {limit} {own} CONNECTION LIMIT 1")
    try:
        with ExitStack() as stack:
            assert world.fill(world.role, world.password, stack) == (
                MOST - RESERVED if own is None else 1
            )
            world.database.login(world.role, world.password)
            with pytest.raises(Denied, match="password authentication failed"):
                world.database.login(world.role, new_password())
    finally:
        if own is not None:
            tell(world.server, f"ALTER {limit} {own} CONNECTION LIMIT -1")


def test_without_any_connection_nothing_is_proved_and_it_may_pass(world: World) -> None:
    superuser = Secret(world.server.admin_password)
    with ExitStack() as stack:
        assert world.fill(world.role, world.password, stack) == MOST - RESERVED
        with pytest.raises(Unavailable, match="remaining connection slots") as caught:
            world.database.roles([world.role])
        assert caught.value.code is Code.DATABASE_FULL
        assert world.fill("postgres", superuser, stack) == RESERVED
        for password in (world.password, new_password()):
            with pytest.raises(Unavailable, match="too many clients already") as caught:
                world.database.login(world.role, password)
            assert caught.value.code is Code.DATABASE_FULL
    world.database.roles([world.role])


def test_the_server_in_memory_is_full_in_the_same_way(memory: MemoryEdges) -> None:
    credential = memory.configuration.credential("orders-db")
    database: contract.Database = memory.database(credential)
    current = memory.world.current(credential, "blue")
    assert current is not None
    memory.world.database.most = memory.world.connections()
    for call in (
        lambda: database.login("orders_blue", Secret(current.password)),
        lambda: database.roles(["orders_blue"]),
        lambda: database.deactivate("orders_green"),
    ):
        with pytest.raises(Unavailable, match="too many clients already") as caught:
            call()
        assert caught.value.code is Code.DATABASE_FULL


def test_two_that_activate_one_role_at_once(world: World) -> None:
    """XX000 for the second one, which finds the row changed once it gets its lock."""
    found: list[EdgeError | None] = []

    def activate() -> None:
        try:
            world.database.activate(world.role, world.password)
            found.append(None)
        except EdgeError as error:
            found.append(error)

    with psycopg.connect(world.login("rotator", world.admin_password)) as first:
        first.execute(sql.SQL("ALTER ROLE {} LOGIN").format(sql.Identifier(world.role)))
        second = threading.Thread(target=activate)
        second.start()
        with psycopg.connect(world.server.admin_conninfo, autocommit=True) as looking:
            query = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            wait_until(lambda: bool(looking.execute(query).fetchone()), 10, "the second's wait")
        first.commit()
    second.join(20)
    (error,) = found
    assert isinstance(error, Unavailable)
    assert "SQLSTATE XX000" in error.message
    world.database.activate(world.role, world.password)
    world.database.login(world.role, world.password)


def test_a_password_that_is_refused_is_told_to_whoever_gave_it(world: World) -> None:
    """A token that was revoked would be sent again until it expires."""
    right, world.admin_password = world.admin_password, new_password()
    with pytest.raises(Denied, match="of role rotator: password authentication failed"):
        world.database.roles([world.role])
    assert world.refused == [True]
    world.admin_password = right
    assert world.database.roles([world.role])
    assert world.refused == [True]


def test_a_server_that_is_read_only_until_its_failover_is_over(world: World) -> None:
    server = world.server
    server.stop()
    (server.data / "standby.signal").touch()
    server.start()
    assert world.database.roles([world.role])
    world.database.login(world.role, world.password)
    changes: tuple[Callable[[], None], ...] = (
        lambda: world.database.activate(world.role, new_password()),
        lambda: world.database.deactivate(world.role),
    )
    for change in changes:
        with pytest.raises(Unavailable, match="SQLSTATE 25006") as caught:
            change()
        assert caught.value.code is Code.DATABASE_READ_ONLY
    tell(server, "SELECT pg_promote()")
    world.database.activate(world.role, world.password)
    world.database.login(world.role, world.password)
