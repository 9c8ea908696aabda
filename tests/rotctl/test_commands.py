"""Each command over the wire: what it asks, what it says, how it ends; and what goes wrong."""

from __future__ import annotations

import importlib
import io
import json
import subprocess
import sys
import time
import tomllib
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from local.process import ROOT, free_port
from rotation.model import wire
from rotctl import acting, client, watching
from rotctl.__main__ import main
from rotctl.client import App
from rotctl.command import cli
from rotctl.exits import ClientError, Exit
from rotctl.profiles import Profile
from rotctl.watching import Until, watch
from tests.rotctl.app import UNKNOWN, document, problem
from tests.rotctl.commands import by_name
from tests.rotctl.conftest import KEY
from tests.rotctl.records import APPROVED, ROTATION, STRANGER, ended, evidence, record, waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rotctl.app import Told

    Typed = Callable[..., str]

PATH = f"/rotations/{ROTATION}"
STARTED = document({"rotation": ROTATION, "credential": "orders-db", "links": {}}, 202)
DECIDED = document({"rotation": ROTATION, "decision": wire.value_of(APPROVED)})


def test_the_key_goes_into_a_header_and_nowhere_else(app: Told, typed: Typed) -> None:
    app.says("GET", "/credentials", {"credentials": []})
    typed("list")
    assert app.headers[0]["x-functions-key"] == KEY
    assert KEY not in str(app.asked)


@pytest.mark.parametrize("code", ["storage-denied", "storage-unavailable"])
def test_a_credential_is_found_by_its_name_while_the_app_s_storage_is_away(
    app: Told, typed: Typed, code: str
) -> None:
    app.says("GET", "/rotations/orders-db", problem(503, code, "it does not answer", "grant it"))
    app.says("GET", "/rotations?credential=orders-db", {"rotations": [waiting()]})
    app.says("GET", PATH, waiting())
    assert json.loads(typed("show", "orders-db", "--json"))["rotation"] == ROTATION
    app.says("GET", "/rotations?credential=orders-db", {"rotations": []})
    assert "it does not answer" in typed("show", "orders-db", exits=Exit.UNREACHABLE)


