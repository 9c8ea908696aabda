"""A function app with every kind of trigger that the local host runs."""
# The SDK's decorators carry no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import json
import logging
import os
import threading
import time
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Any

import azure.durable_functions as df
import azure.functions as func

if TYPE_CHECKING:
    from collections.abc import Generator

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)
running = threading.Semaphore()
print("the sample is loaded")  # noqa: T201 - where it goes is tested


def note(name: str, value: object) -> None:
    """One JSON line in the file that the test reads."""
    with Path(os.environ["SAMPLE_NOTES"]).open("a", encoding="utf-8") as notes:
        notes.write(json.dumps({"name": name, "value": value}) + "\n")


def answer(body: object, status: int = 200) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(body), status_code=status, mimetype="application/json")


@app.route(route="echo/{word:alpha}/{number:int?}", methods=["GET", "POST", "HEAD"])
def echo(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    return answer(
        {
            "method": req.method,
            "url": req.url,
            "route": dict(req.route_params),
            "query": dict(req.params),
            "headers": dict(req.headers),
            "body": req.get_body().decode("latin-1"),
            "function": context.function_name,
        }
    )


@app.route(route="open/{*rest}", auth_level=func.AuthLevel.ANONYMOUS)
async def anything(req: func.HttpRequest) -> func.HttpResponse:
    return answer({"method": req.method, "rest": req.route_params.get("rest")})


@app.route(route="secret", auth_level=func.AuthLevel.ADMIN, methods=["GET"])
def secret(req: func.HttpRequest) -> str:
    return "for the master key"


@app.route(route="binary", auth_level=func.AuthLevel.ANONYMOUS, methods=["POST"])
def binary(req: func.HttpRequest) -> func.HttpResponse:
    cookies: SimpleCookie = SimpleCookie()
    cookies["session"] = "abc"
    cookies["session"]["httponly"] = True
    headers = {"Set-Cookie": cookies["session"].OutputString(), "X-Thing": "one"}
    return func.HttpResponse(
        req.get_body()[::-1], status_code=201, headers=headers, mimetype="application/octet-stream"
    )


@app.route(route="crash", auth_level=func.AuthLevel.ANONYMOUS, methods=["GET"])
def crash(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("the sample crashed on purpose")


@app.route(route="nothing", auth_level=func.AuthLevel.ANONYMOUS, methods=["GET"])
def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return None  # type: ignore[return-value]  # what happens to it is the test


@app.route(route="slow", auth_level=func.AuthLevel.ANONYMOUS, methods=["GET"])
def slow(req: func.HttpRequest) -> func.HttpResponse:
    note("slow", "begun")
    time.sleep(float(req.params.get("seconds", "1")))
    return answer({"slow": "done"})


@app.route(route="environment", auth_level=func.AuthLevel.ANONYMOUS, methods=["GET"])
def environment(req: func.HttpRequest) -> func.HttpResponse:
    return answer(dict(os.environ))


@app.route(route="start/{name}", auth_level=func.AuthLevel.ANONYMOUS, methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    try:
        instance_id = await client.start_new(
            req.route_params["name"], req.params.get("id"), req.get_json()
        )
    except Exception as error:  # noqa: BLE001 - the SDK raises nothing narrower
        return answer({"error": str(error)}, 409)
    logging.getLogger("sample").info("manage it at %s", client.create_http_management_payload("x"))
    response: func.HttpResponse = client.create_check_status_response(req, instance_id)
    return response


@app.route(route="inspect/{id}", auth_level=func.AuthLevel.ANONYMOUS, methods=["POST"])
@app.durable_client_input(client_name="client")
async def manage(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Calls the client method that the body names, and tells what came of it."""
    call = req.get_json()
    method = getattr(client, call["method"])
    result: Any = await method(req.route_params["id"], *call.get("arguments", []))
    if method.__name__ == "purge_instance_history":
        return answer({"instances_deleted": result.instances_deleted})
    return answer(result.to_json() if hasattr(result, "to_json") else result)


@app.event_grid_trigger(arg_name="event")
@app.durable_client_input(client_name="client")
async def near_expiry(event: func.EventGridEvent, client: df.DurableOrchestrationClient) -> None:
    note("event", {"id": event.id, "type": event.event_type, "data": event.get_json()})
    if event.subject == "start":
        await client.start_new("gather", event.id, {"numbers": [1, 2]})
    if event.subject == "fail":
        raise RuntimeError("the sample refuses this event")


@app.event_grid_trigger(arg_name="event")
def cloud_event(event: func.CloudEvent) -> None:
    note("cloud", {"id": event.id, "type": event.type, "source": event.source})


@app.timer_trigger(schedule="%SAMPLE_SCHEDULE%", arg_name="timer", run_on_startup=True)
def ticking(timer: func.TimerRequest) -> None:
    alone = running.acquire(blocking=False)
    note("tick", {"past_due": timer.past_due, "alone": alone})
    time.sleep(0.2)
    if alone:
        running.release()


@app.orchestration_trigger(context_name="context")
def gather(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    given = context.get_input()
    doubled = yield context.task_all(
        [context.call_activity("double", {"number": number}) for number in given["numbers"]]
    )
    shouted = yield context.call_activity("shout", "done")
    return {"doubled": doubled, "shouted": shouted}


@app.orchestration_trigger(context_name="context", orchestration="asking")
def ask(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    context.set_custom_status({"stage": "waiting"})
    decision = yield context.wait_for_external_event("decision")
    return decision


@app.orchestration_trigger(context_name="context")
def failing(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    yield context.call_activity("explode", None)


@app.orchestration_trigger(context_name="context")
def sleeping(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    slept = yield context.call_activity("sleep", context.get_input())
    return slept


@app.activity_trigger(input_name="order")
def double(order: dict) -> int:  # type: ignore[type-arg]  # the platform takes plain types only
    return int(order["number"]) * 2


@app.activity_trigger(input_name="word")
async def shout(word: str) -> dict[str, str]:
    return {"word": word.upper()}


@app.activity_trigger(input_name="nothing")
def explode(nothing: None) -> None:
    raise RuntimeError("the activity exploded")


@app.activity_trigger(input_name="seconds", activity="sleep")
def nap(seconds: float) -> str:
    note("nap", seconds)
    time.sleep(seconds)
    return "rested"
