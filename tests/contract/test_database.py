"""`rotation.edges.database` against PostgreSQL: each version at hand, TLS where the server has it.

What `rotation.contracts.database` promises is asked of the database in memory too.

With CONTRACT_POSTGRES_DSN (an administrator's connection string) the same tests run against that
server instead. The administrator need not be a superuser. The tests make roles and a database of
their own, whose names begin with `contract_`, take them away again, and change nothing else.
"""

from __future__ import annotations

import os
import secrets
import socket
import string
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from local.postgres import Postgres, installations
from local.postgres.provision import run_sql
from local.process import wait_until
from local.tls import Authority
from rotation.config import Admin, Database
from rotation.edges.database import connecting as edge
from rotation.edges.database.server import PostgreSQL
from rotation.model.errors import Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import Session
from rotation.secrecy import Secret, new_password
from tests import versions
from tests.memory.database import RoleState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from rotation.contracts import database as contract
    from tests.memory import MemoryEdges

DSN = os.environ.get("CONTRACT_POSTGRES_DSN")
FOUND = installations()
PLAIN = [pytest.param(str(found.major), marks=versions.marks(found)) for found in FOUND]
# All of the contract over TLS is for `make long`; what is about TLS itself runs always.
TLS = [f"{found.major}-tls" for found in FOUND if found.tls]
PARAMETERS = (
    ["real"] if DSN else [*PLAIN, *(pytest.param(each, marks=pytest.mark.long) for each in TLS)]
)
over_tls = pytest.mark.parametrize(
    "server", ["real"] if DSN else TLS, indirect=True, scope="module"
)
with_and_without_tls = pytest.mark.parametrize(
    "server", ["real"] if DSN else [*PLAIN, *TLS], indirect=True, scope="module"
)
# For what the contract promises: one more place.
everywhere = pytest.mark.parametrize(
    "server", [*PARAMETERS, "memory"], indirect=True, scope="module"
)
HOSTILE = "o\"; DROP ROLE x; --\n'ünïcode\\"
ADMIN_OPTION = 160000  # from this version on, CREATEROLE covers only roles that one administers


@dataclass(frozen=True)
class Server:
    """`admin` is the administrator's connection string; `process` only where it is ours.

    `orders` is the application's database; the rotator works in the administrator's.
    """

    admin: str = field(repr=False)
    process: Postgres | None
    orders: str = field(default_factory=lambda: f"contract_{secrets.token_hex(4)}")

    def tell(self, statement: sql.Composed | sql.SQL) -> None:
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(statement)

    def execute(self, text: str, *names: str) -> None:
        """`{}` in the text are identifiers."""
        statement = sql.SQL(text)
        self.tell(statement.format(*map(sql.Identifier, names)))

    def dropped(self, *roles: str) -> None:
        """Takes away roles of the tests' that are there. They own nothing, and a membership goes
        with its role: `DROP OWNED` would ask for more rights than an administrator may have."""
        for role in roles:
            self.execute("DROP ROLE IF EXISTS {}", role)

    @property
    def tls(self) -> bool:
        """Whether the administrator's connection verifies who the server is."""
        given = conninfo_to_dict(self.admin)
        return str(given.get("sslmode") or "").startswith("verify")

    def settings(self, **more: Any) -> Database:
        given = conninfo_to_dict(self.admin)
        values: dict[str, Any] = {
            "host": given["host"],
            "port": int(given.get("port") or 5432),
            "name": self.orders,
            "maintenance": given.get("dbname") or "postgres",
            "admin": Admin(role=str(given["user"]), secret="from-the-test"),
            "sslmode": given.get("sslmode") or "prefer",
            "sslrootcert": given.get("sslrootcert"),
        }
        return Database(**{**values, **more})


