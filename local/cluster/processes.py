"""One container's process: its own session, its output in a file, gone when the cluster is."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from typing import TYPE_CHECKING

from local.process import PR_SET_PDEATHSIG

if TYPE_CHECKING:
    from pathlib import Path

_LIBC = ctypes.CDLL(None)  # loaded here, since a forked child must not take the loader's lock


def _die_with_parent() -> None:
    # Tied to the thread that spawned it, which is the event loop's: the cluster's main thread.
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, argv: list[str], env: dict[str, str], cwd: Path, log: Path) -> Process:
        """Raises OSError when there is nothing to run."""
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env=env,
                cwd=cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> int:
        """The exit code as Kubernetes gives it: 128 and the signal's number for a signal."""
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    def terminate(self) -> None:
        if self.running:
            self._process.terminate()

    def kill(self) -> None:
        """Ends the whole session, so that no child of the process stays behind."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


async def run_command(
    argv: list[str], env: dict[str, str], cwd: Path, log: Path, seconds: float
) -> int | None:
    """Runs something to its end; None when it took too long and was killed."""
    process = await Process.start(argv, env, cwd, log)
    try:
        return await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        return None
    finally:
        if process.running:
            process.kill()
            await process.wait()
