"""What the measurements of other frameworks count, judge and write."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from bench.frameworks import building, command, measuring, table
from bench.frameworks.catalogue import FRAMEWORKS, Framework, Shape
from bench.frameworks.measuring import Found

if TYPE_CHECKING:
    from pathlib import Path

NONE = {"keep-alive": 0, "pooled": 0}
BOTH = {"keep-alive": 8, "pooled": 3}


def found(**changed: Any) -> Found:
    one = Found("express", "Express", "none", "as it comes", lame_duck=False)
    one.approved, one.rejected, one.elsewhere = [BOTH, NONE], [NONE], dict(NONE)
    one.requests = 900
    for name, value in changed.items():
        setattr(one, name, value)
    return one


def measured(*each: Found, left_out: list[str]) -> dict[str, Any]:
    machine = {"date": "2027-03-01", "cores": 2, "processor": "EPYC", "load": 0.1}
    return {
        "machine": {**machine, "python": "3.11.7", "postgresql": "18.4"},
        "pace": vars(command.QUICK),
        "measured": list(each),
        "left_out": left_out,
    }


def test_a_request_for_each_connection_breaks_no_promise() -> None:
    assert measuring.broken(found()) == []
    assert measuring.broken(found(rejected=[{"keep-alive": 3, "pooled": 0}])) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"approved": [{"keep-alive": 9, "pooled": 0}]}, "over 8 requests .* after an approval"),
        ({"elsewhere": {"keep-alive": 0, "pooled": 1}}, "without a decision"),
        ({"requests": 0}, "no request was made"),
        ({"lame_duck": True}, "over 0 requests"),
        ({"lame_duck": True, "approved": [], "rejected": [BOTH]}, "over 0 requests .* rejection"),
    ],
)
def test_more_is_a_broken_promise_bad(changed: dict[str, Any], said: str) -> None:
    (problem,) = measuring.broken(found(**changed))
    assert re.search(said, problem), problem


def test_the_table_is_written_into_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "applications.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(table, "PAGE", page)
    table.write(measured(found(), left_out=["Go is left out: no go here"]))
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| Express | as it comes | 8, 0 | 3, 0 | 0 | 0 | 900 |" in text
    assert "Go is left out: no go here." in text
    page.write_text("no place", encoding="utf-8")
    with pytest.raises(LookupError, match="has no place between"):
        table.write(measured(left_out=[]))


def test_the_terminal_has_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    text = table.text(measured(found(), left_out=["Go is left out: no go here"]))
    assert "2027-03-01" in text
    assert "Express      as it comes" in text
    assert text.endswith("Go is left out: no go here\n")


def test_a_missing_tool_is_named_and_an_error_of_the_build_shown_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "BUILT", tmp_path / "built")
    shape = (Shape("one", "one"),)
    needs = Framework("x", "X", "express", ("no-such-tool",), ("true",), ("true",), shape)
    with pytest.raises(building.ToolMissing, match="X is left out: no no-such-tool here"):
        building.build(needs)
    fails = Framework("x", "X", "express", (), ("sh", "-c", "echo why; exit 3"), ("true",), shape)
    with pytest.raises(building.NotBuilt, match=r"(?s)ended with 3:\nwhy"):
        building.build(fails)


def test_it_is_built_once_for_what_its_sources_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "BUILT", tmp_path / "built")
    monkeypatch.setattr(building, "SOURCES", tmp_path / "sources")
    source = tmp_path / "sources" / "folder" / "main"
    source.parent.mkdir(parents=True)
    source.write_text("1", encoding="utf-8")
    build = ("sh", "-c", "cat main >> ../../builds; cp main {built}/main")
    one = Framework("x", "X", "folder", (), build, ("{built}/main",), (Shape("one", "one"),))
    for text in ("1", "1", "2"):
        source.write_text(text, encoding="utf-8")
        assert (building.build(one) / "main").read_text(encoding="utf-8") == text
    assert (tmp_path / "builds").read_text(encoding="utf-8") == "12"
    assert building.command(one, one.shapes[0]) == [str(tmp_path / "built" / "x" / "main")]


def test_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.arguments([]).names == [framework.name for framework in FRAMEWORKS]
    with pytest.raises(SystemExit):
        command.arguments(["rails"])
    assert "not known: rails; there is express, go" in capsys.readouterr().err
    assert command.main(["--write", "go"]) == 2
    assert "--write takes the whole" in capsys.readouterr().err


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.name)
def test_each_framework_comes_as_it_is_and_with_one_recipe(framework: Framework) -> None:
    quick = command.shapes(framework, quick=True)
    assert [shape.lame_duck for shape in quick] == [False, True]
    assert {shape.name for shape in quick} <= {shape.name for shape in framework.shapes}
