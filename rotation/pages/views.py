"""What the pages say about a rotation's record: pure functions, the time passed in.

A record is what `rotations.find` returns; evidence is what `proving.collect` returns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

from rotation.decisions.usage import holding, told
from rotation.front.rotations import approval_of, waits
from rotation.model import wire
from rotation.model.catalogue import (
    NOTHING_ASKED,
    Outcome,
    Progress,
    ending,
    on_deadline_words,
    stage_words,
)
from rotation.model.reasons import Code
from rotation.model.record import before_swap
from rotation.model.waves import FAILED, UNDER_WAY
from rotation.model.wire import instant
from rotation.model.words import few
from rotation.model.world import SLOTS
from rotation.pages.timeline import retiring
from rotation.pages.wording import ago, count, moment, span

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from datetime import datetime

    from rotation.front.credentials import SeenCredential
    from rotation.front.doctor import DryRun
    from rotation.model.catalogue import Gate, Listed, OnDeadline, Tone
    from rotation.model.findings import Severity
    from rotation.model.record import Evidence, KnownBy, Record, SessionCount, ShownRecord
    from rotation.model.waves import Wave, WaveMember, WaveSummary
    from rotation.model.wire import Moment
    from rotation.model.world import Slot


@dataclass(frozen=True)
class Headline:
    """The first thing to read: how it stands, and what is asked of whoever reads it."""

    tone: Tone
    title: str
    ask: str


def headline(record: ShownRecord, *, yours: bool = False) -> Headline:
    """The headline of a rotation. `yours`: whoever reads it may decide."""
    if record.outcome is not None:
        return _ended(record, record.outcome)
    if waits(record):
        return _asked(record, "your" if yours else "a")
    now = stage_words(record.stage)
    asks = _wrong(record) or now.asks
    if record.window is not None and record.cancelled is None:
        return Headline("calm", f"Waits for its window, {record.window.text}", NOTHING_ASKED)
    place = record.place if record.cancelled is None else None
    if place is not None and place.state == "waits":
        return Headline("calm", f"Waits for {place.text}", NOTHING_ASKED)
    if record.cancelled is not None:
        asks = f"It was cancelled by {record.cancelled.by}. {asks}"
        return Headline("busy", _filled("Stopping: {active} goes on serving", record), asks)
    return Headline("busy", _filled(now.headline, record), asks)


def _wrong(record: ShownRecord) -> str | None:
    """What to say instead of that nothing is asked of anybody; None where nothing is wrong."""
    failed = [name for name, at in record.workloads.items() if at is Progress.FAILED]
    if failed and record.request.cut == "first":
        return (
            f"{count(len(failed), 'workload')} failed ({few(failed)}), and there is no way back: "
            "it is tried again by itself, and may be yours to mend."
        )
    if failed:
        return (
            f"{count(len(failed), 'workload')} failed ({few(failed)}). Once the others have ended "
            "it goes back by itself."
        )
    if record.tried or any(step.next_try for step in record.steps[-1:]):
        return (
            "Something did not work, and is tried again by itself. What it says below may be yours "
            "to mend."
        )
    if record.waits or any(step.waits for step in record.steps[-1:]):
        return "It waits for what is said below. If that does not come, it may be yours to mend."
    return None


def _filled(text: str, record: Record) -> str:
    """The text with the slots' names in place of `{active}`, `{standby}` and `{retiring}`."""
    return text.format(active=record.active, standby=record.standby, retiring=retiring(record))


def _asked(record: Record, whose: str) -> Headline:
    """The headline of a rotation that waits for a decision."""
    if record.approval and record.approval.confirms:
        ask = f"{record.request.requested_by} called an incident. Approve confirms what was done."
        return Headline("ask", f"Waiting for {whose} confirmation", ask)
    standby, active, asked = record.standby, record.active, approval_of(record)
    before = before_swap(record)
    ask = (
        f"{str(standby).capitalize()} is up and tested, {active} serves. Approve moves traffic to "
        f"{standby}. Reject ends the rotation, and {active} goes on serving."
        if before
        else f"{str(standby).capitalize()} serves all traffic. Approve takes the {active} login "
        f"away. Reject goes back to {active}."
    )
    when = " before the swap" if before else ""
    if asked is not None and asked.overdue:
        return Headline("ask", f"{whose.capitalize()} decision{when} is overdue", ask)
    return Headline("ask", f"Waiting for {whose} decision{when}", ask)


