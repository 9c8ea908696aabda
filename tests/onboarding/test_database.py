"""What adopt.sql and parity.sql do to a login that is in use, on each PostgreSQL at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from local.postgres import Postgres
from local.postgres.provision import run_sql
from local.practice.one_slot import OWNED
from rotation.edges.database import parity
from rotation.secrecy import new_password
from tests import versions

if TYPE_CHECKING:
    from collections.abc import Iterator

    Connection = psycopg.Connection[tuple[Any, ...]]

PASSWORD = new_password()
ADOPTED = {"group": "orders", "role": "orders_app"}


@pytest.fixture(params=versions.each())
def server(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Postgres]:
    """A live application with one login, and a group that has the schema only."""
    with Postgres(tmp_path, binaries=request.param.binaries) as server:
        with psycopg.connect(server.admin_conninfo) as admin:
            verifier = admin.pgconn.encrypt_password(
                PASSWORD.reveal().encode(), b"orders_app", b"scram-sha-256"
            )
            create = sql.SQL("CREATE ROLE orders_app LOGIN PASSWORD {}")
            admin.execute(create.format(verifier.decode()))
            admin.execute("GRANT CREATE ON SCHEMA public TO orders_app")
            run_sql(admin, "group", {"database": "postgres", "group": "orders"})
        with application(server) as own:
            own.execute(OWNED.encode())
        yield server


def application(server: Postgres) -> Connection:
    return psycopg.connect(server.conninfo("orders_app", PASSWORD.reveal()))


def differences(server: Postgres, having: str, lacking: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.admin_conninfo) as admin:
        return rows(admin, having, lacking)


def rows(admin: Connection, having: str, lacking: str) -> list[tuple[Any, ...]]:
    return run_sql(admin, "parity", {"having": having, "lacking": lacking}).fetchall()


def adopt(server: Postgres) -> None:
    with psycopg.connect(server.admin_conninfo) as admin:
        run_sql(admin, "adopt", ADOPTED)


def test_objects_go_to_the_group_under_an_open_session(server: Postgres) -> None:
    assert {kind for kind, *_ in differences(server, "orders_app", "orders")} == {"owner"}
    with application(server) as open_session:
        open_session.execute("SELECT 1")
        open_session.commit()
        adopt(server)
        open_session.execute("INSERT INTO orders (customer, item, quantity) VALUES ('a', 'b', 1)")
        open_session.execute("SELECT total() FROM recent")
    assert differences(server, "orders_app", "orders") == []


def test_it_may_be_run_again_for_what_came_later(server: Postgres) -> None:
    adopt(server)
    with application(server) as own:
        own.execute("CREATE TABLE later (id int)")
    (row,) = differences(server, "orders_app", "orders")
    assert row[:3] == ("owner", "table public.later", "OWNER")
    adopt(server)
    assert differences(server, "orders_app", "orders") == []


def test_it_waits_for_nobody_and_then_has_changed_nothing(server: Postgres) -> None:
    with application(server) as busy:
        busy.execute("SELECT FROM orders")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            adopt(server)
        busy.rollback()
    assert differences(server, "orders_app", "orders") != []
    adopt(server)


def test_the_file_for_psql_asks_what_the_app_asks(server: Postgres) -> None:
    with psycopg.connect(server.admin_conninfo) as admin:
        asked = parity.statement(admin.info.server_version).encode()
        values = {"having": "orders_app", "lacking": "orders"}
        found = admin.execute(asked, values).fetchall()
        assert found == rows(admin, "orders_app", "orders") != []


# What an administrator without superuser has been granted, and by whom. There are options from
# PostgreSQL 16 on.
MEMBERSHIPS = [
    ("admin", "", ""),
    ("admin", "GRANT orders_app TO dba", ""),
    ("admin", "GRANT orders_app, orders TO dba WITH ADMIN OPTION", ""),
    ("admin", "GRANT orders_app TO team; GRANT team TO dba", ""),
    ("admin", "GRANT orders_app, orders TO dba", " WITH INHERIT TRUE, SET FALSE"),
    ("dba", "GRANT orders_app, orders TO dba", ""),
    ("dba", "GRANT orders_app TO dba", " WITH INHERIT FALSE, SET FALSE"),
    ("dba", "GRANT orders TO dba", " WITH INHERIT FALSE, SET TRUE"),
]


def test_an_administrator_keeps_the_memberships_that_they_had(server: Postgres) -> None:
    with psycopg.connect(server.admin_conninfo) as admin, as_administrator(server) as dba:
        known = memberships(admin)
        for giver, granted, options in MEMBERSHIPS:
            if options and admin.info.server_version < 160000:
                continue
            by = dba if giver == "dba" else admin
            by.execute((granted + options).encode())
            by.commit()
            before = memberships(admin)
            assert (before != known) == bool(granted)
            run_sql(dba, "adopt", ADOPTED)
            dba.commit()
            assert memberships(admin) == before, (giver, granted, options)
            assert differences(server, "orders_app", "orders") == []
            start_over(admin)


def test_an_administrator_who_gives_up_keeps_them_too(server: Postgres) -> None:
    with psycopg.connect(server.admin_conninfo) as admin, as_administrator(server) as dba:
        dba.execute("GRANT orders_app TO dba")
        dba.commit()
        before = memberships(admin)
        with application(server) as busy:
            busy.execute("SELECT FROM orders")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                run_sql(dba, "adopt", ADOPTED)
            dba.rollback()
            busy.rollback()
        assert memberships(admin) == before


def as_administrator(server: Postgres) -> Connection:
    """A session of an administrator as a managed server has one.

    It is no superuser, and has the right to grant the application's roles, as whoever made them.
    """
    with psycopg.connect(server.admin_conninfo) as admin:
        admin.execute("CREATE ROLE team NOLOGIN; CREATE ROLE dba LOGIN CREATEROLE CREATEDB")
        admin.execute("GRANT CREATE ON SCHEMA public TO orders")
        start_over(admin)
    session = psycopg.connect(server.admin_conninfo)
    session.execute("SET SESSION AUTHORIZATION dba")
    session.commit()
    return session


def start_over(admin: Connection) -> None:
    """Takes everything from the administrator but the right to grant; the login owns all again."""
    admin.execute("REASSIGN OWNED BY orders TO orders_app; REVOKE orders FROM orders_app")
    admin.execute("REVOKE orders_app FROM team; REVOKE team FROM dba")
    for role, grantor in grants(admin):
        admin.execute(sql.SQL("REVOKE {} FROM dba GRANTED BY {} CASCADE").format(role, grantor))
    if admin.info.server_version >= 160000:
        admin.execute("GRANT orders_app, orders TO dba WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
    admin.commit()


def grants(admin: Connection) -> list[tuple[sql.Identifier, sql.Identifier]]:
    """The administrator's roles, each with who gave it: those first that they gave themselves."""
    query = """
        SELECT pg_get_userbyid(roleid), pg_get_userbyid(grantor) FROM pg_auth_members
        WHERE member = 'dba'::regrole ORDER BY grantor <> 'dba'::regrole
    """
    found = admin.execute(query).fetchall()
    return [(sql.Identifier(role), sql.Identifier(grantor)) for role, grantor in found]


def memberships(admin: Connection) -> list[Any]:
    """Everything that is known of the administrator's memberships."""
    query = """
        SELECT to_jsonb(m) FROM pg_auth_members m WHERE member = 'dba'::regrole
        ORDER BY roleid, grantor
    """
    return [row for (row,) in admin.execute(query).fetchall()]
