"""What is going on, with the seconds since the start, on standard error."""

from __future__ import annotations

import sys
import time

_BEGAN = time.monotonic()


def say(text: str) -> None:
    sys.stderr.write(f"{time.monotonic() - _BEGAN:6.1f} s  {text}\n")
    sys.stderr.flush()


def elapsed() -> float:
    """Seconds since the start."""
    return time.monotonic() - _BEGAN
