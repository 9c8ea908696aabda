"""Attacks through a database and through the roles in it, on every PostgreSQL at hand."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import shutil
import socket
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from local.postgres import Postgres
from local.process import free_port, wait_until
from rotation.config import Admin, Database
from rotation.edges.database import login, scram
from rotation.edges.database.server import PostgreSQL
from rotation.model.errors import Denied, EdgeError, Invalid, Unavailable
from rotation.model.reasons import Code
from rotation.secrecy import Secret
from tests import versions
from tests.security import hostile_postgres
from tests.security.attacked import WORDS
from tests.security.hostile_postgres import answering, pooler
from tests.security.hostile_postgres import error as postgres_error
from tests.security.hostile_postgres import notice as postgres_notice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PGBOUNCER = shutil.which("pgbouncer")
PASSWORD = Secret("aB3" * 12)
# Whatever of it is found instead of the catalogue's own fails loudly. An owner of a database makes
# it as themselves: none of it takes a superuser.
EVIL = """
CREATE SCHEMA evil;
CREATE FUNCTION evil.trap(what text) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'trapped: % ran as %', what, current_user; END $$;
CREATE FUNCTION evil.host(inet) RETURNS text LANGUAGE sql AS $$SELECT evil.trap('host')$$;
CREATE FUNCTION evil.count() RETURNS bigint LANGUAGE sql AS $$SELECT evil.trap('count')::bigint$$;
CREATE FUNCTION evil.isfinite(timestamptz) RETURNS bool LANGUAGE sql
  AS $$SELECT evil.trap('isfinite')::bool$$;
CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql
  AS $$SELECT evil.trap('current_setting')$$;
CREATE FUNCTION evil.same(name, name) RETURNS bool LANGUAGE sql
  AS $$SELECT evil.trap('operator')::bool$$;
CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.same);
CREATE FUNCTION evil.good(text) RETURNS bool LANGUAGE sql AS $$SELECT evil.trap('domain')::bool$$;
CREATE DOMAIN evil.name AS text CHECK (evil.good(VALUE));
CREATE TYPE evil.mark AS ENUM ('x');
CREATE FUNCTION evil.cast(evil.mark) RETURNS text LANGUAGE sql AS $$SELECT evil.trap('cast')$$;
CREATE CAST (evil.mark AS text) WITH FUNCTION evil.cast(evil.mark) AS IMPLICIT;
CREATE VIEW evil.pg_roles AS SELECT evil.trap('pg_roles') AS rolname;
CREATE VIEW evil.pg_stat_activity AS SELECT 'x'::evil.mark AS usename;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA evil TO PUBLIC;
"""
# What a client says that qualifies nothing, by the trap that it steps into.
NAIVE = {
    "host": "SELECT host('127.0.0.1'::inet)",
    "count": "SELECT count()",
    "isfinite": "SELECT isfinite(pg_catalog.now())",
    "current_setting": "SELECT current_setting('search_path')",
    "operator": "SELECT 'a'::pg_catalog.name = 'b'::pg_catalog.name",
    "domain": "SELECT 'orders_blue'::name",
    "cast": "SELECT pg_catalog.reverse(usename) FROM pg_stat_activity",
    "pg_roles": "SELECT rolname FROM pg_roles",
}


@pytest.fixture(scope="module", params=versions.each())
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
        tell(dsn, "CREATE ROLE owner LOGIN PASSWORD 'owner'")
        tell(dsn, "CREATE DATABASE orders OWNER owner")
        yield dsn


def tell(dsn: str, statement: str, database: str = "postgres") -> None:
    # What the attacks set must not hold here.
    options = (
        "-c role=none -c search_path=public -c default_transaction_read_only=off"
        " -c local_preload_libraries= -c statement_timeout=0 -c idle_session_timeout=0"
    )
    with psycopg.connect(
        make_conninfo(dsn, dbname=database, options=options), autocommit=True
    ) as connection:
        connection.execute(statement.encode())


@contextmanager
def real_pooler(dsn: str, folder: Path, ignored: str) -> Iterator[int]:
    """The port of a PgBouncer in front of the server, which ignores a start-up parameter."""
    assert PGBOUNCER is not None
    port, server = free_port(), conninfo_to_dict(dsn)["port"]
    (folder / "users.txt").write_text('"rotator" "rotator"\n', encoding="utf-8")
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {folder / 'users.txt'}\n"
        f"ignore_startup_parameters = {ignored}\n",
        encoding="utf-8",
    )
    running = subprocess.Popen(  # noqa: S603 - the pooler, with a file of this test
        [PGBOUNCER, "--user", "nobody", str(settings)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _listens(port), 10, "the pooler listening")
        yield port
    finally:
        running.kill()
        running.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


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


def use_as_rotator(server: PostgreSQL) -> None:
    """Each verb that runs with the rotator's rights."""
    server.activate("orders_blue", PASSWORD)
    assert server.roles(["orders_blue"])["orders_blue"].login
    assert {session.role for session in server.sessions(["rotator"])} == {"rotator"}
    server.terminate("orders_blue")
    server.deactivate("orders_blue")
    assert not server.roles(["orders_blue"])["orders_blue"].login


