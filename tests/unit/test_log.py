"""Log lines: one JSON object each, without anybody else's text."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rotation import log

if TYPE_CHECKING:
    import pytest


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(record.getMessage()) for record in caplog.records]


def test_an_event_is_one_json_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "rotation"):
        log.event(
            "step.done",
            rotation="r-1",
            text="a\nb \u2028 %s {}",
            at=datetime(2027, 1, 1, tzinfo=UTC),
        )
        log.event("step.failed", level=logging.WARNING, error={"kind": "denied"})
    assert logged(caplog) == [
        {
            "event": "step.done",
            "rotation": "r-1",
            "text": "a\nb \u2028 %s {}",
            "at": "2027-01-01 00:00:00+00:00",
        },
        {"event": "step.failed", "error": {"kind": "denied"}},
    ]
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert "\n" not in caplog.records[0].getMessage()


def test_where_tells_places_and_not_texts() -> None:
    def fails() -> None:
        raise ValueError("hunter2")

    frames: list[str] = []
    try:
        fails()
    except ValueError as error:
        frames = log.where(error.__traceback__)
    assert frames[-1].endswith(" fails")
    assert "test_log.py:" in frames[-1]
    assert "hunter2" not in "".join(frames)


def test_where_of_nothing() -> None:
    assert log.where(None) == []


def test_the_sdks_are_quiet() -> None:
    log.quiet_sdks()
    for name in ("azure.core.pipeline", "kubernetes.client.rest", "urllib3.connectionpool", "msal"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