def test_a_key_in_clear_text_goes_to_no_proxy(
    app: Told, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    app.says("GET", "/credentials", {"credentials": []})
    typed("list")
    assert app.asked == [("GET", "/credentials", None)]


def test_a_list_of_rotations_has_all_pages(app: Told, typed: Typed) -> None:
    first, second = {**waiting(), "rotation": "one"}, {**waiting(), "rotation": "two"}
    app.says("GET", "/rotations", {"rotations": [first], "next": "a b"})
    app.says("GET", "/rotations?after=a+b", {"rotations": [second], "next": None})
    listed = json.loads(typed("list", "--rotations", "--json"))["rotations"]
    assert [one["rotation"] for one in listed] == ["one", "two"]


def test_start_says_the_rotation_and_its_page(app: Told, typed: Typed) -> None:
    app.says("POST", "/rotations", STARTED)
    said = typed(
        "start", "orders-db", "--by", "a@b", "--reason", "leak", "--waive", "secret-newline"
    )
    assert said.splitlines() == [f"started {ROTATION}", f"{app.url}/api/pages{PATH}"]
    body = {"credential": "orders-db", "by": "a@b", "reason": "leak", "waive": ["secret-newline"]}
    assert app.asked == [("POST", "/rotations", body)]


@pytest.mark.parametrize("command", ["start", "retry"])
def test_a_start_outside_its_windows_says_why(app: Told, typed: Typed, command: str) -> None:
    app.says("POST", "/rotations", STARTED)
    app.says("GET", PATH, ended("aborted"))
    app.says("POST", f"{PATH}/retry", STARTED)
    of = {"start": "orders-db", "retry": ROTATION}[command]
    typed(command, of, "--by", "a@b", "--outside-window", "it is out")
    assert app.asked[-1][2]["outsideWindow"] == "it is out"
    typed(command, of, "--by", "a@b", "--outside-window", " ", exits=2)


def test_an_incident_is_named_twice_and_no_yes_is_enough(app: Told, typed: Typed) -> None:
    app.says("POST", "/rotations", STARTED)
    called = ("incident", "orders-db", "--cut", "first", "--reason", "it is in a log")
    assert "--confirm orders-db" in typed(*called, exits=Exit.USAGE)
    assert "is not 'orders-db'" in typed(*called, "--confirm", "orders", exits=Exit.USAGE)
    typed(*called, "--yes", exits=2)
    assert app.asked == []
    assert f"started {ROTATION}" in typed(
        *called, "--confirm", "orders-db", "--role", "orders_blue"
    )
    body = {"credential": "orders-db", "compromised": True, "cut": "first", "role": "orders_blue"}
    body |= {"reason": "it is in a log", "confirmCredential": "orders-db"}
    assert app.asked == [("POST", "/rotations", body)]


def test_a_whole_server_is_called_and_what_was_not_begun_is_a_problem(
    app: Told, typed: Typed
) -> None:
    done = {"credential": "orders-db", "rotation": ROTATION, "links": {}}
    busy = {"credential": "billing-db", "code": "busy", "detail": "it has an incident"}
    app.says("POST", "/rotations", {"server": "pg-1", "results": [done, busy]})
    called = ("incident", "--server", "pg-1", "--reason", "it is out", "--confirm", "pg-1")
    said = typed(*called, exits=Exit.PROBLEM)
    assert said.splitlines() == [
        f"orders-db: {ROTATION}",
        "billing-db: not begun: it has an incident",
    ]
    assert app.asked[0][2]["confirmServer"] == "pg-1"
    typed("incident", "orders-db", "--server", "pg-1", "--reason", "r", exits=2)
    typed("incident", "--reason", "r", exits=2)


def test_an_incident_is_called_again_with_its_name(app: Told, typed: Typed) -> None:
    again = {**ended("needs-attention"), "request": {"compromised": True, "cut": "first"}}
    app.says("GET", PATH, again)
    app.says("POST", f"{PATH}/retry", STARTED)
    typed("retry", ROTATION, exits=Exit.USAGE)
    typed("retry", ROTATION, "--confirm", "orders-db", "--reason", "mended")
    assert app.asked[-1][2] == {"confirmCredential": "orders-db", "reason": "mended"}


def test_what_was_done_is_confirmed(app: Told, typed: Typed) -> None:
    shown = waiting()
    shown["approval"] = {**shown["approval"], "confirms": True}
    shown["decision"] = {"decision": "approve", "by": "ada", "channel": "incident"}
    app.says("GET", PATH, shown)
    confirmed = {"decision": "approve", "by": "grace", "channel": "rotctl"}
    app.says("POST", f"{PATH}/approval", {"rotation": ROTATION, "decision": confirmed})
    assert "confirmed by grace" in typed("approve", ROTATION, "--by", "g@b", "--yes")


def test_start_takes_whose_name_it_is_from_the_profile(
    app: Told, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROTCTL_BY", "ada@contoso.example")
    app.says("POST", "/rotations", STARTED)
    assert json.loads(typed("start", "orders-db", "--json"))["rotation"] == ROTATION
    assert app.asked[0][2] == {"credential": "orders-db", "by": "ada@contoso.example"}


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        ("completed", Exit.DONE),
        ("skipped", Exit.DONE),
        ("rolled-back", Exit.ROLLED_BACK),
        ("aborted", Exit.ABORTED),
        ("refused", Exit.REFUSED),
        ("needs-attention", Exit.NEEDS_ATTENTION),
        ("superseded", Exit.SUPERSEDED),
    ],
)
def test_watch_ends_with_how_the_rotation_ended(
    app: Told, typed: Typed, outcome: str, code: Exit
) -> None:
    app.says("GET", PATH, record(), record(), ended(outcome, "because"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", lambda _: None)
        typed("watch", ROTATION, "--interval", "1s", exits=code)


def test_watch_as_json_is_a_document_for_each_change(app: Told, typed: Typed) -> None:
    app.says("GET", PATH, record(), record(), ended("completed"))
    lines = typed("watch", ROTATION, "--json", "--interval", "0s").splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == [None, "completed"]


def test_watch_may_stop_at_a_decision(app: Told, typed: Typed) -> None:
    app.says("GET", PATH, waiting())
    app.says("GET", f"{PATH}/evidence", evidence())
    said = typed("watch", ROTATION, "--until", "decision", exits=Exit.WAITING)
    assert said.splitlines()[-1] == f"{app.url}/api/pages{PATH}"


@pytest.mark.parametrize(("now", "code"), [(record(), Exit.TIMEOUT), (waiting(), Exit.WAITING)])
def test_watch_may_stop_after_a_time(app: Told, typed: Typed, now: Any, code: Exit) -> None:
    app.says("GET", PATH, now)
    app.says("GET", f"{PATH}/evidence", evidence())
    typed("watch", ROTATION, "--timeout", "0s", exits=code)


def test_a_credentials_name_stands_for_its_rotation(app: Told, typed: Typed) -> None:
    app.says("GET", "/rotations/orders-db", UNKNOWN)
    older = ended("completed") | {"rotation": "older"}
    app.says("GET", "/rotations?credential=orders-db", {"rotations": [older, waiting()]})
    app.says("GET", PATH, waiting())
    assert "Waiting for a decision" in typed("show", "orders-db")
    app.says("GET", "/rotations?credential=orders-db", {"rotations": [older]})
    app.says("GET", "/rotations/older", older)
    assert "Done: green serves" in typed("show", "orders-db")
    said = typed("reject", "orders-db", "--yes", exits=Exit.PROBLEM)
    assert "nor a rotation under way of a credential of that name" in said


def test_all_pages_of_a_history_are_listed(app: Told, typed: Typed) -> None:
    query = "/rotations?credential=orders-db&since=2026-01-01"
    older = ended("completed") | {"rotation": "older"}
    gone = {"code": "storage-unavailable", "text": "the account does not answer"}
    app.says("GET", query, {"rotations": [waiting()], "next": "a/1", "incomplete": None})
    last = {"rotations": [older], "next": None, "incomplete": gone}
    app.says("GET", f"{query}&after=a%2F1", last)
    given = ("list", "--credential", "orders-db", "--since", "2026-01-01")
    assert typed(*given) == "Older ones may be missing: the account does not answer\n"
    app.says("GET", f"{query}&after=a%2F1", {**last, "incomplete": None})
    assert [line.split()[0] for line in typed(*given).splitlines()[1:]] == [ROTATION, "older"]
    app.says("GET", f"{query}&after=a%2F1", last)
    found = json.loads(typed(*given, "--json"))
    assert ([one["rotation"] for one in found["rotations"]], found["incomplete"]) == (
        [ROTATION, "older"],
        gone,
    )


def test_a_list_may_look_anew(app: Told, typed: Typed) -> None:
    app.says("GET", "/credentials?fresh=true", {"credentials": []})
    typed("list", "--fresh")
    assert app.asked == [("GET", "/credentials?fresh=true", None)]


def decisions(app: Told) -> list[Any]:
    return [body for method, path, body in app.asked if method == "POST"]


def test_approve_says_what_it_rests_on_and_who_decided(app: Told, typed: Typed) -> None:
    app.says("GET", PATH, waiting())
    app.says("GET", f"{PATH}/evidence", evidence())
    app.says("POST", f"{PATH}/approval", DECIDED)
    said = typed("approve", ROTATION, "--yes", "--by", "ada@contoso.example", "--comment", "fine")
    assert "2 tests passed through production" in said
    assert said.splitlines()[-1] == f"{ROTATION}: approved by ada@contoso.example (rotctl): fine"
    sent = {"decision": "approve", "by": "ada@contoso.example", "comment": "fine"}
    assert decisions(app) == [sent | {"channel": "rotctl"}]


def test_approve_asks_and_takes_no_silence_for_an_answer(app: Told, typed: Typed) -> None:
    app.says("GET", PATH, waiting())
    app.says("GET", f"{PATH}/evidence", evidence())
    assert "nobody is at a terminal" in typed("approve", ROTATION, exits=Exit.USAGE)
    assert decisions(app) == []


@pytest.mark.parametrize(
    "against",
    [
        {"complete": False, "problems": ["no sessions"]},
        {"still_in_use": [STRANGER], "passed": False},
    ],
)
def test_red_or_incomplete_evidence_takes_a_second_word(
    app: Told, typed: Typed, against: dict[str, Any]
) -> None:
    app.says("GET", PATH, waiting())
    app.says("GET", f"{PATH}/evidence", evidence(**against))
    app.says("POST", f"{PATH}/approval", DECIDED)
    said = typed("approve", ROTATION, "--yes", "--json", exits=Exit.PROBLEM)
    assert "not all evidence speaks for it" in json.loads(said)["error"]["detail"]
    assert decisions(app) == []
    typed("approve", ROTATION, "--yes", "--json", "--despite-evidence")
    assert len(decisions(app)) == 1


@pytest.mark.parametrize(
    ("typed_in", "sent"),
    [("orders-db\ny\n", 1), ("orders-db\nn\n", 0), ("orders\ny\n", 0), ("y\n", 0), ("", 0)],
)
def test_at_a_terminal_the_name_is_the_second_word(
    app: Told, typed: Typed, monkeypatch: pytest.MonkeyPatch, typed_in: str, sent: int
) -> None:
    app.says("GET", PATH, waiting())
    app.says("GET", f"{PATH}/evidence", evidence(still_in_use=[STRANGER], passed=False))
    app.says("POST", f"{PATH}/approval", DECIDED)

    class Terminal:
        """stdin of somebody at a terminal, for the module that asks whether it is one."""

        stdin = type("Stdin", (), {"isatty": staticmethod(lambda: True)})
        stdout = sys.stdout

    monkeypatch.setattr(acting, "sys", Terminal)
    monkeypatch.setattr("rotctl.command.sys", Terminal)
    CliRunner().invoke(cli, ["approve", ROTATION], input=typed_in)
    assert len(decisions(app)) == sent


def test_a_decision_that_is_handed_over_is_waited_for(app: Told, typed: Typed) -> None:
    app.says("GET", PATH, waiting(), waiting(decision=APPROVED))
    app.says("POST", f"{PATH}/approval", document({"rotation": ROTATION, "decision": None}, 202))
    assert "approved by ada@contoso.example" in typed("reject", ROTATION, "--yes")


def test_one_that_came_too_late_is_said(app: Told, typed: Typed) -> None:
    app.says("GET", PATH, record(), ended("aborted"))
    app.says("POST", f"{PATH}/cancel", document({"rotation": ROTATION, "cancelled": None}, 202))
    assert "has not recorded it" in typed("cancel", ROTATION, "--yes", exits=Exit.PROBLEM)


def test_one_that_is_never_recorded_is_said(
    app: Told, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acting, "RIGHT_AWAY", 0.0)
    app.says("GET", PATH, waiting())
    app.says("POST", f"{PATH}/approval", document({"rotation": ROTATION, "decision": None}, 202))
    assert "has not recorded it" in typed("reject", ROTATION, "--yes", exits=Exit.TIMEOUT)


def test_cancel_and_retry_say_who_and_why(app: Told, typed: Typed) -> None:
    app.says("GET", PATH, record())
    wish = {"by": "a@b", "channel": "rotctl", "comment": "wrong day", "id": "1"}
    app.says("POST", f"{PATH}/cancel", document({"rotation": ROTATION, "cancelled": wish}))
    app.says("POST", f"{PATH}/retry", STARTED)
    said = typed("cancel", ROTATION, "--yes", "--by", "a@b", "--comment", "wrong day")
    assert said == f"{ROTATION}: cancelled by a@b (rotctl): wrong day\n"
    assert f"started {ROTATION}" in typed("retry", ROTATION, "--by", "a@b", "--reason", "mended")
    assert decisions(app) == [
        {"by": "a@b", "comment": "wrong day", "channel": "rotctl"},
        {"by": "a@b", "reason": "mended"},
    ]


FINDING = {
    "severity": "refuses",
    "code": "role-nologin",
    "text": "may not log in",
    "remedy": "mend",
}


def test_doctor_ends_with_whether_it_would_be_refused(app: Told, typed: Typed) -> None:
    app.says("POST", "/rotations", {"credential": "orders-db", "findings": [], "ready": True})
    assert "orders-db would be rotated now" in typed("doctor", "orders-db", "--by", "a@b")
    assert decisions(app) == [{"credential": "orders-db", "dryRun": True, "by": "a@b"}]
    app.says("POST", "/rotations", {"findings": [FINDING], "ready": False})
    app.says("GET", "/credentials", {"credentials": [{"credential": "orders-db"}]})
    found = typed("doctor", "--json", exits=Exit.REFUSED)
    assert json.loads(found)["credentials"][0]["findings"] == [FINDING]


def test_of_many_one_that_cannot_be_tried_hides_no_other(app: Told, typed: Typed) -> None:
    names = [{"credential": "orders-db"}, {"credential": "bills-db"}]
    app.says("GET", "/credentials", {"credentials": names})
    busy = problem(409, "busy", "orders-db has a rotation under way", "wait for it")
    app.says("POST", "/rotations", busy, {"findings": [], "ready": True})
    said = typed("doctor", exits=Exit.REFUSED)
    assert "waits busy  orders-db has a rotation under way" in said
    assert "bills-db would be rotated now" in said


# -- what goes wrong

TEXT = "text/html"


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (
            problem(403, "not-allowed", "you may not", "ask an approver"),
            Exit.NOT_ALLOWED,
            "ask an ap",
        ),
        (problem(409, "busy", "is under way", "wait"), Exit.PROBLEM, "is under way"),
        (problem(503, "vault-unavailable", "no vault", "wait"), Exit.UNREACHABLE, "no vault"),
        (
            problem(503, "configuration-invalid", "is not valid", "mend", problems=["a: b"]),
            Exit.UNREACHABLE,
            "a: b",
        ),
        ((401, "", b""), Exit.NOT_ALLOWED, "wants to know who asks (401)"),
        ((403, TEXT, b"<h1>Forbidden</h1>"), Exit.NOT_ALLOWED, "is the app running"),
        ((302, TEXT, b""), Exit.NOT_ALLOWED, "sign-in page (302)"),
        ((404, TEXT, b"<h1>none</h1>"), Exit.PROBLEM, "has no such route"),
        ((429, TEXT, b""), Exit.UNREACHABLE, "cannot answer now (429)"),
        ((500, TEXT, b"oops"), Exit.UNREACHABLE, "cannot answer now (500)"),
        (
            (200, TEXT, b"<h1>Welcome</h1>"),
            Exit.UNREACHABLE,
            "not as the app does: it is text/html",
        ),
        ((200, "application/json", b"[]"), Exit.UNREACHABLE, "not as the app does"),
        ((200, "application/json", b'{"x": 1}'), Exit.UNREACHABLE, "it has no 'credentials'"),
        ((200, "application/json", b"{"), Exit.UNREACHABLE, "not as the app does"),
        (None, Exit.UNREACHABLE, "cannot be reached"),
    ],
    ids=str,
)
def test_each_refusal_is_a_sentence_with_its_cure(
    app: Told, typed: Typed, answer: Any, code: Exit, said: str
) -> None:
    app.says("GET", "/credentials", answer)
    error = typed("list", exits=code)
    assert error.startswith("rotctl: ")
    assert said in error
    assert len(error.splitlines()) > 1
    document_ = json.loads(typed("list", "--json", exits=code))["error"]
    assert document_["exit"] == code
    assert document_["detail"]
    assert document_["remedy"]


