"""What a vault and a database are asked, and what is said where they do not answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg
import psycopg.conninfo
import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from psycopg import sql

from local.postgres import Postgres
from rotation.secrecy import new_password
from rotctl.adopt import server, vault
from rotctl.exits import ClientError, Exit
from tests.rotctl.adopt.shapes import shape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VAULT = "https://kv.example"
NOW = datetime.now(UTC)


@dataclass
class Client:
    """A client that lists, and has nothing that reads a value."""

    versions: list[Any] | Exception

    def list_properties_of_secret_versions(self, name: str) -> list[Any]:
        assert name == "orders-db"
        if isinstance(self.versions, Exception):
            raise self.versions
        return self.versions


def version(days: int | None, *, enabled: bool = True, age: int = 0) -> Any:
    expires = None if days is None else NOW + timedelta(days=days, hours=12)
    return SimpleNamespace(
        enabled=enabled, expires_on=expires, created_on=NOW - timedelta(days=age)
    )


@pytest.mark.parametrize(
    ("versions", "told"),
    [
        ([version(90), version(5, age=90)], ""),
        ([version(5)], "orders-db expires in 5 days."),
        ([version(None)], "no expiry date"),
        ([version(90, enabled=False)], "Key Vault has no orders-db"),
        (ResourceNotFoundError("no"), "Key Vault has no orders-db"),
    ],
)
def test_the_live_secret_is_told_by_its_versions(versions: Any, told: str) -> None:
    found = vault.listed(Client(versions), VAULT, "orders-db")
    assert told in "".join(vault.told(found, "orders-db"))
    assert bool(told) == bool(vault.told(found, "orders-db"))


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (ClientAuthenticationError("token-of-somebody"), "nobody is signed in", Exit.NOT_ALLOWED),
        (HttpResponseError("value-of-a-secret"), "does not let you", Exit.NOT_ALLOWED),
        (ServiceRequestError("dns"), "does not answer", Exit.UNREACHABLE),
    ],
)
def test_a_vault_that_says_no_is_a_sentence(error: Exception, said: str, code: Exit) -> None:
    with pytest.raises(ClientError, match=said) as raised:
        vault.listed(Client(error), VAULT, "orders-db")
    assert raised.value.exit_code == code
    assert "of-somebody" not in str(raised.value)
    assert "of-a-secret" not in str(raised.value)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("looked-at")) as running:
        with psycopg.connect(running.admin_conninfo, autocommit=True) as admin:
            admin.execute(
                "CREATE ROLE orders_app LOGIN CONNECTION LIMIT 9 VALID UNTIL '2031-01-01'"
            )
            admin.execute("CREATE DATABASE elsewhere OWNER orders_app")
        yield running


@pytest.fixture
def looking(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[server.Looking]:
    """As the owner of the server; the password is in the environment, as psql finds it."""
    given: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(postgres.admin_conninfo)
    monkeypatch.setenv("PGPASSWORD", str(given.pop("password", "")))
    with server.Looking(psycopg.conninfo.make_conninfo(**given)) as session:
        yield session


def test_a_server_says_who_logs_in_and_which_names_are_taken(looking: server.Looking) -> None:
    found = looking.seen(["127.0.0.9"])
    assert "orders_app" in found.roles
    assert found.sessions == ()
    assert found.database == "postgres"


def test_a_role_is_told_with_what_it_has_elsewhere(looking: server.Looking) -> None:
    told = " ".join(looking.told("orders_app"))
    assert "may have 9 connections" in told
    assert "expires" in told


@pytest.fixture
def session(postgres: Postgres) -> Iterator[psycopg.Connection[Any]]:
    """Of the application, from this machine's own address."""
    password = new_password().reveal()
    with psycopg.connect(postgres.admin_conninfo, autocommit=True) as admin:
        verifier = admin.pgconn.encrypt_password(password.encode(), b"orders_app", b"scram-sha-256")
        admin.execute(sql.SQL("ALTER ROLE orders_app PASSWORD {}").format(verifier.decode()))
    with psycopg.connect(postgres.conninfo("orders_app", password)) as session:
        yield session


@pytest.mark.usefixtures("session")
def test_who_logs_in_is_found_by_the_pods_addresses(looking: server.Looking) -> None:
    here = looking.seen(["127.0.0.1", "10.9.9.9"])
    assert "orders_app" in here.sessions
    assert not list(looking.told_of_sessions("orders_app", ["127.0.0.1"]))


@pytest.mark.usefixtures("session")
def test_sessions_of_other_addresses_are_told(looking: server.Looking) -> None:
    """As where a pooler stands in between: nobody guesses then whose they are."""
    assert looking.seen(["10.9.9.9"]).sessions == ()
    (told,) = looking.told_of_sessions("orders_app", ["10.9.9.9"])
    assert "it logs in from 127.0.0.1" in told
    assert "PgBouncer" in told
    assert not list(looking.told_of_sessions("orders_app", []))  # nothing says where the pods are
    (quiet,) = looking.told_of_sessions("nobody", ["10.9.9.9"])
    assert "it has no session now" in quiet


def test_who_may_not_see_sessions_is_told_so(postgres: Postgres) -> None:
    password = new_password().reveal()
    with psycopg.connect(postgres.admin_conninfo, autocommit=True) as admin:
        verifier = admin.pgconn.encrypt_password(password.encode(), b"guest", b"scram-sha-256")
        admin.execute(sql.SQL("CREATE ROLE guest LOGIN PASSWORD {}").format(verifier.decode()))
    given: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(postgres.conninfo("guest", password))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PGPASSWORD", str(given.pop("password")))
        with server.Looking(psycopg.conninfo.make_conninfo(**given)) as looking:
            (told,) = looking.told_of_sessions("orders_app", ["10.9.9.9"])
    assert "pg_read_all_stats" in told


def test_without_a_session_and_a_word_of_it_the_role_is_asked_for() -> None:
    found = shape("a-role-that-nothing-says")
    decided = found.decided(role="")
    assert "--role" in [one.option for one in decided.questions]


def test_the_session_may_only_read(looking: server.Looking) -> None:
    with pytest.raises(ClientError, match="read-only"):
        looking._asked("CREATE TABLE x (id int)")  # noqa: SLF001 - what no verb does


def test_a_role_that_is_not_there_or_may_do_anything_is_refused(looking: server.Looking) -> None:
    with pytest.raises(ClientError, match="the server has no role 'nobody'"):
        looking.told("nobody")
    with pytest.raises(ClientError, match="is a superuser"):
        looking.told(looking._session.info.user)  # noqa: SLF001 - whoever it is here


def test_a_server_that_is_away_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="does not let you in") as raised:
        server.Looking("host=127.0.0.1 port=1 user=x dbname=x").__enter__()
    assert raised.value.exit_code == Exit.UNREACHABLE
