"""Orders, through a pool of connections."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from local.cluster.forwarding import Incoming
from local.workload.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from local.workload.settings import Settings

logger = logging.getLogger("workload")

Connection = psycopg.AsyncConnection[DictRow]

NEWEST = "SELECT id, customer, item, quantity, created FROM orders ORDER BY id DESC LIMIT 20"
ADD = (
    "INSERT INTO orders (customer, item, quantity) VALUES (%(customer)s, %(item)s, %(quantity)s) "
    "RETURNING id, customer, item, quantity, created"
)
# A worker that dies leaves its job to the next one: its lock ends with its transaction.
TAKE = "SELECT id FROM jobs WHERE done_by IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"
BEGIN = "INSERT INTO begun (job, pod) VALUES (%(job)s, %(pod)s)"
DONE = "UPDATE jobs SET done_as = session_user, done_by = %(pod)s WHERE id = %(job)s"
WHOAMI = (
    "SELECT session_user AS role, current_user AS acting_as, "
    "current_setting('application_name') AS application, "
    "current_setting('server_version') AS server_version"
)


class Answer(NamedTuple):
    """`role` is the login of the very connection that gave the rows."""

    role: str
    rows: list[dict[str, Any]]


class Database:
    """Opened and closed by the application; no failure to connect ends it."""

    def __init__(self, settings: Settings) -> None:
        self._arguments = dict(settings.connection)
        self._source = settings.source
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            connection_class=Connection,
            # In `kwargs`, not in the conninfo string, which would show up in messages.
            kwargs=lambda: {**self._arguments, "autocommit": True, "row_factory": dict_row},
            min_size=settings.pool_min,
            max_size=settings.pool_max,
            timeout=settings.pool_seconds,
            max_lifetime=settings.pool_lifetime,
            # The pool doubles its delay between attempts; giving up soon, and beginning anew with
            # the next request, is what brings it back within two seconds after any outage.
            reconnect_timeout=2,
            name=settings.application,
            open=False,
        )

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        async with self._relayed() as reached:
            self._arguments |= reached
            await self._pool.open()
            try:
                yield
            finally:
                await self._pool.close()

    @asynccontextmanager
    async def _relayed(self) -> AsyncIterator[dict[str, Any]]:
        """What leads libpq to the server by way of a relay in this process, for the source address.

        libpq has no setting for it, and opens its sockets itself. Bytes pass as they are, TLS among
        them: the host that is verified stays the server's.
        """
        if self._source is None:
            yield {}
            return
        host, port = self._arguments.get("host", "127.0.0.1"), int(self._arguments["port"])
        loop = asyncio.get_running_loop()
        relay = await loop.create_server(
            lambda: Incoming(lambda: port, host, self._source), "127.0.0.1", 0
        )
        try:
            yield {"hostaddr": "127.0.0.1", "port": relay.sockets[0].getsockname()[1]}
        finally:
            relay.close()

    async def follow(self, read: Callable[[], dict[str, Any]], seconds: float) -> None:
        """Uses the login that `read` finds, looked for again every so many seconds, for ever."""
        while True:
            await asyncio.sleep(seconds)
            try:
                found = {key: each for key, each in read().items() if key in {"user", "password"}}
            except SettingsError as error:
                logger.warning("the login cannot be read again: %s", error)
                continue
            if found.items() <= self._arguments.items():
                continue
            self._arguments |= found
            logger.info("the login has changed")
            await self._pool.drain()

    async def ping(self) -> None:
        """Takes a connection that answers. Raises `psycopg.OperationalError` if there is none."""
        async with self._connection():
            pass

    async def newest(self) -> Answer:
        return await self._ask(NEWEST)

    async def add(self, order: dict[str, Any]) -> Answer:
        return await self._ask(ADD, order)

    async def whoami(self) -> Answer:
        return await self._ask(WHOAMI)

    async def do_job(self, pod: str, seconds: float) -> bool:
        """Does the first job that nobody else has; False if there is none."""
        async with self._connection() as connection, connection.transaction():
            row = await (await connection.execute(TAKE)).fetchone()
            if row is None:
                return False
            given = {"job": row["id"], "pod": pod}
            async with self._connection() as aside:  # to be seen even if the job is not finished
                await aside.execute(BEGIN, given)
            await asyncio.sleep(seconds)
            await connection.execute(DONE, given)
        return True

    async def log_in(self) -> None:
        """Makes a connection of its own. Raises `psycopg.OperationalError` when refused."""
        connection = await psycopg.AsyncConnection.connect(**self._arguments)
        async with connection:
            await connection.execute("SELECT 1")

    def statistics(self) -> dict[str, int]:
        return self._pool.get_stats()

    async def _ask(self, query: str, parameters: dict[str, Any] | None = None) -> Answer:
        async with self._connection() as connection:
            cursor = await connection.execute(query.encode(), parameters)
            return Answer(connection.info.user, await cursor.fetchall())

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        connection = await self._living()
        try:
            yield connection
        finally:
            await self._pool.putconn(connection)

    async def _living(self) -> Connection:
        """A connection that answers, so that a restarted server costs no request.

        The pool's own `check` waits 1, 2, 4 seconds between the dead connections that it finds:
        with a few of them the first requests after a restart would still fail.
        """
        for _ in range(self._pool.max_size + 1):
            connection = await self._pool.getconn()
            try:
                await AsyncConnectionPool.check_connection(connection)
            except BaseException as error:
                await self._pool.putconn(connection)  # which replaces it when it is dead
                if not isinstance(error, psycopg.OperationalError):
                    raise
            else:
                return connection
        raise psycopg.OperationalError("the pool has no connection that answers")


class Readiness:
    """A pool looks healthy until it needs a new connection, so a fresh login is tried as well:
    every `login_seconds`, and after a refusal each time until it succeeds.

    Once it has read a table it only pings, so that it is no use of the database for its own sake.
    `warm_up`: seconds from the start for which it is not ready, like an application that is slow.
    """

    def __init__(self, database: Database, login_seconds: float, warm_up: float = 0) -> None:
        self._database = database
        self._login_seconds = login_seconds
        self._warm = time.monotonic() + warm_up
        self._next_login = 0.0
        self._has_read = False
        self._one_at_a_time = asyncio.Lock()

    async def complaint(self) -> str | None:
        """Why the workload is not ready; None when it is. Takes seconds at the most."""
        if time.monotonic() < self._warm:
            return "warming up"
        try:
            async with self._one_at_a_time:
                await self._log_in_when_due()
            if self._has_read:
                await self._database.ping()
            else:
                await self._database.newest()
                self._has_read = True
        except psycopg.OperationalError as error:
            return str(error)
        return None

    async def _log_in_when_due(self) -> None:
        if time.monotonic() < self._next_login:
            return
        self._next_login = 0.0
        await self._database.log_in()
        self._next_login = time.monotonic() + self._login_seconds