def test_a_problem_moves_no_cursor(app: Told, typed: Typed) -> None:
    app.says("GET", "/credentials", problem(409, "x", "\x1b[2Jgone", "\x07"))
    assert "\x1b" not in typed("list", exits=Exit.PROBLEM)


def test_nobody_there(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTCTL_URL", f"http://127.0.0.1:{free_port()}")
    assert "cannot be reached: Connection refused" in typed("list", exits=Exit.UNREACHABLE)
    monkeypatch.setenv("ROTCTL_URL", "https://nothing.invalid")
    assert "there is no host nothing.invalid" in typed("list", exits=Exit.UNREACHABLE)


def test_an_app_that_is_slow(app: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(method: str, path: str) -> Any:
        time.sleep(1.0)  # longer than it is waited for

    monkeypatch.setattr(app, "answer", late)
    with pytest.raises(ClientError, match="did not answer within") as caught:
        App(Profile("slow", app.url), read=0.2).credentials()
    assert caught.value.exit_code is Exit.UNREACHABLE


def test_an_answer_without_end_is_not_read_to_its_end(
    app: Told, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LONGEST", 1000)
    app.says("GET", "/credentials", (200, "application/json", b" " * 2000))
    assert "it is too long" in typed("list", exits=Exit.UNREACHABLE)


def test_a_redirect_gets_no_key(app: Told, typed: Typed) -> None:
    app.says("GET", "/credentials", (307, TEXT, b""))
    typed("list", exits=Exit.NOT_ALLOWED)
    assert len(app.asked) == 1


class Shown:
    """A screen that keeps what it was shown."""

    def __init__(self) -> None:
        self.troubles: list[str] = []

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def show(self, record: Any, evidence: Any, trouble: str) -> None:  # noqa: ARG002 - a screen's
        self.troubles.append(trouble)


class Clock:
    """Seconds that pass by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_on_a_terminal_the_tree_is_redrawn_and_stays() -> None:
    out = io.StringIO()
    console = Console(
        file=out,
        force_terminal=True,
        width=120,
        height=60,
        color_system=None,
        _environ={"TERM": "xterm"},  # one of `dumb` is never redrawn
    )
    with watching.Redrawn(console, "https://rotation.example/page") as screen:
        screen.show(record(), None, "")
        first = out.getvalue()
        screen.show(ended("completed"), None, "cannot answer now; trying again")
    assert first.count("Preparing green, while blue serves") == 1
    after = out.getvalue()[len(first) :]
    assert after.startswith("\r\x1b[2K\x1b[1A")  # over what was there
    assert "Done: green serves" in after
    assert "trying again" in after
    assert "https://rotation.example/page" in after


def test_watch_bears_with_an_app_that_is_away_for_a_while(app: Told) -> None:
    away = (503, TEXT, b"")
    app.says("GET", PATH, record(), away, away, ended("completed"))
    shown, clock = Shown(), Clock()
    made = App(Profile("x", app.url))
    _, code = watch(made, ROTATION, shown, Until(), clock=clock, sleep=clock.sleep)
    assert code is Exit.DONE
    assert [bool(trouble) for trouble in shown.troubles] == [False, True, True, False]
    assert shown.troubles[1].endswith("cannot answer now (503); trying again")


def test_watch_gives_up_on_one_that_stays_away(app: Told) -> None:
    app.says("GET", PATH, record(), (503, TEXT, b""))
    shown, clock = Shown(), Clock()
    with pytest.raises(ClientError, match=r"\(503\)"):
        watch(App(Profile("x", app.url)), ROTATION, shown, Until(), clock=clock, sleep=clock.sleep)
    assert clock.now > watching.PATIENCE


def test_evidence_is_looked_at_now_and_then_and_may_be_missing(app: Told) -> None:
    app.says("GET", PATH, *[waiting()] * 45, ended("completed"))
    app.says("GET", f"{PATH}/evidence", problem(503, "cut-off", "took too long", "look again"))
    shown, clock = Shown(), Clock()
    watch(App(Profile("x", app.url)), ROTATION, shown, Until(), clock=clock, sleep=clock.sleep)
    assert len([path for _, path, _ in app.asked if path.endswith("evidence")]) == 3
    assert shown.troubles[0] == "no evidence now: took too long"


# -- the command line itself


def test_every_command_has_json_and_help() -> None:
    for name, command in by_name().items():
        options = {option for one in command.params for option in one.opts}
        assert "--json" in options or command.hidden, name
        assert command.help, name


def test_no_option_takes_a_key() -> None:
    options = {one.name or "" for command in by_name().values() for one in command.params}
    assert [
        name for name in options if "key" in name or "token" in name or "password" in name
    ] == []


@pytest.mark.parametrize(
    "arguments",
    [("nothing",), ("watch",), ("watch", "x", "--timeout", "soon"), ("start", "x", "--key", "k")],
)
def test_a_wrong_command_line(typed: Typed, arguments: tuple[str, ...]) -> None:
    assert "Usage: rotctl" in typed(*arguments, exits=Exit.USAGE)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(typed: Typed, shell: str) -> None:
    assert "_ROTCTL_COMPLETE" in typed("completion", shell)


def completed(line: str) -> list[str]:
    """What bash would be offered."""
    from click.shell_completion import ShellComplete  # noqa: PLC0415 - for this alone

    *before, last = line.split(" ")[1:]
    found = ShellComplete(cli, {}, "rotctl", "_ROTCTL_COMPLETE").get_completions(before, last)
    return [one.value for one in found]


def test_names_of_the_app_are_completed(app: Told, typed: Typed) -> None:
    app.says("GET", "/credentials", {"credentials": [{"credential": "orders-db"}]})
    app.says("GET", "/rotations", {"rotations": [waiting()]})
    assert completed("rotctl start o") == ["orders-db"]
    assert completed("rotctl watch orders-db-") == [ROTATION]
    assert completed("rotctl wat") == ["watch"]
    app.says("GET", "/credentials", (500, TEXT, b""))
    assert completed("rotctl start o") == []


def test_check_and_schema_need_no_app(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ROTCTL_URL")
    example = str(ROOT / "docs" / "credentials.example.yaml")
    assert f"{example} is valid" in typed("check", "--no-files", example)
    assert json.loads(typed("schema"))["title"] == "credentials.yaml"
    found = typed("check", "--format", "line", str(ROOT / "Makefile"), exits=Exit.PROBLEM)
    assert found.startswith(f"{ROOT / 'Makefile'}:")
    assert json.loads(typed("check", "--json", example, exits=Exit.PROBLEM))["valid"] is False


def test_but_for_check_and_schema_nothing_of_the_product_is_loaded() -> None:
    """Whoever installs the client alone has none of it."""
    code = (
        "import sys; from rotctl.__main__ import main; main(['completion', 'bash']); "
        "sys.exit(any(m.split('.')[0] in ('rotation', 'local', 'azure') for m in sys.modules))"
    )
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60, capture_output=True
    )
    assert done.returncode == 0


def test_as_a_plugin_it_calls_itself_what_people_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/kubectl-rotation"])
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: kubectl rotation")


def test_both_programs_that_are_installed_are_this_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"].keys() == {"rotctl", "kubectl-rotation"}
    for where in project["scripts"].values():
        module, _, name = where.partition(":")
        assert getattr(importlib.import_module(module), name) is main


def test_commands_say_one_line_each_in_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    assert isinstance(cli, click.Group)
    listed = capsys.readouterr().out
    shown = [name for name, command in cli.commands.items() if not command.hidden]
    assert all(f"\n  {name} " in listed for name in shown)


WAVE = "wave.20270301T120000-ab12"
PLANNED_WAVE = {
    "wave": None,
    "batches": [["dev-db"], ["orders-db", "web-db"]],
    "left": [{"credential": "ledger-db", "text": "not yours"}],
    "pause": 3600.0,
}


def test_a_wave_says_who_begins_when(app: Told, typed: Typed) -> None:
    links = {"status": f"/api/waves/{WAVE}", "page": f"/api/pages/waves/{WAVE}"}
    app.says("POST", "/rotations", document({**PLANNED_WAVE, "wave": WAVE, "links": links}, 202))
    given = ("--label", "team=orders", "--due-within", "30d", "--size", "2", "--pause", "1h")
    said = typed("wave", "start", *given, "--no-canary", "--by", "ada@contoso.example")
    assert "1. dev-db\n2. orders-db, web-db" in said
    assert f"/api/pages/waves/{WAVE}" in said
    assert app.asked[-1][2] == {
        "select": {"labels": {"team": "orders"}, "dueWithin": "30d"},
        "canary": False,
        "size": 2,
        "pause": "1h",
        "by": "ada@contoso.example",
    }


def test_a_wave_is_shown_and_cancelled(app: Told, typed: Typed) -> None:
    member = {"credential": "dev-db", "rotation": "dev-db-r", "state": "waiting", "text": ""}
    found = {"wave": WAVE, "phase": "running", "why": "", "members": [member], "left": []}
    app.says("GET", f"/waves/{WAVE}", found)
    said = typed("wave", "show", WAVE)
    assert f"{WAVE}: running" in said
    assert "dev-db-r" in said
    pausing = {**found, "phase": "pausing", "until": "2027-03-01T13:00:00.000Z"}
    app.says("GET", f"/waves/{WAVE}", pausing)
    assert f"{WAVE}: pausing until 2027-03-01T13:00:00Z" in typed("wave", "show", WAVE)
    stopped = {**found, "phase": "stopped", "why": "the canary failed: dev-db", "until": None}
    app.says("GET", f"/waves/{WAVE}", stopped)
    assert f"{WAVE}: stopped\nthe canary failed: dev-db" in typed("wave", "show", WAVE)
    app.says("POST", f"/waves/{WAVE}/cancel", document({"wave": WAVE, "cancelled": {}}, 202))
    typed("wave", "cancel", WAVE, "--running", "--yes", "--by", "ada@contoso.example")
    assert app.asked[-1][2]["running"] == "cancel"
    typed("wave", "cancel", WAVE, exits=Exit.USAGE)


def test_waves_are_listed(app: Told, typed: Typed) -> None:
    more = {"why": "", "started": None, "until": None, "reason": "the yearly one"}
    one = {
        "wave": WAVE,
        "phase": "pausing",
        "requestedBy": "ada",
        "members": {"waiting": 2},
        **more,
    }
    app.says("GET", "/waves", {"waves": [one]})
    said = typed("wave", "list")
    assert WAVE in said
    assert "2 waiting" in said
    app.says("GET", "/waves", {"waves": []})
    assert "there is no wave" in typed("wave", "list")


def test_a_label_needs_its_value(app: Told, typed: Typed) -> None:
    assert "is not KEY=VALUE" in typed("wave", "start", "--label", "team", exits=Exit.USAGE)
