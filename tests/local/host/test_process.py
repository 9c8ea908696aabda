"""The host as a process: start, refusal, timers, administration, crash, stop."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from local.process import ROOT, wait_until
from tests.local.host.support import FUNCTION_KEY, MASTER_KEY, SYSTEM_KEY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.local.host.support import Sample

KEYS = {
    "LOCAL_FUNCTION_KEY": FUNCTION_KEY,
    "LOCAL_MASTER_KEY": MASTER_KEY,
    "LOCAL_SYSTEM_KEY": SYSTEM_KEY,
}


def refused(tmp_path: Path, body: str, *arguments: str, **environment: str) -> str:
    """Standard error of a host that must end with 1."""
    app = tmp_path / "refused_app.py"
    app.write_text(body, encoding="utf-8")
    options = ["--app", str(app), "--journal", str(tmp_path / "journal")]
    run = subprocess.run(  # noqa: S603 - the project's own module
        [sys.executable, "-m", "local.host", *options, "--port", "0", *arguments],
        cwd=ROOT,
        env={**KEYS, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (run.returncode, run.stdout) == (1, "")
    return run.stderr


TIMER = """
import azure.functions as func
app = func.FunctionApp()
@app.timer_trigger(schedule="{schedule}", arg_name="timer")
def daily(timer: func.TimerRequest) -> None: ...
"""
ROUTE = """
import azure.functions as func
app = func.FunctionApp()
@app.route(route="a/{b:odd}")
def odd(req: func.HttpRequest) -> str: ...
"""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import absent_module", "No module named 'absent_module'"),
        (TIMER.replace("{schedule}", "every day"), "daily: schedule 'every day' has 2 fields"),
        (TIMER.replace("{schedule}", "%WHEN%"), "the app setting WHEN, which is not set"),
        (ROUTE, "constraint 'odd' is not known"),
    ],
)
def test_an_app_that_cannot_run_ends_the_process(tmp_path: Path, body: str, reason: str) -> None:
    assert reason in refused(tmp_path, body)


def test_missing_keys_and_a_taken_port_end_the_process(tmp_path: Path) -> None:
    assert "LOCAL_MASTER_KEY must be a key" in refused(tmp_path, "", LOCAL_MASTER_KEY="")
    assert "port 99999" in refused(tmp_path, "", "--port", "99999")


def test_a_port_in_use_is_named(host: Sample, tmp_path: Path) -> None:
    port = host.component.url.rpartition(":")[2]
    assert f"port {port} of 127.0.0.1 cannot be used" in refused(tmp_path, "", "--port", port)


def test_settings_file_is_used_and_the_environment_wins(
    launch: Callable[..., Sample], tmp_path: Path
) -> None:
    values = '{"Values": {"FROM_FILE": "file", "SAMPLE_SCHEDULE": "not used"}}'
    path = tmp_path / "local.settings.json"
    path.write_text(values, encoding="utf-8")
    host = launch("--settings", str(path))
    environment = host.call("GET", "/api/environment").json()
    assert environment["FROM_FILE"] == "file"
    assert environment["SAMPLE_SCHEDULE"] == "0 0 3 1 1 *"


def test_timers_run_at_startup_and_on_schedule_and_never_twice_at_once(
    launch: Callable[..., Sample],
) -> None:
    host = launch("--timers", "on", SAMPLE_SCHEDULE="* * * * * *")
    for _ in range(3):
        assert run_by_hand(host, "ticking").status == 202
    wait_until(lambda: len(host.noted("tick")) >= 6, 20, "six runs of the timer")
    assert all(tick["alone"] for tick in host.noted("tick"))
    assert not any(tick["past_due"] for tick in host.noted("tick"))


def run_by_hand(host: Sample, name: str, body: Any = None, key: str = MASTER_KEY) -> Any:
    return host.call("POST", f"/admin/functions/{name}", json=body or {}, key=key)


def test_with_timers_off_only_the_master_key_runs_them(launch: Callable[..., Sample]) -> None:
    host = launch("--timers", "off", SAMPLE_SCHEDULE="* * * * * *")
    assert run_by_hand(host, "ticking", key="wrong").status == 401
    assert run_by_hand(host, "absent").status == 404
    assert run_by_hand(host, "ticking").status == 202
    wait_until(lambda: host.noted("tick"), 10, "the run by hand")
    host.component.stop()
    assert len(host.noted("tick")) == 1


def test_other_functions_run_by_hand_with_an_input(host: Sample) -> None:
    event = '{"id": "by-hand", "subject": "s", "eventType": "t", "data": {}}'
    assert run_by_hand(host, "near_expiry", {"input": event}).status == 202
    wait_until(lambda: "by-hand" in [noted["id"] for noted in host.noted("event")], 10, "the event")
    assert run_by_hand(host, "nap", {"input": "0.01"}).status == 202
    wait_until(lambda: 0.01 in host.noted("nap"), 10, "the activity")
    assert b"call its own URL" in run_by_hand(host, "echo").data
    assert b"orchestrators/gather" in run_by_hand(host, "gather").data
    assert run_by_hand(host, "nap", {"input": 5}).status == 400
    assert host.call("POST", "/admin/functions/nap", body=b"{", key=MASTER_KEY).status == 400


def test_status(host: Sample) -> None:
    status = host.call("GET", "/admin/host/status", key=MASTER_KEY).json()
    assert status["state"] == "Running"
    assert status["processUptime"] > 0
    assert "near_expiry" in status["functions"]


def test_a_killed_host_goes_on_where_it_was(launch: Callable[..., Sample]) -> None:
    first = launch()
    path = "orchestrators/sleeping/crashed"
    assert first.durable("POST", path, json=1.5).status == 202
    wait_until(lambda: first.noted("nap"), 10, "the activity's begin")
    first.component.kill()
    second = launch()

    def status() -> Any:
        return second.durable("GET", "instances/crashed").json()

    wait_until(lambda: status()["runtimeStatus"] == "Completed", 15, "the orchestration's end")
    assert status()["output"] == "rested"
    assert second.noted("nap") == [1.5, 1.5]


def test_stop_lets_running_calls_end_and_is_quick(launch: Callable[..., Sample]) -> None:
    host = launch()
    answers: list[Any] = []
    call = threading.Thread(
        target=lambda: answers.append(host.call("GET", "/api/slow?seconds=1.5"))
    )
    call.start()
    wait_until(lambda: host.noted("slow"), 10, "the call's begin")
    begun = time.monotonic()
    host.component.stop()
    call.join()
    assert time.monotonic() - begun < 6
    assert answers[0].json() == {"slow": "done"}
    assert "Traceback" not in host.log


@pytest.mark.long
def test_stop_cuts_off_what_runs_too_long_and_it_runs_again(launch: Callable[..., Sample]) -> None:
    first = launch()
    first.durable("POST", "orchestrators/sleeping/cut", json=20)
    wait_until(lambda: first.noted("nap"), 10, "the activity's begin")
    begun = time.monotonic()
    first.component.stop(grace=30)
    assert time.monotonic() - begun < 8
    assert "activities cut off" in first.log
    second = launch()
    wait_until(lambda: len(second.noted("nap")) == 2, 10, "the activity's second run")


def test_function_timeout_is_500(tmp_path: Path, launch: Callable[..., Sample]) -> None:
    app = tmp_path / "short_app.py"
    app.write_text(SHORT, encoding="utf-8")
    (tmp_path / "host.json").write_text(
        '{"functionTimeout": "00:00:01", "extensions": {"http": {"routePrefix": ""}}}'
    )
    host = launch("--app", str(app))
    assert host.call("GET", "/waits").status == 500
    assert "ran longer than functionTimeout (1.0 s)" in host.log
    assert host.call("GET", "/quick").data == b"quick"


SHORT = """
import asyncio
import azure.functions as func
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
@app.route(route="waits")
async def waits(req: func.HttpRequest) -> str:
    await asyncio.sleep(60)
    return "late"
@app.route(route="quick")
def quick(req: func.HttpRequest) -> str:
    return "quick"
"""


def test_what_the_app_prints_goes_to_the_log(host: Sample) -> None:
    assert "the sample is loaded" in host.log.splitlines()


@pytest.mark.long
def test_a_broken_journal_ends_the_process(launch: Callable[..., Sample], tmp_path: Path) -> None:
    host = launch()
    host.durable("POST", "orchestrators/sleeping/broken", json=0.5)
    wait_until(lambda: host.noted("nap"), 10, "the activity's begin")
    with closing(sqlite3.connect(tmp_path / "journal")) as journal:
        journal.execute("drop table history")
        journal.commit()
    wait_until(lambda: not host.component.alive, 30, "the end of the process")
    assert '"reason": "the durable engine stopped"' in host.log


def test_keys_never_reach_the_log(host: Sample) -> None:
    host.call("POST", "/api/start/gather", json={"numbers": []})
    assert "manage it at" in host.log
    for key in (FUNCTION_KEY, MASTER_KEY, SYSTEM_KEY, quote(SYSTEM_KEY, safe="")):
        assert key not in host.log


def test_help_names_the_environment() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "local.host", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "LOCAL_EASY_AUTH" in run.stdout
