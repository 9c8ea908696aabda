"""The contract tests, run by themselves against a server that is not theirs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

from local.process import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

ALL = 300.0  # seconds that one file may take
COUNTED = re.compile(r"(\d+) (passed|failed|skipped|errors?)")

# What is left is not removed: sessions that end side by side would look at each other's links.
OPTIONS = ["-q", "-p", "no:cacheprovider", "-o", "tmp_path_retention_policy=all"]


class Outcome(NamedTuple):
    """How many tests passed, and how many were left out."""

    passed: int
    skipped: int


def run(tests: str, variables: Mapping[str, str], *arguments: str) -> Outcome:
    """Runs a file of tests with these variables. Fails with its output unless all is well."""
    done = subprocess.run(  # noqa: S603 - pytest, on tests of this repository
        [sys.executable, "-m", "pytest", tests, *OPTIONS, *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=ALL,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    last = done.stdout.strip().rpartition("\n")[2]
    counted = {what: int(number) for number, what in COUNTED.findall(last)}
    return Outcome(counted.get("passed", 0), counted.get("skipped", 0))
