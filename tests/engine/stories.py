"""The app whose orchestrations every engine has to carry in the same way."""
# The SDK's decorators carry no types, and for a failed task it raises a plain Exception.
# mypy: disable-error-code="untyped-decorator"
# ruff: noqa: BLE001

from __future__ import annotations

import json
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import azure.durable_functions as df
import azure.functions as func

from rotation.model.errors import StepFailed
from rotation.story.hearing import Call, Listening

if TYPE_CHECKING:
    from collections.abc import Generator

    from azure.durable_functions import DurableOrchestrationContext as Context

    Steps = Generator[Any, Any, Any]

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)


def story(function: Any) -> Any:
    name = function.__name__
    return app.function_name(name)(app.orchestration_trigger("context")(function))


# -- steps


@app.activity_trigger(input_name="value")
def same(value: Any) -> Any:
    return value


@app.activity_trigger(input_name="number")
def double(number: int) -> int:
    return 2 * number


@app.activity_trigger(input_name="why")
def boom(why: str) -> None:
    raise ValueError(why)


@app.activity_trigger(input_name="children")
@app.durable_client_input(client_name="client")
async def send_home(children: list, client: df.DurableOrchestrationClient) -> int:  # type: ignore[type-arg]
    for child in children:
        await client.raise_event(child, "go", None)
    return len(children)


# -- stories


@story
def echo(context: Context) -> Steps:
    return (yield context.call_activity("same", context.get_input()))


@story
def plain(context: Context) -> Steps:
    """What an orchestrator is told of itself."""
    yield context.call_activity("double", 1)
    return [context.instance_id, context.parent_instance_id, context.version, context.get_input()]


@story
def fan_out(context: Context) -> Steps:
    count = context.get_input()
    return (yield context.task_all([context.call_activity("double", n) for n in range(count)]))


@story
def parent(context: Context) -> Steps:
    """Starts `plain` once for each of `children`: what `call_sub_orchestrator` takes."""
    children = context.get_input()["children"]
    found = yield context.task_all(
        [context.call_sub_orchestrator("plain", "given", **child) for child in children]
    )
    return {"version": context.version, "children": found}


@story
def collects(context: Context) -> Steps:
    """Hears `go`, then as many words as it was told to."""
    heard = []
    yield context.wait_for_external_event("go")
    for _ in range(context.get_input()):
        heard.append((yield context.wait_for_external_event("word")))  # noqa: PERF401 - yields
    return heard


@story
def once(context: Context) -> Steps:
    """Its second step comes after the first word: another one has nobody to hear it."""
    word = yield context.wait_for_external_event("word")
    doubled = yield context.call_activity("double", word)
    yield context.wait_for_external_event("end")
    return doubled


@story
def awaits_child(context: Context) -> Steps:
    """Sub-orchestration `collects` under the id that is given."""
    return (yield context.call_sub_orchestrator("collects", 0, context.get_input()))


@story
def race(context: Context) -> Steps:
    """A word against a timer of `seconds`; the loser is cancelled if `cancel` says so."""
    given = context.get_input()
    until = context.current_utc_datetime + timedelta(seconds=given["seconds"])
    word, timer = context.wait_for_external_event("word"), context.create_timer(until)
    first = yield context.task_any([word, timer])
    if first == timer:
        return "time"
    if given["cancel"]:
        timer.cancel()
    return word.result


