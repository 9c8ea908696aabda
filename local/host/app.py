"""A function app as this host sees it: what the worker indexed, and whether it can run here."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from azure.functions.meta import Datum

HTTP = "httpTrigger"
EVENT_GRID = "eventGridTrigger"
TIMER = "timerTrigger"
ORCHESTRATION = "orchestrationTrigger"
ACTIVITY = "activityTrigger"
TRIGGERS = (HTTP, EVENT_GRID, TIMER, ORCHESTRATION, ACTIVITY)
CLIENT = "durableClient"

# The property with which a durable trigger may rename its function.
ALIASES = {ORCHESTRATION: "orchestration", ACTIVITY: "activity"}
DURABLE_KINDS = {"orchestrator": ORCHESTRATION, "activity": ACTIVITY}


class LoadError(Exception):
    """The app cannot run here; the message says which function and why."""


@dataclass(frozen=True)
class Indexed:
    """One function as a worker tells of it. `bindings` have the keys of function.json."""

    name: str
    id: str
    bindings: list[dict[str, Any]]
    retries: bool = False


class Runtime(Protocol):
    """What loads an app and calls its functions, as the platform's worker does."""

    def index(self, path: Path) -> list[Indexed]:
        """Raises `LoadError` for an app that the platform refuses."""

    def start(self) -> None:
        """Once, before the first call."""

    async def call(self, function: str, inputs: Mapping[str, Datum]) -> Datum | None:
        """By the function's id and its bindings' names; None for triggers without a response.
        Raises `engine.errors.FunctionFailed` for whatever the function raises."""

    def stop(self) -> None:
        """Waits for nothing."""


@dataclass(frozen=True)
class AppFunction:
    """One function. `trigger` has the keys of function.json: route, authLevel, schedule..."""

    name: str
    id: str
    kind: str
    trigger: Mapping[str, Any]
    clients: tuple[str, ...]

    @property
    def parameter(self) -> str:
        return str(self.trigger["name"])

    @property
    def durable_name(self) -> str:
        return str(self.trigger.get(ALIASES.get(self.kind, "")) or self.name)


class App:
    """The functions of one app, by name and by kind, and the runtime that calls them."""

    def __init__(self, functions: Iterable[AppFunction], runtime: Runtime) -> None:
        self.functions = {function.name: function for function in functions}
        self.runtime = runtime
        self._durable = {
            (f.kind, f.durable_name): f for f in self.functions.values() if f.kind in ALIASES
        }

    def of_kind(self, kind: str) -> list[AppFunction]:
        return [function for function in self.functions.values() if function.kind == kind]

    def durable(self, kind: Literal["orchestrator", "activity"], name: str) -> AppFunction | None:
        return self._durable.get((DURABLE_KINDS[kind], name))


def load(path: Path, runtime: Runtime | None = None) -> App:
    """Raises `LoadError`; the app's own exception is its cause, where the runtime tells it."""
    if not path.is_file() or path.suffix != ".py":
        raise LoadError(f"{path} is not a Python file")
    # The platform starts the worker in the app's folder, with that folder first on the path.
    sys.path.insert(0, str(path.resolve().parent))
    chosen = runtime or platform_runtime()
    return App([describe(indexed) for indexed in chosen.index(path)], chosen)


def platform_runtime() -> Runtime:
    """Microsoft's library from the Python on that it is published for, below it our own."""
    if sys.version_info >= (3, 13):
        from local.host.library import Library  # noqa: PLC0415 - not installed below 3.13

        return Library()
    from local.host.indexing import OwnRuntime  # noqa: PLC0415 - the other branch's twin

    return OwnRuntime()


def describe(indexed: Indexed) -> AppFunction:
    """Raises `LoadError` for what this host does not do."""
    name, bindings = indexed.name, indexed.bindings
    trigger = next((b for b in bindings if str(b["type"]).endswith("Trigger")), None)
    if trigger is None or trigger["type"] not in TRIGGERS:
        raise LoadError(
            f"{name}: trigger {trigger and trigger['type']} is not one of {', '.join(TRIGGERS)}"
        )
    if indexed.retries:
        raise LoadError(
            f"{name}: retry policies are not run by the local host; retry in the orchestrator"
        )
    clients = _client_parameters(name, bindings, trigger)
    return AppFunction(name, indexed.id, str(trigger["type"]), trigger, clients)


def _client_parameters(
    name: str, bindings: list[dict[str, Any]], trigger: dict[str, Any]
) -> tuple[str, ...]:
    clients = []
    for binding in bindings:
        if binding["type"] == CLIENT:
            clients.append(str(binding["name"]))
        elif binding is not trigger and (binding["type"], binding["name"]) != ("http", "$return"):
            raise LoadError(
                f"{name}: binding {binding['type']} ({binding['name']}) is not supported locally, "
                f"only {CLIENT} and the HTTP response are; use the service's SDK in the function"
            )
    return tuple(clients)
