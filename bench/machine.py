"""The machine that was measured on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from local.stack import Stack

PACKAGES = ("azure-functions-durable", "kubernetes", "psycopg")


def describe(stack: Stack) -> dict[str, Any]:
    with psycopg.connect(stack.owner.dsn()) as connection:
        server = connection.info.server_version
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor(Path("/proc/cpuinfo").read_text(encoding="utf-8")),
        "python": platform.python_version(),
        "postgresql": f"{server // 10000}.{server % 10000}",
        "packages": {name: version(name) for name in PACKAGES},
        # Others at work on the same cores make everything slower: 1.0 a core is a busy machine.
        "load": round(os.getloadavg()[0], 1),
    }


def processor(cpuinfo: str) -> str:
    """The name of the first processor; of some architectures there is none."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()
