"""The hours in which an owner lets rotations begin, by the clocks of their time zones.

Both changes of a clock: a time of day that a clock leaves out is the first instant after the gap,
and of one that it shows twice a window has both. What a zone's clock shows is the tz database's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    # From the first instant on, until right before the second one.
    Span = tuple[datetime, datetime]

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES = 24 * 60  # of a day
HORIZON = timedelta(days=400)  # in which an opening is looked for: every day of a year, and some
CLOSES_WITHIN = timedelta(days=14)  # in which a closing is looked for


@dataclass(frozen=True)
class Window:
    """Hours of the days on which they begin; Monday is 0. `start` and `end` are minutes after
    midnight; an end that is no later than the start is the next day's."""

    days: frozenset[int]
    start: int
    end: int
    zone: str

    @property
    def lasts(self) -> timedelta:
        """How long it is where no clock changes."""
        return timedelta(minutes=self._end - self.start)

    @property
    def _end(self) -> int:
        return self.end if self.end > self.start else self.end + MINUTES

    def spans(self, at: datetime) -> Iterator[Span]:
        """When it is open, in its order: from the last time before `at` on."""
        zone = ZoneInfo(self.zone)
        first = at.astimezone(zone).date() - timedelta(days=2)
        for number in count():
            day = first + timedelta(days=number)
            if day.weekday() in self.days:
                yield self._span(zone, day)

    def _span(self, zone: ZoneInfo, day: date) -> Span:
        begins = _instant(zone, day, self.start, last=False)
        ends = _instant(zone, day, self._end, last=True)
        # One that lies in a gap as a whole comes after it.
        return begins, ends if ends > begins else begins + self.lasts


@dataclass(frozen=True)
class Blackout:
    """Days on which nothing begins, whatever the windows say; the last one too."""

    first: date
    last: date
    zone: str

    @property
    def span(self) -> Span:
        zone, after = ZoneInfo(self.zone), self.last + timedelta(days=1)
        return _instant(zone, self.first, 0, last=False), _instant(zone, after, 0, last=True)


@dataclass(frozen=True)
class Hours:
    """A credential's windows and blackouts. Without windows any time is one."""

    windows: tuple[Window, ...] = ()
    blackouts: tuple[Blackout, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.windows or self.blackouts)


@dataclass(frozen=True)
class Opening:
    """A time in which rotations may begin; `closes` is None where it is open for very long. `zone`
    is that by whose clock people think of it."""

    opens: datetime
    closes: datetime | None
    zone: str

    @property
    def words(self) -> str:
        local = self.opens.astimezone(ZoneInfo(self.zone))
        return f"{local:%a} {local.day} {local:%b %Y, %H:%M} {self.zone}"


def opening(hours: Hours, at: datetime) -> Opening | None:
    """The time in which rotations may begin that is open at `at`, where it opens then, or else the
    next one; None if there is none within `HORIZON`."""
    shut = sorted(blackout.span for blackout in hours.blackouts)
    if not hours.windows:
        opens = _past(shut, at)
        zone = hours.blackouts[0].zone if hours.blackouts else "UTC"
        late = opens > at + HORIZON
        return None if late else Opening(opens, _next_shut(shut, opens), zone)
    firsts = [(_first(window, shut, at), window.zone) for window in hours.windows]
    found = [(opens, zone) for opens, zone in firsts if opens is not None]
    if not found:
        return None
    opens, zone = min(found)
    return Opening(opens, _closing(hours, shut, opens), zone)


def _first(window: Window, shut: list[Span], at: datetime) -> datetime | None:
    """The first instant, from `at` on, at which a window is open that no blackout shuts."""
    for begins, ends in window.spans(at):
        opens = _past(shut, max(begins, at))
        if opens > at + HORIZON:
            return None
        if opens < ends:
            return opens
    raise AssertionError("unreachable")


def _past(shut: list[Span], at: datetime) -> datetime:
    """The first instant from `at` on that is in no blackout."""
    for begins, ends in shut:  # in the order in which they begin
        if begins <= at < ends:
            at = ends
    return at


def _closing(hours: Hours, shut: list[Span], opens: datetime) -> datetime | None:
    """When a time that opens then is over: at the end of its windows, which may follow each other
    closely, or at a blackout."""
    ends = opens
    while ends < opens + CLOSES_WITHIN:
        further = max(_ends_at(window, ends) for window in hours.windows)
        if further == ends:
            break
        ends = further
    stopped = _next_shut(shut, opens)
    if stopped is not None and stopped < ends:
        return stopped
    return ends if ends < opens + CLOSES_WITHIN else None


def _ends_at(window: Window, at: datetime) -> datetime:
    """When a window ends that is open at that instant; that instant if it is not."""
    for begins, ends in window.spans(at):
        if begins > at:
            break
        if at < ends:
            return ends
    return at


def _next_shut(shut: list[Span], at: datetime) -> datetime | None:
    return next((begins for begins, _ in shut if begins > at), None)


def _instant(zone: ZoneInfo, day: date, minutes: int, *, last: bool) -> datetime:
    """When a clock shows a time of day, in UTC: the first time or, with `last`, the last one. After
    the gap, where it never does."""
    shown = datetime.combine(day, time(), tzinfo=zone) + timedelta(minutes=minutes)
    at = shown.replace(fold=int(last)).astimezone(UTC)
    if _shows(zone, at) == shown.replace(tzinfo=None):
        return at
    # https://peps.python.org/pep-0495/: with these folds one is before a gap, the other after it.
    before, after = (shown.replace(fold=fold).astimezone(UTC) for fold in (1, 0))
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        if _shows(zone, middle) < shown.replace(tzinfo=None):
            before = middle
        else:
            after = middle
    return after


def _shows(zone: ZoneInfo, at: datetime) -> datetime:
    """What a clock shows, without its zone."""
    return at.astimezone(zone).replace(tzinfo=None)
