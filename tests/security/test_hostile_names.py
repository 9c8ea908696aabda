"""Names of roles and databases with quotes, newlines' neighbours, SQL and path tricks in them.

The roles are really there, in a real PostgreSQL, and are rotated like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock
from urllib.parse import unquote, urlsplit

import psycopg
import pytest
import yaml
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local.postgres.server import Postgres
from local.secret_values import rendered
from rotation import config
from rotation.config import Admin, Cluster, Database
from rotation.edges.cluster.client import Api
from rotation.edges.cluster.services import Services
from rotation.edges.database.server import PostgreSQL
from rotation.formats import Shape, changed, read
from rotation.model.errors import ConfigurationError, Denied, Invalid
from rotation.model.targets import ServerTarget, ServiceTarget
from rotation.model.world import Answer
from rotation.secrecy import Secret, new_password
from rotation.steps.proving import run_tests
from tests.memory import MemoryEdges
from tests.memory.edges import MemoryTraffic
from tests.unit import people

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLES = [
    'quote"quote',
    "quote'quote",
    "x'; DROP ROLE bystander; --",
    'x"; DROP ROLE bystander; --',
    'x" SUPERUSER; --',
    "back\\slash",
    "E'\\x41'",
    "per%cent %s %(name)s",
    "brace {} {0} {role}",
    ":colon :'quoted' $1 $$",
    "../../x?y#z@host:1/",
    "ünïcödé 名前 🐘",
    "UPPER lower",
    " leading and trailing ",
    "password=x host=elsewhere",
    "n" * 63,
]
# Of which a server is asked each time: those that differ in what they would break.
ASKED = {'x" SUPERUSER; --', "per%cent %s %(name)s", "ünïcödé 名前 🐘", "password=x host=elsewhere"}
DATABASE = 'it\'s "a" name %s =x'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("hostile") / "server") as running:
        with psycopg.connect(running.admin_conninfo, autocommit=True) as connection:
            connection.execute("CREATE ROLE bystander NOLOGIN")
            statement = sql.SQL("CREATE DATABASE {}")
            connection.execute(statement.format(sql.Identifier(DATABASE)))
        yield running


@pytest.fixture(
    params=[pytest.param(name, marks=() if name in ASKED else pytest.mark.long) for name in ROLES]
)
def role(request: pytest.FixtureRequest, server: Postgres) -> str:
    name: str = request.param
    with psycopg.connect(server.admin_conninfo, autocommit=True) as connection:
        statement = sql.SQL("CREATE ROLE {} NOLOGIN")
        connection.execute(statement.format(sql.Identifier(name)))
    return name


def settings(server: Postgres) -> Database:
    admin = Admin(role="postgres", secret="from-the-test")
    return Database(
        host="127.0.0.1", port=server.port, name=DATABASE, admin=admin, sslmode="disable"
    )


@pytest.mark.guarantee(1)
def test_a_hostile_role_is_rotated_and_nothing_else_is_touched(server: Postgres, role: str) -> None:
    database = PostgreSQL(settings(server), lambda: Secret(server.admin_password))
    password = new_password()
    before = others(server, role)
    database.activate(role, password)
    database.login(role, password)
    assert database.roles([role])[role].login
    with session(server, role, password) as connection:
        assert [found.role for found in database.sessions([role])] == [role]
        assert database.terminate(role) == 1
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    database.deactivate(role)
    with pytest.raises(Denied):
        database.login(role, password)
    assert others(server, role) == before
    assert password.reveal() not in server.log.read_text(encoding="utf-8")


def session(server: Postgres, role: str, password: Secret) -> psycopg.Connection[Any]:
    conninfo = make_conninfo(
        server.admin_conninfo, user=role, password=password.reveal(), dbname=DATABASE
    )
    return psycopg.connect(conninfo, autocommit=True)


def others(server: Postgres, role: str) -> list[Any]:
    query = "SELECT rolname, rolsuper, rolcanlogin FROM pg_roles WHERE rolname <> %s ORDER BY 1"
    with psycopg.connect(server.admin_conninfo) as connection:
        return connection.execute(query, [role]).fetchall()


@pytest.mark.parametrize("name", ROLES)
def test_a_url_with_a_hostile_role_and_database_is_read_as_it_was_meant(name: str) -> None:
    server = ServerTarget("db", 5432, DATABASE, "verify-full")
    password = new_password()
    first = rendered("url", "orders", new_password(), server)
    value = changed(Shape("url"), first, (name, password), "x/1")
    parts = urlsplit(value.reveal())
    assert (parts.scheme, parts.hostname, parts.port) == ("postgresql", "db", 5432)
    assert unquote(parts.username or "") == name
    assert unquote(parts.path.removeprefix("/")) == DATABASE
    assert parts.query == "sslmode=verify-full"
    assert read(Shape("url"), value, "x/1").password.reveal() == password.reveal()


class TestPaths:
    """A test's path with the role in it goes to the API server with a token of the cluster."""

    @pytest.mark.guarantee(8)
    @pytest.mark.parametrize("name", ROLES)
    def test_a_role_stays_one_segment_of_a_path(self, name: str) -> None:
        asked = asked_for(name, "/of/{role}/is")
        assert len(asked) == 1
        assert asked[0].split("/")[:2] == ["", "of"]
        assert unquote(asked[0].removeprefix("/of/").removesuffix("/is")) == name
        assert asked[0].count("/") == 3
        assert not {"?", "#"} & set(asked[0])

    @pytest.mark.guarantee(8)
    @pytest.mark.parametrize(
        "path", ["/../secrets", "/a/..", "/./a", "/%2e%2e/secrets", "/a/%2E%2e/b", "/.%2e/", "/.."]
    )
    def test_dots_never_lead_out_of_the_proxy(self, path: str) -> None:
        api = Api("c", Cluster(server="https://127.0.0.1:1"), lambda: Secret("t"))
        with pytest.raises(Invalid, match="dots would lead out"):
            Services(api).ask(ServiceTarget("orders", "api", "slot", "http"), path, 1)


