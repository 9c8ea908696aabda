"""When the next rotation is due, and how that was worked out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotation.decisions.due import due
from rotation.decisions.plan import EVENT_SLACK
from rotation.model import wire
from rotation.settings import parse
from tests.unit.people import NOW

EARLY = "; that Key Vault announces it 30 days before comes too early."
SAYS = "Secret s expires on 22 Feb 2027, 03:00 UTC. The daily sweep finds it due"


@pytest.mark.parametrize(
    ("before", "at", "says"),
    [
        (30, 60, "30 days before (rotateBefore), and Key Vault announces it 30 days before."),
        (45, 45, "45 days before (rotateBefore), and Key Vault announces it 30 days before."),
        (29, 60, "29 days before (rotateBefore), and Key Vault announces it 30 days before."),
        (28, 62, f"28 days before (rotateBefore){EARLY}"),
    ],
)
def test_the_sweep_or_the_announcement_makes_it_due_whichever_is_first(
    before: int, at: int, says: str
) -> None:
    found = due("s", NOW + timedelta(days=90), timedelta(days=before), NOW)
    assert found.at == wire.moment(NOW + timedelta(days=at))
    assert found.text == f"{SAYS} {says}"


def test_an_announcement_counts_here_as_it_does_where_it_is_taken() -> None:
    """As `take` in front/triggers.py has it: `rotateBefore` and the slack reach 30 days."""
    expires, shortest = NOW + timedelta(days=90), timedelta(days=30) - EVENT_SLACK
    hour = timedelta(hours=1)
    announced = wire.moment(expires - timedelta(days=30))
    assert due("s", expires, shortest, NOW).at == announced
    assert due("s", expires, shortest - hour, NOW).at == wire.moment(expires - shortest + hour)
    assert "695 h before" in due("s", expires, shortest - hour, NOW).text


def test_what_is_due_paused_or_never_due_is_said() -> None:
    late = due("s", NOW + timedelta(days=9), timedelta(days=30), NOW, schedule="0 0 6 * * *")
    assert late.text.endswith("It is due now: the sweep (0 0 6 * * *) starts it at its next run.")
    paused = due("s", NOW + timedelta(days=90), timedelta(days=30), NOW, paused=True)
    assert paused.text.endswith("The app is paused: nothing starts by itself (ROTATION_PAUSED).")
    never = due("s", None, timedelta(days=30), NOW)
    assert (never.at, never.text) == (None, "Never by itself: secret s has no expiry date.")


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("0 0 6 * * *", "0 0 6 * * *"),
        ("0 */5 6-18 * * Mon-Fri", "0 */5 6-18 * * Mon-Fri"),
        ("", None),
        ("AccountKey=abc", None),
        ("1.00:00:00", None),
    ],
)
def test_a_schedule_is_told_only_where_it_is_one(given: str, read: str | None) -> None:
    assert parse({"ROTATION_SWEEP_SCHEDULE": given}).sweep_schedule == read
