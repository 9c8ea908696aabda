"""The repository's own files, without what git ignores: a clone need not have git."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

from local.process import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BINARY = {".png"}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def texts() -> Iterator[Path]:
    """All text files, in the order of their paths."""
    lines = text(".gitignore").splitlines()
    ignored = [line.strip("/") for line in lines if line and not line.startswith("#")]
    yield from _below(ROOT, [*ignored, ".git"])


def _below(folder: Path, ignored: list[str]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if any(fnmatch.fnmatch(path.name, pattern) for pattern in ignored):
            continue
        if path.is_dir():
            yield from _below(path, ignored)
        elif path.suffix not in BINARY:
            yield path


def make_targets() -> set[str]:
    """Those that `make help` lists."""
    return set(re.findall(r"^([a-z-]+):.*##", text("Makefile"), re.MULTILINE))
