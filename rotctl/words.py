"""A rotation's record in the catalogue's words: headline, steps, workloads, what is asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rotctl.client import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

Record = dict[str, Any]


@cache
def words() -> dict[str, Any]:
    """What `make generated` writes of the catalogue."""
    text = Path(__file__).with_name("words.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


@dataclass(frozen=True)
class Headline:
    """How a rotation stands, its tone, and what is asked of whoever reads it."""

    text: str
    tone: str
    asks: str


def headline(record: Record) -> Headline:
    if record.get("outcome"):
        known = words()["outcomes"].get(record["outcome"], {})
        text = _filled(known.get("headline", record["outcome"]), record)
        return Headline(text, known.get("tone", "calm"), plain(record.get("outcomeReason") or ""))
    if waits_for_decision(record):
        return _asked(record)
    if record.get("cancelled"):
        text = f"Stopping: {plain(record['active'] or 'the active slot')} goes on serving"
        return Headline(text, "busy", f"It was {cancelled_text(record)}")
    window = record.get("window")
    if window:
        text = f"Waits for its window, {plain(window['text'])}"
        return Headline(text, "calm", "Nothing is asked of you.")
    place = record.get("place")
    if place and place["state"] == "waits":
        text = f"Waits for {plain(place['text'])}"
        return Headline(text, "calm", "Nothing is asked of you.")
    known = words()["stages"].get(record["stage"], {})
    text = _filled(known.get("headline", record["stage"]), record)
    return Headline(text, "busy", _wrong(record) or known.get("asks", ""))


def _asked(record: Record) -> Headline:
    """The headline of a rotation that waits for a decision."""
    if confirms(record):
        by = plain((record.get("request") or {}).get("requestedBy") or "whoever called it")
        asks = (
            "Approve says that what was done was right, reject that it was not: nothing is undone. "
            f"It takes somebody else than {by}."
        )
        return Headline("Done: a second person must confirm it", "ask", asks)
    active, standby = plain(record["active"]), plain(record["standby"])
    before = waits_before_swap(record)
    asks = (
        f"{standby.capitalize()} is up and tested, {active} serves. Approve moves traffic to "
        f"{standby}. Reject ends the rotation."
        if before
        else f"{standby.capitalize()} serves all traffic. Approve takes the {active} login away. "
        f"Reject goes back to {active}."
    )
    overdue = (record.get("before" if before else "approval") or {}).get("overdue")
    when = " before the swap" if before else ""
    text = f"A decision{when} is overdue" if overdue else f"Waiting for a decision{when}"
    return Headline(text, "ask", asks)


def _wrong(record: Record) -> str:
    """What is asked where something is wrong; empty where nothing is."""
    failed = [plain(name) for name, at in record["workloads"].items() if at == "failed"]
    running = [step for step in record["steps"][-1:] if step.get("until") is None]
    if failed and (record.get("request") or {}).get("cut") == "first":
        return f"Failed: {', '.join(failed)}. There is no way back: it is tried again by itself."
    if failed:
        return f"Failed: {', '.join(failed)}. Once the others have ended it goes back by itself."
    if record.get("tried") or any(step.get("nextTry") for step in running):
        return "Something did not work, and is tried again by itself; it may be yours to mend."
    if record.get("waits") or any(step.get("waits") for step in running):
        return "It waits for what is said above; if that does not come, it may be yours to mend."
    return ""


def tries_text(tried: dict[str, Any] | None, now: datetime) -> str:
    """How often something has failed, and when it is tried again; empty if it is not."""
    at = moment((tried or {}).get("nextTry"))
    if tried is None or at is None:
        return ""
    left = (at - now).total_seconds()
    times = "once" if tried.get("attempt") == 1 else f"{tried.get('attempt')} times"
    return f"failed {times}, tries again {'in ' + span(left) if left > 0 else 'now'}: "


def _filled(text: str, record: Record) -> str:
    return text.format(
        active=plain(record["active"] or "the active slot"),
        standby=plain(record["standby"] or "the standby slot"),
        retiring=plain(retiring(record) or "replaced"),
    )


def waits_for_decision(record: Record) -> bool:
    if record.get("outcome"):
        return False
    return any((record.get(key) or {}).get("event") for key in ("before", "approval"))


def waits_before_swap(record: Record) -> bool:
    """Whether it waits for the decision before the swap."""
    return not record.get("outcome") and bool((record.get("before") or {}).get("event"))


def confirms(record: Record) -> bool:
    """Whether what is waited for is that a second person confirms what an incident has done."""
    return bool((record.get("approval") or {}).get("confirms"))


def leak_text(record: Record) -> str:
    """What an incident is about, and how far it is; empty for any other rotation."""
    leak = record.get("leak")
    if not leak:
        return ""
    found = f"the password of role {plain(leak['role'])} has leaked"
    if leak.get("refused"):
        found += f", and the role was refused from {plain(leak['refused'])[:19]}Z on"
    users = [
        f"{plain(one['application']) or 'unnamed'} at {plain(one['client'])}"
        for one in leak["connected"]
    ]
    listed = ", ".join(dict.fromkeys(users[:5]))
    return f"{found}; {leak['sessions']} sessions{f': {listed}' if listed else ''}"


def retiring(record: Record) -> str:
    """The slot that is being taken away: the replaced one, or the new one after a rejection."""
    approved = (record.get("decision") or {}).get("decision") == "approve"
    return str(record["active" if approved else "standby"] or "")


def serving(record: Record) -> str | None:
    """The slot that production runs on, as far as the record tells; None while it moves."""
    ends = {step["step"]: step for step in record["steps"]}  # the last of each name
    back, swap = ends.get("swap-back"), ends.get("swap")
    moving = [step for step in (back, swap) if step is not None]
    if any(step.get("until") is None or step.get("failure") for step in moving):
        return None
    slot = record["standby"] if swap is not None and back is None else record["active"]
    return slot or None


def step_text(record: Record, step: dict[str, Any]) -> tuple[str, str]:
    """A step's name and what it does."""
    known = words()["steps"].get(step["step"])
    if known is None:
        return plain(step["step"]), ""
    slot = {"active": record["active"], "retiring": retiring(record)}.get(
        known["about"], record["standby"]
    )
    return known["name"], known["what"].format(slot=plain(slot or known["about"]))


