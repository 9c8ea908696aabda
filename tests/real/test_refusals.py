"""What a real PostgreSQL and a real PgBouncer say where they refuse a connection, and its code."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from local.postgres import installations
from local.process import wait_until
from rotation.config import Admin, Database
from rotation.edges.database.server import PostgreSQL
from rotation.model.errors import Denied, EdgeError, Invalid, Unavailable
from rotation.model.reasons import Code
from rotation.secrecy import Secret
from tests.real.pooler import FOUND, PgBouncer
from tests.real.servers import Managed, managed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TLS = [found for found in installations() if found.tls]
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not TLS, reason="no PostgreSQL of Debian's here: apt install postgresql"),
]
needs_pooler = pytest.mark.skipif(not FOUND, reason="no PgBouncer here: apt install pgbouncer")
PASSWORD = "of the slot"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    with managed(TLS[0], tmp_path_factory.mktemp("refusing")) as found:
        tell(found, f"CREATE ROLE orders_app LOGIN PASSWORD '{PASSWORD}'")
        tell(found, "CREATE DATABASE orders")
        tell(found, "CREATE DATABASE closed")
        tell(found, "REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
        tell(found, "CREATE DATABASE shut ALLOW_CONNECTIONS false")
        yield found


def tell(server: Managed, statement: str) -> None:
    with psycopg.connect(server.owner, autocommit=True) as connection:
        connection.execute(statement.encode())


def edge(server: Managed, **changes: Any) -> PostgreSQL:
    values: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": server.server.port,
        "name": "orders",
        "admin": Admin(role="pgadmin", secret="from-the-test"),
        **server.verified,
    }
    return PostgreSQL(Database(**{**values, **changes}), lambda: Secret("unused"))


def refused(server: Managed, **changes: Any) -> EdgeError:
    """The error of a login as the slot's role."""
    with pytest.raises(EdgeError) as caught:
        edge(server, **changes).login("orders_app", Secret(PASSWORD))
    assert PASSWORD not in caught.value.message
    return caught.value


@contextmanager
def lines(server: Managed, *above: str) -> Iterator[None]:
    """With lines at the beginning of `pg_hba.conf`, in force; they are for the slot's role."""
    file = server.server.directory / "pg_hba.conf"
    before = file.read_text()
    file.write_text("".join(f"{line}\n" for line in above) + before)
    with reloaded(server):
        yield
    file.write_text(before)
    tell(server, "SELECT pg_catalog.pg_reload_conf()")


@contextmanager
def reloaded(server: Managed) -> Iterator[None]:
    """Waits until what was written is in force."""
    with psycopg.connect(server.owner, autocommit=True) as connection:

        def loaded() -> object:
            row = connection.execute("SELECT pg_catalog.pg_conf_load_time()").fetchone()
            return row and row[0]

        before = loaded()
        connection.execute("SELECT pg_catalog.pg_reload_conf()")
        wait_until(lambda: loaded() != before, 10, "the settings' being read")
    yield


ME = "orders_app 127.0.0.0/8"
HBA: list[tuple[str, dict[str, Any], type[EdgeError], Code]] = [
    (f"hostssl all {ME} reject", {}, Denied, Code.LOGIN_HBA),
    (f"hostssl all {ME} password", {}, Invalid, Code.LOGIN_METHOD),
    (f"hostssl all {ME} trust", {}, Invalid, Code.LOGIN_METHOD),
    (f"hostssl all {ME} ident", {}, Denied, Code.LOGIN_METHOD),
    (f"hostssl all {ME} scram-sha-256", {"name": "nowhere"}, Denied, Code.LOGIN_DATABASE),
    (f"hostssl all {ME} scram-sha-256", {"name": "closed"}, Denied, Code.LOGIN_CONNECT),
    (f"hostssl all {ME} scram-sha-256", {"name": "shut"}, Denied, Code.LOGIN_DATABASE),
    # What is there lets in with TLS only.
    ("", {"sslmode": "disable", "sslrootcert": None}, Denied, Code.LOGIN_HBA),
    ("", {"port": 1}, Unavailable, Code.DATABASE_DOWN),
    ("", {"host": "no-such-host.invalid"}, Unavailable, Code.DATABASE_NAME),
    ("", {"sslrootcert": None}, Invalid, Code.DATABASE_CERTIFICATE),
]


@pytest.mark.parametrize("given", HBA, ids=[f"{one[0]} {one[1]}" for one in HBA])
def test_what_pg_hba_conf_and_the_database_refuse(
    server: Managed, given: tuple[str, dict[str, Any], type[EdgeError], Code]
) -> None:
    line, changes, kind, code = given
    with lines(server, line):
        found = refused(server, **changes)
    assert (type(found), found.code) == (kind, code), found


SETTINGS: list[tuple[dict[str, str], type[EdgeError], Code]] = [
    (
        {"ssl_min_protocol_version": "TLSv1", "ssl_max_protocol_version": "TLSv1.1"},
        Invalid,
        Code.DATABASE_TLS_VERSION,
    ),
    (
        {"ssl_max_protocol_version": "TLSv1.2", "ssl_ciphers": "NULL-SHA256:@SECLEVEL=0"},
        Unavailable,
        Code.DATABASE_TLS,
    ),
]


