"""PgBouncer, Debian's, in front of a PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from local.postgres.server import DROP_ROOT, ENVIRONMENT
from local.process import die_with_parent, free_port, wait_until
from local.storage import private_directory, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FOUND = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


class PgBouncer:
    """A pooler on 127.0.0.1. `settings` are those of its section [pgbouncer], by name.

    `users` is what stands in its userlist.txt: passwords or verifiers, by role.
    """

    def __init__(
        self, folder: Path, databases: str, settings: Mapping[str, str], users: Mapping[str, str]
    ) -> None:
        self.folder = private_directory(folder)
        self.port = free_port()
        self.log = folder / "pgbouncer.log"
        self._databases = databases
        self._settings = settings
        self.write_users(users)

    def write_users(self, users: Mapping[str, str]) -> None:
        lines = [f'"{role}" "{word}"\n' for role, word in users.items()]
        write_private(self.folder / "userlist.txt", "".join(lines).encode())

    @contextmanager
    def reloaded(self) -> Iterator[None]:
        """Waits until it has read its files again, as something in here makes it do."""
        said = self._said("got SIGHUP")
        yield
        wait_until(lambda: self._said("got SIGHUP") > said, 10, "the reload")

    def reload(self) -> None:
        with self.reloaded():
            self._process.send_signal(signal.SIGHUP)

    def __enter__(self) -> Self:
        assert FOUND is not None
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_file": str(self.folder / "userlist.txt"),
            **self._settings,
        }
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        file = self.folder / "pgbouncer.ini"
        text = f"[databases]\n{self._databases}\n[pgbouncer]\n{''.join(lines)}"
        write_private(file, text.encode())
        dropped = ["setpriv", *DROP_ROOT, "--"] if os.geteuid() == 0 else []
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - argv is made here
                [*dropped, FOUND, str(file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=ENVIRONMENT,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - prctl only, no locks taken
            )
        try:
            wait_until(self._listens, 15, "the start of PgBouncer")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def _listens(self) -> bool:
        assert self._process.poll() is None, self.log.read_text(encoding="utf-8")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _said(self, words: str) -> int:
        return self.log.read_text(encoding="utf-8").count(words)