def progress_text(progress: str) -> str:
    return str(words()["progress"].get(progress, plain(progress)))


def moment(text: str | None) -> datetime | None:
    """The time that a record has; None for none."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def took(since: str | None, until: str | None, now: datetime | None = None) -> str:
    """How long something took, or has taken by now; empty if nobody knows."""
    began, ended = moment(since), moment(until) or now or datetime.now(UTC)
    return "" if began is None else span((ended - began).total_seconds())


def span(seconds: float) -> str:
    """A duration for people: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min, 8 d."""
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 2 * 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d"


@dataclass(frozen=True)
class Point:
    """One thing that speaks for or against an approval."""

    good: bool
    text: str


def points(evidence: dict[str, Any], replaced: str, *, before: bool = False) -> list[Point]:
    """What of the evidence speaks for an approval, and what against it: after the swap, or `before`
    it, where `replaced` is the slot that serves."""
    tests = [test for results in evidence.get("tests", {}).values() for test in results]
    failed = [test for test in tests if not test["passed"]]
    found = [Point(False, f"test {plain(t['test'])}: {plain(t['problem'])}") for t in failed]
    if not tests:
        found.append(Point(True, "there are no tests: sessions prove which login is used"))
    elif not failed:
        count = "1 test" if len(tests) == 1 else f"{len(tests)} tests"
        where = "before the swap" if before else "through production"
        found.append(Point(True, f"{count} passed {where}"))
    roles = sorted({plain(test["role"]) for test in tests if test["role"]})
    if roles and not failed:
        found.append(Point(True, f"served by role {', '.join(roles)}"))
    in_use = f"the {replaced} login is still in use"
    if before:
        in_use = f"others use the {replaced} login too, and keep it until it is retired"
    strange = evidence.get("stillInUse", [])
    found += [Point(before, f"{in_use}: {_sessions(row)}") for row in strange]
    found += [] if before else _used_before(evidence, replaced)
    found += [*_conditions(evidence), *_jobs(evidence, replaced)]
    for name, paths in evidence.get("templates", {}).items():
        found += [Point(False, f"pod templates of {plain(name)} differ: {plain(p)}") for p in paths]
    found += [Point(False, plain(problem)) for problem in evidence.get("problems", [])]
    if not evidence.get("complete") and not evidence.get("problems"):
        found.append(Point(False, "not everything could be looked at"))
    if not evidence.get("passed") and all(point.good for point in found):
        found.append(Point(False, "the app says that it does not pass"))
    return found


def _used_before(evidence: dict[str, Any], replaced: str) -> Iterator[Point]:
    """Who used the replaced login in the last weeks, and is in no workload."""
    usage = evidence.get("usage")
    if not usage:
        return
    when = f"in the last {usage['days']} days"
    staying = [user for user in usage["users"] if not user.get("moved")]
    for user in staying:
        yield Point(False, f"the {replaced} login was used by {_user(user)}")
    if usage["users"] and not staying:
        text = f"all others who used the {replaced} login {when} were seen on the new one since"
        yield Point(True, text)
    if usage["more"]:
        yield Point(not staying, f"and {usage['more']} more who used it {when}")
    if usage["problem"] or (usage["gaps"] and not usage["samples"]):
        why = plain(usage["problem"] or "no sample could be taken in full; the log says why")
        yield Point(False, f"who used the {replaced} login before is not all known: {why}")
    elif not usage["users"] and usage["samples"]:
        yield Point(True, f"nobody else was seen on the {replaced} login {when}")


def _user(user: dict[str, Any]) -> str:
    who = f"{plain(user['application']) or 'unnamed'} from {plain(user['client'])}"
    last, seen = moment(user["last"]), plain(user["last"])
    if last is not None:
        last = last.astimezone(UTC)
        seen = f"{last:%a} {last.day} {last:%b, %H:%M} UTC"
    return f"{'others' if user.get('others') else who}, last seen {seen}, in no workload"


def _conditions(evidence: dict[str, Any]) -> Iterator[Point]:
    """The conditions of the credential's owner, each with its value."""
    for one in evidence.get("conditions", []):
        name, limit, value = plain(one["name"]), plain(one["limit"]), one.get("value")
        if not one.get("known", True):
            yield Point(False, f"condition {name} is not known: {plain(one.get('problem') or '')}")
            continue
        said = "has no data" if value is None else f"is {value:g}"
        text = f"condition {name} {said}: it must not be {limit}"
        yield Point(not one.get("beyond"), text)


