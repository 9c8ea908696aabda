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
POOLER = "unsupported startup parameter"

# SQLSTATE classes that may pass: connection, resources, intervention, system, serialisation.
PASSING = ("08", "53", "57", "58", "40", "55")


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
            return _refused(what, role, str(error))
        return Invalid(Code.DATABASE_ERROR, f"{what}: {name}")
    text = f"{what}: {name} (SQLSTATE {error.sqlstate})"
    if error.sqlstate.startswith(PASSING):
        return Unavailable(Code.DATABASE_BUSY, text)
    if error.sqlstate == "42501":
        rights = "give the rotating login the rights in infra/database/rotator.sql"
        return Denied(Code.DATABASE_RIGHT, f"{text}; {rights}")
    if error.sqlstate in {"42704", "28000"}:
        return Missing(Code.DATABASE_MISSING, text)
    return Invalid(Code.DATABASE_ERROR, text)


def _refused(what: str, role: str, text: str) -> EdgeError:
    if POOLER in text:
        said = f"{what}: a pooler answers there; the rotator connects to the server itself"
        return Denied(Code.DATABASE_POOLER, said)
    for words in REFUSALS:
        if words in text:
            said = f"{what}: the server says of role {role}: {words}"
            return Denied(Code.LOGIN_REFUSED, said)
    unreachable = f"{what}: no connection; is the server up and reachable from the app?"
    return Unavailable(Code.DATABASE_UNREACHABLE, unreachable)
