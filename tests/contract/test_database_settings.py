"""Settings that managed servers have, or let people make: each verb does its work under them.

They are made for the whole server, for the databases, and for the roles: the rotating login's own,
and the slot's, whose sessions have no options of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local.postgres import Postgres, installations
from local.process import wait_until
from local.tls import Authority
from rotation.config import Admin, Database
from rotation.edges.database import scram
from rotation.edges.database.connecting import translated
from rotation.edges.database.server import PostgreSQL, altering
from rotation.model.errors import Denied, EdgeError, Invalid
from rotation.model.reasons import Code
from rotation.secrecy import Secret, new_password

if TYPE_CHECKING:
    from collections.abc import Iterator

FOUND = {found.major: found for found in installations()}
# One version by default; `make long` has all, and each scope by itself.
PARAMETERS = [
    pytest.param(major, marks=() if major == max(FOUND) else pytest.mark.long)
    for major in sorted(FOUND)
]
GREEN = "orders_green"
SERVER = "the server"
SCOPES = (SERVER, "DATABASE postgres", "DATABASE orders", "ROLE rotator", f"ROLE {GREEN}")

# As Azure's, Amazon's and Google's servers have them by default, or as people make them there: see
# https://learn.microsoft.com/azure/postgresql/flexible-server/concepts-server-parameters and
# https://cloud.google.com/sql/docs/postgres/flags. A number is the first version that has it.
SETTINGS: list[tuple[str, str, int]] = [
    ("bytea_output", "escape", 0),
    ("check_function_bodies", "off", 0),
    ("DateStyle", "German, DMY", 0),
    ("default_transaction_deferrable", "on", 0),
    ("default_transaction_isolation", "serializable", 0),
    ("default_transaction_read_only", "on", 0),
    ("escape_string_warning", "on", 0),
    ("extra_float_digits", "-15", 0),
    ("idle_in_transaction_session_timeout", "1", 0),
    ("idle_session_timeout", "1000", 14),
    ("IntervalStyle", "sql_standard", 0),
    ("lock_timeout", "1", 0),
    ("password_encryption", "md5", 0),
    ("quote_all_identifiers", "on", 0),
    ("restrict_nonsystem_relation_kind", "view, foreign-table", 17),
    ("row_security", "off", 0),
    ("search_path", "tenant, nowhere", 0),
    ("standard_conforming_strings", "off", 0),
    ("statement_timeout", "1000", 0),
    ("TimeZone", "Asia/Kathmandu", 0),
    ("transaction_timeout", "1000", 17),
    ("xmloption", "document", 0),
]
# What a superuser alone sets, and with it those who run such a server.
SERVERS: list[tuple[str, str, int]] = [
    ("log_duration", "on", 0),
    ("log_error_verbosity", "verbose", 0),
    ("log_min_duration_statement", "0", 0),
    ("log_min_error_statement", "debug5", 0),
    ("log_parameter_max_length", "-1", 0),
    ("log_parameter_max_length_on_error", "-1", 0),
    ("log_statement", "all", 0),
    ("debug_print_parse", "on", 0),
    ("lc_messages", "C", 0),
    ("track_activities", "off", 0),
]


# What is set must not hold for the test itself.
OWN = (
    "-c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0"
    " -c idle_session_timeout=0"
)


class World:
    """A server with a rotator that is no superuser, and the role of a slot."""

    def __init__(self, server: Postgres, version: int, authority: Authority | None) -> None:
        self.server = server
        self.password = new_password()
        verified = (
            {"sslmode": "verify-full", "sslrootcert": str(authority.bundle)} if authority else {}
        )
        self.admin = make_conninfo(server.admin_conninfo, options=OWN, **verified)
        self._settings: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": server.port,
            "name": "orders",
            "admin": Admin(role="rotator", secret="from-the-test"),
            **(verified or {"sslmode": "disable"}),
        }
        create = sql.SQL("CREATE ROLE rotator LOGIN CREATEROLE PASSWORD {}")
        self.tell(create.format(scram.verifier(self.password, 4096)))
        self.tell("GRANT pg_signal_backend, pg_read_all_stats TO rotator")
        self.tell(f"CREATE ROLE {GREEN}")
        if version >= 16:
            self.tell(f"GRANT {GREEN} TO rotator WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
        self.tell("CREATE DATABASE orders")

    def edge(self, **more: Any) -> PostgreSQL:
        return PostgreSQL(Database(**{**self._settings, **more}), lambda: self.password)

    def tell(self, statement: str | sql.Composed) -> None:
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(statement.encode() if isinstance(statement, str) else statement)

    def set(self, scope: str, settings: list[tuple[str, str, int]]) -> None:
        """Makes settings that sessions from now on have."""
        begins = "ALTER SYSTEM" if scope == SERVER else f"ALTER {scope}"
        with psycopg.connect(self.admin, autocommit=True) as connection:
            for name, value, since in settings:
                if connection.info.server_version // 10_000 >= since:
                    listed = sql.SQL(", ").join(value.split(", "))
                    connection.execute(sql.SQL(f"{begins} SET {name} = {{}}").format(listed))
        if scope == SERVER:
            self.reload()

    def reset(self) -> None:
        """Takes all settings away again."""
        for begins in ("ALTER SYSTEM", *(f"ALTER {scope}" for scope in SCOPES[1:])):
            self.tell(f"{begins} RESET ALL")
        self.reload()

    def reload(self) -> None:
        """Waits until the server has read its settings, which new sessions begin with."""
        query = "SELECT pg_conf_load_time()::text"
        with psycopg.connect(self.admin, autocommit=True) as connection:
            before = connection.execute(query).fetchone()
            connection.execute("SELECT pg_reload_conf()")
            wait_until(lambda: connection.execute(query).fetchone() != before, 10, "the reload")

    def log(self) -> str:
        return self.server.log.read_text(encoding="utf-8", errors="replace")

    def use(self) -> list[Secret]:
        """Each verb, whose effect is looked at. Returns the passwords that went into it."""
        password, edge = new_password(), self.edge()
        edge.activate(GREEN, password)
        assert edge.roles([GREEN])[GREEN].login
        edge.login(GREEN, password)
        theirs = make_conninfo(self.admin, user=GREEN, password=password.reveal(), dbname="orders")
        with psycopg.connect(theirs):
            (session,) = edge.sessions([GREEN])
            assert (session.role, session.client) == (GREEN, "127.0.0.1")
            assert session.since is not None
            assert edge.terminate(GREEN) == 1
        wait_until(lambda: edge.sessions([GREEN]) == [], 10, "the session's end")
        edge.deactivate(GREEN)
        assert not edge.roles([GREEN])[GREEN].login
        with pytest.raises(Denied) as caught:
            edge.login(GREEN, password)
        assert caught.value.code is Code.LOGIN_REFUSED
        return [password, self.password]


@pytest.fixture(scope="module", params=PARAMETERS)
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    installation = FOUND[request.param]
    folder = tmp_path_factory.mktemp("settings")
    authority = Authority(folder / "tls") if installation.tls else None
    certificate = authority.issue("postgres") if authority else None
    server = Postgres(folder / "server", binaries=installation.binaries, tls=certificate)
    if authority:
        # Debian's has what managed servers load as well.
        libraries = "passwordcheck, auto_explain, pg_stat_statements, auth_delay"
        server.settings |= {
            "ssl_min_protocol_version": "TLSv1.3",
            "shared_preload_libraries": libraries,
            "auto_explain.log_min_duration": "0",
            "auto_explain.log_parameter_max_length": "-1",
            "auth_delay.milliseconds": "100",
        }
    with server:
        yield World(server, installation.major, authority)


@pytest.mark.parametrize(
    "scopes",
    [SCOPES, *(pytest.param((scope,), marks=pytest.mark.long) for scope in SCOPES)],
    ids=["all", *SCOPES],
)
def test_no_setting_of_a_managed_server_is_in_the_way(
    world: World, scopes: tuple[str, ...]
) -> None:
    try:
        for scope in scopes:
            world.set(scope, SETTINGS)
        world.use()
    finally:
        world.reset()


@pytest.mark.guarantee(3)
def test_whatever_a_server_logs_no_password_is_in_it(world: World) -> None:
    try:
        world.set(SERVER, SERVERS)
        before = len(world.log())
        used = world.use()
        logged = world.log()[before:]
    finally:
        world.reset()
    assert f'ALTER ROLE "{GREEN}" LOGIN PASSWORD' in logged
    assert [secret for secret in used if secret.reveal() in logged] == []


def test_a_role_that_becomes_another_logs_in_and_is_counted_as_itself(world: World) -> None:
    """As people have it for tables that both slots' roles own."""
    world.tell("CREATE ROLE orders_owner")
    try:
        world.tell(f"GRANT orders_owner TO {GREEN}")
        world.tell(f"ALTER ROLE {GREEN} SET role = orders_owner")
        world.use()
    finally:
        world.reset()
        world.tell("DROP ROLE orders_owner")


