"""What is made from the code is there as it would be made, and says everything that there is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from generate import bicep, events, files, openapi, recovery, schemas
from generate.__main__ import main
from generate.text import between, table
from local.process import ROOT
from rotation.model.catalogue import PREFIX, Announcement, Outcome, announcement_facts, ending
from rotation.model.reasons import Area, Code
from rotation.telling.messages import Event

if TYPE_CHECKING:
    from pathlib import Path

RECOVERY = (ROOT / "docs" / "recovery.md").read_text(encoding="utf-8")
AGAIN = "run `make generated` and commit what it writes"


def test_each_file_is_what_would_be_made() -> None:
    assert [str(path.relative_to(ROOT)) for path in files.differing()] == [], AGAIN


def test_there_is_no_schema_of_an_event_that_is_not_announced() -> None:
    written = {path.name for path in files.EVENTS.glob("*.schema.json")}
    assert written - events.made().keys() == set()


def test_check_writes_nothing_and_names_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = tmp_path / "recovery.md"
    old = RECOVERY.replace("| `completed` |", "| `finished` |")
    guide.write_text(old, encoding="utf-8")
    monkeypatch.setattr(files, "MADE", {guide: recovery.made})
    monkeypatch.setattr(files, "EVENTS", tmp_path / "events")
    monkeypatch.setattr(events, "made", dict)
    assert main(["--check"]) == 1
    assert str(guide) in capsys.readouterr().err
    assert guide.read_text(encoding="utf-8") == old
    assert main([]) == 0
    assert guide.read_text(encoding="utf-8") == RECOVERY
    assert main(["--check"]) == 0


# -- reasons


def used() -> set[str]:
    """The codes that the product names, outside of where they are defined."""
    found: set[str] = set()
    for path in (ROOT / "rotation").rglob("*.py"):
        if path.name != "reasons.py":
            found |= set(re.findall(r"\bCode\.([A-Z_]+)", path.read_text(encoding="utf-8")))
    return found


def test_every_code_is_given_somewhere() -> None:
    assert {code.name for code in Code} - used() == set()


def explained() -> list[str]:
    """Those in the tables of the guide."""
    tables = re.findall(r"^\| code \| .+\n\|[-|]+\n((?:\|.+\n)+)", RECOVERY, re.MULTILINE)
    return [code for rows in tables for code in re.findall(r"^\| `([^`]+)` \|", rows, re.MULTILINE)]


def test_the_guide_explains_every_code_once_and_no_other() -> None:
    assert sorted(explained()) == sorted(Code)


def test_codes_that_the_rest_of_the_guide_names_are_there() -> None:
    by_hand = re.sub(r"<!-- make generated: .*?<!-- end", "", RECOVERY, flags=re.DOTALL)
    begins = by_hand.partition("| `reasons` begins with |")[2].partition("\n\n")[0]
    named = re.findall(r"^\| `([^`]+)`", begins, re.MULTILINE)
    assert len(named) >= 5
    assert set(named) - set(Code) == set()


def test_links_in_remedies_lead_somewhere() -> None:
    """They are read in the guide: tests/onboarding follows them there."""
    links = [link for code in Code for link in re.findall(r"\]\(([^)]+)\)", code.remedy)]
    assert links
    assert [link for link in links if f"]({link})" not in RECOVERY] == []


def test_every_code_fits_a_table_and_a_line() -> None:
    misfits = [
        code
        for code in Code
        if not re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
        or any(
            not text or text != text.strip() or set("|\n") & set(text)
            for text in (code.cause, code.remedy)
        )
    ]
    assert misfits == []


# -- what is missing is said


def test_an_outcome_that_the_guide_has_no_place_for_is_an_error() -> None:
    with pytest.raises(LookupError, match="0 times"):
        recovery.made(RECOVERY.replace("make generated: outcomes", "outcomes"))
    for area in Area:
        with pytest.raises(LookupError, match="0 times"):
            recovery.made(RECOVERY.replace(f"<!-- make generated: {area} -->", ""))


def test_a_place_that_is_there_twice_is_an_error() -> None:
    part = "<!-- make generated: x -->\nold\n<!-- end of what is generated -->\n"
    assert "new" in between(part, "x", "new")
    assert "old" not in between(part, "x", "new")
    with pytest.raises(LookupError, match="2 times"):
        between(part * 2, "x", "new")


def test_what_is_made_ends_where_the_next_begins() -> None:
    part = "<!-- make generated: {} -->\nold\n<!-- end of what is generated -->\n"
    both = part.format("x") + "by hand\n" + part.format("y")
    assert between(both, "x", "new").count("old") == 1
    assert "by hand" in between(both, "x", "new")


def test_a_table_has_a_head() -> None:
    assert table(("a", "b"), ("1", "2")) == "| a | b |\n|---|---|\n| 1 | 2 |"


def test_a_description_of_a_field_that_is_gone_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(schemas.FIELDS, Event, {"topics": "There are none."})
    with pytest.raises(LookupError, match="Event has no topics"):
        schemas.components([Event], "{name}")


def test_a_field_that_no_event_says_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "ENDED", ("outcome", "reasons"))
    with pytest.raises(LookupError, match="outcomeReason"):
        events.made()


def test_a_path_that_names_no_schema_is_an_error() -> None:
    text = (ROOT / "rotation/front/openapi.json").read_text(encoding="utf-8")
    with pytest.raises(LookupError, match="Begin"):
        openapi.made(text.replace('schemas/Start"', 'schemas/Begin"'))


def test_a_schema_that_nothing_names_goes() -> None:
    text = (ROOT / "rotation/front/openapi.json").read_text(encoding="utf-8")
    more = text.replace('"schemas": {', '"schemas": {"Nobodys": {"type": "object"},')
    assert more != text
    assert openapi.made(more) == text


# -- the catalogue in Bicep


def test_an_alarm_is_raised_for_each_outcome_that_has_one() -> None:
    text = (ROOT / "infra/modules/alerts.bicep").read_text(encoding="utf-8")
    queries = re.findall(r'event == "rotation\.finished" and outcome in \(([^)]+)\)', text)
    named = [one for query in queries for one in re.findall(r'"([^"]+)"', query)]
    assert sorted(named) == sorted(one for one in Outcome if ending(one).alarm)


def test_lists_in_bicep_are_replaced_whole() -> None:
    text = (ROOT / "infra/events.bicep").read_text(encoding="utf-8")
    asked = f"        '{PREFIX}AwaitingApproval'\n"
    assert bicep.subscriptions(text.replace(asked, "        'Other'\n" * 2)) == text


def test_whoever_is_asked_by_mail_gets_the_mail() -> None:
    assert all(
        announcement_facts(kind).mailed for kind in Announcement if announcement_facts(kind).asks
    )
