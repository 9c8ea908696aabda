"""Whether a value is beyond its owner's limit, and whether that has lasted for long enough."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import msgspec

from rotation.model import wire
from rotation.model.activities import Measured, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from rotation.model.record import ConditionSeen

WhenAbsent = Literal["ignore", "breach"]

# A source that is not to be asked for a moment is nothing to tell of.
TOLD_AFTER = timedelta(minutes=1)


@dataclass(frozen=True)
class Limit:
    """What a value must not be: `above` a number, or `below` one. One of them is None."""

    above: float | None = None
    below: float | None = None

    def __str__(self) -> str:
        return f"below {self.below:g}" if self.above is None else f"above {self.above:g}"

    def worst(self, values: Iterable[float]) -> float | None:
        """The value that is furthest beyond the limit, or nearest to it; None of none. What is no
        number is no value."""
        numbers = [value for value in values if not math.isnan(value)]
        if not numbers:
            return None
        return min(numbers) if self.above is None else max(numbers)

    def beyond(self, value: float) -> bool:
        if self.above is not None:
            return value > self.above
        return self.below is not None and value < self.below


@dataclass
class Followed:
    """How conditions stand after a look.

    `unknown` are the names of those to tell of, `pending`: one of them is beyond its limit, or may
    be for all that is known, and has not been for long enough yet.
    """

    seen: list[ConditionSeen] = field(default_factory=list)
    standing: dict[str, Standing] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    pending: bool = False

    @property
    def breached(self) -> ConditionSeen | None:
        return next((one for one in self.seen if one.breach is not None), None)


def follow(
    before: Mapping[str, Standing], looked: Iterable[Measured], now: datetime, patience: float
) -> Followed:
    """How conditions stand that stood like that before, by what was looked at now.

    What is not known ends no time beyond a limit, and no breach comes of it but that of a source
    that its owner does not ignore, after `patience` seconds.
    """
    found = Followed()
    for one in looked:
        known = one.seen.known
        last = before.get(one.seen.name, Standing())
        if known:
            stands = Standing(beyond=(last.beyond or wire.moment(now)) if one.seen.beyond else None)
        else:
            stands = Standing(last.beyond, last.unknown or wire.moment(now), last.told)
            if not stands.told and _for(stands.unknown, now) >= TOLD_AFTER:
                stands.told = True
                found.unknown.append(one.seen.name)
        breach = _breach(one, stands, now, patience)
        found.seen.append(msgspec.structs.replace(one.seen, breach=breach))
        found.standing[one.seen.name] = stands
        waits = one.seen.beyond if known else one.unknown_breaches
        found.pending = found.pending or (waits and breach is None)
    return found


def _breach(one: Measured, stands: Standing, now: datetime, patience: float) -> str | None:
    """Why the rotation goes back, in a sentence; None as long as it does not."""
    seen = one.seen
    if not seen.known:
        longest = timedelta(seconds=patience)
        if not one.unknown_breaches or _for(stands.unknown, now) < longest:
            return None
        text = f"condition {seen.name}: nobody has answered for {_span(longest)}, and its owner"
        return f"{text} does not ignore that: {seen.problem}"
    lasts = timedelta(seconds=one.lasts)
    if not seen.beyond or _for(stands.beyond, now) < lasts:
        return None
    if seen.value is None:
        return f"condition {seen.name}: its query finds no data{_lasting(lasts)}"
    return f"condition {seen.name}: its value is {seen.value:g}, {seen.limit}{_lasting(lasts)}"


def _for(since: wire.Moment | None, now: datetime) -> timedelta:
    return now - wire.instant(since) if since else timedelta()


def _lasting(lasts: timedelta) -> str:
    return f", for {_span(lasts)}" if lasts else ""


def _span(lasts: timedelta) -> str:
    seconds = int(lasts.total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
