"""Brings a database to where an onboarded application has it, by the SQL of `infra/database`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local.process import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rotation.secrecy import Secret

HERE = Path(__file__).resolve().parent
FOLDERS = (ROOT / "infra" / "database", HERE)  # what onboarding uses, the sample application
VARIABLE = re.compile(r""":(?P<quote>["'])(?P<name>\w+)(?P=quote)""")
SET = re.compile(r"(?P<query>[^\\]+)\\gset\n")
IF = re.compile(r"\\if :(?P<name>\w+)\n(?P<text>[^\\]*)\\endif\n")

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Application:
    """`slots` maps a slot to its login role; `active` is the slot that can log in at first."""

    database: str = "orders"
    group: str = "orders"
    slots: Mapping[str, str] = field(
        default_factory=lambda: {"blue": "orders_blue", "green": "orders_green"}
    )
    active: str = "blue"
    rotator: str = "rotator"


def provision(
    admin_conninfo: str, application: Application, *, password: Secret, rotator_password: Secret
) -> bool:
    """Creates database, roles, grants and sample rows, or nothing when the group exists already.

    True if it created them: only then are the passwords (the active role's, the rotator's) in
    force. The administrator need not be a superuser; on Azure there is none.
    """
    _create_database(admin_conninfo, application.database)
    with psycopg.connect(make_conninfo(admin_conninfo, dbname=application.database)) as connection:
        if _role_exists(connection, application.group):
            return False
        _create_application(connection, application)
        _create_rotator(connection, application, rotator_password)
        _activate(connection, application.slots[application.active], password)
    return True


def run_sql(
    connection: Connection, name: str, variables: Mapping[str, str]
) -> psycopg.Cursor[tuple[Any, ...]]:
    """Runs a file of `FOLDERS`, and returns what its last statement found."""
    path = next(found for folder in FOLDERS if (found := folder / f"{name}.sql").exists())
    return run_text(connection, path.read_text(encoding="utf-8"), variables)


def run_text(
    connection: Connection, text: str, variables: Mapping[str, str]
) -> psycopg.Cursor[tuple[Any, ...]]:
    """Runs SQL for psql, and returns what its last statement found.

    Its :"name" and :'name' are psql's variables; of psql's commands it may begin with a query and
    \\gset, and have \\if with what that found.
    """

    def quoted(match: re.Match[str]) -> str:
        value = variables[match["name"]]
        wrapped = sql.Identifier(value) if match["quote"] == '"' else sql.Literal(value)
        return wrapped.as_string(connection)

    known: dict[str, bool] = {}
    begins = SET.match(text)
    if begins is not None:
        cursor = connection.execute(begins["query"].encode())
        names = [column.name for column in cursor.description or ()]
        known = dict(zip(names, cursor.fetchall()[0], strict=True))
        text = text[begins.end() :]
    text = IF.sub(lambda part: part["text"] if known[part["name"]] else "", text)
    return connection.execute(VARIABLE.sub(quoted, text).encode())


def _create_database(admin_conninfo: str, database: str) -> None:
    with psycopg.connect(admin_conninfo, autocommit=True) as connection:
        exists = "SELECT FROM pg_database WHERE datname = %s"
        if connection.execute(exists, [database]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))


def _role_exists(connection: Connection, role: str) -> bool:
    found = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role])
    return found.fetchone() is not None


def _create_application(connection: Connection, application: Application) -> None:
    names = {"group": application.group, "database": application.database}
    run_sql(connection, "group", names)
    for role in application.slots.values():
        run_sql(connection, "slot", {**names, "role": role})
    run_sql(connection, "demo", names)


def _create_rotator(connection: Connection, application: Application, password: Secret) -> None:
    rotator = application.rotator
    verifier = _verifier(connection, rotator, password)
    run_sql(connection, "rotator-login", {"rotator": rotator, "verifier": verifier})
    run_sql(connection, "rotator", {"rotator": rotator, "database": application.database})
    if connection.info.server_version >= 160000:
        for role in application.slots.values():
            run_sql(connection, "rotator-slot", {"rotator": rotator, "role": role})


def _activate(connection: Connection, role: str, password: Secret) -> None:
    statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
    verifier = sql.Literal(_verifier(connection, role, password))
    connection.execute(statement.format(sql.Identifier(role), verifier))


def _verifier(connection: Connection, role: str, password: Secret) -> str:
    """The SCRAM verifier of a password, made on this side: a password in a statement would end
    up in the server's log."""
    made = connection.pgconn.encrypt_password(
        password.reveal().encode(), role.encode(), b"scram-sha-256"
    )
    return made.decode()
