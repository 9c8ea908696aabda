"""What one role may do and another may not, on each PostgreSQL at hand, and the SQL for it."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
import pytest
import yaml

from local.postgres import Postgres
from rotation.config import Admin, Database, parse
from rotation.edges.database import parity
from rotation.edges.database.server import PostgreSQL
from rotation.model.errors import Denied
from rotation.model.reasons import Code
from rotation.model.world import Difference, Differences
from rotation.secrecy import Secret, new_password
from tests import versions
from tests.memory import MemoryEdges
from tests.memory.database import RoleState
from tests.unit.test_config import VALID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.contracts import database as contract

    Connection = psycopg.Connection[tuple[Any, ...]]

WORLD = """
CREATE ROLE one LOGIN; CREATE ROLE two LOGIN; CREATE ROLE "A group"; CREATE ROLE maker;
CREATE ROLE idle; CREATE ROLE team; GRANT team TO one; GRANT team TO two;
CREATE TABLE t (a int, "B c" int); CREATE VIEW v AS SELECT 1 AS x; CREATE SEQUENCE s;
CREATE SCHEMA "Else where"; CREATE TABLE "Else where".t (a int);
CREATE FUNCTION f(int, text[]) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE ag(int) (sfunc = int4pl, stype = int);
CREATE TYPE ty AS ENUM ('a'); SELECT lo_create(4711);
REVOKE ALL ON FUNCTION f FROM PUBLIC; REVOKE ALL ON PROCEDURE p FROM PUBLIC;
REVOKE ALL ON FUNCTION ag FROM PUBLIC; REVOKE ALL ON TYPE ty FROM PUBLIC;
ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY "for all" ON t USING (true);
CREATE POLICY less ON t AS RESTRICTIVE TO maker USING (true);
CREATE POLICY ours ON t TO team USING (true);
CREATE FOREIGN DATA WRAPPER w; CREATE SERVER fs FOREIGN DATA WRAPPER w;
"""
# Statements about a role {r}, with what the query calls the difference that each makes.
MADE = {
    "GRANT SELECT ON t TO {r}": ("table", "public.t", "SELECT"),
    "GRANT INSERT ON t TO {r} WITH GRANT OPTION": ("table", "public.t", "INSERT WITH GRANT OPTION"),
    "GRANT UPDATE (a) ON t TO {r}": ("column", "public.t.a", "UPDATE"),
    'GRANT SELECT ("B c") ON t TO {r}': ("column", 'public.t."B c"', "SELECT"),
    "GRANT SELECT ON v TO {r}": ("table", "public.v", "SELECT"),
    "GRANT USAGE ON SEQUENCE s TO {r}": ("sequence", "public.s", "USAGE"),
    'GRANT USAGE ON SCHEMA "Else where" TO {r}': ("schema", '"Else where"', "USAGE"),
    'GRANT TRUNCATE ON "Else where".t TO {r}': ("table", '"Else where".t', "TRUNCATE"),
    "GRANT EXECUTE ON FUNCTION f TO {r}": ("routine", "public.f(integer, text[])", "EXECUTE"),
    "GRANT EXECUTE ON PROCEDURE p TO {r}": ("routine", "public.p()", "EXECUTE"),
    "GRANT EXECUTE ON FUNCTION ag TO {r}": ("routine", "public.ag(integer)", "EXECUTE"),
    "GRANT USAGE ON TYPE ty TO {r}": ("type", "public.ty", "USAGE"),
    "GRANT UPDATE ON LARGE OBJECT 4711 TO {r}": ("large object", "4711", "UPDATE"),
    "GRANT CREATE ON DATABASE postgres TO {r}": ("database", "postgres", "CREATE"),
    "GRANT USAGE ON FOREIGN SERVER fs TO {r}": ("foreign server", "fs", "USAGE"),
    "GRANT USAGE ON FOREIGN DATA WRAPPER w TO {r}": ("foreign data wrapper", "w", "USAGE"),
    "GRANT CREATE ON TABLESPACE pg_default TO {r}": ("tablespace", "pg_default", "CREATE"),
    "GRANT SELECT ON pg_authid TO {r}": ("table", "pg_catalog.pg_authid", "SELECT"),
    "GRANT EXECUTE ON FUNCTION pg_ls_dir(text) TO {r}": (
        "routine",
        "pg_catalog.pg_ls_dir(text)",
        "EXECUTE",
    ),
    "GRANT USAGE ON LANGUAGE sql TO {r} WITH GRANT OPTION": (
        "language",
        "sql",
        "USAGE WITH GRANT OPTION",
    ),
    'GRANT "A group" TO {r}': ("membership", '"A group"', "SET, INHERIT"),
    'GRANT "A group" TO {r} WITH ADMIN OPTION': ("membership", '"A group"', "SET, INHERIT, ADMIN"),
    "GRANT pg_monitor TO {r}": ("membership", "pg_monitor", "SET, INHERIT"),
    'ALTER ROLE {r} SET search_path TO "Else where", public': (
        "setting",
        "search_path",
        "search_path",
    ),
    "ALTER ROLE {r} SET search_path TO ''": ("setting", "search_path", "search_path"),
    "ALTER ROLE {r} IN DATABASE postgres SET work_mem TO '5MB'": (
        "setting",
        "work_mem IN DATABASE postgres",
        "work_mem",
    ),
    "ALTER ROLE {r} SET application_name TO 'it''s = 5 %'": (
        "setting",
        "application_name",
        "application_name",
    ),
    "ALTER ROLE {r} SET role TO team": ("setting", "role", "role"),
    "ALTER ROLE {r} CREATEDB": ("attribute", "one", "CREATEDB"),
    "ALTER ROLE {r} BYPASSRLS": ("attribute", "one", "BYPASSRLS"),
    "ALTER POLICY less ON t TO {r}": ("restrictive policy", "public.t", "less"),
    "ALTER POLICY ours ON t TO {r}": ("policy", "public.t", "ours"),
    "ALTER DEFAULT PRIVILEGES FOR ROLE maker IN SCHEMA public GRANT SELECT ON TABLES TO {r}": (
        "default privilege",
        "tables of maker in public",
        "SELECT",
    ),
    "ALTER DEFAULT PRIVILEGES FOR ROLE maker GRANT UPDATE ON TABLES TO {r}": (
        "default privilege",
        "tables of maker",
        "UPDATE",
    ),
    "ALTER DEFAULT PRIVILEGES FOR ROLE {r} IN SCHEMA public GRANT USAGE ON SEQUENCES TO maker": (
        "default privilege",
        "sequences of one in public",
        "USAGE",
    ),
    "ALTER DEFAULT PRIVILEGES FOR ROLE {r} GRANT SELECT ON TABLES TO PUBLIC": (
        "default privilege",
        "tables of one",
        "SELECT",
    ),
    "CREATE TABLE of_{r} (); ALTER TABLE of_{r} OWNER TO {r}": (
        "owner",
        "table public.of_one",
        "OWNER",
    ),
}
# What makes the other role the weaker one.
LESS = {
    "ALTER ROLE {r} CONNECTION LIMIT 5": ("connection limit", "one", "none"),
    "ALTER ROLE {r} NOINHERIT": ("attribute", "one", "INHERIT"),
    "ALTER ROLE {r} VALID UNTIL '2030-01-01'": ("expiry", "one", "never"),
}
SINCE_15 = {
    "GRANT SET ON PARAMETER log_statement TO {r}": ("parameter", "log_statement", "SET"),
    "GRANT ALTER SYSTEM ON PARAMETER work_mem TO {r}": ("parameter", "work_mem", "ALTER SYSTEM"),
}
SINCE_16 = {
    'GRANT "A group" TO {r} WITH INHERIT FALSE': ("membership", '"A group"', "SET"),
    "GRANT idle TO {r} WITH SET FALSE": ("membership", "idle", "INHERIT"),
}
# Their only members, others than the two.
AROUND = ['GRANT SELECT ON t TO "A group"', 'GRANT maker TO "A group"', "GRANT ALL ON s TO PUBLIC"]


@pytest.fixture(params=versions.each(), scope="module")
def admin(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Connection]:
    """A session of a superuser; what it does is rolled back after each test."""
    folder = tmp_path_factory.mktemp("parity")
    with (
        Postgres(folder, binaries=request.param.binaries) as server,
        psycopg.connect(server.admin_conninfo) as connection,
    ):
        connection.execute(WORLD.encode())
        connection.commit()
        yield connection


def differences(admin: Connection, having: str, lacking: str) -> list[Difference]:
    asked = parity.statement(admin.info.server_version).encode()
    rows = admin.execute(asked, {"having": having, "lacking": lacking}).fetchall()
    return [Difference(*row) for row in rows]


def made(admin: Connection) -> dict[str, tuple[str, str, str]]:
    """The statements that this server knows."""
    version = admin.info.server_version
    return {
        **MADE,
        **(SINCE_15 if version >= 150000 else {}),
        **(SINCE_16 if version >= 160000 else {}),
    }


def test_two_roles_alike_have_no_difference(admin: Connection) -> None:
    assert differences(admin, "one", "two") == []


def test_whatever_one_role_has_alone_is_named_and_nothing_else(admin: Connection) -> None:
    for stated, named in made(admin).items():
        admin.execute(stated.format(r="one").encode())
        assert [row[:3] for row in differences(admin, "one", "two")] == [named], stated
        admin.rollback()


def test_whatever_makes_the_other_role_weaker_is_named(admin: Connection) -> None:
    for stated, named in LESS.items():
        admin.execute(stated.format(r="two").encode())
        assert named in [row[:3] for row in differences(admin, "one", "two")], stated
        assert differences(admin, "two", "one") == []
        admin.rollback()


def test_what_it_has_by_a_group_is_no_difference(admin: Connection) -> None:
    for stated in made(admin):
        if stated.startswith("GRANT") and "LARGE OBJECT" not in stated and '"A' not in stated:
            admin.execute(stated.format(r="one").replace(" WITH GRANT OPTION", "").encode())
            admin.execute(stated.format(r="team").encode())
            assert differences(admin, "one", "two") == [], stated
            admin.rollback()


def test_a_setting_that_names_the_other_itself_is_none(admin: Connection) -> None:
    admin.execute("ALTER ROLE one SET role TO team")
    assert differences(admin, "one", "team") == []
    admin.rollback()


# Texts that pass for a list of names. A role may set any of them for itself.
NO_NAMES = ("a;DROP/**/TABLE/**/t;--", '"a;",b;DROP/**/TABLE/**/t;--')


@pytest.mark.parametrize("planted", NO_NAMES)
def test_a_role_plants_no_statement_in_the_sql(admin: Connection, planted: str) -> None:
    """An administrator is told to run it: what the application has set for itself stays a value."""
    try:
        admin.execute("SET SESSION AUTHORIZATION one")
        admin.execute("SELECT set_config('search_path', %s, false)", [planted])
        admin.execute("ALTER ROLE one SET search_path FROM CURRENT")
        admin.execute("RESET SESSION AUTHORIZATION")
        admin.execute("RESET search_path")
        (row,) = differences(admin, "one", "two")
        assert row.level == f"ALTER ROLE two SET search_path TO '{planted}';"
        admin.execute(row.level.encode())
        assert admin.execute("SELECT to_regclass('public.t') IS NOT NULL").fetchone() == (True,)
    finally:
        admin.rollback()


@pytest.mark.parametrize("seed", range(30))
def test_the_sql_levels_them(admin: Connection, seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - replayable on purpose
    stated = [*made(admin), *LESS, *AROUND]
    for _ in range(rng.randint(2, 16)):
        statement = rng.choice(stated).format(r=rng.choice(["one", "two"]))
        try:
            with admin.transaction():
                admin.execute(statement.encode())
        except psycopg.errors.DuplicateTable:
            pass
    try:
        # The way back gives the first what only the second has; some of that it lends to neither.
        for having, lacking in [("one", "two"), ("two", "one")] * 2:
            for row in differences(admin, having, lacking):
                admin.execute(row.level.encode())
        assert differences(admin, "one", "two") == differences(admin, "two", "one") == []
    finally:
        admin.rollback()


class Place(Protocol):
    def database(self) -> contract.DatabaseReader: ...

    def grant(self, role: str) -> Difference:
        """Gives a role something alone, and returns what the other one lacks then."""


ROLES = ("orders_blue", "orders_green")
PASSWORD = new_password()


def lacking(role: str) -> Difference:
    sql = f"GRANT SELECT ON TABLE public.t TO {role};"
    return Difference("table", "public.t", "SELECT", sql)


class Real:
    def __init__(self, server: Postgres) -> None:
        self._server = server
        self.tell("CREATE ROLE orders_blue; CREATE ROLE orders_green; CREATE DATABASE orders")
        self.tell("CREATE TABLE t (); CREATE SCHEMA odd", "orders")

    def tell(self, statements: str, dbname: str = "postgres") -> None:
        info = f"{self._server.admin_conninfo} dbname={dbname}"
        with psycopg.connect(info, autocommit=True) as connection:
            for statement in statements.split(";"):
                connection.execute(statement.encode())

    def database(self) -> PostgreSQL:
        settings = Database(
            host="127.0.0.1",
            port=self._server.port,
            name="orders",
            admin=Admin(role="postgres", secret="from-the-test"),
            sslmode="disable",
        )
        return PostgreSQL(settings, lambda: Secret(self._server.admin_password))

    def activate(self) -> None:
        self.database().activate("orders_blue", PASSWORD)

    def grant(self, role: str) -> Difference:
        self.tell(f"REVOKE ALL ON t FROM orders_blue, orders_green; GRANT SELECT ON t TO {role}",
                  "orders")  # fmt: skip
        (weaker,) = set(ROLES) - {role}
        return lacking(weaker)


class Memory:
    def __init__(self) -> None:
        self._edges = MemoryEdges(parse(yaml.safe_dump(VALID)))

    def database(self) -> contract.DatabaseReader:
        return self._edges.database(self._edges.configuration.credential("orders-db"))

    def activate(self) -> None:
        roles = self._edges.world.database.roles
        roles["orders_blue"] = RoleState(login=True, password=PASSWORD.reveal())
        roles["orders_green"] = RoleState(login=False, password=None)

    def grant(self, role: str) -> Difference:
        (weaker,) = set(ROLES) - {role}
        self._edges.world.database.lacking = {weaker: (lacking(weaker),)}
        return lacking(weaker)


@pytest.fixture(params=[*versions.each(), "memory"], scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Place]:
    if request.param == "memory":
        found: Real | Memory = Memory()
        found.activate()
        yield found
        return
    folder = tmp_path_factory.mktemp("place")
    with Postgres(folder, binaries=request.param.binaries) as server:
        found = Real(server)
        found.activate()
        yield found


def test_the_edge_tells_both_ways(place: Place) -> None:
    difference = place.grant("orders_blue")
    found = place.database().differences("orders_blue", PASSWORD, "orders_green")
    assert found == Differences((difference,), ())
    difference = place.grant("orders_green")
    found = place.database().differences("orders_blue", PASSWORD, "orders_green")
    assert found == Differences((), (difference,))


def test_it_is_asked_as_the_role_itself(place: Place) -> None:
    with pytest.raises(Denied) as refused:
        place.database().differences("orders_blue", new_password(), "orders_green")
    assert refused.value.code == Code.LOGIN_REFUSED


def test_a_role_that_is_not_there_has_no_difference(place: Place) -> None:
    found = place.database().differences("orders_blue", PASSWORD, "nobody")
    assert found == Differences()


def test_nothing_of_the_database_decides_what_is_found(place: Place) -> None:
    """Functions and operators in a schema that the role looks into first."""
    if not isinstance(place, Real):
        pytest.skip("a model has no functions")
    difference = place.grant("orders_blue")
    place.tell(
        "CREATE FUNCTION odd.pg_has_role(oid, oid, text) RETURNS bool LANGUAGE sql"
        " AS 'SELECT true';"
        "CREATE FUNCTION odd.eq(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT false';"
        "CREATE OPERATOR odd.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = odd.eq);"
        "GRANT USAGE ON SCHEMA odd TO orders_blue, orders_green;"
        "ALTER ROLE orders_blue SET search_path = odd, pg_catalog;"
        "ALTER ROLE orders_green SET search_path = odd, pg_catalog",
        "orders",
    )
    found = place.database().differences("orders_blue", PASSWORD, "orders_green")
    assert found == Differences((difference,), ())


def test_a_catalogue_that_is_closed_is_told_apart(place: Place) -> None:
    if not isinstance(place, Real):
        pytest.skip("a model has no catalogue")
    place.tell("REVOKE SELECT ON pg_catalog.pg_default_acl FROM PUBLIC", "orders")
    with pytest.raises(Denied) as refused:
        place.database().differences("orders_blue", PASSWORD, "orders_green")
    assert refused.value.code == Code.DATABASE_RIGHT
