"""What can be loaded, and what is refused with which words."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from local.host import app as apps

if TYPE_CHECKING:
    from pathlib import Path

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


def write(path: Path, body: str) -> Path:
    path.write_text(HEAD + textwrap.dedent(body), encoding="utf-8")
    return path


def test_functions_are_found_by_name_and_durable_name(written: Path) -> None:
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
    app = apps.load(path)
    http = app.functions["Renamed"]
    assert (http.kind, http.parameter, http.clients) == ("httpTrigger", "req", ("client",))
    assert (http.trigger["route"], http.trigger["authLevel"]) == ("things/{id}", "ADMIN")
    assert http.trigger["methods"] == ["PUT"]
    assert http.is_async
    step = app.durable("activity", "step")
    assert step is not None
    assert (step.name, step.wants_context) == ("an_activity", True)
    assert app.durable("activity", "an_activity") is None
    assert app.durable("orchestrator", "story") is not None
    assert app.durable("activity", "story") is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise KeyError('VAULT')", "KeyError: 'VAULT'"),
        ("app = None", "no function app named 'app'"),
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
            "extra: no binding gives its parameter mystery",
        ),
        (
            """
            @app.timer_trigger(arg_name="timer", schedule="0 * * * * *")
            def missing(clock: func.TimerRequest) -> None: ...
            """,
            "missing: has no parameter for its binding timer",
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
def test_load_bad(written: Path, body: str, reason: str) -> None:
    with pytest.raises(apps.LoadError, match=reason):
        apps.load(write(written, body))


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(apps.LoadError, match="is not a Python file"):
        apps.load(tmp_path / "absent.py")
