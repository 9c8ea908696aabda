"""The values that a rotation writes, given to drivers of other languages: each logs in.

The server is Debian's with TLS, and refuses connections without it; each client verifies who it
is, by the root certificate that the value names. So do Python's drivers here, which
tests/contract/test_drivers.py has on a server without TLS.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local.postgres import installations
from rotation.formats import KEYS, Format, Key, Shape, changed, read
from rotation.secrecy import Secret
from tests.contract.test_drivers import by_asyncpg, by_psycopg, by_sqlalchemy, by_sqlalchemy_async
from tests.real import clients
from tests.real.servers import Managed, managed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TLS = [found for found in installations() if found.tls]
pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not TLS, reason="no PostgreSQL of Debian's here: apt install postgresql"),
]

HOSTILE = "p@:/?#[]%&=+ ;'\"\\ü$"
LOGINS = [("orders_green", "plainPassword0123456789"), ("o@b:/?#[x]%&+ ü'\"\\", HOSTILE)]
FORMER = ("orders_blue", "what people had: @/?#+")
DATABASE = "orders ü 2"
APPLICATION = "till 1/2 + 50% & =x"
SCHEMA = "tenant"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    with managed(TLS[0], tmp_path_factory.mktemp("drivers")) as found:
        with psycopg.connect(found.owner, autocommit=True) as owner:
            owner.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
            for role, password in LOGINS:
                create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
                owner.execute(create.format(sql.Identifier(role), password))
        yield found


@dataclass(frozen=True)
class Case:
    """A live value of a form, and what a credential says of it.

    `live` gets what the value names of the server: `port` and `ca`, the path of its authority.
    """

    name: str
    format: Format
    live: Callable[[int, str], str]
    keys: Mapping[Key, str] | None = None
    parameters: tuple[str, ...] = ("sslrootcert", "application_name")
    application: bool = True
    search_path: bool = True

    def shape(self, ca: str) -> Shape:
        values = {
            "sslrootcert": ca,
            "application_name": APPLICATION,
            "ApplicationName": APPLICATION,
        }
        return Shape(
            self.format,
            {**KEYS, **(self.keys or {})},
            {name: values[name] for name in self.parameters},
        )


def url(scheme: str, query: str) -> Callable[[int, str], str]:
    def live(port: int, ca: str) -> str:
        del ca
        role, password, database = (quote(text, safe="") for text in (*FORMER, DATABASE))
        return f"{scheme}://{role}:{password}@127.0.0.1:{port}/{database}?{query}"

    return live


def jdbc(query: str) -> Callable[[int, str], str]:
    def live(port: int, ca: str) -> str:
        del ca
        role, password, database = (quote(text, safe="") for text in (*FORMER, DATABASE))
        login = f"user={role}&password={password}"
        return f"jdbc:postgresql://127.0.0.1:{port}/{database}?{login}&{query}"

    return live


def keywords(port: int, ca: str) -> str:
    del ca
    return make_conninfo(
        host="127.0.0.1",
        port=port,
        user=FORMER[0],
        password=FORMER[1],
        dbname=DATABASE,
        sslmode="verify-full",
        options=f"-c search_path={SCHEMA}",
    )


def parts(port: int, ca: str) -> str:
    """What pgx's and many other applications read the parts of."""
    del ca
    login = {"username": FORMER[0], "password": FORMER[1], "host": "127.0.0.1", "port": port}
    return json.dumps({**login, "dbname": DATABASE, "sslmode": "verify-full"})


def configuration(port: int, ca: str) -> str:
    """What node-postgres takes as it stands."""
    return json.dumps(
        {
            "user": FORMER[0],
            "password": FORMER[1],
            "host": "127.0.0.1",
            "port": port,
            "database": DATABASE,
            "options": f"-c search_path={SCHEMA}",
            "ssl": {"ca": Path(ca).read_text(encoding="utf-8")},
        }
    )


OPTIONS = f"options=-c%20search_path%3D{SCHEMA}"
CASES: dict[Callable[[], clients.Client], list[Case]] = {
    clients.node: [
        Case("postgresql://", "url", url("postgresql", f"sslmode=verify-full&{OPTIONS}")),
        Case("postgres://", "url", url("postgres", f"{OPTIONS}&sslmode=verify-full")),
        Case(
            "its configuration",
            "json",
            configuration,
            keys={"username": "user", "dbname": "database"},
            parameters=("application_name",),
        ),
    ],
    clients.pgx: [
        Case("postgresql://", "url", url("postgresql", f"sslmode=verify-full&{OPTIONS}")),
        Case("postgres://", "url", url("postgres", f"search_path={SCHEMA}&sslmode=verify-full")),
        Case("keywords", "libpq", keywords),
        Case(
            "parts",
            "json",
            parts,
            parameters=("sslrootcert",),
            application=False,
            search_path=False,
        ),
    ],
    clients.pgjdbc: [
        Case(
            "options",
            "jdbc",
            jdbc(f"sslmode=verify-full&{OPTIONS}"),
            parameters=("sslrootcert", "ApplicationName"),
        ),
        Case(
            "currentSchema",
            "jdbc",
            jdbc(f"currentSchema={SCHEMA}&sslmode=verify-full"),
            parameters=("sslrootcert", "ApplicationName"),
        ),
    ],
}


