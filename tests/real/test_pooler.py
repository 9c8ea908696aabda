"""The rotator and PgBouncer: what it refuses, and both ways of docs/pooler.md, run as they stand.

A server of Debian's with TLS stands behind, as the guide has it.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from local.postgres import Application, installations, provision
from local.process import ROOT
from rotation.config import Admin, Database, parse
from rotation.edges.database.server import PostgreSQL
from rotation.model.activities import Reference
from rotation.model.errors import Denied, EdgeError, Invalid, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import SecretTarget
from rotation.model.world import Query
from rotation.secrecy import Secret, new_password
from rotation.steps.login import activate, stage, verify
from rotation.steps.running import Step
from tests.memory import MemoryEdges
from tests.real.pooler import FOUND, PgBouncer
from tests.real.servers import Managed, managed
from tests.unit.test_config import CREDENTIAL, changed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

TLS = [found for found in installations() if found.tls]
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not FOUND, reason="no PgBouncer here: apt install pgbouncer"),
    pytest.mark.skipif(not TLS, reason="no PostgreSQL of Debian's here: apt install postgresql"),
]

APPLICATION = Application(slots={"blue": "orders_app", "green": "orders_green"})
BLUE, GREEN = "orders_app", "orders_green"
GUIDE = (ROOT / "docs" / "pooler.md").read_text(encoding="utf-8")


def told(name: str) -> str:
    """A file that the guide shows."""
    _, _, rest = GUIDE.partition(f"\n`{name}`:\n\n```")
    return rest.partition("\n")[2].partition("```")[0]


def section(name: str) -> dict[str, str]:
    """Settings of the guide's pgbouncer.ini."""
    _, _, rest = told("pgbouncer.ini").partition(f"[{name}]\n")
    lines = rest.partition("\n[")[0].strip().splitlines()
    return dict(line.split(" = ", 1) for line in lines)


@dataclass(frozen=True)
class World:
    """The application of the guide, and the rotator's way to it."""

    managed: Managed
    password: Secret

    def edge(self, **changes: Any) -> PostgreSQL:
        return PostgreSQL(self.settings(**changes), lambda: self.password)

    def settings(self, **changes: Any) -> Database:
        values: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.managed.server.port,
            "name": "orders",
            "admin": Admin(role="rotator", secret="from-the-test"),
            **self.managed.verified,
        }
        return Database(**{**values, **changes})

    def through(self, pooler: PgBouncer) -> PostgreSQL:
        """As if the pooler were the server. It speaks no TLS here."""
        return self.edge(port=pooler.port, sslmode="disable", sslrootcert=None)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    password = new_password()
    with managed(TLS[0], tmp_path_factory.mktemp("pooled")) as server:
        provision(server.owner, APPLICATION, password=new_password(), rotator_password=password)
        with psycopg.connect(server.owner, dbname="orders") as connection:
            connection.execute("CREATE ROLE pooler LOGIN PASSWORD 'of the pooler'")
        psql(server, command("pooler.sql"))
        yield World(server, password)


def psql(server: Managed, arguments: list[str]) -> None:
    """Runs a command of the guide's as the superuser, in the application's database."""
    given = conninfo_to_dict(server.owner)
    variables = {f"PG{key.upper()}": str(value) for key, value in given.items()}
    subprocess.run(  # noqa: S603 - of the installation that the tests run on
        [TLS[0].binaries / "psql", *arguments],
        cwd=ROOT,
        env={**variables, "PGDATABASE": "orders", "PATH": os.defpath},
        check=True,
        capture_output=True,
    )


def command(what: str) -> list[str]:
    """The arguments of the one `psql` of the guide's that has this in it."""
    (found,) = (line for line in GUIDE.splitlines() if line.startswith("psql") and what in line)
    return shlex.split(found)[1:]


def pgbouncer(
    world: World, folder: Path, users: Mapping[str, str], *, asks: bool, **more: str
) -> PgBouncer:
    """The guide's, with this machine's addresses and paths in it."""
    server = f"host=127.0.0.1 port={world.managed.server.port}"
    databases = f"postgres = {server} dbname=postgres"
    for name, where in section("databases").items():
        databases += f"\n{name} = {re.sub('host=[^ ]+ port=[0-9]+', server, where)}"
    settings = section("pgbouncer")
    for own in ("listen_addr", "listen_port", "auth_file"):
        del settings[own]
    settings["server_tls_ca_file"] = str(world.managed.authority)
    if not asks:
        del settings["auth_user"], settings["auth_query"]
    return PgBouncer(folder / "pgbouncer", databases, {**settings, **more}, users)


