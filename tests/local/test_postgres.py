from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local.postgres import (
    Application,
    Installation,
    Postgres,
    default_binaries,
    installations,
    provision,
)
from local.process import Component, StartError, wait_until
from local.tls import Authority
from rotation.secrecy import Secret, new_password

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTALLED = installations()
WITH_TLS = [installation for installation in INSTALLED if installation.tls]
APPLICATION = Application()


def ask(conninfo: str, query: str) -> Any:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None


def tell(conninfo: str, statement: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(statement.encode())


def refusal(conninfo: str) -> str:
    """What the server says to a login that it refuses."""
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(conninfo).close()
    return str(caught.value)


def shared_memory() -> set[str]:
    """System V segments that no process is attached to."""
    rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[6] == "0"}


def name_of(installation: Installation) -> str:
    return f"{installation.major}{'-tls' if installation.tls else ''}"


@pytest.fixture(scope="module", params=INSTALLED, ids=name_of)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp("postgres")
    with Postgres(directory, binaries=request.param.binaries) as running:
        yield running


class Provisioned:
    """A server with the sample application, and the passwords that are in force."""

    def __init__(self, server: Postgres, admin: str) -> None:
        self.server = server
        self.password = new_password()
        self.rotator_password = new_password()
        self.admin = admin
        self.created = self.provision()

    def provision(self) -> bool:
        return provision(
            self.admin,
            APPLICATION,
            password=self.password,
            rotator_password=self.rotator_password,
        )

    def login(self, role: str, password: Secret | None = None) -> str:
        clear = (password or self.password).reveal()
        return self.server.conninfo(role, clear, APPLICATION.database)

    @property
    def rotator(self) -> str:
        """In the maintenance database: it is granted nothing in an application's."""
        clear = self.rotator_password.reveal()
        return self.server.conninfo(APPLICATION.rotator, clear, "postgres")


@pytest.fixture(scope="module")
def provisioned(server: Postgres) -> Provisioned:
    """Provisioned as on Azure: by an administrator that is no superuser."""
    password = new_password()
    with psycopg.connect(server.admin_conninfo, autocommit=True) as connection:
        create = sql.SQL("CREATE ROLE azure_admin LOGIN CREATEROLE CREATEDB PASSWORD {}")
        # Not in clear text, which the server would log.
        verifier = connection.pgconn.encrypt_password(
            password.reveal().encode(), b"azure_admin", b"scram-sha-256"
        )
        connection.execute(create.format(sql.Literal(verifier.decode())))
        connection.execute(
            "GRANT pg_signal_backend, pg_read_all_stats TO azure_admin WITH ADMIN OPTION"
        )
    return Provisioned(server, server.conninfo("azure_admin", password.reveal()))


# The server


def test_passwords_are_checked_by_scram_over_tcp(server: Postgres) -> None:
    stored = ask(
        server.admin_conninfo, "SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'"
    )
    assert stored.startswith("SCRAM-SHA-256$")
    wrong = server.conninfo("postgres", "wrong")
    assert 'password authentication failed for user "postgres"' in refusal(wrong)


def test_listens_on_loopback_and_has_no_socket_file(server: Postgres) -> None:
    listening = psutil.Process(server.pid).net_connections("all")
    assert {(c.laddr.ip, c.laddr.port) for c in listening if c.status == "LISTEN"} == {
        ("127.0.0.1", server.port)
    }
    assert not [path for path in server.directory.rglob("*") if path.is_socket()]


def test_the_administrator_password_is_private_and_prints_nowhere(server: Postgres) -> None:
    password = server.admin_password
    assert server.password_file.stat().st_mode & 0o777 == 0o600
    assert password not in repr(server)
    assert password not in server.log.read_text()
    assert password not in " ".join(psutil.Process(server.pid).cmdline())
    assert password not in str(psutil.Process(server.pid).environ())


def test_a_clear_text_password_in_a_statement_reaches_the_log(server: Postgres) -> None:
    """The trap that a search of this log must be able to see."""
    tell(server.admin_conninfo, "CREATE ROLE careless PASSWORD 'in the clear'")
    assert "in the clear" in server.log.read_text()


def test_a_killed_server_comes_back_with_port_and_data(tmp_path: Path) -> None:
    unattached = shared_memory()
    server = Postgres(tmp_path / "state").start()
    tell(server.admin_conninfo, "CREATE TABLE kept AS SELECT 42 AS answer")
    session = psycopg.connect(server.admin_conninfo)
    server.kill()
    assert not server.alive
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    session.close()
    assert "refused" in refusal(server.admin_conninfo)
    assert shared_memory() <= unattached
    with server:
        assert ask(server.admin_conninfo, "SELECT answer FROM kept") == 42


