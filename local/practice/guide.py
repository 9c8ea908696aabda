"""Reads guides as what they are: commands to run, in order; and the manifests they start from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local.process import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = ROOT / "docs"
HERE = Path(__file__).parent
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Commands:
    text: str


def steps(name: str = "onboarding.md", section: str = "") -> Iterator[Commands]:
    """Of a whole guide, or of the section whose heading starts with `section`."""
    text = (DOCS / name).read_text(encoding="utf-8")
    for match in BLOCK.finditer(_section(text, section) if section else text):
        yield Commands(match[1])


def _section(text: str, heading: str) -> str:
    """Raises ValueError if there is none."""
    begin = text.index(f"\n{heading}")
    level = heading.partition(" ")[0]
    end = re.compile(rf"^#{{1,{len(level)}}} ", re.MULTILINE).search(text, begin + 1 + len(heading))
    return text[begin : end.start() if end else None]


def file(name: str) -> str:
    """A file that the guide starts from: `start.yaml` is what runs before it."""
    return (HERE / name).read_text(encoding="utf-8")