def _ended(record: Record, outcome: Outcome) -> Headline:
    """The headline of a rotation that has ended."""
    end, why = ending(outcome), _sentence(record.outcome_reason)
    return Headline(end.tone, _filled(end.headline, record), f"{why} {end.asks}".strip())


def _sentence(text: str | None) -> str:
    """The text with a capital and a full stop; empty for None."""
    clean = (text or "").strip().rstrip(".")
    return f"{clean[:1].upper()}{clean[1:]}." if clean else ""


@dataclass(frozen=True)
class Point:
    """One thing that speaks for or against an approval."""

    good: bool
    text: str
    more: list[str] = field(default_factory=list)


def points(
    evidence: Evidence, replaced: str, role: str | None, *, before: bool = False
) -> list[Point]:
    """The points of the evidence that speak for or against an approval, one line each.

    `replaced` is the slot that an approval retires, and `role` its role; `before` the swap it is
    the one that serves.
    """
    tests = [test for results in evidence.tests.values() for test in results]
    failed = sum(not test.passed for test in tests)
    listed: list[Point] = []
    if not tests:
        listed.append(Point(False, "No test could be run"))
    elif failed:
        listed.append(Point(False, f"{failed} of {count(len(tests), 'test')} failed"))
    else:
        where = "before the swap" if before else "through production"
        listed.append(Point(True, f"{count(len(tests), 'test')} passed {where}"))
    proved = sorted({test.role for test in tests if test.role})
    if proved and not failed:
        listed.append(Point(True, f"Served by role {', '.join(proved)}"))
    if before:
        listed += _strangers(evidence, replaced)
    else:
        listed.append(_use(evidence, replaced, role))
        listed += _used_before(evidence, replaced)
    listed += _conditions(evidence)
    listed += _jobs(evidence, replaced)
    listed += _templates(evidence)
    if not evidence.complete:
        text = "Not everything could be looked at"
        listed.append(Point(False, text, list(evidence.problems)))
    return listed


def _strangers(evidence: Evidence, replaced: str) -> Iterator[Point]:
    """The point about others who use the login that serves: they keep it until it is retired."""
    strange = evidence.still_in_use
    if strange:
        users = sorted({f"{_application(row)} at {row.client}" for row in strange})
        text = f"The {replaced} login is used by others too, who keep it until it is retired"
        yield Point(True, text, users)


def _conditions(evidence: Evidence) -> Iterator[Point]:
    """A point for each condition of the owner's, with its value."""
    for one in evidence.conditions:
        if not one.known:
            yield Point(False, f"Condition {one.name} is not known", [one.problem or ""])
        elif one.value is None:
            yield Point(not one.beyond, f"Condition {one.name}: its query finds no data")
        elif one.beyond:
            yield Point(False, f"Condition {one.name} is {one.value:g}, which is {one.limit}")
        else:
            text = f"Condition {one.name} is {one.value:g}: it must not be {one.limit}"
            yield Point(True, text)


def _jobs(evidence: Evidence, replaced: str) -> Iterator[Point]:
    """The point about Jobs that still run on the replaced login, if there are any: they are waited
    for, so that it is nothing to worry about."""
    running = [f"{name}: {job}" for name, jobs in evidence.jobs.items() for job in jobs]
    if running:
        number = count(len(running), "Job")
        yield Point(True, f"{number} of {replaced} still running, waited for on approval", running)


def _templates(evidence: Evidence) -> Iterator[Point]:
    """The point about the pod templates of both slots, if they were looked at."""
    differ = [f"{name}: {path}" for name, paths in evidence.templates.items() for path in paths]
    if differ:
        yield Point(False, "The pod templates of the two slots differ", differ)
    elif evidence.templates:
        yield Point(True, "The pod templates of the two slots are the same but for their names")


def _use(evidence: Evidence, replaced: str, role: str | None) -> Point:
    """The point about who still uses the replaced login."""
    strange = evidence.still_in_use
    if strange:
        sessions = count(sum(row.sessions for row in strange), "session")
        users = sorted({f"{_application(row)} at {row.client}" for row in strange})
        text = f"The {replaced} login is still in use by {users[0]}"
        if len(users) > 1:
            text += f" and {len(users) - 1} more"
        return Point(False, f"{text}: {sessions}, {_then(evidence, replaced)} on approval")
    if not evidence.sessions and not evidence.complete:
        return Point(False, f"Who uses the {replaced} login is not known")
    return Point(True, _own_use(evidence, replaced, role))