@pytest.mark.parametrize("method", ["md5", "scram-sha-256"])
def test_a_server_that_accepts_md5_as_well_gets_scram(world: World, method: str) -> None:
    """As `azure.accepted_password_auth_method` has it, and servers from before SCRAM."""
    file = world.server.data / "pg_hba.conf"
    before = file.read_text(encoding="utf-8")
    try:
        file.write_text(before.replace("scram-sha-256", method), encoding="utf-8")
        world.set(SERVER, [("password_encryption", "md5", 0)])
        world.use()
    finally:
        file.write_text(before, encoding="utf-8")
        world.reset()


@pytest.mark.parametrize(
    ("statement", "undo", "code"),
    [
        (
            "ALTER DATABASE orders ALLOW_CONNECTIONS false",
            "ALTER DATABASE orders ALLOW_CONNECTIONS true",
            Code.LOGIN_DATABASE,
        ),
        (
            "REVOKE CONNECT ON DATABASE orders FROM PUBLIC",
            "GRANT CONNECT ON DATABASE orders TO PUBLIC",
            Code.LOGIN_CONNECT,
        ),
        (
            f"ALTER ROLE {GREEN} SET session_preload_libraries = 'no_such_library'",
            f"ALTER ROLE {GREEN} RESET ALL",
            Code.LOGIN_BARRED,
        ),
    ],
    ids=["no connections", "no right", "no library"],
)
def test_what_keeps_the_role_out_is_no_server_that_is_down(
    world: World, statement: str, undo: str, code: Code
) -> None:
    password, edge = new_password(), world.edge()
    edge.activate(GREEN, password)
    world.tell(statement)
    try:
        with pytest.raises(EdgeError) as caught:
            edge.login(GREEN, password)
    finally:
        world.tell(undo)
        edge.deactivate(GREEN)
    assert caught.value.code is code


@pytest.mark.parametrize(
    "policy",
    [
        psycopg.errors.InvalidAuthorizationSpecification,
        psycopg.errors.InvalidPassword,
        psycopg.errors.InvalidParameterValue,
        psycopg.errors.FeatureNotSupported,
    ],
)
def test_a_server_with_a_password_policy_is_no_role_that_is_missing(
    policy: type[psycopg.Error],
) -> None:
    """As extensions that want passwords in clear text refuse a verifier."""
    what = "PostgreSQL pg:5432 could not activate role x"
    with pytest.raises((Invalid, psycopg.Error)) as caught, altering(what):
        raise policy
    found = caught.value
    error = translated(what, "rotator", found) if isinstance(found, psycopg.Error) else found
    assert isinstance(error, Invalid)
    assert error.code is Code.DATABASE_ERROR
    assert f"SQLSTATE {policy.sqlstate}" in error.message
