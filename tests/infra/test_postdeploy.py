"""The hook after a deployment, run as azd runs it, against an `az` that fails as Azure does."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from infra import postdeploy
from tests.infra.compiler import OUTPUTS

ROOT = Path(__file__).parents[2]
SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
ENVIRONMENT = OUTPUTS | {
    "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
    "AZURE_RESOURCE_GROUP": "rg-rotation",
}
NOT_LISTED = "ERROR: (NotFound) Function with name on_secret_event does not exist."
NO_KEY = (
    "ERROR: (InvalidRequest) Destination endpoint not found. Resource details: resourceId: "
    "/functions/on_secret_event. Resource should pre-exist before attempting this operation."
)
NO_SYNC = (
    "ERROR: Bad Request({'Code': 'BadRequest', 'Message': 'Encountered an error (BadGateway)'})"
)
# Takes the next answer for its command from a file, and the last one again when they are used up.
AZ = """
import json, pathlib, sys
home = pathlib.Path(__file__).parent
script = json.loads((home / "script.json").read_text())
with (home / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
command = " ".join(sys.argv[1:4]) if sys.argv[2] in {"group", "function"} else sys.argv[1]
answers = script[command]
if len(answers) > 1:
    script[command] = answers[1:]
    (home / "script.json").write_text(json.dumps(script))
if answers[0]:
    sys.stderr.write(answers[0] + "\\n")
    sys.exit(1)
"""
WORKS = {
    "account": [""],
    "rest": [""],
    "functionapp function show": [""],
    "deployment group create": [""],
}


class Azure:
    """A stub of the Azure CLI in a directory of its own; "" is success, a text is the error."""

    def __init__(self, home: Path, answers: dict[str, list[str]]) -> None:
        self.home = home
        (home / "script.json").write_text(json.dumps(WORKS | answers), encoding="utf-8")
        (home / "stub.py").write_text(AZ, encoding="utf-8")
        program = home / "az"
        stub = shlex.join([sys.executable, str(home / "stub.py")])
        program.write_text(f'#!/bin/sh\nexec {stub} "$@"\n', encoding="utf-8")
        program.chmod(0o755)

    def run(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - our own script
            [sys.executable, "infra/postdeploy.py", "--pause", "0", *arguments],
            cwd=ROOT,
            env={"PATH": f"{self.home}{os.pathsep}/bin", **ENVIRONMENT, **changes},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[list[str]]:
        path = self.home / "calls.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def count(self, command: str) -> int:
        return [" ".join(call).startswith(command) for call in self.calls].count(True)


def test_it_deploys_once_the_function_is_listed(tmp_path: Path) -> None:
    azure = Azure(tmp_path, {})
    made = azure.run()
    assert made.returncode == 0, made.stderr
    assert [call[:2] for call in azure.calls] == [
        ["account", "show"],
        ["rest", "--method"],
        ["functionapp", "function"],
        ["deployment", "group"],
    ]


def test_it_outlasts_each_of_the_faults_that_follow_a_deployment(tmp_path: Path) -> None:
    azure = Azure(
        tmp_path,
        {
            "rest": [NO_SYNC, ""],
            "functionapp function show": [NOT_LISTED, NOT_LISTED, ""],
            "deployment group create": [NO_KEY, NO_KEY, ""],
        },
    )
    made = azure.run()
    assert made.returncode == 0, made.stderr
    assert azure.count("rest") == azure.count("functionapp function show") == 3
    assert azure.count("deployment group create") == 3
    assert "BadGateway" in made.stderr
    assert "does not list the function on_secret_event" in made.stderr


def test_every_call_names_the_subscription(tmp_path: Path) -> None:
    azure = Azure(tmp_path, {})
    azure.run()
    for call in azure.calls:
        assert call[call.index("--subscription") + 1] == SUBSCRIPTION


@pytest.mark.parametrize(
    ("answers", "commands"),
    [
        (
            {"functionapp function show": [NOT_LISTED]},
            ["az rest", "az functionapp function show", "az deployment group create"],
        ),
        ({"deployment group create": [NO_KEY]}, ["az deployment group create"]),
    ],
)
def test_one_that_never_works_ends_with_what_to_run_by_hand(
    tmp_path: Path, answers: dict[str, list[str]], commands: list[str]
) -> None:
    made = Azure(tmp_path, answers).run("--minutes", "0")
    assert made.returncode == 1
    _, by_hand = made.stderr.split("postdeploy: by hand:\n")
    listed = [line.strip() for line in by_hand.splitlines()]
    assert [" ".join(shlex.split(line)[: len(start.split())]) for line, start in zip(
        listed, commands, strict=True
    )] == commands  # fmt: skip
    assert all(SUBSCRIPTION in line for line in listed)
    assert "the time is over" in made.stderr


def test_it_tries_for_as_long_as_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock of the test's: a minute, in steps of fifteen seconds, is five looks."""
    azure = Azure(tmp_path, {"functionapp function show": [NOT_LISTED]})
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    slept: list[float] = []
    target = postdeploy.target(ENVIRONMENT)
    hook = postdeploy.Hook(target, 60, 15, lambda: sum(slept), slept.append)
    with pytest.raises(postdeploy.HookError, match="the time is over"):
        hook.run()
    assert slept == [15] * 4
    assert azure.count("functionapp function show") == 5


@pytest.mark.parametrize(
    "refusal",
    [
        "ERROR: /infra/events.bicepparam(4,49) : Error BCP427: Environment variable ...",
        "ERROR: (AuthorizationFailed) The client 'a@b.c' does not have authorization to ...",
        "ERROR: (LinkedAuthorizationFailed) The client has permission ... but not on ...",
        "ERROR: ... evgt-shop has no system-assigned identity: docs/deploy.md ...",
    ],
)
def test_what_no_waiting_mends_ends_it_at_once(tmp_path: Path, refusal: str) -> None:
    azure = Azure(tmp_path, {"deployment group create": [refusal]})
    made = azure.run()
    assert made.returncode == 1
    assert refusal in made.stderr
    assert azure.count("deployment group create") == 1


def test_without_a_login_nothing_else_is_tried(tmp_path: Path) -> None:
    azure = Azure(tmp_path, {"account": ["ERROR: Please run 'az login' to setup account."]})
    made = azure.run()
    assert made.returncode == 1
    assert "az login" in made.stderr
    assert [call[0] for call in azure.calls] == ["account"]


def test_without_the_cli_it_says_so(tmp_path: Path) -> None:
    made = Azure(tmp_path, {}).run(PATH="/nowhere")
    assert made.returncode == 1
    assert "`az`) is not on PATH" in made.stderr


def test_every_variable_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    azure = Azure(tmp_path, {})
    made = azure.run(AZURE_SUBSCRIPTION_ID="", VAULT_IDS="")
    assert made.returncode == 1
    assert "AZURE_SUBSCRIPTION_ID, VAULT_IDS" in made.stderr
    assert azure.calls == []


def test_what_the_parameters_read_is_checked_before() -> None:
    parameters = (ROOT / "infra/events.bicepparam").read_text(encoding="utf-8")
    read = {
        line.split("readEnvironmentVariable('")[1].split("'")[0]
        for line in parameters.splitlines()
        if "readEnvironmentVariable('" in line and "', '" not in line.split("split(")[-1]
    }
    optional = {"TAGS", "MAIL_WORKFLOW_NAME", "VAULT_TOPICS"}
    assert read - optional == {"FUNCTION_APP_NAME", *postdeploy.OUTPUTS}


def test_azd_runs_it_after_the_code() -> None:
    project = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
    assert project["hooks"].keys() == {"postdeploy"}
    for command in project["hooks"]["postdeploy"].values():
        _, script = command["run"].split()
        assert (ROOT / script).samefile(ROOT / "infra/postdeploy.py")
