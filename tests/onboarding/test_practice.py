"""The guide, as `make local ARGS=--one-slot` says: by what it prints and nothing else."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import urllib3

from local.practice import guide, place, stand_ins
from local.process import ROOT, wait_until
from rotctl.exits import Exit
from tests.onboarding.terminal import at_terminal, yes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.onboarding.terminal import Answer

BASH = shutil.which("bash") or "bash"
LAST = "Ctrl-C ends everything"
HTTP = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5, read=60))


class Terminal:
    """What `make local` has printed, and a second terminal in which its lines are followed."""

    def __init__(self, said: str) -> None:
        self.said = said
        lines = said.splitlines()
        exports = [line for line in lines if line.startswith(("cd ", "export ", "unset "))]
        self.exports = "\n".join(exports)

    def value(self, name: str) -> str:
        return self.run(f'printf %s "${name}"')

    def at(self, what: str) -> str:
        found = re.search(rf"^{what} +(.+)$", self.said, re.MULTILINE)
        assert found is not None, self.said
        return found[1]

    def run(self, commands: str) -> str:
        ended = subprocess.run(  # noqa: S603 - the guide's own commands
            self._typed(commands),
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
            cwd="/",
        )
        assert ended.returncode == 0, f"{commands}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def talk(self, step: guide.Commands, answer: Answer = yes) -> tuple[int, str]:
        """What it ends with, and all that was said."""
        return at_terminal(self._typed(step.text), "/", os.environ, answer)

    def _typed(self, commands: str) -> list[str]:
        return [BASH, "-euo", "pipefail", "-c", f"{self.exports}\n{commands}"]

    def asked(self, path: str) -> Any:
        url = f"{self.value('APP_URL')}/api{path}"
        return HTTP.request("GET", url, headers={"x-functions-key": self.value("KEY")}).json()


@contextmanager
def up(*arguments: str) -> Iterator[Terminal]:
    """`make local`, until it is ended as by Ctrl-C."""
    command = [sys.executable, "-m", "local.up", *arguments]
    with subprocess.Popen(  # noqa: S603 - our own arguments
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = ""
        try:
            for line in process.stdout:
                said += line
                if line.startswith(LAST):
                    break
            else:
                pytest.fail(f"it ended by itself: {said}")
            yield Terminal(said)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
        assert process.returncode == 0


def waits(terminal: Terminal, rotation: str) -> bool:
    record = terminal.asked(f"/rotations/{rotation}")
    assert record["outcome"] is None, record["outcomeReason"]
    return bool((record["approval"] or {}).get("event"))


def mailed(terminal: Terminal, rotation: str) -> list[str]:
    """The links in the mail that asks, as the inbox shows them."""
    mails = HTTP.request("GET", terminal.at("mails") + ".json").json()
    return [
        link["url"]
        for one in mails
        if "please approve" in one["mail"]["subject"]
        for link in one["mail"]["links"]
        if rotation in link["url"] or "decision?link=" in link["url"]
    ]


def decide(link: str) -> int:
    """Clicks the mail's button, approves in the form, and confirms; the last answer's status."""
    origin = "/".join(link.split("/")[:3])
    page = HTTP.request("GET", link)
    assert page.status == 200
    token = re.search(rb'name="token" value="([0-9a-f]{64})"', page.data)
    assert token is not None, page.data
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": origin}
    form = {"token": token[1].decode(), "decision": "approve"}
    asked = HTTP.request("POST", link, body=urlencode(form), headers=headers)
    assert asked.status == 200
    hidden = r'<input type="hidden" name="(\w+)" value="([^"]*)">'
    found = re.findall(hidden, asked.data.decode())
    fields = {name: html.unescape(value) for name, value in found} | {"acknowledged": "yes"}
    answer = HTTP.request("POST", link, body=urlencode(fields), headers=headers, redirect=False)
    return answer.status


@pytest.mark.long
@pytest.mark.timeout(500)
@pytest.mark.skipif(bool(place.missing()), reason=f"not on this machine: {place.missing()}")
def test_the_guide_is_followed_to_its_end_and_a_stopped_stack_goes_on(tmp_path: Path) -> None:
    directory = tmp_path / "place"
    _exports, adopt, _rehearse, apply, last = guide.steps()  # test_guide rehearses
    with up("--one-slot", "--directory", str(directory)) as terminal:
        assert "not started" in terminal.at("pages")
        terminal.run(adopt.text)
        code, said = terminal.talk(apply)
        assert code == Exit.DONE, said
        second = shlex.split(shlex.split(terminal.at("make local"))[0].removeprefix("ARGS="))
    with up(*second) as terminal:
        code, said = terminal.talk(last, until_the_rotation_waits)
        assert code == Exit.WAITING, said
        (rotation,) = [one["rotation"] for one in terminal.asked("/rotations")["rotations"]]
        wait_until(lambda: waits(terminal, rotation), 90, "the rotation waiting")
        before = terminal.exports
    with up("--directory", str(directory)) as terminal:
        assert terminal.exports == before
        assert waits(terminal, rotation)
        links = mailed(terminal, rotation)
        assert {link.partition("/api/")[0] for link in links} == {terminal.value("APP_URL")}
        (signed, *_) = [link for link in links if "decision?link=" in link]
        assert decide(signed) == 303
        wait_until(
            lambda: terminal.asked(f"/rotations/{rotation}")["outcome"], 90, "the rotation's end"
        )
        record = terminal.asked(f"/rotations/{rotation}")
        assert (record["outcome"], record["decision"]["channel"]) == ("completed", "link")
        assert "orders_green" in terminal.run(f"curl -sS {terminal.at('workload')}/whoami")
        code, said = terminal.talk(last)
        assert code == Exit.DONE, said


def until_the_rotation_waits(said: str) -> str:
    """It may be tomorrow that somebody approves."""
    return "q" if "Is it done?" in said and "rotctl evidence" in said else "y"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("login", "knows `az keyvault secret` alone"),
        ("keyvault secret show --vault-name kv-orders --name x", "is not known here like this"),
        ("keyvault secret set --vault-name kv-orders --name x", "is not known here like this"),
        ("keyvault secret set --vault-name kv-other --name x --value y", "--vault-name kv-orders"),
        ("keyvault secret set --vault-name kv-orders --name x --file no", "no cannot be read: "),
    ],
)
def test_the_stand_in_of_az_says_what_it_does_not_take(
    arguments: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    vault = {"url": "https://127.0.0.1:1", "identity": "identity", "authority": "no.pem"}
    monkeypatch.setenv("STAND_IN_VAULT", json.dumps(vault))
    with pytest.raises(SystemExit) as ended:
        stand_ins.az(arguments.split())
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
