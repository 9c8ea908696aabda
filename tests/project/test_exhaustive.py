"""What the catalogue lists is treated whole: every `match` over a list of it ends in assert_never,
so that mypy names whatever has nothing to say of a new member."""

from __future__ import annotations

import ast
from enum import Enum
from typing import TYPE_CHECKING

import pytest

from local.process import ROOT
from rotation.model import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTS = {
    name
    for name, found in vars(catalogue).items()
    if isinstance(found, type)
    and issubclass(found, Enum)
    and found.__module__ == catalogue.__name__
}


def listed(match: ast.Match) -> set[str]:
    """The lists of the catalogue that members of are named in a match's cases."""
    return {
        node.value.value.id
        for case in match.cases
        for node in ast.walk(case.pattern)
        if isinstance(node, ast.MatchValue)
        and isinstance(node.value, ast.Attribute)
        and isinstance(node.value.value, ast.Name)
    } & LISTS


def ends_in_assert_never(match: ast.Match) -> bool:
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "assert_never"
        for node in ast.walk(match.cases[-1])
    )


def matches(tree: ast.AST) -> Iterator[tuple[ast.Match, set[str]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Match) and (over := listed(node)):
            yield node, over


def test_every_match_over_a_list_of_the_catalogue_is_exhaustive() -> None:
    found: set[str] = set()
    for path in sorted((ROOT / "rotation").rglob("*.py")):
        for match, over in matches(ast.parse(path.read_text(encoding="utf-8"))):
            found |= over
            assert ends_in_assert_never(match), f"{path.relative_to(ROOT)}:{match.lineno}"
    assert {"Outcome", "Stage", "StepName", "Announcement", "Progress", "Origin"} <= found


@pytest.mark.parametrize("last", ["case _: pass", "case Stage.RETIRE: assert_ever(x)", ""])
def test_one_that_is_not_is_found(last: str) -> None:
    tree = ast.parse(f"match x:\n case Stage.PLAN | Stage.SWAP: pass\n {last}\n")
    ((match, over),) = matches(tree)
    assert over == {"Stage"}
    assert not ends_in_assert_never(match)