@dataclass
class World:
    """Two slots' roles, a rotator with just its rights, and what logs in as them."""

    server: Server
    name: str
    password: Secret

    @property
    def blue(self) -> str:
        return f"{self.name}_blue"

    @property
    def green(self) -> str:
        return f"{self.name}_green"

    @property
    def rotator(self) -> str:
        return f"{self.name}_rotator"

    @property
    def nobody(self) -> str:
        return f"{self.name}_nobody"

    def edge(self, **more: Any) -> PostgreSQL:
        admin = Admin(role=self.rotator, secret="from-the-test")
        settings = self.server.settings(**{"admin": admin, **more})
        return PostgreSQL(settings, lambda: self.password)

    def database(self) -> PostgreSQL:
        return self.edge()

    @contextmanager
    def open(
        self, role: str, password: Secret, application: str = "orders-api/blue"
    ) -> Iterator[Callable[[], bool]]:
        with self.session(role, password, application) as connection:

            def works() -> bool:
                try:
                    return connection.execute("SELECT 1").fetchone() == (1,)
                except psycopg.OperationalError:
                    return False

            yield works

    def expire(self, role: str, at: datetime) -> None:
        statement = sql.SQL("ALTER ROLE {} VALID UNTIL {}")
        self.server.tell(statement.format(sql.Identifier(role), at.isoformat()))

    def allow(self, role: str) -> None:
        self.server.execute("ALTER ROLE {} LOGIN", role)

    @contextmanager
    def session(
        self, role: str, password: Secret, application: str = "orders-api/blue"
    ) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        info = make_conninfo(
            self.server.admin,
            user=role,
            password=password.reveal(),
            application_name=application,
        )
        with psycopg.connect(info, autocommit=True) as connection:
            yield connection


class Place(Protocol):
    """Where there are two slots' roles, and somebody may log in as them."""

    @property
    def blue(self) -> str: ...

    @property
    def green(self) -> str: ...

    @property
    def nobody(self) -> str:
        """A role that is not there, nor anybody else's."""

    def database(self) -> contract.Database: ...

    def open(
        self, role: str, password: Secret, application: str = "orders-api/blue"
    ) -> AbstractContextManager[Callable[[], bool]]:
        """A session of somebody's, and whether it still works."""

    def expire(self, role: str, at: datetime) -> None: ...

    def allow(self, role: str) -> None:
        """LOGIN, and nothing else."""


class MemoryPlace:
    blue = "orders_blue"
    green = "orders_green"
    nobody = "orders_nobody"

    def __init__(self, edges: MemoryEdges) -> None:
        self._edges = edges
        self._model = edges.world.database
        for role in (self.blue, self.green):
            self._model.roles[role] = RoleState(login=False, password=None)
        for cluster in edges.world.clusters.values():
            cluster.deployments.clear()  # nobody but the tests has sessions

    def database(self) -> contract.Database:
        return self._edges.database(self._edges.configuration.credential("orders-db"))

    @contextmanager
    def open(
        self, role: str, password: Secret, application: str = "orders-api/blue"
    ) -> Iterator[Callable[[], bool]]:
        assert self._model.accepts(role, password.reveal())
        session = Session(role, application, "10.0.0.9", "idle", self._edges.now())
        self._model.jobs.append(session)
        yield lambda: any(job is session for job in self._model.jobs)
        self._model.jobs = [job for job in self._model.jobs if job is not session]

    def expire(self, role: str, at: datetime) -> None:
        self._model.roles[role].valid_until = at

    def allow(self, role: str) -> None:
        self._model.roles[role].login = True


@pytest.fixture(scope="module", params=PARAMETERS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server | None]:
    """None: in memory."""
    if request.param == "memory":
        yield None
        return
    if DSN:
        with applications_database(Server(DSN, None)) as found:
            yield found
        return
    directory = tmp_path_factory.mktemp("postgres")
    major, _, tls = request.param.partition("-")
    binaries = next(i.binaries for i in installations() if str(i.major) == major)
    authority = Authority(directory / "tls") if tls else None
    certificate = authority.issue("postgres") if authority else None
    with Postgres(directory / "server", binaries=binaries, tls=certificate) as process:
        admin = process.admin_conninfo
        if authority:
            admin = make_conninfo(admin, sslmode="verify-full", sslrootcert=str(authority.bundle))
        with applications_database(Server(admin, process)) as found:
            yield found


@contextmanager
def applications_database(server: Server) -> Iterator[Server]:
    server.execute("CREATE DATABASE {}", server.orders)
    try:
        yield server
    finally:
        server.execute("DROP DATABASE {}", server.orders)


