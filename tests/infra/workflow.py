"""Runs a Logic Apps workflow definition far enough to see what it would send.

A type of action that is not known here raises: the definition cannot use one unseen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.infra.expressions import FUNCTIONS, Scope, resolve

# Status, body of the action's answer, and its HTTP status (200 or 409 without one).
Result = tuple[str, Any] | tuple[str, Any, int]
Connector = Callable[[str, dict[str, Any]], Result]


class Workflow:
    """One run: `connector(action, inputs)` stands for everything outside."""

    def __init__(
        self,
        definition: dict[str, Any],
        parameters: dict[str, Any],
        connector: Connector,
    ) -> None:
        self.definition = definition
        self.parameters = parameters
        self.connector = connector
        self.statuses: dict[str, str] = {}
        self.outputs: dict[str, Any] = {}
        self.sent: list[tuple[str, dict[str, Any]]] = []
        declared = definition["parameters"]
        missing = {name for name in declared if "defaultValue" not in declared[name]} - set(
            parameters
        )
        unknown = set(parameters) - set(declared)
        if missing or unknown:
            raise ValueError(f"parameters missing {missing} or unknown {unknown}")

    def callback(self) -> str:
        """Where the answer to one action goes: each has an address of its own."""
        return "https://callback.example/run"

    def run(self, event: dict[str, Any]) -> None:
        self.scope: Scope = {
            "triggerBody": lambda: event,
            "listCallbackUrl": self.callback,
            "parameters": lambda name: self.parameters[name],
            "body": lambda name: self._known(name).get("body"),
            "outputs": lambda name: self._known(name).get("outputs"),
        }
        self._actions(self.definition["actions"])

    def _known(self, name: str) -> dict[str, Any]:
        if name not in self._names(self.definition["actions"]):
            raise ValueError(f"there is no action {name!r}")
        found: dict[str, Any] = self.outputs.get(name, {})
        return found

    def _names(self, actions: dict[str, Any]) -> set[str]:
        names = set(actions)
        for action in actions.values():
            names |= self._names(action.get("actions", {}))
            names |= self._names(action.get("else", {}).get("actions", {}))
        return names

    def _actions(self, actions: dict[str, Any]) -> None:
        waiting = dict(actions)
        while waiting:
            name = next(
                name
                for name, action in waiting.items()
                if all(before in self.statuses for before in action["runAfter"])
            )
            action = waiting.pop(name)
            allowed = action["runAfter"].items()
            runs = all(self.statuses[before] in states for before, states in allowed)
            self.statuses[name] = self._action(name, action) if runs else "Skipped"

    def _action(self, name: str, action: dict[str, Any]) -> str:
        if action["type"] == "If":
            return self._branch(action)
        if action["type"] == "Foreach":
            return self._loop(name, action)
        if action["type"] in {"Query", "Select"}:
            return self._items(name, action["inputs"])
        inputs = resolve(action["inputs"], self.scope)
        if action["type"] == "Compose":
            self.outputs[name] = {"outputs": inputs, "body": inputs}
            return "Succeeded"
        if action["type"] not in {"Http", "ApiConnection", "ApiConnectionWebhook"}:
            raise ValueError(f"action {name} has type {action['type']!r}")
        self.sent.append((name, inputs))
        status, body, *codes = self.connector(name, inputs)
        code = codes[0] if codes else 200 if status == "Succeeded" else 409
        self.outputs[name] = {"body": body, "outputs": {"statusCode": code, "body": body}}
        return status

    def _branch(self, action: dict[str, Any]) -> str:
        ((function, arguments),) = action["expression"].items()
        taken = FUNCTIONS[function](*(resolve(item, self.scope) for item in arguments))
        actions = action["actions"] if taken else action["else"]["actions"]
        self._actions(actions)
        failed = [name for name in actions if self.statuses[name] in {"Failed", "TimedOut"}]
        return "Failed" if failed else "Succeeded"

    def _loop(self, name: str, action: dict[str, Any]) -> str:
        """One iteration after another, each with nothing known of the others."""
        inner = self._names(action["actions"])
        failed = False
        for item in resolve(action["foreach"], self.scope):
            for known in inner:
                self.statuses.pop(known, None)
                self.outputs.pop(known, None)
            self.scope["items"] = {name: item}.__getitem__
            self._actions(action["actions"])
            failed = failed or any(self.statuses[known] == "Failed" for known in action["actions"])
        return "Failed" if failed else "Succeeded"

    def _items(self, name: str, inputs: dict[str, Any]) -> str:
        """`where` filters the items, `select` makes others of them."""
        made = []
        for item in resolve(inputs["from"], self.scope):
            scope: Scope = {**self.scope, "item": partial(_same, item)}
            if "select" in inputs:
                made.append(resolve(inputs["select"], scope))
            elif resolve(inputs["where"], scope):
                made.append(item)
        self.outputs[name] = {"body": made, "outputs": {"body": made}}
        return "Succeeded"


def _same(item: Any) -> Any:
    return item
