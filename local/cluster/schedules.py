"""The schedules of CronJobs: five fields, a name like `@hourly`, or `@every 90s`; all of it in UTC.

https://pkg.go.dev/github.com/robfig/cron/v3, which the CronJob controller reads them with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Of minute, hour, day of the month, month and day of the week: first, last, and names.
FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: number for number, name in enumerate(MONTHS, 1)}),
    (0, 6, {name: number for number, name in enumerate(DAYS)}),
)
EVERY = re.compile(r"@every (?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
STAR = re.compile(r"[*?](?:/1)?")  # every second day is no star any more
LONGEST = timedelta(days=366 * 5)  # that is looked ahead: a 29 February may be as far


@dataclass(frozen=True)
class Fields:
    """The values that each field allows."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool  # one of the two fields for days is a star: both have to fit

    def next(self, after: datetime) -> datetime | None:
        """The first time after `after`; None if there is none in years."""
        moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
        end = after + LONGEST
        while moment < end:
            if moment.month not in self.months or not self._has_day(moment):
                moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
            elif moment.hour not in self.hours:
                moment = moment.replace(minute=0) + timedelta(hours=1)
            elif moment.minute not in self.minutes:
                moment += timedelta(minutes=1)
            else:
                return moment
        return None

    def _has_day(self, moment: datetime) -> bool:
        fits = (moment.day in self.days, moment.isoweekday() % 7 in self.weekdays)
        return all(fits) if self.any_day else any(fits)


@dataclass(frozen=True)
class Every:
    """A fixed time from one run to the next."""

    period: timedelta

    def next(self, after: datetime) -> datetime | None:
        return after.replace(microsecond=0) + self.period


def parse(text: str) -> Fields | Every:
    """The schedule that a text is. Raises `ValueError`."""
    if text.startswith("@every "):
        return _every(text)
    if "TZ" in text:
        raise ValueError("cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
    parts = NAMED.get(text, text).split()
    if len(parts) != len(FIELDS):
        raise ValueError(f"expected exactly 5 fields, found {len(parts)}: [{text}]")
    minutes, hours, days, months, weekdays = (
        frozenset(_values(part, *field)) for part, field in zip(parts, FIELDS, strict=True)
    )
    any_day = any(STAR.fullmatch(parts[number]) for number in (2, 4))
    return Fields(minutes, hours, days, months, weekdays, any_day)


def _every(text: str) -> Every:
    found = EVERY.fullmatch(text)
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    period = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if not period:
        raise ValueError(f"failed to parse duration {text}")
    return Every(period)


def _values(text: str, first: int, last: int, names: dict[str, int]) -> set[int]:
    """The values of a field: `*`, `5`, `1-5`, `*/15`, `1-30/2`, `mon-fri`, and lists of these."""
    values: set[int] = set()
    for item in text.lower().split(","):
        span, slash, step = item.partition("/")
        low, dash, high = span.partition("-")
        if span in {"*", "?"}:
            start, end = first, last
        else:
            start = _number(low, names)
            end = _number(high, names) if dash else last if slash else start
        width = _number(step, {}) if slash else 1
        if start < first or end > last or start > end or not width:
            raise ValueError(f"{item} is not within {first}-{last}")
        values.update(range(start, end + 1, width))
    return values


def _number(text: str, names: dict[str, int]) -> int:
    if text in names:
        return names[text]
    if not text.isdecimal():
        raise ValueError(f"failed to parse int from {text}")
    return int(text)