@pytest.fixture(scope="module")
def own(server: Server | None) -> Postgres:
    """The server's process, for tests that stop it or read its log."""
    if server is None or server.process is None:
        pytest.skip("needs a server of the test's own: CONTRACT_POSTGRES_DSN names another")
    return server.process


@pytest.fixture
def place(request: pytest.FixtureRequest, server: Server | None, memory: MemoryEdges) -> Place:
    if server is None:
        return MemoryPlace(memory)
    found: World = request.getfixturevalue("world")
    return found


@pytest.fixture
def world(server: Server | None) -> Iterator[World]:
    assert server is not None
    world = World(server, f"contract_{secrets.token_hex(4)}", new_password())
    with psycopg.connect(server.admin) as connection:
        verifier = connection.pgconn.encrypt_password(
            world.password.reveal().encode(), world.rotator.encode(), b"scram-sha-256"
        ).decode()
        for role in (world.blue, world.green):
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
        names = {"rotator": world.rotator, "verifier": verifier}
        run_sql(connection, "rotator-login", names)
        run_sql(connection, "rotator", names)
        if connection.info.server_version >= ADMIN_OPTION:
            for role in (world.blue, world.green):
                run_sql(connection, "rotator-slot", {"rotator": world.rotator, "role": role})
    yield world
    server.dropped(world.rotator, world.blue, world.green)


@pytest.fixture
def database(world: World) -> PostgreSQL:
    return world.edge()


@everywhere
def test_roles_shows_those_that_exist(place: Place) -> None:
    found = place.database().roles([place.blue, place.green, place.nobody, HOSTILE])
    assert set(found) == {place.blue, place.green}
    assert not found[place.blue].login


@everywhere
def test_roles_shows_an_expiry_date(place: Place) -> None:
    at = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
    place.expire(place.blue, at)
    assert place.database().roles([place.blue])[place.blue].valid_until == at


@everywhere
def test_standing_says_what_may_be_done_with_each_role_that_exists(place: Place) -> None:
    database, password = place.database(), new_password()
    database.activate(place.green, password)
    with place.open(place.green, password):
        found = database.standing([place.blue, place.green, place.nobody])
    assert set(found.roles) == {place.blue, place.green}
    assert all(role.alterable and role.connects for role in found.roles.values())
    assert {name: role.sessions for name, role in found.roles.items()} == {
        place.blue: 0,
        place.green: 1,
    }
    assert (found.creates, found.ends, found.sees) == (True, True, True)
    assert 0 < found.free < found.most
    assert (found.database_free, found.hashes) == (None, "scram-sha-256")


def test_standing_tells_the_time_there(world: World) -> None:
    clock = world.edge().standing([world.blue]).clock
    assert abs(clock - datetime.now(UTC)) < timedelta(seconds=60)


def test_standing_sees_a_role_that_is_not_ours(world: World, stranger: str) -> None:
    found = world.edge().standing([world.blue, stranger]).roles
    assert (found[world.blue].alterable, found[stranger].alterable) == (True, False)


def test_standing_knows_that_a_role_may_be_altered_that_no_row_security_holds(
    world: World, database: PostgreSQL
) -> None:
    try:
        world.server.execute("ALTER ROLE {} BYPASSRLS", world.green)
    except psycopg.errors.InsufficientPrivilege:
        pytest.skip("this server's administrator may not free a role of row security")
    try:
        database.activate(world.green, new_password())
        assert database.standing([world.green]).roles[world.green].alterable
    finally:
        world.server.execute("ALTER ROLE {} NOBYPASSRLS", world.green)


def test_standing_sees_what_was_taken_away(world: World) -> None:
    edge, server = world.edge(), world.server
    with psycopg.connect(server.admin) as connection:
        newer = connection.info.server_version >= ADMIN_OPTION
    if newer:
        server.execute("REVOKE ADMIN OPTION FOR {} FROM {}", world.green, world.rotator)
        found = edge.standing([world.blue, world.green]).roles
        assert (found[world.blue].alterable, found[world.green].alterable) == (True, False)
    server.execute("REVOKE pg_signal_backend, pg_read_all_stats FROM {}", world.rotator)
    found_all = edge.standing([world.blue])
    assert (found_all.ends, found_all.sees) == (False, False)
    server.execute("ALTER ROLE {} NOCREATEROLE", world.rotator)
    found_all = edge.standing([world.blue])
    assert (found_all.creates, found_all.roles[world.blue].alterable) == (False, False)


