"""infra/database/rotator.sql gives the login that rotates what it needs: no less, and no more."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from local import proof, world
from local.postgres import Application, Installation, Postgres, installations, provision
from local.postgres.installations import default_binaries
from local.process import ROOT
from local.stack import Options, Stack
from rotation.config import Admin, Database
from rotation.contracts.database import Database as Edge
from rotation.edges.database.server import PostgreSQL
from rotation.model.errors import Denied
from rotation.model.world import Differences, Query
from rotation.secrecy import Secret, new_password
from tests import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

INSTALLED = installations()
SQL = ROOT / "infra" / "database"
APPLICATION = Application()
BOTH = {"orders_blue", "orders_green"}
SESSION = "orders-api/blue"

# One entry for each right in the SQL files: what takes it away, and what a rotation misses then.
RIGHTS = {
    "CREATEROLE": ("ALTER ROLE rotator NOCREATEROLE", "activate"),
    "pg_signal_backend": ("REVOKE pg_signal_backend FROM rotator", "terminate"),
    "pg_read_all_stats": ("REVOKE pg_read_all_stats FROM rotator", "sessions"),
    "role": ("REVOKE orders_green FROM rotator", "activate"),
}


def version(installation: Installation) -> str:
    return f"{installation.major}{'-tls' if installation.tls else ''}"


def rights(name: str) -> set[str]:
    """The rights in one of the SQL files, as they are written there."""
    text = re.sub(r"--.*", "", (SQL / f"{name}.sql").read_text(encoding="utf-8"))
    found = set(re.findall(r'ALTER ROLE :"rotator" (\w+)', text))
    for granted in re.findall(r'GRANT (.+?) TO :"rotator"', text):
        found |= {part.strip(' :"') for part in granted.split(",")}
    return found


def test_every_right_is_looked_at_below() -> None:
    assert rights("rotator") | rights("rotator-slot") == set(RIGHTS)


@dataclass(frozen=True)
class Provisioned:
    server: Postgres
    major: int
    password: Secret
    rotator: Secret

    def tell(self, statement: str) -> None:
        with psycopg.connect(self.server.admin_conninfo, autocommit=True) as connection:
            connection.execute(statement.encode())

    @property
    def edge(self) -> PostgreSQL:
        settings = Database(
            host="127.0.0.1",
            port=self.server.port,
            name=APPLICATION.database,
            admin=Admin(role="rotator", secret="from-the-test"),
            sslmode="disable",
        )
        return PostgreSQL(settings, lambda: self.rotator)


@pytest.fixture(params=versions.each())
def provisioned(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Provisioned]:
    with Postgres(tmp_path / "postgres", binaries=request.param.binaries) as server:
        found = Provisioned(server, request.param.major, new_password(), new_password())
        provision(
            server.admin_conninfo,
            APPLICATION,
            password=found.password,
            rotator_password=found.rotator,
        )
        yield found


def calls(edge: PostgreSQL, password: Secret) -> dict[str, Callable[[], bool]]:
    """One for each verb of the edge, in a rotation's order; each tells whether it did its work."""

    def did(verb: Callable[..., None], *arguments: Any) -> Callable[[], bool]:
        def call() -> bool:
            verb(*arguments)
            return True

        return call

    return {
        "roles": lambda: set(edge.roles(["orders_blue", "orders_green"])) == BOTH,
        "standing": lambda: set(edge.standing(["orders_blue", "orders_green"]).roles) == BOTH,
        "activate": did(edge.activate, "orders_green", password),
        "login": did(edge.login, "orders_green", password),
        "differences": lambda: edge.differences("orders_green", password, "orders_blue") == ALIKE,
        "query": lambda: edge.query("orders_green", password, WHO) == "as expected",
        "sessions": lambda: seen(edge) == [(SESSION, "127.0.0.1")],
        "deactivate": did(edge.deactivate, "orders_blue"),
        "terminate": lambda: edge.terminate("orders_blue") == 1,
    }


ALIKE = Differences()
WHO = Query("SELECT session_user::text", timeout=10, expected='"orders_green"')


def seen(edge: PostgreSQL) -> list[tuple[str, str]]:
    return [(session.application, session.client) for session in edge.sessions(["orders_blue"])]


