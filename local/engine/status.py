"""Instances as the durable HTTP API shows them.

The shapes are those of `HttpApiHandler` and of `DurableClient.GetDurableOrchestrationStatusAsync`
in the Durable extension.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from local.engine.events import NAMES, Event, Kind, stamp

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from local.engine.state import Summary

HIDDEN = ("EventId", "IsPlayed", "Version", "OrchestrationInstance", "ParentInstance", "Tags")
SCHEDULES = {Kind.TASK_SCHEDULED, Kind.CHILD_CREATED}
COMPLETES = {Kind.TASK_COMPLETED, Kind.TASK_FAILED, Kind.CHILD_COMPLETED, Kind.CHILD_FAILED}
UNSEEN = {Kind.ORCHESTRATOR_STARTED, Kind.ORCHESTRATOR_COMPLETED}


def payload(summary: Summary, *, show_input: bool) -> dict[str, object]:
    parent = None if summary.parent is None else summary.parent.instance
    return {
        "name": summary.name,
        **({"version": summary.version} if summary.version else {}),
        "instanceId": summary.id,
        **({"parentInstanceId": parent} if parent else {}),
        "runtimeStatus": summary.status,
        "input": decoded(summary.input) if show_input else None,
        "customStatus": decoded(summary.custom),
        "output": decoded(summary.output),
        "createdTime": to_the_second(summary.created),
        "lastUpdatedTime": to_the_second(summary.updated),
    }


def to_the_second(moment: datetime) -> str:
    return stamp(moment)[: len("2026-01-01T00:00:00")] + "Z"


def decoded(text: str | None) -> Any:
    """A JSON value; text that is none stays text, as the reason of a termination does."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def history(
    events: Iterable[Event], *, show_input: bool, show_output: bool
) -> list[dict[str, object]]:
    """Scheduling and completion of a task in one entry, at the completion's place."""
    shown = [event for event in events if event.kind not in UNSEEN]
    scheduled = {e.fields["EventId"]: e.fields for e in shown if e.kind in SCHEDULES}
    completed = {e.fields["TaskScheduledId"] for e in shown if e.kind in COMPLETES}
    return [
        entry(event, scheduled, show_input=show_input, show_output=show_output)
        for event in shown
        if not (event.kind in SCHEDULES and event.fields["EventId"] in completed)
    ]


def entry(
    event: Event,
    scheduled: dict[int, dict[str, Any]],
    *,
    show_input: bool,
    show_output: bool,
) -> dict[str, object]:
    shown: dict[str, Any] = {k: v for k, v in event.fields.items() if k not in HIDDEN}
    shown["EventType"] = NAMES[event.kind]
    shown.pop("TimerId", None)
    task = scheduled.get(shown.pop("TaskScheduledId", None))
    if task is not None:
        shown["ScheduledTime"] = task["Timestamp"]
        shown["FunctionName"] = task["Name"]
        shown["Input"] = task["Input"]
    if event.kind is Kind.EXECUTION_STARTED:
        shown["FunctionName"] = shown.pop("Name")
    if "Result" in shown:
        shown["Result"] = decoded(shown["Result"])
    return {
        key: value
        for key, value in shown.items()
        if (show_input or key != "Input") and (show_output or key != "Result")
    }