def test_standing_sees_who_may_not_connect_and_every_limit(world: World) -> None:
    server = world.server
    server.execute("ALTER ROLE {} CONNECTION LIMIT 7", world.green)
    server.execute("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", server.orders)
    server.execute("GRANT CONNECT ON DATABASE {} TO {}", server.orders, world.blue)
    server.execute("ALTER DATABASE {} CONNECTION LIMIT 9", server.orders)
    try:
        found = world.edge().standing([world.blue, world.green])
    finally:
        server.execute("ALTER DATABASE {} CONNECTION LIMIT -1", server.orders)
        server.execute("REVOKE CONNECT ON DATABASE {} FROM {}", server.orders, world.blue)
        server.execute("GRANT CONNECT ON DATABASE {} TO PUBLIC", server.orders)
    assert {name: (role.connects, role.limit) for name, role in found.roles.items()} == {
        world.blue: (True, None),
        world.green: (False, 7),
    }
    assert found.database_free == 9


@everywhere
def test_standing_of_no_role_at_all(place: Place) -> None:
    with pytest.raises(Missing):
        place.database().standing([place.nobody])


@everywhere
def test_activate_lets_the_role_log_in(place: Place) -> None:
    database, password = place.database(), new_password()
    database.activate(place.green, password)
    database.login(place.green, password)
    role = database.roles([place.green])[place.green]
    assert role.login
    assert role.valid_until is None


@pytest.mark.guarantee(4)
@everywhere
def test_activate_may_be_repeated(place: Place) -> None:
    database, password = place.database(), new_password()
    database.activate(place.green, password)
    database.activate(place.green, password)
    database.login(place.green, password)


@pytest.mark.guarantee(1)
@everywhere
def test_activate_replaces_the_password(place: Place) -> None:
    database, former, latter = place.database(), new_password(), new_password()
    database.activate(place.green, former)
    database.activate(place.green, latter)
    database.login(place.green, latter)
    with pytest.raises(Denied):
        database.login(place.green, former)


@pytest.mark.guarantee(1)
@everywhere
def test_activate_takes_an_expiry_date_away(place: Place) -> None:
    place.expire(place.green, datetime(2001, 1, 1, tzinfo=UTC))
    database, password = place.database(), new_password()
    database.activate(place.green, password)
    database.login(place.green, password)
    assert database.roles([place.green])[place.green].valid_until is None


@everywhere
def test_activate_keeps_open_sessions(place: Place) -> None:
    database, password = place.database(), new_password()
    database.activate(place.green, password)
    with place.open(place.green, password) as works:
        database.activate(place.green, new_password())
        assert works()


@everywhere
@pytest.mark.parametrize("verb", ["activate", "deactivate"])
def test_a_role_that_is_not_there(place: Place, verb: str) -> None:
    database = place.database()
    verbs: dict[str, Callable[[], None]] = {
        "activate": lambda: database.activate(place.nobody, new_password()),
        "deactivate": lambda: database.deactivate(place.nobody),
    }
    with pytest.raises(Missing, match=f"role {place.nobody}") as caught:
        verbs[verb]()
    assert caught.value.code is Code.DATABASE_MISSING


def test_what_the_server_says_is_told(world: World, database: PostgreSQL) -> None:
    said = f"could not activate role {world.nobody}: UndefinedObject"
    with pytest.raises(Missing, match=said):
        database.activate(world.nobody, new_password())


@pytest.fixture
def stranger(world: World) -> Iterator[str]:
    """A role that the rotator has no right over. It is made here: one of the server's, such as the
    administrator's, would lose its password if the server did not refuse."""
    with psycopg.connect(world.server.admin) as connection:
        newer = connection.info.server_version >= ADMIN_OPTION
        superuser = connection.info.parameter_status("is_superuser") == "on"
    if not newer and not superuser:
        pytest.skip(
            "before PostgreSQL 16, CREATEROLE covers every role that is no superuser, and this"
            " administrator cannot make one that is"
        )
    name = f"{world.name}_stranger"
    world.server.execute("CREATE ROLE {} NOLOGIN" + ("" if newer else " SUPERUSER"), name)
    yield name
    world.server.dropped(name)


