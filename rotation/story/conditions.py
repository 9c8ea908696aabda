"""Watches the conditions of a rotation's owner, and goes back when one is breached.

A wait may take weeks, and each look makes some events: they are in a child's history, which ends
after `LOOKS` of them. The rotation's own grows by a child, of a few events, every few hours.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from rotation.decisions.conditions import follow
from rotation.model import activities, wire
from rotation.model.activities import STOP, Looked, Measured, Retry, Watch, WatchEnded
from rotation.model.catalogue import Announcement, StepName
from rotation.model.errors import Failure, MadeWay, StepFailed
from rotation.model.reasons import Code, reason
from rotation.story.hearing import LONGEST_TIMER, Call, Listening
from rotation.story.retrying import attempt
from rotation.story.version import inherited

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    import azure.durable_functions as df

    from rotation.model.activities import Standing
    from rotation.model.record import ConditionSeen
    from rotation.model.wire import JsonObject
    from rotation.story.progress import Run
    from rotation.story.retrying import Steps

LOOKS = 30  # of one child, each of about ten events
SOONEST, LATEST = timedelta(seconds=20), timedelta(minutes=15)  # between two looks
# Between two looks beside a wait for a decision, for as long as that has not lasted longer.
PACE = ((timedelta(hours=1), timedelta(minutes=1)), (timedelta(days=1), timedelta(minutes=5)))
# A child that was ended from outside: it is nothing that goes back.
AFTER_A_FAILURE = timedelta(minutes=5)
TO_STOP = Retry(transient=5.0)  # it ends by itself where it is not told


def watch_conditions(context: df.DurableOrchestrationContext) -> Steps[JsonObject]:
    """Looks at conditions again and again, and answers as soon as there is anything to do."""
    watch = wire.read(Watch, context.get_input())

    def stops() -> StepFailed:
        return StepFailed(STOP, [reason(Code.CANCELLED, "it was told to stop")])

    stop = Call(lambda: context.wait_for_external_event(STOP), lambda _: True)
    ears = Listening(context, [stop], stops)
    until = wire.instant(watch.until) if watch.until else None
    ended, known = WatchEnded(standing=watch.standing), list[Measured]()
    for _ in range(LOOKS):
        reference = msgspec.structs.replace(
            watch.reference, at=wire.moment(context.current_utc_datetime)
        )
        answer = yield from attempt(context, activities.CONDITIONS, reference, ears)
        now = context.current_utc_datetime
        known = _looked(answer, known, now)
        found = follow(ended.standing, known, now, watch.patience)
        over = until is not None and now >= until and not found.pending
        ended = WatchEnded(
            seen=found.seen, standing=found.standing, unknown=found.unknown, over=over
        )
        if found.breached or found.unknown or over:
            break
        pause = now + timedelta(seconds=watch.every)
        yield from ears.pause(min(pause, until) if until is not None and now < until else pause)
        if ears.stopped:  # it may have been while it looked: then it has not paused
            break
    return wire.value_of(ended)


def _looked(answer: Looked | Failure, known: list[Measured], now: datetime) -> list[Measured]:
    """What a look found; where it failed as a whole, that what was known is not known now."""
    if not isinstance(answer, Failure):
        return answer.conditions
    gone = {"known": False, "value": None, "beyond": False, "problem": answer.message}
    return [
        msgspec.structs.replace(
            one, seen=msgspec.structs.replace(one.seen, at=wire.moment(now), **gone)
        )
        for one in known
    ]


class Watching:
    """The watch over a rotation's conditions, one child after the other."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._standing: dict[str, Standing] = {}
        self._began: datetime = run.context.current_utc_datetime
        self._id = ""
        self.task: Any = None
        self.resumes: datetime | None = self._began if run.policy.conditions else None

    def begin(self, every: timedelta | None = None, until: datetime | None = None) -> None:
        """Starts the next child, if one is due."""
        run, now = self._run, self._run.context.current_utc_datetime
        if self.task is not None or self.resumes is None or now < self.resumes:
            return
        if every is None:
            waited = now - self._began
            every = next((pace for lasts, pace in PACE if waited < lasts), LATEST)
        watch = Watch(
            reference=run.reference(),
            every=every.total_seconds(),
            patience=run.policy.forward.transient,
            until=None if until is None else wire.moment(until),
            standing=self._standing,
        )
        self._id = run.next_watch()
        self.task = run.context.call_sub_orchestrator(
            watch_conditions.__name__,
            wire.value_of(watch),
            self._id,
            version=inherited(run.context),
        )

    def waited(self) -> Steps[bool]:
        """Whether the child has ended, after a while of waiting for it alone. Raises `MadeWay`, and
        has told the child to stop then."""
        until = self._run.context.current_utc_datetime + LONGEST_TIMER
        try:
            return (yield from self._run.first([self.task], until)) is not None
        except MadeWay:
            yield from self.stop()
            raise

    def ended(self) -> Steps[bool]:
        """Takes what the child answered with that has ended, and returns whether the time is over
        that it was to watch. Raises `StepFailed` for a breach."""
        run, task = self._run, self.task
        self.task, self.resumes = None, run.context.current_utc_datetime
        try:
            ended = wire.read(WatchEnded, (yield task))
        except Exception:  # noqa: BLE001 - its type differs between 1.x and 2.x
            self.resumes += AFTER_A_FAILURE
            return False
        self._standing = ended.standing
        run.record.conditions = ended.seen
        run.show()
        breaches = [one for one in ended.seen if one.breach is not None]
        if breaches:
            yield from _tell(run, Announcement.CONDITION_BREACHED, breaches)
            raise StepFailed(
                StepName.CONDITIONS,
                [reason(Code.CONDITION_BREACHED, str(one.breach)) for one in breaches],
            )
        unknown = [one for one in ended.seen if one.name in ended.unknown]
        if unknown:
            yield from _tell(run, Announcement.CONDITION_UNKNOWN, unknown)
        return ended.over

    def stop(self) -> Steps[None]:
        """Tells the child to end that is under way, if there is one; it is not waited for."""
        if self.task is not None:
            self.task, self.resumes = None, None
            yield from self._run.stop_parts([self._id], TO_STOP)


def hold(run: Run, seconds: float) -> Steps[None]:
    """Watches the conditions for a while, and for as long as it is not known whether one is
    breached. Raises `StepFailed` for a breach."""
    until = run.context.current_utc_datetime + timedelta(seconds=seconds)
    if run.policy.conditions:
        yield from run.recorded(StepName.CONDITIONS, _held(run, until))
        return
    while run.context.current_utc_datetime < until:
        yield from run.pause(min(until, run.context.current_utc_datetime + LONGEST_TIMER))


def _held(run: Run, until: datetime) -> Steps[None]:
    watching, now = Watching(run), run.context.current_utc_datetime
    every = min(max((until - now) / LOOKS, SOONEST), LATEST)
    while True:
        watching.begin(every, until)
        if watching.task is not None:
            if (yield from watching.waited()) and (yield from watching.ended()):
                return
        elif run.context.current_utc_datetime >= until:
            return  # nobody knows, and nobody can be asked
        else:
            yield from run.pause(watching.resumes or until)


def _tell(run: Run, kind: Announcement, seen: Iterable[ConditionSeen]) -> Steps[None]:
    yield from run.tell(msgspec.structs.replace(run.notice(kind), conditions=list(seen)))
