"""What an orchestrator costs: a turn by the length of its history, and what a rotation leaves."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from bench.screen import say
from function_app import app
from local.engine import Engine, MemoryJournal, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local.stack import Stack

    # What the SDK makes of a function: an orchestrator's takes a turn's JSON text.
    Callables = Mapping[str, Callable[..., str]]

DONE = {"done": True, "observed": "nothing left"}
EVIDENCE = {"at": "2026-01-01T00:00:00Z", "complete": True, "passed": True}
EVIDENCE |= {"stillInUse": [], "problems": []}
ROTATION = "rotation"  # the orchestrator that is one rotation
WEBHOOK = "/runtime/webhooks/durabletask"
NAMES = {"rotation": "r-1", "credential": "orders-db"}
REQUEST = {
    **NAMES,
    "origin": "manual",
    "requestedBy": "benchmark@contoso.example",
    "reason": "measured",
}


class Scripted:
    """The app's orchestrators over activities that answer what a healthy world does; notes each
    turn of the rotation."""

    def __init__(self, functions: Callables, workloads: int) -> None:
        self.turns: list[tuple[int, float]] = []  # events in the history, seconds of processor time
        self._functions = functions
        self._workloads = [f"workload-{number}" for number in range(workloads)]

    def known(self, kind: Literal["orchestrator", "activity"], name: str) -> bool:  # noqa: ARG002 - the protocol's names
        return name in self._functions

    def orchestrator(self, name: str, context: str) -> str:
        began = time.thread_time()  # what others do on this machine does not count
        answer = self._functions[name](context)
        seconds = time.thread_time() - began
        if name == ROTATION:
            self.turns.append((len(json.loads(context)["history"]), seconds))
        return answer

    def activity(self, name: str, input: str, instance_id: str) -> str:  # noqa: A002, ARG002 - the protocol's names
        answers = {
            "plan": self._plan(),
            "stage": {"version": "v2"},
            "activate": {"version": "v2"},
            "evidence": EVIDENCE,
        }
        return json.dumps(json.dumps(answers.get(name, DONE)))

    def _plan(self) -> dict[str, Any]:
        approval = {"remind": 3600.0, "deadline": 86400.0, "onDeadline": "keep"}
        return {
            "active": "blue",
            "policy": {
                "forward": {"transient": 600.0},
                "undo": {"transient": 3600.0, "refusals": 120.0},
                "drain": 60.0,
                "workloads": {name: {"ready": 60.0, "drain": 60.0} for name in self._workloads},
                "approval": {**approval, "soak": None, "fourEyes": False},
            },
        }


def turns(sizes: tuple[int, ...]) -> dict[str, Any]:
    """The last turn of a rotation by its number of workloads, and the cost of an event."""
    say(f"replaying rotations with up to {max(sizes)} workloads")
    functions = {one.get_function_name(): one.get_user_function() for one in app.get_functions()}
    played = {size: _played(functions, size) for size in sizes}
    points = [point for found in played.values() for point in found]
    base, slope = fit(points)
    return {
        "rotations": [
            {
                "workloads": size,
                "events": found[-1][0],
                "last_ms": round(found[-1][1] * 1e3, 1),
            }
            for size, found in played.items()
        ],
        "turn_ms": round(base * 1e3, 2),
        "event_us": round(slope * 1e6, 1),
    }


def _played(functions: Callables, workloads: int) -> list[tuple[int, float]]:
    """Turns of one rotation, from its start to its end. Raises `RuntimeError`."""
    scripted = Scripted(functions, workloads)
    engine = Engine(scripted, MemoryJournal())
    engine.start("credential", NAMES["credential"], json.dumps(REQUEST))
    _settle(engine)
    gate = ((_told(engine, "customStatus") or {}).get("approval") or {}).get("event")
    if not gate:
        raise RuntimeError(f"the scripted rotation asks for no approval: {_all(engine)}")
    decision = {
        "decision": "approve",
        "by": "ada@contoso.example",
        "channel": "http",
        "comment": "",
    }
    engine.raise_event(NAMES["rotation"], gate, json.dumps(decision))
    _settle(engine)
    if (_told(engine, "output") or {}).get("outcome") != "completed":
        raise RuntimeError(f"the scripted rotation did not complete: {_all(engine)}")
    return scripted.turns


def _told(engine: Engine, part: str) -> Any:
    return (engine.status(NAMES["rotation"]) or {}).get(part)


def _all(engine: Engine) -> str:
    """The statuses of the credential's orchestration and of its rotation, as text."""
    return json.dumps({key: engine.status(name) for key, name in NAMES.items()})


