"""A task hub whose storage is away, as the SDK's own client meets it over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import azure.functions as func
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from azure.durable_functions import DurableOrchestrationClient
from azure.durable_functions.models.utils import http_utils

from local.host.durable import Addresses
from rotation import app
from rotation.front import hub, rotations
from rotation.front.hub import TaskHub
from rotation.front.rotations import Accepted, NotWaiting
from rotation.model import wire
from rotation.model.activities import Notice, Reference
from rotation.model.catalogue import Announcement
from rotation.model.errors import Unavailable
from rotation.model.record import Decision
from rotation.model.targets import SecretTarget
from rotation.settings import Settings
from rotation.steps.catalogue import NOTIFY
from tests.unit import people

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]

WITHIN = 5.0  # seconds, for whatever is asked while the storage is away
# As the extension answers by whatever it is asked, after its own retries.
FAILURE = {
    "Message": "Something went wrong while processing your request",
    "ExceptionMessage": "Retry failed after 4 tries. (Connection refused (127.0.0.1:10002))",
    "ExceptionType": "System.AggregateException",
    "StackTrace": "   at Azure.Core.Pipeline.RetryPolicy.ProcessAsync(HttpMessage message)",
}


async def fails(_: web.Request) -> web.Response:
    return web.json_response(FAILURE, status=500)


async def fails_without_json(_: web.Request) -> web.Response:
    return web.Response(status=500, text="<html>")


async def is_busy(_: web.Request) -> web.Response:
    return web.Response(status=503)


async def hangs(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def drops(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def has_nothing(request: web.Request) -> web.Response:
    """As the extension answers for instances that are not there."""
    if request.path.rstrip("/").endswith("instances"):
        return web.json_response([])
    return web.Response(status=404)


AWAY = pytest.mark.parametrize("answering", [fails, fails_without_json, is_busy, hangs, drops])


@asynccontextmanager
async def bound(answering: Answering) -> AsyncIterator[str]:
    """The text of a durableClient binding to a task hub that answers so."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answering)
    async with TestServer(application) as server:
        url = f"http://127.0.0.1:{server.port}"
        try:
            yield Addresses(url, f"{url}/durabletask", "k", "hub").binding()
        finally:
            await http_utils._close_session()  # noqa: SLF001 - the SDK has no other way to it


def asked(answering: Answering, ask: Callable[[TaskHub], Awaitable[Any]], timeout: float) -> Any:
    async def run() -> Any:
        async with bound(answering) as binding:
            return await ask(TaskHub(DurableOrchestrationClient(binding), timeout))

    return asyncio.run(run())


READS = {
    "one": lambda client: client.get_status("r-1", show_input=True),
    "many": lambda client: client.get_status_by(people.NOW, people.NOW, None),
    "find": lambda client: rotations.find(client, "orders-db-near-expiry-0123456789ab"),
    "current": lambda client: rotations.current(client, "orders-db"),
    "list": lambda client: rotations.listing(client, people.NOW, people.NOW),
}


@AWAY
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_what_cannot_be_read_is_said_to_be_so(answering: Answering, read: Any) -> None:
    with pytest.raises(Unavailable) as caught:
        asked(answering, read, 0.2)
    assert caught.value.retry_after == hub.RETRY_AFTER
    assert "did not answer; try again in 10 seconds" in caught.value.message


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_what_is_not_there_is_told_apart(read: Any) -> None:
    assert not asked(has_nothing, read, WITHIN)