def started(driver: Callable[[], clients.Client]) -> clients.Client:
    try:
        return driver()
    except clients.NotHereError as error:
        pytest.skip(str(error))


@dataclass(frozen=True)
class Habits:
    """What docs/configuration.md and `rotation.formats` say of a driver.

    `url` is what its values begin with, up to the port; `unknown` what it says of an authority that
    it does not know, without a root certificate; `system` the same with `sslrootcert=system`;
    `plus` what a `+` in a query is to it.
    """

    url: str
    unknown: str
    system: str
    plus: str


HABITS: dict[Callable[[], clients.Client], Habits] = {
    clients.node: Habits(
        "postgresql://127.0.0.1", "unable to verify the first certificate", "'system'", " "
    ),
    clients.pgx: Habits("postgresql://127.0.0.1", "unknown authority", "unknown authority", "+"),
    clients.pgjdbc: Habits("jdbc:postgresql://127.0.0.1", "root.crt", "file system", " "),
}


@pytest.mark.parametrize("driver", HABITS, ids=lambda made: made.__name__)
def test_a_driver_has_the_habits_that_are_told_of_it(
    server: Managed, driver: Callable[[], clients.Client]
) -> None:
    client, habits = started(driver), HABITS[driver]
    with psycopg.connect(server.owner, autocommit=True) as owner:
        for role, password in (("plus", "a+b"), ("space", "a b")):
            statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            owner.execute(statement.format(sql.Identifier(role), password))
        begins = f"{habits.url}:{server.server.port}/postgres?sslmode=verify-full"
        trusts = f"{begins}&sslrootcert={server.authority}"
        unknown, system, *named = client.login(
            [
                f"{begins}&user=plus&password=a%2Bb",
                f"{begins}&user=plus&password=a%2Bb&sslrootcert=system",
                f"{trusts}&user=plus&password=a+b",
                f"{trusts}&user=space&password=a+b",
            ]
        )
        owner.execute("DROP ROLE plus, space")
    assert habits.unknown in (unknown.error or "")
    assert habits.system in (system.error or "")
    expected = "plus" if habits.plus == "+" else "space"
    assert {answer.role for answer in named if answer.error is None} == {expected}
    if habits.url.startswith("jdbc:"):
        held = read(Shape("jdbc"), Secret(f"{trusts}&user=x&password=a+b"), "live")
        assert held.password.reveal() == f"a{habits.plus}b"


@pytest.mark.parametrize("driver", CASES, ids=lambda made: made.__name__)
def test_a_driver_logs_in_with_what_a_rotation_wrote(
    server: Managed, driver: Callable[[], clients.Client], tell: Callable[[str], None]
) -> None:
    client = started(driver)
    ca = str(server.authority)
    asked = [(case, login) for case in CASES[driver] for login in LOGINS]
    values = []
    for case, (role, password) in asked:
        live = Secret(case.live(server.server.port, ca))
        values.append(changed(case.shape(ca), live, (role, Secret(password)), "live").reveal())
    for (case, (role, _)), answer in zip(asked, client.login(values), strict=True):
        expected = clients.Answer(
            role,
            APPLICATION if case.application else "",
            SCHEMA if case.search_path else '"$user", public',
            tls=True,
        )
        assert answer == expected, f"{case.name}: {answer}"
    tell(f"{driver.__name__}: {len(values)} values log in")


# Python's: the live value, what logs in with it, and the parameters that name the root certificate.
PYTHON: dict[str, tuple[Case, Callable[[str], tuple[str, str]]]] = {
    "psycopg": (Case("", "url", url("postgresql", "sslmode=verify-full")), by_psycopg),
    "psycopg, keywords": (Case("", "libpq", keywords), by_psycopg),
    "asyncpg": (Case("", "url", url("postgresql", "sslmode=verify-full")), by_asyncpg),
    "SQLAlchemy": (
        Case("", "url", url("postgresql+psycopg", "sslmode=verify-full")),
        by_sqlalchemy,
    ),
    "SQLAlchemy on asyncpg": (
        Case("", "url", url("postgresql+asyncpg", "ssl=verify-full"), parameters=()),
        by_sqlalchemy_async,
    ),
}


@pytest.mark.parametrize("login", LOGINS, ids=["plain", "hostile"])
@pytest.mark.parametrize("name", PYTHON)
def test_a_driver_of_pythons_verifies_the_server(
    server: Managed, name: str, login: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    case, driver = PYTHON[name]
    role, password = login
    ca, port = str(server.authority), server.server.port
    live = Secret(case.live(port, ca))
    bare = changed(Shape(case.format), live, (role, Secret(password)), "live").reveal()
    value = changed(case.shape(ca), live, (role, Secret(password)), "live").reveal()
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(Exception, match="root certificate file"):
        driver(bare)
    if not case.parameters:
        # Its dialect hands the options of a URL on, and asyncpg has none for the certificate.
        with pytest.raises(TypeError, match="sslrootcert"):
            driver(f"{value}&sslrootcert={ca}")
        monkeypatch.setenv("PGSSLROOTCERT", ca)
    assert driver(value) == (role, APPLICATION if case.parameters else "")
