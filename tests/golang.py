"""Programs that tests run, built from their Go modules: once, and kept.

What was made is below $XDG_CACHE_HOME/credential-rotation (~/.cache), under a name that changes
with go.mod, go.sum and the Go release.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from local.storage import locked


class BuildError(RuntimeError):
    """What the Go command said is in it."""


@dataclass(frozen=True)
class Programs:
    """`source` is the folder of go.mod and go.sum, which require `module`. `packages` are by the
    program that each makes; `flags` are those of `go build`, where `{version}` is the module's;
    `needs` says how long it takes, on two cores."""

    title: str
    name: str
    source: Path
    module: str
    packages: dict[str, str]
    flags: tuple[str, ...]
    needs: str

    @property
    def version(self) -> str:
        """Of the module, from go.mod: `v1.35.4`. Raises `BuildError`."""
        text = (self.source / "go.mod").read_text(encoding="utf-8")
        found = re.search(rf"^(?:require)?\s*{re.escape(self.module)} (v\S+)", text, re.MULTILINE)
        if found is None:
            raise BuildError(f"{self.source / 'go.mod'} requires no {self.module}")
        return found[1]

    def folder(self, go: str) -> Path:
        """Where they are, or would be."""
        release = self._run([go, "env", "GOVERSION", "GOOS", "GOARCH"])
        content = [(self.source / name).read_bytes() for name in ("go.mod", "go.sum")]
        fingerprint = hashlib.sha256(b"\0".join([release.encode(), *content])).hexdigest()[:12]
        return root() / f"{self.name}-{self.version}-{fingerprint}"

    def kept(self, go: str) -> Path | None:
        """The folder, if they have been built."""
        folder = self.folder(go)
        return folder if all((folder / name).exists() for name in self.packages) else None

    def built(self, go: str) -> Path:
        """The folder, once they are there. Raises `BuildError`."""
        folder = self.folder(go)
        with locked(root()):
            if self.kept(go) is None:
                told = f"building {self.title} {self.version} (once, {self.needs})"
                print(told, file=sys.stderr)  # noqa: T201 - a command's progress
                with tempfile.TemporaryDirectory(dir=root()) as made:
                    self._compile(go, Path(made))
                    folder.mkdir(exist_ok=True)
                    for name in self.packages:
                        (Path(made) / name).replace(folder / name)
        return folder

    def _compile(self, go: str, folder: Path) -> None:
        flags = [flag.format(version=self.version) for flag in self.flags]
        for name, package in self.packages.items():
            output = ["-o", str(folder / name), package]
            self._run([go, "build", "-mod=readonly", "-trimpath", *flags, *output])

    def _run(self, command: list[str]) -> str:
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
        done = subprocess.run(  # noqa: S603 - this module's own arguments
            command, cwd=self.source, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BuildError(f"{' '.join(command[:2])} failed:\n{done.stderr[-4000:]}")
        return done.stdout


def root() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "credential-rotation"


def command(programs: Programs, prog: str, description: str | None, left_out: str) -> None:
    """The command line of a module that builds: prints the folder."""
    parser = argparse.ArgumentParser(prog=f"python -m {prog}", description=description)
    parser.add_argument("--optional", action="store_true", help="no Go is no failure")
    options = parser.parse_args()
    go = shutil.which("go")
    if go is None:
        sys.stderr.write(f"no Go here: {left_out} are left out\n")
        sys.exit(0 if options.optional else 1)
    try:
        folder = programs.built(go)
    except BuildError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{folder}\n")