@AWAY
def test_a_start_without_an_answer_is_no_start_and_no_fault(answering: Answering) -> None:
    """The instance is looked up first: here that is answered, and the start is not."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await (answering if request.method == "POST" else has_nothing)(request)

    request = people.shown().request
    with pytest.raises(Unavailable, match="started: the task hub's storage did not answer"):
        asked(answer, lambda client: rotations.start(client, request), 0.2)


DECISION = Decision(
    decision="approve", by="ada@contoso.example", channel="http", comment="", id="1"
)


def decided(answering: Answering, **shown: Any) -> Any:
    async def ask(client: TaskHub) -> Any:
        record = people.shown(**shown)
        return await rotations.submit(client, record, "decision-1", DECISION, grace=0.0)

    return asked(answering, ask, 0.2)


@AWAY
def test_a_decision_without_an_answer_is_said_to_be_in_doubt(answering: Answering) -> None:
    with pytest.raises(Unavailable, match=r"the decision: the task hub's storage did not answer"):
        decided(answering)


def test_a_decision_for_what_has_ended_meanwhile_is_told_as_such() -> None:
    """A refusal of the hub, 410, is none of its storage."""
    ended = people.record(stage="done", outcome="completed", outcomeReason="approved")

    async def answer(request: web.Request) -> web.Response:
        if request.method == "POST":
            return web.Response(status=410)
        at = people.NOW.isoformat()
        status = {"name": "rotation", "instanceId": people.ROTATION, "runtimeStatus": "Completed"}
        times = {"createdTime": at, "lastUpdatedTime": at}
        told = {"input": ended["request"], "output": ended, "customStatus": ended}
        return web.json_response({**status, **times, **told})

    assert isinstance(decided(answer), NotWaiting)


def test_a_decision_that_was_taken_is_not_called_lost_when_a_look_fails() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=202) if request.method == "POST" else await fails(request)

    assert isinstance(decided(answer), Accepted)


# -- every function of the app that asks the hub


def function(name: str) -> Callable[..., Awaitable[Any]]:
    """As the worker calls it: with the client as text."""
    settings = Settings(topic="https://topic.example/api/events")
    edges = people.edges(settings, approvers=["ada@contoso.example"])
    found = {one.get_function_name(): one for one in app.build(edges).get_functions()}
    call: Callable[..., Awaitable[Any]] = found[name].get_user_function()
    return call


def body(**document: str) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    return {"method": "POST", "body": json.dumps(document).encode(), "headers": headers}


FORM = {"method": "POST", "form": {"decision": "approve", "token": "t", "by": "ada"}}
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "start": ("start_rotation", body(credential="orders-db", by="ada@contoso.example")),
    "list": ("list_rotations", {}),
    "get": ("get_rotation", {"id": people.ROTATION}),
    "evidence": ("get_evidence", {"id": people.ROTATION}),
    "decide": (
        "decide",
        {"id": people.ROTATION, **body(decision="approve", by="ada@contoso.example")},
    ),
    "credentials": ("list_credentials", {}),
    "overview": ("overview_page", {}),
    "page": ("rotation_page", {"id": people.ROTATION}),
    "page decides": ("rotation_page", {"id": people.ROTATION, **FORM}),
}


def called(name: str, answering: Answering, **arguments: Any) -> Any:
    async def run() -> Any:
        async with bound(answering) as binding:
            return await function(name)(client=binding, **arguments)

    return asyncio.run(run())


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for in full is measured below, and on the real extension."""
    monkeypatch.setattr(TaskHub.__init__, "__defaults__", (0.2,))


@pytest.mark.usefixtures("hasty")
@AWAY
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_face_answers_503_and_says_when_to_come_again(
    call: tuple[str, dict[str, Any]], answering: Answering
) -> None:
    name, given = call
    posted: list[str] = []

    async def counted(request: web.Request) -> web.StreamResponse:
        posted.extend([request.path] if request.method == "POST" else [])
        return await answering(request)

    answer: func.HttpResponse = called(name, counted, req=people.request(**given))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "10"
    text = answer.get_body().decode()
    assert "did not answer; try again in 10 seconds" in text.replace("&#39;", "'")
    assert posted == []  # nothing is started or decided on what could not be read


def test_a_rotation_that_is_not_there_is_still_a_404() -> None:
    answer = called("get_rotation", has_nothing, req=people.request(id=people.ROTATION))
    assert (answer.status_code, "Retry-After" in answer.headers) == (404, False)


def test_whoever_asks_is_told_within_seconds() -> None:
    began = time.monotonic()
    answer = called("get_rotation", hangs, req=people.request(id=people.ROTATION))
    assert answer.status_code == 503
    assert hub.TIMEOUT < WITHIN
    assert time.monotonic() - began < WITHIN


@pytest.mark.usefixtures("hasty")
@AWAY
def test_an_event_fails_so_that_event_grid_delivers_it_again(answering: Answering) -> None:
    vault = "https://kv-orders.vault.azure.net"
    current = people.edges().vault(vault).current(SecretTarget("orders-db-green"))
    assert current is not None
    event = func.EventGridEvent(
        id="e-1",
        data={
            "Id": f"{vault}/secrets/orders-db-green/{current.version}",
            "ObjectName": "orders-db-green",
            "Version": current.version,
        },
        topic="",
        subject="orders-db-green",
        event_type="Microsoft.KeyVault.SecretNearExpiry",
        event_time=people.NOW,
        data_version="1",
    )
    with pytest.raises(Unavailable, match="could not be looked up"):
        called("on_secret_event", answering, event=event)


@pytest.mark.usefixtures("hasty")
@AWAY
def test_an_announcement_is_told_again_by_the_story(answering: Answering) -> None:
    time, asked_for = wire.moment(people.NOW), people.shown().request
    notice = Notice(kind=Announcement.STARTED, number=1, time=time, request=asked_for)
    reference = Reference(rotation=people.ROTATION, credential="orders-db", notice=notice)
    answer = called(NOTIFY.name, answering, reference=wire.value_of(reference))
    assert answer["error"]["code"] == "task-hub-unavailable"
    assert answer["error"]["transient"] is True