def use_all_of(server: PostgreSQL) -> None:
    server.activate("orders_blue", PASSWORD)
    server.login("orders_blue", PASSWORD)
    use_as_rotator(server)
    with pytest.raises(Denied):
        server.login("orders_blue", PASSWORD)


def naive(dsn: str, database: str = "orders") -> psycopg.Connection[tuple[Any, ...]]:
    """A session of the rotator's login as most clients have it, with no options of its own."""
    own = make_conninfo(dsn, dbname=database, user="rotator", password="rotator")
    return psycopg.connect(own, autocommit=True)


def tell_as_owner(dsn: str, statement: str) -> None:
    """As the owner of the application's database, who is no superuser."""
    tell(make_conninfo(dsn, user="owner", password="owner"), statement, "orders")


@contextmanager
def reset(dsn: str, *databases: str) -> Iterator[None]:
    """Takes away all settings of the databases and of the rotator at the end."""
    try:
        yield
    finally:
        for database in databases:
            tell(dsn, f"ALTER DATABASE {database} RESET ALL")
            tell(dsn, f"ALTER ROLE rotator IN DATABASE {database} RESET ALL")
        tell(dsn, "ALTER ROLE rotator RESET ALL")


@pytest.mark.parametrize("database", ["orders", "postgres"])
def test_an_owner_of_the_database_runs_nothing_as_the_rotator(admin: str, database: str) -> None:
    """In the application's own database, and even in the one that the rotator works in.

    Each trap is seen to catch a client that qualifies nothing, with the rotator's own login.
    """
    tell(admin, EVIL, database)
    settings = [
        f"ALTER DATABASE {database} SET search_path = evil, pg_catalog",
        f"ALTER ROLE rotator IN DATABASE {database} SET search_path = evil, pg_catalog",
        "ALTER ROLE rotator SET search_path = evil, pg_catalog",
        f"ALTER DATABASE {database} SET role = 'victim'",
        "ALTER ROLE rotator SET role = 'victim'",
        f"ALTER DATABASE {database} SET default_transaction_read_only = on",
    ]
    with reset(admin, database):
        try:
            for statement in settings:
                tell(admin, statement)
            with naive(admin, database) as careless:
                for name, query in NAIVE.items():
                    with pytest.raises(psycopg.errors.RaiseException, match=f"trapped: {name} ran"):
                        careless.execute(query.encode())
            use_as_rotator(edge(admin))
        finally:
            tell(admin, "DROP SCHEMA evil CASCADE", database)


def test_an_owner_makes_all_of_it_without_a_superuser(admin: str) -> None:
    tell_as_owner(admin, EVIL)
    with reset(admin, "orders"):
        tell_as_owner(admin, "ALTER DATABASE orders SET search_path = evil, pg_catalog")
        with (
            naive(admin) as careless,
            pytest.raises(psycopg.errors.RaiseException, match="trapped"),
        ):
            careless.execute(NAIVE["host"].encode())
        use_as_rotator(edge(admin))
    tell_as_owner(admin, "DROP SCHEMA evil CASCADE")


def test_a_role_that_the_rotator_would_become_is_not_become(admin: str) -> None:
    """`role` of a database or of the login: a careless client works as somebody else."""
    with reset(admin, "postgres"):
        tell(admin, "GRANT victim TO rotator")
        tell(admin, "ALTER ROLE rotator SET role = 'victim'")
        tell(admin, "ALTER ROLE rotator SET search_path = '$user', public")
        with naive(admin, "postgres") as careless:
            became = careless.execute("SELECT current_user").fetchone()
        assert became == ("victim",)
        use_as_rotator(edge(admin))
    tell(admin, "REVOKE victim FROM rotator")