def _used_before(evidence: Evidence, replaced: str) -> Iterator[Point]:
    """The point about who used the replaced login before; none before anything was sampled."""
    usage = evidence.usage
    if usage is None:
        return
    users = [told(user) for user in usage.users]
    users += [f"and {usage.more} more"] if usage.more else []
    when = f"in the last {usage.days} days"
    if holding(usage):
        yield Point(False, f"Others used the {replaced} login {when}", users)
    elif users:
        text = f"All others who used the {replaced} login {when} were seen on the new one since"
        yield Point(True, text, users)
    elif usage.samples and usage.problem is None:
        text = f"Nobody else was seen on the {replaced} login {when}"
        yield Point(True, f"{text}, in {count(usage.samples, 'sample')} since {usage.since}")
    if usage.problem is not None or (usage.gaps and not usage.samples):
        why = usage.problem or "no sample could be taken in full; the log says why"
        yield Point(False, f"Who used the {replaced} login before is not all known", [why])


def _then(evidence: Evidence, replaced: str) -> str:
    """What an approval does with sessions that still use the replaced login. Those of a workload in
    place, which has pods of one slot only, are its own to end."""
    known = {replaced: list[str]()}
    waited = {
        row.workload is not None and replaced not in evidence.pods.get(row.workload, known)
        for row in evidence.still_in_use
    }
    if waited == {True}:
        return "waited for"
    return "waited for or ended" if True in waited else "ended"


def _own_use(evidence: Evidence, replaced: str, role: str | None) -> str:
    """A sentence on the sessions of the replaced slot's own pods, which end with the pods."""
    rows = [row for row in evidence.sessions if row.role == role]
    left = sum(row.sessions for row in rows)
    if left:
        text = f"Only its own workloads still use the {replaced} login ({count(left, 'session')})"
        return f"{text}{_reservation({row.known_by for row in rows})}. {_last(rows, evidence.at)}"
    return f"No session is left on the {replaced} login"


def _last(rows: Iterable[SessionCount], at: Moment) -> str:
    """A sentence on the last query of any of the sessions that was no probe. What came before the
    last one of a session is known nowhere."""
    queries = [instant(row.last_query) for row in rows if row.last_query]
    if not queries:
        return "The last query of each was a probe"
    ago = max(instant(at) - max(queries), timedelta(0))
    return f"The last query that is no probe began {span(ago)} before this look"


def _reservation(known_by: set[KnownBy | None]) -> str:
    """What is not known of sessions whose pod is not."""
    if "nodes" in known_by:
        return ": known per node, not per pod. Another pod of those nodes would look the same"
    if "ranges" in known_by:
        return ": known by a range of addresses, in which anybody would look the same"
    return ""


def _application(row: SessionCount) -> str:
    return row.application or "an unnamed program"


@dataclass(frozen=True)
class Expiry:
    """When a secret version expires, in words; `on` is that moment, if there is one."""

    text: str
    on: str | None
    tone: Tone


def expiry(expires: str | None, now: datetime) -> Expiry:
    """When a secret version expires, in words, and a tone: red when it has, amber within a week."""
    if expires is None:
        return Expiry("no expiry", None, "calm")
    left = moment(expires) - now
    if left <= timedelta():
        return Expiry(f"expired {span(-left)} ago", expires, "bad")
    return Expiry(f"in {span(left)}", expires, "ask" if left < timedelta(days=7) else "calm")


@dataclass(frozen=True)
class Deadline:
    """When the approval is due: `at`, with what stands before that moment and after it."""

    before: str
    at: Moment
    after: str


def deadline(
    due: datetime,
    policy: OnDeadline,
    now: datetime,
    gate: Gate = "after",
    *,
    confirms: bool = False,
) -> Deadline:
    """When the approval is due, and what happens then without a decision; of an incident that is to
    be confirmed that is no policy's."""
    then = "it ends as needing attention" if confirms else on_deadline_words(policy, gate)
    if due <= now:
        return Deadline("The deadline was", wire.moment(due), f", {span(now - due)} ago: {then}.")
    left = f"{span(due - now).capitalize()} left until"
    return Deadline(left, wire.moment(due), f". After that {then}.")


