"""A controller: takes note of changed objects and brings one after the other to what it wants."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeAlias

from local.cluster import times
from local.cluster.errors import ApiError

if TYPE_CHECKING:
    from local.cluster.kinds import Kind, Object
    from local.cluster.registry import Registry
    from local.cluster.store import Change

log = logging.getLogger(__name__)

Key: TypeAlias = tuple[str, str]  # namespace, name

RETRY = 0.5  # seconds


class Controller:
    """Subclasses say which keys a change concerns, and reconcile one key at a time."""

    kind: Kind

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.store = registry.store
        self._due: dict[Key, None] = {}  # a set that keeps its order
        self._wake = asyncio.Event()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self.store.listeners.append(self._note)

    def concerns(self, change: Change) -> list[Key]:
        raise NotImplementedError

    def reconcile(self, obj: Object) -> None:
        """Brings the world towards an object of `kind`. Runs again after each related change."""
        raise NotImplementedError

    def _note(self, change: Change) -> None:
        for key in self.concerns(change):
            self.enqueue(key)

    def enqueue(self, key: Key) -> None:
        self._due[key] = None
        self._wake.set()

    def enqueue_after(self, key: Key, seconds: float) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(max(0.0, seconds), self.enqueue, key)

    async def run(self) -> None:
        for obj in self.store.items(self.kind):
            self.enqueue(key_of(obj))
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._due:
                key = next(iter(self._due))
                del self._due[key]
                self._attempt(key)
                await asyncio.sleep(0)

    def _attempt(self, key: Key) -> None:
        obj = self.store.get(self.kind, *key)
        if obj is None:
            return
        try:
            self.reconcile(obj)
        except ApiError as error:
            # Another writer came first, or the namespace is going: look again with a fresh view.
            log.info("%s %s: %s", self.kind.qualified, "/".join(key), error)
            self.enqueue_after(key, RETRY)
        except Exception:
            log.exception("%s %s cannot be reconciled", self.kind.qualified, "/".join(key))
            self.enqueue_after(key, RETRY)


def key_of(obj: Object) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def owner_key(obj: Object, kind: Kind) -> list[Key]:
    """The key of the controlling owner, when it is of a kind."""
    owner = controller_of(obj)
    if owner is None or owner["kind"] != kind.kind:
        return []
    return [(obj["metadata"]["namespace"], owner["name"])]


def controller_of(obj: Object) -> Object | None:
    references = obj["metadata"].get("ownerReferences") or []
    return next((reference for reference in references if reference.get("controller")), None)


def reference_to(owner: Object) -> Object:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_controlled_by(obj: Object, owner: Object) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference["uid"] == owner["metadata"]["uid"]


def leaving(obj: Object) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def set_condition(status: Object, type_: str, value: str, reason: str, message: str) -> None:
    """Sets one of a status' conditions; its times change only with it, as upstream."""
    conditions = status.setdefault("conditions", [])
    current = next((item for item in conditions if item["type"] == type_), None)
    moment = times.stamp()
    new = {
        "type": type_,
        "status": value,
        "reason": reason,
        "message": message,
        "lastUpdateTime": moment,
        "lastTransitionTime": moment,
    }
    if current is None:
        conditions.append(new)
        return
    if current["status"] == value:
        new["lastTransitionTime"] = current["lastTransitionTime"]
    if (current["status"], current["reason"]) == (value, reason):
        new["lastUpdateTime"] = current["lastUpdateTime"]
    current.update(new)
