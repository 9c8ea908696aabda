"""What every durable engine under the app has to do: `--engine azure` runs these on Microsoft's.

Each difference that was found between the two is a test here; where the engine of our own is the
stricter one on purpose, the test says so.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local import engines
from local.process import wait_until
from tests.engine.support import TIMEOUT, new_id, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.support import Engine

pytestmark = pytest.mark.timeout(240)
EARLY = 1.0  # seconds by which a timer may fire before its time, on Azure Storage


class TestValues:
    @pytest.mark.parametrize("value", ["text", "", 0, None, True, [1, {"a": None}], {"ü": "\\\"'"}])
    def test_values_cross_unchanged(self, engine: Engine, value: Any) -> None:
        assert engine.output("echo", value) == value

    def test_an_input_is_shown_as_the_text_that_the_sdk_sent(self, engine: Engine) -> None:
        found = engine.ended(engine.start("echo", {"a": [1, None]}))
        assert found["input"] == json.dumps({"a": [1, None]})

    def test_an_input_that_came_as_an_object_is_shown_as_one(self, engine: Engine) -> None:
        instance = new_id("echo")
        assert engine.call("POST", f"orchestrators/echo/{instance}", {"a": 1}).status == 202
        found = engine.ended(instance)
        assert (found["input"], found["output"]) == ({"a": 1}, {"a": 1})

    def test_a_text_that_is_no_json_fails_its_orchestrator(self, engine: Engine) -> None:
        instance = new_id("echo")
        assert engine.call("POST", f"orchestrators/echo/{instance}", "plain text").status == 202
        found = engine.ended(instance)
        assert (found["runtimeStatus"], found["input"]) == ("Failed", "plain text")
        assert found["output"].startswith("Orchestrator function 'echo' failed: Expecting value")

    def test_a_body_that_is_no_json_is_refused(self, engine: Engine) -> None:
        assert engine.call("POST", "orchestrators/echo", b"no json").status == 400


class TestFanOut:
    def test_results_come_in_the_order_of_the_calls(self, engine: Engine) -> None:
        assert engine.output("fan_out", 12) == [2 * n for n in range(12)]

    def test_children_have_the_ids_that_they_were_given(self, engine: Engine) -> None:
        ids = [new_id("child"), new_id("child")]
        instance = engine.start("parent", {"children": [{"instance_id": name} for name in ids]})
        found = engine.ended(instance)["output"]["children"]
        assert [child[:2] for child in found] == [[name, instance] for name in ids]
        for name in ids:
            shown = engine.status(name)
            assert shown["parentInstanceId"] == instance
            assert shown["input"] == json.dumps("given")
        assert "parentInstanceId" not in engine.status(instance)

    def test_children_without_an_id_get_the_execution_and_their_number(
        self, engine: Engine
    ) -> None:
        found = engine.output("parent", {"children": [{}, {}]})["children"]
        (first, second) = (child[0] for child in found)
        assert first.removesuffix(":0") == second.removesuffix(":1") != first


class TestEvents:
    def test_late_and_empty_ones_are_heard_in_their_order(self, engine: Engine) -> None:
        instance, words = engine.start("collects", 3), ("a", None, "a")
        engine.running(instance)
        engine.send(instance, "go")
        engine.handled(instance, "go", 1)
        for number, word in enumerate(words, 1):
            assert engine.send(instance, "word", word) == 202
            engine.handled(instance, "word", number)
        assert engine.ended(instance)["output"] == [json.dumps(word) for word in words]

    def test_an_early_one_is_kept_and_the_sdk_hears_it_at_every_wait(self, engine: Engine) -> None:
        """A fault of the SDK's: it takes one wait of its own for each name."""
        instance = engine.start("collects", 2)
        engine.send(instance, "word", "early")
        engine.running(instance)
        engine.handled(instance, "word", 1)
        engine.send(instance, "go")
        engine.handled(instance, "go", 1)
        engine.send(instance, "word", "late")
        assert engine.ended(instance)["output"] == ['"early"', '"early"']

    def test_a_second_one_of_a_name_that_nobody_waits_for_does_no_harm(
        self, engine: Engine
    ) -> None:
        instance = engine.start("once")
        engine.running(instance)
        for _ in range(3):
            assert engine.call("POST", f"instances/{instance}/raiseEvent/word", 21).status == 202
        engine.handled(instance, "word", 3)
        engine.send(instance, "end")
        assert engine.ended(instance)["output"] == 42

    def test_names_compare_exactly(self, engine: Engine) -> None:
        instance = engine.start("collects", 0)
        engine.running(instance)
        assert engine.send(instance, "GO") == 202
        engine.handled(instance, "GO", 1)
        assert engine.status(instance)["runtimeStatus"] == "Running"
        engine.send(instance, "go")
        assert engine.ended(instance)["runtimeStatus"] == "Completed"

    def test_what_is_refused(self, engine: Engine) -> None:
        instance = engine.start("collects", 0)
        engine.running(instance)
        path = f"instances/{instance}/raiseEvent/go"
        plain = {"Content-Type": "text/plain"}
        assert engine.call("POST", path).status == 400
        assert engine.call("POST", path, b"{").status == 400
        assert engine.call("POST", path, b"{}", **plain).status == 400
        assert engine.call("POST", "instances/absent/raiseEvent/go", 1).status == 404
        engine.send(instance, "go")
        engine.ended(instance)
        assert engine.call("POST", path, 1).status == 410

    def test_those_that_are_not_heard_yet_survive_a_new_history(self, engine: Engine) -> None:
        instance = engine.start("again")
        for word in ("a", "b", "c"):
            engine.send(instance, "word", word)
        assert sorted(engine.ended(instance)["output"]) == ['"a"', '"b"', '"c"']