def needing(records: Iterable[ShownRecord], known: Collection[str]) -> list[ShownRecord]:
    """The rotations that need a person: those that wait for a decision or meet trouble, and those
    that did not get where they were to.

    Of the latter a credential's last one counts: a later one that runs or is completed has made it
    moot. So has the file, where it has the credential no more (`known` are those that it has): then
    only one that left both slots alive counts. What this release cannot read is nobody's last.
    """
    seen: set[str] = set()
    asking = []
    for record in records:  # the newest first
        of, listed = record.credential or record.rotation, where(record)
        last = of not in seen
        if listed != "nowhere":
            seen.add(of)
        both_alive = record.outcome is Outcome.NEEDS_ATTENTION
        failed = last and listed == "needing" and (both_alive or record.credential in known)
        if waits(record) or stumbles(record) or failed:
            asking.append(record)
    return asking


def stumbles(record: ShownRecord) -> bool:
    """Whether a rotation that runs has met a failure: it is tried again, or taken back."""
    if record.outcome is not None:
        return False
    failed = any(at is Progress.FAILED for at in record.workloads.values())
    return failed or bool(record.tried) or any(step.next_try for step in record.steps[-1:])


@dataclass(frozen=True)
class Trouble:
    """A credential in whose way something stands, though no rotation of it says so."""

    credential: str
    tone: Tone
    title: str


LATE = timedelta(days=2)  # a sweep a day, and one that met an outage


def troubles(
    credentials: Iterable[SeenCredential],
    told: Collection[str],
    now: datetime,
    moving: Collection[str] = (),
) -> list[Trouble]:
    """The credentials that need somebody, except those of rotations that are `told` anyway.

    `moving` are those with a rotation under way, during which both slots may serve.
    """
    return [
        Trouble(one.credential, chip.tone, chip.title)
        for one in credentials
        if one.credential not in told
        and (chip := _trouble(one, now, moves=one.credential in moving)).tone in {"bad", "ask"}
    ]


def _trouble(credential: SeenCredential, now: datetime, *, moves: bool) -> Chip:
    chip = Chip("calm", "moves") if moves and credential.slots else standing(credential)
    slot = credential.slots.get(credential.active) if credential.active else None
    if chip.tone == "bad":
        return chip
    if slot is not None and slot.expires and instant(slot.expires) <= now:
        return Chip("bad", "the secret that serves has expired")
    due = credential.due.at
    if due is not None and instant(due) < now - LATE and not moves:
        return Chip("ask", f"a rotation has been due for {span(now - instant(due))}")
    return chip


@dataclass(frozen=True)
class Attention:
    """The first thing to read in the overview: all that needs somebody. `unseen` is the number of
    credentials of which nothing is known lately."""

    rotations: list[ShownRecord]
    credentials: list[Trouble]
    unseen: int

    @property
    def tone(self) -> Tone:
        return "ask" if self.rotations or self.credentials or self.unseen else "good"

    @property
    def title(self) -> str:
        """That nothing needs anybody is said only where all was looked at and nothing is wrong."""
        things = [(len(self.rotations), "rotation"), (len(self.credentials), "credential")]
        counted = [count(number, thing) for number, thing in things if number]
        if counted:
            alone = len(self.rotations) + len(self.credentials) == 1
            return f"{' and '.join(counted)} {'needs' if alone else 'need'} you"
        if self.unseen:
            return f"{count(self.unseen, 'credential')} could not be looked at"
        return "Nothing needs you"


def where(record: Record) -> Listed:
    """The part of the overview that lists a rotation; one that has not ended is a recent one."""
    return ending(record.outcome).listed if record.outcome is not None else "recent"


@dataclass(frozen=True)
class Chip:
    """A few words and their tone."""

    tone: Tone
    title: str


# What a finding means for a rotation.
SEVERITIES: dict[Severity, Chip] = {
    "refuses": Chip("bad", "refuses"),
    "waits": Chip("ask", "waits"),
    "aborts": Chip("bad", "would be taken back"),
    "waived": Chip("calm", "waived"),
    "tells": Chip("calm", "to know"),
}


