"""What the PostgreSQL server says, in a session that may only read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 10
OLDEST = 140000
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
SECRETS = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")

ROLES = "SELECT rolname FROM pg_roles"
# Sessions of other people are seen by members of pg_read_all_stats alone.
SESSIONS = """
SELECT DISTINCT usename FROM pg_stat_activity
WHERE host(client_addr) = ANY (%s) AND usename IS NOT NULL ORDER BY usename
"""
FROM = """
SELECT DISTINCT host(client_addr) FROM pg_stat_activity
WHERE usename = %s AND client_addr IS NOT NULL ORDER BY 1
"""
SEES_ALL = "SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')"
FEW = 5
ELSEWHERE = """
SELECT d.datname FROM pg_database d
WHERE d.datname <> current_database() AND d.oid IN (
    SELECT s.dbid FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
    WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = %s AND s.dbid <> 0
) ORDER BY d.datname
"""
ATTRIBUTES = """
SELECT rolsuper, rolvaliduntil IS NOT NULL, rolconnlimit FROM pg_roles WHERE rolname = %s
"""


@dataclass(frozen=True)
class Server:
    """`sessions` are the roles that log in from the pods' addresses."""

    host: str
    port: int
    database: str
    version: int
    roles: tuple[str, ...]
    sessions: tuple[str, ...]


class Looking:
    """A session with a server, by a connection string of libpq without a password in it, and the
    environment that psql reads. Raises `ClientError`."""

    def __init__(self, conninfo: str) -> None:
        self._psycopg = _psycopg()
        try:
            given = self._psycopg.conninfo.conninfo_to_dict(conninfo)
        except self._psycopg.Error:
            text = "what --database has is no connection string"
            raise ClientError(
                text, "write for example `host=pg dbname=orders user=pgadmin`", Exit.USAGE
            ) from None
        for name in SECRETS:
            if given.get(name):
                text = (
                    f"--database has a {name} in it, which every process of this machine can read"
                )
                cure = "set PGPASSFILE, or PGPASSWORD; what else is secret goes into a service file"
                raise ClientError(text, cure, Exit.USAGE)
        self._conninfo = conninfo

    def __enter__(self) -> Looking:
        try:
            self._session = self._psycopg.connect(
                self._conninfo,
                connect_timeout=SECONDS,
                application_name="rotctl adopt",
                options=f"-c default_transaction_read_only=on -c statement_timeout={SECONDS}s",
                autocommit=True,
            )
        except self._psycopg.Error as error:
            text = f"the database does not let you in: {_first_line(error)}"
            cure = "look at --database and at PGHOST, PGUSER, PGPASSFILE, PGSSLMODE"
            raise ClientError(text, cure, Exit.UNREACHABLE) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def seen(self, addresses: list[str]) -> Server:
        info = self._session.info
        if info.server_version < OLDEST:
            text = f"the server is PostgreSQL {info.server_version // 10000}"
            raise ClientError(text, "14 and newer will do: upgrade it first", Exit.REFUSED)
        sessions = [row[0] for row in self._asked(SESSIONS, [addresses])] if addresses else []
        return Server(
            host=info.host,
            port=info.port,
            database=info.dbname,
            version=info.server_version,
            roles=tuple(row[0] for row in self._asked(ROLES)),
            sessions=tuple(sessions),
        )

    def told(self, role: str) -> list[str]:
        """What is worth knowing of a role beforehand. Raises `ClientError` for one that is not
        there, or may do anything."""
        rows = self._asked(ATTRIBUTES, [role])
        if not rows:
            text = f"the server has no role {role!r}"
            raise ClientError(
                text, "give the one that the application logs in as with --role", Exit.REFUSED
            )
        superuser, expires, limit = rows[0]
        if superuser:
            text = f"{role} is a superuser, whose password the login that rotates may not set"
            raise ClientError(
                text, "let the application log in as a role of its own first", Exit.REFUSED
            )
        elsewhere = [row[0] for row in self._asked(ELSEWHERE, [role])]
        told = []
        if elsewhere:
            told.append(
                f"{role} has objects or rights in other databases too ({', '.join(elsewhere)}):"
                " run 2-adopt.sql and 3-level-group.sql once in each of them."
            )
        if expires:
            told.append(
                f"The password of {role} expires; a rotation takes that off. Do not set it again."
            )
        if limit >= 0:
            told.append(
                f"{role} may have {limit} connections; while both slots run, each has as many."
            )
        return told

    def told_of_sessions(self, role: str, addresses: list[str]) -> Iterator[str]:
        """Whether the role logs in from the pods' addresses, and from which others."""
        if not addresses:
            return
        if not self._asked(SEES_ALL)[0][0]:
            yield (
                "You do not see other people's sessions (pg_read_all_stats), so that it was not"
                f" looked from where {role} logs in."
            )
            return
        found = [row[0] for row in self._asked(FROM, [role])]
        others = [each for each in found if each not in addresses]
        named = ", ".join(others[:FEW]) + (", and more" if len(others) > FEW else "")
        if len(others) == len(found):
            seen = f"it logs in from {named}" if others else "it has no session now"
            yield (
                f"No session of {role} comes from the pods' own addresses; {seen}. Where the"
                " network translates addresses, or a pooler such as PgBouncer stands in between,"
                " write `addresses` into credentials.yaml (docs/configuration.md); for a pooler"
                " look at docs/pooler.md first."
            )
        elif others:
            yield (
                f"{role} logs in from {named} too, which are no pods of what is adopted: whatever"
                " is there loses its login at the first approval, unless it is listed as well."
            )

    def _asked(self, query: str, values: list[Any] | None = None) -> list[Any]:
        try:
            return list(self._session.execute(query, values or []).fetchall())
        except self._psycopg.Error as error:
            text = f"the database refuses to be looked at: {_first_line(error)}"
            raise ClientError(text, "ask as an administrator of it", Exit.NOT_ALLOWED) from None


def _psycopg() -> Any:
    try:
        import psycopg
        import psycopg.conninfo
    except ImportError as error:
        text = f"a database cannot be looked at here: {error}"
        cure = "install credential-rotation[rotctl,adopt] with pip, or leave --database out"
        raise ClientError(text, cure, Exit.USAGE) from None
    return psycopg


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