# The libraries that a session loads, and who may say so. The third way, shared_preload_libraries,
# is the server's own, at its start.
LIBRARIES = {
    "local_preload_libraries": "owner",  # from $libdir/plugins alone
    "session_preload_libraries": "superuser",  # whoever that is runs what they want anyway
}


@pytest.mark.parametrize(("setting", "who"), LIBRARIES.items(), ids=list(LIBRARIES))
def test_a_library_of_the_applications_database_is_not_loaded(
    admin: str, setting: str, who: str
) -> None:
    statement = f"ALTER DATABASE orders SET {setting} = 'nonsense'"
    with reset(admin, "orders"):
        if who == "owner":
            tell_as_owner(admin, statement)
        else:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                tell_as_owner(admin, statement)
            tell(admin, statement)
        with pytest.raises(psycopg.OperationalError, match="could not access file"):
            naive(admin)
        use_as_rotator(edge(admin))


# Those that anybody may set, and that could change what the rotator does or reads.
OWN_SETTINGS = [
    "local_preload_libraries = 'nonsense'",
    "client_encoding = 'SQL_ASCII'",
    "datestyle = 'SQL, DMY'",
    "intervalstyle = 'iso_8601'",
    "idle_session_timeout = 1",
    "statement_timeout = 1",
    "standard_conforming_strings = off",
    "array_nulls = off",
    "transform_null_equals = on",
    "password_encryption = 'md5'",
    "default_tablespace = 'nowhere'",
]


@pytest.mark.parametrize("what", ["DATABASE postgres", "ROLE rotator"])
def test_no_setting_of_the_rotators_database_or_role_is_in_its_way(admin: str, what: str) -> None:
    with reset(admin, "postgres"):
        for setting in OWN_SETTINGS:
            tell(admin, f"ALTER {what} SET {setting}")
        use_as_rotator(edge(admin))


def test_an_event_trigger_of_the_application_is_not_run_as_the_rotator(admin: str) -> None:
    """Event triggers take a superuser. PostgreSQL fires none for roles, which belong to no
    database: the trap is seen with what a careless client would do in the application's."""
    make = (
        "CREATE FUNCTION trap() RETURNS event_trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'trapped'; END $$; "
    )
    trigger = "CREATE EVENT TRIGGER trapped ON ddl_command_start EXECUTE FUNCTION trap()"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        tell_as_owner(admin, make + trigger)
    tell(admin, f"{make}{trigger}; ALTER EVENT TRIGGER trapped ENABLE ALWAYS", "orders")
    try:
        with naive(admin) as careless, pytest.raises(psycopg.errors.RaiseException):
            careless.execute(b"CREATE TEMPORARY TABLE mine ()")
        use_as_rotator(edge(admin))
    finally:
        tell(admin, "DROP EVENT TRIGGER trapped; DROP FUNCTION trap()", "orders")


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
        with pytest.raises(psycopg.OperationalError, match="trapped"):
            naive(admin)
        use_as_rotator(edge(admin))
    finally:
        tell(admin, "DROP EVENT TRIGGER trapped; DROP FUNCTION trap()", "orders")


def test_the_rotator_has_no_need_to_connect_to_the_application(admin: str) -> None:
    tell(admin, "REVOKE CONNECT ON DATABASE orders FROM PUBLIC")
    tell(admin, "GRANT CONNECT ON DATABASE orders TO orders_blue")
    try:
        use_all_of(edge(admin))
    finally:
        tell(admin, "GRANT CONNECT ON DATABASE orders TO PUBLIC")


REFUSAL = "unsupported startup parameter"  # as PgBouncer says it, with more words since 1.20


@pytest.mark.parametrize("said", [f"{REFUSAL}: options", f"{REFUSAL} in options: search_path"])
def test_a_pooler_that_refuses_our_options_is_not_worked_through(said: str) -> None:
    with answering(postgres_error(said, "08P01")) as port, pytest.raises(Invalid) as refused:
        edge(f"host=127.0.0.1 port={port}").roles(["orders_blue"])
    assert refused.value.code is Code.DATABASE_POOLER
    assert "a pooler answers there" in refused.value.message
    assert "options:" not in str(refused.value)