def _settle(engine: Engine) -> None:
    """The rotation's turns last: each then finds all that has ended meanwhile, as on a busy host.

    Turn by turn its cost would grow with the square of the workloads.
    """
    while ready := engine.ready():
        own = Turn(NAMES["rotation"])
        engine.execute(next((unit for unit in ready if unit != own), own))


def fit(points: list[tuple[int, float]]) -> tuple[float, float]:
    """The line through the points by least squares: its value at zero, and its growth for each
    unit."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    return mean_y - slope * mean_x, slope


def left_behind(stack: Stack, rotation: str) -> dict[str, Any]:
    """What one finished rotation leaves: its instances, and the sizes of what is stored, in
    bytes."""
    parts = [rotation, *_parts(stack, rotation)]
    shown = {part: _shown(stack, part) for part in parts}
    histories = {part: found["historyEvents"] for part, found in shown.items()}
    return {
        "instances": len(parts),
        "events": len(histories[rotation]),
        "events_in_all": sum(len(events) for events in histories.values()),
        "history": sum(len(json.dumps(events)) for events in histories.values()),
        "custom_status": len(json.dumps(shown[rotation]["customStatus"])),
        "output": len(json.dumps(shown[rotation]["output"])),
    }


def _parts(stack: Stack, rotation: str) -> list[str]:
    """The ids of a rotation's sub-orchestrations, which are named after it."""
    path = f"{WEBHOOK}/instances?instanceIdPrefix={quote(rotation)}.&{_code(stack)}"
    return [found["instanceId"] for found in stack.client.request("GET", path).json]


def _shown(stack: Stack, instance: str) -> dict[str, Any]:
    show = "showInput=true&showHistory=true&showHistoryOutput=true"
    path = f"{WEBHOOK}/instances/{quote(instance)}?{show}&{_code(stack)}"
    found: dict[str, Any] = stack.client.request("GET", path).json
    return found


def _code(stack: Stack) -> str:
    return f"code={quote(stack.keys['system'], safe='')}"


def listing(stack: Stack, *, counts: tuple[int, ...]) -> dict[str, Any]:
    """Milliseconds of GET /api/rotations, best of ten, by the number of rotations it lists."""
    found: dict[str, Any] = {}
    for count in counts:
        say(f"listing {count} rotations")
        _record(stack, count - len(stack.client.rotations()))
        found[str(count)] = round(min(_timed_listing(stack, count) for _ in range(10)) * 1e3, 1)
    return found


def _record(stack: Stack, missing: int) -> None:
    """Adds rotations of a credential that is not configured: `plan` refuses each at once."""
    began = time.time_ns()
    names = [f"listed-{began}-{number}" for number in range(missing)]
    for name in names:
        body = {**REQUEST, "rotation": name, "credential": "listed"}
        path = f"{WEBHOOK}/orchestrators/{ROTATION}/{name}?{_code(stack)}"
        answer = stack.client.request("POST", path, body)
        if answer.status != 202:
            raise RuntimeError(f"rotation {name} was not started: HTTP {answer.status}")
    for name in names:
        stack.client.follow(name, lambda record: record["outcome"], timeout=60)


def _timed_listing(stack: Stack, count: int) -> float:
    began = time.perf_counter()
    listed = len(stack.client.rotations())
    seconds = time.perf_counter() - began
    if listed < count:
        raise RuntimeError(f"{listed} rotations are listed of {count}")
    return seconds
