"""docs/guarantees.md says of each guarantee why it holds, what would fail, and what is outside."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from generate import guarantees
from local.process import ROOT

if TYPE_CHECKING:
    from pathlib import Path

TEXT = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")


def test_each_guarantee_has_its_parts_and_at_least_five_tests() -> None:
    sections = re.split(r"^## (?=\d)", TEXT, flags=re.MULTILINE)[1:]
    assert [int(section[0]) for section in sections] == list(guarantees.NUMBERS)
    for section in sections:
        own = section.partition("\n## ")[0]
        parts = (
            ("Would fail", "Outside") if own.startswith("8") else ("Why", "Would fail", "Outside")
        )
        assert all(f"**{part}.**" in own for part in parts), own[:60]
        assert len(re.findall(r"`test_\w+`", own)) >= 5, own[:60]


def test_a_mark_without_a_guarantee_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tests").mkdir()
    file = tmp_path / "tests" / "test_some.py"
    marked = "\n".join(
        f"@pytest.mark.guarantee({number})\ndef test_{number}() -> None: ..."
        for number in guarantees.NUMBERS
    )
    file.write_text(marked, encoding="utf-8")
    monkeypatch.setattr(guarantees, "ROOT", tmp_path)
    assert "- `tests/test_some.py`: `test_7`" in guarantees.made(TEXT)
    file.write_text(marked.replace("(7)", "(77)"), encoding="utf-8")
    with pytest.raises(LookupError, match="77"):
        guarantees.made(TEXT)
    file.write_text(marked.replace("(7)", "(1, 2)"), encoding="utf-8")
    with pytest.raises(LookupError, match=r"guarantee\(7\)"):
        guarantees.made(TEXT)


def test_every_named_file_exists() -> None:
    named = set(re.findall(r"(?:docs|tests|rotation)/[\w/-]+\.\w+", TEXT))
    gone = [path for path in sorted(named) if not (ROOT / path).is_file()]
    assert not gone, "\n".join(gone)
