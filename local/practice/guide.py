"""Reads guides as what they are: files to write and commands to run, in order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.process import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = ROOT / "docs"
BLOCK = re.compile(
    r"^`(?P<name>[\w.-]+\.yaml)`:\n\n```yaml\n(?P<text>.*?)^```$"
    r"|^```bash\n(?P<commands>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class File:
    name: str
    text: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Commands:
    text: str


def steps(name: str = "onboarding.md", section: str = "") -> Iterator[File | Commands]:
    """Of a whole guide, or of the section whose heading starts with `section`."""
    text = (DOCS / name).read_text(encoding="utf-8")
    for match in BLOCK.finditer(_section(text, section) if section else text):
        if match["name"]:
            yield File(match["name"], match["text"])
        else:
            yield Commands(match["commands"])


def _section(text: str, heading: str) -> str:
    """Raises ValueError if there is none."""
    begin = text.index(f"\n{heading}")
    level = heading.partition(" ")[0]
    end = re.compile(rf"^#{{1,{len(level)}}} ", re.MULTILINE).search(text, begin + 1 + len(heading))
    return text[begin : end.start() if end else None]


def file(name: str) -> str:
    found = [step.text for step in steps() if isinstance(step, File) and step.name == name]
    if len(found) != 1:
        raise ValueError(f"the guide has {len(found)} files called {name}")
    return found[0]
