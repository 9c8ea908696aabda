"""A connection that can be relied on: nothing of the server's settings decides what runs on it.

The start-up options outrank what `ALTER DATABASE` and `ALTER ROLE ... SET` left behind, and every
name in our statements is qualified: no function, operator or cast of somebody else's is found.
"""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import certifi
import psycopg

from rotation.model.errors import Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.model.targets import ServerTarget
    from rotation.secrecy import Secret

APPLICATION = "credential-rotation"
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
# What is final at once, and what is refused and may be granted. All else passes, for a while.
#
# libpq gives no SQLSTATE for a refused connection: the server's words are all there is. Words we
# do not know, in another language perhaps, count as a fault that may pass. The first words that fit
# count.
# https://github.com/postgres/postgres/blob/master/src/interfaces/libpq/fe-connect.c
FINAL_WORDS = {
    "server requested a hashed password": Code.LOGIN_NOT_SCRAM,
    "root certificate file": Code.LOGIN_BARRED,
    "authentication method requirement": Code.LOGIN_BARRED,
    "server does not support SSL": Code.LOGIN_BARRED,
    "certificate verify failed": Code.LOGIN_BARRED,
    "does not match host name": Code.LOGIN_BARRED,
}
# https://github.com/postgres/postgres/blob/master/src/backend/utils/init/postinit.c
REFUSALS = {
    "password authentication failed": Code.LOGIN_REFUSED,
    # PgBouncer's, of a password or database that it does not know, and of a role
    "SASL authentication failed": Code.LOGIN_REFUSED,
    "no such user": Code.LOGIN_REFUSED,
    "is not permitted to log in": Code.LOGIN_REFUSED,
    "does not exist": Code.LOGIN_BARRED,
    "no pg_hba.conf entry": Code.LOGIN_BARRED,
    "permission denied for database": Code.LOGIN_BARRED,
    "is not currently accepting connections": Code.LOGIN_BARRED,
    # A library that a setting of the role or database names.
    "could not access file": Code.LOGIN_BARRED,
    "pg_hba.conf rejects connection": Code.LOGIN_BARRED,
}
# Said before the server looked at the password.
FULL = "too many clients already"
# Said after it has accepted the password (run: 15, 16, 18).
FULL_FOR_US = (
    "too many connections for role",
    "too many connections for database",
    "remaining connection slots are reserved",
)
POOLER = "unsupported startup parameter"

# SQLSTATEs, or their classes, that say something of the statement or of what it is about: the same
# statement gets the same answer. All others pass: XX000 where two change one role at once, 25006
# during a failover or with a full disk, 53, 57, 58, and those that nobody knows.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
FINAL = ("0A", "0L", "0P", "22", "23", "28", "2B", "3D", "3F", "42")
READ_ONLY = "25006"
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
                application_name=APPLICATION,
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
            _watched(connection),
        ):
            yield connection
    except psycopg.Error as error:
        raise translated(what, login.role, error) from None


def _authorities(sslmode: str) -> str | None:
    """The path of certifi's authorities; None for an `sslmode` that verifies nothing, since with a
    root certificate at hand libpq would verify under `require` too."""
    return certifi.where() if sslmode.startswith("verify") else None


@contextmanager
def _watched(connection: psycopg.Connection[tuple[Any, ...]]) -> Iterator[None]:
    """Breaks the connection when its time is over: a server that is frozen still answers the
    kernel's probes, and no timeout of libpq's would end the wait."""
    broken = socket.socket(fileno=socket.dup(connection.fileno()))
    timer = threading.Timer(LONGEST, _shut, [broken])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        broken.close()


def _shut(connection: socket.socket) -> None:
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
    return _failed(text, error.sqlstate)


def _failed(text: str, sqlstate: str) -> EdgeError:
    """The error for a statement that failed."""
    if sqlstate == "42501":
        rights = "give the rotating login the rights in infra/database/rotator.sql"
        return Denied(Code.DATABASE_RIGHT, f"{text}; {rights}")
    if sqlstate == "42704":
        return Missing(Code.DATABASE_MISSING, text)
    if sqlstate.startswith(FINAL):
        return Invalid(Code.DATABASE_ERROR, text)
    if sqlstate == READ_ONLY:
        return Unavailable(Code.DATABASE_READ_ONLY, text)
    return Unavailable(
        Code.DATABASE_BUSY if sqlstate.startswith(BUSY) else Code.DATABASE_ERROR, text
    )


class Accepted(Unavailable):
    """The server took the role's password, and had no connection left for it: a login that was only
    to be proved is."""


def _refused(what: str, role: str, error: psycopg.Error) -> EdgeError:
    """The error for a connection that was not made."""
    text = str(error)
    if POOLER in text:
        said = f"{what}: a pooler answers there; the rotator connects to the server itself"
        return Invalid(Code.DATABASE_POOLER, said)
    for words, code in (FINAL_WORDS | REFUSALS).items():
        if words in text:
            said = f"{what}: the server says of role {role}: {words}"
            return Invalid(code, said) if words in FINAL_WORDS else Denied(code, said)
    full = next((words for words in (FULL, *FULL_FOR_US) if words in text), None)
    if full is not None:
        # Whoever speaks in the server's name before it has asked for a password proves nothing.
        asked = error.pgconn is not None and error.pgconn.used_password
        kind = Accepted if full in FULL_FOR_US and asked else Unavailable
        return kind(Code.DATABASE_FULL, f"{what}: the server says: {full}")
    unreachable = f"{what}: no connection; is the server up and reachable from the app?"
    return Unavailable(Code.DATABASE_UNREACHABLE, unreachable)
