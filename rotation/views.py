"""What the pages say about a rotation's record: pure functions, the time passed in.

A record is what `rotations.find` returns; evidence is what `observation.evidence` returns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from rotation.deciders import waits
from rotation.messages import DEADLINES
from rotation.model import SLOTS, other

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Tone = Literal["calm", "busy", "ask", "good", "bad"]

# One line for each step, with the slot that it is about in braces.
STEPS = {
    "plan": ("Plan", "look at every Service, role and secret, and decide"),
    "stage": ("Stage", "write a new password as a version of the {slot} secret"),
    "activate": ("Activate", "let the {slot} role log in with it"),
    "verify": ("Verify", "log in as the {slot} role"),
    "prepare": ("Prepare", "start the {slot} Deployments and run their tests"),
    "swap": ("Swap", "point every Service at {slot}"),
    "swap-back": ("Swap back", "point every Service at {slot} again"),
    "observe": ("Observe", "run the tests again, through production"),
    "evidence": ("Evidence", "collect what a person needs to see"),
    "approval": ("Approval", "a person decides"),
    "confirm": ("Confirm", "prove that the other slot serves everything"),
    "retire": ("Retire", "let the {slot} pods end"),
    "await_sessions": ("Drain", "let the last sessions of the {slot} role end"),
    "deactivate": ("Deactivate", "take login and password from the {slot} role"),
    "disable": ("Disable", "disable the versions of the {slot} secret"),
}
AHEAD = ("stage", "activate", "verify", "prepare", "swap", "observe", "approval", "retire")
RETIRING = {"confirm", "retire", "await_sessions", "deactivate", "disable"}
ACTIVITIES = {
    "planned": "not begun",
    "deliver": "delivering the secret",
    "start": "starting pods",
    "await_ready": "waiting for its pods",
    "test": "running tests",
    "prepared": "ready on the new login",
    "swap": "traffic moved",
    "swap-back": "traffic moved back",
    "observed": "tests pass in production",
    "scale_down": "scaling down",
    "await_gone": "waiting for pods to end",
    "retired": "its replaced pods are gone",
    "failed": "failed",
}


@dataclass(frozen=True)
class Headline:
    """The first thing to read: how it stands, and what is asked of whoever reads it."""

    tone: Tone
    title: str
    ask: str


def headline(record: Mapping[str, Any]) -> Headline:  # noqa: PLR0911 - one for each state
    if record["outcome"] is not None:
        return _ended(record)
    if waits(dict(record)):
        return _asked(record)
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
            return Headline("busy", f"Taking the {_retiring(record)} login away", nothing)


def _asked(record: Mapping[str, Any]) -> Headline:
    standby, active = record["standby"], record["active"]
    ask = (
        f"{standby.capitalize()} serves all traffic. Approve takes the {active} login away. "
        f"Reject goes back to {active}."
    )
    if record["approval"]["overdue"]:
        return Headline("ask", "A decision is overdue", ask)
    return Headline("ask", "Waiting for a decision", ask)


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
            ask = f"{why} Both slots were left alive; docs/operations.md says what to do."
            return Headline("bad", "Needs attention", ask)


def _sentence(text: str | None) -> str:
    clean = (text or "").strip().rstrip(".")
    return f"{clean[:1].upper()}{clean[1:]}." if clean else ""


def _retiring(record: Mapping[str, Any]) -> str:
    """The slot that is being taken away: the replaced one, or the new one after a rejection."""
    serving = bool(record["decision"] and record["decision"]["decision"] == "approve")
    return str(record["active"] if serving else record["standby"])


@dataclass(frozen=True)
class Line:
    """One step of the timeline."""

    name: str
    what: str
    state: Literal["done", "running", "failed", "waiting", "ahead"]
    since: str | None = None
    took: str | None = None
    failure: str | None = None


def timeline(record: Mapping[str, Any], now: datetime) -> list[Line]:
    """What was done and is being done in its order, then what is still ahead."""
    entries = [
        {**step, "at": number} for number, step in enumerate([*record["steps"], *_waited(record)])
    ]
    entries.sort(key=lambda entry: (entry["since"], entry["at"]))
    lines = [_line(record, entry, now) for entry in entries]
    if record["outcome"] is None:
        done = {entry["step"] for entry in entries}
        lines += [_ahead(record, step) for step in AHEAD if step not in done]
    return lines


def _waited(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The wait for a person, as one more step; it begins once there is evidence to show."""
    approval, decision = record["approval"], record["decision"]
    if not approval or not (decision or approval["event"]):
        return []
    until = decision["at"] if decision else None
    return [{"step": "approval", "since": approval["requested"], "until": until}]


