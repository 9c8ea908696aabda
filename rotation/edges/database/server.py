"""One PostgreSQL server, worked on from its maintenance database.

Never from an application's: what its owner puts there, functions, operators, settings, login event
triggers, would run with the rights of the login that rotates.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from psycopg import errors, sql

from rotation.decisions.sessions import printable
from rotation.edges.database import login, scram
from rotation.edges.database.connecting import Login, connected
from rotation.model.errors import Denied, Invalid, Missing
from rotation.model.preconditions import RoleStanding, ServerStanding
from rotation.model.reasons import Code
from rotation.model.targets import ServerTarget
from rotation.model.world import Role, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from rotation.config import Database
    from rotation.model.world import Differences, Found, Query
    from rotation.secrecy import Secret

# A server that asks for a password in clear text never gets one. An Entra token is sent that way,
# over TLS that proved who the server is.
SCRAM = "scram-sha-256"
ENTRA = "password,scram-sha-256"

IN_FORCE = (
    "SELECT pg_catalog.current_setting('search_path'), pg_catalog.current_setting('role'),"
    " pg_catalog.current_setting('scram_iterations', true)"
)


# What the login that rotates may do with roles, and how much room there is. Before PostgreSQL 16
# CREATEROLE covers each role that is no superuser and does not replicate; from then on those that
# it has ADMIN over: https://www.postgresql.org/docs/16/role-attributes.html
STANDING = """
WITH me AS (
    SELECT oid, rolsuper, rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user
),
database AS (
    SELECT oid, datconnlimit FROM pg_catalog.pg_database
    WHERE datname = %(database)s::pg_catalog.name
),
clients AS (
    SELECT usename, datid FROM pg_catalog.pg_stat_activity
    WHERE backend_type IS NULL OR backend_type = 'client backend'
),
server AS (
    SELECT pg_catalog.current_setting('max_connections')::int
           - pg_catalog.current_setting('superuser_reserved_connections')::int
           - coalesce(pg_catalog.current_setting('reserved_connections', true)::int, 0) AS most
)
SELECT r.rolname,
       me.rolsuper OR (
           me.rolcreaterole AND NOT r.rolsuper
           AND CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 160000
                    THEN pg_catalog.pg_has_role(me.oid, r.oid, 'USAGE WITH ADMIN OPTION')
                    ELSE NOT r.rolreplication END
       ),
       coalesce(pg_catalog.has_database_privilege(r.oid, d.oid, 'CONNECT'), false),
       nullif(r.rolconnlimit, -1),
       (SELECT pg_catalog.count(*) FROM clients WHERE usename = r.rolname),
       me.rolsuper OR me.rolcreaterole,
       pg_catalog.pg_has_role(me.oid, 'pg_signal_backend', 'USAGE')
           OR pg_catalog.pg_has_role(me.oid, r.oid, 'USAGE'),
       pg_catalog.pg_has_role(me.oid, 'pg_read_all_stats', 'USAGE'),
       server.most,
       server.most - (SELECT pg_catalog.count(*) FROM clients)::int,
       nullif(d.datconnlimit, -1)
           - (SELECT pg_catalog.count(*) FROM clients WHERE datid = d.oid)::int,
       pg_catalog.current_setting('password_encryption'),
       pg_catalog.clock_timestamp()