@contextmanager
def asking(world: World, folder: Path, **more: str) -> Iterator[PgBouncer]:
    with pgbouncer(world, folder, {"pooler": "of the pooler"}, asks=True, **more) as pooler:
        yield pooler


VERBS: dict[str, Callable[[PostgreSQL], object]] = {
    "roles": lambda edge: edge.roles([BLUE]),
    "sessions": lambda edge: edge.sessions([BLUE]),
    "activate": lambda edge: edge.activate(GREEN, new_password()),
    "deactivate": lambda edge: edge.deactivate(GREEN),
    "terminate": lambda edge: edge.terminate(GREEN),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("ignored", ["", "extra_float_digits, options"])
def test_the_rotator_does_not_work_through_a_pooler(
    world: World, tmp_path: Path, verb: str, ignored: str
) -> None:
    """It refuses our options, or is told to ignore them: we notice either."""
    users = {"rotator": world.password.reveal()}
    more = {"ignore_startup_parameters": ignored} if ignored else {}
    with (
        pgbouncer(world, tmp_path, users, asks=False, **more) as pooler,
        pytest.raises(EdgeError, match="pooler") as caught,
    ):
        VERBS[verb](world.through(pooler))
    assert caught.value.code is Code.DATABASE_POOLER
    assert not caught.value.transient
    assert not world.edge().roles([GREEN])[GREEN].login


def refused(edge: PostgreSQL, role: str, password: Secret) -> EdgeError:
    with pytest.raises(Denied) as caught:
        edge.login(role, password)
    assert caught.value.code is Code.LOGIN_REFUSED
    return caught.value


def test_what_a_pooler_refuses_is_no_server_that_is_down(world: World, tmp_path: Path) -> None:
    password = new_password()
    world.edge().activate(GREEN, password)
    with asking(world, tmp_path) as pooler:
        refused(world.through(pooler), GREEN, new_password())
        refused(world.through(pooler), "rotator", world.password)
        elsewhere = world.edge(port=pooler.port, sslmode="disable", sslrootcert=None, name="x")
        refused(elsewhere, GREEN, password)
    world.edge().deactivate(GREEN)


def test_a_pooler_that_asks_knows_each_new_password(world: World, tmp_path: Path) -> None:
    former, new = new_password(), new_password()
    with asking(world, tmp_path) as pooler:
        through = world.through(pooler)
        for password in (former, new):
            world.edge().activate(GREEN, password)
            through.login(GREEN, password)
        refused(through, GREEN, former)
        world.edge().deactivate(GREEN)
        refused(through, GREEN, new)


def test_a_pooler_may_ask_for_the_applications_logins_alone(world: World) -> None:
    asked = "SELECT name FROM pooler.verifier(%s)"
    theirs = world.managed.conninfo("pooler", "of the pooler", "orders")
    world.edge().activate(GREEN, new_password())
    with psycopg.connect(theirs) as connection:
        found = {
            role: connection.execute(asked, [role]).fetchall()
            for role in (GREEN, "rotator", "pooler", "postgres", "nobody")
        }
    world.edge().deactivate(GREEN)
    assert found.pop(GREEN) == [(GREEN,)]
    assert {name for rows in found.values() for (name,) in rows} == set()


def test_without_a_superuser_there_is_nothing_to_ask(world: World) -> None:
    """Why the guide has a list as well."""
    with (
        psycopg.connect(world.managed.admin) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="pg_authid"),
    ):
        connection.execute("SELECT rolpassword FROM pg_authid")


def test_a_pooler_with_a_list_knows_what_the_script_wrote(world: World, tmp_path: Path) -> None:
    mounts = {slot: tmp_path / slot / "mounted" for slot in ("blue", "green")}
    for mount in mounts.values():
        mount.parent.mkdir()
    former, new = Secret('with " and \\ in it'), new_password()
    mounts["blue"].write_text("unused")
    mounts["green"].write_text(former.reveal())
    pid = tmp_path / "pgbouncer" / "pgbouncer.pid"
    with pgbouncer(world, tmp_path, {}, asks=False, pidfile=str(pid)) as pooler:
        paths = {
            **{f"/mnt/secrets/{slot}": mount for slot, mount in mounts.items()},
            "/etc/pgbouncer": pooler.folder,
            "/var/run/pgbouncer/pgbouncer.pid": pid,
        }
        script = told("userlist.sh")
        for path, here in paths.items():
            script = script.replace(path, str(here))

        def run() -> None:
            with pooler.reloaded():
                subprocess.run(["sh"], input=script, text=True, check=True)  # noqa: S607

        through = world.through(pooler)
        world.edge().activate(GREEN, former)
        run()
        through.login(GREEN, former)
        world.edge().activate(GREEN, new)
        refused(through, GREEN, new)  # until the list has it
        mounts["green"].write_text(new.reveal())
        run()
        through.login(GREEN, new)
        refused(through, GREEN, former)
    world.edge().deactivate(GREEN)