@story
def listens(context: Context) -> Steps:
    """Steps, pauses and children, beside which a cancel is heard as the product hears it. Words
    other than `stop` do not count. On a stop it sends the children home, and waits for them."""
    gates = count(1)
    children = [f"{context.instance_id}.{number}" for number in range(2)]

    def stops() -> StepFailed:
        return StepFailed("cancel", [])

    cancels = Call(
        lambda: context.wait_for_external_event(f"cancel-{next(gates)}"),
        lambda word: bool(json.loads(str(word)) == "stop"),
    )
    ears = Listening(context, [cancels], stops)
    heard = []
    try:
        yield from ears.beside(context.call_activity("double", 1))
        ears.heed()
        context.set_custom_status("pause")
        if context.get_input()["pause"]:
            at = context.current_utc_datetime + timedelta(seconds=context.get_input()["pause"])
            yield from ears.pause(at)
            ears.heed()
        tasks = [context.call_sub_orchestrator("collects", 0, child) for child in children]
        context.set_custom_status("children")
        send = context.call_activity
        heard = yield from ears.long(
            context.task_all(tasks), lambda: (yield send("send_home", children))
        )
        ears.heed()
        yield from ears.beside(send("double", 2))
        ears.heed()
    except StepFailed:
        doubled = yield context.call_activity("double", 21)
        return ["stopped", heard, doubled]
    return ["done", heard]


@story
def naps(context: Context) -> Steps:
    """How long the timers took by the orchestration's own clock, in seconds."""
    took = []
    for seconds in context.get_input():
        began = context.current_utc_datetime
        yield context.create_timer(began + timedelta(seconds=seconds))
        took.append((context.current_utc_datetime - began).total_seconds())
    return took


@story
def tells(context: Context) -> Steps:
    """Each custom status, and then a word to go on."""
    for status in context.get_input():
        context.set_custom_status(status)
        yield context.wait_for_external_event("next")
    return "told"


@story
def tells_much(context: Context) -> Steps:
    context.set_custom_status("ü" * context.get_input())
    yield context.call_activity("double", 1)


@story
def catches(context: Context) -> Steps:
    try:
        yield context.call_activity("boom", context.get_input())
    except Exception as error:
        return str(error)


@story
def fails(context: Context) -> Steps:
    context.set_custom_status("about to fail")
    yield context.call_activity("double", 1)
    raise RuntimeError(context.get_input())


@story
def fails_by_step(context: Context) -> Steps:
    yield context.call_activity("boom", context.get_input())


@story
def catches_child(context: Context) -> Steps:
    given = context.get_input()
    try:
        yield context.call_sub_orchestrator(given["name"], given["input"], given.get("id"))
    except Exception as error:
        return str(error)


@story
def misses_a_step(context: Context) -> Steps:
    return (yield context.call_activity("absent_step", 1))


@story
def again(context: Context) -> Steps:
    """Counts to three, a word at a time, each with a history of its own."""
    heard = [*(context.get_input() or []), (yield context.wait_for_external_event("word"))]
    if len(heard) < 3:
        context.continue_as_new(heard)
        return None
    return heard


@story
def starts_late(context: Context) -> Steps:
    """After a word: a child of the default version, one of its own, and what it was told itself."""
    yield context.wait_for_external_event("word")
    first = yield context.call_sub_orchestrator("plain", "given")
    second = yield context.call_sub_orchestrator("plain", "given", version=context.version)
    return [context.version, first[2], second[2]]


@app.event_grid_trigger(arg_name="event")
@app.durable_client_input(client_name="client")
async def on_event(event: func.EventGridEvent, client: df.DurableOrchestrationClient) -> None:
    """Starts `plain` under the event's id, or fails if its subject says so."""
    if event.subject == "fail":
        raise ValueError("told to fail")
    await client.start_new("plain", event.id, event.get_json())


# -- the SDK's client


@app.route(route="client/{method}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def through_client(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Calls the method with the arguments of the body: `{"result"}`, or `{"error"}`."""
    method = getattr(client, req.route_params["method"])
    try:
        result = await method(*req.get_json())
    except Exception as error:
        return func.HttpResponse(json.dumps({"error": f"{type(error).__name__}: {error}"}))
    many = isinstance(result, list)
    shown = [_shown(each) for each in result] if many else _shown(result)
    return func.HttpResponse(json.dumps({"result": shown}, default=str))


def _shown(result: Any) -> Any:
    """A status that was not found is an object, and false."""
    return result.to_json() if result and hasattr(result, "to_json") else result or None