@pytest.mark.parametrize(("settings", "kind", "code"), SETTINGS)
def test_tls_that_server_and_app_do_not_have_in_common(
    server: Managed, settings: dict[str, str], kind: type[EdgeError], code: Code
) -> None:
    with psycopg.connect(server.owner, autocommit=True) as connection:
        for name, value in settings.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
        connection.execute("SELECT pg_catalog.pg_reload_conf()")
        try:
            wait_until(lambda: refuses(server) is code, 10, f"{code}")
            assert type(refused(server)) is kind
        finally:
            connection.execute("ALTER SYSTEM RESET ALL")
            connection.execute("SELECT pg_catalog.pg_reload_conf()")
    wait_until(lambda: refuses(server) is None, 10, "the settings as they were")


def refuses(server: Managed) -> Code | None:
    """The code of a login now; None if it succeeds."""
    try:
        edge(server).login("orders_app", Secret(PASSWORD))
    except EdgeError as error:
        return error.code
    return None


def test_a_server_that_asks_for_a_clients_certificate(server: Managed) -> None:
    assert server.authority is not None
    tell(server, f"ALTER SYSTEM SET ssl_ca_file = '{server.authority}'")
    try:
        with lines(server, f"hostssl all {ME} scram-sha-256 clientcert=verify-ca"):
            found = refused(server)
    finally:
        tell(server, "ALTER SYSTEM RESET ALL")
        tell(server, "SELECT pg_catalog.pg_reload_conf()")
    assert (type(found), found.code) == (Invalid, Code.DATABASE_CLIENT_CERTIFICATE)


def test_what_is_no_postgresql(server: Managed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connected, _ = listening.accept()
            with connected:
                connected.recv(100)
                connected.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        port = listening.getsockname()[1]
        found = refused(server, port=port, sslmode="disable", sslrootcert=None)
        thread.join(10)
    assert (type(found), found.code) == (Unavailable, Code.DATABASE_PROTOCOL)


def pgbouncer(server: Managed, folder: Path, databases: str = "", **settings: str) -> PgBouncer:
    at = f"orders = host=127.0.0.1 port={server.server.port}"
    own = {
        "auth_type": "scram-sha-256",
        "server_tls_sslmode": "verify-ca",
        "server_tls_ca_file": str(server.authority),
    }
    users = {"orders_app": PASSWORD}
    return PgBouncer(folder / "pgbouncer", databases or at, {**own, **settings}, users)


def through(pooler: PgBouncer, server: Managed, **changes: Any) -> EdgeError:
    at = {"port": pooler.port, "sslmode": "disable", "sslrootcert": None}
    return refused(server, **{**at, **changes})


@needs_pooler
def test_a_pooler_that_is_full(server: Managed, tmp_path: Path) -> None:
    with pgbouncer(server, tmp_path, max_client_conn="1") as pooler:
        at = {"host": "127.0.0.1", "port": pooler.port, "dbname": "orders"}
        with psycopg.connect(**at, user="orders_app", password=PASSWORD):  # type: ignore[arg-type]
            found = through(pooler, server)
    assert (type(found), found.code) == (Unavailable, Code.POOLER_FULL)


@needs_pooler
def test_a_pooler_that_has_no_server(server: Managed, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        at = f"orders = host=127.0.0.1 port={taken.getsockname()[1]}"
        with pgbouncer(server, tmp_path, at, query_wait_timeout="1") as pooler:
            found = through(pooler, server)
    assert (type(found), found.code) == (Unavailable, Code.POOLER_WAITING)


@needs_pooler
def test_a_pooler_whose_pool_is_used_up(server: Managed, tmp_path: Path) -> None:
    settings = {"default_pool_size": "1", "query_wait_timeout": "1", "pool_mode": "session"}
    with pgbouncer(server, tmp_path, **settings) as pooler:
        at = {"host": "127.0.0.1", "port": pooler.port, "dbname": "orders"}
        with psycopg.connect(**at, user="orders_app", password=PASSWORD) as holder:  # type: ignore[arg-type]
            holder.execute("SELECT 1")
            found = through(pooler, server)
    assert (type(found), found.code) == (Unavailable, Code.POOLER_WAITING)


@needs_pooler
def test_a_database_that_a_pooler_does_not_know(server: Managed, tmp_path: Path) -> None:
    with pgbouncer(server, tmp_path) as pooler:
        found = through(pooler, server, name="nowhere")
        encrypted = through(pooler, server, sslmode="require")
    assert (type(found), found.code) == (Denied, Code.LOGIN_DATABASE)
    assert (type(encrypted), encrypted.code) == (Invalid, Code.DATABASE_NO_TLS)


@needs_pooler
def test_what_a_poolers_own_hba_file_refuses(server: Managed, tmp_path: Path) -> None:
    file = tmp_path / "hba"
    file.write_text("host all all 192.0.2.0/24 scram-sha-256\n")
    tmp_path.chmod(0o755)
    file.chmod(0o644)
    settings = {"auth_type": "hba", "auth_hba_file": str(file)}
    with pgbouncer(server, tmp_path, **settings) as pooler:
        found = through(pooler, server)
    assert (type(found), found.code) == (Denied, Code.LOGIN_HBA)


def test_a_server_that_is_shutting_down(tmp_path: Path) -> None:
    """On one of its own, which waits for the session that is open."""
    with managed(TLS[0], tmp_path) as own:
        tell(own, f"CREATE ROLE orders_app LOGIN PASSWORD '{PASSWORD}'")
        with psycopg.connect(own.owner) as holder:
            holder.execute("SELECT 1")
            os.kill(own.server.pid, signal.SIGTERM)
            wait_until(lambda: refuses(own) is Code.DATABASE_STARTING, 10, "the shutting down")
