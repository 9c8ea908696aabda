"""What the benchmarks compute from what they measured."""

from __future__ import annotations

import pytest

from bench import report, rotating
from bench.history import fit
from bench.machine import processor
from bench.startup import largest

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
    assert fit([(0, 1.0), (10, 3.0), (20, 5.0), (5, 2.0)]) == pytest.approx((1.0, 0.2))


def test_largest_adds_up_the_modules_of_a_package() -> None:
    lines = [
        "import time: self [us] | cumulative | imported package",
        "import time:       400 |        400 |   aiohttp.client",
        "import time:       300 |        700 | aiohttp",
        "import time:       500 |        500 | azure.functions.http",
        "import time:       900 |        900 | azure.durable_functions",
    ]
    assert largest("\n".join(lines), 2) == [
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
