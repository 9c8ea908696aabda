"""Attacks through a database and through the roles in it, on every PostgreSQL at hand."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from local.postgres import Postgres, installations
from rotation.config import Admin, Database
from rotation.edges.database import login, scram
from rotation.edges.database.server import PostgreSQL
from rotation.model.errors import Denied, EdgeError, Invalid, Unavailable
from rotation.secrecy import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = Secret("aB3" * 12)
# Whatever of it is found instead of the catalogue's own fails loudly.
EVIL = """
CREATE SCHEMA evil;
CREATE FUNCTION evil.trap() RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'trapped: ran as %', current_user; END $$;
CREATE FUNCTION evil.host(inet) RETURNS text LANGUAGE sql AS 'SELECT evil.trap()';
CREATE FUNCTION evil.count() RETURNS bigint LANGUAGE sql AS 'SELECT evil.trap()::bigint';
CREATE FUNCTION evil.isfinite(timestamptz) RETURNS bool LANGUAGE sql AS 'SELECT evil.trap()::bool';
CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql AS 'SELECT evil.trap()';
CREATE FUNCTION evil.same(name, name) RETURNS bool LANGUAGE sql AS 'SELECT evil.trap()::bool';
CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.same);
CREATE VIEW evil.pg_roles AS SELECT evil.trap() AS rolname;
CREATE VIEW evil.pg_stat_activity AS SELECT evil.trap() AS usename;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA evil TO PUBLIC;
"""


@pytest.fixture(
    scope="module", params=installations(), ids=[str(found.major) for found in installations()]
)
def admin(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """An administrator's connection string."""
    data = tmp_path_factory.mktemp("attacked")
    with Postgres(data, binaries=request.param.binaries) as server:
        dsn = server.admin_conninfo
        tell(dsn, "CREATE ROLE rotator LOGIN CREATEROLE PASSWORD 'rotator'")
        tell(dsn, "GRANT pg_signal_backend, pg_read_all_stats TO rotator")
        tell(dsn, "CREATE ROLE victim; CREATE ROLE orders_blue")
        if request.param.major >= 16:
            tell(dsn, "GRANT orders_blue TO rotator WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
        tell(dsn, "CREATE DATABASE orders")
        yield dsn


def tell(dsn: str, statement: str, database: str = "postgres") -> None:
    # What the attacks set must not hold here.
    options = "-c role=none -c search_path=public -c default_transaction_read_only=off"
    with psycopg.connect(
        make_conninfo(dsn, dbname=database, options=options), autocommit=True
    ) as connection:
        connection.execute(statement.encode())


def edge(dsn: str, **more: object) -> PostgreSQL:
    given = conninfo_to_dict(dsn)
    database = Database.model_validate(
        {
            "host": given["host"],
            "port": int(str(given["port"])),
            "name": "orders",
            "sslmode": "disable",
            "admin": Admin(role="rotator", secret="from-the-test"),
            **more,
        }
    )
    return PostgreSQL(database, lambda: Secret("rotator"))


def use_all_of(server: PostgreSQL) -> None:
    server.activate("orders_blue", PASSWORD)
    assert server.roles(["orders_blue"])["orders_blue"].login
    server.login("orders_blue", PASSWORD)
    server.sessions(["orders_blue"])
    server.terminate("orders_blue")
    server.deactivate("orders_blue")
    with pytest.raises(Denied):
        server.login("orders_blue", PASSWORD)


@pytest.mark.parametrize("database", ["orders", "postgres"])
def test_an_owner_of_the_database_runs_nothing_as_the_rotator(admin: str, database: str) -> None:
    """In the application's own database, and even in the one that the rotator works in."""
    tell(admin, EVIL, database)
    settings = [
        f"ALTER DATABASE {database} SET search_path = evil, pg_catalog",
        f"ALTER ROLE rotator IN DATABASE {database} SET search_path = evil, pg_catalog",
        "ALTER ROLE rotator SET search_path = evil, pg_catalog",
        f"ALTER DATABASE {database} SET role = 'victim'",
        f"ALTER DATABASE {database} SET default_transaction_read_only = on",
    ]
    try:
        for statement in settings:
            tell(admin, statement)
        use_all_of(edge(admin))
    finally:
        for reset in (
            f"ALTER DATABASE {database} RESET ALL",
            f"ALTER ROLE rotator IN DATABASE {database} RESET ALL",
            "ALTER ROLE rotator RESET ALL",
        ):
            tell(admin, reset)
        tell(admin, "DROP SCHEMA evil CASCADE", database)


def test_a_login_trigger_of_the_application_is_not_run_as_the_rotator(admin: str) -> None:
    with psycopg.connect(admin) as connection:
        if connection.info.server_version < 170000:
            pytest.skip("login event triggers came with PostgreSQL 17")
    tell(
        admin,
        "CREATE FUNCTION trap() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF session_user = 'rotator' THEN RAISE EXCEPTION 'trapped'; END IF; END $$;"
        " CREATE EVENT TRIGGER trapped ON login EXECUTE FUNCTION trap();"
        " ALTER EVENT TRIGGER trapped ENABLE ALWAYS",
        "orders",
    )
    try:
        use_all_of(edge(admin))
    finally:
        tell(admin, "DROP EVENT TRIGGER trapped", "orders")


def test_the_rotator_has_no_need_to_connect_to_the_application(admin: str) -> None:
    tell(admin, "REVOKE CONNECT ON DATABASE orders FROM PUBLIC")
    tell(admin, "GRANT CONNECT ON DATABASE orders TO orders_blue")
    try:
        use_all_of(edge(admin))
    finally:
        tell(admin, "GRANT CONNECT ON DATABASE orders TO PUBLIC")


def test_the_maintenance_database_is_not_the_applications() -> None:
    with pytest.raises(ValueError, match="must be another database"):
        edge("host=h port=1", maintenance="orders")


def test_a_verifier_of_millions_of_rounds_holds_nobody(
    admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role may store such a one for itself; others go on while a login computes it."""
    key = base64.b64encode(b"k" * 32).decode()
    made = f"SCRAM-SHA-256$2000000000:{base64.b64encode(b's' * 16).decode()}${key}:{key}"
    tell(admin, "ALTER ROLE orders_blue LOGIN")
    with psycopg.connect(admin, autocommit=True) as connection:
        # Past ALTER ROLE, where the server would compute as many rounds to see whether it is empty.
        connection.execute(
            "UPDATE pg_authid SET rolpassword = %s WHERE rolname = 'orders_blue'", [made]
        )
    monkeypatch.setattr(login, "LONGEST", 2.0)
    ticks, done = [0], threading.Event()

    def tick() -> None:
        while not done.wait(0.02):
            ticks[0] += 1

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        with pytest.raises(Unavailable, match="not done after 2 s"):
            edge(admin).login("orders_blue", PASSWORD)
    finally:
        done.set()
        ticker.join()
    assert ticks[0] > 10


@pytest.mark.parametrize("asked", ["1", "20000000"])
def test_a_setting_of_the_server_makes_no_verifier_weak_or_slow(admin: str, asked: str) -> None:
    with psycopg.connect(admin, autocommit=True) as connection:
        if connection.info.server_version < 160000:
            pytest.skip("scram_iterations came with PostgreSQL 16")
    tell(admin, f"ALTER DATABASE postgres SET scram_iterations = {asked}")
    try:
        edge(admin).activate("orders_blue", PASSWORD)
    finally:
        tell(admin, "ALTER DATABASE postgres RESET scram_iterations")
    with psycopg.connect(admin) as connection:
        row = connection.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname = 'orders_blue'"
        ).fetchone()
    assert row is not None
    rounds = int(row[0].split("$")[1].partition(":")[0])
    assert scram.FEWEST <= rounds <= scram.MOST
    edge(admin).login("orders_blue", PASSWORD)


def test_a_verifier_is_that_of_the_rfc() -> None:
    """The exchange of https://www.rfc-editor.org/rfc/rfc7677, section 3."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    message = (
        f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        f"c=biws,r={nonce}"
    ).encode()
    made = scram.verifier(Secret("pencil"), 4096, salt)
    stored, server = (base64.b64decode(part) for part in made.rpartition("$")[2].split(":"))
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    signature = hmac.digest(stored, message, "sha256")
    client = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    assert hashlib.sha256(client).digest() == stored
    expected = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert base64.b64encode(hmac.digest(server, message, "sha256")).decode() == expected


@pytest.mark.parametrize("password", ["pässword", "a\nb", "a\x00b"])
def test_a_password_that_would_need_preparing_is_refused(password: str) -> None:
    with pytest.raises(Invalid):
        scram.verifier(Secret(password), 4096)


def test_a_login_takes_no_settings_from_the_environment(
    admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c nonsense=1")
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.2")
    server = edge(admin)
    monkeypatch.undo()
    server.activate("orders_blue", PASSWORD)
    monkeypatch.setenv("PGOPTIONS", "-c nonsense.x=y -c nonsense=1")
    server.login("orders_blue", PASSWORD)


def test_a_login_process_that_dies_is_a_fault_that_passes() -> None:
    assert isinstance(login._error("it", b""), EdgeError)  # noqa: SLF001 - the parser itself
