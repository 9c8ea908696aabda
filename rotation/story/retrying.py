"""Calls activities for orchestrators, with retries and waits.

Retries live here rather than in the SDK's RetryOptions, which know neither back-off nor the
difference between a fault that passes and one that does not.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from rotation.model import wire
from rotation.model.errors import Failure, StepFailed
from rotation.model.reasons import Code, reason
from rotation.story.hearing import Ears
from rotation.story.version import since

if TYPE_CHECKING:
    from collections.abc import Callable

    import azure.durable_functions as df
    from msgspec import Struct

    from rotation.model.activities import Activity, Reference, Retry, Watched

T = TypeVar("T")
A = TypeVar("A", bound="Struct")
# What an orchestrator's generator yields are the SDK's tasks; it returns a T.
Steps = Generator[Any, Any, T]

FIRST_DELAY = timedelta(seconds=1)
LONGEST_DELAY = timedelta(minutes=1)


@dataclass(frozen=True)
class Again:
    """A failure that is waited for: of which attempt, and when the next one begins."""

    failure: Failure
    attempt: int
    at: datetime


def delay(number: int, retry_after: float | None) -> timedelta:
    """The pause before the next try: 1 s, 2 s, 4 s ... up to a minute.

    It is longer if the other side asked for that, with `retry_after` seconds.
    """
    backed_off: timedelta = min(FIRST_DELAY * 2 ** min(number, 10), LONGEST_DELAY)
    return max(backed_off, timedelta(seconds=retry_after or 0))


def call(
    context: df.DurableOrchestrationContext,
    activity: Activity[A],
    reference: Reference,
    retry: Retry,
    waits: Callable[[Again], None] = lambda _: None,
    ears: Ears | None = None,
) -> Steps[A]:
    """The activity's answer, asked for again as long as `retry` allows, and as long as `ears` hear
    of nothing to stop for. Raises `StepFailed`.

    `waits` hears of each failure that is waited for.
    """
    left, ears = TimeLeft(context, retry), ears or Ears(context)
    for number in itertools.count():
        answer = yield from attempt(context, activity, reference, ears)
        if not isinstance(answer, Failure):
            return answer
        ears.heed()
        pause = left.pause(answer, delay(number, answer.retry_after))
        if pause is None:
            raise StepFailed(activity.name, [answer.reason])
        at = context.current_utc_datetime + pause
        waits(Again(answer, number + 1, at))
        yield from ears.pause(at)
        ears.heed()
    raise AssertionError("unreachable")


class TimeLeft:
    """The time that is left for a call, which depends on what it fails with.

    Refusals count from the first of those that follow each other: an API server that was away for
    minutes refuses everything for some more seconds once it is back, and may be away twice.
    """

    def __init__(self, context: df.DurableOrchestrationContext, retry: Retry) -> None:
        self._context = context
        self._retry = retry
        self._began: dict[str, datetime] = {"transient": context.current_utc_datetime}
        self._last = "transient"

    def pause(self, failure: Failure, wanted: timedelta) -> timedelta | None:
        """The pause before the next try, `wanted` or what is left; None if nothing is."""
        now = self._context.current_utc_datetime
        if not since(self._context, "1.2"):
            return self._pause_until_1_2(failure, wanted)
        kind = "transient" if failure.transient else "refusals" if failure.refused else "final"
        longest = timedelta(seconds=getattr(self._retry, kind))
        if kind not in {"transient", self._last}:
            self._began[kind] = now
        self._last = kind
        left = self._began[kind] + longest - now
        # The last try is at the end of the time, also where the other side asks for a longer pause.
        return min(wanted, left) if left >= FIRST_DELAY else None

    def _pause_until_1_2(self, failure: Failure, wanted: timedelta) -> timedelta | None:
        seconds = self._retry.transient if failure.transient else self._retry.refusals
        end = self._began["transient"] + timedelta(seconds=seconds)
        return wanted if self._context.current_utc_datetime + wanted <= end else None


def attempt(
    context: df.DurableOrchestrationContext,
    activity: Activity[A],
    reference: Reference,
    ears: Ears | None = None,
) -> Steps[A | Failure]:
    """The answer to one call of the activity, or the failure that it ended with."""
    try:
        task = context.call_activity(activity.name, wire.value_of(reference))
        value = wire.decoded((yield from (ears or Ears(context)).beside(task)))
    except Exception:  # noqa: BLE001 - its type differs between 1.x and 2.x
        # Activities answer with their failures: this one was cut off before it could answer.
        text = f"{activity.name} was cut off (timeout, crash or scale-in); see its log"
        return Failure(Code.CUT_OFF, text, transient=True, remedy=Code.CUT_OFF.remedy)
    if "error" in value:
        return wire.read(Failure, value["error"])
    return wire.read(activity.answer, value)


def wait(
    ears: Ears,
    activity: Activity[Watched],
    reference: Reference,
    seconds: float,
    retry: Retry,
    shows: Callable[[str | Again], None] = lambda _: None,
) -> Steps[Watched]:
    """The last answer of a bounded watch, repeated until it is `done` or `seconds` are over.

    `shows` hears of what each watch has seen that is not the last, and of each failure that is
    waited for. Raises `StepFailed`, also where `ears` hear of something to stop for.
    """
    context = ears.context
    deadline = context.current_utc_datetime + timedelta(seconds=seconds)
    while True:
        watched = yield from call(context, activity, reference, retry, shows, ears)
        if watched.done or context.current_utc_datetime >= deadline:
            return watched
        ears.heed()
        shows(watched.observed)
        # The watch itself lasts; the pause only keeps one that returns early from spinning.
        yield from ears.pause(context.current_utc_datetime + FIRST_DELAY)
        ears.heed()


def overdue(
    activity: Activity[Watched], code: Code, seconds: float, watched: Watched
) -> StepFailed:
    """The error for a wait that is not done after `seconds`, by its own code or else by `code`."""
    text = f"not done after {seconds:.0f} s: {watched.observed}"
    # One that a newer release answered with may be none of this one's.
    known = {str(each): each for each in Code}
    return StepFailed(activity.name, [reason(known.get(watched.code or "", code), text)])