class TestTimers:
    def test_they_fire_one_after_the_other(self, engine: Engine) -> None:
        """On Azure Storage up to a second early: who needs the time looks at the clock again."""
        first, second = engine.output("naps", [1, 2])
        assert 1 - EARLY <= first < 20
        assert 2 - EARLY <= second < 20

    def test_a_cancelled_one_keeps_nobody(self, engine: Engine) -> None:
        instance = engine.start("race", {"seconds": 3600, "cancel": True})
        engine.running(instance)
        engine.send(instance, "word", 1)
        assert engine.ended(instance)["output"] == "1"

    def test_one_that_was_forgotten_keeps_its_instance_running(self, engine: Engine) -> None:
        instance = engine.start("race", {"seconds": 8, "cancel": False})
        engine.running(instance)
        engine.send(instance, "word", 1)
        engine.handled(instance, "word", 1)
        assert engine.status(instance)["runtimeStatus"] == "Running"
        assert engine.ended(instance)["output"] == "1"

    def test_nothing_cancels_one_of_more_than_six_days(self, engine: Engine) -> None:
        """Azure Storage lets it be made, and the instance stays Running for three days. The engine
        of our own refuses it, so that every test that runs a story there would tell."""
        instance = engine.start("race", {"seconds": 7 * 24 * 3600, "cancel": True})
        if engine.name == engines.LOCAL:
            found = engine.ended(instance)
            assert found["runtimeStatus"] == "Failed"
            assert "steps of a day" in found["output"]
            return
        engine.running(instance)
        engine.send(instance, "word", 1)
        engine.handled(instance, "word", 1)
        assert engine.status(instance)["runtimeStatus"] == "Running"
        engine.call("POST", f"instances/{instance}/terminate?reason=over")
        assert engine.ended(instance)["runtimeStatus"] == "Terminated"


class TestBesideAnEvent:
    """What the story of a rotation does while it can be cancelled: `rotation.story.hearing`."""

    def status(self, engine: Engine, instance: str, shown: str) -> None:
        engine.until(instance, lambda found: found["customStatus"] == shown)

    def children(self, engine: Engine, instance: str) -> list[str]:
        """Once they are under way: an instance that has not begun takes no event."""
        self.status(engine, instance, "children")
        names = [f"{instance}.{number}" for number in range(2)]
        for name in names:
            wait_until(lambda name=name: started(engine, name), TIMEOUT, f"{name} to begin")  # type: ignore[misc]
        return names

    def home(self, engine: Engine, instance: str) -> None:
        for name in self.children(engine, instance):
            engine.send(name, "go")

    def test_it_goes_on_where_nothing_comes(self, engine: Engine) -> None:
        instance = engine.start("listens", {"pause": 1})
        self.home(engine, instance)
        assert engine.ended(instance)["output"] == ["done", [[], []]]

    def test_what_does_not_count_holds_nothing_up(self, engine: Engine) -> None:
        instance = engine.start("listens", {"pause": 3})
        self.status(engine, instance, "pause")
        engine.send(instance, "cancel-1", "what")
        engine.handled(instance, "cancel-1", 1)
        self.children(engine, instance)
        engine.send(instance, "cancel-2", "what")
        engine.handled(instance, "cancel-2", 1)
        self.home(engine, instance)
        assert engine.ended(instance)["output"] == ["done", [[], []]]

    def test_it_stops_in_a_pause(self, engine: Engine) -> None:
        instance = engine.start("listens", {"pause": 3600})
        self.status(engine, instance, "pause")
        engine.send(instance, "cancel-1", "what")
        engine.handled(instance, "cancel-1", 1)
        engine.send(instance, "cancel-2", "stop")
        assert engine.ended(instance)["output"] == ["stopped", [], 42]

    @pytest.mark.parametrize("before", [0, 1])
    def test_it_stops_once_its_children_have_ended(self, engine: Engine, before: int) -> None:
        instance = engine.start("listens", {"pause": 0})
        self.children(engine, instance)
        for gate in range(1, before + 1):
            engine.send(instance, f"cancel-{gate}", "what")
            engine.handled(instance, f"cancel-{gate}", 1)
        engine.send(instance, f"cancel-{before + 1}", "stop")
        assert engine.ended(instance)["output"] == ["stopped", [[], []], 42]