def test_activate_of_a_role_that_is_not_ours(database: PostgreSQL, stranger: str) -> None:
    with pytest.raises(Denied, match=r"InsufficientPrivilege .*infra/database/rotator\.sql"):
        database.activate(stranger, new_password())


@pytest.mark.guarantee(3)
@pytest.mark.parametrize("logged", ["ddl", "all"])
def test_no_clear_password_reaches_the_server_log(
    world: World, database: PostgreSQL, own: Postgres, logged: str
) -> None:
    world.server.execute(f"ALTER ROLE {{}} SET log_statement = '{logged}'", world.rotator)
    password = new_password()
    database.activate(world.green, password)
    database.login(world.green, password)
    log = own.log.read_text(encoding="utf-8", errors="replace")
    assert f'ALTER ROLE "{world.green}" LOGIN' in log
    assert password.reveal() not in log
    assert world.password.reveal() not in log


def test_the_password_is_kept_as_a_scram_verifier(
    world: World, database: PostgreSQL, own: Postgres
) -> None:
    database.activate(world.green, new_password())
    with psycopg.connect(own.admin_conninfo if not own.tls else world.server.admin) as connection:
        row = connection.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname = %s", [world.green]
        ).fetchone()
    assert row is not None
    assert str(row[0]).startswith("SCRAM-SHA-256$")


@pytest.mark.guarantee(2)
@everywhere
def test_deactivate_refuses_new_logins_and_keeps_sessions(place: Place) -> None:
    database, password = place.database(), new_password()
    database.activate(place.blue, password)
    with place.open(place.blue, password) as works:
        database.deactivate(place.blue)
        assert works()
        with pytest.raises(Denied, match=r"is not permitted to log in|password authentication"):
            database.login(place.blue, password)
    assert not database.roles([place.blue])[place.blue].login


@pytest.mark.guarantee(4)
@everywhere
def test_deactivate_may_be_repeated(place: Place) -> None:
    place.database().deactivate(place.blue)
    place.database().deactivate(place.blue)


@everywhere
def test_deactivate_takes_the_password_away(place: Place) -> None:
    """Whoever gives the login back does not give the retired password back with it."""
    database, password = place.database(), new_password()
    database.activate(place.blue, password)
    database.deactivate(place.blue)
    place.allow(place.blue)
    with pytest.raises(Denied, match="password authentication failed"):
        database.login(place.blue, password)


@everywhere
def test_terminate_ends_the_sessions_of_one_role(place: Place) -> None:
    database = place.database()
    passwords = {role: new_password() for role in (place.blue, place.green)}
    for role, password in passwords.items():
        database.activate(role, password)
    with ExitStack() as open_:
        sessions = {
            role: [open_.enter_context(place.open(role, passwords[role])) for _ in range(2)]
            for role in passwords
        }
        assert database.terminate(place.blue) == 2
        assert [works() for works in sessions[place.blue]] == [False, False]
        assert [works() for works in sessions[place.green]] == [True, True]


@everywhere
def test_terminate_of_a_role_without_sessions(place: Place) -> None:
    assert place.database().terminate(place.blue) == 0
    assert place.database().terminate(place.nobody) == 0


@everywhere
def test_sessions_are_those_of_the_roles(place: Place) -> None:
    database, password = place.database(), new_password()
    database.activate(place.blue, password)
    with place.open(place.blue, password, "orders-api/blue"):
        found = database.sessions([place.blue, place.green])
        assert database.sessions([place.green]) == []
    assert [(s.role, s.application, s.state) for s in found] == [
        (place.blue, "orders-api/blue", "idle")
    ]
    assert found[0].since is not None
    assert found[0].client
    assert found[0].client != "local"


