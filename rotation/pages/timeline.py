"""The steps of a rotation as its page lists them: done, going on, and still ahead."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, assert_never

from rotation.model.catalogue import Progress, Stage, StepName, progress_words, step_words
from rotation.model.record import StepRecord
from rotation.pages.wording import count, moment, span

if TYPE_CHECKING:
    from datetime import datetime

    from rotation.model.record import Record, ShownRecord


@dataclass(frozen=True)
class Entry:
    """One step of the timeline."""

    name: str
    what: str
    state: Literal["done", "running", "failed", "waiting", "ahead"]
    since: str | None = None
    took: str | None = None
    failure: str | None = None
    waits: str | None = None
    tries: str | None = None


# The steps that wait for a person.
OF_PEOPLE = frozenset({StepName.APPROVAL, StepName.GATE, StepName.CONFIRMATION})
CUT = "it was not done when the rotation ended"


def timeline(record: Record, now: datetime) -> list[Entry]:
    """The entries of a rotation: what was done and is being done, then what is still ahead."""
    # Sorting is stable: what began in the same moment stays in the order of the record.
    steps = sorted([*record.steps, *_waited(record)], key=lambda step: step.since)
    entries = [_entry(record, step, now) for step in steps]
    if record.outcome is None:
        entries += _ahead(record, {step.step for step in steps})
    return entries


def _waited(record: Record) -> list[StepRecord]:
    """The waits for a person as steps, if they have begun: once there is evidence to show."""
    waits = [(StepName.GATE, record.before, record.decided_before)]
    if record.approval and not record.approval.confirms:
        waits.append((StepName.APPROVAL, record.approval, record.decision))
    return [
        StepRecord(step=step, since=asked.requested, until=made.at if made else None)
        for step, asked, made in waits
        if asked and (made or asked.event)
    ]


def _entry(record: Record, step: StepRecord, now: datetime) -> Entry:
    """The entry of a step that was done or is being done."""
    words = step_words(step.step)
    running: Literal["running", "waiting"] = "waiting" if step.step in OF_PEOPLE else "running"
    cut = record.outcome is not None and step.until is None
    took = None if cut else span(moment(step.until or now) - moment(step.since))
    failure = step.failure or (CUT if cut else None)
    return Entry(
        name=words.name,
        what=words.what.format(slot=_slot_of(record, step)),
        state="failed" if failure else "done" if step.until else running,
        since=step.since,
        took=took,
        failure=failure,
        waits=None if cut else step.waits,
        tries=tries(step.attempt, step.next_try, now) if step.next_try and not cut else None,
    )


def tries(attempt: int, at: str, now: datetime) -> str:
    """In words that a failure was the so many-th, and when it is tried again."""
    left = moment(at) - now
    when = f"in {span(left)}" if left > timedelta() else "now"
    return f"{count(attempt, 'attempt')} failed so far; the next is {when}"


def _slot_of(record: Record, step: StepRecord) -> str:
    """The slot that a step was about; of `verify` on the way back it is the active one."""
    went_back = next((s.since for s in record.steps if s.step is StepName.SWAP_BACK), None)
    ended_before = went_back and step.until and step.until < went_back
    if step.step is StepName.VERIFY and went_back and not ended_before:
        return str(record.active)
    return _slot(record, step.step)


def _slot(record: Record, step: StepName) -> str:
    """The slot that steps of this name are about."""
    match step_words(step).about:
        case "active":
            return record.active or "active"
        case "retiring":
            return retiring(record)
        case "standby":
            return record.standby or "standby"
        case about:
            assert_never(about)


def _ahead(record: Record, done: set[StepName]) -> list[Entry]:
    """The entries that are still to come, if nothing goes wrong; fewer on the way back."""
    steps = [step for step in StepName if step_words(step).ahead]
    if record.request.compromised:
        # Nobody is asked before it retires; and a login that serves nothing is not replaced.
        moves = record.leak is None or record.leak.serves
        steps = [step for step in steps if step is not StepName.APPROVAL] if moves else []
        steps = [*dict.fromkeys([*steps, StepName.RETIRE]), StepName.CONFIRMATION]
    slots = {StepName.RETIRE: record.active}
    made = record.decision or record.decided_before
    goes_on = made is None or made.decision == "approve"
    taking_back = record.decision is None and record.stage in {Stage.SWAP_BACK, Stage.RETIRE}
    if taking_back or not goes_on:
        swapped = StepName.SWAP in done
        steps = [StepName.SWAP_BACK, StepName.RETIRE] if swapped else [StepName.RETIRE]
        slots = {StepName.SWAP_BACK: record.active}
    return [
        Entry(
            step_words(step).name,
            step_words(step).what.format(slot=slots.get(step, record.standby) or "standby"),
            "ahead",
        )
        for step in steps
        if step not in done
    ]


@dataclass(frozen=True)
class Part:
    """A workload's name, how far it is in words, whether it has failed, what it waits for, and when
    it tries again."""

    workload: str
    state: str
    failed: bool
    waits: str | None
    tries: str | None


def workloads(record: ShownRecord, now: datetime) -> list[Part]:
    """Each workload's part of the rotation."""
    return [
        Part(
            workload=name,
            state=progress_words(progress),
            failed=progress is Progress.FAILED,
            waits=record.waits.get(name),
            tries=tries(tried.attempt, tried.next_try, now) if tried else None,
        )
        for name, progress in record.workloads.items()
        for tried in (record.tried.get(name),)
    ]


def retiring(record: Record) -> str:
    """The slot that is being taken away: the replaced one, or the new one after a rejection."""
    approved = record.decision is not None and record.decision.decision == "approve"
    return str(record.active if approved else record.standby)
