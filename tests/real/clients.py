"""Drivers of other languages, as a program each that logs in with the values it is given.

Their packages come from the registries of npm, Go and Maven in the versions that drivers/ pins, and
what is made of them is kept in .drivers/, under a name that changes with those files.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from local.process import ROOT, die_with_parent
from local.storage import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SOURCES = Path(__file__).with_name("drivers")
KEPT = ROOT / ".drivers"
LONGEST = 360.0  # seconds for one command of a package's client
PGJDBC = "org.postgresql:postgresql:42.7.13"
PGJDBC_SHA256 = "6e0e4cc2d8cae902084f8a2b18728b073a6fd9d1f87c9d8bff8f298c18185b93"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy"


class NotHereError(Exception):
    """A sentence on what of a driver is not to be had here."""


class Answer(NamedTuple):
    """Who a driver is on the server, and what its session has; or only what the driver says."""

    role: str = ""
    application: str = ""
    search_path: str = ""
    tls: bool = False
    error: str | None = None


@dataclass(frozen=True)
class Client:
    """A program that logs in with each value it is given; `command` starts it."""

    command: tuple[str, ...]

    def login(self, values: Sequence[str]) -> list[Answer]:
        """One answer for each value. The values go through a pipe."""
        lines = [base64.b64encode(value.encode()).decode() + "\n" for value in values]
        # libpq's variables and files, which some of the drivers read too, are somebody else's.
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        done = subprocess.run(  # noqa: S603 - a program of this repository
            self.command,
            input="".join(lines),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**kept, "HOME": "/nonexistent"},
            preexec_fn=die_with_parent,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        answers = [_answer(line) for line in done.stdout.splitlines()]
        assert len(answers) == len(values), done.stderr[-2000:]
        return answers


def _answer(line: str) -> Answer:
    result, *encoded = line.split("\t")
    words = [base64.b64decode(word).decode() for word in encoded]
    if result == "error":
        return Answer(error=words[0])
    role, application, search_path, tls = words
    return Answer(role, application, search_path, tls=tls == "true")


def node() -> Client:
    """node-postgres. Raises `NotHereError`."""
    npm, program = _tool("npm"), _tool("node")
    source = SOURCES / "node"
    pinned = [source / "package.json", source / "package-lock.json"]

    def make(folder: Path) -> None:
        for file in pinned:
            shutil.copy(file, folder)
        _fetch("node-postgres", [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)

    folder = _made("node", pinned, make)
    return Client((program, str(source / "client.js"), str(folder)))


def pgx() -> Client:
    """pgx. Raises `NotHereError`."""
    go = _tool("go")
    source = SOURCES / "go"

    def make(folder: Path) -> None:
        _fetch("pgx", [go, "mod", "download"], source)
        program = str(folder / "client")
        _run([go, "build", "-mod=readonly", "-trimpath", "-o", program, "."], source)

    folder = _made("pgx", sorted(source.iterdir()), make)
    return Client((str(folder / "client"),))


def pgjdbc() -> Client:
    """pgjdbc. Raises `NotHereError`."""
    java, compiler, maven = _tool("java"), _tool("javac"), _tool("mvn")
    source = SOURCES / "java" / "Client.java"
    jar = "postgresql-{}.jar".format(PGJDBC.rpartition(":")[2])

    def make(folder: Path) -> None:
        copy = [maven, "-B", "-q", COPY, f"-Dartifact={PGJDBC}", f"-DoutputDirectory={folder}"]
        _fetch("pgjdbc", copy, folder)
        found = hashlib.sha256((folder / jar).read_bytes()).hexdigest()
        assert found == PGJDBC_SHA256, f"{jar} is another than the one that is pinned: {found}"
        _run([compiler, "-d", str(folder), str(source)], folder)

    folder = _made("pgjdbc", [source, Path(__file__)], make)
    path = f"{folder / jar}{os.pathsep}{folder}"
    return Client((java, "-XX:TieredStopAtLevel=1", "-cp", path, "Client"))


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise NotHereError(f"no `{name}` here")
    return found


def _made(name: str, sources: Sequence[Path], make: Callable[[Path], None]) -> Path:
    """The folder of what is made of these files; made unless it is there whole."""
    content = b"\0".join(file.read_bytes() for file in sources)
    folder = KEPT / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"
    with locked(KEPT / name):
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            (folder / "ready").touch()
    return folder


def _fetch(driver: str, command: list[str], folder: Path) -> None:
    """Fetches packages. Raises `NotHereError` where there is nobody to have them of; what comes
    with another checksum than the pinned one is a failure."""
    try:
        _run(command, folder)
    except subprocess.TimeoutExpired:
        raise NotHereError(f"{driver} could not be had within {LONGEST:.0f} s") from None
    except subprocess.CalledProcessError as error:
        said = f"{error.stdout}{error.stderr}"
        assert not any(sign in said for sign in ("EINTEGRITY", "checksum mismatch")), said[-2000:]
        first = (said.strip().splitlines() or ["it said nothing"])[0][:200]
        raise NotHereError(f"{driver} could not be had: {Path(command[0]).name}: {first}") from None


def _run(command: list[str], folder: Path) -> None:
    """Runs a command of a toolchain's. Raises what `subprocess.run` does."""
    subprocess.run(  # noqa: S603 - this module's own arguments
        command,
        cwd=folder,
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=True,
        timeout=LONGEST,
    )
