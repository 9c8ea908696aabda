"""The guides name everything that a person on call can meet: read from the code, not repeated."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING

import pytest

from local.process import ROOT
from rotation.model.catalogue import OVERDUE_LINE, Announcement, Outcome, told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@cache
def doc(name: str) -> str:
    return " ".join((ROOT / "docs" / name).read_text(encoding="utf-8").split())


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / "rotation").rglob("*.py")):
        yield path.stem, ast.parse(path.read_text(encoding="utf-8"))


def called(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    """`log.event` is an attribute, `Conflict` a name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
            yield node


def events() -> set[str]:
    found = {*(told(kind).line for kind in Announcement), OVERDUE_LINE}
    for name, tree in modules():
        texts = [call.args[0] for call in called(tree, "log.event") if call.args]
        found |= {str(t.value) for t in texts if isinstance(t, ast.Constant)}
        if name == "triggers":
            kinds = [call.args[1] for call in called(tree, "_account")]
            found |= {f"event.{k.value!s}" for k in kinds if isinstance(k, ast.Constant)}
    return found


def metrics() -> set[str]:
    text = (ROOT / "rotation" / "log.py").read_text(encoding="utf-8")
    return set(re.findall(r"_meter\.create_\w+\(\s*\"([\w.]+)\"", text))


def alerts() -> set[str]:
    def read(path: Path, pattern: str) -> list[str]:
        return re.findall(pattern, path.read_text(encoding="utf-8"))

    folder = ROOT / "infra" / "modules"
    titles = read(folder / "alerts.bicep", r"title: '([^']+)'")
    by_metric = [
        name
        for file in ("alerts.bicep", "vaultEvents.bicep")
        for name in read(folder / file, r"name: '(rotation-(?:event|announcement)-lost-)\$")
    ]
    return {*titles, *by_metric}


def test_there_is_something_to_compare() -> None:
    assert len(events()) >= 15
    assert len(alerts()) >= 6
    assert len(metrics()) == 3


@pytest.mark.parametrize("name", sorted(events()))
def test_each_log_event_is_explained(name: str) -> None:
    assert f"| `{name}` |" in doc("operations.md")


@pytest.mark.parametrize("title", sorted(alerts()))
def test_each_alert_is_explained(title: str) -> None:
    assert title in doc("operations.md")


@pytest.mark.parametrize("name", sorted(metrics()))
def test_each_metric_is_explained(name: str) -> None:
    assert f"| `{name}` |" in doc("operations.md")


@pytest.mark.parametrize("outcome", Outcome)
def test_each_outcome_is_explained(outcome: str) -> None:
    assert f"| `{outcome}` |" in doc("recovery.md")


GUIDES = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]


@pytest.mark.parametrize("path", GUIDES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"`[^`\n]+`", "", path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


def test_paths_in_the_architecture_are_there() -> None:
    """They are told below the product, or below one of its folders."""
    folders = [ROOT, *(path for path in (ROOT / "rotation").rglob("*") if path.is_dir())]
    folders += [ROOT / "rotation"]
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[a-z_]+/)+[\w./]*|[a-z_]+\.py)`", text))
    assert len(named) > 50
    missing = {name for name in named if not any((f / name).exists() for f in folders)}
    assert missing == set()


def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
