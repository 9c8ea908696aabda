"""What rich draws: a rotation as one tree, tables of credentials, rotations and findings.

Texts of the app are never read as rich's markup: they are `Text`, or cells of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from rotctl.client import plain
from rotctl.words import (
    cancelled_text,
    decision_text,
    evidence_of,
    headline,
    leak_text,
    moment,
    points,
    progress_text,
    serving,
    sessions_text,
    span,
    step_text,
    took,
    tries_text,
    waits_before_swap,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from rotctl.words import Record

TONES = {"calm": "", "busy": "cyan", "ask": "bold yellow", "good": "bold green", "bad": "bold red"}
GOOD, BAD, BUSY = ("✓", "green"), ("✗", "red"), ("…", "cyan")
SEVERITIES = {
    "refuses": "bold red",
    "aborts": "bold red",
    "waits": "yellow",
    "unknown": "yellow",
    "waived": "yellow",
    "tells": "",
}
STOPPING = {"refuses", "aborts", "waits"}
QUIET = "dim"


def line(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts)


def tree(record: Record, evidence: dict[str, Any] | None, now: datetime) -> Tree:
    """A rotation: slots, workloads with their pods, steps, evidence, and what is asked."""
    standing = headline(record)
    top = line(
        (standing.text, TONES.get(standing.tone, "")), (f"  {plain(record['rotation'])}", QUIET)
    )
    drawn = Tree(top, guide_style=QUIET)
    if record.get("leak"):
        drawn.add(line(("incident", "bold"), f"  {leak_text(record)}"))
    if record.get("takenOver"):
        drawn.add(line(("made way for", "bold"), f"  {plain(record['takenOver']['rotation'])}"))
    outside = (record.get("request") or {}).get("outsideWindow")
    if outside:
        drawn.add(line(("outside its windows", "bold"), f"  {plain(outside)}"))
    _slots(drawn.add(line(("slots", "bold"))), record)
    evidence = evidence or evidence_of(record)
    if record["workloads"]:
        _workloads(drawn.add(line(("workloads", "bold"))), record, evidence, now)
    _steps(drawn.add(line(("steps", "bold"))), record, now)
    if evidence is not None:
        _evidence(drawn.add(line(("evidence", "bold"))), record, evidence)
    decided = decision_text(record) or (cancelled_text(record) if record.get("outcome") else "")
    if decided:
        drawn.add(decided)
    elif standing.asks:
        drawn.add(Text(standing.asks, style=TONES.get(standing.tone, "")))
    return drawn


def _slots(branch: Tree, record: Record) -> None:
    serves = serving(record)
    ended = record.get("outcome")
    for slot in ("blue", "green"):
        if slot not in {record["active"], record["standby"]}:
            continue
        if slot == serves:
            branch.add(line((f"{slot:6}", slot), ("serves", "bold")))
        elif serves is None:
            branch.add(line((f"{slot:6}", slot), _moving(record, slot)))
        elif slot == record["standby"] and not ended:
            branch.add(line((f"{slot:6}", slot), "is being brought up", (_version(record), QUIET)))
        elif ended == "completed":
            branch.add(line((f"{slot:6}", slot), ("retired", QUIET)))
        else:
            branch.add(line((f"{slot:6}", slot), ("does not serve", QUIET)))


def _moving(record: Record, slot: str) -> str:
    """What is known of a slot while, or after, workloads stand between the two."""
    if record.get("outcome"):
        return "may serve: its workloads were left between the slots"
    back = any(step["step"] == "swap-back" for step in record["steps"])
    to = record["active" if back else "standby"]
    return "traffic moves here" if slot == to else "traffic moves away"


def _version(record: Record) -> str:
    version = record.get("version")
    return f"  secret version {plain(version)[:8]}" if version else ""


def _workloads(
    branch: Tree, record: Record, evidence: dict[str, Any] | None, now: datetime
) -> None:
    pods = (evidence or {}).get("pods", {})
    for name, progress in record["workloads"].items():
        style = "red" if progress == "failed" else ""
        part = branch.add(line(f"{plain(name):12} ", (progress_text(progress), style)))
        waits = (record.get("waits") or {}).get(name)
        if waits:
            again = tries_text((record.get("tried") or {}).get(name), now) or "waits: "
            said = plain(waits) if progress == "failed" else f"{again}{plain(waits)}"
            part.add(Text(said, style=style or "yellow"))
        for slot, named in pods.get(name, {}).items():
            if named:
                part.add(line((f"{plain(slot):6}", slot), ", ".join(map(plain, named))))


def _steps(branch: Tree, record: Record, now: datetime) -> None:
    for step in record["steps"]:
        name, what = step_text(record, step)
        done = step.get("until") is not None
        sign, style = BAD if step.get("failure") else GOOD if done else BUSY
        time = took(step["since"], step.get("until"), now)
        part = branch.add(line((sign, style), f" {name:10} {what}", (f"  {time}", QUIET)))
        problem = step.get("failure") or step.get("waits")
        if problem:
            again = "" if step.get("failure") else tries_text(step, now) or "waits: "
            part.add(Text(f"{again}{plain(problem)}", style="red" if not again else "yellow"))


def _evidence(branch: Tree, record: Record, evidence: dict[str, Any]) -> None:
    for point in points(evidence, plain(record["active"]), before=waits_before_swap(record)):
        sign, style = GOOD if point.good else BAD
        branch.add(line((sign, style), f" {point.text}"))
    sessions = evidence.get("sessions", [])
    if sessions:
        part = branch.add(line("sessions"))
        for row in sessions:
            part.add(sessions_text(row))


def evidence_tree(record: Record, evidence: dict[str, Any]) -> Tree:
    """The evidence alone, as whoever decides needs it: each test, each session, the pods."""
    drawn = Tree(
        line(("evidence", "bold"), (f"  {plain(record['rotation'])}", QUIET)), guide_style=QUIET
    )
    _evidence(drawn, record, evidence)
    tests = evidence.get("tests", {})
    if tests:
        part = drawn.add("tests")
        for name, results in tests.items():
            for test in results:
                sign, style = GOOD if test["passed"] else BAD
                role = f", served by role {plain(test['role'])}" if test["role"] else ""
                part.add(line((sign, style), f" {plain(name)} {plain(test['test'])}{role}"))
    for name, slots in evidence.get("pods", {}).items():
        part = drawn.add(f"pods of {plain(name)}")
        for slot, named in slots.items():
            part.add(line((f"{plain(slot):6}", slot), ", ".join(map(plain, named)) or "none"))
    return drawn


def _table(*columns: str) -> Table:
    drawn = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    return drawn


def credentials(found: Iterable[dict[str, Any]], now: datetime) -> Table:
    """Each credential: who serves, when its secret expires, whether a rotation would go well."""
    head = ("CREDENTIAL", "SERVES", "EXPIRES", "DUE", "ROTATION", "LOOKED AT", "STANDS IN THE WAY")
    drawn = _table(*head)
    for one in found:
        active, slots = one.get("active"), one.get("slots", {})
        slot, at = slots.get(active) or {}, moment(one.get("at"))
        both = " and ".join(name for name, seen in slots.items() if seen.get("serves"))
        drawn.add_row(
            Text(plain(one["credential"])),
            Text(plain(active or both or "?"), style=active or "red"),
            Text(_until(slot.get("expires"), now)),
            Text(_until((one.get("due") or {}).get("at"), now)),
            Text(plain(one.get("rotation") or "-")),
            Text("-" if at is None else f"{span((now - at).total_seconds())} ago"),
            _hindrance(one),
        )
    return drawn


def _until(text: str | None, now: datetime) -> str:
    at = moment(text)
    return "-" if at is None else f"{at:%Y-%m-%d} ({(at - now).days} d)"


def _hindrance(credential: dict[str, Any]) -> Text:
    stopping = [one for one in findings(credential) if one["severity"] in STOPPING]
    if not stopping:
        return Text("-")
    more = f" (and {len(stopping) - 1} more)" if len(stopping) > 1 else ""
    return Text(f"{plain(stopping[0]['text'])}{more}", style="red")


def findings(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """What was found of a credential, each with severity, code, object, text, remedy, command."""
    if "findings" in answer:
        return [{"object": "", "remedy": "", "command": "", **one} for one in answer["findings"]]
    found = []
    if answer.get("problem"):
        why = answer.get("reason") or {}
        found.append({"severity": "refuses", "code": "", **why, "text": answer["problem"]})
    found += [{"severity": "tells", **doubt} for doubt in answer.get("doubts", [])]
    return [{"object": "", "remedy": "", "command": "", **one} for one in found]


def ready(answer: dict[str, Any]) -> bool:
    """Whether a dry run says that a rotation would go on."""
    stopping = any(one["severity"] == "refuses" for one in findings(answer))
    return bool(answer.get("ready", not stopping))


def dry_run(answer: dict[str, Any]) -> Tree:
    """What a dry run found, the worst first, each with its cure."""
    sign, style = GOOD if ready(answer) else BAD
    says = "would be rotated now" if ready(answer) else "would not be rotated now"
    if ready(answer) and answer.get("active") and answer.get("standby"):
        says += f", from {plain(answer['active'])} to {plain(answer['standby'])}"
    name = plain(answer["credential"])
    drawn = Tree(line((sign, style), f" {name} {says}"), guide_style=QUIET)
    unknown = [{**one, "severity": "unknown"} for one in answer.get("unknown", [])]
    order = list(SEVERITIES)
    listed = findings({**answer, "findings": [*findings(answer), *unknown]})
    for one in sorted(listed, key=lambda each: _place(order, each["severity"])):
        severity = plain(one["severity"])
        about = f"{plain(one['object'])}: " if one["object"] else ""
        what = f" {plain(one['code'])}  {about}{plain(one['text'])}"
        part = drawn.add(line((severity, SEVERITIES.get(severity, "")), what))
        if one["remedy"] and one["remedy"] != "nothing":
            part.add(Text(plain(one["remedy"])))
        if one["command"]:
            part.add(Text("\n".join(map(plain, str(one["command"]).splitlines())), style="cyan"))
    return drawn


def _place(order: list[str], severity: str) -> int:
    return order.index(severity) if severity in order else len(order)


def rotations(found: Iterable[dict[str, Any]], now: datetime) -> Table:
    drawn = _table("ROTATION", "STARTED", "TOOK", "HOW IT STANDS", "ASKED BY")
    for one in found:
        standing = headline(one)
        since, until = one.get("started") or one.get("created"), None
        if one.get("outcome"):
            until = one["since"]
        drawn.add_row(
            Text(plain(one["rotation"])),
            Text(_at(since)),
            Text(took(since, until, now) or "-"),
            Text(standing.text, style=TONES.get(standing.tone, "")),
            Text(plain((one.get("request") or {}).get("requestedBy") or "-")),
        )
    return drawn


def _at(text: str | None) -> str:
    at = moment(text)
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M}Z"
