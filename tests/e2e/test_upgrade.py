"""A release of the app under rotations that wait, with a newer version and another story."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from local import engines, proof, world
from local.load import Load
from local.process import ROOT
from local.stack import Options, Stack
from rotation.model.world import other
from rotation.story.version import VERSION
from tests.conftest import QUICK
from tests.e2e.test_rotation import active, ended, started, waiting

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(400 + 5 * engines.slack(engines.selected())),
]

# What release 2.0 brought to the story, for those that begin with it: in a rotation, and in a part.
CHANGES = {
    "rotation/story/workflow.py": [
        (
            "    run.stage(Stage.OBSERVE)\n",
            (
                "    run.stage(Stage.OBSERVE)\n"
                '    if since(run.context, "2.0"):\n'
                "        yield from run.step(StepName.VERIFY, activities.VERIFY, run.standby)\n"
            ),
        ),
    ],
    "rotation/story/workload.py": [
        (
            "from rotation.story.retrying import",
            "from rotation.story.version import since\nfrom rotation.story.retrying import",
        ),
        (
            "    yield from task.step(activities.SCALE_DOWN)\n",
            (
                "    yield from task.step(activities.SCALE_DOWN)\n"
                '    if since(task.context, "2.0"):\n'
                "        yield from task.step(activities.SCALE_DOWN)\n"
            ),
        ),
    ],
}


def released(folder: Path, version: str) -> Path:
    """The app as it would be deployed: this one, with those changes."""
    shutil.copytree(ROOT / "rotation", folder / "rotation")
    shutil.copytree(ROOT / "infra" / "host", folder / "infra" / "host")
    for name in ("function_app.py", "host.json"):
        shutil.copy(ROOT / name, folder)
    for name, changes in CHANGES.items():
        edit(folder / name, *changes)
    edit(folder / "rotation/story/version.py", (f'VERSION = "{VERSION}"', f'VERSION = "{version}"'))
    for name in ("host.json", "infra/host/azureStorage.json"):
        before, after = (f'"defaultVersion": "{found}"' for found in (VERSION, version))
        edit(folder / name, (before, after))
    return folder


def edit(file: Path, *changes: tuple[str, str]) -> None:
    text = file.read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text, (file, before)
        text = text.replace(before, after)
    file.write_text(text, encoding="utf-8")


def waits(stack: Stack) -> str:
    rotation = started(stack)
    record = stack.client.follow(rotation, waiting)
    assert record["outcome"] is None, record["outcomeReason"]
    return rotation


def decided(stack: Stack, rotation: str, decision: str, serving: str) -> dict[str, Any]:
    """The record at the end, proved in the world."""
    seen = proof.Passwords.read(stack)
    assert stack.client.decide(rotation, decision).status in {200, 202}
    record = ended(stack, rotation)
    failed = [c.what for c in proof.check(stack, record, serving, [seen]) if not c.holds]  # type: ignore[arg-type]  # one of the slots
    assert failed == []
    return record


def instance(stack: Stack, name: str) -> dict[str, Any]:
    code = quote(stack.keys["system"], safe="")
    path = f"/runtime/webhooks/durabletask/instances/{quote(name)}?showHistory=true&code={code}"
    found: dict[str, Any] = stack.client.request("GET", path).json
    return found


def test_rotations_that_wait_are_decided_under_the_next_release(tmp_path: Path) -> None:
    with Stack(tmp_path / "stack", Options(replicas=1, watch_seconds=2, credential=QUICK)) as stack:
        urls = [stack.owner.service_url(space, name) for name, space in world.WORKLOADS.items()]
        with Load(urls, rate=20) as load:
            before = active(stack)
            first = waits(stack)
            stack.replace(released(tmp_path / "second", "2.0"))
            approved = decided(stack, first, "approve", other(before))
            assert approved["outcome"] == "completed"
            assert told(stack, first, VERSION) == (["verify", "verify"], 1)

            second = waits(stack)
            stack.replace(released(tmp_path / "third", "3.0"))
            rejected = decided(stack, second, "reject", other(before))
            assert rejected["outcome"] == "rolled-back"
            assert told(stack, second, "2.0") == (["verify"] * 4, 2)
            report = load.stop()
    assert (report.failed, report.failures) == (0, [])


def told(stack: Stack, rotation: str, version: str) -> tuple[list[str], int]:
    """The steps that differ between the versions, and the calls of a part that began late."""
    assert instance(stack, rotation)["version"] == version
    steps = [step["step"] for step in stack.client.rotation(rotation)["steps"]]
    part = instance(stack, f"{rotation}.retire.api")
    assert part["version"] == version
    return [step for step in steps if step == "verify"], calls(part, "scale_down")


def calls(found: dict[str, Any], activity: str) -> int:
    """On both engines an activity's end has its name in the history that is shown."""
    kinds = ("TaskCompleted", "TaskFailed")
    entries = [e for e in found["historyEvents"] if e["EventType"] in kinds]
    return [entry.get("FunctionName") or entry.get("Name") for entry in entries].count(activity)
