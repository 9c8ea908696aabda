"""One PostgreSQL server: SCRAM passwords over TCP on 127.0.0.1, no socket file.

PostgreSQL refuses to run as root, so root starts it as `nobody`, the one account that exists
everywhere. That account alone could enter neither a state directory nor a virtual environment
below a directory that is closed to others (a home, pytest's temporary directories), and copying
both elsewhere would leave things behind. So the server keeps one of root's rights,
CAP_DAC_OVERRIDE, and no file has to move or to change hands. It can then read what root can; only
the holder of the generated administrator password could make it do so.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, BinaryIO, Self

import psutil
from psycopg.conninfo import make_conninfo

from local.postgres.installations import default_binaries
from local.process import StartError, free_port, wait_until
from local.storage import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from local.tls import ServerCertificate

ADMIN = "postgres"
NOBODY = "65534"
DROP_ROOT = [
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
]
# The child's whole environment: nothing of the starter's (PG*, secrets) gets in.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",  # below the data directory, not in /dev/shm
    "password_encryption": "scram-sha-256",
    "log_statement": "ddl",
    "log_connections": "on",
    "log_line_prefix": "%m [%p] %q%u@%d %a ",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
ACCEPTING = ("ready", "standby")  # in the lock file; the second one reads only
# What read replicas of it need.
REPLICATED = {"wal_level": "replica", "max_wal_senders": "4"}
# What was committed survives a crash of the server, though not one of the machine.
FAST = {"fsync": "off", "full_page_writes": "off"}


class Postgres:
    """A server whose data, administrator password (0600) and log live below `directory`.

    The kernel ends the server when the thread that started it ends (PR_SET_PDEATHSIG), so start
    it from one that lives on. With `tls`, connections without it are refused, as on Azure.
    `replicated`: it can have read replicas (`local.postgres.replica`).
    `durable` writes survive a crash of the machine too. After `stop` or `kill`, `start` serves the
    same data on the same port.
    """

    def __init__(
        self,
        directory: Path,
        port: int | None = None,
        *,
        binaries: Path | None = None,
        tls: ServerCertificate | None = None,
        durable: bool = False,
        replicated: bool = False,
    ) -> None:
        self.directory = directory.absolute()
        self.port = port or free_port()
        self.binaries = binaries or default_binaries()
        self.tls = tls
        self.replicated = replicated
        self.settings = {
            **SETTINGS,
            **({} if durable else FAST),
            **(REPLICATED if replicated else {}),
        }
        self.data = self.directory / "data"
        self.log = self.directory / "postgres.log"
        self.password_file = self.directory / "admin-password"
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<Postgres on 127.0.0.1:{self.port} in {self.directory}>"

    @property
    def admin_password(self) -> str:
        return self.password_file.read_text()

    @property
    def admin_conninfo(self) -> str:
        """Holds the password: for `psycopg.connect`, never for a log."""
        return self.conninfo(ADMIN, self.admin_password)

    def conninfo(self, role: str, password: str, database: str = "postgres") -> str:
        return make_conninfo(
            host="127.0.0.1", port=self.port, user=role, password=password, dbname=database
        )

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Returns once it accepts connections. Raises `StartError` with the server's last words."""
        if self.alive:
            raise StartError(f"{self!r} is running already")
        self._initialise()
        start_of_log = self.log.stat().st_size if self.log.exists() else 0
        with _append_private(self.log) as log:
            self._process = subprocess.Popen(  # noqa: S603 - argv is made here
                self._as_server(self.binaries / "postgres", "-D", self.data, *self._options()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=ENVIRONMENT,
            )
        try:
            wait_until(lambda: self._ready(start_of_log), 30, f"{self!r} accepting connections")
        except TimeoutError as error:
            self.kill()
            raise StartError(f"{error}; see {self.log}") from error
        return self

    def stop(self) -> None:
        """Ends sessions and server (SIGINT); when that takes too long, more and more harshly."""
        if self._process is None:
            return
        for gentle in (signal.SIGINT, signal.SIGQUIT):
            self._process.send_signal(gentle)
            try:
                self._process.wait(10)
                break
            except subprocess.TimeoutExpired:
                continue
        else:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """SIGKILL to the server and its backends, as a crash would. `start` recovers."""
        process = self._running()
        backends = psutil.Process(process.pid).children() if self.alive else []
        process.kill()
        process.wait()
        for backend in backends:
            try:
                backend.kill()
            except psutil.NoSuchProcess:
                continue  # it noticed by itself that the server died
        wait_until(
            lambda: not any(map(_runs, backends)), 10, f"the end of the backends of {self!r}"
        )
        self._process = None
        self._remove_shared_memory()

    def __enter__(self) -> Self:
        return self if self.alive else self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise StartError(f"{self!r} is not running: start it first")
        return self._process

    def _initialise(self) -> None:
        """Makes the data directory, once. One that a crash left half made is made anew."""
        if self.data.exists():
            return
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._make_password()
        unfinished = self.directory / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._initdb(unfinished)
        unfinished.rename(self.data)

    def _make_password(self) -> None:
        write_private(self.password_file, secrets.token_urlsafe(24).encode())

    def _initdb(self, directory: Path) -> None:
        options = ["--auth=scram-sha-256", f"--username={ADMIN}", f"--pwfile={self.password_file}"]
        options += ["--encoding=UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(  # noqa: S603 - argv is made here
            self._as_server(self.binaries / "initdb", "-D", directory, *options),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            check=False,
            timeout=60,
        )
        if done.returncode != 0:
            raise StartError(f"initdb failed in {directory}: {done.stderr.strip()}")

    def _as_server(self, *command: str | Path) -> list[str]:
        """The command, run by an account that PostgreSQL accepts and ended with its starter."""
        dropped = DROP_ROOT if os.geteuid() == 0 else []
        return ["setpriv", "--pdeathsig=INT", *dropped, "--", *map(str, command)]

    def _options(self) -> list[str]:
        settings = {**self.settings, "port": str(self.port), "hba_file": str(self._write_hba())}
        if self.tls:
            settings |= {
                "ssl": "on",
                "ssl_cert_file": str(self.tls.certificate.absolute()),
                "ssl_key_file": str(self.tls.key.absolute()),
            }
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _write_hba(self) -> Path:
        path = self.directory / "pg_hba.conf"
        kind = "hostssl" if self.tls else "host"
        databases = "all,replication" if self.replicated else "all"
        path.write_text(f"{kind} {databases} all 127.0.0.0/8 scram-sha-256\n")
        return path

    def _ready(self, start_of_log: int) -> bool:
        """Reads the status that the server keeps in its lock file, as pg_ctl does."""
        process = self._running()
        if process.poll() is not None:
            self._process = None
            raise StartError(f"{self!r} ended at once: {self._complaints(start_of_log)}")
        lock = self._lock_file()
        return len(lock) >= 8 and lock[0] == str(process.pid) and lock[7] in ACCEPTING

    def _complaints(self, start_of_log: int) -> str:
        lines = self.log.read_bytes()[start_of_log:].decode(errors="replace").splitlines()
        telling = ("FATAL", "DETAIL", "setpriv")
        fatal = [line for line in lines if any(word in line for word in telling)]
        return " / ".join(fatal or lines[-3:]) or f"it said nothing in {self.log}"

    def _lock_file(self) -> list[str]:
        path = self.data / "postmaster.pid"
        return [line.strip() for line in path.read_text().splitlines()] if path.exists() else []

    def _remove_shared_memory(self) -> None:
        """Takes away the System V segment that only a server ended by SIGKILL leaves behind."""
        lock = self._lock_file()
        if len(lock) < 7 or not lock[6]:
            return
        segment = int(lock[6].split()[1])
        libc = ctypes.CDLL(None, use_errno=True)
        remove = 0  # IPC_RMID
        if libc.shmctl(segment, remove, None) == -1 and ctypes.get_errno() != errno.EINVAL:
            raise OSError(ctypes.get_errno(), f"cannot remove shared memory segment {segment}")


def _runs(process: psutil.Process) -> bool:
    """Whether a process runs; false for a zombie too: how soon its new parent reaps it is of no
    interest here."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _append_private(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