class TestCustomStatus:
    def test_it_is_told_cleared_and_kept_at_the_end(self, engine: Engine) -> None:
        instance = engine.start("tells", ["a", None, {"b": 1}])
        for status in ("a", None, {"b": 1}):
            engine.until(instance, lambda found, s=status: found["customStatus"] == s)  # type: ignore[misc]
            engine.send(instance, "next")
        found = engine.ended(instance)
        assert (found["output"], found["customStatus"]) == ("told", {"b": 1})

    @pytest.mark.parametrize(("length", "status"), [(8000, "Completed"), (9000, "Failed")])
    def test_it_has_at_most_16_kilobytes(self, engine: Engine, length: int, status: str) -> None:
        """Of UTF-16. Azure Storage rounds down to whole kilobytes; ours counts bytes."""
        found = engine.ended(engine.start("tells_much", length))
        assert found["runtimeStatus"] == status
        if status == "Failed":
            assert "must not exceed 16 KB" in found["output"]


class TestControl:
    def test_terminate_leaves_children_alone(self, engine: Engine) -> None:
        child = new_id("collects")
        instance = engine.start("awaits_child", child)
        wait_until(lambda: started(engine, child), TIMEOUT, "the child's start")
        assert engine.call("POST", f"instances/{instance}/terminate?reason=enough").status == 202
        found = engine.ended(instance)
        assert (found["runtimeStatus"], found["output"]) == ("Terminated", "enough")
        assert engine.status(child)["runtimeStatus"] == "Running"
        assert engine.call("DELETE", f"instances/{instance}").status == 200
        assert engine.status(child)["runtimeStatus"] == "Running"
        engine.send(child, "go")
        assert engine.ended(child)["output"] == []

    def test_a_suspended_one_hears_after_it_is_resumed(self, engine: Engine) -> None:
        instance = engine.start("collects", 0)
        engine.running(instance)
        engine.call("POST", f"instances/{instance}/suspend?reason=pause")
        engine.until(instance, lambda found: found["runtimeStatus"] == "Suspended")
        assert engine.status(instance)["output"] == "pause"
        engine.send(instance, "go")
        assert engine.call("POST", f"orchestrators/collects/{instance}", "0").status == 409
        assert engine.call("DELETE", f"instances/{instance}").status == 412
        assert engine.status(instance)["runtimeStatus"] == "Suspended"
        engine.call("POST", f"instances/{instance}/resume?reason=on")
        engine.until(instance, lambda found: found["runtimeStatus"] == "Completed")

    def test_of_absent_and_of_finished_ones(self, engine: Engine) -> None:
        instance = engine.start("plain")
        engine.ended(instance)
        for action in ("terminate", "suspend", "resume"):
            assert engine.call("POST", f"instances/absent/{action}").status == 404
            assert engine.call("POST", f"instances/{instance}/{action}").status == 410

    def test_purge(self, engine: Engine) -> None:
        instance = engine.start("collects", 0)
        engine.running(instance)
        path = f"instances/{instance}"
        assert engine.call("DELETE", path).status == 412
        engine.send(instance, "go")
        engine.ended(instance)
        assert engine.call("DELETE", path).json() == {"instancesDeleted": 1}
        assert engine.call("DELETE", path).status == 404
        assert engine.call("GET", path).status == 404
        assert engine.client("get_status", instance) is None

    def test_a_finished_id_starts_anew_and_a_running_one_does_not(self, engine: Engine) -> None:
        instance = engine.start("collects", 0)
        engine.running(instance)
        assert engine.call("POST", f"orchestrators/echo/{instance}", "1").status == 409
        with pytest.raises(RuntimeError, match="already exists"):
            engine.start("echo", 1, instance)
        engine.send(instance, "go")
        engine.ended(instance)
        engine.start("echo", "second", instance)
        found = engine.until(
            instance, lambda f: (f["name"], f["runtimeStatus"]) == ("echo", "Completed")
        )
        assert found["output"] == "second"
        entries = engine.status(instance, "?showHistory=true")["historyEvents"]
        assert [entry["EventType"] for entry in entries].count("ExecutionStarted") == 1