# -- the steps, where applications connect through a real pooler


class Mixed(MemoryEdges):
    """Everything in memory but the server and the pooler in front of it, which are real."""

    def __init__(self, world: World, pooler: PgBouncer) -> None:
        at = {"host": "127.0.0.1", "port": pooler.port, "sslmode": "disable"}
        super().__init__(parse(yaml.safe_dump(changed((f"{CREDENTIAL}.database.endpoint", at)))))
        front = world.settings(endpoint=at).front
        assert front is not None
        self._server, self._front = world.edge(), PostgreSQL(front, lambda: world.password)

    def database(self, credential: object) -> Any:
        del credential
        return self._server

    def endpoint(self, credential: object) -> Any:
        del credential
        return self._front

    def step(self, **more: Any) -> Step:
        reference = Reference(rotation="r-1", credential="orders-db", slot="green", **more)
        return Step(self, reference)

    def staged(self) -> str:
        """A new version, whose password the role has."""
        version = stage(self.step()).version
        activate(self.step(version=version))
        return version

    def password(self, version: str) -> str:
        vault = self.vault(self.configuration.credential("orders-db").vault)
        return vault.value(SecretTarget("orders-db-green", version)).reveal()


def test_verify_passes_at_once_where_the_pooler_asks(world: World, tmp_path: Path) -> None:
    with asking(world, tmp_path) as pooler:
        edges = Mixed(world, pooler)
        for _ in range(2):
            verify(edges.step(version=edges.staged()))
    world.edge().deactivate(GREEN)


def test_verify_waits_until_the_list_has_the_new_password(world: World, tmp_path: Path) -> None:
    with pgbouncer(world, tmp_path, {GREEN: "the former one"}, asks=False) as pooler:
        edges = Mixed(world, pooler)
        version = edges.staged()
        with pytest.raises(Unavailable, match="the endpoint") as caught:
            verify(edges.step(version=version))
        assert caught.value.code is Code.ENDPOINT_BEHIND
        pooler.write_users({GREEN: edges.password(version)})
        pooler.reload()
        verify(edges.step(version=version))
    world.edge().deactivate(GREEN)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_tests_query_leaves_nothing_on_a_connection_that_the_pooler_keeps(
    world: World, tmp_path: Path, mode: str
) -> None:
    """Neither its transaction nor its limit, and no prepared statement; also where it failed."""
    password = new_password()
    world.edge().activate(GREEN, password)
    kept = {"pool_mode": mode, "default_pool_size": "1", "server_reset_query": ""}
    with asking(world, tmp_path, **kept) as pooler:
        edge = world.through(pooler)
        found = edge.query(GREEN, password, Query("select session_user", 9, f'"{GREEN}"'))
        assert found == "as expected"
        with pytest.raises(Invalid, match="SQLSTATE 22012") as caught:
            edge.query(GREEN, password, Query("select 1/0", 9))
        assert caught.value.code is Code.TEST_QUERY
        own = "select count(*) from pg_prepared_statements"
        assert edge.query(GREEN, password, Query(own, 9, "0")) == "as expected"
        with psycopg.connect(
            host="127.0.0.1",
            port=pooler.port,
            dbname="orders",
            user=GREEN,
            password=password.reveal(),
            sslmode="disable",
        ) as connection:
            shown = connection.execute(
                "SELECT current_setting('statement_timeout'),"
                " current_setting('transaction_read_only')"
            )
            assert shown.fetchall() == [("0", "off")]
    world.edge().deactivate(GREEN)


def test_a_query_through_a_pooler_that_does_not_know_the_role_is_refused(
    world: World, tmp_path: Path
) -> None:
    password = new_password()
    world.edge().activate(GREEN, password)
    with pgbouncer(world, tmp_path, {GREEN: "the former one"}, asks=False) as pooler:
        with pytest.raises(Denied) as caught:
            world.through(pooler).query(GREEN, password, Query("select 1", 9))
        assert caught.value.code is Code.LOGIN_REFUSED
    world.edge().deactivate(GREEN)
