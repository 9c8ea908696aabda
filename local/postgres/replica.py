"""A read replica of a PostgreSQL server: a copy of it that replays whatever is written there."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import psycopg

from local.postgres.server import ADMIN, ENVIRONMENT, Postgres
from local.process import StartError, wait_until
from local.storage import write_private

if TYPE_CHECKING:
    from pathlib import Path


class Replica(Postgres):
    """A physical streaming replica, of a server that runs and is `replicated`.

    Roles and passwords are the server's, the administrator's too. Replay can be held up, as it is
    where the network or a long query on the replica is slow.
    """

    def __init__(self, directory: Path, of: Postgres, port: int | None = None) -> None:
        super().__init__(directory, port, binaries=of.binaries, tls=of.tls, replicated=True)
        self.of = of

    def hold(self) -> None:
        """Replays nothing more until `release`."""
        self._tell("SELECT pg_catalog.pg_wal_replay_pause()")
        state = "SELECT pg_catalog.pg_get_wal_replay_pause_state()"
        wait_until(lambda: self._tell(state) == "paused", 10, f"{self!r} holding its replay")

    def release(self) -> None:
        """Replays again. Returns once it has all that the server has written by now."""
        self._tell("SELECT pg_catalog.pg_wal_replay_resume()")
        written = _asked(self.of, "SELECT pg_catalog.pg_current_wal_flush_lsn()")
        replayed = f"SELECT pg_catalog.pg_last_wal_replay_lsn() >= '{written}'"
        wait_until(lambda: self._tell(replayed) is True, 20, f"{self!r} replaying up to {written}")

    def _tell(self, statement: str) -> object:
        return _asked(self, statement)

    def _make_password(self) -> None:
        write_private(self.password_file, self.of.admin_password.encode())

    def _initdb(self, directory: Path) -> None:
        """Copies the server's data, with a note of where to go on reading what it writes."""
        options = ["-h", "127.0.0.1", "-p", self.of.port, "-U", ADMIN, "--checkpoint=fast", "-R"]
        done = subprocess.run(  # noqa: S603 - argv is made here
            self._as_server(
                self.binaries / "pg_basebackup", "-D", directory, "--no-sync", *map(str, options)
            ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**ENVIRONMENT, "PGPASSWORD": self.of.admin_password},
            check=False,
            timeout=60,
        )
        if done.returncode != 0:
            shutil.rmtree(directory, ignore_errors=True)
            raise StartError(f"pg_basebackup failed in {directory}: {done.stderr.strip()}")


def _asked(server: Postgres, statement: str) -> object:
    """The one value that the server answers to a statement of its administrator."""
    with psycopg.connect(server.admin_conninfo, autocommit=True) as connection:
        row = connection.execute(statement.encode()).fetchone()
    return row[0] if row else None
