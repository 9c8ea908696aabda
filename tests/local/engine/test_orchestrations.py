# ruff: noqa: BLE001 - for a failed task the SDK raises a plain Exception
"""What orchestrators see, with the SDK doing its own replay."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from azure.durable_functions import EntityId, RetryOptions

from local.engine import Turn
from tests.local.engine.support import sdk_warnings

if TYPE_CHECKING:
    from tests.local.engine.support import Context, Steps, World

pytestmark = sdk_warnings


@pytest.fixture(autouse=True)
def steps(world: World) -> None:
    @world.app.step
    def double(n: int) -> int:
        return 2 * n

    @world.app.step
    def boom(why: str) -> None:
        raise ValueError(why)


def test_activities_run_one_after_the_other(world: World) -> None:
    @world.app.orchestration
    def chain(context: Context) -> Steps:
        first = yield context.call_activity("double", context.get_input())
        second = yield context.call_activity("double", first)
        return {"first": first, "second": second}

    world.start(chain, input="5")
    assert world.finish() == {
        "name": "chain",
        "instanceId": "one",
        "runtimeStatus": "Completed",
        "input": 5,
        "customStatus": None,
        "output": {"first": 10, "second": 20},
        "createdTime": "2027-03-01T12:00:00Z",
        "lastUpdatedTime": "2027-03-01T12:00:00Z",
    }
    assert world.app.calls == [("double", 5), ("double", 10)]


@pytest.mark.parametrize("value", ["text", "", 0, None, True, [1, {"a": None}], {"ü": "\\\"'"}])
def test_values_cross_unchanged(world: World, value: Any) -> None:
    @world.app.step
    def same(given: Any) -> Any:
        return given

    @world.app.orchestration
    def child(context: Context) -> Steps:
        return (yield context.call_activity("same", context.get_input()))

    @world.app.orchestration
    def parent(context: Context) -> Steps:
        return [(yield context.call_sub_orchestrator("child", context.get_input()))]

    world.start(parent, input=json.dumps(json.dumps(value)))
    assert world.finish()["output"] == [value]


def test_an_activity_that_raises_reaches_the_orchestrator_as_an_exception(world: World) -> None:
    @world.app.orchestration
    def catches(context: Context) -> Steps:
        try:
            yield context.call_activity("boom", "no disk")
        except Exception as error:
            return str(error)

    world.start(catches)
    output = world.finish()["output"]
    assert output.startswith("Activity function 'boom' failed:  ValueError: no disk \n {")
    assert "ValueError: no disk" in output


def test_an_unknown_activity_waits_until_the_app_has_it(world: World) -> None:
    @world.app.orchestration
    def mistyped(context: Context) -> Steps:
        return (yield context.call_activity("dubble", 1))

    world.start(mistyped)
    world.settle()
    assert world.show()["runtimeStatus"] == "Running"
    world.app.activities["dubble"] = lambda n: 2 * n
    assert world.finish()["output"] == 2


def test_a_failing_orchestrator_ends_as_failed_with_its_message(world: World) -> None:
    @world.app.orchestration
    def fails(context: Context) -> Steps:
        context.set_custom_status("about to fail")
        yield context.call_activity("double", 1)
        raise RuntimeError("the plan is wrong")

    world.start(fails)
    ended = world.finish()
    assert ended["runtimeStatus"] == "Failed"
    assert ended["output"] == "Orchestrator function 'fails' failed: the plan is wrong"
    assert ended["customStatus"] == "about to fail"


def test_a_function_that_fails_without_telling_its_state_fails_its_instance(world: World) -> None:
    @world.app.orchestration
    def breaks(context: Context) -> Steps:
        yield context.call_activity("double", 1)

    def crash(_: str) -> str:
        raise RuntimeError("the worker is out of memory")

    world.start(breaks)
    world.turn()
    world.app.orchestrators["breaks"] = crash
    ended = world.finish()
    assert ended["runtimeStatus"] == "Failed"
    assert ended["output"].endswith("failed: RuntimeError: the worker is out of memory")


def test_an_orchestrator_that_is_no_generator_completes(world: World) -> None:
    def plain(context: Context) -> Any:
        return [context.instance_id]

    world.app.orchestration(plain)
    world.start(plain)
    assert world.finish()["output"] == ["one"]


def test_fan_out_waits_for_all_and_keeps_their_order(world: World) -> None:
    @world.app.orchestration
    def fan(context: Context) -> Steps:
        return (yield context.task_all([context.call_activity("double", n) for n in range(20)]))

    world.start(fan)
    world.turn()
    for unit in reversed(world.engine.ready()):
        world.engine.execute(unit)
    assert world.finish()["output"] == [2 * n for n in range(20)]


def test_after_a_failed_branch_the_next_step_waits_for_its_siblings(world: World) -> None:
    @world.app.orchestration
    def goes_on(context: Context) -> Steps:
        tasks = [context.call_activity("boom", "first"), context.call_activity("double", 1)]
        try:
            yield context.task_all(tasks)
        except Exception:
            return (yield context.call_activity("double", 4))

    world.start(goes_on)
    world.turn()
    world.work("boom")
    world.turn()
    assert [unit.input for unit in world.engine.ready()] == ["1"]  # type: ignore[union-attr]  # activities
    assert world.finish()["output"] == 8


def test_the_first_of_several_wins(world: World) -> None:
    @world.app.orchestration
    def race(context: Context) -> Steps:
        event = context.wait_for_external_event("decision")
        timer = context.create_timer(context.current_utc_datetime + timedelta(hours=1))
        winner = yield context.task_any([event, timer])
        if winner == event:
            timer.cancel()
            return event.result
        return "overdue"

    world.start(race)
    world.settle()
    world.engine.raise_event("one", "decision", '{"approved": true}')
    world.settle()
    assert world.show()["output"] == {"approved": True}

    world.start(race)
    world.clock.move(hours=1)
    assert world.finish()["output"] == "overdue"


def test_an_uncancelled_timer_keeps_the_instance_running(world: World) -> None:
    @world.app.orchestration
    def careless(context: Context) -> Steps:
        timer = context.create_timer(context.current_utc_datetime + timedelta(days=1))
        yield context.task_any([context.call_activity("double", 2), timer])
        return "done"

    world.start(careless)
    world.settle()
    assert world.show()["runtimeStatus"] == "Running"
    world.clock.move(hours=23)
    world.settle()
    assert world.show()["runtimeStatus"] == "Running"
    world.clock.move(hours=1)
    world.settle()
    assert world.show()["runtimeStatus"] == "Completed"
    assert world.show()["output"] == "done"


def test_a_failure_too_waits_for_an_uncancelled_timer(world: World) -> None:
    @world.app.orchestration
    def careless(context: Context) -> Steps:
        timer = context.create_timer(context.current_utc_datetime + timedelta(days=1))
        yield context.task_any([context.call_activity("double", 2), timer])
        raise RuntimeError("late")

    world.start(careless)
    world.settle()
    assert world.show()["runtimeStatus"] == "Running"
    assert world.finish()["runtimeStatus"] == "Failed"


def test_a_timer_fires_at_its_time_and_not_before(world: World) -> None:
    @world.app.orchestration
    def naps(context: Context) -> Steps:
        before = context.current_utc_datetime
        yield context.create_timer(before + timedelta(minutes=5))
        return (context.current_utc_datetime - before).total_seconds()

    world.start(naps)
    world.settle()
    world.clock.move(minutes=4.99)
    assert world.engine.ready() == []
    assert world.finish()["output"] == 300


def test_a_timer_of_the_past_fires_at_once(world: World) -> None:
    @world.app.orchestration
    def late(context: Context) -> Steps:
        yield context.create_timer(context.current_utc_datetime - timedelta(minutes=5))
        return "fired"

    world.start(late)
    world.settle()
    assert world.show()["output"] == "fired"


def test_an_event_raised_before_its_wait_is_kept(world: World) -> None:
    @world.app.orchestration
    def slow(context: Context) -> Steps:
        yield context.call_activity("double", 1)
        return (yield context.wait_for_external_event("go"))

    world.start(slow)
    world.engine.raise_event("one", "go", '"early"')
    assert world.finish()["output"] == "early"


def test_events_between_turns_arrive_in_their_order(world: World) -> None:
    @world.app.orchestration
    def collects(context: Context) -> Steps:
        heard = []
        for _ in range(3):
            heard.append((yield context.wait_for_external_event("word")))  # noqa: PERF401 - yields
        return heard

    world.start(collects)
    world.settle()
    for word in ("a", "b", "b"):
        world.engine.raise_event("one", "word", json.dumps(word))
        world.settle()
    assert world.show()["output"] == ["a", "b", "b"]


def test_duplicate_and_foreign_events_do_no_harm(world: World) -> None:
    @world.app.orchestration
    def listens(context: Context) -> Steps:
        decision = yield context.wait_for_external_event("decision")
        doubled = yield context.call_activity("double", decision)
        rest = yield context.wait_for_external_event("end")
        return [doubled, rest]

    world.start(listens)
    world.settle()
    for event in ("decision", "other", "decision", "decision"):
        world.engine.raise_event("one", event, "21")
    world.settle()
    assert world.show()["runtimeStatus"] == "Running"
    world.engine.raise_event("one", "end", "null")
    assert world.finish()["output"] == [42, None]


def test_one_pending_event_serves_successive_races(world: World) -> None:
    @world.app.orchestration
    def reminded(context: Context) -> Steps:
        event = context.wait_for_external_event("decision")
        for reminders in range(5):
            timer = context.create_timer(context.current_utc_datetime + timedelta(days=1))
            if (yield context.task_any([event, timer])) == event:
                timer.cancel()
                after = yield context.call_activity("double", reminders)
                return [event.result, after]
        return "overdue"

    world.start(reminded)
    for _ in range(2):
        world.settle()
        world.clock.move(days=1)
    world.settle()
    world.engine.raise_event("one", "decision", '"yes"')
    world.settle()
    assert world.show()["output"] == ["yes", 4]


def test_the_latest_of_several_waits_gets_the_event(world: World) -> None:
    @world.app.orchestration
    def waits_anew(context: Context) -> Steps:
        timer = context.create_timer(context.current_utc_datetime + timedelta(days=1))
        yield context.task_any([context.wait_for_external_event("decision"), timer])
        decision = yield context.wait_for_external_event("decision")
        return [decision, (yield context.call_activity("double", 1))]

    world.start(waits_anew)
    world.settle()
    world.clock.move(days=1)
    world.settle()
    world.engine.raise_event("one", "decision", '"yes"')
    world.settle()
    assert world.show()["output"] == ["yes", 2]


def test_a_sub_orchestration_answers_its_parent(world: World) -> None:
    @world.app.orchestration
    def child(context: Context) -> Steps:
        doubled = yield context.call_activity("double", context.get_input())
        return [context.instance_id, context.parent_instance_id, doubled]

    @world.app.orchestration
    def parent(context: Context) -> Steps:
        named = context.call_sub_orchestrator("child", 1, instance_id="child-one")
        unnamed = context.call_sub_orchestrator("child", 2)
        return (yield context.task_all([named, unnamed]))

    world.start(parent)
    execution = world.journal.summary("one").execution  # type: ignore[union-attr]  # just started
    assert world.finish()["output"] == [
        ["child-one", "one", 2],
        [f"{execution}:1", "one", 4],
    ]
    assert world.show("child-one")["runtimeStatus"] == "Completed"


def test_a_failed_sub_orchestration_is_an_exception(world: World) -> None:
    @world.app.orchestration
    def child(context: Context) -> Steps:
        yield context.call_activity("boom", "deep inside")

    @world.app.orchestration
    def parent(context: Context) -> Steps:
        try:
            yield context.call_sub_orchestrator("child", instance_id="child-one")
        except Exception as error:
            return str(error)

    world.start(parent)
    output = world.finish()["output"]
    assert output.startswith(
        "Orchestrator function 'child' failed: Activity function 'boom' failed:"
    )
    assert "ValueError: deep inside" in output
    assert world.show("child-one")["runtimeStatus"] == "Failed"


@pytest.mark.parametrize(
    ("name", "child_id", "reason"),
    [
        ("waits", "taken", "'taken' is already running"),
        ("waits", "one", "'one' is already running"),
        ("waits", "a/b", "must not contain"),
    ],
)
def test_a_sub_orchestration_that_cannot_start_fails_in_the_parent(
    world: World, name: str, child_id: str, reason: str
) -> None:
    @world.app.orchestration
    def waits(context: Context) -> Steps:
        yield context.wait_for_external_event("never")

    @world.app.orchestration
    def parent(context: Context) -> Steps:
        try:
            yield context.call_sub_orchestrator(name, instance_id=child_id)
        except Exception as error:
            return str(error)

    world.start(waits, instance_id="taken")
    world.start(parent)
    assert reason in world.finish()["output"]


def test_two_sub_orchestrations_cannot_share_an_id(world: World) -> None:
    @world.app.orchestration
    def child(context: Context) -> Steps:
        return (yield context.call_activity("double", context.get_input()))

    @world.app.orchestration
    def parent(context: Context) -> Steps:
        twins = [context.call_sub_orchestrator("child", n, instance_id="twin") for n in (1, 2)]
        try:
            yield context.task_all(twins)
        except Exception as error:
            return str(error)

    world.start(parent)
    assert "'twin' is already running" in world.finish()["output"]
    assert world.show("twin")["output"] == 2


def test_a_finished_instance_gives_its_id_to_a_sub_orchestration(world: World) -> None:
    @world.app.orchestration
    def child(context: Context) -> Steps:
        return (yield context.call_activity("double", context.get_input()))

    @world.app.orchestration
    def parent(context: Context) -> Steps:
        first = yield context.call_sub_orchestrator("child", 1, instance_id="again")
        second = yield context.call_sub_orchestrator("child", 2, instance_id="again")
        return [first, second]

    world.start(parent)
    assert world.finish()["output"] == [2, 4]
    assert world.show("again")["input"] == "2"


def test_continue_as_new_starts_over_with_an_empty_history(world: World) -> None:
    @world.app.orchestration
    def counts(context: Context) -> Steps:
        n = yield context.call_activity("double", context.get_input())
        if n < 100:
            context.continue_as_new(n)
            return None
        return n

    world.start(counts, input="3")
    assert world.finish()["output"] == 192
    assert world.kinds() == ["ExecutionStarted", "TaskCompleted", "ExecutionCompleted"]


def test_continue_as_new_keeps_events_it_has_not_seen(world: World) -> None:
    @world.app.orchestration
    def listens(context: Context) -> Steps:
        heard = context.get_input() or []
        heard.append((yield context.wait_for_external_event("word")))
        if len(heard) < 3:
            context.continue_as_new(heard)
            return None
        return heard

    world.start(listens)
    world.settle()
    for word in ("a", "b", "c"):
        world.engine.raise_event("one", "word", json.dumps(word))
    world.turn()
    assert world.show()["runtimeStatus"] == "ContinuedAsNew"
    assert world.finish()["output"] == ["a", "b", "c"]


def test_continue_as_new_keeps_events_that_come_while_it_decides(world: World) -> None:
    @world.app.orchestration
    def again(context: Context) -> Steps:
        yield context.call_activity("double", 1)
        if context.get_input() is None:
            context.continue_as_new("second")
            return None
        return (yield context.wait_for_external_event("go"))

    world.start(again)
    world.turn()
    world.work("double")
    deciding = world.engine.run(Turn("one"))
    world.engine.raise_event("one", "go", '"kept"')
    assert world.engine.record(Turn("one"), deciding)
    assert world.finish()["output"] == "kept"


def test_continue_as_new_leaves_no_timer_behind(world: World) -> None:
    @world.app.orchestration
    def again(context: Context) -> Steps:
        if context.get_input() == "second":
            return (yield context.wait_for_external_event("go"))
        timer = context.create_timer(context.current_utc_datetime + timedelta(days=1))
        yield context.task_any([context.call_activity("double", 1), timer])
        timer.cancel()
        context.continue_as_new("second")

    world.start(again)
    world.settle()
    assert world.show()["input"] == '"second"'
    assert world.engine.next_timer() is None


def test_custom_status_is_seen_while_running(world: World) -> None:
    @world.app.orchestration
    def tells(context: Context) -> Steps:
        context.set_custom_status({"stage": "verify"})
        yield context.wait_for_external_event("go")

    world.start(tells)
    assert world.show()["runtimeStatus"] == "Pending"
    world.settle()
    assert world.show()["runtimeStatus"] == "Running"
    assert world.show()["customStatus"] == {"stage": "verify"}


@pytest.mark.parametrize(("length", "status"), [(8190, "Completed"), (8191, "Failed")])
def test_a_custom_status_has_at_most_16_kilobytes(world: World, length: int, status: str) -> None:
    @world.app.orchestration
    def tells(context: Context) -> Steps:
        context.set_custom_status("ü" * length)
        yield context.call_activity("double", 1)

    world.start(tells)
    assert world.finish()["runtimeStatus"] == status


@pytest.mark.parametrize("failures", [0, 1, 2, 3])
def test_retries_wait_between_attempts_and_give_up(world: World, failures: int) -> None:
    left = [failures]

    @world.app.step
    def flaky(_: Any) -> str:
        if left[0]:
            left[0] -= 1
            raise OSError("try again")
        return "ok"

    @world.app.orchestration
    def retries(context: Context) -> Steps:
        options = RetryOptions(60_000, 3)
        began = context.current_utc_datetime
        try:
            result = yield context.call_activity_with_retry("flaky", options)
        except Exception as error:
            result = str(error).split(" \n")[0]
        after = yield context.call_activity("double", 1)
        return [result, (context.current_utc_datetime - began).total_seconds(), after]

    world.start(retries)
    given_up = "Activity function 'flaky' failed:  OSError: try again"
    expected = ["ok", 60 * failures, 2] if failures < 3 else [given_up, 120, 2]
    assert world.finish()["output"] == expected


def test_a_sub_orchestration_is_retried(world: World) -> None:
    left = [1]

    @world.app.step
    def flaky(_: Any) -> str:
        if left[0]:
            left[0] -= 1
            raise OSError("try again")
        return "ok"

    @world.app.orchestration
    def child(context: Context) -> Steps:
        return (yield context.call_activity("flaky"))

    @world.app.orchestration
    def parent(context: Context) -> Steps:
        options = RetryOptions(1000, 2)
        return (yield context.call_sub_orchestrator_with_retry("child", options))

    world.start(parent)
    assert world.finish()["output"] == "ok"


def test_a_changed_orchestrator_fails_instead_of_going_on(world: World) -> None:
    names = ["double"]

    @world.app.orchestration
    def changes(context: Context) -> Steps:
        yield context.call_activity(names[0], 1)
        return (yield context.call_activity("double", 2))

    world.start(changes)
    world.turn()
    names[0] = "boom"
    ended = world.finish()
    assert ended["runtimeStatus"] == "Failed"
    assert "history has activity double as task 0, the replay has activity boom" in ended["output"]


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda c: c.call_http("GET", "https://example.org"), "call_http"),
        (lambda c: c.call_entity(EntityId("counter", "a"), "add", 1), "durable entities"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(world: World, call: Any, what: str) -> None:
    @world.app.orchestration
    def asks(context: Context) -> Steps:
        yield call(context)

    world.start(asks)
    ended = world.finish()
    assert ended["runtimeStatus"] == "Failed"
    assert f"does not carry out {what}" in ended["output"]


def test_replaying_is_told_and_time_and_ids_are_stable(world: World) -> None:
    seen: list[tuple[int, str, str, bool]] = []

    @world.app.step
    def takes_a_second(_: Any) -> None:
        world.clock.move(seconds=1)

    @world.app.orchestration
    def notes(context: Context) -> Steps:
        for n in range(2):
            now = str(context.current_utc_datetime)
            seen.append((n, now, context.new_uuid(), context.is_replaying))
            yield context.call_activity("takes_a_second", n)

    world.start(notes)
    world.finish()
    assert [(n, replaying) for n, _, _, replaying in seen] == [
        (0, False),
        (0, True),
        (1, False),
        (0, True),
        (1, True),
    ]
    assert len({(n, now) for n, now, _, _ in seen}) == 2
    assert len({(n, uuid) for n, _, uuid, _ in seen}) == 2
