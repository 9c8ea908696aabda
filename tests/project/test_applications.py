"""docs/applications.md: its table has all the frameworks, and those who quote it that run."""

from __future__ import annotations

import re

from bench.frameworks import table
from bench.frameworks.catalogue import FRAMEWORKS
from tests.project.files import text

PAGE = text("docs/applications.md")
MEASURED = PAGE.split(table.BEGIN)[1].split(table.END)[0]
QUOTED = re.compile(r"`make\s+bench-frameworks`\s+on\s+(\d{4}-\d{2}-\d{2})")
ROWS = [line.strip("| ").split(" | ") for line in MEASURED.splitlines() if line.startswith("| ")]


def test_each_framework_is_in_it_in_each_of_its_ways_or_left_out_by_name() -> None:
    rows = {(row[0], row[1]) for row in ROWS}
    for framework in FRAMEWORKS:
        ways = {(framework.title, shape.title) for shape in framework.shapes}
        assert ways <= rows or f"{framework.title} is left out: " in MEASURED, framework.title


def test_with_a_recipe_none_failed() -> None:
    recipes = [row for row in ROWS if "recipe" in row[1]]
    assert recipes
    for row in recipes:
        assert set(", ".join(row[2:6]).split(", ")) == {"0"}, row


def test_whoever_quotes_it_quotes_that_run() -> None:
    (date,) = QUOTED.findall(MEASURED)
    for page in ("README.md", "docs/guarantees.md"):
        assert QUOTED.findall(text(page)) == [date], page
