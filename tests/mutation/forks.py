"""Forks in which tests run, and what their ends mean."""

from __future__ import annotations

import math
import os
import resource
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from local.process import set_death_signal

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    import pytest

    Verdict = Literal["killed", "hung", "survived"]

WAIT, WAIT_FACTOR = 120.0, 5  # that tests may take: seconds, and times what they take otherwise
COMPUTE, COMPUTE_FACTOR = 10.0, 3  # the same of computing, which a busy machine makes no longer
TIMED_OUT = 90  # the exit code of a process whose test pytest-timeout has ended

# Loaded before the forks, since they take longest; none of them loads anything of the product.
HEAVY = (
    "aiohttp.web",
    "anyio.pytest_plugin",
    "azure.durable_functions",
    "azure.eventgrid",
    "azure.identity",
    "azure.keyvault.secrets",
    "hypothesis.strategies",
    "itsdangerous",
    "jinja2",
    "jwt",
    "kubernetes.client",
    "msgspec.json",
    "opentelemetry.sdk.metrics",
    "psutil",
    "psycopg",
    "pydantic",
    "schemathesis.pytest.plugin",
)


def limit_computing(seconds: float) -> None:
    """Ends this process once it has computed for longer than tests that take so long should."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    allowed = used.ru_utime + used.ru_stime + COMPUTE + COMPUTE_FACTOR * seconds
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(allowed), most))


class Ended:
    """A plugin that notes whether a test failed, and whether by pytest-timeout."""

    def __init__(self) -> None:
        self.failed = self.timed_out = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed |= report.failed
        self.timed_out |= report.failed and "Timeout (>" in report.longreprtext


class Fork:
    """A process in which `run` runs tests below a folder of its own, and exits with their code.

    `seconds` is how long they take without a fault. One that waits much longer is tried once more,
    for twice as long: the machine may have been busy. One that computes much longer hangs.
    """

    def __init__(self, run: Callable[[str], NoReturn], seconds: float) -> None:
        self._run, self._allowed, self._again = run, WAIT + WAIT_FACTOR * seconds, True
        self._start(self._allowed)

    def _start(self, allowed: float) -> None:
        self._folder = tempfile.mkdtemp(prefix="mutant-")
        self._child = os.fork()
        if self._child == 0:
            os.setpgid(0, 0)
            set_death_signal(signal.SIGKILL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nothing, stream)
            self._run(str(Path(self._folder, "tests")))
        self._deadline = time.monotonic() + allowed

    def wait(self) -> Verdict:
        """Whether a test failed, none ended in time, or all passed."""
        while (verdict := self.poll()) is None:
            time.sleep(0.02)
        return verdict

    def poll(self) -> Verdict | None:
        """As `wait`; None while it is still running."""
        ended, status = os.waitpid(self._child, os.WNOHANG)
        if not ended and time.monotonic() < self._deadline:
            return None
        if not ended:
            os.killpg(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)
        shutil.rmtree(self._folder, ignore_errors=True)
        code = os.waitstatus_to_exitcode(status) if ended else TIMED_OUT
        if code == -signal.SIGXCPU:
            return "hung"
        if code != TIMED_OUT:
            return "killed" if code else "survived"
        if not self._again:
            return "hung"
        self._again = False
        self._start(2 * self._allowed)
        return None
