"""Loads a function app the way the platform's worker does and says what is in it."""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from azure.functions.decorators.utils import StringifyEnumJsonEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from types import ModuleType

    from azure.functions.decorators.function_app import Function

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
class AppFunction:
    """One function. `trigger` has the keys of function.json: route, authLevel, schedule..."""

    name: str
    kind: str
    trigger: Mapping[str, Any]
    call: Callable[..., Any]
    clients: tuple[str, ...]
    wants_context: bool

    @property
    def parameter(self) -> str:
        return str(self.trigger["name"])

    @property
    def durable_name(self) -> str:
        return str(self.trigger.get(ALIASES.get(self.kind, "")) or self.name)

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.call)


class App:
    """The functions of one app, by name and by kind."""

    def __init__(self, functions: Iterable[AppFunction]) -> None:
        self.functions = {function.name: function for function in functions}
        self._durable = {
            (f.kind, f.durable_name): f for f in self.functions.values() if f.kind in ALIASES
        }

    def of_kind(self, kind: str) -> list[AppFunction]:
        return [function for function in self.functions.values() if function.kind == kind]

    def durable(self, kind: Literal["orchestrator", "activity"], name: str) -> AppFunction | None:
        return self._durable.get((DURABLE_KINDS[kind], name))


def load(path: Path, attribute: str = "app") -> App:
    """Raises `LoadError`; the app's own exception is its cause."""
    module = _import(path)
    app = getattr(module, attribute, None)
    if app is None or not hasattr(app, "get_functions"):
        raise LoadError(f"{path} has no function app named {attribute!r}")
    try:
        functions = app.get_functions()
    except Exception as error:
        raise LoadError(f"{path}: the app's functions cannot be listed: {error}") from error
    return App(describe(function) for function in functions)


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise LoadError(f"{path} is not a Python file")
    # The platform starts the worker in the app's folder, with that folder first on the path.
    sys.path.insert(0, str(path.resolve().parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise LoadError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def describe(function: Function) -> AppFunction:
    """Raises `LoadError` for what this host does not do and for what the worker refuses too."""
    name = str(function.get_function_name())
    bindings = [_plain(binding.get_dict_repr()) for binding in function.get_bindings()]
    trigger = next((b for b in bindings if str(b["type"]).endswith("Trigger")), None)
    if trigger is None or trigger["type"] not in TRIGGERS:
        raise LoadError(
            f"{name}: trigger {trigger and trigger['type']} is not one of {', '.join(TRIGGERS)}"
        )
    if function.get_setting("retry_policy") is not None:
        raise LoadError(
            f"{name}: retry policies are not run by the local host; retry in the orchestrator"
        )
    clients = _client_parameters(name, bindings, trigger)
    call = function.get_user_function()
    wants_context = _check_signature(name, call, {str(trigger["name"]), *clients})
    return AppFunction(name, str(trigger["type"]), trigger, call, clients, wants_context)


def _plain(binding: Mapping[str, Any]) -> dict[str, Any]:
    """The binding with enums as their names, as function.json has them."""
    return dict(json.loads(json.dumps(binding, cls=StringifyEnumJsonEncoder)))


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


def _check_signature(name: str, call: Callable[..., Any], bound: set[str]) -> bool:
    """Matches parameters and bindings by name, and returns whether `context` is asked for."""
    parameters = set(inspect.signature(call).parameters)
    if missing := bound - parameters:
        raise LoadError(f"{name}: has no parameter for its binding {', '.join(sorted(missing))}")
    if extra := parameters - bound - {"context"}:
        raise LoadError(f"{name}: no binding gives its parameter {', '.join(sorted(extra))}")
    return "context" in parameters - bound
