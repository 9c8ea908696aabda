"""Logs in as a slot's role, and asks a test's query as it, in a process of its own with a deadline.

The verifier of a role says how many rounds a client has to compute, and the role may have changed
it: libpq would compute millions of them with the interpreter locked, and with it the whole app. To
read the number first would leave a gap until the login; a process can simply be ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, get_args

import psycopg

from rotation.edges.database import parity
from rotation.edges.database.connecting import (
    Accepted,
    Login,
    connected,
    of_a_query,
    translated,
)
from rotation.model.errors import Conflict, Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import ServerTarget
from rotation.model.world import Difference, Differences, Found, Query
from rotation.secrecy import Secret

if TYPE_CHECKING:
    from psycopg import Connection

    from rotation.model.wire import JsonObject

LONGEST = 20.0  # seconds, of a login
BEGINNING = 5.0  # seconds beside a query's own, until the process has begun
# Queries at a time, of all workloads: each is a process of some 35 MB, and twenty activities with
# eight each would be too many for an instance. Logins that are proved wait for none of them.
AT_ONCE = 16
MODULE = "rotation.edges.database.login"
KINDS: dict[str, type[EdgeError]] = {
    kind.__name__: kind for kind in (Unavailable, Denied, Missing, Conflict, Invalid)
}
FOUND: dict[bytes, Found] = {words.encode(): words for words in get_args(Found)}
CODES = {str(code): code for code in Code}
TURNS = threading.BoundedSemaphore(AT_ONCE)
INHERITED = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TZ")


def prove(what: str, login: Login) -> None:
    """Logs in once and leaves. Raises `EdgeError` if that fails or takes longer than `LONGEST`.

    A server that takes the password and has no connection left for the role proves it too.
    """
    slow = f"not done after {LONGEST:.0f} s; is its verifier a usual one?"
    _process(what, _given(what, login), LONGEST, Unavailable(Code.LOGIN_SLOW, f"{what}: {slow}"))


def ask(what: str, login: Login, query: Query) -> Found:
    """What a query finds, asked on a connection for it alone. Raises `EdgeError`.

    It waits for its turn as long as for its answer.
    """
    slow = Unavailable(Code.TEST_NO_ANSWER, f"{what}: not done within {query.timeout:g} s")
    given = {**_given(what, login), "query": astuple(query)}
    if not TURNS.acquire(timeout=query.timeout):
        raise slow
    try:
        answer = _process(what, given, query.timeout + BEGINNING, slow)
    finally:
        TURNS.release()
    if answer not in FOUND:
        raise _error(what, answer)
    return FOUND[answer]


def compare(what: str, login: Login, other: str) -> Differences:
    """How `other` differs from the role that logs in, for it alone. Raises `EdgeError`."""
    slow = Unavailable(Code.DATABASE_TIMEOUT, f"{what}: not done within {LONGEST:g} s")
    given = {**_given(what, login), "other": other}
    answer = _process(what, given, LONGEST + BEGINNING, slow)
    try:
        found = [tuple(Difference(*row) for row in rows) for rows in json.loads(answer)]
        return Differences(*found)
    except (ValueError, TypeError, RecursionError):
        raise _error(what, answer) from None


def _given(what: str, login: Login) -> JsonObject:
    """A login as the process reads it."""
    return {
        "what": what,
        "server": astuple(login.server),
        "role": login.role,
        "password": login.password.reveal(),
        "requireAuth": login.require_auth,
        "sslrootcert": login.sslrootcert,
    }


def _process(what: str, given: JsonObject, seconds: float, slow: EdgeError) -> bytes:
    """What the process writes that gets `given`, which has ended well within so many seconds.

    The password goes through a pipe, where nobody else can read it. Raises `slow` where it has not
    ended by then, and the error that it writes where it has not ended well.
    """
    try:
        ended = subprocess.run(  # noqa: S603 - our own module, nothing of it comes from outside
            [sys.executable, "-m", MODULE],
            input=json.dumps(given).encode(),
            capture_output=True,
            timeout=seconds,
            env=_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise slow from None
    if ended.returncode != 0:
        raise _error(what, ended.stdout)
    return ended.stdout


def _environment() -> dict[str, str]:
    """The process's environment: what the interpreter needs, and no variable that libpq reads."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _error(what: str, answer: bytes) -> EdgeError:
    """The error that the process wrote, or one that says that it wrote none."""
    try:
        kind, code, message = json.loads(answer)
        return KINDS[kind](CODES[code], message)
    except (ValueError, KeyError, TypeError, RecursionError):
        text = f"{what}: the process that tries it ended without an answer"
        return Unavailable(Code.LOGIN_SLOW, text)


