"""The folder in which somebody follows the guide: its programs, and its files with the addresses of
this machine."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from typing import TYPE_CHECKING, Any

import yaml

from local.practice import guide
from local.practice.one_slot import localised
from local.process import ROOT
from local.storage import private_directory

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from local.practice.one_slot import OneSlot

BASH = shutil.which("bash") or "bash"
REAL = ("kubectl", "psql")  # of which there may be real ones: they go to this machine's servers


def missing() -> set[str]:
    """The programs that the guide's commands call and this machine does not have. There is no `az`
    that knows this machine's vault."""
    return {"az", *(name for name in REAL if shutil.which(name) is None)}


def lay(stack: OneSlot, folder: Path, stand_ins: Collection[str]) -> None:
    """Makes the folder with all that the guide's commands need but its files."""
    programs = private_directory(folder / "bin")
    if not (folder / "infra").is_symlink():
        (folder / "infra").symlink_to(ROOT / "infra")
    root = f"export PYTHONPATH={shlex.quote(str(ROOT))}"
    python = shlex.quote(sys.executable)
    vault = shlex.quote(json.dumps(stack.vault_for_stand_ins()))
    for name in stand_ins:
        call = f"{python} -m local.practice.stand_ins {name}"
        _program(programs / name, call, f"{root} STAND_IN_VAULT={vault}")
    if "kubectl" not in stand_ins:
        # The local API publishes no schemas to validate with.
        only = 'case " $* " in *" apply "*) set -- "$@" --validate=false;; esac'
        _program(programs / "kubectl", shlex.quote(str(shutil.which("kubectl"))), only)
    # No link: behind one, an interpreter may not find the packages of its environment.
    _program(programs / "python", python, root)


def _program(path: Path, call: str, before: str) -> None:
    path.write_text(f'#!{BASH}\n{before}\nexec {call} "$@"\n', encoding="utf-8")
    path.chmod(0o700)


def write(stack: OneSlot, folder: Path) -> None:
    """Lays the guide's files into the folder; those that are there stay as somebody made them."""
    for step in guide.steps():
        if isinstance(step, guide.File) and not (folder / step.name).exists():
            (folder / step.name).write_text(text(stack, step), encoding="utf-8")


def text(stack: OneSlot, file: guide.File) -> str:
    """A file of the guide with this machine's values where an environment has its own."""
    if file.name == "credentials.yaml":
        found: list[dict[str, Any]] = [stack.own_values(file.text)]
    else:
        found = localised(stack, file.text)
    return yaml.safe_dump_all(found, sort_keys=False)


def exports(stack: OneSlot, folder: Path) -> str:
    """Lines for a shell, in the place of those that the guide begins with."""
    quoted = {name: shlex.quote(value) for name, value in stack.variables().items()}
    path = f"{shlex.quote(str(folder / 'bin'))}{os.pathsep}"
    return "\n".join(
        [
            f"cd {shlex.quote(str(folder))}",
            *(f"export {name}={value}" for name, value in quoted.items()),
            f'export PATH={path}"$PATH"',
            "unset PGSSLROOTCERT PGPASSWORD PGSERVICE",
        ]
    )
