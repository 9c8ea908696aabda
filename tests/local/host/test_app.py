"""What can be loaded, and what is refused: by our worker and by Microsoft's library alike."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from azure.functions.meta import Datum

from local.engine.errors import FunctionFailed
from local.host import app as apps
from local.host.indexing import OwnRuntime
from tests.local.engine.support import sdk_warnings

if TYPE_CHECKING:
    from pathlib import Path

    from local.host.app import Runtime

pytestmark = sdk_warnings

HEAD = """
import azure.durable_functions as df
import azure.functions as func

app = df.DFApp()
"""


@pytest.fixture
def written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / f"app_{abs(hash(request.node.name))}.py"


@pytest.fixture(
    params=[
        "ours",
        pytest.param(
            "Microsoft's",
            marks=pytest.mark.skipif(
                sys.version_info < (3, 13),
                reason="azure-functions-runtime is published for Python 3.13 and newer",
            ),
        ),
    ]
)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return OwnRuntime() if request.param == "ours" else apps.platform_runtime()


def write(path: Path, body: str) -> Path:
    path.write_text(HEAD + textwrap.dedent(body), encoding="utf-8")
    return path


def test_functions_are_found_by_name_and_durable_name(written: Path, runtime: Runtime) -> None:
    path = write(
        written,
        """
        @app.function_name("Renamed")
        @app.route(route="things/{id}", methods=["PUT"], auth_level=func.AuthLevel.ADMIN)
        @app.durable_client_input(client_name="client")
        async def things(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> str:
            return "x"

        @app.activity_trigger(input_name="value", activity="step")
        def an_activity(value: str, context: func.Context) -> None: ...

        @app.orchestration_trigger(context_name="context")
        def story(context: df.DurableOrchestrationContext):
            yield
        """,
    )
    app = apps.load(path, runtime)
    http = app.functions["Renamed"]
    assert (http.kind, http.parameter, http.clients) == ("httpTrigger", "req", ("client",))
    assert (http.trigger["route"], http.trigger["authLevel"]) == ("things/{id}", "ADMIN")
    assert http.trigger["methods"] == ["PUT"]
    step = app.durable("activity", "step")
    assert step is not None
    assert step.name == "an_activity"
    assert app.durable("activity", "an_activity") is None
    assert app.durable("orchestrator", "story") is not None
    assert app.durable("activity", "story") is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise KeyError('VAULT')", "KeyError: 'VAULT'"),
        ("app = None", "function app"),
        ("", "has a function app without functions"),
        ("other = df.DFApp()", "function app"),
        (
            """
            @app.queue_trigger(arg_name="msg", queue_name="q", connection="C")
            def queued(msg: func.QueueMessage) -> None: ...
            """,
            "queued: trigger queueTrigger",
        ),
        (
            """
            @app.route(route="x")
            @app.blob_input(arg_name="blob", path="p", connection="C")
            def blobs(req: func.HttpRequest, blob: str) -> str: ...
            """,
            r"blobs: binding blob \(blob\) is not supported locally",
        ),
        (
            """
            @app.route(route="x")
            def extra(req: func.HttpRequest, mystery: str) -> str: ...
            """,
            "extra.*mystery",
        ),
        (
            """
            @app.timer_trigger(arg_name="timer", schedule="0 * * * * *")
            def missing(clock: func.TimerRequest) -> None: ...
            """,
            "missing",
        ),
        (
            """
            @app.timer_trigger(arg_name="timer", schedule="0 * * * * *")
            @app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:01")
            def again(timer: func.TimerRequest) -> None: ...
            """,
            "again: retry policies",
        ),
        (
            """
            @app.route(route="x")
            def twice(req: func.HttpRequest) -> str: ...
            @app.route(route="y")
            def twice(req: func.HttpRequest) -> str: ...
            """,
            "twice does not have a unique function name",
        ),
    ],
)
def test_load_bad(written: Path, runtime: Runtime, body: str, reason: str) -> None:
    with pytest.raises(apps.LoadError, match=reason):
        apps.load(write(written, body), runtime)


ACTIVITY = """
@app.activity_trigger(input_name="value")
def refused(value: {annotation}) -> {result}: ...
"""
HTTP = """
@app.route(route="x")
def refused(req: {annotation}) -> {result}: ...
"""
TIMER = """
@app.timer_trigger(arg_name="value", schedule="0 * * * * *")
def refused(value: {annotation}, context: {result}) -> None: ...
"""
EVENT = """
from typing import *
@app.event_grid_trigger(arg_name="value")
def refused(value: {annotation}) -> {result}: ...
"""
CLIENT = """
@app.route(route="x")
@app.durable_client_input(client_name="client")
async def refused(req: {annotation}, client: df.DurableOrchestrationClient) -> {result}: ...
"""
TYPING = "\nfrom typing import *\n"


@pytest.mark.parametrize(
    ("kind", "annotation", "result"),
    [
        (ACTIVITY, "dict[str, Any]", "str"),
        (ACTIVITY, "list[int]", "str"),
        (ACTIVITY, "str | None", "str"),
        (ACTIVITY, "Optional[str]", "str"),
        (ACTIVITY, "Union[int, str]", "str"),
        (ACTIVITY, "Tuple[int, str]", "str"),
        (ACTIVITY, "Callable[[int], int]", "str"),
        (ACTIVITY, "'Absent'", "str"),
        (ACTIVITY, "func.Out[str]", "str"),
        (ACTIVITY, "'a text that is no type'", "str"),
        (HTTP, "dict", "str"),
        (HTTP, "func.TimerRequest", "str"),
        (HTTP, "func.HttpRequest | None", "str"),
        (HTTP, "func.HttpRequest", "dict"),
        (HTTP, "func.HttpRequest", "Optional[str]"),
        (HTTP, "func.HttpRequest", "str | None"),
        (HTTP, "func.HttpRequest", "dict[str, Any]"),
        (HTTP, "func.HttpRequest", "func.Out[str]"),
        (HTTP, "func.HttpRequest", "None"),
        (TIMER, "dict", "func.Context"),
        (TIMER, "func.TimerRequest", "dict"),
        (TIMER, "func.TimerRequest", "Optional[func.Context]"),
        (EVENT, "dict", "None"),
        (EVENT, "dict[str, Any]", "None"),
        (EVENT, "Dict[str, Any]", "None"),
        (EVENT, "func.HttpRequest", "None"),
        (CLIENT, "dict[str, str]", "str"),
    ],
)
def test_annotations_that_the_platform_refuses(
    written: Path, runtime: Runtime, kind: str, annotation: str, result: str
) -> None:
    """One such function keeps the whole app from starting."""
    body = TYPING + kind.format(annotation=annotation, result=result)
    with pytest.raises(apps.LoadError):
        apps.load(write(written, body), runtime)


@pytest.mark.parametrize(
    ("kind", "annotation", "result"),
    [
        (ACTIVITY, "dict", "dict[str, Any]"),
        (ACTIVITY, "Dict[str, Any]", "Optional[str]"),
        (ACTIVITY, "List[int]", "func.HttpResponse"),
        (ACTIVITY, "Any", "None"),
        (ACTIVITY, "None", "None"),
        (ACTIVITY, "Literal['a']", "None"),
        (HTTP, "func.HttpRequest", "func.HttpResponse"),
        (HTTP, "str", "str"),
        (TIMER, "func.TimerRequest", "func.Context"),
        (TIMER, "str", "func.Context"),
        (EVENT, "func.EventGridEvent", "int"),
        (EVENT, "bytes", "dict[str, int]"),
        (CLIENT, "func.HttpRequest", "str"),
    ],
)
def test_annotations_that_the_platform_takes(
    written: Path, runtime: Runtime, kind: str, annotation: str, result: str
) -> None:
    body = TYPING + kind.format(annotation=annotation, result=result)
    assert list(apps.load(write(written, body), runtime).functions) == ["refused"]


CALLED = """
@app.activity_trigger(input_name="value")
def doubles(value: int, context: func.Context) -> dict:
    return {"twice": 2 * value, "by": context.function_name}

@app.activity_trigger(input_name="value")
async def fails(value: str) -> str:
    raise KeyError(value)

@app.event_grid_trigger(arg_name="event")
def answers(event: str) -> None:
    return "nobody takes it"
"""


def called(path: Path, runtime: Runtime, name: str, **inputs: Datum) -> Any:
    app = apps.load(path, runtime)
    runtime.start()
    try:
        return asyncio.run(runtime.call(app.functions[name].id, inputs))
    finally:
        runtime.stop()


def test_what_is_called_gets_and_gives_json(written: Path, runtime: Runtime) -> None:
    answer = called(write(written, CALLED), runtime, "doubles", value=Datum("4", "json"))
    assert answer.type == "json"
    assert answer.python_value == {"twice": 8, "by": "doubles"}


def test_a_failure_is_told_by_type_and_text(written: Path, runtime: Runtime) -> None:
    with pytest.raises(FunctionFailed) as told:
        called(write(written, CALLED), runtime, "fails", value=Datum('"vault"', "json"))
    assert told.value.message == "KeyError: 'vault'"
    assert "in fails" in told.value.stack


def test_a_trigger_without_response_returns_nothing(written: Path, runtime: Runtime) -> None:
    with pytest.raises(FunctionFailed, match="answers"):
        called(write(written, CALLED), runtime, "answers", event=Datum("{}", "json"))


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(apps.LoadError, match="is not a Python file"):
        apps.load(tmp_path / "absent.py")
