"""What the status shows while each activity runs: its stage, and a decision once it counts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.virtual import EVIDENCE, HEALTHY, Story, denied, pytestmark, unavailable

__all__ = ["pytestmark"]


def seen_by(story: Story, *names: str) -> list[tuple[str, str]]:
    """Each activity of these names that is called from now on, with the stage that is shown."""
    seen: list[tuple[str, str]] = []

    def watching(name: str) -> Any:
        healthy = HEALTHY[name]

        def activity(reference: Any) -> Any:
            seen.append((name, str(story.status.stage)))
            return healthy

        return activity

    story.script |= {name: watching(name) for name in names}
    return seen


def test_the_stages_on_the_way_to_an_approval() -> None:
    story = Story("api")
    seen = seen_by(story, "stage", "activate", "verify", "deliver", "swap", "test", "evidence")
    story.to_approval()
    assert seen == [
        ("stage", "stage"),
        ("activate", "activate"),
        ("verify", "verify"),
        ("deliver", "prepare"),
        ("test", "prepare"),
        ("verify", "prepare"),
        ("swap", "swap"),
        ("test", "observe"),
        ("evidence", "approval"),
    ]


def test_the_stages_on_the_way_back() -> None:
    story = Story("api").to_approval()
    seen = seen_by(story, "swap_back", "scale_down", "deactivate")
    story.decide("reject")
    story.run()
    assert seen == [("swap_back", "swap-back"), ("scale_down", "retire"), ("deactivate", "retire")]


@pytest.mark.parametrize("choice", ["approve", "reject"])
def test_a_decision_is_shown_before_it_is_announced(choice: str) -> None:
    story, shown = Story("api").to_approval(), list[Any]()

    def notify(reference: Any) -> Any:
        if reference["notice"]["kind"] in {"Approved", "Rejected"}:
            decision, approval = story.status.decision, story.status.approval
            shown.append((decision and decision.decision, approval and approval.event))
        return HEALTHY["notify"]

    story.script["notify"] = notify
    story.decide(choice)
    story.run()
    assert shown == [(choice, None)]


def test_a_step_is_shown_while_it_runs() -> None:
    story, shown = Story("api"), list[Any]()

    def verify(reference: Any) -> Any:
        steps = story.status.steps
        shown.append((str(steps[-1].step), steps[-1].until))
        return HEALTHY["verify"]

    story.script["verify"] = verify
    story.to_approval()
    assert shown == [("verify", None)] * 2


@pytest.mark.parametrize("evidence", [EVIDENCE, denied], ids=["done", "failed"])
def test_a_step_is_shown_once_it_has_ended(evidence: Any) -> None:
    story, shown = Story("api"), list[Any]()

    def notify(reference: Any) -> Any:
        shown.extend((str(step.step), step.until is None) for step in story.status.steps[-1:])
        return HEALTHY["notify"]

    story.script |= {"notify": notify, "evidence": evidence}
    story.to_approval()
    assert shown == [("plan", False), ("evidence", False)]


def test_evidence_that_is_refused_does_not_end_it() -> None:
    story = Story("api")
    story.script["evidence"] = denied
    story.to_approval()
    assert EVIDENCE["passed"]
    assert story.status.stage == "approval"


@pytest.mark.parametrize("name", ["start", "await_ready"])
def test_a_workloads_part_shows_what_it_does(name: str) -> None:
    story, shown = Story("api"), list[Any]()

    def activity(reference: Any) -> Any:
        part = story.world.engine.status("r-1.prepare.api")
        assert part is not None
        shown.append(part["customStatus"])
        return HEALTHY[name]

    story.script[name] = activity
    story.to_approval()
    assert shown == [{"progress": name}]


PODS = "0 of 2 pods are ready"
WAITS: dict[str, tuple[Any, str]] = {
    "start": (unavailable, "it is away"),
    "await_ready": (lambda _: {"done": False, "observed": PODS}, PODS),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_workloads_part_shows_what_it_waits_for(name: str) -> None:
    """Whoever looks while a slow starter starts is told that it does."""
    story, shown = Story("api"), list[Any]()
    waits, said = WAITS[name]

    def activity(reference: Any) -> Any:
        part = story.world.engine.status("r-1.prepare.api")
        assert part is not None
        status: Any = part["customStatus"]
        shown.append(status.get("waits"))
        return waits(reference) if len(shown) < 3 else HEALTHY[name]

    story.script[name] = activity
    story.to_approval()
    assert shown == [None, said, said]
