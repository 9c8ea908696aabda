"""Starts the local stack's components as child processes and ends them by their own process id.

Every component is run as `python -m local.<name> ...`, serves on 127.0.0.1, prints one JSON line
`{"event": "listening", "url": ...}` on standard output once it accepts connections, and ends
within a few seconds of SIGTERM.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG = 1
PORTS = (10240, 32000)
ROOT = Path(__file__).resolve().parent.parent


class StartError(RuntimeError):
    """A component ended, or stayed silent, before it listened."""


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nothing listened on a moment ago.

    Below the range that the kernel takes source ports from (32768 up): none of them can take it
    while its server is being started again.
    """
    for _ in range(1000):
        port = random.randint(*PORTS)  # noqa: S311 - not a secret
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise StartError(f"no free port on 127.0.0.1 between {PORTS[0]} and {PORTS[1]}")


def die_with_parent() -> None:
    """Runs in the child: the kernel ends it when its parent is gone, however that happened."""
    set_death_signal(signal.SIGTERM)


def set_death_signal(number: signal.Signals) -> None:
    """As `die_with_parent`, with another signal."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def announce(url: str, **facts: object) -> None:
    """Called by a component once it accepts connections."""
    sys.stdout.write(json.dumps({"event": "listening", "url": url, **facts}) + "\n")
    sys.stdout.flush()


class Component:
    """One child process. Its standard error goes to `log`, to be read when it fails."""

    def __init__(
        self, name: str, argv: list[str], log: Path, env: dict[str, str] | None = None
    ) -> None:
        self.name = name
        self.argv = argv
        self.log = log
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        self.facts: dict[str, object] = {}
        self.patience = 30.0  # seconds that it may take until it listens
        self.grace = 10.0  # seconds that it may take until it ends
        self._process: subprocess.Popen[str] | None = None

    @classmethod
    def module(
        cls, name: str, *args: str, log: Path, env: dict[str, str] | None = None
    ) -> Component:
        """The component `python -m local.<name> <args>`."""
        return cls(name, [sys.executable, "-m", f"local.{name}", *args], log, env)

    def start(self) -> Self:
        """Returns once it listens; `facts` then holds what it announced."""
        if self._process is not None and not self.alive:
            self._reap()  # it ended by itself: its standard output is still open
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(  # noqa: S603 - argv is this package's own
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.env,
                cwd=ROOT,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - prctl only, no locks taken
            )
        self.facts = json.loads(self._first_line(self.patience))
        return self

    def _first_line(self, timeout: float) -> str:
        process = self._running()
        assert process.stdout is not None  # noqa: S101 - PIPE was asked for
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            ready = selector.select(timeout)
        line = process.stdout.readline() if ready else ""
        if not line:
            self.stop()
            how = "ended at once" if ready else f"did not listen within {timeout:.0f} s"
            raise StartError(f"{self.name} {how}; its log {self.log} ends with:\n{self._tail()}")
        return line

    def _tail(self, lines: int = 20) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8").splitlines()[-lines:])

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise StartError(f"{self.name} was not started")
        return self._process

    @property
    def url(self) -> str:
        return str(self.facts["url"])

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, grace: float | None = None) -> None:
        """SIGTERM, then SIGKILL once `grace` seconds are over."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(self.grace if grace is None else grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self._running().kill()
        self._reap()

    def _reap(self) -> None:
        process = self._running()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def __enter__(self) -> Self:
        return self if self.alive else self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()


def wait_until(condition: Callable[[], object], timeout: float, what: str) -> None:
    """Polls a callable until it is true. Raises `TimeoutError` that names `what`."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {timeout:.0f} s")
        time.sleep(0.05)
