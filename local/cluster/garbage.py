"""Deletes what a deletion leaves behind: dependents go with their owner, contents with their
namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.cluster import kinds
from local.cluster.controllers import Controller, Key, key_of, leaving
from local.cluster.registry import FOREGROUND

if TYPE_CHECKING:
    from local.cluster.kinds import Kind, Object
    from local.cluster.registry import Registry
    from local.cluster.store import Change


class NamespaceController(Controller):
    """Gives each namespace its default service account, and empties the ones that are deleted."""

    kind = kinds.NAMESPACE

    def concerns(self, change: Change) -> list[Key]:
        if change.kind is kinds.NAMESPACE:
            return [key_of(change.object)]
        if change.type == "DELETED" and change.kind.namespaced:
            return [("", change.object["metadata"]["namespace"])]
        return []

    def reconcile(self, obj: Object) -> None:
        name = obj["metadata"]["name"]
        if leaving(obj):
            self._empty(obj, name)
        elif self.store.get(kinds.SERVICE_ACCOUNT, name, "default") is None:
            account = {"metadata": {"name": "default", "namespace": name}}
            self.registry.create(kinds.SERVICE_ACCOUNT, account)

    def _empty(self, namespace: Object, name: str) -> None:
        for kind in (kind for kind in kinds.STORED if kind.namespaced):
            for obj in self.store.items(kind, name):
                if not leaving(obj):
                    self.registry.delete(kind, obj)
        left = [k for k in kinds.STORED if k.namespaced and self.store.items(k, name)]
        if not left:
            self.store.drop(kinds.NAMESPACE, namespace)


class OwnerController(Controller):
    """One for each kind whose objects can have owners, or be deleted in the foreground."""

    def __init__(self, registry: Registry, kind: Kind) -> None:
        self.kind = kind
        super().__init__(registry)

    def concerns(self, change: Change) -> list[Key]:
        """On a deletion: the dependents of what went, and the owners that waited for it."""
        if change.type != "DELETED":
            return [key_of(change.object)] if self._holds(change) else []
        uid = change.object["metadata"]["uid"]
        owners = {r["uid"] for r in change.object["metadata"].get("ownerReferences") or []}
        return [
            key_of(obj)
            for obj in self.store.items(self.kind)
            if obj["metadata"]["uid"] in owners
            or any(r["uid"] == uid for r in obj["metadata"].get("ownerReferences") or [])
        ]

    def _holds(self, change: Change) -> bool:
        return change.kind is self.kind and leaving(change.object)

    def reconcile(self, obj: Object) -> None:
        if FOREGROUND in (obj["metadata"].get("finalizers") or []) and leaving(obj):
            self._foreground(obj)
        elif not leaving(obj) and self._orphaned(obj):
            self.registry.delete(self.kind, obj)

    def _orphaned(self, obj: Object) -> bool:
        """Whether it has owners and none of them exists."""
        references = obj["metadata"].get("ownerReferences") or []
        return bool(references) and not any(self._exists(obj, r) for r in references)

    def _exists(self, obj: Object, reference: Object) -> bool:
        kind = kinds.BY_KIND.get((reference["apiVersion"], reference["kind"]))
        if kind is None or kind is kinds.ACCESS_REVIEW:
            return True  # not ours to judge
        namespace = obj["metadata"].get("namespace", "") if kind.namespaced else ""
        owner = self.store.get(kind, namespace, reference["name"])
        return owner is not None and owner["metadata"]["uid"] == reference["uid"]

    def _foreground(self, owner: Object) -> None:
        dependents = self.registry.dependents(owner)
        for kind, obj in dependents:
            if not leaving(obj):
                self.registry.delete(kind, obj, {"propagationPolicy": "Foreground"})
        if not self.registry.dependents(owner):
            self.registry.modify(self.kind, owner, _release)


def _release(obj: Object) -> None:
    finalizers = obj["metadata"]["finalizers"]
    obj["metadata"]["finalizers"] = [name for name in finalizers if name != FOREGROUND]
