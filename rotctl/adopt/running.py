"""Runs the scripts of moves: in their folder, with its database, without a terminal."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rotctl.adopt.shell import PASSING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import IO

BASH = "bash"
LONGEST = 1200.0  # seconds; the longest wait of a script is 5 minutes, and some have two
GRACE = 5.0  # seconds from SIGTERM to SIGKILL
KEPT = 200  # lines of what a script says
CUT = 124  # of a script that took too long, as `timeout` has it
TOOLS = ("psql", "kubectl", "az", "openssl", "rotctl", "helm", "base64", "cmp")
# What these say when the other side is away, or cannot answer now: nothing is known then.
PASSING_FAULTS = re.compile(
    r"could not connect|connection to server .* failed: (?!.*FATAL)|server closed the connection"
    r"|could not translate host name|terminating connection|the database system is"
    r"|unable to connect to the server|connection refused|connection reset|connection timed out"
    r"|i/o timeout|TLS handshake timeout|no route to host|no such host|net/http"
    r"|unexpected EOF|http2: |etcdserver|serviceunavailable|service unavailable"
    r"|internal error occurred|remaining connection slots|too many clients"
    r"|too many requests|the server is currently unable|max retries exceeded"
    r"|failed to establish a new connection|name or service not known|remote end closed"
    r"|cannot be reached",
    re.IGNORECASE,
)
# When whoever runs them may not ask, or has not signed in.
DENIED = re.compile(r"\(Forbidden\)|Unauthorized|must be logged in|az login|AADSTS")
SECRET = re.compile(r"PASSWORD|KEY|SECRET|TOKEN")


@dataclass(frozen=True)
class Said:
    """What a script ended with: its exit code, what it answered, and all that it said, without
    passwords."""

    code: int
    out: str
    lines: tuple[str, ...]

    @property
    def passing(self) -> bool:
        """Whether it could not ask, rather than was refused."""
        said = any(PASSING_FAULTS.search(one) for one in self.lines)
        return self.code == CUT or (self.code != 0 and said)

    @property
    def denied(self) -> bool:
        return self.code != 0 and any(DENIED.search(one) for one in self.lines)


class Runs(Protocol):
    def __call__(self, script: str, heard: Callable[[str], None]) -> Said: ...


class Runner:
    """Runs one script after the other. Interrupted, it ends what runs and leaves no password.

    `first` is asked with each script's text before it runs, and may raise. `lock` is the descriptor
    of a lock that is a script's as well: it holds while one still runs whose command was killed.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        longest: float = LONGEST,
        *,
        lock: int | None = None,
        first: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder, self.environment, self.longest = folder, environment, longest
        self.locks = () if lock is None else (lock,)
        self.first = first
        self.tidy()  # what one had left that was killed

    def __call__(self, script: str, heard: Callable[[str], None]) -> Said:
        self.first((self.folder / script).read_text(encoding="utf-8", errors="replace"))
        with subprocess.Popen(  # noqa: S603 - a script of the folder that was named
            [shutil.which(BASH, path=self.environment.get("PATH")) or BASH, script],
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # psql asks for a password at a terminal, if it has one
            pass_fds=self.locks,
        ) as process:
            try:
                return self._heard(process, heard)
            except BaseException:
                _end(process)
                raise
            finally:
                self.tidy()

    def _heard(self, process: subprocess.Popen[str], heard: Callable[[str], None]) -> Said:
        out: list[str] = []
        every: list[str] = []

        def listen(stream: IO[str], kept: list[list[str]]) -> None:
            for line in stream:
                plain = self._hidden(line.rstrip("\n"))
                for each in kept:
                    each.append(plain)
                heard(plain)

        assert process.stdout is not None  # noqa: S101 - as asked for above
        assert process.stderr is not None  # noqa: S101 - so too
        listeners = [
            threading.Thread(target=listen, args=(process.stdout, [out, every]), daemon=True),
            threading.Thread(target=listen, args=(process.stderr, [every]), daemon=True),
        ]
        for one in listeners:
            one.start()
        try:
            code = process.wait(self.longest)
        except subprocess.TimeoutExpired:
            _end(process)
            code = CUT
            every.append(f"it took more than {self.longest:g} s")
        for one in listeners:
            one.join(GRACE)
        return Said(code, "\n".join(out), tuple(every[-KEPT:]))

    def _hidden(self, line: str) -> str:
        """Scripts show no password. If a program does after all, nobody reads it."""
        for value in self._secrets():
            line = line.replace(value, "***")
        return "".join(sign if sign.isprintable() else " " for sign in line)

    def _secrets(self) -> list[str]:
        found = [
            value for name, value in self.environment.items()
            if SECRET.search(name) and len(value) >= 8 and not os.path.exists(value)  # noqa: PTH110 - too long a name is none
        ]  # fmt: skip
        for name in PASSING:
            try:
                value = (self.folder / name).read_text(encoding="utf-8").strip()
            except (OSError, ValueError):
                continue
            if len(value) >= 8:
                found += [value, base64.b64encode(value.encode()).decode()]
        return found

    def tidy(self) -> None:
        for name in PASSING:
            (self.folder / name).unlink(missing_ok=True)


def _end(process: subprocess.Popen[str]) -> None:
    """The script and all that it has started."""
    for how, wait in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        try:
            os.killpg(process.pid, how)
        except (ProcessLookupError, PermissionError):  # macOS says the latter of one that has ended
            return
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            continue


def environment(
    of: Mapping[str, str], database: Mapping[str, str], *, last: bool
) -> dict[str, str]:
    """The person's own, with the folder's database in it, and nothing that leads elsewhere."""
    made = {k: v for k, v in of.items() if k not in {"PGSERVICE", "PGHOSTADDR", "BASH_ENV", "LAST"}}
    made |= database
    if not {"PGSSLMODE", "PGSSLROOTCERT"} & made.keys():
        made |= {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "system"}
    made.setdefault("PGCONNECT_TIMEOUT", "20")
    made["LANGUAGE"] = "en"  # what programs say is read, whatever the person's language
    # This very `rotctl`, if no other one is found.
    made["PATH"] = os.pathsep.join((made.get("PATH", os.defpath), str(Path(sys.executable).parent)))
    return {**made, "LAST": "1"} if last else made


def tools(texts: list[str], path: str) -> list[str]:
    """The programs that scripts call and that are not there."""
    lines = [line for text in texts for line in text.splitlines()]
    every = "\n".join(line for line in lines if not line.startswith("#"))
    called = [one for one in TOOLS if re.search(rf"(?:^|[\s(|{{]){one}\s", every)]
    return [one for one in (BASH, *called) if shutil.which(one, path=path) is None]
