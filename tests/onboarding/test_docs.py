"""The guides name everything that a person on call can meet: read from the code, not repeated."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING

from local.process import ROOT
from rotation.model.catalogue import OVERDUE_LOG_EVENT, Announcement, Outcome, announcement_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CODE = re.compile(r"`[^`\n]*`")  # what looks like a link in it is none
# Of links in text, and of pictures with two sources in HTML.
TARGET = re.compile(r"""(?:\]\(|src="|srcset=")([^)\s"]+)[)"]""")


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
    found = {*(announcement_facts(kind).log_event for kind in Announcement), OVERDUE_LOG_EVENT}
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
    assert len(metrics()) == 6


def test_each_log_event_is_explained() -> None:
    guide = doc("operations.md")
    assert_none(name for name in events() if f"| `{name}` |" not in guide)


def test_each_alert_is_explained() -> None:
    guide = doc("operations.md")
    assert_none(title for title in alerts() if title not in guide)


def test_each_metric_is_explained() -> None:
    guide = doc("operations.md")
    assert_none(name for name in metrics() if f"| `{name}` |" not in guide)


def test_paths_in_the_architecture_are_there() -> None:
    """They are told below the product, or below one of its folders."""
    folders = [ROOT, *(path for path in (ROOT / "rotation").rglob("*") if path.is_dir())]
    folders += [ROOT / "rotation"]
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[a-z_]+/)+[\w./]*|[a-z_]+\.py)`", text))
    assert len(named) > 50
    missing = {name for name in named if not any((f / name).exists() for f in folders)}
    assert missing == set()


def test_each_outcome_is_explained() -> None:
    guide = doc("recovery.md")
    assert_none(outcome for outcome in Outcome if f"| `{outcome}` |" not in guide)


def assert_none(missing: Iterable[str]) -> None:
    """All that a guide does not have, in one report."""
    found = sorted(missing)
    assert not found, "not explained:\n" + "\n".join(found)


def pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def links() -> list[tuple[Path, str]]:
    """Each page with each target in it that is not on the web, anchor included."""
    return [
        (page, target)
        for page in pages()
        for target in TARGET.findall(CODE.sub("", page.read_text(encoding="utf-8")))
        if not target.startswith(("https://", "http://"))
    ]


def test_links_lead_somewhere() -> None:
    assert len(pages()) >= 28
    assert len(links()) >= 100
    broken = [f"{page.relative_to(ROOT)}: {to}" for page, to in links() if not leads(page, to)]
    assert not broken, "\n".join(broken)


def leads(page: Path, target: str) -> bool:
    """Whether there is such a file, and such a heading in it."""
    file, _, anchor = target.partition("#")
    there = (page.parent / file).resolve() if file else page
    return there.exists() and (not anchor or anchor in anchors(there))


@cache
def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
