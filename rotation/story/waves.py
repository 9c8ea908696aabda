"""A wave: starts the rotations of many credentials, some at a time, and follows them.

What one does is its own story; here it is only seen how far it is. The next ones begin once each of
those before has ended, or is swapped and waits for a decision.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from rotation.model import activities, wire
from rotation.model.activities import Reference, Retry
from rotation.model.catalogue import WaveAnnouncement
from rotation.model.errors import StepFailed
from rotation.model.reasons import Code, reason
from rotation.model.waves import FAILED, UNDER_WAY, Wave, WaveCancel, WaveNotice, WaveStatus
from rotation.story.hearing import LONGEST_TIMER, Call, Listening
from rotation.story.progress import document
from rotation.story.retrying import call

if TYPE_CHECKING:
    import azure.durable_functions as df

    from rotation.model.activities import Activity
    from rotation.model.waves import Followed, WaveMember, WavePhase
    from rotation.model.wire import JsonObject
    from rotation.story.retrying import Again, Steps

# The task hub may be away for long; nothing is begun meanwhile.
RETRY = Retry(transient=6 * 3600.0, refusals=600.0)
TELLING = Retry(transient=600.0)
SHORTEST_PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(minutes=5)
LOOKS = 60  # in one history
TOGETHER = 40  # rotations that one activity looks at, one after the other
LONGEST_WAITS = 300  # characters
LONGEST_COMMENT = 2000  # characters


class Waving:
    """A wave under way."""

    def __init__(self, context: df.DurableOrchestrationContext) -> None:
        self.context = context
        self.wave = wire.read(Wave, context.get_input())
        self.wave.started = self.wave.started or self.now
        self.waits = ""
        self.ears = Listening(context, [Call(self._next_cancel, self._cancels)], self._cancelled)

    @property
    def now(self) -> Any:
        return wire.moment(self.context.current_utc_datetime)

    @property
    def batch(self) -> list[WaveMember]:
        return self.wave.batches[self.wave.batch]

    def show(self, phase: WavePhase = "running", until: datetime | None = None) -> None:
        self.wave.phase, self.wave.until = phase, wire.moment(until) if until else None
        status = WaveStatus(
            batch=self.wave.batch,
            phase=phase,
            members=self.batch,
            until=self.wave.until,
            cancelling=self.wave.cancelling,
            cancelled=self.wave.cancelled,
            waits=self.waits,
        )
        self.context.set_custom_status(wire.value_of(status))

    def ask(self, activity: Activity[Followed], members: list[WaveMember]) -> Steps[None]:
        """Has activities start, look at or cancel members' rotations, so many each that it is done
        soon, and notes how they stand. Raises `StepFailed`."""
        for at in range(0, len(members), TOGETHER):
            wave = msgspec.structs.replace(self.wave, members=members[at : at + TOGETHER], left=[])
            reference = Reference(rotation=self.wave.wave, credential="", wave=wave)
            ears = None if self.ears.stopped else self.ears
            answer = yield from call(self.context, activity, reference, RETRY, self._again, ears)
            seen = {one.credential: one for one in answer.members}
            self.wave.members = [seen.get(one.credential, one) for one in self.wave.members]
            self.waits = ""

    def tell(self, kind: WaveAnnouncement) -> Steps[None]:
        """Logs and announces how far it is. That it comes to nothing keeps nothing from going
        on."""
        self.wave.told += 1
        notice = WaveNotice(
            kind=kind,
            number=self.wave.told,
            time=self.now,
            wave=self.wave.wave,
            requested_by=self.wave.requested_by,
            reason=self.wave.reason,
            phase=self.wave.phase,
            why=self.wave.why,
            members=dict(Counter(one.state for one in self.wave.members)),
            cancelled=self.wave.cancelled,
        )
        reference = Reference(rotation=self.wave.wave, credential="", wave_notice=notice)
        try:
            yield from call(self.context, activities.TELL_WAVE, reference, TELLING)
        except StepFailed:
            return  # the activity's own log line says why

    def of(self, *states: str) -> list[WaveMember]:
        return [one for one in self.wave.members if one.state in states]

    def pause(self, until: datetime) -> Steps[None]:
        """Waits until a moment, in steps of a day at most. Raises `StepFailed` if somebody
        cancels."""
        while self.context.current_utc_datetime < until:
            step = self.context.current_utc_datetime + LONGEST_TIMER
            yield from self.ears.pause(min(until, step))
            self.ears.heed()

    def _again(self, seen: Again) -> None:
        self.waits = wire.truncated(seen.failure.message, LONGEST_WAITS)
        self.show(self.wave.phase)

    def _next_cancel(self) -> Any:
        return self.context.wait_for_external_event(self.wave.cancelling)

    def _cancels(self, event: object) -> bool:
        """Records the cancel that an event carries; False if it does not count."""
        try:
            found = wire.read(WaveCancel, document(event))
        except (ValueError, RecursionError):
            # Under a new name: see `approval`.
            self.wave.ignored += 1
            self.wave.cancelling = f"cancel-{self.wave.ignored + 1}"
            self.show(self.wave.phase)
            return False
        comment = wire.truncated(found.comment, LONGEST_COMMENT)
        self.wave.cancelled = msgspec.structs.replace(found, comment=comment, at=self.now)
        self.wave.cancelling = None
        self.show(self.wave.phase)
        return True

    def _cancelled(self) -> StepFailed:
        by = self.wave.cancelled.by if self.wave.cancelled else "somebody"
        return StepFailed("cancel", [reason(Code.CANCELLED, f"cancelled by {by}")])


def wave(context: df.DurableOrchestrationContext) -> Steps[JsonObject | None]:
    """Runs a wave to its end, and answers with its record. Each batch has a history of its own."""
    run = Waving(context)
    try:
        more = yield from _batch(run)
    except StepFailed as failure:
        return (yield from _ended_early(run, failure))
    if more:
        context.continue_as_new(wire.value_of(run.wave))
        return None
    stopped = run.wave.phase == "stopped"
    yield from run.tell(WaveAnnouncement.STOPPED if stopped else WaveAnnouncement.FINISHED)
    return wire.value_of(run.wave)


def _batch(run: Waving) -> Steps[bool]:
    """Starts a batch and follows it; whether there is more to do, in a history of its own. Raises
    `StepFailed`."""
    run.show()
    if not run.wave.told:
        yield from run.tell(WaveAnnouncement.STARTED)
    # Those that were started before this history began are known, and no other is.
    yield from run.ask(activities.START_ROTATIONS, [m for m in run.batch if m.state == "planned"])
    pause = SHORTEST_PAUSE
    for _ in range(LOOKS):
        run.show()
        if not any(one.state in UNDER_WAY for one in run.batch):
            return (yield from _next(run))
        yield from run.pause(run.context.current_utc_datetime + pause)
        pause = min(pause * 2, LONGEST_PAUSE)
        yield from run.ask(
            activities.FOLLOW_ROTATIONS, [m for m in run.batch if m.state in UNDER_WAY]
        )
    return True


def _next(run: Waving) -> Steps[bool]:
    """What comes after a batch: whether there is another one. Raises `StepFailed`."""
    last = run.wave.batch + 1 >= len(run.wave.batches)
    if (yield from _stops(run, last=last)):
        return False
    if last:
        _end(run, "completed", "")
        return False
    if run.wave.pause:
        until = run.context.current_utc_datetime + timedelta(seconds=run.wave.pause)
        run.show("pausing", until)
        yield from run.pause(until)
        if (yield from _stops(run, last=last)):
            return False
    run.wave.batch += 1
    return True


def _stops(run: Waving, *, last: bool) -> Steps[bool]:
    """Whether so many have failed by now that nothing more begins: then it has ended. Raises
    `StepFailed`."""
    # Of earlier ones, somebody may have decided meanwhile.
    yield from run.ask(activities.FOLLOW_ROTATIONS, run.of("waiting", "started"))
    failed = run.of(*FAILED)
    canary = run.wave.batch == 0 and run.wave.first and any(m in failed for m in run.batch)
    if last or not (canary or len(failed) >= run.wave.stop_after):
        return False
    what = "the canary" if canary else f"{len(failed)}"
    _end(run, "stopped", f"{what} failed: {', '.join(one.credential for one in failed[:10])}")
    return True


def _end(run: Waving, phase: WavePhase, why: str) -> None:
    run.wave.cancelling, run.wave.why = None, why
    run.show(phase)


def _ended_early(run: Waving, failure: StepFailed) -> Steps[JsonObject]:
    """The record of a wave that somebody has cancelled, or that could not go on."""
    cancelled = run.wave.cancelled
    if cancelled is not None and cancelled.running == "cancel":
        try:
            yield from run.ask(activities.CANCEL_ROTATIONS, run.of("started"))
        except StepFailed as untold:
            failure = StepFailed("cancel", [*failure.reasons, *untold.reasons])
    _end(run, "cancelled" if cancelled else "stopped", failure.message)
    yield from run.tell(WaveAnnouncement.STOPPED)
    return wire.value_of(run.wave)
