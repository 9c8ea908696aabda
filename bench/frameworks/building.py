"""Builds the applications with their own tools, each once for what its sources are."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from bench.frameworks.catalogue import BUILT, SOURCES

if TYPE_CHECKING:
    from pathlib import Path

    from bench.frameworks.catalogue import Framework, Shape

PATIENCE = 900  # seconds for one build, downloads included
STAMP = "built-from"


class NotBuilt(Exception):  # noqa: N818 - what happened
    """An application that this machine cannot build, and why."""


class ToolMissing(NotBuilt):
    """A program that the build needs is not installed here."""


def build(framework: Framework) -> Path:
    """The folder of the built application. Raises `NotBuilt`."""
    missing = [tool for tool in framework.tools if shutil.which(tool) is None]
    if missing:
        raise ToolMissing(f"{framework.title} is left out: no {' and no '.join(missing)} here")
    built, sources = BUILT / framework.name, SOURCES / framework.folder
    stamp = built / STAMP
    wanted = _digest(sources)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return built
    shutil.rmtree(built, ignore_errors=True)
    if framework.copied:
        shutil.copytree(sources, built)
    else:
        built.mkdir(parents=True)
    _run(framework, [placed(part, framework) for part in framework.build])
    stamp.write_text(wanted, encoding="utf-8")
    return built


def _run(framework: Framework, argv: list[str]) -> None:
    built = BUILT / framework.name
    folder = built if framework.copied else SOURCES / framework.folder
    try:
        done = subprocess.run(  # noqa: S603 - commands of the catalogue
            argv,
            cwd=folder,
            env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotBuilt(f"{framework.title}: `{' '.join(argv)}` took over {PATIENCE} s") from error
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-20:])
        raise NotBuilt(
            f"{framework.title}: `{' '.join(argv)}` ended with {done.returncode}:\n{last}"
        )


def _digest(sources: Path) -> str:
    """A digest of the sources, and of the interpreter that packages are installed for."""
    found = hashlib.sha256(sys.version.encode())
    for path in sorted(sources.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            found.update(str(path.relative_to(sources)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def placed(text: str, framework: Framework) -> str:
    """A part of a command or an environment with this machine's folders in it."""
    for name, value in (
        ("{built}", BUILT / framework.name),
        ("{sources}", SOURCES / framework.folder),
        ("{python}", sys.executable),
    ):
        text = text.replace(name, str(value))
    return text


def command(framework: Framework, shape: Shape) -> list[str]:
    """What a pod of it runs."""
    return [placed(part, framework) for part in (*framework.run, *shape.arguments)]


def environment(framework: Framework, shape: Shape) -> dict[str, str]:
    """The variables of its pods."""
    given = {**framework.environment, **shape.environment}
    return {name: placed(value, framework) for name, value in given.items()}
