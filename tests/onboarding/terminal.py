"""Somebody at a terminal, who answers what a command asks."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import termios
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    Answer = Callable[[str], str]

# What `rotctl` ends with when it waits for somebody.
ASKS = re.compile(r"\[(?:q\]uit|b\]ack: lead the one before back|y/N\]):\s*$")


def yes(said: str) -> str:
    return "y"


def at_terminal(
    command: Sequence[str],
    folder: Path | str,
    env: Mapping[str, str],
    answer: Answer = yes,
    timeout: float = 300,
) -> tuple[int, str]:
    """The exit code and all that was said. `answer` is given what was said since the last time."""
    ours, theirs = pty.openpty()
    attributes = termios.tcgetattr(theirs)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    try:
        with subprocess.Popen(  # noqa: S603 - the guide's own commands
            command, cwd=folder, env=dict(env), stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True,
        ) as process:  # fmt: skip
            os.close(theirs)
            try:
                said = _answered(ours, answer, timeout)
            except BaseException:
                process.kill()
                raise
        return process.returncode, said
    finally:
        os.close(ours)


def _answered(terminal: int, answer: Answer, timeout: float) -> str:
    """Until the command's end. Raises `TimeoutError`."""
    said, since, until = "", "", time.monotonic() + timeout
    while select.select([terminal], [], [], max(0, until - time.monotonic()))[0]:
        try:
            read = os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # nobody has the other end any more
            return said
        if not read:
            return said
        said, since = said + read, since + read
        if ASKS.search(since):
            os.write(terminal, f"{answer(since)}\n".encode())
            since = ""
    raise TimeoutError(f"it did not end within {timeout:g} s: {said}")
