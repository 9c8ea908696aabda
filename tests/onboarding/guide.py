"""Reads docs/onboarding.md as what it is: files to write and commands to run, in order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.process import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

GUIDE = ROOT / "docs" / "onboarding.md"
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


def steps() -> Iterator[File | Commands]:
    for match in BLOCK.finditer(GUIDE.read_text(encoding="utf-8")):
        if match["name"]:
            yield File(match["name"], match["text"])
        else:
            yield Commands(match["commands"])


def file(name: str) -> str:
    found = [step.text for step in steps() if isinstance(step, File) and step.name == name]
    if len(found) != 1:
        raise ValueError(f"the guide has {len(found)} files called {name}")
    return found[0]