def main() -> int:
    """Reads from standard input what it was given; writes what was found, or the error."""
    given = json.loads(sys.stdin.buffer.read())
    what = given["what"]
    login = Login(
        server=ServerTarget(*given["server"]),
        role=given["role"],
        password=Secret(given["password"]),
        require_auth=given["requireAuth"],
        sslrootcert=given["sslrootcert"],
    )
    query = Query(*given["query"]) if "query" in given else None
    other = given.get("other")
    try:
        with connected(what, login, options="") as connection:
            if query is not None:
                sys.stdout.write(answer_to(query, what, login, connection))
            elif other is not None:
                sys.stdout.write(json.dumps(compared(other, what, login, connection)))
            else:
                connection.execute("SELECT 1")
    except EdgeError as error:
        accepted = isinstance(error, Accepted)
        if accepted and query is None and other is None:
            return 0
        kind = Unavailable if accepted else type(error)
        sys.stdout.write(json.dumps([kind.__name__, str(error.code), error.message]))
        return 1
    return 0


# The server compares, so that nothing of what is found travels. All of the row is made, as whoever
# reads it would have it made: of what nobody reads the planner would leave the errors out.
ASKED = (
    'SELECT pg_catalog.to_jsonb("asked by a test") IS NOT NULL,'
    ' COALESCE(pg_catalog.to_jsonb("asked by a test"."first column")'
    " OPERATOR(pg_catalog.=) %s::pg_catalog.jsonb, false)"
    ' FROM (\n{}\n) AS "asked by a test" ("first column") LIMIT 1'
)


def answer_to(
    query: Query, what: str, login: Login, connection: Connection[tuple[Any, ...]]
) -> Found:
    """What a query finds, in a transaction that is read-only and rolled back. Raises `EdgeError`.

    With a parameter psycopg takes the extended protocol, in which the server refuses more than one
    statement. A prepared one would stay on a pooler's connection.
    """
    connection.execute("BEGIN READ ONLY")
    milliseconds = max(1, int(query.timeout * 1000))
    connection.execute(f"SET LOCAL statement_timeout = {milliseconds}".encode())
    statement = ASKED.format(query.statement.replace("%", "%%")).encode()
    try:
        cursor = connection.execute(statement, [query.expected], prepare=False)
        row = cursor.fetchone()
    except psycopg.Error as error:
        raise of_a_query(what, login, query.timeout, error) from None
    finally:
        with suppress(psycopg.Error):  # it has ended with the connection
            connection.execute("ROLLBACK")
    if query.expected is None or (row and row[1]):
        return "as expected"
    return "another value" if row else "no row"


def compared(
    other: str, what: str, login: Login, connection: Connection[tuple[Any, ...]]
) -> list[list[tuple[Any, ...]]]:
    """What the other role lacks of what the login's has, and the other way round. Raises
    `EdgeError`.

    Functions and operators of the application's database come after the server's own.
    """
    statement = parity.statement(connection.info.server_version).encode()
    found = []
    try:
        connection.execute("BEGIN READ ONLY")
        connection.execute("SET LOCAL search_path = pg_catalog")
        connection.execute(f"SET LOCAL statement_timeout = '{LONGEST:g}s'".encode())
        for having, lacking in ((login.role, other), (other, login.role)):
            values = {"having": having, "lacking": lacking}
            cursor = connection.execute(statement, values, prepare=False)
            found.append(cursor.fetchmany(parity.MOST))
    except psycopg.Error as error:
        raise translated(what, login.role, error) from None
    finally:
        with suppress(psycopg.Error):  # it has ended with the connection
            connection.execute("ROLLBACK")
    return found


if __name__ == "__main__":
    sys.exit(main())