def started(engine: Engine, instance: str) -> bool:
    answer = engine.call("GET", f"instances/{instance}")
    return answer.status == 202 and answer.json()["runtimeStatus"] == "Running"


class TestFailures:
    def test_a_step_that_raises_is_told_with_type_text_and_stack(self, engine: Engine) -> None:
        told = engine.output("catches", "no disk")
        assert told.startswith(
            "Activity function 'boom' failed:  ValueError: no disk \n {\"$type\":"
        )
        details = json.loads(told.partition("\n")[2])
        assert details["Message"] == " ValueError: no disk"
        assert "in boom" in details["InnerException"]["Message"]

    def test_an_orchestrator_that_raises(self, engine: Engine) -> None:
        found = engine.ended(engine.start("fails", "the plan is wrong"))
        assert found["runtimeStatus"] == "Failed"
        assert found["output"] == "Orchestrator function 'fails' failed: the plan is wrong"
        assert found["customStatus"] == "about to fail"

    def test_a_step_that_nobody_catches(self, engine: Engine) -> None:
        found = engine.ended(engine.start("fails_by_step", "no disk"))
        begin = (
            "Orchestrator function 'fails_by_step' failed: Activity function 'boom' failed:"
            "  ValueError: no disk"
        )
        assert found["output"].startswith(begin)

    def test_a_child_that_fails(self, engine: Engine) -> None:
        told = engine.output("catches_child", {"name": "fails", "input": "deep"})
        assert told.startswith("Orchestrator function 'fails' failed: deep \n Message: deep")

    def test_an_orchestrator_that_the_app_has_not(self, engine: Engine) -> None:
        found = engine.ended(engine.start("absent_story"))
        assert found["runtimeStatus"] == "Failed"
        begin = "Orchestrator function 'absent_story' failed: The function 'absent_story' doesn't"
        assert found["output"].startswith(begin)

    def test_a_child_that_the_app_has_not_keeps_its_parent_running(self, engine: Engine) -> None:
        child = new_id("child")
        given = {"name": "absent_story", "input": 1, "id": child}
        instance = engine.start("catches_child", given)
        engine.running(instance)
        assert engine.call("GET", f"instances/{child}").status == 404
        engine.call("POST", f"instances/{instance}/terminate?reason=over")
        assert engine.ended(instance)["runtimeStatus"] == "Terminated"

    def test_a_step_that_the_app_has_not_keeps_its_instance_running(self, engine: Engine) -> None:
        """Until a release has it: the turn is tried again and again."""
        instance = engine.start("misses_a_step")
        engine.running(instance)
        assert engine.output("echo", "others go on") == "others go on"
        assert engine.status(instance)["runtimeStatus"] == "Running"
        engine.call("POST", f"instances/{instance}/terminate?reason=over")
        assert engine.ended(instance)["runtimeStatus"] == "Terminated"


