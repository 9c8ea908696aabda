"""The tree and the layers of docs/architecture.md, compared with the modules that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ROOT / "rotation"
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ENTRY = re.compile(r"[\w-]+(?:/|\.py)")
UNSAID = {"__init__.py", "__main__.py"}


def tree() -> dict[str, set[str]]:
    """What the drawn tree has at its top, and in the product."""
    drawn = TEXT.split("## The tree")[1].split("```")[1]
    found: dict[str, set[str]] = {"": set(), "rotation/": set()}
    for line in drawn.strip().splitlines():
        names = set(ENTRY.findall(re.split(r"\s{2,}", line.strip())[0]))
        found["rotation/" if line.startswith("  ") else ""] |= names
    return found


def entries(folder: Path) -> set[str]:
    """The modules and the folders with modules in a folder, as the tree writes them."""
    modules = {path.name for path in folder.glob("*.py")} - UNSAID
    return modules | {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}


def rows() -> list[tuple[list[str], list[str]]]:
    """The folders or modules of each row of the layers, and the modules that it names in them."""
    table = TEXT.split("| folder | has |")[1].split("\n\n")[0].splitlines()[2:]
    cells = [line.strip("| ").split(" | ") for line in table]
    return [(re.findall(r"`([^`]+)`", row[0]), re.findall(r"`(\w+\.py)`", row[1])) for row in cells]


def test_the_tree_of_the_product_is_that_of_its_modules() -> None:
    assert tree()["rotation/"] == entries(PRODUCT)


def test_the_trees_top_is_there() -> None:
    named = tree()[""]
    assert {name for name in named if not (ROOT / name).exists()} == set()
    here = {f"{path.parent.name}/" for path in ROOT.glob("*/__init__.py")}
    assert here <= named


def test_each_room_of_the_product_has_its_row() -> None:
    told = [name for folders, _ in rows() for name in folders]
    assert {*told, "links.py"} == entries(PRODUCT)
    assert len(told) == len(set(told)), "a room has two rows"


@pytest.mark.parametrize(("folders", "named"), rows())
def test_the_modules_that_a_row_names_are_there(folders: list[str], named: list[str]) -> None:
    inside = {p.name for f in folders if f.endswith("/") for p in (PRODUCT / f).rglob("*.py")}
    assert set(named) - inside - {"function_app.py"} == set()
