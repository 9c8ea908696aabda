"""Rotations that began under an earlier release, replayed by today's story."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from local.engine.events import Kind, moment
from rotation.model import activities
from rotation.model.catalogue import StepName
from rotation.story import approval, workflow
from rotation.story.version import FIRST, VERSION, inherited, since
from tests.histories.__main__ import main
from tests.histories.recording import FOLDER, STORIES, Diverged, Recorded, check, read
from tests.unit.virtual import REQUEST, Story, pytestmark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.story.progress import Run

__all__ = ["pytestmark"]

FILES = sorted(FOLDER.glob("*/*.json"))
ORDER = {folder.name: tuple(map(int, folder.name.split("."))) for folder in FOLDER.glob("[0-9]*")}


@pytest.mark.parametrize("file", FILES, ids=[f"{f.parent.name}-{f.stem}" for f in FILES])
def test_what_began_under_an_earlier_version_goes_on(file: Any) -> None:
    """A failure says what to do."""
    instances = read(file)
    assert instances
    for one in instances:
        check(Story().world.app.orchestrator, one)


def test_there_are_histories_of_each_version_and_of_none_to_come() -> None:
    assert FIRST in ORDER
    assert VERSION in ORDER, f"record those of {VERSION}: python -m tests.histories"
    assert max(ORDER.values()) == ORDER[VERSION]
    for version in ORDER:
        kept = {file.stem for file in (FOLDER / version).glob("*.json")}
        assert kept >= {"completed", "waits"}
    assert {file.stem for file in (FOLDER / VERSION).glob("*.json")} == {
        tell.__name__ for tell in STORIES
    }


def test_every_orchestrator_is_in_them() -> None:
    named = {one.orchestrator for file in FILES for one in read(file)}
    assert named == set(Story().world.app.orchestrators)


def test_each_began_at_the_version_that_its_folder_says() -> None:
    for file in FILES:
        for one in read(file):
            assert one.request["history"][1]["Version"] == file.parent.name


def test_no_timer_is_longer_than_a_day() -> None:
    """On Azure Storage one of more than six days cannot be cancelled, and would keep its instance
    running. The approvals of these stories wait for a week and more."""
    lengths = [
        moment(entry["FireAt"]) - moment(entry["Timestamp"])
        for file in FILES
        for one in read(file)
        for entry in one.request["history"]
        if entry["EventType"] == Kind.TIMER_CREATED
    ]
    assert timedelta(hours=23) < max(lengths) <= timedelta(days=1)


def test_children_begin_at_the_version_of_their_parent() -> None:
    story = Story("api")
    story.world.engine._version = "9.0"  # noqa: SLF001 - a release meanwhile
    story.world.engine.start("credential", "orders-db", json.dumps(REQUEST), version="1.0")
    story.world.settle()
    assert story.world.show("r-1")["version"] == "1.0"
    assert story.world.show("r-1.prepare.api")["version"] == "1.0"


@pytest.mark.parametrize(
    ("began", "has"),
    [(None, False), ("", False), ("1.0", False), ("1.1", True), ("1.2", True), ("1.10", True)],
)
def test_what_a_version_brought_is_for_those_that_began_with_it(
    began: str | None, has: bool
) -> None:
    class Context:
        version = began

    context: Any = Context()
    assert since(context, "1.1") is has
    assert inherited(context) == (began or None)


# -- the check is not blind


def kept(name: str) -> list[Recorded]:
    return read(FOLDER / FIRST / f"{name}.json")


def diverges(name: str) -> str:
    (rotation,) = [one for one in kept(name) if one.orchestrator == "rotation"]
    with pytest.raises(Diverged) as caught:
        check(Story().world.app.orchestrator, rotation)
    return str(caught.value)


def test_a_step_more_is_found_and_what_to_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(run: Run, workloads: Any) -> Iterator[Any]:
        yield from run.step(StepName.VERIFY, activities.VERIFY, run.standby)
        yield from observe(run, workloads)

    observe = workflow.observe
    monkeypatch.setattr(workflow, "observe", twice)
    said = diverges("waits")
    assert re.search(r"history has child observe_workload .* replay has activity verify", said)
    assert "raise VERSION in rotation/story/version.py" in said


def test_a_step_less_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(run: Run) -> Iterator[Any]:
        yield from ()

    monkeypatch.setattr(workflow, "observe", none)
    assert "its history has child observe_workload" in diverges("waits")


def test_another_name_of_an_event_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait is in no history: the event that came is, and nobody hears it."""

    def renamed(run: Run, asked: Any) -> Any:
        asked.gate += 1
        asked.event = f"verdict-{asked.gate}"
        return run.context.wait_for_external_event(asked.event)

    monkeypatch.setattr(approval, "_next_event", renamed)
    assert "began at version 1.0" in diverges("completed")


def test_a_version_that_was_recorded_is_not_recorded_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main() == 1
    assert "raise VERSION" in capsys.readouterr().err
