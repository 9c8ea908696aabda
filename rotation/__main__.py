"""`python -m rotation check FILE` validates a configuration file."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from rotation import config
from rotation.config.doubts import doubts
from rotation.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 for a valid file, even one that is warned of, 1 for one with problems, 2 for
    a wrong command line."""
    parser = argparse.ArgumentParser(prog="python -m rotation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="validate a configuration file; changes nothing")
    check.add_argument(
        "file", metavar="FILE", help="path of the file, for example credentials.yaml"
    )
    given = parser.parse_args(arguments)
    try:
        configuration = config.load(given.file, given.file)
    except ConfigurationError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return 1
    for name, credential in configuration.credentials.items():
        workloads = ", ".join(workload.name for workload in credential.workloads)
        sys.stdout.write(f"{name}: {credential.vault}, workloads {workloads}\n")
    for path, text in doubts(configuration):
        sys.stderr.write(f"warning: {path}: {text}\n")
    sys.stdout.write(f"{given.file} is valid\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
