"""CONTRIBUTING.md's recipes: what mypy names and what is made anew is what they say, and no more.

Each change is made in a copy of the tree. mypy's cache goes along, so that only what a change
touches is looked at again.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from local.process import ROOT
from tests.project.files import text

COPIED = ("rotation", "rotctl", "local", "bench", "generate", "tests", "docs", "infra")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "images")
CATALOGUE = "rotation/model/catalogue.py"
RECORD = "rotation/model/record.py"
CONFIGURATION = "rotation/config/__init__.py"

# Without a cache the first look takes half a minute, on a machine that does nothing else.
pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


@dataclass(frozen=True)
class Edit:
    """`old` is there once, and is replaced."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Change:
    """What somebody writes `first`, and what fills the places that are named `then`."""

    recipe: str
    first: tuple[Edit, ...]
    then: tuple[Edit, ...]


def case(file: str, matched: str, lines: str) -> Edit:
    """One more case of a `match`; `lines` are indented as if it stood at the margin."""
    head = f"    match {matched}:\n"
    indented = "".join(f"        {line}\n" for line in lines.splitlines())
    return Edit(file, head, head + indented)


ENDING = """\
case Outcome.POSTPONED:
    return Ending(
        announcement=Announcement.POSTPONED,
        level=logging.ERROR,
        tone="bad",
        headline="Postponed",
        listed="recent",
        production="unchanged",
        left="nothing",
        to_do="nothing",
        alarm="soon",
    )
"""
FACTS = """\
case Announcement.POSTPONED:
    return AnnouncementFacts("It was postponed.", "rotation.finished", mailed=True)
"""
WORDS = """\
case Announcement.POSTPONED:
    return "rotation postponed", notice.outcome_reason or ""
"""
ADDED = """\
case Announcement.POSTPONED:
    return _ended(kind)
"""
STAGE_WORDS = """\
case Stage.WARM_UP:
    return StageWords("Warming up {standby}")
"""
OUTCOME, ANNOUNCEMENT = 'ATTENTION = "needs-attention"\n', 'ATTENTION = "NeedsAttention"\n'
SAID = """\
case Outcome.POSTPONED:
    moved = "postponed"
"""
CHANGES = (
    Change(
        "An outcome",
        (
            Edit(CATALOGUE, OUTCOME, f'{OUTCOME}    POSTPONED = "postponed"\n'),
            Edit(CATALOGUE, ANNOUNCEMENT, f'{ANNOUNCEMENT}    POSTPONED = "Postponed"\n'),
        ),
        (
            case(CATALOGUE, "outcome", ENDING),
            case(CATALOGUE, "announcement", FACTS),
            case("rotation/telling/messages.py", "kind", WORDS),
            case("generate/events.py", "kind", ADDED),
            case("local/demo.py", 'outcome := Outcome(record["outcome"])', SAID),
        ),
    ),
    Change(
        "A stage",
        (
            Edit(
                CATALOGUE,
                '    QUEUED = "queued"\n',
                '    QUEUED = "queued"\n    WARM_UP = "warm-up"\n',
            ),
        ),
        (case(CATALOGUE, "stage", STAGE_WORDS),),
    ),
    Change(
        "A field of the record",
        (
            Edit(
                RECORD, "    untold: list[str] =", "    region: str | None\n    untold: list[str] ="
            ),
        ),
        (
            Edit(
                RECORD,
                "        outcome_reason=None,\n",
                "        outcome_reason=None,\n        region=None,\n",
            ),
        ),
    ),
    Change(
        "A delivery",
        (Edit(CONFIGURATION, 'Literal["csi", "secret"]', 'Literal["csi", "secret", "file"]'),),
        (Edit(CONFIGURATION, 'case "csi":\n', 'case "csi" | "file":\n'),),
    ),
)


@dataclass(frozen=True)
class Tree:
    """A copy of the tree as it is, mypy's cache, and what mypy says of it anyway."""

    folder: Path
    cache: Path
    errors: frozenset[tuple[str, str]]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    folder, types = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("types") / "cache"
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=LEFT_OUT)
    shutil.copy2(ROOT / "pyproject.toml", folder)
    known = ROOT / ".mypy_cache"
    if known.exists():
        shutil.copytree(known, types)
    generated(folder)
    return Tree(folder, types, frozenset(mypy(folder, types)))


@pytest.fixture
def copy(tree: Tree, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tree.folder, tmp_path / "copy", ignore=LEFT_OUT))


def mypy(folder: Path, cache: Path) -> set[tuple[str, str]]:
    """The files that it names, with what it says of them."""
    found = run(folder, "mypy", ".", "--cache-dir", str(cache), "--no-error-summary")
    assert found.returncode in {0, 1}, found.stdout + found.stderr
    return set(re.findall(r"^([^:\n]+):\d+: error: (.+)$", found.stdout, re.MULTILINE))


def run(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - argv is written here
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def make(folder: Path, edits: tuple[Edit, ...]) -> None:
    for edit in edits:
        path = folder / edit.file
        before = path.read_text(encoding="utf-8")
        assert before.count(edit.old) == 1, f"{edit.file} has not just one {edit.old!r}"
        path.write_text(before.replace(edit.old, edit.new), encoding="utf-8")


def generated(folder: Path) -> set[str]:
    """The files that are made anew."""
    found = run(folder, "generate")
    assert found.returncode == 0, found.stderr
    written = re.findall(r"^wrote (.+)$", found.stdout, re.MULTILINE)
    return {str(Path(path).relative_to(folder)) for path in written}


@cache
def recipes() -> dict[str, str]:
    """Their texts by their headings."""
    parts = text("CONTRIBUTING.md").partition("\n## Recipes\n")[2].split("\n### ")[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}


def listed(recipe: str, step: str) -> list[str]:
    """The files in the list of a step, which may have wildcards; none where it says `nothing`."""
    steps = re.split(r"^\d\. ", recipes()[recipe], flags=re.MULTILINE)
    (found,) = [one for one in steps if one.startswith(step)]
    files = re.findall(r"^   - `([^`]+)`", found, re.MULTILINE)
    assert files or "nothing" in found, f"{recipe}: {step} says neither files nor nothing"
    return files


@pytest.mark.shows_passwords("its copy of the tests has the made-up keys that those use")
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.recipe)
def test_a_recipe_names_what_a_change_takes(change: Change, copy: Path, tree: Tree) -> None:
    make(copy, change.first)
    named = {file for file, _ in mypy(copy, tree.cache) - tree.errors}
    assert sorted(named) == sorted(listed(change.recipe, "`make types` names"))

    make(copy, change.then)
    assert mypy(copy, tree.cache) == tree.errors
    written, expected = generated(copy), listed(change.recipe, "`make generated` writes")
    assert [file for file in written if not any_of(file, expected)] == []
    assert [pattern for pattern in expected if not fnmatch.filter(written, pattern)] == []


def any_of(file: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatch(file, pattern) for pattern in patterns)


def test_every_path_that_a_recipe_names_is_there() -> None:
    named = re.findall(r"`([a-z_]+/[\w./*-]*)`", " ".join(recipes().values()))
    assert len(named) > 30
    assert sorted({path for path in named if not list(ROOT.glob(path))}) == []


def test_the_recipes_that_contributors_need_are_there() -> None:
    assert {change.recipe for change in CHANGES} < recipes().keys()
    assert {"A kind of test", "A delivery", "A way to move traffic"} <= recipes().keys()
