"""What was found out on the real things, told at the end of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from _pytest.terminal import TerminalReporter

TOLD = "told"


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    reports = [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]
    lines = [line for report in reports for kind, line in report.user_properties if kind == TOLD]
    if lines:
        terminalreporter.section("on real things")
    for line in lines:
        terminalreporter.line(line)


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes a line for the end of the run."""
    return lambda line: record_property(TOLD, line)
