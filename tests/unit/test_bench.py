"""What the benchmarks compute from what they measured."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from bench import dry_run, history, methods, report, rotating, startup
from bench.__main__ import arguments, publish
from bench.machine import processor
from tests.local.engine.support import sdk_warnings
from tests.unit.test_coldstart import LATE, loaded_after

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = sdk_warnings  # of the replays

STEPS = [
    {"step": "plan", "since": "2027-03-01T12:00:00.000Z", "until": "2027-03-01T12:00:01.500Z"},
    {"step": "verify", "since": "2027-03-01T12:00:02.000Z", "until": "2027-03-01T12:00:02.250Z"},
    {"step": "verify", "since": "2027-03-01T12:00:03.000Z", "until": "2027-03-01T12:00:03.500Z"},
]
FOUND = {
    "command": "make bench",
    "machine": {
        "date": "2027-03-01",
        "cores": 2,
        "processor": "EPYC",
        "load": 0.1,
        "python": "3.11.7",
        "postgresql": "18.4",
    },
    "methods": [
        {
            "method": "in place",
            "pool": "recycled",
            "failed": 3,
            "requests": 100,
            "longest_gap": 1.234,
            "old_refused": None,
            "seconds": 4.56,
        }
    ],
    "demo": {
        "first": {"plan": 1.1},
        "steps": {"plan": 0.0684},
        "seconds": 3.2,
        "vault_requests": 31,
    },
    "scaling": {"8": {"steps": {"plan": 0.1}, "seconds": 2.0}},
    "startup": {"programs": {"the app": {"ms": 300, "mb": 44.3}}},
    "turns": {"rotations": [{"workloads": 10, "events": 154, "last_ms": 8.5}], "event_us": 50.1},
    "left": {"instances": 13, "events_in_all": 71, "history": 44775, "custom_status": 2361},
    "incident": {
        "replicas": 2,
        "rounds": 3,
        "first": {"refused": 2.5, "serving": 9.1, "pods": 4.2, "locate": 0.9, "cut": 0.3},
        "median": {"refused": 0.8, "serving": 7.0, "pods": 4.0, "locate": 0.2, "cut": 0.1},
    },
    "dryRun": {"workloads": 2, "first": 3.21, "others": [0.4, 0.5, 0.9]},
    "events": {"duplicate": {"best": 365, "worst": 210}},
    "listing": {"20": 14.8},
    "simulation": {"said": "50 runs, 0 violations", "runs_a_second": 20.0},
}


def test_a_step_that_is_taken_twice_counts_together() -> None:
    assert rotating.steps({"steps": STEPS}) == {"plan": 1.5, "verify": 0.75}


def test_a_rotation_lasts_until_its_last_step_ends() -> None:
    record = {"started": "2027-03-01T11:59:59.000Z", "steps": STEPS}
    assert rotating.seconds(record) == 4.5


def test_fit_finds_base_and_slope() -> None:
    assert history.fit([(0, 1.0), (10, 3.0), (20, 5.0), (5, 2.0)]) == pytest.approx((1.0, 0.2))


def test_largest_adds_up_the_modules_of_a_package() -> None:
    lines = [
        "import time: self [us] | cumulative | imported package",
        "import time:       400 |        400 |   aiohttp.client",
        "import time:       300 |        700 | aiohttp",
        "import time:       500 |        500 | azure.functions.http",
        "import time:       900 |        900 | azure.durable_functions",
    ]
    assert startup.largest("\n".join(lines), 2) == [
        {"package": "azure.durable_functions", "ms": 0.9},
        {"package": "aiohttp", "ms": 0.7},
    ]


def test_processor_by_its_name() -> None:
    assert processor("processor\t: 0\nmodel name\t: AMD EPYC\n") == "AMD EPYC"


def test_both_reports_say_everything() -> None:
    plain, marked = report.text(FOUND), report.markdown(FOUND)
    for part in (
        *("2027-03-01", "2 cores", "Python 3.11.7", "PostgreSQL 18.4", "make bench", "1.23 s"),
        *(
            "still accepted",
            "44 MB",
            "8.5 ms over 154 events",
            "1100 ms",
            "210 to 365 a second",
            "15 ms",
            "31",
        ),
        *("50 runs, 0 violations", "68", "8 workloads", "replaced within the change"),
    ):
        assert part in plain, part
        assert part in marked, part


def test_markdown_tables_have_as_many_cells_in_each_row() -> None:
    for table in report.tables(FOUND):
        assert {len(row) for row in table.rows} == {len(table.head)}


def test_the_app_with_its_sdks_is_what_cold_starts_go_without() -> None:
    loaded = loaded_after(startup.EVERYTHING)
    assert [package for package in LATE if package not in loaded] == []


def test_a_program_that_cannot_be_imported_is_named_with_its_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(startup, "PROGRAMS", {"gone": "import rotation.gone"})
    with pytest.raises(RuntimeError, match=r"(?s)import rotation\.gone.*ModuleNotFoundError"):
        startup.measure(rounds=0)


def test_replays_are_of_the_apps_own_rotation_to_its_end() -> None:
    """Its activities are scripted: this fails when they no longer answer what the story expects."""
    found = history.turns((1, 3))
    events = [one["events"] for one in found["rotations"]]
    assert [one["workloads"] for one in found["rotations"]] == [1, 3]
    assert events[0] < events[1]


def of_this_app(**more: Any) -> list[dict[str, Any]]:
    """What is measured, with other methods before it that may fail as they like."""
    good = {"requests": 100, "failed": 0, "kinds": {}, "old_refused": 4.5}
    other = {"method": methods.IN_PLACE, **good, "failed": 7, "old_refused": None}
    return [other, {"method": methods.THIS_APP, **good, **more}]


def test_no_promise_is_broken() -> None:
    assert not list(methods.broken(of_this_app()))


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        ({"requests": 0}, "no request was made"),
        ({"failed": 2, "kinds": {"503": 2}}, "2 of 100 requests failed: {'503': 2}"),
        ({"old_refused": None}, "still logs in"),
    ],
)
def test_a_broken_promise_is_said(measured: dict[str, Any], said: str) -> None:
    (problem,) = methods.broken(of_this_app(**measured))
    assert said in problem


def test_what_was_measured_is_printed_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured, tables = tmp_path / "measured.json", tmp_path / "tables.md"
    publish(FOUND, arguments(["--json", str(measured), "--markdown", str(tables)]))
    assert capsys.readouterr().out == report.text(FOUND)
    assert json.loads(measured.read_text(encoding="utf-8")) == FOUND
    assert tables.read_text(encoding="utf-8") == report.markdown(FOUND)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"ready": False, "milliseconds": 10}, dry_run.NotReadyError),
        ({"ready": True, "milliseconds": 10_001}, dry_run.TooSlowError),
    ],
)
def test_a_dry_run_that_is_slow_or_finds_something_fails_the_measurement(
    answer: dict[str, Any], error: type[Exception]
) -> None:
    def api(*_: object) -> SimpleNamespace:
        return SimpleNamespace(status=200, json=answer)

    stack: Any = SimpleNamespace(client=SimpleNamespace(api=api))
    with pytest.raises(error):
        dry_run.measure(stack, count=1)
    answer.update(ready=True, milliseconds=2000)
    assert dry_run.measure(stack, count=1)["others"] == [2.0]
