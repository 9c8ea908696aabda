"""What clients and simulators do with the engine."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from local.engine import (
    Activity,
    Engine,
    InstanceFinished,
    InstanceNotFound,
    InstanceRunning,
    InvalidInstanceId,
    MemoryJournal,
    Timer,
    Turn,
)
from tests.local.engine.support import World, sdk_warnings

if TYPE_CHECKING:
    from tests.local.engine.support import Context, Steps

pytestmark = sdk_warnings


@pytest.fixture(autouse=True)
def functions(world: World) -> None:
    register(world)


def register(world: World) -> None:
    @world.app.step
    def double(n: int) -> int:
        return 2 * n

    @world.app.orchestration
    def doubles(context: Context) -> Steps:
        return (yield context.call_activity("double", context.get_input()))

    @world.app.orchestration
    def waits(context: Context) -> Steps:
        return (yield context.wait_for_external_event("go"))

    @world.app.orchestration
    def parent(context: Context) -> Steps:
        try:
            return (yield context.call_sub_orchestrator("waits", None, instance_id="child"))
        except Exception as error:  # noqa: BLE001 - the SDK raises no other
            return str(error)


def test_starting_gives_an_id_from_the_source(world: World) -> None:
    assert world.engine.start("doubles", None, "1") == "id1"


def test_an_unknown_orchestrator_is_started_and_fails(world: World) -> None:
    world.engine.start("double", "one")
    assert world.finish()["runtimeStatus"] == "Failed"
    assert "'double' doesn't exist" in world.show()["output"]


@pytest.mark.parametrize("bad", ["", "a/b", "a\\b", "a#b", "a?b", "a\nb", "@a", "a" * 101])
def test_ids_that_the_back_ends_refuse_are_refused(world: World, bad: str) -> None:
    with pytest.raises(InvalidInstanceId):
        world.engine.start("doubles", bad)


def test_an_id_is_taken_until_its_instance_ends(world: World) -> None:
    world.start("waits")
    with pytest.raises(InstanceRunning, match="Pending"):
        world.start("doubles")
    world.settle()
    with pytest.raises(InstanceRunning, match="Running"):
        world.start("doubles")
    world.engine.raise_event("one", "go", "1")
    world.settle()
    world.start("doubles", input="4")
    assert world.finish()["output"] == 8
    assert world.kinds() == ["ExecutionStarted", "TaskCompleted", "ExecutionCompleted"]


@pytest.mark.parametrize("verb", ["terminate", "suspend", "resume"])
def test_messages_need_a_running_instance(world: World, verb: str) -> None:
    send = getattr(world.engine, verb)
    with pytest.raises(InstanceNotFound, match="'one'"):
        send("one", "because")
    with pytest.raises(InstanceNotFound, match="'one'"):
        world.engine.raise_event("one", "go", "1")
    world.start("doubles", input="1")
    world.finish()
    with pytest.raises(InstanceFinished, match="Completed"):
        send("one", "because")
    with pytest.raises(InstanceFinished, match="Completed"):
        world.engine.raise_event("one", "go", "1")


def test_termination_ends_an_instance_with_its_reason(world: World) -> None:
    world.start("waits")
    world.settle()
    world.engine.terminate("one", "not wanted")
    ended = world.finish()
    assert (ended["runtimeStatus"], ended["output"]) == ("Terminated", "not wanted")


def test_a_terminated_parent_leaves_its_child_running(world: World) -> None:
    world.start("parent")
    world.settle()
    world.engine.terminate("one", "enough")
    world.settle()
    assert world.show("child")["runtimeStatus"] == "Running"
    world.engine.raise_event("child", "go", '"on"')
    world.settle()
    assert world.show("child")["output"] == "on"
    assert world.show("one")["output"] == "enough"


def test_a_terminated_child_fails_in_its_parent(world: World) -> None:
    world.start("parent")
    world.settle()
    world.engine.terminate("child", "enough")
    assert world.finish()["output"].startswith("enough")


def test_a_childs_answer_does_not_reach_a_later_execution_of_its_parent(world: World) -> None:
    world.start("parent")
    world.settle()
    world.engine.terminate("one", "enough")
    world.settle()
    world.start("waits")
    world.settle()
    world.engine.raise_event("child", "go", '"late"')
    world.settle()
    assert world.kinds("one") == ["ExecutionStarted"]


def test_an_activity_scheduled_before_a_termination_runs_all_the_same(world: World) -> None:
    world.start("doubles", input="1")
    world.turn()
    world.engine.terminate("one", "enough")
    world.turn()
    assert world.app.calls == []
    world.settle()
    assert world.app.calls == [("double", 1)]
    assert world.show()["output"] == "enough"
    assert world.engine.ready() == []


def test_a_result_does_not_reach_a_later_execution(world: World) -> None:
    world.start("doubles", input="1")
    world.turn()
    (old,) = world.engine.ready()
    world.engine.terminate("one", "enough")
    world.turn()
    world.start("doubles", input="5")
    world.turn()
    assert world.engine.execute(old)
    assert world.finish()["output"] == 10


def test_a_suspended_instance_keeps_its_messages_for_later(world: World) -> None:
    world.start("waits")
    world.settle()
    world.engine.suspend("one", "hold")
    world.engine.raise_event("one", "go", "7")
    world.settle()
    assert world.show()["runtimeStatus"] == "Suspended"
    world.restart()
    world.settle()
    assert world.show()["runtimeStatus"] == "Suspended"
    world.engine.resume("one", "on")
    assert world.finish()["output"] == 7


def test_a_suspended_instance_can_be_terminated(world: World) -> None:
    world.start("waits")
    world.engine.suspend("one", "hold")
    world.settle()
    assert world.show()["runtimeStatus"] == "Suspended"
    world.engine.raise_event("one", "go", "1")
    world.engine.terminate("one", "enough")
    assert world.finish()["output"] == "enough"


def test_purging_takes_finished_instances_only(world: World) -> None:
    assert world.engine.purge("one") == 0
    world.start("doubles", input="1")
    with pytest.raises(InstanceRunning):
        world.engine.purge("one")
    world.finish()
    assert world.engine.purge("one") == 1
    assert world.engine.status("one") is None
    assert world.engine.query() == ([], None)


def test_history_is_shown_as_the_http_api_shows_it(world: World) -> None:
    world.start("doubles", input="3")
    world.turn()
    world.clock.move(seconds=2)
    world.finish()
    shown = world.show(show_history=True, show_history_output=True)["historyEvents"]
    assert shown == [
        {
            "EventType": "ExecutionStarted",
            "Timestamp": "2027-03-01T12:00:00.000000Z",
            "Input": "3",
            "FunctionName": "doubles",
        },
        {
            "EventType": "TaskCompleted",
            "Timestamp": "2027-03-01T12:00:02.000000Z",
            "Result": 6,
            "ScheduledTime": "2027-03-01T12:00:00.000000Z",
            "FunctionName": "double",
            "Input": "3",
        },
        {
            "EventType": "ExecutionCompleted",
            "Timestamp": "2027-03-01T12:00:02.000000Z",
            "OrchestrationStatus": "Completed",
            "Result": 6,
        },
    ]
    hidden = world.show(show_history=True, show_input=False)
    assert hidden["input"] is None
    assert not any({"Input", "Result"} & entry.keys() for entry in hidden["historyEvents"])


def test_instances_are_listed_page_by_page(world: World) -> None:
    names = [f"n{k:03}" for k in range(7)]
    for name in reversed(names):
        world.start("doubles", instance_id=name, input="1")
    seen: list[str] = []
    token: str | None = None
    for size in (3, 3, 1):
        page, token = world.engine.query(top=3, continuation=token)
        assert len(page) == size
        seen += [entry["instanceId"] for entry in page]  # type: ignore[misc]  # ids are strings
    assert (seen, token) == (names, None)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"runtime_status": ["Running"]}, ["b-wait"]),
        ({"runtime_status": ["Running", "Completed"]}, ["a-done", "b-wait"]),
        ({"prefix": "b-"}, ["b-wait"]),
        ({"prefix": "%"}, []),
        ({"created_from": 1}, ["b-wait"]),
        ({"created_to": 1}, ["a-done", "b-wait"]),
        ({"created_to": 0.5}, ["a-done"]),
        ({"created_from": 2}, []),
    ],
)
def test_instances_are_filtered(world: World, wanted: dict[str, Any], found: list[str]) -> None:
    began = world.clock.now
    world.start("doubles", instance_id="a-done", input="1")
    world.settle()
    world.clock.move(hours=1)
    world.start("waits", instance_id="b-wait")
    world.settle()
    for key in {"created_from", "created_to"} & wanted.keys():
        wanted = {**wanted, key: began + timedelta(hours=wanted[key])}
    page, _ = world.engine.query(**wanted)
    assert [entry["instanceId"] for entry in page] == found


def test_a_turn_whose_commit_is_lost_is_taken_again(world: World) -> None:
    world.start("doubles", input="1")
    before = world.show(show_history=True)
    world.engine.run(Turn("one"))
    assert world.show(show_history=True) == before
    assert world.engine.ready() == [Turn("one")]
    assert world.finish()["output"] == 2


def test_an_activity_whose_result_is_lost_runs_again(world: World) -> None:
    world.start("doubles", input="1")
    world.turn()
    (unit,) = world.engine.ready()
    assert isinstance(unit, Activity)
    world.engine.run(unit)
    world.restart()
    assert world.engine.ready() == [unit]
    assert world.finish()["output"] == 2
    assert world.app.calls == [("double", 1)] * 2


def test_only_the_first_result_of_an_activity_counts(world: World) -> None:
    world.start("doubles", input="1")
    world.turn()
    (unit,) = world.engine.ready()
    first, second = world.engine.run(unit), world.engine.run(unit)
    assert world.engine.record(unit, second)
    assert not world.engine.record(unit, first)
    world.settle()
    assert not world.engine.execute(unit)
    assert len(world.app.calls) == 3
    assert world.kinds().count("TaskCompleted") == 1


def test_a_turn_that_was_overtaken_is_not_recorded(world: World) -> None:
    world.start("waits")
    stale = world.engine.run(Turn("one"))
    world.turn()
    assert not world.engine.record(Turn("one"), stale)
    world.engine.raise_event("one", "go", "1")
    late = world.engine.run(Turn("one"))
    world.settle()
    assert not world.engine.record(Turn("one"), late)
    world.start("waits")
    assert not world.engine.record(Turn("one"), stale)


def test_messages_that_come_during_a_turn_wait_for_the_next(world: World) -> None:
    world.start("waits")
    outcome = world.engine.run(Turn("one"))
    world.engine.raise_event("one", "go", "5")
    assert world.engine.record(Turn("one"), outcome)
    assert world.engine.ready() == [Turn("one")]
    assert world.finish()["output"] == 5


def test_a_turn_can_be_made_to_take_one_message_at_a_time(world: World) -> None:
    world.start("waits")
    for value in ("1", "2"):
        world.engine.raise_event("one", "go", value)
    assert world.engine.execute(Turn("one", limit=1))
    assert world.kinds() == ["ExecutionStarted"]
    assert world.finish()["output"] == 1


def test_due_timers_are_units_of_their_own(world: World) -> None:
    @world.app.orchestration
    def naps(context: Context) -> Steps:
        yield context.create_timer(context.current_utc_datetime + timedelta(seconds=5))

    world.start(naps)
    world.settle()
    assert world.engine.next_timer() == world.clock.now + timedelta(seconds=5)
    world.clock.move(seconds=5)
    (unit,) = world.engine.ready()
    assert isinstance(unit, Timer)
    assert world.engine.execute(unit)
    assert not world.engine.execute(unit)
    assert world.engine.ready() == [Turn("one")]


def test_a_restart_anywhere_changes_nothing(world: World) -> None:
    @world.app.orchestration
    def story(context: Context) -> Steps:
        numbers = [context.call_activity("double", n) for n in range(3)]
        doubled = yield context.task_all(numbers)
        yield context.create_timer(context.current_utc_datetime + timedelta(hours=1))
        answer = yield context.call_sub_orchestrator("doubles", sum(doubled))
        return [answer, (yield context.wait_for_external_event("go"))]

    world.start(story)
    world.engine.raise_event("one", "go", '"yes"')
    while not (summary := world.journal.summary("one")) or not summary.finished:
        ready = world.restart().ready()
        if not ready:
            fires = world.engine.next_timer()
            assert fires is not None
            world.clock.now = fires
        for unit in ready[:1]:
            world.engine.execute(unit)
    assert world.show()["output"] == [12, "yes"]
    assert [call for call in world.app.calls if call == ("double", 6)] == [("double", 6)]


def test_the_same_choices_give_the_same_history() -> None:
    def run() -> list[str]:
        world = World(MemoryJournal())
        register(world)
        world.start("parent")
        world.settle()
        world.engine.raise_event("child", "go", json.dumps("x"))
        world.finish()
        return [event.text for key in ("one", "child") for event in world.journal.history(key)]

    assert run() == run()


def test_an_engine_has_a_clock_and_ids_of_its_own(world: World) -> None:
    engine = Engine(world.app, MemoryJournal())
    first, second = (engine.start("doubles", None, "1") for _ in range(2))
    assert first != second
