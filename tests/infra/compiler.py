"""Runs the Bicep compiler: `BICEP` names it, or PATH has it, or `az bicep install` put it in place.

The compiler exits 0 with warnings and so says nothing by its exit code: every line that it prints
counts. It works in a copy, since `build` and `snapshot` write beside their input.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
SETUPS = Path(__file__).with_name("setups")
SNAPSHOTS = Path(__file__).with_name("snapshots")
MISSING = (
    "no Bicep compiler: set BICEP to one, put `bicep` on PATH, or run `az bicep install`; "
    "without it the files are only parsed"
)
SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
TENANT = "99999999-9999-9999-9999-999999999999"
# What events.bicepparam reads: the outputs of a deployment, made up.
OUTPUTS = {
    "FUNCTION_APP_NAME": "func-rotation-prod-abcdef",
    "STORAGE_ACCOUNT_NAME": "strotationabcdef",
    "DEAD_LETTERS_CONTAINER": "dead-letters",
    "ACTION_GROUP_ID": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-rotation/providers/"
    "Microsoft.Insights/actionGroups/ag-rotation-prod-abcdef",
    "TOPIC_NAME": "evgt-rotation-prod-abcdef",
    "VAULT_IDS": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-orders/providers/"
    "Microsoft.KeyVault/vaults/kv-orders",
    "VAULT_TOPICS": "",
    "TAGS": '{"owner": "platform"}',
    "VAULT_LOCATIONS": "westeurope",
}


@dataclass(frozen=True)
class Setup:
    """One supported set-up: a parameter file, and the variables that azd would pass on."""

    name: str
    parameters: Path
    group: str = "rg-rotation"
    environment: tuple[tuple[str, str], ...] = ()


def setups() -> list[Setup]:
    """What the repository itself has as examples, and each file below `setups`."""
    found = [
        Setup("default", INFRA / "main.bicepparam"),
        Setup("private", INFRA / "examples/private.bicepparam"),
        Setup("events", INFRA / "events.bicepparam", environment=tuple(OUTPUTS.items())),
    ]
    for path in sorted(SETUPS.glob("*.bicepparam")):
        group = "rg-rotation-test" if path.stem.startswith("second-") else "rg-rotation"
        found.append(Setup(path.stem, path, group))
    return found


def find() -> str | None:
    """The compiler's path; None where there is none.

    Raises FileNotFoundError if BICEP names something that is no program.
    """
    named = os.environ.get("BICEP")
    if named:
        if shutil.which(named) is None:
            raise FileNotFoundError(f"BICEP is {named!r}, which is no program that can be run")
        return named
    by_azure_cli = Path(os.environ.get("AZURE_CONFIG_DIR") or Path.home() / ".azure") / "bin/bicep"
    return shutil.which("bicep") or shutil.which(str(by_azure_cli))


@dataclass(frozen=True)
class Compiler:
    """`work` is an empty directory of the caller's, for the copy and the compiler's own files."""

    program: str
    work: Path

    def __post_init__(self) -> None:
        for source in (INFRA, SETUPS):
            target = self.work / source.relative_to(ROOT)
            if not target.exists() and source.exists():
                shutil.copytree(source, target)

    def run(
        self, *arguments: str, environment: tuple[tuple[str, str], ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - the program that our caller found
            [self.program, *arguments],
            cwd=self.work,
            env={
                "PATH": os.environ.get("PATH", ""),
                "HOME": str(self.work),  # it keeps what it unpacks there
                "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1",  # ICU may not be installed
                **dict(environment),
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def _complaints(self, *arguments: str, stdout: bool = True) -> list[str]:
        """What it printed; a line of our own if it failed and printed nothing."""
        made = self.run(*arguments, environment=tuple(OUTPUTS.items()))
        printed = (made.stdout if stdout else "") + made.stderr
        lines = [line.replace(f"{self.work}/", "") for line in printed.splitlines() if line.strip()]
        if made.returncode and not lines:
            return [f"bicep {' '.join(arguments)} ended with {made.returncode} and said nothing"]
        return lines

    def diagnostics(self) -> list[str]:
        """Each line that build, build-params and lint print about any file, once."""
        lines: list[str] = []
        for suffix, build in (("bicep", "build"), ("bicepparam", "build-params")):
            lines += self._complaints("lint", "--pattern", f"**/*.{suffix}")
            lines += self._complaints(build, "--pattern", f"**/*.{suffix}")
        return list(dict.fromkeys(lines))

    def unformatted(self) -> list[str]:
        """Files that `bicep format` would change."""
        before = {path: path.read_bytes() for path in self._sources()}
        lines = []
        for suffix in ("bicep", "bicepparam"):
            lines += self._complaints("format", "--pattern", f"**/*.{suffix}")
        changed = [path for path, content in before.items() if path.read_bytes() != content]
        for path in changed:
            path.write_bytes(before[path])
        return lines + [f"not formatted: {path.relative_to(self.work)}" for path in changed]

    def _sources(self) -> list[Path]:
        return [
            path for suffix in ("bicep", "bicepparam") for path in self.work.rglob(f"*.{suffix}")
        ]

    def snapshot(self, setup: Setup) -> dict[str, Any]:
        """What a deployment would make, as the compiler predicts it, in a steady order.

        Raises RuntimeError with what the compiler printed.
        """
        source = self.work / setup.parameters.relative_to(ROOT)
        made = self.run(
            *("snapshot", str(source), "--mode", "overwrite"),
            *("--tenant-id", TENANT, "--subscription-id", SUBSCRIPTION),
            *("--resource-group", setup.group, "--location", "northeurope"),
            *("--deployment-name", "rotation"),
            environment=setup.environment,
        )
        written = source.with_suffix(".snapshot.json")
        if made.returncode or made.stderr.strip() or not written.exists():
            raise RuntimeError(
                f"bicep cannot make a snapshot of {setup.name}: {made.stdout}{made.stderr}"
            )
        return tidied(json.loads(written.read_text(encoding="utf-8")))


def tidied(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Outputs in the order of their names, and the mail workflow by the name of its file."""
    definition = json.loads((INFRA / "logic/approval.json").read_text(encoding="utf-8"))
    for resource in snapshot["predictedResources"]:
        properties = resource.get("properties")
        if isinstance(properties, dict) and properties.get("definition") == definition:
            properties["definition"] = "infra/logic/approval.json"
    snapshot["outputs"] = dict(sorted(snapshot.get("outputs", {}).items()))
    return snapshot


def kept(name: str) -> Path:
    return SNAPSHOTS / f"{name}.json"


def as_text(snapshot: dict[str, Any]) -> str:
    return json.dumps(snapshot, indent=1, ensure_ascii=False) + "\n"
