"""A connection that can be relied on: nothing of the server's settings decides what runs on it.

The start-up options outrank what `ALTER DATABASE` and `ALTER ROLE ... SET` left behind, and every
name in our statements is qualified: no function, operator or cast of somebody else's is found.
"""

from __future__ import annotations

import re
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import certifi
import psycopg

from rotation.model.errors import Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import OWN_APPLICATION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.model.targets import ServerTarget
    from rotation.secrecy import Secret

CONNECT_TIMEOUT = 10  # seconds
STATEMENT_TIMEOUT = 20  # seconds
LONGEST = 30.0  # seconds that a connection may be used, whatever the other side does

OPTIONS = (
    "-c search_path=pg_catalog"
    " -c role=none"
    " -c local_preload_libraries="
    " -c default_transaction_read_only=off"
    # What the server writes must be what psycopg reads.
    " -c datestyle=ISO"
    " -c idle_session_timeout=0"
    f" -c statement_timeout={STATEMENT_TIMEOUT}s"
    " -c lock_timeout=10s"
)


class Said(NamedTuple):
    """Words of an error for a connection that was not made, with what they mean.

    `server`: it, or a pooler, said them; else libpq or psycopg did. `sign` is what is looked for,
    where the words alone are not enough.
    """

    words: str
    code: Code
    kind: type[EdgeError]
    server: bool = True
    sign: str = ""

    def found_in(self, text: str) -> bool:
        return (self.sign or self.words) in text


# What is final at once, and what is refused and may be granted. All else passes, for a while.
#
# libpq gives no SQLSTATE for a refused connection: the words are all there is. Each line but those
# of the server's own certificate was met (PostgreSQL 15 and 18, PgBouncer 1.18, psycopg 3.3). The
# first words that fit count.
# https://github.com/postgres/postgres/blob/master/src/interfaces/libpq/fe-connect.c
# https://github.com/postgres/postgres/blob/master/src/backend/utils/init/postinit.c
SAID = (
    Said("unsupported startup parameter", Code.DATABASE_POOLER, Invalid),
    Said("server requested a hashed password", Code.LOGIN_NOT_SCRAM, Invalid),
    Said("authentication method requirement", Code.LOGIN_METHOD, Invalid, server=False),
    Said("root certificate file", Code.DATABASE_CERTIFICATE, Invalid, server=False),
    Said("certificate verify failed", Code.DATABASE_CERTIFICATE, Invalid, server=False),
    Said("does not match host name", Code.DATABASE_CERTIFICATE, Invalid, server=False),
    Said("requires a valid client certificate", Code.DATABASE_CLIENT_CERTIFICATE, Invalid),
    Said("client certificates can only be", Code.DATABASE_CLIENT_CERTIFICATE, Invalid),
    Said("server does not support SSL", Code.DATABASE_NO_TLS, Invalid, server=False),
    Said("alert protocol version", Code.DATABASE_TLS_VERSION, Invalid, server=False),
    Said("unsupported protocol", Code.DATABASE_TLS_VERSION, Invalid, server=False),
    Said("password authentication failed", Code.LOGIN_REFUSED, Denied),
    # PgBouncer's, of a password or database that it does not know, and of a role
    Said("SASL authentication failed", Code.LOGIN_REFUSED, Denied),
    Said("no such user", Code.LOGIN_REFUSED, Denied),
    Said("is not permitted to log in", Code.LOGIN_REFUSED, Denied),
    Said("no password supplied", Code.LOGIN_REFUSED, Denied, server=False),
    Said("authentication failed for user", Code.LOGIN_METHOD, Denied),  # LDAP's, ident's, ...
    Said("no pg_hba.conf entry", Code.LOGIN_HBA, Denied),
    Said("pg_hba.conf rejects connection", Code.LOGIN_HBA, Denied),
    Said("login rejected", Code.LOGIN_HBA, Denied),  # PgBouncer's
    Said("permission denied for database", Code.LOGIN_CONNECT, Denied),
    Said("does not exist", Code.LOGIN_REFUSED, Denied, sign=':  role "'),
    Said("does not exist", Code.LOGIN_DATABASE, Denied),
    Said("no such database", Code.LOGIN_DATABASE, Denied),  # PgBouncer's, and the next
    Said("is disabled", Code.LOGIN_DATABASE, Denied),
    Said("is not currently accepting connections", Code.LOGIN_DATABASE, Denied),
    # A library that a setting of the role or database names.
    Said("could not access file", Code.LOGIN_BARRED, Denied),
    # Said before the server looked at the password.
    Said("too many clients already", Code.DATABASE_FULL, Unavailable),
    Said("no more connections allowed", Code.POOLER_FULL, Unavailable),
    Said("query_wait_timeout", Code.POOLER_WAITING, Unavailable),
    Said("server login has been failing", Code.POOLER_WAITING, Unavailable),
    Said("the database system is", Code.DATABASE_STARTING, Unavailable),
    Said("Connection refused", Code.DATABASE_DOWN, Unavailable, server=False),
    Said("timeout expired", Code.DATABASE_TIMEOUT, Unavailable, server=False),
    Said("Connection timed out", Code.DATABASE_TIMEOUT, Unavailable, server=False),
    Said("No route to host", Code.DATABASE_TIMEOUT, Unavailable, server=False),
    Said("Network is unreachable", Code.DATABASE_TIMEOUT, Unavailable, server=False),
    Said("failed to resolve host", Code.DATABASE_NAME, Unavailable, server=False),
    Said("server closed the connection", Code.DATABASE_HUNG_UP, Unavailable, server=False),
    Said("invalid response to SSL negotiation", Code.DATABASE_PROTOCOL, Unavailable, server=False),
    Said("expected authentication request", Code.DATABASE_PROTOCOL, Unavailable, server=False),
    Said("SSL error", Code.DATABASE_TLS, Unavailable, server=False),
)
# Said after it has accepted the password (run: 15, 16, 18).
FULL_FOR_US = (
    "too many connections for role",
    "too many connections for database",
    "remaining connection slots are reserved",
)
# How libpq tells what a server has said, whatever the language: its severity, a colon, two spaces.
SERVERS = re.compile(r" failed: [^\s:]{1,40}:  ")

