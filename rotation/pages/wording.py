"""Numbers and times as people read them. Times of day are in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def count(number: int, thing: str) -> str:
    """A number of things in words: `1 test`, `2 tests`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def span(length: timedelta) -> str:
    """A length of time in words, two units at most: `40 ms`, `4.0 s`, `4 min 10 s`, `62 days`."""
    seconds = max(length.total_seconds(), 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days >= 3:
        return f"{days} days"
    if days:
        return f"{count(days, 'day')} {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def ago(length: timedelta) -> str:
    """How long ago something was, in words."""
    return "just now" if length < timedelta(seconds=1) else f"{span(length)} ago"


def clock(value: str | datetime | None, now: datetime) -> str:
    """The time of day in UTC, with the date if it is another day; empty for None."""
    if value is None:
        return ""
    at = moment(value).astimezone(UTC)
    if at.date() == now.astimezone(UTC).date():
        return f"{at:%H:%M:%S} UTC"
    return f"{at:%-d %b %Y, %H:%M} UTC"


def moment(value: str | datetime) -> datetime:
    """The time that an ISO 8601 text says."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
