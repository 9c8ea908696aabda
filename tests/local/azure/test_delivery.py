"""When Event Grid tries again, and when it gives up."""

from __future__ import annotations

import pytest

from local.delivery import LIFE, RETRIES, after_answer
from local.outbox import without_code


@pytest.mark.parametrize("status", [200, 201, 202, 203, 204])
def test_delivered(status: int) -> None:
    assert after_answer(status, 1, 0, 1) == ("delivered", 0)


@pytest.mark.parametrize("status", [400, 401, 403, 413])
def test_hopeless(status: int) -> None:
    assert after_answer(status, 1, 0, 1) == ("dead-lettered", 0)


@pytest.mark.parametrize(
    ("status", "attempts", "wait"),
    [
        (None, 1, 10),
        (500, 1, 10),
        (500, 2, 30),
        (302, 4, 300),
        (404, 1, 300),
        (408, 1, 120),
        (503, 1, 30),
        (503, 7, 3600),
        (500, 99, 43200),
    ],
)
def test_repeated(status: int | None, attempts: int, wait: float) -> None:
    assert after_answer(status, attempts, 0, 1) == (None, wait)


def test_whole_schedule_ends_within_a_day() -> None:
    age, attempts = 0.0, 0
    outcome: str | None = None
    while outcome is None:
        attempts += 1
        outcome, wait = after_answer(500, attempts, age, 1)
        age += wait
    assert outcome == "expired"
    assert age <= LIFE < age + RETRIES[-1]


def test_scale() -> None:
    assert after_answer(500, 1, 0, 0.01) == (None, 0.1)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/p?functionName=f&code=k==", "http://h/p?functionName=f"),
        ("http://h/p?code=k", "http://h/p"),
        ("http://h/p", "http://h/p"),
    ],
)
def test_code_is_left_out(url: str, shown: str) -> None:
    assert without_code(url) == shown
