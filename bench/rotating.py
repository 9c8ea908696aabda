"""One whole rotation by the app, approved as soon as it waits for that."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from local import world
from local.process import wait_until

if TYPE_CHECKING:
    from local.stack import Stack


class RotationFailed(Exception):  # noqa: N818 - what happened, not a kind of error
    """A rotation that did not complete: there is nothing to measure."""


def rotate(stack: Stack) -> dict[str, Any]:
    """Rotates once, and returns the record. Raises `RotationFailed`."""
    rotation = start(stack)
    record = stack.client.follow(rotation, waits_or_ended, timeout=60)
    if record["outcome"] is None:
        stack.client.decide(rotation, "approve")
        record = stack.client.follow(rotation, lambda found: found["outcome"], timeout=60)
    if record["outcome"] != "completed":
        raise RotationFailed(f"{rotation}: {record['outcome']}: {record['outcomeReason']}")
    return record


def start(stack: Stack) -> str:
    """Starts a rotation and returns its id.

    The one before may have shown its outcome a moment before its orchestration ends.
    """
    body = {"credential": world.CREDENTIAL, "by": "benchmark@contoso.example", "reason": "measured"}
    answers: list[Any] = []

    def started() -> bool:
        answers.append(stack.client.api("POST", "/rotations", body))
        return bool(answers[-1].status == 202)

    wait_until(started, 10, "the start of a rotation")
    return str(answers[-1].json["rotation"])


def waits_or_ended(record: dict[str, Any]) -> bool:
    return bool(record["outcome"] or (record["approval"] or {}).get("event"))


def steps(record: dict[str, Any]) -> dict[str, float]:
    """The seconds of each step, by name; one that is taken twice counts together."""
    found: dict[str, float] = {}
    for step in record["steps"]:
        seconds = (_moment(step["until"]) - _moment(step["since"])).total_seconds()
        found[step["step"]] = found.get(step["step"], 0.0) + seconds
    return found


def seconds(record: dict[str, Any]) -> float:
    """The seconds from the start to the last step's end."""
    return (_moment(record["steps"][-1]["until"]) - _moment(record["started"])).total_seconds()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