def test_a_stopped_server_leaves_no_process_and_starts_again(tmp_path: Path) -> None:
    with Postgres(tmp_path / "state") as server:
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children()]
        session = psycopg.connect(server.admin_conninfo)
    session.close()
    assert not any(process.is_running() for process in family)
    with server:
        assert ask(server.admin_conninfo, "SELECT 1") == 1


def test_a_data_directory_left_half_made_is_made_anew(tmp_path: Path) -> None:
    unfinished = tmp_path / "state" / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("garbage")
    with Postgres(tmp_path / "state") as server:
        assert ask(server.admin_conninfo, "SELECT 1") == 1


def test_a_server_that_cannot_start_says_why_bad(tmp_path: Path, server: Postgres) -> None:
    taken = Postgres(tmp_path / "state", server.port, binaries=server.binaries)
    with pytest.raises(StartError, match="could not create any TCP/IP sockets"):
        taken.start()
    assert not taken.alive


def test_data_of_an_older_version_is_refused_bad(tmp_path: Path) -> None:
    with Postgres(tmp_path / "state", binaries=INSTALLED[0].binaries):
        pass
    newer = Postgres(tmp_path / "state", binaries=INSTALLED[-1].binaries)
    with pytest.raises(StartError, match=r"initialized by PostgreSQL version \d+"):
        newer.start()


def test_binaries_come_from_the_environment_or_the_package(monkeypatch: Any) -> None:
    monkeypatch.delenv("LOCAL_POSTGRES_BIN", raising=False)
    assert (default_binaries() / "initdb").exists()
    monkeypatch.setenv("LOCAL_POSTGRES_BIN", "/opt/postgres/bin")
    assert default_binaries() == Path("/opt/postgres/bin")


# The component


def component(state: Path) -> Component:
    return Component.module("postgres", "--state", str(state), log=state / "component.log")


def test_the_component_announces_itself_without_the_password(tmp_path: Path) -> None:
    with component(tmp_path) as running:
        password = Path(str(running.facts["passwordFile"])).read_text()
        assert running.url == f"postgresql://postgres@127.0.0.1:{running.facts['port']}/postgres"
        assert password not in str(running.facts)
        assert ask(make_conninfo(running.url, password=password), "SELECT 1") == 1
        pid = int(str(running.facts["pid"]))
    assert not psutil.pid_exists(pid)
    assert running.log.read_text() == ""


def test_the_server_does_not_outlive_a_killed_component(tmp_path: Path) -> None:
    running = component(tmp_path).start()
    running.kill()
    lock_file = tmp_path / "data" / "postmaster.pid"  # the last thing that an orderly end removes
    wait_until(lambda: not lock_file.exists(), 10, "the server's end")


def test_the_component_ends_when_its_server_does(tmp_path: Path) -> None:
    with component(tmp_path) as running:
        os.kill(int(str(running.facts["pid"])), signal.SIGQUIT)
        wait_until(lambda: not running.alive, 10, "the component's end")
        assert "ended by itself" in running.log.read_text()


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=WITH_TLS, ids=name_of)  # none: the test is skipped
def tls_server(
    request: pytest.FixtureRequest, tmp_path: Path, authority: Authority
) -> Iterator[Postgres]:
    tls = authority.issue("postgres")
    with Postgres(tmp_path / "state", binaries=request.param.binaries, tls=tls) as running:
        yield running


