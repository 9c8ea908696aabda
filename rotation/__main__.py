"""`python -m rotation check FILE` validates a configuration file, or a folder of them."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from rotation.config.check import FORMATS, check, report

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 for a valid file, even one that is warned of, 1 for one with problems, 2 for
    a wrong command line."""
    parser = argparse.ArgumentParser(prog="python -m rotation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    checking = commands.add_parser("check", help="validate a configuration file; changes nothing")
    checking.add_argument(
        "file", metavar="FILE", help="path of the file, for example credentials.yaml, or a folder"
    )
    checking.add_argument(
        "--format", choices=FORMATS, default="text", help="text unless given; line is for editors"
    )
    checking.add_argument(
        "--no-files", action="store_true", help="leave out the certificates and kubeconfigs"
    )
    given = parser.parse_args(arguments)
    checked = check(given.file, files=not given.no_files)
    out, err = report(checked, given.format)
    sys.stdout.write(out)
    sys.stderr.write(err)
    return 0 if checked.valid else 1


if __name__ == "__main__":
    sys.exit(main())
