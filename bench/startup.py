"""Cold start: what a new process pays before it can answer, and what the service SDKs would add."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

from bench.screen import say
from local.process import ROOT

INDEX = "import function_app; function_app.app.get_functions()"
# Every module of the app, wherever it is, with what it imports at its top; and the template
# engine, which is imported inside of a function.
EVERYTHING = f"""{INDEX}
import importlib, pkgutil, jinja2, rotation
import azure.monitor.opentelemetry.exporter, opentelemetry.exporter.otlp.proto.http.metric_exporter
for module in pkgutil.walk_packages(rotation.__path__, "rotation."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
"""
PROGRAMS = {
    "python": "pass",
    "azure-functions-durable": "import azure.durable_functions",
    "the app": INDEX,
    "the app, SDKs imported at the top": EVERYTHING,
}
# Of the process itself: what a child of a large parent reports as its maximum starts at the
# parent's size.
MEASURE = """
import time; began = time.process_time()
{program}
seconds = time.process_time() - began
resident = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))
print(seconds, resident.split()[1])
"""
IMPORT = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| ( *)(\S+)")


def measure(*, rounds: int) -> dict[str, Any]:
    """The cost of a cold start, the best of several processes in turn: milliseconds of processor
    time, megabytes.

    The .pyc files are there.
    """
    say("importing the app in new processes")
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    for _ in range(rounds + 1):
        for name, program in PROGRAMS.items():
            found[name].append(_once(program))
    return {
        "programs": {
            name: {
                "ms": round(min(seconds for seconds, _ in runs[1:]) * 1e3),
                "mb": round(min(size for _, size in runs[1:]), 1),
            }
            for name, runs in found.items()
        },
        "largest": largest(_python("-X", "importtime", "-c", INDEX).stderr),
    }


def _once(program: str) -> tuple[float, float]:
    seconds, kilobytes = _python("-c", MEASURE.format(program=program)).stdout.split()
    return float(seconds), int(kilobytes) / 1024


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python. Raises `RuntimeError` with what the program wrote at its end, if it failed."""
    ended = subprocess.run(  # noqa: S603 - argv is written here
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise RuntimeError(
            f"a new process ended with {ended.returncode} while it imported the app:\n"
            f"{arguments[-1].strip()}\n{ended.stderr[-1000:]}"
        )
    return ended


def largest(report: str, count: int = 6) -> list[dict[str, Any]]:
    """The packages with the most time of their own modules, from the text of `-X importtime`."""
    own: dict[str, int] = {}
    for microseconds, _, _, module in IMPORT.findall(report):
        parts = module.split(".")
        package = ".".join(parts[: 2 if parts[0] == "azure" else 1])
        own[package] = own.get(package, 0) + int(microseconds)
    first = sorted(own.items(), key=lambda item: item[1], reverse=True)[:count]
    return [{"package": name, "ms": round(spent / 1e3, 1)} for name, spent in first]