# SQLSTATEs, or their classes, that say something of the statement or of what it is about: the same
# statement gets the same answer. All others pass: XX000 where two change one role at once, 25006
# during a failover or with a full disk, 53, 57, 58, and those that nobody knows.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
FINAL = ("0A", "0L", "0P", "22", "23", "28", "2B", "3D", "3F", "42")
# Those with a code of their own, whatever the class. The logins' come from behind a pooler, which
# has let the client in already.
STATES: dict[str, tuple[type[EdgeError], Code]] = {
    "25006": (Unavailable, Code.DATABASE_READ_ONLY),
    "28000": (Denied, Code.LOGIN_BARRED),
    "28P01": (Denied, Code.LOGIN_REFUSED),
    "3D000": (Invalid, Code.LOGIN_DATABASE),
    "42704": (Missing, Code.DATABASE_MISSING),
    "53300": (Unavailable, Code.DATABASE_FULL),
    "57P03": (Unavailable, Code.DATABASE_STARTING),
}
# Of a query that is not ours: that it writes, answers too much, or raises by itself.
REFUSED = (*FINAL, "21", "25", "54", "P0")
BUSY = ("08", "53", "57", "58", "40", "55")


@dataclass(frozen=True)
class Login:
    """Who logs in where. `require_auth` is what of the server's requests is answered at all."""

    server: ServerTarget
    role: str
    password: Secret
    require_auth: str
    sslrootcert: str | None  # path; public authorities unless given


