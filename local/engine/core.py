"""One turn of an orchestrator, as a pure function of its history, its new messages and the time."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from local.engine.errors import FunctionFailed
from local.engine.events import CONTROL, Event, Kind, event, stamp
from local.engine.replay import Action, Decision, Replay, ReplayError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from local.engine.state import Instance, Summary

# azure-functions-durable puts this between an orchestrator's failure and its state.
OUT_OF_PROC = "$OutOfProcData$:"
TOO_LARGE = (
    "The UTF-16 size of the JSON-serialized payload must not exceed 16 KB: put less into its custom"
    " status."
)
CUSTOM_STATUS_LIMIT = 16 * 1024  # bytes of UTF-16, as the extension counts
SCHEMA = '"upperSchemaVersion": 1, "upperSchemaVersionNew": 2'


@dataclass(slots=True)
class TurnResult:
    """What a turn adds. `events` go to the history, unless `continued` replaces it."""

    events: list[Event] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    status: str = "Running"
    output: str | None = None
    details: str | None = None
    custom: str | None = None
    told: bool = True  # whether the orchestrator was asked: else the custom status stays
    continue_input: str | None = None
    carried: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Response:
    """An orchestrator function's answer. `error`: it raised. `crashed`: it gave no state."""

    actions: list[Action]
    done: bool = False
    output: str | None = None
    custom: str | None = None
    error: str | None = None
    crashed: bool = False


def turn(
    instance: Instance,
    messages: Sequence[Event],
    now: datetime,
    orchestrate: Callable[[str, str], str],
) -> TurnResult:
    """`orchestrate` takes a name and a context in the 1.7.0 protocol and answers in it, or raises.

    `messages` are those of `Instance.batch`; nothing is changed.
    """
    new = [event(Kind.ORCHESTRATOR_STARTED, now), *messages]
    if messages[0].kind in CONTROL:
        result = controlled(messages[0])
    else:
        result = played(instance, new, orchestrate)
    return closed(result, new, now)


def controlled(message: Event) -> TurnResult:
    """The result of a control message (terminate, suspend, resume): the orchestrator is not
    asked."""
    if message.kind is Kind.EXECUTION_TERMINATED:
        return TurnResult(status="Terminated", output=message.fields["Input"], told=False)
    if message.kind is Kind.EXECUTION_SUSPENDED:
        return TurnResult(status="Suspended", output=message.fields["Reason"], told=False)
    return TurnResult(status="Running", told=False)


def played(
    instance: Instance, new: list[Event], orchestrate: Callable[[str, str], str]
) -> TurnResult:
    summary = instance.summary
    response = ask(summary.name, context(summary, instance.history, new), orchestrate)
    if response.crashed:
        return failed(summary.name, response)
    if response.custom is not None and utf16_size(response.custom) > CUSTOM_STATUS_LIMIT:
        return failed(summary.name, Response([], error=TOO_LARGE))
    replay = Replay(response.actions)
    try:
        replay.run(instance.history)
        replay.run(new)
    except ReplayError as error:
        return failed(summary.name, Response([], error=str(error), custom=response.custom))
    result = TurnResult(decisions=identified(summary, replay.decisions), custom=response.custom)
    if not replay.complete:
        return result
    if response.error is not None:
        return failed(summary.name, response, result.decisions)
    if replay.continued:
        result.status, result.continue_input = "ContinuedAsNew", replay.continue_input
        result.carried = replay.carried
    elif response.done:
        result.status, result.output = "Completed", response.output
    return result


def utf16_size(text: str) -> int:
    """Bytes of a JSON text as the extension writes it: without escapes and blanks."""
    plain = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
    return len(plain.encode("utf-16-le", "surrogatepass"))


def identified(summary: Summary, decisions: list[Decision]) -> list[Decision]:
    """Gives sub-orchestrations without an id the one the framework gives them."""
    return [
        replace(decision, instance_id=f"{summary.execution}:{decision.id}")
        if decision.kind == "child" and not decision.instance_id
        else decision
        for decision in decisions
    ]


