"""Releases of the application in the middle of a rotation: none is undone unsaid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rotation.model.activities import Moved, Reference
from rotation.model.errors import Conflict, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import Answer
from rotation.steps.pods import level
from rotation.steps.running import Step
from rotation.steps.traffic import swap, swap_back
from tests.unit.test_swap import World
from tests.unit.virtual import DONE, HEALTHY, Story, denied, pytestmark, sequence

if TYPE_CHECKING:
    from rotation.model.world import Slot

__all__ = ["pytestmark"]

OLD, NEW = {"app": "app:1", "init:wait": "wait:1"}, {"app": "app:2", "init:wait": "wait:1"}
NOT_OURS = Answer(500, b"{}")


@pytest.fixture
def world() -> World:
    return World()


def release(world: World, name: str, tag: str = "app:2") -> None:
    """By somebody else; its pods come up at once."""
    found = world.deployment(name)
    world.cluster.roll(found, {"app": tag}, found.version)
    world.edges.calls.pause(0.0)


def step(world: World, slot: Slot = "green", **more: Any) -> Step:
    more = {"level": True, **more}
    reference = Reference(rotation="r-1", credential="orders-db", workload="api", slot=slot, **more)
    return Step(world.edges, reference)


def serve(world: World) -> None:
    """Green serves, as after a swap."""
    world.point(api="green", web="green", api_preview="blue", web_preview="blue")


# -- one activity


@pytest.mark.guarantee(2)
def test_traffic_does_not_move_to_other_images_than_those_that_serve(world: World) -> None:
    release(world, "api-blue")
    assert swap(step(world)) == Moved(released=NEW, had=OLD)
    assert world.writes == []
    release(world, "api-green")
    assert swap(step(world)) == Moved()
    assert world.slot_of("api") == "green"


@pytest.mark.guarantee(2)
def test_nor_does_it_go_back_to_others(world: World) -> None:
    serve(world)
    release(world, "api-green")
    assert swap_back(step(world, "blue")) == Moved(released=NEW, had=OLD)
    assert world.slot_of("api") == "green"


def test_a_release_that_fails_its_tests_is_gone_back_from_at_once(world: World) -> None:
    serve(world)
    release(world, "api-green")
    world.edges.world.scripted = [NOT_OURS]
    moved = swap_back(step(world, "blue"))
    assert moved.left == "blue serves with app:1, and green has app:2"
    assert world.slot_of("api") == "blue"


def test_a_test_that_fails_once_makes_no_release_a_broken_one(world: World) -> None:
    serve(world)
    release(world, "api-green")
    world.edges.world.scripted = [NOT_OURS, Answer(200, b'{"role": "orders_green"}')]
    assert swap_back(step(world, "blue")).released == NEW


def test_tests_for_which_there_was_no_time_make_no_release_a_broken_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(world)
    release(world, "api-green")
    monkeypatch.setattr(world.edges, "side_by_side", lambda calls, _: [None] * len(calls))
    with pytest.raises(Unavailable) as caught:
        swap_back(step(world, "blue"))
    assert caught.value.code is Code.TEST_OVERDUE
    assert world.slot_of("api") == "green"


@pytest.mark.guarantee(2)
def test_a_release_whose_answers_use_up_all_time_is_gone_back_from(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a `timeout` of 20 s those that get no answer leave no time for a third round."""
    serve(world)
    release(world, "api-green")

    def hangs(*_: object, **__: object) -> Answer:
        world.edges.sleep(20)
        raise Unavailable(Code.PROXY_TIMEOUT, "no answer")

    monkeypatch.setattr(type(world.edges.traffic("aks")), "ask", hangs)
    swap_back(step(world, "blue"))
    assert world.slot_of("api") == "blue"