def ages(credentials: Iterable[SeenCredential], now: datetime) -> dict[str, str]:
    """How long ago each of the credentials was looked at, in words."""
    return {one.credential: ago(now - instant(one.at)) for one in credentials}


def standing(credential: SeenCredential) -> Chip:
    """How a credential without a rotation stands, by what was found."""
    severities = {finding.severity for finding in credential.findings}
    if not credential.slots:
        return Chip("bad", "cannot be looked at")
    if credential.active is None:
        serving = sum(slot.serves for slot in credential.slots.values())
        return Chip("bad", "both slots serve" if serving == len(SLOTS) else "no slot serves all")
    if "refuses" in severities:
        return Chip("bad", "a rotation would be refused")
    if "waits" in severities:
        return Chip("ask", "a rotation would wait")
    if any(one.code == Code.EXPIRES_BEFORE_WINDOW for one in credential.findings):
        return Chip("ask", "its secret expires before its window")
    return Chip("calm", "at rest")


def examined(dry: DryRun) -> Headline:
    """The headline of a dry run."""
    match dry.would:
        case "rotate":
            text = f"It would move from {dry.active} to {dry.standby}, and ask before it retires."
            if any(one.code == Code.WINDOW_CLOSED for one in dry.findings):
                return Headline("good", "It would rotate in its next window", text)
            return Headline("good", "It would rotate now", text)
        case "skip":
            return Headline("calm", "Nothing would be done", "It is not due, or was done already.")
        case "refuse":
            return Headline("bad", "A rotation would be refused", "Mend what refuses it.")
        case "wait":
            text = "It goes on by itself once what is below has passed."
            return Headline("ask", "A rotation would wait", text)
        case "abort":
            text = "It would begin, and be taken back before traffic moves."
            return Headline("bad", "A rotation would not succeed", text)
        case _:
            assert_never(dry.would)


def under_way() -> Headline:
    """The headline of a credential that is being rotated: nothing is tried meanwhile."""
    return Headline("busy", "A rotation is under way", "Its page shows how far it is.")


def alarmed() -> Headline:
    """The headline of a credential whose incident is about to be called: nothing is tried first."""
    return Headline("ask", "A password has leaked?", "Nothing has been done so far.")


@dataclass(frozen=True)
class ShownSlot:
    """A slot in the overview; `expiry` only where its secret has a version."""

    slot: Slot
    role: str | None
    serves: bool
    enabled: bool | None
    version: str | None
    expiry: Expiry | None


def slots(credential: SeenCredential, now: datetime) -> list[ShownSlot]:
    """A credential's slots for the overview; empty when they could not be looked at."""
    return [
        ShownSlot(
            slot=slot,
            role=seen.role,
            serves=seen.serves,
            enabled=seen.enabled,
            version=seen.version,
            expiry=expiry(seen.expires, now) if seen.version else None,
        )
        for slot in SLOTS
        if (seen := credential.slots.get(slot)) is not None
    ]


def wave(found: Wave) -> Headline:
    """A wave's headline: how far it is, or how it ended."""
    done = sum(one.state not in UNDER_WAY for one in found.members)
    far = f"{done} of {len(found.members)}"
    match found.phase:
        case "completed":
            return Headline(
                "good", f"All have begun: {far} are through, or wait for a decision", ""
            )
        case "stopped":
            return Headline("bad", f"Stopped after {far}", f"{found.why}. Nothing more begins.")
        case "cancelled":
            return Headline("calm", f"Cancelled after {far}", f"{found.why}. Nothing more begins.")
        case "pausing":
            return Headline("calm", f"Pauses after {far}", NOTHING_ASKED)
        case "running":
            asks = f"It waits: {found.why}" if found.why else NOTHING_ASKED
            return Headline("busy", f"Under way: {far}", asks)
        case phase:
            assert_never(phase)


def wave_far(found: WaveSummary) -> str:
    """How many of a wave's members are in which state, as a sentence's part."""
    return ", ".join(f"{number} {state}" for state, number in found.members.items())


def wave_tone(member: WaveMember) -> Tone:
    """The colour of a member's state."""
    if member.state in FAILED:
        return "bad"
    if member.state == "waiting":
        return "ask"
    return "good" if member.state == "completed" else "calm"