def test_sessions_of_many_roles_come_in_one_answer(world: World, database: PostgreSQL) -> None:
    """Those of all credentials of a server, as a sample asks for them once a minute."""
    passwords = {role: new_password() for role in (world.blue, world.green)}
    for role, password in passwords.items():
        database.activate(role, password)
    with (
        world.session(world.blue, passwords[world.blue]),
        world.session(world.blue, passwords[world.blue]),
        world.session(world.green, passwords[world.green]),
    ):
        many = [f"nobody_{number}" for number in range(2000)]
        found = database.sessions([*many, world.green, world.blue])
    assert sorted(one.role for one in found) == sorted([world.blue, world.blue, world.green])
    assert len({(one.role, one.client, one.since) for one in found}) == 3


def test_a_session_says_since_when_it_is(world: World, database: PostgreSQL) -> None:
    password = new_password()
    database.activate(world.blue, password)
    before = datetime.now(UTC) - timedelta(minutes=5)
    with world.session(world.blue, password):
        (found,) = database.sessions([world.blue])
    assert found.since is not None
    assert found.since > before


@pytest.mark.parametrize(
    ("statement", "counts"),
    [
        ("SELECT 1", False),
        (" select  1 ;", False),
        ("/* ping */ SELECT 1 AS ok", False),
        ("SELECT version()", False),
        ("SELECT now()", False),
        ("", False),
        ("COMMIT", True),  # of something
        ("SELECT 1 FROM pg_catalog.pg_class", True),
        ("SELECT 12", True),
        ("SHOW server_version", True),
    ],
)
def test_a_probe_is_no_use(
    world: World, database: PostgreSQL, statement: str, *, counts: bool
) -> None:
    password = new_password()
    database.activate(world.blue, password)
    with world.session(world.blue, password) as session:
        session.autocommit = True
        before = session.execute("SELECT now() AS t, 2").fetchone()
        session.execute(statement.encode())
        (found,) = database.sessions([world.blue])
    assert before is not None
    assert (found.queried is not None and found.queried >= before[0]) is counts


@everywhere
def test_sessions_end(place: Place) -> None:
    database, password = place.database(), new_password()
    database.activate(place.blue, password)
    with place.open(place.blue, password):
        database.terminate(place.blue)
        wait_until(lambda: not database.sessions([place.blue]), 10, "the end of the session")


def test_sessions_count_even_where_their_details_are_hidden(
    world: World, database: PostgreSQL
) -> None:
    """Nothing seen must not read as nobody there."""
    world.server.execute("REVOKE pg_read_all_stats FROM {}", world.rotator)
    password = new_password()
    database.activate(world.blue, password)
    with world.session(world.blue, password):
        found = database.sessions([world.blue])
    assert [(s.role, s.application, s.state) for s in found] == [
        (world.blue, "orders-api/blue", "unknown")
    ]


def test_terminate_without_the_right(world: World, database: PostgreSQL) -> None:
    password = new_password()
    database.activate(world.blue, password)
    world.server.execute("REVOKE pg_signal_backend FROM {}", world.rotator)
    with world.session(world.blue, password), pytest.raises(Denied, match="SQLSTATE 42501"):
        database.terminate(world.blue)


@everywhere
def test_login_with_a_wrong_password(place: Place) -> None:
    database, wrong = place.database(), new_password()
    database.activate(place.green, new_password())
    with pytest.raises(Denied, match="password authentication failed") as caught:
        database.login(place.green, wrong)
    assert caught.value.code is Code.LOGIN_REFUSED
    assert wrong.reveal() not in caught.value.message
    assert not caught.value.transient


@everywhere
def test_login_as_a_role_that_is_not_there(place: Place) -> None:
    with pytest.raises(Denied) as caught:
        place.database().login(place.nobody, new_password())
    assert caught.value.code is Code.LOGIN_REFUSED


def test_login_to_a_database_that_is_not_there(world: World) -> None:
    password = new_password()
    world.edge().activate(world.green, password)
    with pytest.raises(Denied, match="does not exist"):
        world.edge(name="nowhere").login(world.green, password)


