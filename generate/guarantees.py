"""docs/guarantees.md: the tests that hold each guarantee, as their marks say."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

from generate.text import between

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = range(1, 9)


def made(text: str) -> str:
    """`text` with each guarantee's list of tests in its place.

    Raises `LookupError` for a mark whose guarantee has no place in the text, or a place without
    any mark.
    """
    held = _held()
    if unknown := held.keys() - set(NUMBERS):
        raise LookupError(f"tests are marked for guarantees that are not there: {sorted(unknown)}")
    for number in NUMBERS:
        if number not in held:
            raise LookupError(f"no test is marked with pytest.mark.guarantee({number})")
        lines = [
            f"- `{file}`: {', '.join(f'`{name}`' for name in names)}"
            for file, names in sorted(held[number].items())
        ]
        text = between(text, f"guarantee {number}", "\n".join(lines))
    return text


def _held() -> dict[int, dict[str, list[str]]]:
    """The names of the marked tests, by guarantee and file, in the order of the file."""
    held: dict[int, dict[str, list[str]]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        if "guarantee" not in source:
            continue
        file = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for number in _numbers(node):
                    held.setdefault(number, {}).setdefault(file, []).append(node.name)
    return held


def _numbers(test: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[int]:
    """What `@pytest.mark.guarantee(...)` says above a test."""
    for mark in test.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.guarantee":
            yield from (int(ast.literal_eval(number)) for number in mark.args)
