"""docs/threat-model.md: each claim names the tests that try it, each risk what to do about it."""

from __future__ import annotations

import ast
import functools
import re

import pytest

from local.process import ROOT

TEXT = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
TESTS = ROOT / "tests"
# Every table of the page, by its head. A column called tests names some; no cell is empty.
HEADS = {
    "asset | where it is | what its loss means",
    "boundary | claim | tests",
    "attacker | can",
    "attacker | cannot | because | tests",
    "claim | tests",
    "PostgreSQL | it is granted | what that amounts to | tests",
    "where | answer | tests",
    "risk | why it is left | reduce it",
}
NAMED = re.compile(r"`([\w/]+)::(test_\w+)`")

Table = tuple[list[str], list[list[str]]]


def tables(text: str) -> list[Table]:
    """Heads and rows."""
    found: list[Table] = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        head, _, *rows = [
            [cell.strip() for cell in line.strip("|").split(" | ")] for line in block.splitlines()
        ]
        found.append(([cell.strip("| ") for cell in head], rows))
    return found


def problems(text: str) -> list[str]:
    found = []
    for head, rows in tables(text):
        title = " | ".join(head)
        if title not in HEADS:
            found.append(f"a table that no rule is about: {title}")
            continue
        for row in rows:
            cells = [cell.strip("| ") for cell in row]
            what = " | ".join(cells[:2])
            if len(cells) != len(head) or not all(cells):
                found.append(f"not {len(head)} full cells: {what}")
            elif head[-1] == "tests":
                found += _untried(what, cells[-1])
    return found


def _untried(claim: str, tests: str) -> list[str]:
    named = NAMED.findall(tests)
    if not named or NAMED.sub("", tests).strip(", "):
        return [f"no tests, or more than tests: {claim}"]
    return [
        f"{file}::{name} is not there: {claim}" for file, name in named if name not in defined(file)
    ]


@functools.cache
def defined(file: str) -> frozenset[str]:
    path = TESTS / f"{file}.py"
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def test_each_claim_names_tests_that_are_there() -> None:
    assert problems(TEXT) == []
    assert {" | ".join(head) for head, _ in tables(TEXT)} == HEADS


def test_claims_stand_in_tables() -> None:
    """A list would be one that nobody looks at."""
    assert re.findall(r"^\s*(?:[-*]|\d+\.) .*", TEXT, re.MULTILINE) == []


def test_whoever_is_said_to_be_kept_from_something_is_known() -> None:
    known = {row[0].strip("| ") for head, rows in tables(TEXT) if head[-1] == "can" for row in rows}
    kept = {row[0].strip("| ") for head, rows in tables(TEXT) if "cannot" in head for row in rows}
    own = {name for name in kept if not any(one.startswith(name) for one in known)}
    assert own == {"receiver of events"}


WRONG_KEY = "`local/host/test_eventgrid::test_wrong_key` |"


@pytest.mark.parametrize(
    ("written", "instead", "problem"),
    [
        (
            WRONG_KEY,
            "`local/host/test_eventgrid::test_x` |",
            "local/host/test_eventgrid::test_x is not",
        ),
        (WRONG_KEY, "`local/nothing::test_wrong_key` |", "local/nothing::test_wrong_key is not"),
        (WRONG_KEY, "the platform's |", "no tests, or more than tests"),
        (WRONG_KEY, f"the platform's, {WRONG_KEY}", "no tests, or more than tests"),
        ("| short deadlines |", "| |", "not 3 full cells: both slots' passwords"),
        ("\n| claim | tests |\n", "\n| claim | hope |\n", "a table that no rule is about: claim"),
    ],
)
def test_what_is_missing_is_found(written: str, instead: str, problem: str) -> None:
    assert TEXT.count(written) == 1
    (found,) = problems(TEXT.replace(written, instead))
    assert found.startswith(problem)
