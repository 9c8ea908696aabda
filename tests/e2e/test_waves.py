"""A wave through the app as it is deployed, with a limit at the one server; and a second one, which
is cancelled while it waits."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from local import engines, world
from local.stack import Options, Stack
from tests.conftest import QUICK
from tests.e2e.test_rotation import active, codes, ended, waiting

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(500 + 5 * engines.slack(engines.selected())),
]


def limit(stack: Stack) -> None:
    """The next release of the app has a file with a limit."""
    file = stack.directory / "credentials.yaml"
    document = json.loads(file.read_text(encoding="utf-8"))
    document["maxParallel"] = {"servers": {"*": 1}, "clusters": {"*": 2}}
    file.write_text(json.dumps(document, indent=2), encoding="utf-8")
    stack.replace(stack.release)


def asked(stack: Stack, **more: Any) -> dict[str, Any]:
    document = {"select": {"all": True}, "by": world.OPERATOR, **more}
    answer = stack.client.api("POST", "/rotations", document)
    assert answer.status in {200, 202}, answer.json
    found: dict[str, Any] = answer.json
    return found


def wave_of(stack: Stack, wave: str, phase: str, seconds: float = 120.0) -> dict[str, Any]:
    """The wave once it is in a phase, and has started something."""
    until = time.monotonic() + seconds
    while True:
        answer = stack.client.api("GET", f"/waves/{wave}")
        assert answer.status == 200, answer.json
        found: dict[str, Any] = answer.json
        if found["phase"] == phase and found["members"][0]["state"] != "planned":
            return found
        assert time.monotonic() < until, found
        time.sleep(1)


def test_a_wave_starts_what_it_selects_and_waits_for_places(tmp_path: Path) -> None:
    with Stack(tmp_path / "stack", Options(replicas=1, watch_seconds=2, credential=QUICK)) as stack:
        limit(stack)
        before = active(stack)
        assert asked(stack, dryRun=True)["batches"] == [[world.CREDENTIAL]]
        wave = asked(stack, reason="the yearly one")["wave"]
        (member,) = wave_of(stack, wave, "running")["members"]
        record = stack.client.follow(member["rotation"], waiting, timeout=150)
        assert record["request"]["wave"] == wave
        assert (record["place"]["number"], record["place"]["state"]) == (1, "over")
        (seen,) = wave_of(stack, wave, "completed")["members"]
        assert seen["state"] == "waiting"
        again = asked(stack, canary=False)["wave"]
        (busy,) = wave_of(stack, again, "completed")["members"]
        assert busy["state"] == "busy"
        assert stack.client.decide(member["rotation"], "reject").status in {200, 202}
        assert ended(stack, member["rotation"])["outcome"] == "rolled-back"
        assert active(stack) == before

        third = asked(stack, canary=False)["wave"]
        (member,) = wave_of(stack, third, "running")["members"]
        stack.client.follow(member["rotation"], lambda one: one["stage"] != "queued")
        body = {"by": world.OPERATOR, "running": "cancel"}
        answer = stack.client.api("POST", f"/waves/{third}/cancel", body)
        assert answer.status == 202, answer.json
        assert wave_of(stack, third, "cancelled")["cancelled"]["by"] == world.OPERATOR
        assert codes(ended(stack, member["rotation"])) == {"cancelled"}
