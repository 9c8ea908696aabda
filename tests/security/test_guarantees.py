"""docs/guarantees.md names tests: each is there."""

from __future__ import annotations

import ast
import re
from functools import cache

from local.process import ROOT

TEXT = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)


@cache
def functions_of(path: str) -> set[str]:
    """Those of its classes included."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return {function.name for function in functions if function.name.startswith("test_")}


def test_every_named_test_exists() -> None:
    gone = [
        f"{path}::{name}"
        for path, name in sorted(set(NAMED))
        if not (ROOT / path).is_file() or name not in functions_of(path)
    ]
    assert not gone, "\n".join(gone)


def test_each_invariant_has_its_four_parts() -> None:
    sections = re.split(r"^## (?=\d)", TEXT, flags=re.MULTILINE)[1:]
    assert [section[0] for section in sections] == list("1234567")
    for section in sections:
        own = section.partition("\n## ")[0]
        assert all(f"**{part}.**" in own for part in ("Why", "Would fail", "Outside")), own[:60]
        assert len(set(re.findall(r"`(tests/[\w/]+\.py::\w+)`", own))) >= 5


def test_every_reference_to_a_test_is_one_that_is_looked_at() -> None:
    assert len(NAMED) == TEXT.count(".py::")


def test_every_named_file_exists() -> None:
    named = set(re.findall(r"(?:docs|tests|rotation)/[\w/-]+\.\w+", TEXT))
    gone = [path for path in sorted(named) if not (ROOT / path).is_file()]
    assert not gone, "\n".join(gone)
