from __future__ import annotations

from datetime import UTC, datetime

import pytest

from local.host.timers import Schedule, ScheduleError

NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)  # a Wednesday


@pytest.mark.parametrize(
    ("text", "following"),
    [
        ("*/5 * * * * *", datetime(2026, 3, 4, 12, 0, 5, tzinfo=UTC)),
        ("0 */15 * * * *", datetime(2026, 3, 4, 12, 15, tzinfo=UTC)),
        ("30 0 3 * * *", datetime(2026, 3, 5, 3, 0, 30, tzinfo=UTC)),
        ("0 0 9 * * 1", datetime(2026, 3, 9, 9, tzinfo=UTC)),
        ("0 0 9 * * mon-fri", datetime(2026, 3, 5, 9, tzinfo=UTC)),
        ("0 0 0 13 * 5", datetime(2026, 3, 13, tzinfo=UTC)),
        ("0 0 0 1 jan *", datetime(2027, 1, 1, tzinfo=UTC)),
        ("15 12 * * *", datetime(2026, 3, 4, 12, 15, tzinfo=UTC)),
        ("%DAILY%", datetime(2026, 3, 5, 3, tzinfo=UTC)),
        ("0 %MINUTES% * * * *", datetime(2026, 3, 4, 12, 20, tzinfo=UTC)),
    ],
)
def test_next_time(text: str, following: datetime) -> None:
    schedule = Schedule(text, {"DAILY": "0 0 3 * * *", "MINUTES": "*/20"})
    assert schedule.after(NOON) == following


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("* * * *", "has 4 fields"),
        ("0 0 0 0 0 0 0", "has 7 fields"),
        ("00:05:00", "has 1 fields"),
        ("0 61 * * * *", "is not NCRONTAB"),
        ("%NOT_THERE%", "NOT_THERE, which is not set"),
    ],
)
def test_next_time_bad(text: str, reason: str) -> None:
    with pytest.raises(ScheduleError, match=reason):
        Schedule(text, {})