def test_every_verb_of_the_edge_is_looked_at_below() -> None:
    verbs = {
        name for name in dir(Edge) if not name.startswith("_") and callable(getattr(Edge, name))
    }
    edge = PostgreSQL(Database(host="h", name="n", admin=Admin(role="r")), new_password)
    assert set(calls(edge, new_password())) == verbs


def rotate(world: Provisioned) -> str | None:
    """Everything that a rotation from blue to green asks of the database, under a session of blue.

    Returns the verb that did not do its work, or None.
    """
    password = new_password()
    blue = world.server.conninfo("orders_blue", world.password.reveal(), APPLICATION.database)
    with psycopg.connect(blue, application_name=SESSION):
        for verb, call in calls(world.edge, password).items():
            try:
                done = call()
            except Denied:
                done = False
            if not done:
                return verb
    return None


def test_the_rights_are_enough(provisioned: Provisioned) -> None:
    assert rotate(provisioned) is None


@pytest.mark.parametrize(
    "right",
    [pytest.param(one, marks=[] if one == "CREATEROLE" else pytest.mark.long) for one in RIGHTS],
)
def test_without_any_of_them_something_is_missing(provisioned: Provisioned, right: str) -> None:
    statement, missing = RIGHTS[right]
    if right == "role" and provisioned.major < 16:
        pytest.skip("before PostgreSQL 16, CREATEROLE covers every role that is no superuser")
    provisioned.tell(statement)
    assert rotate(provisioned) == missing


@contextmanager
def as_rotator(
    provisioned: Provisioned, database: str
) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    conninfo = provisioned.server.conninfo("rotator", provisioned.rotator.reveal(), database)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        yield connection


def test_they_open_no_application_and_no_other_role(provisioned: Provisioned) -> None:
    provisioned.tell("REVOKE CONNECT ON DATABASE orders FROM PUBLIC")
    with (
        pytest.raises(psycopg.OperationalError, match="permission denied for database"),
        as_rotator(provisioned, APPLICATION.database),
    ):
        pass
    with as_rotator(provisioned, "postgres") as connection:
        for statement in ("SET ROLE orders_blue", "SET ROLE orders"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_what_they_amount_to_is_what_the_threat_model_says(provisioned: Provisioned) -> None:
    """By one GRANT to itself: the slots' roles, and before PostgreSQL 16 any other one too."""
    with as_rotator(provisioned, "postgres") as connection:
        connection.execute(b"GRANT orders_blue TO rotator")
        connection.execute(b"SET ROLE orders_blue")
        connection.execute(b"RESET ROLE")
        if provisioned.major < 16:
            connection.execute(b"GRANT orders TO rotator")
            connection.execute(b"SET ROLE orders")
        else:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(b"GRANT orders TO rotator")


def test_a_slots_role_opens_no_other_and_reads_no_verifier(provisioned: Provisioned) -> None:
    """What a workload that was taken over can do with its login: to itself alone."""
    conninfo = provisioned.server.conninfo(
        "orders_blue", provisioned.password.reveal(), APPLICATION.database
    )
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in (
            "ALTER ROLE orders_green LOGIN",
            "ALTER ROLE orders_green PASSWORD NULL",
            "ALTER ROLE rotator PASSWORD NULL",
            "SET ROLE orders_green",
            "SET ROLE rotator",
            "SELECT rolpassword FROM pg_authid",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


@pytest.mark.long
@pytest.mark.parametrize(
    "installation", [i for i in INSTALLED if i.binaries != default_binaries()], ids=version
)
def test_a_whole_rotation_as_that_login(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the versions that the stack does not run by default; tests/e2e rotates on that one."""
    monkeypatch.setenv("LOCAL_POSTGRES_BIN", str(installation.binaries))
    with Stack(tmp_path / "stack", Options(replicas=1, watch_seconds=2)) as stack:
        with psycopg.connect(stack.owner.dsn()) as connection:
            assert connection.info.server_version // 10000 == installation.major
        started = stack.client.api(
            "POST", "/rotations", {"credential": world.CREDENTIAL, "by": world.OPERATOR}
        )
        rotation = started.json["rotation"]
        stack.client.follow(rotation, lambda r: r["outcome"] or (r["approval"] or {}).get("event"))
        seen = proof.Passwords.read(stack)
        stack.client.decide(rotation, "approve")
        record = stack.client.follow(rotation, lambda r: r["outcome"])
        assert record["outcome"] == "completed"
        failed = [c.what for c in proof.check(stack, record, "green", [seen]) if not c.holds]
        assert not failed
