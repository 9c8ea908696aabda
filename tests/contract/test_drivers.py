"""The values that a rotation writes, given to drivers that applications have: each logs in.

psycopg takes URLs and keywords by libpq's own reading, asyncpg URLs by one of its own, SQLAlchemy
URLs with either behind a `+`. Roles and passwords of people have characters that stand for
something else in a URL; a rotation's passwords have none.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from local.postgres import Postgres
from local.secret_values import rendered
from rotation.edges.database import scram
from rotation.formats import Format, Shape, changed
from rotation.model.targets import ServerTarget
from rotation.secrecy import Secret, new_password

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROLES = ["orders_green", "o@b:/?#[x]%& ü'\"\\"]
ASKED = "SELECT session_user::text, current_setting('application_name')"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("drivers") / "server") as running:
        yield running


@pytest.fixture(params=ROLES, ids=["plain", "hostile"])
def login(request: pytest.FixtureRequest, server: Postgres) -> Iterator[tuple[str, Secret]]:
    """A role that can log in, and its password."""
    password = new_password()
    name, made = sql.Identifier(request.param), sql.Literal(scram.verifier(password, 4096))
    with psycopg.connect(server.admin_conninfo, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, made))
        yield request.param, password
        connection.execute(sql.SQL("DROP ROLE {}").format(name))


def by_psycopg(value: str) -> tuple[str, str]:
    with psycopg.connect(value) as connection:
        found = connection.execute(ASKED).fetchone()
    assert found is not None
    return found[0], found[1]


def by_asyncpg(value: str) -> tuple[str, str]:
    async def asked() -> tuple[str, str]:
        connection = await asyncpg.connect(value)
        try:
            found = await connection.fetchrow(ASKED)
        finally:
            await connection.close()
        return found[0], found[1]

    return asyncio.run(asked())


def by_sqlalchemy(value: str) -> tuple[str, str]:
    engine = create_engine(value)
    with engine.connect() as connection:
        found = connection.execute(text(ASKED)).one()
    engine.dispose()
    return found[0], found[1]


def by_sqlalchemy_async(value: str) -> tuple[str, str]:
    async def asked() -> tuple[str, str]:
        engine = create_async_engine(value)
        async with engine.connect() as connection:
            found = (await connection.execute(text(ASKED))).one()
        await engine.dispose()
        return found[0], found[1]

    return asyncio.run(asked())


# How the live value of each is written; `name` is an option that has to stay.
LIVE: list[tuple[str, Format, Callable[[str], tuple[str, str]], str]] = [
    ("postgresql://", "url", by_psycopg, "application_name=till"),
    ("postgres://", "url", by_psycopg, "application_name=till"),
    ("", "libpq", by_psycopg, " application_name=till"),
    ("postgresql://", "url", by_asyncpg, "application_name=till"),
    ("postgresql+psycopg://", "url", by_sqlalchemy, "application_name=till"),
    ("postgresql+asyncpg://", "url", by_sqlalchemy_async, ""),
]


@pytest.mark.parametrize(
    ("scheme", "form", "driver", "option"),
    LIVE,
    ids=["psycopg-url", "psycopg-postgres", "psycopg-keywords", "asyncpg", "sqlalchemy", "async"],
)
def test_a_driver_logs_in_with_what_a_rotation_wrote(
    server: Postgres,
    login: tuple[str, Secret],
    scheme: str,
    form: Format,
    driver: Callable[[str], tuple[str, str]],
    option: str,
) -> None:
    target = ServerTarget("127.0.0.1", server.port, "postgres", "disable")
    live = rendered(form, "orders_blue", Secret("what people had: @/?#"), target).reveal()
    if form == "url":
        live = live.replace("postgresql://", scheme).replace("?sslmode=disable", f"?{option}")
        live = live.rstrip("?")
    else:
        live += option
    value = changed(Shape(form), Secret(live), login, "live").reveal()
    role, application = driver(value)
    assert role == login[0]
    assert application == ("till" if option else "")
