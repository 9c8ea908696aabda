"""Orchestrations by the real SDK, through its client and through the durable HTTP API."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from local.process import wait_until
from tests.local.host.support import FUNCTION_KEY, MASTER_KEY

if TYPE_CHECKING:
    from tests.local.host.support import Sample


def status(host: Sample, instance_id: str, query: str = "") -> dict[str, Any]:
    answer = host.durable("GET", f"instances/{instance_id}{query}")
    assert answer.status in {200, 202}
    return dict(answer.json())


def finished(host: Sample, instance_id: str) -> dict[str, Any]:
    def done() -> bool:
        return status(host, instance_id)["runtimeStatus"] not in {"Pending", "Running"}

    wait_until(done, 15, f"the end of {instance_id}")
    return status(host, instance_id)


def waiting(host: Sample, prefix: str = "ask") -> str:
    """The id of an orchestration that waits for a decision."""
    instance_id = f"{prefix}-{uuid.uuid4().hex[:8]}"
    assert host.durable("POST", f"orchestrators/asking/{instance_id}").status == 202
    stage = {"stage": "waiting"}
    wait_until(
        lambda: status(host, instance_id)["customStatus"] == stage, 15, f"the wait of {instance_id}"
    )
    return instance_id


def through_client(host: Sample, instance_id: str, method: str, *arguments: object) -> Any:
    call = {"method": method, "arguments": arguments}
    answer = host.call("POST", f"/api/inspect/{instance_id}", json=call)
    assert answer.status == 200
    return answer.json()


def test_client_starts_and_the_story_runs_to_its_end(host: Sample) -> None:
    answer = host.call("POST", "/api/start/gather", json={"numbers": [1, 2, 3]})
    assert answer.status == 202
    urls = answer.json()
    done = finished(host, urls["id"])
    assert done["runtimeStatus"] == "Completed"
    assert done["output"] == {"doubled": [2, 4, 6], "shouted": {"word": "DONE"}}
    assert done["name"] == "gather"
    seen = through_client(host, urls["id"], "get_status")
    assert (seen["runtimeStatus"], seen["output"]) == ("Completed", done["output"])


def test_management_urls_work_as_they_are_given(host: Sample) -> None:
    urls = host.call("POST", "/api/start/gather", json={"numbers": []}).json()
    finished(host, urls["id"])
    given = urlsplit(urls["statusQueryGetUri"])
    assert host.call("GET", f"{given.path}?{given.query}").status == 200
    given = urlsplit(urls["purgeHistoryDeleteUri"])
    assert host.call("DELETE", f"{given.path}?{given.query}").json() == {"instancesDeleted": 1}


def test_web_hook_starts_with_plain_json(host: Sample) -> None:
    answer = host.durable("POST", "orchestrators/gather", json={"numbers": [4]})
    assert (answer.status, answer.headers["Retry-After"]) == (202, "10")
    assert answer.headers["Location"] == answer.json()["statusQueryGetUri"]
    assert finished(host, answer.json()["id"])["output"]["doubled"] == [8]


def test_failed_activity_and_its_orchestration(host: Sample) -> None:
    instance_id = host.durable("POST", "orchestrators/failing").json()["id"]
    done = finished(host, instance_id)
    assert done["runtimeStatus"] == "Failed"
    assert "the activity exploded" in str(done["output"])
    query = "?returnInternalServerErrorOnFailure=true"
    assert host.durable("GET", f"instances/{instance_id}{query}").status == 500


def test_event_reaches_the_waiting_orchestration(host: Sample) -> None:
    instance_id = waiting(host)
    running = host.durable("GET", f"instances/{instance_id}")
    assert (running.status, running.headers["Retry-After"]) == (202, "5")
    path = f"instances/{instance_id}/raiseEvent/decision"
    assert host.durable("POST", path, json={"approve": True}).status == 202
    assert finished(host, instance_id)["output"] == {"approve": True}
    assert host.durable("POST", path, json={"approve": True}).status == 410


def test_event_of_the_client_arrives_encoded_twice(host: Sample) -> None:
    instance_id = waiting(host)
    through_client(host, instance_id, "raise_event", "decision", {"approve": True})
    output = finished(host, instance_id)["output"]
    assert json.loads(output) == {"approve": True}


def test_events_that_are_refused(host: Sample) -> None:
    instance_id = waiting(host)
    path = f"instances/{instance_id}/raiseEvent/decision"
    headers = {"Content-Type": "text/plain"}
    assert host.durable("POST", path, body=b"{}", headers=headers).status == 400
    headers = {"Content-Type": "application/json"}
    assert host.durable("POST", path, body=b"{", headers=headers).status == 400
    absent = host.durable("POST", "instances/absent/raiseEvent/decision", json=1)
    assert (absent.status, absent.data) == (404, b"")
    assert status(host, instance_id)["runtimeStatus"] == "Running"


def test_running_instance_cannot_be_started_again_or_purged(host: Sample) -> None:
    instance_id = waiting(host)
    again = host.durable("POST", f"orchestrators/asking/{instance_id}")
    assert again.status == 409
    assert host.durable("DELETE", f"instances/{instance_id}").status == 412
    path = f"/api/start/asking?id={instance_id}"
    assert "already exists" in host.call("POST", path, json={}).json()["error"]


def test_unknown_orchestrator_starts_and_fails(host: Sample) -> None:
    answer = host.call("POST", "/api/start/absent", json={})
    assert answer.status == 202
    found = finished(host, answer.json()["id"])
    assert found["runtimeStatus"] == "Failed"
    assert "'absent' doesn't exist" in found["output"]


@pytest.mark.parametrize("instance_id", ["a%23b", "a%3Fb", "x" * 101])
def test_instance_ids_that_the_platform_refuses(host: Sample, instance_id: str) -> None:
    assert host.durable("POST", f"orchestrators/asking/{instance_id}").status == 400


def test_terminate(host: Sample) -> None:
    instance_id = waiting(host)
    path = f"instances/{instance_id}/terminate"
    assert host.durable("POST", f"{path}?reason=enough").status == 202
    done = finished(host, instance_id)
    assert (done["runtimeStatus"], done["output"]) == ("Terminated", "enough")
    assert host.durable("POST", path).status == 410
    assert host.durable("POST", "instances/absent/terminate").status == 404


def test_suspend_and_resume_through_the_client(host: Sample) -> None:
    instance_id = waiting(host)
    through_client(host, instance_id, "suspend", "a break")
    suspended = "Suspended"
    wait_until(
        lambda: status(host, instance_id)["runtimeStatus"] == suspended, 15, "the suspension"
    )
    through_client(host, instance_id, "raise_event", "decision", "later")
    through_client(host, instance_id, "resume", "go on")
    # It stays suspended until the resumption is taken from the queue.
    wait_until(lambda: status(host, instance_id)["runtimeStatus"] != suspended, 15, "its going on")
    assert finished(host, instance_id)["runtimeStatus"] == "Completed"


def test_purge_through_the_client(host: Sample) -> None:
    instance_id = host.durable("POST", "orchestrators/gather", json={"numbers": []}).json()["id"]
    finished(host, instance_id)
    result = through_client(host, instance_id, "purge_instance_history")
    assert result == {"instances_deleted": 1}
    gone = host.durable("GET", f"instances/{instance_id}")
    assert (gone.status, gone.data) == (404, b"")
    assert host.durable("DELETE", f"instances/{instance_id}").status == 404


def test_list_filters_and_pages(host: Sample) -> None:
    prefix = f"page{uuid.uuid4().hex[:6]}"
    started = {waiting(host, prefix) for _ in range(3)}
    query = f"instances?instanceIdPrefix={prefix}&top=2"
    first = host.durable("GET", query)
    token = first.headers["x-ms-continuation-token"]
    second = host.durable("GET", query, headers={"x-ms-continuation-token": token})
    assert (len(first.json()), len(second.json())) == (2, 1)
    assert second.headers["x-ms-continuation-token"] == ""
    assert {item["instanceId"] for item in first.json() + second.json()} == started

    def count(condition: str) -> int:
        return len(host.durable("GET", f"instances/?instanceIdPrefix={prefix}&{condition}").json())

    assert count("runtimeStatus=Completed,Failed") == 0
    assert count("runtimeStatus=Completed&runtimeStatus=Running") == 3
    assert count("createdTimeFrom=2026-01-01T00:00:00Z") == 3
    assert count("createdTimeTo=2026-01-01T00:00:00.000000Z") == 0
    for instance_id in started:
        host.durable("POST", f"instances/{instance_id}/terminate")
        finished(host, instance_id)
    assert host.durable("DELETE", "instances?runtimeStatus=Terminated").status == 400
    purge = "instances?createdTimeFrom=2026-01-01T00:00:00Z&runtimeStatus=Terminated"
    assert host.durable("DELETE", purge).json()["instancesDeleted"] >= 3
    assert count("top=100") == 0


def test_input_and_history_are_shown_on_request(host: Sample) -> None:
    urls = host.durable("POST", "orchestrators/gather", json={"numbers": [1]}).json()
    assert finished(host, urls["id"])["input"] == {"numbers": [1]}
    assert status(host, urls["id"], "?showInput=false")["input"] is None
    events = status(host, urls["id"], "?showHistory=true&showHistoryOutput=true")["historyEvents"]
    assert "ExecutionStarted" in [event["EventType"] for event in events]
    assert any(event.get("Result") == 2 for event in events)


@pytest.mark.parametrize(
    ("key", "status"), [(None, 401), ("wrong", 401), (FUNCTION_KEY, 403), (MASTER_KEY, 200)]
)
def test_the_web_hook_needs_the_system_key(host: Sample, key: str | None, status: int) -> None:
    path = "/runtime/webhooks/durabletask/instances"
    assert host.call("GET", path, key=key).status == status


def test_what_the_engine_does_not_do_says_so(host: Sample) -> None:
    instance_id = waiting(host)
    for path in (f"instances/{instance_id}/rewind", "entities/counter/one"):
        answer = host.durable("POST", path)
        assert answer.status == 501
        assert "does not support" in answer.json()["Message"]