def _line(record: Mapping[str, Any], entry: Mapping[str, Any], now: datetime) -> Line:
    step, since, until = entry["step"], entry["since"], entry["until"]
    name, what = STEPS.get(step, (step, ""))
    running: Literal["running", "waiting"] = "waiting" if step == "approval" else "running"
    failure = entry.get("failure")
    took = _moment(until or now) - _moment(since)
    return Line(
        name=name,
        what=what.format(slot=_slot_of(record, entry)),
        state="failed" if failure else "done" if until else running,
        since=since,
        took=span(took),
        failure=failure,
    )


def _slot_of(record: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    step = entry["step"]
    if step == "swap-back":
        return str(record["active"])
    if step in RETIRING:
        return _retiring(record)
    went_back = next((s["since"] for s in record["steps"] if s["step"] == "swap-back"), None)
    if step == "verify" and went_back and entry.get("until") and entry["until"] >= went_back:
        return str(record["active"])
    return str(record["standby"])


def _ahead(record: Mapping[str, Any], step: str) -> Line:
    name, what = STEPS[step]
    slot = record["active"] if step in RETIRING else record["standby"]
    return Line(name, what.format(slot=slot or "standby"), "ahead")


def workloads(record: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, how far it is in words, and whether that is a failure."""
    return [
        (name, ACTIVITIES.get(state, state), state == "failed")
        for name, state in record["workloads"].items()
    ]


@dataclass(frozen=True)
class Point:
    """One thing that speaks for or against an approval."""

    good: bool
    text: str
    more: list[str] = field(default_factory=list)


def points(evidence: Mapping[str, Any], serving: str) -> list[Point]:
    """What the evidence amounts to, each worth one line at the top."""
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
    found.append(_use(evidence, serving))
    if not evidence["complete"]:
        text = "Not everything could be looked at"
        found.append(Point(False, text, list(evidence["problems"])))
    return found


def _use(evidence: Mapping[str, Any], serving: str) -> Point:
    """Who is still on the replaced login."""
    replaced = other("blue" if serving == "blue" else "green")
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
    return Point(True, f"Nobody but its own workloads uses the {replaced} login")


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
    left = _moment(expires) - now
    if left <= timedelta():
        return Expiry(f"expired {span(-left)} ago", expires, "bad")
    return Expiry(f"in {span(left)}", expires, "ask" if left < timedelta(days=7) else "calm")


def deadline(record: Mapping[str, Any], policy: str, now: datetime) -> str:
    """When the approval is due, and what the owner wrote down for then."""
    due = _moment(record["approval"]["deadline"])
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


def _moment(value: str | datetime) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def span(length: timedelta) -> str:
    """`0.4 s`, `12 s`, `4 min 10 s`, `3 h 5 min`, `62 days`: two units at most."""
    seconds = max(length.total_seconds(), 0.0)
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days >= 3:
        return f"{days} days"
    if days:
        return f"{count(days, 'day')} {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def clock(value: str | datetime | None, now: datetime) -> str:
    """The time of day in UTC, with the date if it is another day."""
    if value is None:
        return ""
    moment = _moment(value).astimezone(UTC)
    if moment.date() == now.astimezone(UTC).date():
        return f"{moment:%H:%M:%S} UTC"
    return f"{moment:%-d %b %Y, %H:%M} UTC"


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