def test_tests_without_time_block_the_way_back_no_longer_than_pods_that_are_not_ready(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(world)
    release(world, "api-green")
    monkeypatch.setattr(world.edges, "side_by_side", lambda calls, _: [None] * len(calls))
    moved = swap_back(step(world, "blue", few=True))
    assert moved.left == "blue serves with app:1, and green has app:2"
    assert world.slot_of("api") == "blue"


def test_a_release_between_the_look_and_the_move_is_told(world: World) -> None:
    """Also by an execution that comes after one whose answer was lost."""
    swap(step(world))
    release(world, "api-blue")
    assert swap(step(world)).left == "green serves with app:1, and blue has app:2"


@pytest.mark.guarantee(7)
def test_what_serves_is_told_where_traffic_goes_back_from_it_whatever_it_is(world: World) -> None:
    """Another release than the one that the slot could not be brought to, say."""
    serve(world)
    release(world, "api-green", "app:3")
    moved = swap_back(step(world, "blue", level=False))
    assert moved.left == "blue serves with app:1, and green has app:3"
    assert world.slot_of("api") == "blue"


def test_what_began_under_an_earlier_release_moves_as_it_did(world: World) -> None:
    release(world, "api-blue")
    assert swap(step(world, level=False)) == Moved()
    assert world.slot_of("api") == "green"


def test_a_slot_is_brought_to_the_images_that_serve(world: World) -> None:
    world.deployment("api-green").version = "v2"
    world.point(api_preview="blue")
    world.scale("api-blue", 3)
    release(world, "api-blue")
    level(step(world))
    green = world.deployment("api-green")
    assert (green.images, green.replicas, green.version) == (NEW, 3, "v2")
    assert world.writes == [
        "move orders/api-preview slot: blue -> green",
        "start orders/api-green 3 v2",
    ]


def test_it_is_brought_there_though_another_workload_is_on_that_slot_already(world: World) -> None:
    world.point(web="green")
    release(world, "api-blue")
    level(step(world))
    assert world.deployment("api-green").images == NEW


def test_what_serves_is_not_brought_anywhere(world: World) -> None:
    world.point(api="green", api_preview="green")
    with pytest.raises(Conflict) as caught:
        level(step(world))
    assert caught.value.code is Code.SERVES_TRAFFIC
    assert world.writes == []


def test_a_slot_gets_its_own_images_again(world: World) -> None:
    release(world, "api-green", "app:broken")
    level(step(world, images=OLD))
    assert world.deployment("api-green").images == OLD


def test_other_containers_are_not_made_of_images(world: World) -> None:
    world.deployment("api-blue").images = {**OLD, "proxy": "proxy:1"}
    with pytest.raises(Conflict) as caught:
        level(step(world))
    assert caught.value.code is Code.CONTAINERS_DIFFER
    assert world.writes == []


@pytest.mark.parametrize("name", ["api-blue", "api-green"])
def test_a_deployment_that_is_gone_cannot_be_levelled(world: World, name: str) -> None:
    del world.cluster.deployments["orders", name]
    with pytest.raises(Conflict, match=f"orders/{name} is gone"):
        level(step(world))


# -- the story

RELEASED = {"released": NEW, "had": OLD}
LEVELLED = ["level {0}", "await_ready {0}", "test {0}"]
LATE = {"done": False, "observed": "0 of 2 pods are ready"}


def levelled(slot: str) -> list[str]:
    return [name.format(slot) for name in LEVELLED]


def after(story: Story, name: str) -> list[str]:
    names = story.names()
    return names[names.index(name) :]


def codes(story: Story) -> list[tuple[str, str]]:
    return [(one.code, one.text) for one in story.output.releases]


def test_a_release_during_prepare_is_brought_along_and_the_record_says_so() -> None:
    story = Story("api")
    story.script["swap"] = sequence(RELEASED, {})
    story.approve()
    assert after(story, "swap green")[:5] == ["swap green", *levelled("green"), "swap green"]
    text = "workload api: green was brought to app:2, which served by then, and tested"
    assert codes(story) == [("release-brought-along", text)]
    (images,) = {r["images"]["app"] for _, n, r in story.calls if n == "level"}
    assert images == "app:2"
    assert all(r["level"] for _, n, r in story.calls if n == "swap")


def test_a_release_that_does_not_come_up_on_the_new_slot_keeps_traffic_where_it_is() -> None:
    story = Story("api")
    story.script["swap"] = RELEASED
    story.script["await_ready"] = sequence(DONE, LATE)
    output = story.run()
    assert (output.outcome, output.reasons[0].code) == ("rolled-back", "pods-not-ready")
    assert story.serving == "blue"


def test_releases_without_an_end_keep_traffic_where_it_is() -> None:
    story = Story("api")
    story.script["swap"] = RELEASED
    output = story.run()
    assert (output.outcome, output.reasons[0].code) == ("rolled-back", "releases-go-on")
    assert story.count("level") == story.count("swap") == 3


def test_a_release_during_the_approval_is_brought_back_along() -> None:
    story = Story("api")
    story.script["swap_back"] = sequence(RELEASED, {})
    story.to_approval().decide("reject")
    output = story.run()
    assert after(story, "swap_back blue")[:5] == [
        "swap_back blue",
        *levelled("blue"),
        "swap_back blue",
    ]
    assert (output.outcome, output.outcome_reason) == (
        "rolled-back",
        "rejected by grace@contoso.example",
    )
    assert [code for code, _ in codes(story)] == ["release-brought-along"]


FAILING: list[tuple[str, Any, str]] = [
    ("level", sequence(denied, {}), "level: it is refused"),
    ("await_ready", sequence(DONE, LATE), "await_ready: not done after 20 s"),
    ("test", "preview", "test: it is refused"),
]


@pytest.mark.parametrize(("name", "answer", "why"), FAILING)
def test_there_is_a_way_back_from_a_release_that_does_not_work_there(
    name: str, answer: Any, why: str
) -> None:
    """The slot gets its own images again, and serves with them; record, mail and log say so."""

    def fails_on_blue(reference: dict[str, Any]) -> Any:
        return denied(reference) if reference["slot"] == "blue" else HEALTHY["test"]

    story = Story("api")
    story.undo = type(story.undo)(3600.0, refusals=0.0)
    story.script[name] = fails_on_blue if answer == "preview" else answer
    story.script["swap_back"] = lambda r: RELEASED if r.get("level") else {}
    story.to_approval().decide("reject")
    output = story.run()
    assert output.outcome == "rolled-back"
    assert story.serving == "blue"
    assert [r["images"]["app"] for _, n, r in story.calls if n == "level"] == ["app:2", "app:1"]
    assert story.names().index("confirm blue") > story.names().index("swap_back blue")
    text = "workload api: blue serves again with app:1, and not with app:2, which it could not be"
    ((code, said),) = codes(story)
    assert (code, said.startswith(text), why in said) == ("release-left-behind", True, True)
    assert [found.code for found in output.reasons] == ["rejected", "release-left-behind"]
    assert said in str(output.outcome_reason)
    (told,) = story.notices("RolledBack")
    assert said in told["outcomeReason"]


def test_there_is_a_way_back_from_releases_without_an_end() -> None:
    story = Story("api")
    story.script["swap_back"] = lambda r: RELEASED if r.get("level") else {}
    story.to_approval().decide("reject")
    output = story.run()
    assert output.outcome == "rolled-back"
    assert story.count("level") == 3
    assert codes(story)[-1][0] == "release-left-behind"
    assert "others were deployed each time that blue was brought" in codes(story)[-1][1]


def test_a_slot_that_cannot_be_given_its_own_images_again_may_serve_all_the_same() -> None:
    story = Story("api")
    story.script["level"] = denied
    story.script["swap_back"] = lambda r: RELEASED if r.get("level") else {}
    story.to_approval().decide("reject")
    assert story.run().outcome == "rolled-back"
    assert "nor could it be given its own: level: it is refused" in codes(story)[0][1]


@pytest.mark.parametrize("choice", ["approve", "reject"])
def test_what_was_left_behind_is_told(choice: str) -> None:
    story = Story("api")
    said = "green serves with app:1, and blue has app:2"
    story.script["swap" if choice == "approve" else "swap_back"] = {"left": said}
    story.to_approval().decide(choice)
    story.run()
    assert codes(story) == [("release-left-behind", f"workload api: {said}")]


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_what_began_at_an_earlier_version_looks_at_no_release(decision: str) -> None:
    story = Story("api")
    story.world.version = "1.1"
    story.world.engine._version = "1.1"  # noqa: SLF001 - as its release had it
    story.to_approval().decide(decision)
    story.run()
    assert not [r for _, n, r in story.calls if n in {"swap", "swap_back"} and r.get("level")]


# -- the entry


def test_the_entry_goes_along_with_every_step_and_into_no_status() -> None:
    story = Story("api")
    story.script["plan"] = {**story.plan(), "entry": "the entry"}
    story.to_approval()
    assert "the entry" not in str(story.shown["customStatus"])
    story.decide("approve")
    story.run()
    assert {r.get("entry") for _, n, r in story.calls if n != "plan"} == {"the entry"}
    assert "the entry" not in str(story.shown["output"])


def test_the_record_says_what_the_file_says_by_now() -> None:
    story = Story("api")
    lines = ["credentials.orders-db.drain: is new: '5m'"]
    story.script["notify"] = sequence({"changed": []}, {"changed": []}, {"changed": lines})
    story.to_approval()
    assert story.status.changed == []
    story.wait(days=1)
    assert story.status.changed == lines  # with the reminder
    story.decide("reject")
    assert story.run().changed == lines
