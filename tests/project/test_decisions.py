"""docs/decisions: numbered and dated; successors and the index agree with each page's status."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from local.process import ROOT

FOLDER = ROOT / "docs" / "decisions"
HEADING = re.compile(r"# (\d{4})\. (.+)\n\n\*\*Status\.\*\* (.+), (\d{4}-\d{2}-\d{2})\n")
SUPERSEDED = re.compile(r"superseded by \[(\d{4})\]\((\d{4}-[a-z0-9-]+\.md)\)")
ROW = re.compile(r"^\| \[(\d{4})\]\((.+?)\) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    number: str
    file: str
    title: str
    status: str
    day: str
    text: str


def pages() -> list[Page]:
    """In the order of their numbers. Fails for one without heading and status."""
    found = []
    for path in sorted(FOLDER.glob("*.md")):
        if path.name == "README.md":
            continue
        text = path.read_text(encoding="utf-8")
        heading = HEADING.match(text)
        assert heading, f"{path.name} does not begin with its number, title, status and date"
        number, title, status, day = heading.groups()
        found.append(Page(number, path.name, title, status, day, text))
    return found


def test_pages_are_numbered_dated_and_have_a_status() -> None:
    found = pages()
    assert [page.number for page in found] == [f"{n:04}" for n in range(1, len(found) + 1)]
    for page in found:
        assert re.fullmatch(rf"{page.number}-[a-z0-9-]+\.md", page.file)
        date.fromisoformat(page.day)
        assert page.status == "accepted" or SUPERSEDED.fullmatch(page.status), page.file


def test_what_supersedes_a_page_says_so() -> None:
    by_file = {page.file: page for page in pages()}
    for page in by_file.values():
        if superseded := SUPERSEDED.fullmatch(page.status):
            number, file = superseded.groups()
            successor = by_file[file]
            assert successor.number == number > page.number
            assert f"({page.file})" in successor.text, f"{file} does not say what it supersedes"


def test_the_index_lists_each_page_as_it_is() -> None:
    rows = ROW.findall((FOLDER / "README.md").read_text(encoding="utf-8"))
    assert rows == [(p.number, p.file, p.title, p.status, p.day) for p in pages()]
