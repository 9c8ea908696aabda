"""Event objects: what happened to an object, for people who look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.cluster import kinds, times
from local.cluster.registry import random_suffix

if TYPE_CHECKING:
    from local.cluster.kinds import Object
    from local.cluster.registry import Registry

KEY_FIELDS = ("reason", "message", "type")
KEPT = 500  # the oldest go first; upstream keeps each for an hour


class Recorder:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[tuple[str, ...], Object] = {
            _key(event): event for event in registry.store.items(kinds.EVENT)
        }

    def __call__(self, about: Object, reason: str, message: str, type_: str = "Normal") -> None:
        """Counts a repeated event up. An event about something in a namespace that is gone, or
        going, is not recorded."""
        metadata = about["metadata"]
        namespace = metadata.get("namespace", "default")
        if not self._open(namespace):
            return
        key = (metadata["uid"], reason, message, type_)
        known = self._known.get(key)
        if known is None or self._registry.modify(kinds.EVENT, known, _count) is None:
            self._known[key] = self._create(about, namespace, reason, message, type_)
        self._trim()

    def _open(self, namespace: str) -> bool:
        found = self._registry.store.get(kinds.NAMESPACE, "", namespace)
        return found is not None and "deletionTimestamp" not in found["metadata"]

    def _create(
        self, about: Object, namespace: str, reason: str, message: str, type_: str
    ) -> Object:
        metadata, moment = about["metadata"], times.stamp()
        involved = {key: metadata[key] for key in ("name", "namespace", "uid") if key in metadata}
        return self._registry.create(
            kinds.EVENT,
            {
                "metadata": {
                    "name": f"{metadata['name']}.{random_suffix(16)}",
                    "namespace": namespace,
                },
                "involvedObject": {
                    "kind": about["kind"],
                    "apiVersion": about["apiVersion"],
                    **involved,
                },
                "reason": reason,
                "message": message,
                "type": type_,
                "count": 1,
                "firstTimestamp": moment,
                "lastTimestamp": moment,
                "source": {"component": "local"},
            },
        )

    def _trim(self) -> None:
        if len(self._known) <= KEPT:
            return
        oldest = next(iter(self._known))
        event = self._known.pop(oldest)
        metadata = event["metadata"]
        stored = self._registry.store.get(kinds.EVENT, metadata["namespace"], metadata["name"])
        if stored:
            self._registry.delete(kinds.EVENT, stored)


def _key(event: Object) -> tuple[str, ...]:
    involved = event.get("involvedObject") or {}
    return (involved.get("uid", ""), *(event.get(k, "") for k in KEY_FIELDS))


def _count(event: Object) -> None:
    event["count"] += 1
    event["lastTimestamp"] = times.stamp()