FROM me, server, pg_catalog.pg_roles r LEFT JOIN database d ON true
WHERE r.rolname = ANY (%(roles)s::pg_catalog.name[])
"""

# https://www.postgresql.org/docs/current/monitoring-stats.html, pg_stat_activity.state
STATES = {
    "active",
    "idle",
    "idle in transaction",
    "idle in transaction (aborted)",
    "fastpath function call",
    "disabled",
}
# What pools and health checks ask, and no application for its own sake. An end of a transaction is
# none: there was something in it.
PROBE = (
    r"^[[:space:];]*(/\*[^*]*\*/[[:space:]]*)*"
    r"(select[[:space:]]+(1|true|now\(\)|version\(\))([[:space:]]+as[[:space:]]+[a-z_]+)?)?"
    r"[[:space:];]*$"
)


@contextmanager
def altering(what: str) -> Iterator[None]:
    """Turns a refusal of a change into `Invalid`: of a password policy, for one, that wants another
    password. Where a connection is made the same SQLSTATEs are about the login."""
    try:
        yield
    except (errors.InvalidAuthorizationSpecification, errors.InvalidPassword) as error:
        text = f"{what}: {type(error).__name__} (SQLSTATE {error.sqlstate})"
        raise Invalid(Code.DATABASE_ERROR, text) from None


class PostgreSQL:
    """Implements `contracts.database.Database`, and of a read replica `Replica`.

    `authenticate` gives the admin's password or Entra token, anew each time; `refused` hears that
    the server did not take it.
    """

    def __init__(
        self,
        database: Database,
        authenticate: Callable[[], Secret],
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._authenticate = authenticate
        self._refused = refused

    @property
    def address(self) -> str:
        return f"{self._database.host}:{self._database.port}"

    def roles(self, names: list[str]) -> dict[str, Role]:
        query = (
            # psycopg cannot hold infinity, which is what `activate` leaves behind.
            "SELECT rolname, rolcanlogin,"
            " CASE WHEN pg_catalog.isfinite(rolvaliduntil) THEN rolvaliduntil END"
            " FROM pg_catalog.pg_roles"
            " WHERE rolname OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.name[])"
        )
        rows = self._query("read the roles", query, [names])
        return {
            name: Role(name=name, login=can_log_in, valid_until=until)
            for name, can_log_in, until in rows
        }

    def activate(self, role: str, password: Secret) -> None:
        """The password never travels as text, which log_statement=ddl would put into the log."""
        with self._admin(f"activate role {role}") as (connection, asked):
            made = scram.verifier(password, scram.rounds(asked))
            # Without VALID UNTIL 'infinity' an expiry left on the role would outlive this.
            statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {} VALID UNTIL 'infinity'")
            with altering(self._what(f"activate role {role}")):
                connection.execute(statement.format(sql.Identifier(role), made))

    def deactivate(self, role: str) -> None:
        with self._admin(f"deactivate role {role}") as (connection, _):
            statement = sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL")
            with altering(self._what(f"deactivate role {role}")):
                connection.execute(statement.format(sql.Identifier(role)))

    def terminate(self, role: str) -> int:
        query = (
            "SELECT pg_catalog.count(*) FROM (SELECT pg_catalog.pg_terminate_backend(pid)"
            " FROM pg_catalog.pg_stat_activity"
            " WHERE usename OPERATOR(pg_catalog.=) %s::pg_catalog.name) AS ended"
        )
        return int(self._query(f"end the sessions of role {role}", query, [role])[0][0])

    def sessions(self, roles: list[str]) -> list[Session]:
        query = (
            "SELECT usename, application_name, pg_catalog.host(client_addr), state, backend_start,"
            # Statements may quote anything: they are looked at there, and not read.
            " CASE WHEN query OPERATOR(pg_catalog.~*) %s::pg_catalog.text THEN NULL"
            # Hidden from a login without pg_read_all_stats: that counts as use.
            " ELSE COALESCE(query_start, pg_catalog.now()) END, pid"
            " FROM pg_catalog.pg_stat_activity"
            # The type is hidden from a login without pg_read_all_stats; the session counts.
            " WHERE (backend_type IS NULL OR backend_type OPERATOR(pg_catalog.=) 'client backend')"
            " AND usename OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.name[])"
            " ORDER BY usename, application_name, client_addr, backend_start"
        )
        return [
            Session(
                role=role,
                application=printable(application or ""),
                client=client or "local",
                state=state if state in STATES else "unknown",
                since=since,
                queried=queried,
                pid=pid,
            )
            for role, application, client, state, since, queried, pid in self._query(
                "read the sessions", query, [PROBE, roles]
            )
        ]

    def standing(self, roles: list[str]) -> ServerStanding:
        values: dict[str, object] = {"roles": roles, "database": self._database.name}
        rows = self._query("say what may be done with its roles", STANDING, values)
        if not rows:
            raise Missing(Code.DATABASE_MISSING, f"{self._what('find the roles')}: none exists")
        creates, _, sees, most, free, left, hashes, clock = rows[0][5:]
        return ServerStanding(
            roles={
                name: RoleStanding(alterable, connects, limit, sessions)
                for name, alterable, connects, limit, sessions, *_ in rows
            },
            creates=creates,
            ends=all(row[6] for row in rows),
            sees=sees,
            most=most,
            free=free,
            database_free=left,
            hashes=hashes,
            clock=clock,
        )

    def login(self, role: str, password: Secret) -> None:
        """To the application's database, as the slot's own role: that proves CONNECT too."""
        login.prove(self._what(f"log in as role {role}"), self._as(role, password))

    def query(self, role: str, password: Secret, query: Query) -> Found:
        what = self._what(f"answer a test as role {role}")
        return login.ask(what, self._as(role, password), query)

    def differences(self, role: str, password: Secret, other: str) -> Differences:
        what = self._what(f"compare role {other} with {role}")
        return login.compare(what, self._as(role, password), other)

    def _as(self, role: str, password: Secret) -> Login:
        """A slot's login, to the application's database."""
        return Login(
            server=self._server(self._database.name),
            role=role,
            password=password,
            require_auth=SCRAM,
            sslrootcert=self._database.sslrootcert,
        )

    def _query(
        self, verb: str, query: str, values: list[object] | dict[str, object]
    ) -> list[tuple[Any, ...]]:
        with self._admin(verb) as (connection, _):
            return connection.execute(query.encode(), values).fetchall()

    @contextmanager
    def _admin(self, verb: str) -> Iterator[tuple[psycopg.Connection[tuple[Any, ...]], str | None]]:
        """A connection on which our options are in force, and the server's SCRAM iterations."""
        admin = self._database.admin
        signed_in = Login(
            server=self._server(self._database.maintenance),
            role=admin.role,
            password=self._authenticate(),
            require_auth=SCRAM if admin.secret else ENTRA,
            sslrootcert=self._database.sslrootcert,
        )
        with self._told(), connected(self._what(verb), signed_in) as connection:
            path, became, iterations = connection.execute(IN_FORCE).fetchall()[0]
            if (path, became) != ("pg_catalog", "none"):
                # A pooler that is told to ignore start-up options: nothing is certain behind it.
                text = f"{self._what(verb)}: it does not take our options; connect to the server"
                raise Invalid(Code.DATABASE_POOLER, f"{text} itself, not to a pooler")
            yield connection, None if iterations is None else str(iterations)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tells whoever gave the admin's password or token that the server refused it in here."""
        try:
            yield
        except Denied as error:
            if error.code is Code.LOGIN_REFUSED:
                self._refused()
            raise

    def _what(self, verb: str) -> str:
        return f"PostgreSQL {self.address} could not {verb}"

    def _server(self, database: str) -> ServerTarget:
        server = self._database
        return ServerTarget(server.host, server.port, database, server.sslmode)
