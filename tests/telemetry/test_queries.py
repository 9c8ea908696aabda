"""Each query of the alerts and guides: what Kusto's language service says of it, and that it runs.

Two things can be wrong with a query that no deployment shows: it names what is not there, and it
finds nothing. The first is the language service's (skipped with a sentence where it is missing),
the second is run here and in test_alerts.py by kql.py.
"""

from __future__ import annotations

import json
import re
from functools import cache

import pytest

from local.process import ROOT
from tests.telemetry import kusto
from tests.telemetry.alerts import NOW, TRACES, alerts, row
from tests.telemetry.kql import UnknownError, columns, run

FOLDER = kusto.find()
needs_kusto = pytest.mark.skipif(FOLDER is None, reason=kusto.MISSING)


@cache
def queries() -> dict[str, str]:
    """By where they stand."""
    found = {f"alert {alert.name}": alert.query for alert in alerts()}
    for page in sorted((ROOT / "docs").rglob("*.md")):
        blocks = re.findall(r"```kusto\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        found |= {f"{page.name}, query {n}": text for n, text in enumerate(blocks, 1)}
    return found


each_query = pytest.mark.parametrize("where", queries())


def analysed(*texts: str) -> list[kusto.Analysis]:
    assert FOLDER is not None
    return kusto.analyse(FOLDER, texts, {"traces": TRACES})


def test_there_is_something_to_look_at() -> None:
    assert len([where for where in queries() if where.startswith("alert")]) >= 6
    assert len([where for where in queries() if where.startswith("operations.md")]) >= 5


@needs_kusto
def test_the_language_service_has_nothing_to_say() -> None:
    answers = zip(queries(), analysed(*queries().values()), strict=True)
    assert {where: said.diagnostics for where, said in answers if said.diagnostics} == {}


@needs_kusto
def test_a_misspelt_column_is_found() -> None:
    wrong = [
        text.replace("parse_json(message)", "parse_json(mesage)") for text in queries().values()
    ]
    found = [[one["text"] for one in said.diagnostics] for said in analysed(*wrong)]
    assert found == [["mesage"]] * len(wrong)


@needs_kusto
def test_the_columns_that_come_out_are_those_that_the_interpreter_makes() -> None:
    """Of both, the names: what each took the query to say."""
    answers = analysed(*queries().values())
    made = [columns(text, row("{}")) for text in queries().values()]
    assert made == [said.columns for said in answers]


@each_query
def test_a_query_passes_over_lines_that_are_not_the_apps(where: str) -> None:
    """A library logs plain text, and JSON that is no object."""
    texts = ["", "plain text", "12", '["event"]', '{"other": {"event": "sweep.done"}}', "{"]
    assert run(queries()[where], {"traces": [row(text) for text in texts]}) == []


@each_query
def test_an_alert_names_what_it_is_about(where: str) -> None:
    """Its dimensions are columns that come out."""
    for alert in alerts():
        if where == f"alert {alert.name}":
            assert set(alert.dimensions) <= set(columns(alert.query, row("{}")))


@pytest.mark.parametrize(
    "text",
    [
        "traces | take 1",
        "traces | where message contains 'a'",
        'traces | where strlen(message) == "a"',
        "traces | summarize max(timestamp)",
        "traces | order by timestamp desc",
        "traces | project timestamp; more",
    ],
)
def test_the_interpreter_refuses_what_it_does_not_know(text: str) -> None:
    with pytest.raises(UnknownError):
        run(text, {"traces": [row("a")]})


def is_true(text: str) -> bool:
    line = '{"event": "a", "n": 3, "word": "5.5", "o": {"by": "x"}, "none": null}'
    query = f"traces | extend e = parse_json(message) | where {text}"
    return bool(run(query, {"traces": [row(line)]}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('tostring(e.event) == "a"', True),
        ('tostring(e.event) == "A"', False),
        ('tostring(e.event) != "b" and todouble(e.n) < 4', True),
        ('tostring(e.event) == "b" or todouble(e.n) >= 3', True),
        ('tostring(e.event) in ("b", "a")', True),
        ('tostring(e.event) in ("b")', False),
        ("todouble(e.word) > 5", True),
        ("todouble(e.none) < 14", False),
        ("todouble(e.absent) >= 0", False),
        ("todouble(e.event) < 14", False),
        ('tostring(e.absent) == ""', True),
        ('tostring(e.o["by"]) == "x"', True),
        ('tostring(e.o.absent.deep) == ""', True),
    ],
)
def test_conditions_hold_as_kusto_says(text: str, expected: bool) -> None:
    """Null compares with nothing: see kusto/query/scalar-data-types/null-values of its guide."""
    assert is_true(text) is expected


def test_an_audit_has_who_decided() -> None:
    """`by` is a word of the language: as a property it stands in brackets."""
    (text,) = [text for text in queries().values() if '"approval.decided"' in text]
    line = '{"event": "approval.decided", "decision": {"by": "ada", "decision": "approve"}}'
    (found,) = run(text, {"traces": [row(line)]})
    assert (found["by"], found["entry_decision_decision"]) == ("ada", "approve")
    assert found["timestamp"] == NOW


def test_the_summaries_count() -> None:
    lines = [json.dumps({"event": "step.done", "step": "stage", "seconds": n}) for n in range(100)]
    (text,) = [text for text in queries().values() if "percentile" in text]
    (found,) = run(text, {"traces": [row(line) for line in lines]})
    assert found == {"entry_step": "stage", "percentile_entry_seconds_95": 94.0, "count_": 100}
