"""`python -m generate` writes the files; with `--check` it only says which of them differ."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from generate.files import differing

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 if `--check` found a difference, else 0."""
    parser = argparse.ArgumentParser(prog="python -m generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; name what differs")
    check = parser.parse_args(arguments).check
    files = differing()
    for path, text in files.items():
        if check:
            sys.stderr.write(f"{path} is not what `make generated` writes\n")
        else:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path}\n")
    return 1 if check and files else 0


if __name__ == "__main__":
    sys.exit(main())
