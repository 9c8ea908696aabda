"""The command line against the real app: from a start to an approval, and what goes wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local import world
from rotctl.__main__ import main
from rotctl.exits import Exit

if TYPE_CHECKING:
    from local.stack import Stack

ASKER = "me@contoso.example"
ERRORS = {Exit.PROBLEM, Exit.USAGE, Exit.NOT_ALLOWED, Exit.UNREACHABLE}


class Typed:
    """Runs commands against the stack's app, as somebody who has its key in the environment."""

    def __init__(self, stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
        self.key = stack.keys["function"]
        self._capsys = capsys

    def __call__(self, line: str, exits: Exit = Exit.DONE) -> str:
        self._capsys.readouterr()
        code = main(line.split())
        out, err = self._capsys.readouterr()
        assert code == exits, (line, code, out, err)
        assert self.key not in out + err
        return err if exits in ERRORS else out

    def json(self, line: str) -> Any:
        return json.loads(self(f"{line} --json"))


@pytest.fixture
def typed(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    monkeypatch.setenv("ROTCTL_URL", stack.components["host"].url)
    monkeypatch.setenv("ROTCTL_KEY", stack.keys["function"])
    return Typed(stack, capsys)


@pytest.mark.long
def test_a_rotation_is_started_watched_and_approved(stack: Stack, typed: Typed) -> None:
    name = world.CREDENTIAL
    (before,) = typed.json("list")["credentials"]
    active = before["active"]
    assert typed("list").splitlines()[1].split()[:2] == [name, active]
    ready = typed(f"doctor {name} --by {ASKER}")
    assert (
        ready.splitlines()[0]
        == f"✓ {name} would be rotated now, from {active} to {world_other(active)}"
    )
    said = typed(f"start {name} --by {ASKER} --reason practice").splitlines()
    rotation = said[0].removeprefix("started ")
    assert said[1] == f"{stack.components['host'].url}/api/pages/rotations/{rotation}"

    busy = typed(f"start {name} --by {ASKER}", Exit.PROBLEM)
    assert f"credential {name} has rotation {rotation} under way" in busy
    assert f"waits busy  credential {name} has rotation" in typed(
        f"doctor --by {ASKER}", Exit.REFUSED
    )
    watched = typed(f"watch {name} --until decision --timeout 90s", Exit.WAITING)
    assert "Swap: move every workload to" in watched
    assert "Waiting for a decision" in watched
    assert watched.splitlines()[-1].endswith(rotation)

    shown = typed(f"show {rotation}")
    assert all(part in shown for part in ("slots", "workloads", "steps", "Approve takes the"))
    evidence = typed.json(f"evidence {name}")
    assert set(evidence["tests"]) == set(world.WORKLOADS)
    assert "passed through production" in typed(f"evidence {rotation}")
    listed = typed(f"list --credential {name}")
    assert rotation in listed

    refused = typed(f"approve {rotation} --yes --by {ASKER}", Exit.NOT_ALLOWED)
    assert refused.startswith("rotctl: ")
    # Other tests of this stack may have left somebody in the usage ledger.
    approve = f"approve {rotation} --despite-evidence --by {world.APPROVERS[0]}"
    asked = typed(approve, Exit.USAGE)
    assert "give --yes if it is meant" in asked
    decided = typed(f"{approve} --yes --comment fine")
    assert f"approved by {world.APPROVERS[0]} (rotctl): fine" in decided.splitlines()[-1]
    ended = typed(f"watch {rotation} --timeout 90s")
    assert f"Done: {world_other(active)} serves, {active} is retired" in ended
    (last,) = typed(f"watch {rotation} --json").splitlines()
    assert json.loads(last)["outcome"] == "completed"
    again = typed(f"reject {rotation} --yes --by {world.APPROVERS[0]}", Exit.PROBLEM)
    assert "approved" in again


def world_other(slot: str) -> str:
    return {"blue": "green", "green": "blue"}[slot]


@pytest.mark.long
def test_what_the_app_refuses_is_a_sentence_with_its_cure(
    stack: Stack, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "there is no credential 'none'" in typed(f"start none --by {ASKER}", Exit.PROBLEM)
    assert "neither a rotation 'none'" in typed("show none", Exit.PROBLEM)
    error = json.loads(typed("start none --by x@y.example --json", Exit.PROBLEM))["error"]
    assert (error["code"], error["exit"], error["field"]) == ("unknown-credential", 1, "credential")
    monkeypatch.setenv("ROTCTL_KEY", "not-the-key")
    denied = typed("list", Exit.NOT_ALLOWED)
    assert "(401)" in denied
    assert "ROTCTL_KEY" in denied
    assert "not-the-key" not in denied


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_rotation_is_cancelled_and_started_again(stack: Stack, typed: Typed) -> None:
    name, person = world.CREDENTIAL, world.APPROVERS[0]
    rotation = typed(f"start {name} --by {ASKER}").splitlines()[0].removeprefix("started ")
    stack.client.follow(rotation, lambda r: (r["cancelling"] or {}).get("event"))
    said = typed(f"cancel {name} --yes --by {ASKER} --comment tomorrow")
    assert said == f"{rotation}: cancelled by {ASKER} (rotctl): tomorrow\n"
    assert "cancelled by" in typed(f"watch {rotation} --timeout 90s", Exit.ABORTED)

    again = typed(f"retry {rotation} --by {ASKER}").splitlines()[0].removeprefix("started ")
    assert typed.json(f"show {again}")["request"]["retries"] == rotation
    typed(f"watch {again} --until decision --timeout 90s", Exit.WAITING)
    assert typed(f"cancel {again} --yes --by {ASKER}", Exit.PROBLEM).startswith("rotctl: ")
    typed(f"reject {again} --yes --by {person}")
    typed(f"watch {again} --timeout 90s", Exit.ROLLED_BACK)