def test_hostile_names_stay_names(world: World, database: PostgreSQL) -> None:
    name = f"{world.name} {HOSTILE}"[:60]
    world.server.execute("CREATE ROLE {}", name)
    try:
        admin = world.server.settings(admin=world.server.settings().admin)
        given = conninfo_to_dict(world.server.admin)
        with_rights = PostgreSQL(admin, lambda: Secret(str(given["password"])))
        password = new_password()
        with_rights.activate(name, password)
        with_rights.login(name, password)
        assert set(with_rights.roles([name])) == {name}
        assert with_rights.sessions([name]) == []
        assert with_rights.terminate(name) == 0
        with_rights.deactivate(name)
    finally:
        world.server.dropped(name)


def test_a_password_with_every_kind_of_character(world: World, database: PostgreSQL) -> None:
    """Of those that a password of ours may have; SASLprep changes none of them."""
    password = Secret("a'b\"c\\d e%f{}g;--" + string.punctuation)
    database.activate(world.green, password)
    database.login(world.green, password)


def test_a_password_that_somebody_else_chose(world: World, database: PostgreSQL) -> None:
    """The active slot's may be older than the first rotation."""
    password = "ü😀 of an owner"
    statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
    world.server.tell(statement.format(sql.Identifier(world.green), password))
    database.login(world.green, Secret(password))


def test_a_server_that_is_down(world: World) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        down = world.edge(host="127.0.0.1", port=port)
        said = rf"^PostgreSQL 127\.0\.0\.1:{port} could not read the roles: Connection refused$"
        with pytest.raises(Unavailable, match=said) as caught:
            down.roles([world.blue])
    assert caught.value.transient
    assert caught.value.code is Code.DATABASE_DOWN


def test_a_host_that_does_not_resolve(world: World) -> None:
    with pytest.raises(Unavailable) as caught:
        world.edge(host="no-such-host.invalid").roles([world.blue])
    assert caught.value.code is Code.DATABASE_NAME


def test_a_server_that_stays_silent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "CONNECT_TIMEOUT", 2)  # libpq's smallest
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Unavailable) as caught:
            world.edge(host="127.0.0.1", port=port).roles([world.blue])
    assert caught.value.code is Code.DATABASE_TIMEOUT


def test_a_statement_that_takes_too_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "OPTIONS", f"{edge.OPTIONS} -c statement_timeout=200ms")
    with psycopg.connect(world.server.admin) as holder:
        holder.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(world.green)))
        with pytest.raises(Unavailable, match="QueryCanceled"):
            world.edge().activate(world.green, new_password())
        holder.rollback()


def test_after_a_restart(world: World, database: PostgreSQL, own: Postgres) -> None:
    assert database.roles([world.blue])
    own.stop()
    with pytest.raises(Unavailable):
        database.roles([world.blue])
    own.start()
    assert database.roles([world.blue])


def test_a_refused_administrator(world: World) -> None:
    wrong = PostgreSQL(
        world.server.settings(admin=Admin(role=world.rotator, secret="x")), new_password
    )
    with pytest.raises(Denied, match=f"of role {world.rotator}: password authentication failed"):
        wrong.roles([world.blue])


def test_an_authentication_that_fails_is_passed_on(world: World) -> None:
    def fails() -> Secret:
        raise Missing(Code.VAULT_MISSING, "secret admin is not in its Key Vault")

    with pytest.raises(Missing, match="secret admin"):
        PostgreSQL(world.server.settings(), fails).roles([world.blue])


@pytest.mark.guarantee(3)
@pytest.mark.parametrize("verb", ["login", "roles"])
def test_a_server_that_asks_for_the_password_itself_does_not_get_it(
    world: World, verb: str
) -> None:
    """What somebody in between would try: ask in clear text, where SCRAM sends none. Neither a
    slot's password is sent so, nor the administrator's."""
    verbs: dict[str, Callable[[PostgreSQL], object]] = {
        "login": lambda impostor: impostor.login(world.green, world.password),
        "roles": lambda impostor: impostor.roles([world.green]),
    }
    with asking_in_clear_text() as (port, received):
        impostor = world.edge(host="127.0.0.1", port=port, sslmode="disable")
        with pytest.raises(Invalid, match="authentication method requirement"):
            verbs[verb](impostor)
    assert world.password.reveal().encode() not in b"".join(received)
    assert world.name.encode() in b"".join(received)


