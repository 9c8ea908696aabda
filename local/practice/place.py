"""The folder in which somebody follows the guide: programs that find this machine's servers."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from typing import TYPE_CHECKING

from local import world
from local.process import ROOT
from local.storage import private_directory

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from local.practice.one_slot import OneSlot

BASH = shutil.which("bash") or "bash"
STAND_INS = {"az"}  # there is none that knows this machine's vault
REAL = ("kubectl", "psql", "openssl")  # which go to this machine's servers
FOLDER = "two-slots"  # where `rotctl adopt` writes unless told otherwise


def missing() -> list[str]:
    """The programs that the guide's commands call, and that this machine does not have."""
    return [name for name in REAL if shutil.which(name) is None]


def lay(stack: OneSlot, folder: Path, stand_ins: Collection[str]) -> None:
    """Makes the folder with all that the guide's commands need."""
    programs = private_directory(folder / "bin")
    if not (folder / "infra").is_symlink():
        (folder / "infra").symlink_to(ROOT / "infra")
    root = f"export PYTHONPATH={shlex.quote(str(ROOT))}"
    python = shlex.quote(sys.executable)
    vault = shlex.quote(json.dumps(stack.vault_for_stand_ins()))
    for name in stand_ins:
        call = f"{python} -m local.practice.stand_ins {name}"
        _program(programs / name, call, f"{root} STAND_IN_VAULT={vault}")
    if kubectl := shutil.which("kubectl"):
        # The local API publishes no schemas to validate with.
        only = 'case " $* " in *" apply "*) set -- "$@" --validate=false;; esac'
        _program(programs / "kubectl", shlex.quote(kubectl), only)
    # Nobody signs in to Azure here.
    only = f'{root}\n[ "${{1:-}}" != adopt ] || set -- "$@" --no-vault'
    _program(programs / "rotctl", f"{python} -m rotctl", only)


def _program(path: Path, call: str, before: str) -> None:
    path.write_text(f'#!{BASH}\n{before}\nexec {call} "$@"\n', encoding="utf-8")
    path.chmod(0o700)


def variables(stack: OneSlot) -> dict[str, str]:
    """What the guide's commands find in their environment, the app included."""
    found = stack.variables()
    app = {
        "ROTCTL_URL": found["APP_URL"],
        "ROTCTL_KEY": found["KEY"],
        "ROTCTL_BY": world.APPROVERS[1],
    }
    return found | app


def exports(stack: OneSlot, folder: Path) -> str:
    """Lines for a shell, in the place of those that the guide begins with."""
    quoted = {name: shlex.quote(value) for name, value in variables(stack).items()}
    path = f"{shlex.quote(str(folder / 'bin'))}{os.pathsep}"
    return "\n".join(
        [
            f"cd {shlex.quote(str(folder))}",
            *(f"export {name}={value}" for name, value in quoted.items()),
            f'export PATH={path}"$PATH"',
            "unset PGSSLROOTCERT PGPASSWORD PGSERVICE",
        ]
    )