def asked_for(role: str, path: str) -> list[str]:
    """The paths that a workload is asked for by one test, whose credential has this role."""
    document = people.configuration().model_dump(by_alias=True)
    found = document["credentials"]["orders-db"]
    found["slots"]["blue"]["role"] = role
    found["workloads"][0]["tests"] = [{"path": path, "json": {"role": "{role}"}, "repeat": 1}]
    edges = MemoryEdges(config.Configuration.model_validate(document))
    credential = edges.configuration.credential("orders-db")
    asked: list[str] = []

    def ask(_: object, target: ServiceTarget, path: str, *how: object) -> Answer:
        asked.append(path)
        return Answer(200, b"{}")

    with mock.patch.object(MemoryTraffic, "ask", ask):
        run_tests(edges, credential, credential.workloads[0], "blue", "service")
    return asked


BAD = [
    "a/b",
    "..",
    "a b",
    "a\nb",
    "a\x00b",
    "A",
    "a'b",
    'a"b',
    "a;b",
    "a?b",
    "%2e",
    "ä",
    "a" * 64,
    "",
]
PLACES = [
    *(("workloads", 0, key) for key in ("name", "namespace", "service", "preview")),
    ("workloads", 0, "deployments", "blue"),
]


@pytest.mark.guarantee(8)
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_kubernetes_names_that_are_none_are_refused_with_their_place(
    place: tuple[Any, ...], bad: str
) -> None:
    """A workload is called by its number where its name is what is wrong."""
    first = people.configuration().credential("orders-db").workloads[0].name
    called = first if place[-1] != "name" else place[1]
    path = ".".join(str(called if part == place[1] else part) for part in place)
    assert any(path in problem for problem in refused(place, bad))


@pytest.mark.parametrize(
    "bad", ["a/b", "..", "a b", "a\nb", "a?b", "a#b", "ä", "a_b", "a" * 128, ""]
)
def test_secret_names_that_are_none_are_refused(bad: str) -> None:
    assert any(
        "slots.blue.secret" in problem for problem in refused(("slots", "blue", "secret"), bad)
    )


@pytest.mark.parametrize("bad", ["", "a\nb", "a\x00b", "n" * 64, "ü" * 32, "a\u202eb"])
def test_role_names_that_postgresql_has_not_are_refused(bad: str) -> None:
    assert any("slots.blue.role" in problem for problem in refused(("slots", "blue", "role"), bad))


def refused(place: tuple[Any, ...], value: str) -> list[str]:
    """The problems of people.py's configuration with one value replaced."""
    document = people.configuration().model_dump(by_alias=True, mode="json", exclude_unset=True)
    node = document["credentials"]["orders-db"]
    for part in place[:-1]:
        node = node[part]
    node[place[-1]] = value
    with pytest.raises(ConfigurationError) as caught:
        config.parse(yaml.safe_dump(document))
    return caught.value.problems