@contextmanager
def asking_in_clear_text() -> Iterator[tuple[int, list[bytes]]]:
    received: list[bytes] = []
    clear_text_password = b"R" + (8).to_bytes(4, "big") + (3).to_bytes(4, "big")

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.settimeout(10)
            received.append(connection.recv(4096))
            connection.sendall(clear_text_password)
            received.append(connection.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=[listening])
        thread.start()
        yield listening.getsockname()[1], received
        thread.join(10)


@over_tls
def test_an_unknown_authority_is_refused(world: World, tmp_path: Path) -> None:
    if not world.server.tls:
        pytest.skip("this server has no TLS")
    stranger = Authority(tmp_path / "tls")
    with pytest.raises(Invalid, match="certificate verify failed"):
        world.edge(sslrootcert=str(stranger.bundle)).roles([world.blue])


@over_tls
def test_public_authorities_are_the_default(world: World, own: Postgres) -> None:
    if own.tls is None:
        pytest.skip("this server has no TLS")
    with pytest.raises(Invalid, match="certificate verify failed"):
        world.edge(sslrootcert=None).roles([world.blue])
    # `require` asks for encryption only, and certificates at hand do not change that.
    assert world.edge(sslrootcert=None, sslmode="require").roles([world.blue])


@over_tls
def test_an_authority_that_is_not_there(world: World, tmp_path: Path) -> None:
    if not world.server.tls:
        pytest.skip("this server has no TLS")
    with pytest.raises(Invalid, match="root certificate file"):
        world.edge(sslrootcert=str(tmp_path / "nothing.pem")).roles([world.blue])


@with_and_without_tls
def test_encryption_is_not_given_up(world: World, own: Postgres) -> None:
    if own.tls is not None:
        with pytest.raises(Denied, match=r"no pg_hba\.conf entry"):
            world.edge(sslmode="disable").roles([world.blue])
    else:
        with pytest.raises(Invalid, match="server does not support SSL"):
            world.edge(sslmode="verify-full").roles([world.blue])


def test_an_answer_that_cannot_be_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that the driver refuses is no connection failure, and repeats would not help."""
    database = world.edge()
    monkeypatch.setattr(
        database,
        "_query",
        lambda verb, _, values: PostgreSQL._query(  # noqa: SLF001 - the query is what is exchanged
            database, verb, "SELECT 'infinity'::timestamptz, %s::text[]", values
        ),
    )
    with pytest.raises(Invalid, match="DataError"):
        database.roles([world.blue])


@contextmanager
def keeping_md5(server: Server, own: Postgres, role: str) -> Iterator[None]:
    """The server asks the role for an MD5 hash, as one with passwords from before SCRAM does."""
    hba = own.directory / "pg_hba.conf"
    before = hba.read_text()
    kind = before.split()[0]
    hba.write_text(f'{kind} all "{role}" 127.0.0.0/8 md5\n{before}')
    server.execute("SELECT pg_catalog.pg_reload_conf()")
    try:
        yield
    finally:
        hba.write_text(before)
        server.execute("SELECT pg_catalog.pg_reload_conf()")


def test_a_password_that_is_kept_as_an_md5_hash(world: World, own: Postgres) -> None:
    """It works for the application, and is no proof of the server to us."""
    password = new_password()
    with psycopg.connect(world.server.admin, autocommit=True) as connection:
        kept = connection.pgconn.encrypt_password(
            password.reveal().encode(), world.green.encode(), b"md5"
        ).decode()
    statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
    world.server.tell(statement.format(sql.Identifier(world.green), kept))
    with keeping_md5(world.server, own, world.green):

        def refused() -> Code:
            with pytest.raises(EdgeError) as caught:
                world.edge().login(world.green, password)
            return caught.value.code

        wait_until(lambda: refused() is Code.LOGIN_NOT_SCRAM, 10, "the server asking for a hash")
        with world.session(world.green, password) as connection:
            assert connection.execute("SELECT session_user").fetchone() == (world.green,)


def test_a_database_that_the_role_may_not_enter_is_no_matter_of_its_password(world: World) -> None:
    password = new_password()
    world.edge().activate(world.green, password)
    with pytest.raises(Denied) as caught:
        world.edge(name="nowhere").login(world.green, password)
    assert caught.value.code is Code.LOGIN_DATABASE
