"""Places at things that few rotations may be at: asks for one, gives it back, and keeps them.

One instance keeps the places of all things. Who has one stands in its history and in its input,
before anybody hears of it; who has none any more it sees by the rotations' own statuses, so that
one which was ended from outside frees its place. A rotation asks by an instance of its own, which
ends when it hears that it has one: all that wait are found by the beginning of their ids.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from rotation.model import activities, wire
from rotation.model.activities import STOP, Reference
from rotation.model.catalogue import Announcement, StepName
from rotation.model.errors import Failure, MadeWay, StepFailed
from rotation.model.places import (
    GRANT,
    KEEPER,
    Granted,
    Kept,
    PlaceEnded,
    PlaceState,
    Shown,
    Wanted,
    place_id,
)
from rotation.model.record import Place
from rotation.story.hearing import LONGEST_TIMER, Ears
from rotation.story.retrying import attempt
from rotation.story.version import inherited, since
from rotation.story.windows import in_window

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import datetime

    import azure.durable_functions as df

    from rotation.model.wire import JsonObject
    from rotation.story.progress import Run
    from rotation.story.retrying import Steps

# Who waits asks how it stands, and has the places kept if nobody does: after this, and then ever
# more seldom.
FIRST_ASKING = timedelta(minutes=1)
# A world that was looked at this long ago is looked at again.
LONG = timedelta(minutes=5)


def admitted(run: Run, before: StepName, *, windows: bool = True) -> Steps[bool]:
    """Waits until a window is open and a place is had, where there is need of them. Returns whether
    it had to, for long. Raises `StepFailed`, also where somebody cancels meanwhile."""
    waited = False
    while True:
        if windows and (yield from in_window(run, before, lambda: _unused(run))):
            waited = True
        if not run.policy.things or has_one(run) or not since(run.context, "1.2"):
            return waited
        run.heed()
        began = run.context.current_utc_datetime
        inside = windows and run.policy.windows
        yield from run.recorded(StepName.PLACE, _wait(run, before, inside=inside))
        if run.context.current_utc_datetime - began >= LONG:
            waited = True
        elif not inside or _still_open(run):
            return waited


def _still_open(run: Run) -> bool:
    return run.closes is None or run.context.current_utc_datetime < run.closes


def has_one(run: Run) -> bool:
    """Whether the rotation has a place, at all that it works on by now."""
    place = run.record.place
    return place is not None and place.state == "held" and place.things == run.policy.things


def give_back(run: Run) -> Steps[None]:
    """Gives the place back, if it has one. Nobody has to hear of it: that it is over is seen."""
    if run.record.place is None or run.record.place.state != "held":
        return
    _over(run)
    yield from _ask(run, run.record.place.number, Ears(run.context))


def _unused(run: Run) -> Steps[None]:
    """Gives the place back before a wait for a window, as long as nothing has begun: afterwards the
    rotation is between stage and swap, and counts, however long that takes."""
    if run.record.version is None:
        yield from give_back(run)


def _over(run: Run) -> None:
    if run.record.place is not None:
        run.record.place = msgspec.structs.replace(run.record.place, state="over")
        run.show()


def _wait(run: Run, before: StepName, *, inside: bool) -> Steps[None]:
    """Asks for a place and waits until it has one; with `inside` it gets one inside of its windows
    only. However long it waits, it asks once, and wakes seldom: hundreds may wait."""
    yield from give_back(run)  # of other things, by an entry that has changed
    while True:
        wanted = _wanted(run, before, inside=inside)
        granted = yield from _granted(run, wanted)
        if granted and not run.stopped:
            _show(run, "held")
            return
        _over(run)
        run.heed()
        # Somebody has ended the instance by which it asks: asks by another one.
        yield from run.pause(run.context.current_utc_datetime + FIRST_ASKING)


def _wanted(run: Run, before: StepName, *, inside: bool) -> Wanted:
    """What it asks for, shown as its record's place."""
    number = run.record.place.number + 1 if run.record.place else 1
    things = list(run.policy.things)
    text = f"a place at {', '.join(things)}{' inside its windows' if inside else ''}"
    run.record.place = Place(number=number, before=before, things=things, state="waits", text=text)
    run.waits(text)
    return Wanted(
        rotation=run.request.rotation,
        credential=run.request.credential,
        number=number,
        things=things,
        finishes=before is not StepName.STAGE,
        inside=inside,
        latest=run.latest,
        since=run.now,
    )


def _granted(run: Run, wanted: Wanted) -> Steps[bool]:
    """Whether the instance by which it asks has ended with a place. It has ended in any case."""
    context = run.context
    asking = context.call_sub_orchestrator(
        await_place.__name__, wire.value_of(wanted), wanted.id, version=inherited(context)
    )
    yield from _ask(run, wanted.number, _Beside(context, asking))
    pause, told = FIRST_ASKING, False
    while (yield from _waits(run, asking, pause)):
        if run.stopped:
            yield from run.stop_parts([wanted.id])
            break
        seen = yield from _ask(run, wanted.number, Ears(context))
        if seen is not None:
            _show(run, "waits", seen)
        if not told:
            told = True
            notice = run.notice(Announcement.WAITING_FOR_PLACE)
            yield from run.tell(msgspec.structs.replace(notice, place=run.record.place))
        pause = min(pause * 8, LONGEST_TIMER)
    try:
        return wire.read(PlaceEnded, (yield asking)).granted
    except Exception:  # noqa: BLE001 - its type differs between 1.x and 2.x
        return False  # it was ended from outside