def _jobs(evidence: dict[str, Any], replaced: str) -> Iterator[Point]:
    """Jobs that still run on the replaced login: an approval waits for them."""
    for name, jobs in evidence.get("jobs", {}).items():
        for job in jobs:
            text = f"Job {plain(job)} of {plain(name)} still runs on {replaced}: it is waited for"
            yield Point(True, text)


def _sessions(row: dict[str, Any]) -> str:
    count = "1 session" if row["sessions"] == 1 else f"{row['sessions']} sessions"
    return f"{plain(row['application']) or 'somebody'} at {plain(row['client'])}, {count}"


def sessions_text(row: dict[str, Any]) -> str:
    """Who is connected, as which role."""
    whose = f" of workload {plain(row['workload'])}" if row.get("workload") else ""
    return f"{plain(row['role'])}: {_sessions(row)}{whose}"


def evidence_of(record: Record) -> dict[str, Any] | None:
    """The evidence that is kept in a record: that of the decision, or of when it was asked for."""
    kept = record.get("evidence") or {}
    found: dict[str, Any] | None = kept.get("decided") or kept.get("requested")
    return found


def cancelled_text(record: Record) -> str:
    """Who has cancelled it, and why; empty if nobody has."""
    cancelled = record.get("cancelled")
    return f"cancelled {_by_whom(cancelled)}" if cancelled else ""


def _by_whom(decided: dict[str, Any]) -> str:
    said = f": {plain(decided['comment'])}" if decided.get("comment") else ""
    return f"by {plain(decided['by'])} ({plain(decided['channel'])}){said}"


def decision_text(record: Record) -> str:
    """Who decided what and how; empty if nobody has. Of an incident that is to be confirmed, that
    is what counts."""
    if confirms(record):
        return _said(record.get("confirmation"), ("confirmed", "not confirmed"))
    return _said(record.get("decision"), ("approved", "rejected"))


def _said(decision: dict[str, Any] | None, words: tuple[str, str]) -> str:
    if not decision:
        return ""
    what = dict(zip(("approve", "reject"), words, strict=True)).get(decision["decision"], "decided")
    return f"{what} {_by_whom(decision)}"
