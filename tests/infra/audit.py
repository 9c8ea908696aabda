"""Known vulnerabilities of what is pinned, by pip-audit, which asks a service for them.

    python -m tests.infra.audit [--optional] [FILE ...]      (make audit)

Exits 1 for a vulnerability and where the service cannot be asked; with `--optional` it says so in
the second case and exits 0.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LIMIT = 300.0  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.infra.audit", description=__doc__)
    parser.add_argument("--optional", action="store_true", help="no answer is no failure")
    parser.add_argument("files", nargs="*", default=["requirements.txt"], help="with hashes")
    options = parser.parse_args()
    report = asked(options.files)
    if report is None:
        sys.stderr.write(f"{', '.join(options.files)} not audited: no vulnerability service here\n")
        sys.exit(0 if options.optional else 1)
    found = findings(report)
    count = len(report["dependencies"])
    sys.stdout.write("".join(f"{line}\n" for line in found))
    sys.stdout.write(f"{count} packages asked about, {len(found)} known vulnerabilities\n")
    sys.exit(1 if found else 0)


def asked(files: list[str]) -> dict[str, Any] | None:
    """pip-audit's report; None where there is none, with its last words on standard error."""
    sources = [argument for file in files for argument in ("-r", file)]
    command = [str(Path(sys.executable).with_name("pip-audit")), "--disable-pip"]
    command += ["--require-hashes", "--progress-spinner=off", "--format=json", "--timeout=10"]
    try:
        done = subprocess.run(  # noqa: S603 - this module's own arguments
            [*command, *sources], capture_output=True, text=True, check=False, timeout=LIMIT
        )
    except subprocess.TimeoutExpired:
        sys.stderr.write(f"pip-audit had no answer within {LIMIT:.0f} s\n")
        return None
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        sys.stderr.write("\n".join(done.stderr.strip().splitlines()[-1:]) + "\n")
        return None
    if all(package.get("skip_reason") for package in report["dependencies"]):
        sys.stderr.write("the service that pip-audit asks knows none of the packages\n")
        return None
    return report


def findings(report: dict[str, Any]) -> list[str]:
    """One line for each vulnerability, and for each package that could not be asked about."""
    lines = []
    for package in report["dependencies"]:
        if reason := package.get("skip_reason"):
            lines.append(f"{package['name']}: not audited: {reason}")
        for known in package.get("vulns", []):
            fixed = ", ".join(known["fix_versions"]) or "no release"
            lines.append(f"{package['name']} {package['version']}: {known['id']}, fixed in {fixed}")
    return lines


if __name__ == "__main__":
    main()