def failed(name: str, response: Response, decisions: Sequence[Decision] = ()) -> TurnResult:
    return TurnResult(
        decisions=list(decisions),
        status="Failed",
        output=f"Orchestrator function '{name}' failed: {response.error}",
        details=f"Message: {response.error}",
        custom=response.custom,
    )


def context(summary: Summary, history: list[Event], new: list[Event]) -> str:
    """The orchestrator's argument. The texts of past events are joined as they are."""
    texts = [past.text for past in history]
    texts += [fresh.unplayed for fresh in new]
    parent = None if summary.parent is None else summary.parent.instance
    return (
        f'{{"history": [{", ".join(texts)}], "instanceId": {json.dumps(summary.id)},'
        f' "isReplaying": {json.dumps(bool(history))}, "parentInstanceId": {json.dumps(parent)},'
        f' "input": {json.dumps(handed_on(summary.input))}, {SCHEMA}}}'
    )


def handed_on(text: str | None) -> str | None:
    """An input as the function is given it. The SDK sends JSON within a JSON text, and one layer
    comes off here; what was sent as an object stays as it is."""
    value = None if text is None else json.loads(text)
    return value if isinstance(value, str) else text


def ask(name: str, argument: str, orchestrate: Callable[[str, str], str]) -> Response:
    try:
        answer = json.loads(orchestrate(name, argument))
    except Exception as error:  # noqa: BLE001 - whatever user code raises fails its instance
        return raised(error)
    return response(answer)


def raised(error: Exception) -> Response:
    """The response for a function that failed: with its state, or (the SDK itself failed)
    without."""
    message = FunctionFailed.of(error).message
    _, label, data = message.partition(OUT_OF_PROC)
    if not label:
        return Response([], error=message, crashed=True)
    return response(json.loads(data))


def response(answer: dict[str, Any]) -> Response:
    return Response(
        actions=[action for group in answer["actions"] for action in group],
        done=answer["isDone"],
        output=as_json(answer.get("output")),
        custom=as_json(answer.get("customStatus")),
        error=answer.get("error"),
    )


def as_json(value: object) -> str | None:
    return None if value is None else json.dumps(value)


def closed(result: TurnResult, new: list[Event], now: datetime) -> TurnResult:
    """Adds the events of the decisions and of the turn's end."""
    events = new + [scheduled(decision, now) for decision in result.decisions]
    if result.status == "ContinuedAsNew":
        events.append(event(Kind.CONTINUE_AS_NEW, now, Result=result.continue_input))
    elif result.status in ("Completed", "Failed", "Terminated"):
        events.append(ended(result, now))
    result.events = [*events, event(Kind.ORCHESTRATOR_COMPLETED, now)]
    return result


def ended(result: TurnResult, now: datetime) -> Event:
    return event(
        Kind.EXECUTION_COMPLETED, now, OrchestrationStatus=result.status, Result=result.output
    )


def scheduled(decision: Decision, now: datetime) -> Event:
    if decision.kind == "timer":
        assert decision.fire_at is not None  # noqa: S101 - every timer has one
        return event(Kind.TIMER_CREATED, now, decision.id, FireAt=stamp(decision.fire_at))
    kind = Kind.TASK_SCHEDULED if decision.kind == "activity" else Kind.CHILD_CREATED
    fields: dict[str, Any] = {"Name": decision.name, "Version": "", "Input": decision.input}
    if decision.kind == "child":
        fields["InstanceId"] = decision.instance_id
    return event(kind, now, decision.id, **fields)


def child_outcome(task: int, result: TurnResult, now: datetime) -> Event:
    """The event by which a sub-orchestration's end reaches its parent."""
    if result.status == "Completed":
        return event(Kind.CHILD_COMPLETED, now, TaskScheduledId=task, Result=result.output)
    return child_failed(task, result.output or result.status, result.details, now)


def child_failed(task: int, reason: str, details: str | None, now: datetime) -> Event:
    return event(Kind.CHILD_FAILED, now, TaskScheduledId=task, Reason=reason, Details=details)