class TestQueries:
    def test_pages_and_filters(self, engine: Engine) -> None:
        prefix = new_id("page")
        ids = [engine.start("plain", n, f"{prefix}-{n}") for n in range(3)]
        for instance in ids:
            engine.ended(instance)
        first = engine.call("GET", f"instances?instanceIdPrefix={prefix}&top=2")
        token = {"x-ms-continuation-token": first.headers["x-ms-continuation-token"]}
        second = engine.call("GET", f"instances?instanceIdPrefix={prefix}&top=2", None, **token)
        assert (len(first.json()), len(second.json())) == (2, 1)
        assert not second.headers.get("x-ms-continuation-token")
        assert {found["instanceId"] for found in first.json() + second.json()} == set(ids)

        def count(condition: str) -> int:
            path = f"instances/?instanceIdPrefix={prefix}&{condition}"
            return len(engine.call("GET", path).json())

        assert count("runtimeStatus=Running,Failed") == 0
        assert count("runtimeStatus=Completed,Running") == 3
        assert count("createdTimeFrom=2020-01-01T00:00:00Z") == 3
        assert count("createdTimeTo=2020-01-01T00:00:00Z") == 0
        assert count("top=nonsense") == 3
        purge = "instances?createdTimeFrom=2020-01-01T00:00:00Z&runtimeStatus=Completed"
        assert engine.call("DELETE", purge).json()["instancesDeleted"] >= 3
        assert count("top=100") == 0

    def test_inputs_are_left_out_on_request(self, engine: Engine) -> None:
        instance = engine.start("plain", "given")
        engine.ended(instance)
        assert engine.status(instance, "?showInput=false")["input"] is None


class TestIds:
    """The engine of our own refuses what the Durable Task Scheduler does; Azure Storage takes all
    of these."""

    @pytest.mark.parametrize("given", ["a%23b", "a%3Fb", "a%5Cb", "x" * 101, "@x@y"])
    def test_what_no_id_may_be(self, engine: Engine, given: str) -> None:
        status = engine.call("POST", f"orchestrators/plain/{given}", "1").status
        assert status == (400 if engine.name == engines.LOCAL else 202)


class TestEventGrid:
    def test_one_function_call_for_each_event(self, engine: Engine) -> None:
        ids = [new_id("event"), new_id("event")]
        assert engine.deliver([event(name) for name in ids]) == 202
        for name in ids:
            assert engine.ended(name)["output"][3] == {"n": 1}

    def test_one_that_fails_fails_the_whole_delivery(self, engine: Engine) -> None:
        good = new_id("event")
        assert engine.deliver([event(good), event(new_id("event"), subject="fail")]) == 500
        engine.ended(good)

    @pytest.mark.parametrize(
        ("body", "function", "kind", "status"),
        [
            ([], "on_event", "Notification", 202),
            ([], "On_Event", "Notification", 404),
            ([], "absent", "Notification", 404),
            ([], "on_event", None, 400),
            (b"{", "on_event", "Notification", 500),
            (b"", "on_event", "Notification", 500),
            ([1], "on_event", "Notification", 500),
            ({"specversion": "1.0", "id": "1", "type": "t"}, "on_event", "Notification", 202),
            ([], "on_event", "Unsubscribe", 202),
            ([], "on_event", "Unknown", 400),
            (5, "on_event", "Notification", 500),
            ([], "on_event", "SubscriptionValidation", 500),
            (b"", "on_event", "SubscriptionValidation", 500),
        ],
    )
    def test_other_deliveries(
        self, engine: Engine, body: Any, function: str, kind: str | None, status: int
    ) -> None:
        assert engine.deliver(body, function, kind) == status


def event(identity: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": identity,
        "topic": "/subscriptions/0",
        "subject": "s",
        "eventType": "Microsoft.KeyVault.SecretNearExpiry",
        "eventTime": "2026-11-01T00:00:00Z",
        "data": {"n": 1},
        "dataVersion": "1",
        "metadataVersion": "1",
        **fields,
    }


class TestVersions:
    def test_an_instance_keeps_its_own_and_its_later_children_get_the_new_one(
        self,
        engine: Engine,
        tmp_path: Path,
    ) -> None:
        """Over a restart of the host with a newer default, as a release brings it."""
        with running(engine.name, tmp_path / "host", "1.0") as before:
            instance, renewed = before.start("starts_late"), before.start("again")
            assert before.running(instance)["version"] == "1.0"
            before.running(renewed)
        with running(engine.name, tmp_path / "host", "2.0") as after:
            after.send(instance, "word")
            found = after.ended(instance)
            assert (found["version"], found["output"]) == ("1.0", ["1.0", "2.0", "1.0"])
            for word in ("a", "b", "c"):
                after.send(renewed, "word", word)
            assert after.ended(renewed)["version"] == "1.0"
            assert after.ended(after.start("plain"))["version"] == "2.0"
            old = new_id("plain")
            after.call("POST", f"orchestrators/plain/{old}?version=1.0", "null")
            assert after.ended(old)["output"][2] == "1.0"
