"""What the pages say about a rotation's record: pure functions, the time passed in.

A record is what `rotations.find` returns; evidence is what `observation.evidence` returns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from rotation.deciders import waits
from rotation.messages import DEADLINES
from rotation.model import SLOTS
from rotation.pages.timeline import retiring
from rotation.pages.wording import clock, count, moment, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

Tone = Literal["calm", "busy", "ask", "good", "bad"]


@dataclass(frozen=True)
class Headline:
    """The first thing to read: how it stands, and what is asked of whoever reads it."""

    tone: Tone
    title: str
    ask: str


def headline(  # noqa: PLR0911 - one for each state
    record: Mapping[str, Any], *, yours: bool = False
) -> Headline:
    """`yours`: whoever reads it may decide."""
    if record["outcome"] is not None:
        return _ended(record)
    if waits(dict(record)):
        return _asked(record, "your" if yours else "a")
    active, standby = record["active"], record["standby"]
    nothing = "Nothing is asked of you."
    match record["stage"]:
        case "queued" | "plan":
            return Headline("busy", "Looking at what is there", nothing)
        case "stage" | "activate" | "verify" | "prepare":
            title = f"Preparing {standby}, while {active} serves"
            return Headline("busy", title, f"{nothing} Clients notice nothing of it.")
        case "swap" | "observe":
            return Headline("busy", f"Moving traffic from {active} to {standby}", nothing)
        case "swap-back":
            return Headline("busy", f"Going back to {active}", nothing)
        case "approval":
            return Headline("busy", "Collecting evidence for the decision", nothing)
        case _:
            return Headline("busy", f"Taking the {retiring(record)} login away", nothing)


def _asked(record: Mapping[str, Any], whose: str) -> Headline:
    standby, active = record["standby"], record["active"]
    ask = (
        f"{standby.capitalize()} serves all traffic. Approve takes the {active} login away. "
        f"Reject goes back to {active}."
    )
    if record["approval"]["overdue"]:
        return Headline("ask", f"{whose.capitalize()} decision is overdue", ask)
    return Headline("ask", f"Waiting for {whose} decision", ask)


def _ended(record: Mapping[str, Any]) -> Headline:
    active, standby, why = record["active"], record["standby"], _sentence(record["outcomeReason"])
    match record["outcome"]:
        case "completed":
            return Headline("good", f"Done: {standby} serves, {active} is retired", why)
        case "rolled-back":
            return Headline("good", f"Rolled back: {active} serves as before", why)
        case "aborted":
            return Headline("bad", f"Aborted before the swap: {active} serves as before", why)
        case "skipped":
            return Headline("calm", "Skipped: there was nothing to do", why)
        case "refused":
            return Headline("bad", "Refused: nothing was changed", why)
        case _:
            ask = f"{why} Both slots were left alive; docs/recovery.md says what to do."
            return Headline("bad", "Needs attention", ask)


def _sentence(text: str | None) -> str:
    clean = (text or "").strip().rstrip(".")
    return f"{clean[:1].upper()}{clean[1:]}." if clean else ""


@dataclass(frozen=True)
class Point:
    """One thing that speaks for or against an approval."""

    good: bool
    text: str
    more: list[str] = field(default_factory=list)


def points(evidence: Mapping[str, Any], replaced: str, role: str | None) -> list[Point]:
    """What the evidence amounts to, each worth one line at the top.

    `replaced` is the slot that an approval retires, and `role` its role.
    """
    tests = [test for found in evidence.get("tests", {}).values() for test in found]
    failed = sum(not test["passed"] for test in tests)
    found: list[Point] = []
    if not tests:
        found.append(Point(False, "No test could be run"))
    elif failed:
        found.append(Point(False, f"{failed} of {count(len(tests), 'test')} failed"))
    else:
        found.append(Point(True, f"{count(len(tests), 'test')} passed through production"))
    proved = sorted({test["role"] for test in tests if test["role"]})
    if proved and not failed:
        found.append(Point(True, f"Served by role {', '.join(proved)}"))
    found.append(_use(evidence, replaced, role))
    if not evidence["complete"]:
        text = "Not everything could be looked at"
        found.append(Point(False, text, list(evidence["problems"])))
    return found


def _use(evidence: Mapping[str, Any], replaced: str, role: str | None) -> Point:
    """Who is still on the replaced login."""
    strange = evidence["stillInUse"]
    if strange:
        sessions = count(sum(row["sessions"] for row in strange), "session")
        users = sorted({f"{_application(row)} at {row['client']}" for row in strange})
        text = f"The {replaced} login is still in use by {users[0]}"
        if len(users) > 1:
            text += f" and {len(users) - 1} more"
        return Point(False, f"{text}: {sessions}, ended on approval")
    if not evidence.get("sessions") and not evidence["complete"]:
        return Point(False, f"Who uses the {replaced} login is not known")
    return Point(True, _own_use(evidence, replaced, role))


def _own_use(evidence: Mapping[str, Any], replaced: str, role: str | None) -> str:
    """Sessions of the replaced slot's own pods are expected; they end with the pods."""
    left = sum(row["sessions"] for row in evidence["sessions"] if row["role"] == role)
    if left:
        return f"Only its own workloads still use the {replaced} login ({count(left, 'session')})"
    return f"No session is left on the {replaced} login"


def _application(row: Mapping[str, Any]) -> str:
    return str(row["application"]) or "an unnamed program"


@dataclass(frozen=True)
class Expiry:
    text: str
    on: str | None
    tone: Tone


def expiry(expires: str | None, now: datetime) -> Expiry:
    """When a secret version expires, with its tone: red when it has, amber within a week."""
    if expires is None:
        return Expiry("no expiry", None, "calm")
    left = moment(expires) - now
    if left <= timedelta():
        return Expiry(f"expired {span(-left)} ago", expires, "bad")
    return Expiry(f"in {span(left)}", expires, "ask" if left < timedelta(days=7) else "calm")


def deadline(record: Mapping[str, Any], policy: str, now: datetime) -> str:
    """When the approval is due, and what the owner wrote down for then."""
    due = moment(record["approval"]["deadline"])
    then = DEADLINES[policy]
    if due <= now:
        return f"The deadline was {span(now - due)} ago: {then}."
    return f"{span(due - now).capitalize()} left until {clock(due, now)}. After that {then}."


def needing(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that ask for a person: waiting ones, and each credential's last if it went wrong."""
    seen: set[str] = set()
    found = []
    for record in records:  # the newest first
        last = record["credential"] not in seen
        if record["outcome"] != "skipped":
            seen.add(record["credential"])
        if waits(dict(record)) or (last and record["outcome"] in {"needs-attention", "refused"}):
            found.append(record)
    return found


def slots(credential: Mapping[str, Any], now: datetime) -> list[dict[str, Any]]:
    """A credential's slots for the overview; empty when they could not be looked at."""
    found = credential["slots"]
    return [
        {
            "slot": slot,
            "role": found[slot]["role"],
            "active": slot == credential["active"],
            "login": found[slot]["login"],
            "enabled": found[slot]["enabled"],
            "version": found[slot]["version"],
            "expiry": expiry(found[slot]["expires"], now) if found[slot]["version"] else None,
        }
        for slot in SLOTS
        if slot in found
    ]
