"""The steps of a rotation as its page lists them: done, going on, and still ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rotation.pages.wording import moment, span

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

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
        lines += _ahead(record, {entry["step"] for entry in entries})
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
    took = moment(until or now) - moment(since)
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
        return retiring(record)
    went_back = next((s["since"] for s in record["steps"] if s["step"] == "swap-back"), None)
    if step == "verify" and went_back and entry.get("until") and entry["until"] >= went_back:
        return str(record["active"])
    return str(record["standby"])


def _ahead(record: Mapping[str, Any], done: set[str]) -> list[Line]:
    """What will come, if nothing else happens; on the way back that is less."""
    steps: tuple[str, ...] = AHEAD
    decision = record["decision"]
    goes_on = decision is None or decision["decision"] == "approve"
    taking_back = decision is None and record["stage"] in {"swap-back", "retire"}
    if taking_back or not goes_on:
        steps = ("swap-back", "retire") if "swap" in done else ("retire",)
    slots = {
        "swap-back": record["active"],
        "retire": record["active"] if steps is AHEAD else record["standby"],
    }
    return [
        Line(name, what.format(slot=slots.get(step, record["standby"]) or "standby"), "ahead")
        for step, (name, what) in STEPS.items()
        if step in steps and step not in done
    ]


def workloads(record: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, how far it is in words, and whether that is a failure."""
    return [
        (name, ACTIVITIES.get(state, state), state == "failed")
        for name, state in record["workloads"].items()
    ]


def retiring(record: Mapping[str, Any]) -> str:
    """The slot that is being taken away: the replaced one, or the new one after a rejection."""
    serving = bool(record["decision"] and record["decision"]["decision"] == "approve")
    return str(record["active"] if serving else record["standby"])
