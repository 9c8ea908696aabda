"""What is said of what was counted; the places that it leads to are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from local.process import ROOT
from rotctl import rehearsing
from rotctl.__main__ import main
from rotctl.exits import Exit
from rotctl.rehearse import verdict
from rotctl.rehearse.counts import KINDS, Line, Span
from rotctl.rehearse.plan import IMAGE
from rotctl.rehearse.verdict import Measured, findings

QUIET = Span(100, 0, 8, {}, {"2xx": 100})


def measured(
    *,
    steady: dict[str, int] | None = None,
    move: dict[str, int] | None = None,
    end: dict[str, int] | None = None,
    told: int = 0,
    held: int = 0,
    connections: int = 8,
    **more: Any,
) -> Measured:
    return Measured(
        Span(100, 0, 8, steady or {}, {}),
        Span(100, 0, 8, move or {}, {}),
        Span(100, told, held, end or {}, {}),
        connections,
        2.0,
        30.0,
        **more,
    )


@pytest.mark.parametrize(
    ("seen", "code", "recipe"),
    [
        (measured(told=8), "told", "what-a-recipe-does"),
        (measured(held=8), "proxied", "an-ingress-or-a-mesh-in-front"),
        (measured(connections=0), "keeps-none", "for-whom-no-request-fails"),
        (measured(end={"kept-idle": 8}), "untold", "what-a-recipe-does"),
        (measured(end={"kept-in-flight": 8}, framework="go"), "untold", "go-nethttp"),
        (measured(end={"kept-timeout": 1}, framework="spring"), "untold", "spring-boot-on-tomcat"),
        (measured(end={"kept-idle": 3}, told=5), "told-too-few", "what-a-recipe-does"),
        (measured(end={"cut": 1}, framework="uvicorn"), "cut", "uvicorn"),
        (measured(end={"status": 4}, framework="express", told=8), "status", "express-and"),
        (measured(end={"refused": 4}, told=8), "unserved", "1-what-your-application"),
        (measured(end={"timeout": 1, "fresh-closed": 1}, told=8), "unserved", "1-what-your"),
        (measured(move={"kept-idle": 8}), "move", "1-what-your-application"),
        (measured(steady={"timeout": 2}), "unsteady", "1-what-your-application"),
    ],
)
def test_what_is_said(seen: Measured, code: str, recipe: str) -> None:
    (found,) = findings(seen)
    assert found.code == code
    assert found.recipe.partition("#")[2].startswith(recipe)
    assert found.good == (seen.lost == 0)


def test_several_things_are_said_at_once_the_worst_first() -> None:
    seen = measured(steady={"status": 1}, end={"kept-idle": 7, "cut": 1}, killed=True)
    assert [one.code for one in findings(seen)] == ["unsteady", "untold", "cut", "killed"]


def test_one_that_was_killed_and_lost_nothing() -> None:
    assert [one.code for one in findings(measured(told=8, killed=True))] == ["killed", "told"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_failure_at_the_end_is_passed_over(kind: str) -> None:
    (found,) = findings(measured(end={kind: 1}))
    assert not found.good


def test_what_a_client_that_looks_would_have_saved_is_said() -> None:
    (found,) = findings(measured(end={"kept-idle": 5, "kept-in-flight": 3}))
    assert "8 requests failed" in found.text
    assert "saved 5" in found.text


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def anchors(page: str) -> set[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return {slug(found) for found in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def test_each_place_that_is_named_is_there() -> None:
    named = {f"{verdict.GUIDE}#{anchor}" for anchor in verdict.RECIPES.values()}
    named |= {f"{verdict.GUIDE}#{anchor}" for anchor in (verdict.WHAT, verdict.WHOM, verdict.PROXY)}
    for each in {*named, verdict.READY}:
        page, _, anchor = each.partition("#")
        assert anchor in anchors(page), each


def test_each_recipe_of_the_guide_can_be_named() -> None:
    text = (ROOT / verdict.GUIDE).read_text(encoding="utf-8")
    sections = {slug(found) for found in re.findall(r"^## (.+)$", text, re.MULTILINE)}
    others = {verdict.WHAT, verdict.WHOM, verdict.PROXY}
    assert sections - others == set(verdict.RECIPES.values())


def test_what_happens_between_two_lines() -> None:
    first = Line(10.0, "", 8, 100, 100, 1, (1.0, 2.0), {"cut": 1}, {"2xx": 100})
    last = Line(20.0, "", 8, 150, 149, 3, (2.0, 15.0), {"cut": 1, "refused": 2}, {"2xx": 149})
    assert Span.between(first, last) == Span(50, 2, 1, {"refused": 2}, {"2xx": 49})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"at": 1}', '{"kept": [], "more": 1}', "null"])
def test_a_line_that_is_none(text: str) -> None:
    assert Line.of(text) is None


def test_the_guide_has_a_row_for_each_code() -> None:
    text = (ROOT / "docs" / "rotctl.md").read_text(encoding="utf-8")
    section = text.partition("## Rehearse\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \|", section, re.MULTILINE)
    said = {code for row in rows for code in re.findall(r"`([a-z-]+)`", row)}
    source = Path(verdict.__file__).read_text(encoding="utf-8")
    assert said == set(re.findall(r'Finding\(\s*"([a-z-]+)"', source))
    assert IMAGE in section


def test_what_people_read() -> None:
    seen = measured(end={"kept-idle": 7, "refused": 1}, framework="uvicorn")
    first, second, how, _, recipe, *_ = rehearsing.lines(seen)
    assert first == "8 connections were kept to the pod that ended, which took 2.0 of its 30 s."
    assert second == "300 requests, of which 8 failed."
    closed, refused = how.removeprefix("  at the end: ").split(", ")
    assert closed == "7 on a kept connection that the server had closed"
    assert refused == "1 since no connection could be made"
    assert recipe == "  docs/applications.md#uvicorn"


@pytest.mark.parametrize("name", ["", "orders/", "a/b/c", "-n/api", "orders/Api", "orders/a;b"])
def test_a_name_that_is_none(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rehearse", "--yes", "--", name]) == Exit.USAGE
    assert "is no name of a Deployment" in capsys.readouterr().err
