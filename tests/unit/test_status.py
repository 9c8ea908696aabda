"""Pieces of the orchestrators that need no orchestration."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotation.model.wire import decoded, instant, moment, truncated
from rotation.story.retrying import delay
from rotation.story.status import LIMIT, truncated_status


@pytest.mark.parametrize("value", [None, 1, True, [], {"a": [1, None, "ü"]}])
def test_decoded(value: Any) -> None:
    """As 2.x hands it over, and as 1.x does."""
    assert decoded(value) == value
    assert decoded(json.dumps(value)) == value


def test_moment() -> None:
    at = datetime(2027, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    assert moment(at) == "2027-03-01T12:00:00.123Z"
    assert instant(moment(at)) == at.replace(microsecond=123000)


@pytest.mark.parametrize(
    ("number", "asked", "seconds"),
    [
        (0, None, 1),
        (1, None, 2),
        (5, None, 32),
        (6, None, 60),
        (7, None, 60),
        (10_000, None, 60),
        (0, 0, 1),
        (0, 30, 30),
        (5, 30, 32),
        (0, 3600, 3600),
    ],
)
def test_delay(number: int, asked: float | None, seconds: float) -> None:
    assert delay(number, asked) == timedelta(seconds=seconds)


def status(text: str, workloads: int = 50, steps: int = 20, reasons: int = 200) -> dict[str, Any]:
    return {
        "rotation": "orders-db-near-expiry-0123456789ab",
        "request": {
            "reason": text[:500],
            "requestedBy": text[:500],
            "knownAs": [text[:200]] * 10,
        },
        "workloads": {f"{'w' * 60}-{n:02}": "swap-back" for n in range(workloads)},
        "steps": [
            {
                "step": f"step-{n}",
                "since": "2027-03-01T12:00:00.123Z",
                "until": None,
                "failure": text,
            }
            for n in range(steps)
        ],
        "approval": {"event": "decision-1", "ignored": [text] * 5},
        "cancelling": {"event": None, "gate": 6, "ignored": [text[:500]] * 5},
        "cancelled": {
            "id": "0123456789abcdef",
            "knownAs": [text[:200]] * 10,
            "by": text[:200],
            "channel": text[:200],
            "comment": text[:2000],
        },
        "changed": [text[:160]] * 11,
        "releases": [{"code": "release-left-behind", "text": text[:300], "remedy": text}]
        * min(reasons, 20),
        "decision": {
            "id": "0123456789abcdef",
            "knownAs": [text[:500]] * 10,
            "by": text[:500],
            "comment": text[:2000],
        },
        "outcome": "needs-attention",
        "outcomeReason": text,
        "reasons": [{"code": "test-status", "text": text, "remedy": text, "command": text}]
        * reasons,
        "waivers": [
            {"code": "active-not-healthy", "text": text, "by": text[:500], "via": "request"}
        ]
        * reasons,
        "doubts": [
            {
                "code": "no-readiness-probe",
                "text": text,
                "remedy": text,
                "object": text[:100],
                "command": text,
            }
        ]
        * reasons,
        "untold": [text] * 5,
    }


@pytest.mark.parametrize(
    "text", ["x" * 20_000, "漢" * 20_000, "𝄞" * 20_000, "\x00" * 20_000, '"' * 20_000]
)
def test_a_status_fits(text: str) -> None:
    found = truncated_status(status(text, steps=300))
    assert len(json.dumps(found)) <= LIMIT
    assert found["rotation"] == "orders-db-near-expiry-0123456789ab"
    assert found["workloads"] == status(text)["workloads"]
    assert found["steps"][-1]["step"] == "step-299"
    assert found["decision"]["id"] == found["cancelled"]["id"] == "0123456789abcdef"
    assert found["approval"]["event"] == "decision-1"


def test_a_status_that_fits_is_shown_as_it_is() -> None:
    given_ = status("x" * 50, workloads=3, steps=5, reasons=3)
    assert truncated_status(given_) is given_


@pytest.mark.parametrize(("more", "whole"), [(0, True), (1, False)])
def test_a_status_may_be_as_long_as_it_may(more: int, whole: bool) -> None:
    short = status("x" * 50, workloads=3, steps=5, reasons=3)
    given_ = {**short, "outcomeReason": ""}
    given_["outcomeReason"] = "x" * (LIMIT + more - len(json.dumps(given_)))
    assert (truncated_status(given_) == given_) is whole


@given(st.text(max_size=300), st.integers(7, 400))
def test_truncated(text: str, longest: int) -> None:
    found = truncated(text, longest)
    assert len(json.dumps(found)) - 2 <= longest
    assert found == text or (found.endswith("…") and text.startswith(found[:-1]))
    if len(json.dumps(text)) - 2 <= longest:
        assert found == text
