"""A host that runs the stories on one of the engines, as its callers see it."""

from __future__ import annotations

import json
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import urllib3

from local import engines
from local.process import Component, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STORIES = Path(__file__).with_name("stories.py")
KEYS = {
    f"LOCAL_{name.upper()}_KEY": f"{name}-key-of-the-tests"
    for name in ("function", "master", "system")
}
RUNNING = {"Pending", "Running", "ContinuedAsNew"}
TIMEOUT = 60  # seconds; on Azure Storage a message may lie for some


class Engine:
    """The durable HTTP API, with the system key."""

    def __init__(self, name: str, host: Component) -> None:
        self.name = name
        self.host = host
        self._http = urllib3.PoolManager(retries=False, timeout=60)

    def call(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """`body` is sent as JSON; bytes as they are, None not at all."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        return self._http.request(
            method,
            f"{self.host.url}/runtime/webhooks/durabletask/{path}",
            body=data,
            headers={
                "x-functions-key": KEYS["LOCAL_SYSTEM_KEY"],
                "Content-Type": "application/json",
                **headers,
            },
        )

    def client(self, method: str, *arguments: Any) -> Any:
        """What a method of the SDK's client returns. Raises `RuntimeError` with its error."""
        answer = self._http.request(
            "POST",
            f"{self.host.url}/api/client/{method}",
            json=arguments,
            headers={"x-functions-key": KEYS["LOCAL_FUNCTION_KEY"]},
        )
        assert answer.status == 200, answer.data
        found = answer.json()
        if "error" in found:
            raise RuntimeError(found["error"])
        return found["result"]

    def start(self, story: str, given: Any = None, instance: str | None = None) -> str:
        """As the app does: through the SDK's client."""
        return str(self.client("start_new", story, instance or new_id(story), given))

    def status(self, instance: str, query: str = "") -> dict[str, Any]:
        answer = self.call("GET", f"instances/{instance}{query}")
        assert answer.status in {200, 202}, (answer.status, answer.data)
        return dict(answer.json())

    def until(self, instance: str, holds: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        wait_until(lambda: holds(self.status(instance)), TIMEOUT, f"what {instance} waits for")
        return self.status(instance)

    def running(self, instance: str) -> dict[str, Any]:
        return self.until(instance, lambda found: found["runtimeStatus"] == "Running")

    def ended(self, instance: str) -> dict[str, Any]:
        return self.until(instance, lambda found: found["runtimeStatus"] not in RUNNING)

    def output(self, story: str, given: Any = None) -> Any:
        found = self.ended(self.start(story, given))
        assert found["runtimeStatus"] == "Completed", found
        return found["output"]

    def send(self, instance: str, event: str, data: Any = None) -> int:
        """The status of the answer. As the SDK's client sends it: JSON within JSON."""
        return self.call(
            "POST", f"instances/{instance}/raiseEvent/{event}", json.dumps(data)
        ).status

    def deliver(
        self, body: Any, function: str = "on_event", kind: str | None = "Notification"
    ) -> int:
        """The status of the Event Grid webhook's answer; `kind` is the header aeg-event-type."""
        answer = self._http.request(
            "POST",
            f"{self.host.url}/runtime/webhooks/eventgrid?functionName={function}",
            body=body if isinstance(body, bytes) else json.dumps(body).encode(),
            headers={
                "x-functions-key": KEYS["LOCAL_SYSTEM_KEY"],
                "Content-Type": "application/json",
                **({"aeg-event-type": kind} if kind else {}),
            },
        )
        return answer.status

    def handled(self, instance: str, event: str, times: int) -> None:
        """Waits until so many events of that name are in the history."""

        def arrived() -> bool:
            entries = self.status(instance, "?showHistory=true").get("historyEvents", [])
            found = [e for e in entries if e["EventType"] == "EventRaised" and e["Name"] == event]
            return len(found) >= times

        wait_until(arrived, TIMEOUT, f"{times} events {event} of {instance}")


def new_id(story: str) -> str:
    return f"{story}-{uuid.uuid4().hex[:8]}"


@contextmanager
def running(engine: str, folder: Path, version: str | None = None) -> Iterator[Engine]:
    """A host on that engine. `version`: host.json's defaultVersion. A second one in the same
    folder goes on with what the first has left."""
    engines.demand(engine)
    folder.mkdir(exist_ok=True)
    durable: dict[str, Any] = {
        "storageProvider": {
            "maxQueuePollingInterval": "00:00:01",
            "workItemQueueVisibilityTimeout": "00:01:00",
        }
    }
    if version is not None:
        durable["defaultVersion"] = version
    host_file = folder / "host.json"
    host_file.write_text(json.dumps({"extensions": {"durableTask": durable}}), encoding="utf-8")
    with ExitStack() as stack:
        where = ("--journal", str(folder / "journal"))
        if engine == engines.AZURE:
            where = ("--storage", str(stack.enter_context(storage(folder)).facts["connectionFile"]))
        host = Component.module(
            "host",
            *("--app", str(STORIES), "--host-file", str(host_file), *where),
            *("--port", str(free_port()), "--timers", "off"),
            log=folder / "host.log",
            env=KEYS,
        )
        engines.be_patient(host, engine)
        yield Engine(engine, stack.enter_context(host))


def storage(folder: Path) -> Component:
    ports = [str(free_port()) for _ in range(3)]
    return Component.module(
        "durable.storage",
        *("--state", str(folder / "storage")),
        *("--port", ports[0], "--queue-port", ports[1], "--table-port", ports[2]),
        log=folder / "storage.log",
    )
