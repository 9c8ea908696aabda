"""Waits for the windows that a credential's owner allows.

When one opens an activity answers, which knows what the clocks of time zones show: its answer
stands in the history, so that a later release of the tz database changes no replay. It is asked by
the story's own clock, once a day at least, and that clock decides whether an answer still holds.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from rotation.model import wire
from rotation.model.catalogue import Announcement, StepName
from rotation.model.errors import MadeWay, StepFailed
from rotation.model.reasons import Code, reason
from rotation.model.record import AwaitedWindow
from rotation.story.hearing import LONGEST_TIMER
from rotation.story.version import since

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.model.activities import Opening
    from rotation.story.progress import Run
    from rotation.story.retrying import Steps

SHORTEST_PAUSE = timedelta(seconds=1)


def in_window(
    run: Run, before: StepName, waits: Callable[[], Steps[None]] | None = None
) -> Steps[bool]:
    """Waits until a window is open, and returns whether it had to: then hours, or days, have
    passed. `waits` is what comes before that. Raises `StepFailed`, also where somebody cancels
    meanwhile."""
    if not run.policy.windows or not since(run.context, "1.2"):
        return False
    found = yield from run.window()
    if _open(run, found):
        return False
    if waits is not None:
        yield from waits()
    try:
        yield from run.recorded(StepName.WINDOW, _wait(run, before, found))
    except (StepFailed, MadeWay):
        run.record.window = None
        raise
    return True


def _open(run: Run, found: Opening) -> bool:
    """Whether the window that was found is open by now."""
    now = run.context.current_utc_datetime
    if found.opens is None or now < wire.instant(found.opens):
        return False
    run.closes = wire.instant(found.closes) if found.closes else None
    return run.closes is None or now < run.closes


def _wait(run: Run, before: StepName, found: Opening) -> Steps[None]:
    told = None
    while not _open(run, found):
        text = f"until {found.words}" if found.opens else found.words
        awaited = run.record.window = AwaitedWindow(before=before, opens=found.opens, text=text)
        run.waits(text)
        if awaited != told:
            told = awaited
            yield from _tell(run, awaited)
        now = run.context.current_utc_datetime
        opens = wire.instant(found.opens) if found.opens else now + LONGEST_TIMER
        yield from run.pause(max(min(opens, now + LONGEST_TIMER), now + SHORTEST_PAUSE))
        found = yield from run.window()
    run.record.window = None


def _tell(run: Run, awaited: AwaitedWindow) -> Steps[None]:
    """Announces until when it waits; that it is too late then for the secret that serves, if so."""
    notice = msgspec.structs.replace(run.notice(Announcement.WAITING_FOR_WINDOW), window=awaited)
    if awaited.before is not StepName.RETIRE and _too_late(run, awaited):
        text = f"the secret that serves expires before the window: it waits {awaited.text}"
        notice = msgspec.structs.replace(
            notice,
            kind=Announcement.EXPIRES_BEFORE_WINDOW,
            reasons=[reason(Code.EXPIRES_BEFORE_WINDOW, text)],
        )
    yield from run.tell(notice)


def _too_late(run: Run, awaited: AwaitedWindow) -> bool:
    if run.latest is None:
        return False
    return awaited.opens is None or wire.instant(awaited.opens) > wire.instant(run.latest)