def test_tls_is_verified_and_required(tls_server: Postgres, authority: Authority) -> None:
    verified = make_conninfo(
        tls_server.admin_conninfo, sslmode="verify-full", sslrootcert=str(authority.bundle)
    )
    assert ask(verified, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is True
    plain = make_conninfo(tls_server.admin_conninfo, sslmode="disable")
    assert "no encryption" in refusal(plain)


def test_a_build_without_tls_says_so_bad(tmp_path: Path, authority: Authority) -> None:
    without = next(i.binaries for i in INSTALLED if not i.tls)
    with pytest.raises(StartError, match=r"ssl|SSL"):
        Postgres(tmp_path / "state", binaries=without, tls=authority.issue("postgres")).start()


# The application in the database


def test_only_the_active_role_can_log_in(provisioned: Provisioned) -> None:
    assert provisioned.created
    assert ask(provisioned.login("orders_blue"), "SELECT count(*) FROM orders") == 5
    assert "authentication failed" in refusal(provisioned.login("orders_green"))
    assert "authentication failed" in refusal(provisioned.login("orders"))
    assert "authentication failed" in refusal(provisioned.login("orders_blue", Secret("wrong")))


def test_provisioning_again_changes_nothing(provisioned: Provisioned) -> None:
    verifiers = "SELECT string_agg(rolpassword, ',' ORDER BY rolname) FROM pg_authid"
    before = ask(provisioned.server.admin_conninfo, verifiers)
    assert provisioned.provision() is False
    assert ask(provisioned.server.admin_conninfo, verifiers) == before
    assert ask(provisioned.login("orders_blue"), "SELECT count(*) FROM orders") == 5


def test_no_password_of_the_application_reaches_the_log(provisioned: Provisioned) -> None:
    log = provisioned.server.log.read_text()
    assert "CREATE ROLE" in log
    assert provisioned.password.reveal() not in log
    assert provisioned.rotator_password.reveal() not in log


def test_what_one_slot_creates_the_other_may_alter_and_drop(provisioned: Provisioned) -> None:
    green = new_password()
    activate(provisioned, "orders_green", green)
    with psycopg.connect(provisioned.login("orders_blue"), autocommit=True) as blue:
        blue.execute("CREATE TABLE made_by_blue (id int)")
        assert blue.execute("SELECT session_user, current_user").fetchone() == (
            "orders_blue",
            "orders",
        )
    with psycopg.connect(provisioned.login("orders_green", green), autocommit=True) as other:
        other.execute("INSERT INTO made_by_blue VALUES (1)")
        other.execute("ALTER TABLE made_by_blue ADD COLUMN more text")
        other.execute("DROP TABLE made_by_blue")


def test_what_the_administrator_creates_reaches_the_slots(provisioned: Provisioned) -> None:
    inside = make_conninfo(provisioned.admin, dbname=APPLICATION.database)
    tell(inside, "GRANT CREATE ON SCHEMA public TO azure_admin")
    tell(inside, "CREATE TABLE migrated (id int)")
    tell(provisioned.login("orders_blue"), "INSERT INTO migrated VALUES (1)")


def test_other_roles_cannot_enter_the_database(provisioned: Provisioned) -> None:
    admin = provisioned.server.admin_conninfo
    tell(admin, "CREATE ROLE stranger LOGIN PASSWORD 'known'")
    stranger = provisioned.server.conninfo("stranger", "known", APPLICATION.database)
    assert "permission denied for database" in refusal(stranger)


# The rotator


def activate(provisioned: Provisioned, role: str, password: Secret) -> None:
    with psycopg.connect(provisioned.rotator, autocommit=True) as connection:
        verifier = connection.pgconn.encrypt_password(
            password.reveal().encode(), role.encode(), b"scram-sha-256"
        ).decode()
        statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
        connection.execute(statement.format(sql.Identifier(role), sql.Literal(verifier)))


def test_the_rotator_gives_and_takes_a_login(provisioned: Provisioned) -> None:
    green = new_password()
    activate(provisioned, "orders_green", green)
    assert ask(provisioned.login("orders_green", green), "SELECT count(*) FROM orders") == 5
    tell(provisioned.rotator, "ALTER ROLE orders_green NOLOGIN")
    assert "is not permitted to log in" in refusal(provisioned.login("orders_green", green))
    tell(provisioned.rotator, "ALTER ROLE orders_green PASSWORD NULL")
    assert "authentication failed" in refusal(provisioned.login("orders_green", green))


def test_the_rotator_sees_and_ends_sessions(provisioned: Provisioned) -> None:
    named = make_conninfo(provisioned.login("orders_blue"), application_name="orders-api/blue")
    sessions = "FROM pg_stat_activity WHERE usename = 'orders_blue' AND client_addr IS NOT NULL"
    with psycopg.connect(named) as session:
        assert ask(provisioned.rotator, f"SELECT application_name {sessions}") == "orders-api/blue"
        assert ask(provisioned.rotator, f"SELECT pg_terminate_backend(pid, 5000) {sessions}")
        with pytest.raises(psycopg.OperationalError, match=r"terminat|closed"):
            session.execute("SELECT 1")
    assert ask(provisioned.rotator, f"SELECT count(*) {sessions}") == 0


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "SET ROLE orders_blue",
        "SET ROLE orders",
        "ALTER ROLE postgres NOLOGIN",
        "ALTER ROLE orders_blue SUPERUSER",
    ],
)
def test_the_rotator_may_do_no_more_bad(provisioned: Provisioned, statement: str) -> None:
    if provisioned.server.binaries in older_than(15) and statement.startswith("CREATE TABLE"):
        pytest.skip("before PostgreSQL 15 every role may create in the public schema")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        tell(provisioned.rotator, statement)


def test_the_rotator_enters_no_application_bad(provisioned: Provisioned) -> None:
    there = provisioned.login(APPLICATION.rotator, provisioned.rotator_password)
    assert "permission denied for database" in refusal(there)


def test_the_rotator_manages_only_the_slots_bad(provisioned: Provisioned) -> None:
    if provisioned.server.binaries in older_than(16):
        pytest.skip("before PostgreSQL 16 CREATEROLE covers every role that is no superuser")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(provisioned.rotator, "ALTER ROLE azure_admin NOLOGIN")


def older_than(major: int) -> list[Path]:
    return [i.binaries for i in INSTALLED if i.major < major]
