"""Runs of the simulation a second, as `make simulate` makes them."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

from bench.screen import say
from local.process import ROOT


def measure(*, runs: int) -> dict[str, Any]:
    """The runs of the simulation a second; `said` is its last line, which counts the violations.

    Raises `RuntimeError` if there are.
    """
    say(f"simulating {runs} runs")
    command = [sys.executable, "-m", "tests.simulation", "--runs", str(runs), "--seed", "1"]
    began = time.perf_counter()
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - argv is written here
    seconds = time.perf_counter() - began
    if ended.returncode or not ended.stdout:
        raise RuntimeError(
            f"`{' '.join(command[1:])}` ended with {ended.returncode}: "
            f"{ended.stdout[-2000:]}{ended.stderr[-2000:]}"
        )
    return {"runs_a_second": round(runs / seconds, 1), "said": ended.stdout.splitlines()[-1]}