@contextmanager
def connected(
    what: str, login: Login, options: str | None = None
) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection for one use: rotations are rare, and an admin's token expires.

    Its start-up options are `OPTIONS` unless others are given. Raises `EdgeError`.
    """
    server = login.server
    try:
        with (
            psycopg.connect(
                host=server.host,
                port=server.port,
                dbname=server.database,
                user=login.role,
                password=login.password.reveal(),
                sslmode=server.sslmode,
                sslrootcert=login.sslrootcert or _authorities(server.sslmode),
                require_auth=login.require_auth,
                application_name=OWN_APPLICATION,
                connect_timeout=CONNECT_TIMEOUT,
                options=OPTIONS if options is None else options,
                # A database or role may have SQL_ASCII, under which texts would come as bytes.
                client_encoding="UTF8",
                autocommit=True,
                keepalives=1,
                keepalives_idle=5,  # seconds
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=15_000,  # milliseconds
            ) as connection,
            _watched(what, connection),
        ):
            yield connection
    except psycopg.Error as error:
        raise translated(what, login.role, error) from None


def _authorities(sslmode: str) -> str | None:
    """The path of certifi's authorities; None for an `sslmode` that verifies nothing, since with a
    root certificate at hand libpq would verify under `require` too."""
    return certifi.where() if sslmode.startswith("verify") else None


@contextmanager
def _watched(what: str, connection: psycopg.Connection[tuple[Any, ...]]) -> Iterator[None]:
    """Breaks the connection when its time is over: a server that is frozen still answers the
    kernel's probes, and no timeout of libpq's would end the wait. Raises `Unavailable` then."""
    broken = socket.socket(fileno=socket.dup(connection.fileno()))
    over = threading.Event()
    timer = threading.Timer(LONGEST, _shut, [broken, over])
    timer.daemon = True
    timer.start()
    try:
        yield
    except psycopg.Error:
        if not over.is_set():
            raise
        text = f"{what}: the server did not answer within {LONGEST:g} s"
        raise Unavailable(Code.DATABASE_TIMEOUT, text) from None
    finally:
        timer.cancel()
        broken.close()


def _shut(connection: socket.socket, over: threading.Event) -> None:
    over.set()
    with suppress(OSError):  # it has ended by itself
        connection.shutdown(socket.SHUT_RDWR)


def translated(what: str, role: str, error: psycopg.Error) -> EdgeError:
    """The edge's error for one of psycopg's. Only known words of its text are used: it may quote a
    statement or a password."""
    name = type(error).__name__
    if error.sqlstate is None:
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return _refused(what, role, error)
        return Invalid(Code.DATABASE_ERROR, f"{what}: {name}")
    text = f"{what}: {name} (SQLSTATE {error.sqlstate})"
    if error.sqlstate == "08P01" and "query_wait_timeout" in str(error):  # PgBouncer's
        return Unavailable(Code.POOLER_WAITING, f"{text}: query_wait_timeout")
    return _failed(text, error.sqlstate)


def of_a_query(what: str, login: Login, seconds: float, error: psycopg.Error) -> EdgeError:
    """The edge's error for a query of somebody's own that failed, to which `seconds` were given.

    What the server has against the statement is told by its SQLSTATE alone, as everywhere: its
    words quote values.
    """
    state = error.sqlstate or ""
    if state == "57014":
        return Unavailable(Code.TEST_NO_ANSWER, f"{what}: not done within {seconds:g} s")
    text = f"{what}: {type(error).__name__} (SQLSTATE {state})"
    if state == "42501":
        return Denied(Code.TEST_QUERY, text)
    if state.startswith(REFUSED):
        return Invalid(Code.TEST_QUERY, text)
    return translated(what, login.role, error)


def _failed(text: str, sqlstate: str) -> EdgeError:
    """The error for a statement that failed."""
    if sqlstate == "42501":
        rights = "give the rotating login the rights in infra/database/rotator.sql"
        return Denied(Code.DATABASE_RIGHT, f"{text}; {rights}")
    if sqlstate in STATES:
        kind, code = STATES[sqlstate]
        return kind(code, text)
    if sqlstate.startswith(FINAL):
        return Invalid(Code.DATABASE_ERROR, text)
    return Unavailable(
        Code.DATABASE_BUSY if sqlstate.startswith(BUSY) else Code.DATABASE_ERROR, text
    )


class Accepted(Unavailable):
    """The server took the role's password, and had no connection left for it: a login that was only
    to be proved is."""


def _refused(what: str, role: str, error: psycopg.Error) -> EdgeError:
    """The error for a connection that was not made."""
    text = str(error)
    full = next((words for words in FULL_FOR_US if words in text), None)
    if full is not None:
        # Whoever speaks in the server's name before it has asked for a password proves nothing.
        asked = error.pgconn is not None and error.pgconn.used_password
        kind = Accepted if asked else Unavailable
        return kind(Code.DATABASE_FULL, f"{what}: the server says: {full}")
    known = next((said for said in SAID if said.found_in(text)), None)
    if known is not None:
        return known.kind(known.code, f"{what}: {_told(role, known)}")
    if SERVERS.search(text):
        told = f"the server refuses role {role}, in words that are not known here"
        return Unavailable(Code.DATABASE_REFUSES, f"{what}: {told}")
    return Unavailable(Code.DATABASE_UNREACHABLE, f"{what}: {type(error).__name__}")


def _told(role: str, known: Said) -> str:
    if known.code is Code.DATABASE_POOLER:
        return "a pooler answers there; the rotator connects to the server itself"
    return f"the server says of role {role}: {known.words}" if known.server else known.words
