"""Records the histories of the present version: see the package."""

from __future__ import annotations

import sys
import warnings

from rotation.story.version import VERSION
from tests.histories.recording import record


def main() -> int:
    warnings.simplefilter("ignore")  # the SDK's, of untyped values
    try:
        files = record()
    except FileExistsError:
        sys.stderr.write(
            f"there are histories of version {VERSION}, and rotations that have them may wait"
            " somewhere: raise VERSION in rotation/story/version.py. Only while no release has had"
            " this version, delete the folder and record again\n"
        )
        return 1
    sys.stdout.writelines(f"{file}\n" for file in files)
    return 0


if __name__ == "__main__":
    sys.exit(main())
