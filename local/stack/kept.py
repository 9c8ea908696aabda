"""What a stack keeps of itself in its directory: a second start there goes on where the first
ended, with the same keys, and on the same ports if they are free."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Self

from local.process import StartError, free_port
from local.storage import private_directory, write_private
from rotation import __version__

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

FILE, LOCK = "stack.json", "stack.lock"


@dataclass
class Facts:
    """The content of the file. `ready`: the world was made, and everything has run once.

    `credentials` is the path of somebody's own credentials.yaml, in the place of the stack's.
    """

    version: str
    world: str
    engine: str
    keys: dict[str, str]
    ports: dict[str, int] = field(default_factory=dict)
    credentials: str | None = None
    ready: bool = False


@dataclass(frozen=True)
class Moved:
    """A component whose port was taken meanwhile."""

    name: str
    before: int
    now: int

    def __str__(self) -> str:
        return (
            f"port {self.before} of {self.name} is taken by another program; it is {self.now} now"
        )


class Kept:
    """The facts of a directory that nobody else uses for as long as this one is not released."""

    def __init__(self, directory: Path, facts: Facts, lock: BinaryIO) -> None:
        self.facts = facts
        self.moved: list[Moved] = []
        self.patience = 10.0  # seconds: what a killed stack had started takes a moment to end
        self._given: set[str] = set()
        self._path = directory / FILE
        self._lock = lock

    @classmethod
    def claim(cls, directory: Path, world: str, engine: str, keys: dict[str, str]) -> Self:
        """Takes the directory, new or of a stack like this one, for this process.

        `keys` are those of a new one. Raises `StartError` that says why it cannot be used.
        """
        known = refuse(directory, world, engine)
        lock = _locked(private_directory(directory) / LOCK)
        kept = cls(directory, known or Facts(__version__, world, engine, keys), lock)
        kept.save()
        return kept

    def save(self) -> None:
        write_private(self._path, json.dumps(asdict(self.facts), indent=2).encode())

    def port(self, name: str) -> int:
        """The port of a component: the one that it had, unless somebody else listens there."""
        before = self.facts.ports.get(name)
        if before is not None and (name in self._given or self._becomes_free(before)):
            self._given.add(name)
            return before
        self._given.add(name)
        self.facts.ports[name] = free_port()
        if before is not None:
            self.moved.append(Moved(name, before, self.facts.ports[name]))
        self.save()
        return self.facts.ports[name]

    def _becomes_free(self, port: int) -> bool:
        deadline = time.monotonic() + self.patience
        while not (free := _is_free(port)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return free

    def release(self) -> None:
        self._lock.close()


def known(directory: Path) -> Facts | None:
    """What the directory of a stack says; None where none was started yet."""
    path = directory / FILE
    if not path.exists():
        return None
    try:
        return Facts(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise StartError(f"{path} cannot be read: {error}; start in another directory") from error


def refuse(directory: Path, world: str, engine: str) -> Facts | None:
    """The facts of a directory in which such a stack can be started, None of a new one.

    Raises `StartError` that says why it cannot.
    """
    if directory.exists() and not directory.is_dir():
        raise StartError(f"{directory} is no directory: name one, or one that is not there yet")
    above = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise StartError(f"{directory} cannot be written to: {above} is closed to you")
    facts = known(directory) if directory.exists() else None
    if facts is None:
        if directory.exists() and {path.name for path in directory.iterdir()} - {LOCK}:
            raise StartError(f"{directory} has files that are no stack's: name an empty directory")
        return None
    other = "start in another directory, or remove this one"
    for what, was, now in (
        ("version", facts.version, __version__),
        ("world", facts.world, world),
        ("engine", facts.engine, engine),
    ):
        if was != now:
            raise StartError(f"{directory} has a stack of {what} {was!r}, this is {now!r}: {other}")
    if not facts.ready:
        raise StartError(f"{directory} has a stack whose first start was cut off: {other}")
    return facts


def _locked(path: Path) -> BinaryIO:
    """The open file, locked until it is closed, or this process has ended however it did."""
    lock = path.open("a+b")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        who = lock.read().decode() or "another one"
        lock.close()
        text = f"{path.parent} is in use by a stack that runs (process {who}): end that one first"
        raise StartError(text) from error
    lock.truncate(0)
    lock.write(str(os.getpid()).encode())
    lock.flush()
    return lock


def _is_free(port: int) -> bool:
    """Whether nobody listens there; connections of the last time that fade away do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