def _waits(run: Run, asking: Any, pause: timedelta) -> Steps[bool]:
    """Whether the instance by which it asks is still under way after a pause, or a cancel."""
    until = run.context.current_utc_datetime + pause
    try:
        return (yield from run.first([asking], until)) is None
    except (StepFailed, MadeWay):
        return True  # the instance has to be told first


def _show(run: Run, state: PlaceState, text: str | None = None) -> None:
    place = run.record.place
    if place is not None:
        text = text or place.text
        run.record.place = msgspec.structs.replace(place, state=state, text=text)
        run.waits(text)


def _ask(run: Run, number: int, ears: Ears) -> Steps[str | None]:
    """Has somebody keep the places, who is to look now, and returns how it stands; None where that
    is not known. That it comes to nothing does no harm: whoever keeps them looks by itself."""
    place = place_id(run.request.rotation, number)
    reference = msgspec.structs.replace(run.reference(), entry=None, place=place)
    answer = yield from attempt(run.context, activities.ASK_PLACE, reference, ears)
    return None if isinstance(answer, Failure) or not answer.observed else answer.observed


class _Beside(Ears):
    """Has another task begin beside the one that is waited for."""

    def __init__(self, context: df.DurableOrchestrationContext, other: Any) -> None:
        super().__init__(context)
        self._other = other

    def beside(self, task: Any) -> Generator[Any, Any, Any]:
        yield self.context.task_any([task, self._other])
        return (yield task)


def await_place(context: df.DurableOrchestrationContext) -> Steps[JsonObject]:
    """Ends as soon as it hears that its rotation has a place, or that it is to stop. By its input
    those are known that wait."""
    granted = context.wait_for_external_event(GRANT)
    stopped = context.wait_for_external_event(STOP)
    winner = yield context.task_any([granted, stopped])
    return wire.value_of(PlaceEnded(granted=winner == granted))


LOOKS = 5  # in one history, which each turn goes through
# Between looks: while somebody has not shown yet that they have heard, while some wait, and while
# none do that are inside of their windows. Whoever asks, or gives back, has it look at once.
PAUSE_OF_TELLING, PAUSE, LONGEST_PAUSE = (timedelta(seconds=each) for each in (5, 120, 3600))
PAUSE_OF_FAILURE = timedelta(seconds=10)
# What an earlier instance had decided may still be on its way.
SETTLES = timedelta(minutes=1)


def keep_places(context: df.DurableOrchestrationContext) -> Steps[JsonObject | None]:
    """Gives places to those that ask, as long as there are any. It takes one look after the other:
    never do two decide at once.

    Its history is begun anew after some looks.
    """
    kept, shown = wire.read(Kept, context.get_input()), Shown()
    if kept.settles:
        yield context.create_timer(context.current_utc_datetime + SETTLES)
    for _ in range(LOOKS):
        kept.looks += 1
        # A name for each wait: see `approval`. It is shown before the look, so that whoever asks
        # after that is heard.
        shown = msgspec.structs.replace(shown, event=f"ask-{kept.looks}")
        context.set_custom_status(wire.value_of(shown))
        asked = context.wait_for_external_event(shown.event)
        answer = yield from attempt(context, activities.GRANT_PLACES, _reference(kept))
        if isinstance(answer, Failure):
            at = context.current_utc_datetime + PAUSE_OF_FAILURE
            shown = msgspec.structs.replace(shown, problem=answer.message)
        else:
            at = _next_look(context.current_utc_datetime, answer)
            shown = _shown(shown.event, answer)
            idle = not (answer.held or answer.waiting or answer.opens)
            if idle and kept.idle:
                return {"looks": kept.looks}
            kept.held, kept.anew, kept.settles, kept.idle = answer.held, False, False, idle
            if answer.tell or answer.stop:
                told = msgspec.structs.replace(
                    _reference(kept), told=answer.tell, parts=answer.stop
                )
                yield from attempt(context, activities.TELL_PLACES, told)
        context.set_custom_status(wire.value_of(shown))
        timer = context.create_timer(at)
        winner = yield context.task_any([timer, asked])
        if winner == asked:
            timer.cancel()
    context.continue_as_new(wire.value_of(kept))
    return None


def _next_look(now: datetime, answer: Granted) -> datetime:
    """When to look again, at the latest."""
    if answer.tell:
        return now + PAUSE_OF_TELLING
    if answer.waiting or not (answer.held or answer.opens):
        return now + PAUSE
    at = now + LONGEST_PAUSE
    return min(at, max(wire.instant(answer.opens), now + PAUSE)) if answer.opens else at


def _reference(kept: Kept) -> Reference:
    return Reference(rotation=KEEPER, credential="", held=kept.held, anew=kept.anew)


def _shown(event: str, answer: Granted) -> Shown:
    return Shown(event=event, waiting=answer.waiting, lines=answer.lines)
