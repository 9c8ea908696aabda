"""Sole importer of psycopg: login roles and their sessions, as the login that rotates.

The password never travels as text: libpq makes its SCRAM verifier here, because a statement with
a clear password ends up in the server's log under log_statement=ddl.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import certifi
import psycopg
from psycopg import sql

from rotation.model.errors import Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import Role, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rotation.config import Database
    from rotation.secrecy import Secret

APPLICATION = "credential-rotation"
CONNECT_TIMEOUT = 10  # seconds
STATEMENT_TIMEOUT = 20_000  # milliseconds

# A server that asks for a password in clear text never gets one. An Entra token is sent that way,
# over TLS that proved who the server is.
SCRAM = "scram-sha-256"
ENTRA = "password,scram-sha-256"

# libpq gives no SQLSTATE for a refused connection: the server's words are all there is. Words we
# do not know, in another language perhaps, count as a fault that may pass, for a limited time.
REFUSALS = (
    "root certificate file",
    "authentication method requirement",
    "server does not support SSL",
    "password authentication failed",
    "is not permitted to log in",
    "does not exist",
    "no pg_hba.conf entry",
    "permission denied for database",
    "pg_hba.conf rejects connection",
    "certificate verify failed",
    "does not match host name",
)

# SQLSTATE classes that may pass: connection, resources, intervention, system, serialisation.
PASSING = ("08", "53", "57", "58", "40", "55")


class PostgreSQL:
    """One server. `authenticate` gives the admin's password or Entra token, anew each time."""

    def __init__(self, database: Database, authenticate: Callable[[], Secret]) -> None:
        self._database = database
        self._authenticate = authenticate

    @property
    def _authorities(self) -> str | None:
        """With a root certificate at hand libpq would verify under `require` too."""
        return certifi.where() if self._database.sslmode.startswith("verify") else None

    def roles(self, names: list[str]) -> dict[str, Role]:
        query = (
            # psycopg cannot hold infinity, which is what `activate` leaves behind.
            "SELECT rolname, rolcanlogin, nullif(rolvaliduntil, 'infinity')"
            " FROM pg_catalog.pg_roles WHERE rolname = ANY(%s)"
        )
        rows = self._query("read the roles", query, [names])
        return {
            name: Role(name=name, login=login, valid_until=until) for name, login, until in rows
        }

    def activate(self, role: str, password: Secret) -> None:
        with self._admin(f"activate role {role}") as connection:
            verifier = connection.pgconn.encrypt_password(
                password.reveal().encode(), role.encode(), b"scram-sha-256"
            )
            # Without VALID UNTIL 'infinity' an expiry left on the role would outlive this.
            statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {} VALID UNTIL 'infinity'")
            connection.execute(statement.format(sql.Identifier(role), verifier.decode()))

    def deactivate(self, role: str) -> None:
        with self._admin(f"deactivate role {role}") as connection:
            statement = sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL")
            connection.execute(statement.format(sql.Identifier(role)))

    def terminate(self, role: str) -> int:
        query = (
            "SELECT count(*) FROM (SELECT pg_catalog.pg_terminate_backend(pid)"
            " FROM pg_catalog.pg_stat_activity WHERE usename = %s) AS ended"
        )
        return int(self._query(f"end the sessions of role {role}", query, [role])[0][0])

    def sessions(self, roles: list[str]) -> list[Session]:
        query = (
            "SELECT usename, application_name, host(client_addr), state, backend_start"
            " FROM pg_catalog.pg_stat_activity"
            # The type is hidden from a login without pg_read_all_stats; the session counts.
            " WHERE coalesce(backend_type, 'client backend') = 'client backend'"
            " AND usename = ANY(%s)"
            " ORDER BY usename, application_name, client_addr, backend_start"
        )
        return [
            Session(
                role=role,
                application=application or "",
                client=client or "local",
                state=state or "unknown",
                since=since,
            )
            for role, application, client, state, since in self._query(
                "read the sessions", query, [roles]
            )
        ]

    def login(self, role: str, password: Secret) -> None:
        with self._connected(f"log in as role {role}", role, password, SCRAM) as connection:
            connection.execute("SELECT 1")

    def _query(self, verb: str, query: str, values: list[Any]) -> list[tuple[Any, ...]]:
        with self._admin(verb) as connection:
            return connection.execute(query.encode(), values).fetchall()

    @contextmanager
    def _admin(self, verb: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        admin = self._database.admin
        methods = SCRAM if admin.secret else ENTRA
        with self._connected(verb, admin.role, self._authenticate(), methods) as connection:
            yield connection

    @contextmanager
    def _connected(
        self, verb: str, role: str, password: Secret, require_auth: str
    ) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """A connection for one use: rotations are rare, and the admin's token expires."""
        database = self._database
        what = f"PostgreSQL {database.host}:{database.port} could not {verb}"
        try:
            with psycopg.connect(
                host=database.host,
                port=database.port,
                dbname=database.name,
                user=role,
                password=password.reveal(),
                sslmode=database.sslmode,
                sslrootcert=database.sslrootcert or self._authorities,
                require_auth=require_auth,
                application_name=APPLICATION,
                connect_timeout=CONNECT_TIMEOUT,
                options=f"-c statement_timeout={STATEMENT_TIMEOUT}",
                autocommit=True,
            ) as connection:
                yield connection
        except psycopg.Error as error:
            raise _translated(what, role, error) from None


def _translated(what: str, role: str, error: psycopg.Error) -> EdgeError:
    """psycopg's texts can quote a statement or connection string: only known words are used."""
    name = type(error).__name__
    if error.sqlstate is None:
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return _refused(what, role, str(error))
        return Invalid(Code.DATABASE_ERROR, f"{what}: {name}")
    text = f"{what}: {name} (SQLSTATE {error.sqlstate})"
    if error.sqlstate.startswith(PASSING):
        return Unavailable(Code.DATABASE_BUSY, text)
    if error.sqlstate == "42501":
        code = Code.DATABASE_RIGHT
        rights = "give the rotating login the rights in infra/database/rotator.sql"
        return Denied(code, f"{text}; {rights}")
    if error.sqlstate in {"42704", "28000"}:
        return Missing(Code.DATABASE_MISSING, text)
    return Invalid(Code.DATABASE_ERROR, text)


def _refused(what: str, role: str, text: str) -> EdgeError:
    for words in REFUSALS:
        if words in text:
            said = f"{what}: the server says of role {role}: {words}"
            return Denied(Code.LOGIN_REFUSED, said)
    unreachable = f"{what}: no connection; is the server up and reachable from the app?"
    return Unavailable(Code.DATABASE_UNREACHABLE, unreachable)