def test_a_pooler_that_drops_our_options_is_not_worked_through(admin: str) -> None:
    """The server behind it is a real one, the login succeeds, and nothing is changed."""
    port = int(str(conninfo_to_dict(admin)["port"]))
    tell(admin, "ALTER ROLE orders_blue NOLOGIN")
    verbs: list[Callable[[PostgreSQL], object]] = [
        lambda server: server.activate("orders_blue", PASSWORD),
        lambda server: server.deactivate("orders_blue"),
        lambda server: server.terminate("orders_blue"),
        lambda server: server.roles(["orders_blue"]),
        lambda server: server.sessions(["orders_blue"]),
    ]
    with pooler(port) as between:
        for verb in verbs:
            with pytest.raises(Invalid) as refused:
                verb(edge(f"host=127.0.0.1 port={between}"))
            assert refused.value.code is Code.DATABASE_POOLER
    assert not edge(admin).roles(["orders_blue"])["orders_blue"].login


def test_nor_one_whose_database_has_our_search_path_by_itself(admin: str) -> None:
    """A right path by chance says nothing of the role that a session works as."""
    port = int(str(conninfo_to_dict(admin)["port"]))
    with reset(admin, "postgres"), pooler(port) as between:
        tell(admin, "ALTER DATABASE postgres SET search_path = pg_catalog")
        tell(admin, "GRANT victim TO rotator")
        tell(admin, "ALTER ROLE rotator SET role = 'victim'")
        with pytest.raises(Invalid) as refused:
            edge(f"host=127.0.0.1 port={between}").roles(["orders_blue"])
    tell(admin, "REVOKE victim FROM rotator")
    assert refused.value.code is Code.DATABASE_POOLER


@pytest.mark.skipif(PGBOUNCER is None, reason="no pgbouncer here: Debian has it in pgbouncer")
@pytest.mark.parametrize("ignored", ["", "options"])
def test_a_real_pooler_is_told_apart_either_way(
    admin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ignored: str
) -> None:
    with real_pooler(admin, tmp_path, ignored) as port:
        with pytest.raises(EdgeError) as refused:
            edge(f"host=127.0.0.1 port={port}").roles(["orders_blue"])
        assert refused.value.code is Code.DATABASE_POOLER


HOSTILE = " ".join(WORDS)
# What libpq makes of each: refusals that are known, one that is not, and no PostgreSQL at all.
POSTGRES_ANSWERS = {
    "an error": postgres_error(HOSTILE, "XX000"),
    "a known refusal": postgres_error(f"password authentication failed {HOSTILE}", "28P01"),
    "a pooler's refusal": postgres_error(f"unsupported startup parameter {HOSTILE}", "08P01"),
    "busy": postgres_error(HOSTILE, "53300"),
    "notices first": postgres_notice(HOSTILE) * 3 + postgres_error(HOSTILE, "57P03"),
    "an error without its end": postgres_error(HOSTILE, "XX000")[:-20],
    "the password in clear": hostile_postgres.CLEARTEXT,
    "its hash": hostile_postgres.MD5,
    "no proof at all": hostile_postgres.OK + hostile_postgres.READY,
    "another protocol": f"HTTP/1.1 200 OK\r\n\r\n{HOSTILE}".encode(),
    "a protocol of long ago": b"E" + HOSTILE.encode() + b"\0",
    "nothing": b"",
}


@pytest.mark.parametrize("answer", POSTGRES_ANSWERS.values(), ids=list(POSTGRES_ANSWERS))
def test_no_word_of_what_answers_in_the_servers_name_is_taken_over(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.DEBUG),
        answering(answer) as port,
        pytest.raises(EdgeError) as refused,
    ):
        edge(f"host=127.0.0.1 port={port}").roles(["orders_blue"])
    error = refused.value
    said = f"{error!r} {error.message} {error.as_failure()} {error.__cause__} {caplog.text}"
    assert not any(word in said for word in WORDS)


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
    monkeypatch.setattr(login, "LONGEST", 1.0)
    ticks, done = [0], threading.Event()

    def tick() -> None:
        while not done.wait(0.02):
            ticks[0] += 1

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        with pytest.raises(Unavailable, match="not done after 1 s"):
            edge(admin).login("orders_blue", PASSWORD)
    finally:
        done.set()
        ticker.join()
    assert ticks[0] > 10


@pytest.mark.parametrize(
    ("asked", "made"), [("1", scram.FEWEST), ("5000", 5000), ("20000000", scram.MOST)]
)
def test_a_setting_of_the_server_makes_no_verifier_weak_or_slow(
    admin: str, asked: str, made: int
) -> None:
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
    assert int(row[0].split("$")[1].partition(":")[0]) == made
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
