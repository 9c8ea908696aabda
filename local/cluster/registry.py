"""What the API server makes of a write: defaults, validation, conflicts, generations, deletion.

The HTTP surface and the controllers write through it alike.
"""

from __future__ import annotations

import copy
import secrets
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

from local.cluster import kinds, quotas, times
from local.cluster.defaults import with_defaults
from local.cluster.errors import (
    already_exists,
    bad_request,
    conflict,
    decoding,
    forbidden,
    not_found,
    stale,
)
from local.cluster.validation import validate, validate_update

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.cluster.kinds import Kind, Object
    from local.cluster.store import Store

Part: TypeAlias = Literal["", "status"]
Mutator: TypeAlias = "Callable[[Object, Object | None], None]"
# CREATE, UPDATE or DELETE, what is to be stored, what is: raises for what policies deny.
Admit: TypeAlias = "Callable[[str, Object | None, Object | None], None]"

FOREGROUND = "foregroundDeletion"
SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # as upstream: no vowels, so no words
KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
        "generation", "namespace", "name")  # fmt: skip


def is_finished(pod: Object) -> bool:
    """Whether a pod has run its course, or was evicted: it is there, and does nothing more."""
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def random_suffix(length: int = 5) -> str:
    return "".join(secrets.choice(SUFFIX) for _ in range(length))


class Registry:
    """`mutators`: what is assigned to new or changed objects of a kind after defaulting."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.mutators: dict[Kind, Mutator] = {}

    def fetch(self, kind: Kind, namespace: str, name: str) -> Object:
        """The stored object, not to be changed. Raises 404."""
        found = self.store.get(kind, namespace, name)
        if found is None:
            raise not_found(kind, name)
        return found

    def create(
        self, kind: Kind, obj: Object, admit: Admit | None = None, *, dry_run: bool = False
    ) -> Object:
        new = _fresh(kind, obj)
        metadata = new["metadata"]
        if kind.namespaced:
            self._check_namespace(kind, metadata)
        with decoding(kind):
            validate(kind, new)
        if self.store.get(kind, metadata.get("namespace", ""), metadata["name"]):
            raise already_exists(kind, metadata["name"])
        with decoding(kind):
            new = self._completed(kind, new, None)
        if kind is kinds.POD:
            self._check_quotas(new)
        if admit:
            admit("CREATE", new, None)
        return new if dry_run else self.store.put(kind, new)

    def _check_namespace(self, kind: Kind, metadata: Object) -> None:
        namespace = self.fetch(kinds.NAMESPACE, "", metadata.get("namespace", ""))
        if "deletionTimestamp" in namespace["metadata"]:
            why = (
                f"unable to create new content in namespace {metadata['namespace']} because it is"
                " being terminated"
            )
            raise forbidden(kind, metadata.get("name", ""), why)

    def _check_quotas(self, pod: Object) -> None:
        """Raises 403 where a pod needs more than a ResourceQuota has room for."""
        why = quotas.refusal(self.store, pod)
        if why is not None:
            raise forbidden(kinds.POD, pod["metadata"]["name"], why)

    def _completed(self, kind: Kind, obj: Object, old: Object | None) -> Object:
        completed = with_defaults(kind, obj)
        if mutate := self.mutators.get(kind):
            mutate(completed, old)
        return completed

    def update(
        self,
        kind: Kind,
        obj: Object,
        part: Part = "",
        admit: Admit | None = None,
        *,
        dry_run: bool = False,
    ) -> Object:
        """Replaces the object, or its status. An object that stays the same keeps its revision."""
        metadata = obj["metadata"]
        current = self.fetch(kind, metadata.get("namespace", ""), metadata["name"])
        self._check_preconditions(kind, current, metadata)
        new = {**current, "status": obj.get("status")} if part else _replacing(kind, current, obj)
        if not part:
            with decoding(kind):
                validate(kind, new)
                new = self._completed(kind, new, current)
            validate_update(kind, current, new)
            _count_generation(kind, current, new)
        if admit:
            admit("UPDATE", new, current)
        if new == current or dry_run:
            return new
        return self.store.drop(kind, new) if _released(current, new) else self.store.put(kind, new)

    def _check_preconditions(self, kind: Kind, current: Object, sent: Object) -> None:
        live = current["metadata"]
        if sent.get("uid") and sent["uid"] != live["uid"]:
            why = (
                f"Precondition failed: UID in precondition: {sent['uid']}, UID in object meta:"
                f" {live['uid']}"
            )
            raise conflict(kind, live["name"], why)
        if sent.get("resourceVersion") and sent["resourceVersion"] != live["resourceVersion"]:
            raise stale(kind, live["name"])

    def modify(
        self, kind: Kind, obj: Object, change: Callable[[Object], None], part: Part = ""
    ) -> Object | None:
        """Changes the newest version of an object; None when that very object is gone."""
        metadata = obj["metadata"]
        current = self.store.get(kind, metadata.get("namespace", ""), metadata["name"])
        if current is None or current["metadata"]["uid"] != metadata["uid"]:
            return None
        new = copy.deepcopy(current)
        change(new)
        return self.update(kind, new, part)

    def delete(self, kind: Kind, obj: Object, options: Object | None = None) -> Object:
        """Returns the object as it is now: marked, when something has yet to finish with it."""
        options = options or {}
        current = self.fetch(kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        self._check_preconditions(kind, current, options.get("preconditions") or {})
        if options.get("dryRun"):
            return current
        if kind is kinds.POD:
            return self._delete_pod(current, options.get("gracePeriodSeconds"))
        policy = options.get("propagationPolicy", "Background")
        if policy == "Orphan":
            self._orphan(current)
        finalizers = list(current["metadata"].get("finalizers") or [])
        if policy == "Foreground" and FOREGROUND not in finalizers:
            finalizers.append(FOREGROUND)
        if finalizers or kind is kinds.NAMESPACE:
            return self._mark(kind, current, 0, finalizers)
        return self.store.drop(kind, current)

    def _delete_pod(self, pod: Object, grace: int | None) -> Object:
        if grace is None:
            grace = pod["spec"]["terminationGracePeriodSeconds"]
        finalizers = pod["metadata"].get("finalizers") or []
        nowhere = is_finished(pod) or not pod["spec"].get("nodeName")
        if (grace == 0 or nowhere) and not finalizers:
            return self.store.drop(kinds.POD, pod)
        before = pod["metadata"].get("deletionGracePeriodSeconds")
        if before is not None and before <= grace:
            return pod
        return self._mark(kinds.POD, pod, grace, finalizers)

    def _mark(self, kind: Kind, obj: Object, grace: int, finalizers: list[str]) -> Object:
        metadata = {
            **obj["metadata"],
            "deletionTimestamp": times.text(times.now() + timedelta(seconds=grace)),
            "deletionGracePeriodSeconds": grace,
        }
        if finalizers:
            metadata["finalizers"] = finalizers
        marked = {**obj, "metadata": metadata}
        if kind is kinds.NAMESPACE:
            marked["status"] = {"phase": "Terminating"}
        return self.store.put(kind, marked)

    def _orphan(self, owner: Object) -> None:
        for kind, dependent in self.dependents(owner):
            self.modify(kind, dependent, lambda new: _disown(new, owner["metadata"]["uid"]))

    def dependents(self, owner: Object) -> list[tuple[Kind, Object]]:
        uid = owner["metadata"]["uid"]
        return [
            (kind, obj)
            for kind in kinds.STORED
            for obj in self.store.items(kind)
            if any(r["uid"] == uid for r in obj["metadata"].get("ownerReferences") or [])
        ]


def _disown(obj: Object, uid: str) -> None:
    references = obj["metadata"]["ownerReferences"]
    obj["metadata"]["ownerReferences"] = [r for r in references if r["uid"] != uid]


def _fresh(kind: Kind, obj: Object) -> Object:
    metadata = {k: v for k, v in (obj.get("metadata") or {}).items() if v is not None}
    if metadata.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"] + random_suffix()
    for key in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
        metadata.pop(key, None)
    metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": times.stamp()}
    if kind.counts_generations:
        metadata["generation"] = 1
    new = {**obj, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
    if "status" in kind.subresources:
        new.pop("status", None)
    return new


def _replacing(kind: Kind, current: Object, obj: Object) -> Object:
    """The new object with what a client cannot set taken from the current one."""
    live = current["metadata"]
    metadata = {k: v for k, v in obj["metadata"].items() if v is not None}
    for key in KEPT:
        metadata.pop(key, None)
        if key in live:
            metadata[key] = live[key]
    metadata["resourceVersion"] = live["resourceVersion"]
    new = {**obj, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
    if "status" in kind.subresources:
        new.pop("status", None)
        if "status" in current:
            new["status"] = current["status"]
    return new


def _released(current: Object, new: Object) -> bool:
    """Whether the last finalizer of an object that is being deleted went."""
    held, holds = (obj["metadata"].get("finalizers") for obj in (current, new))
    return bool("deletionTimestamp" in new["metadata"] and held and not holds)


def _count_generation(kind: Kind, current: Object, new: Object) -> None:
    if kind.counts_generations and _desired(current) != _desired(new):
        new["metadata"]["generation"] = current["metadata"].get("generation", 0) + 1


def _desired(obj: Object) -> Object:
    return {k: v for k, v in obj.items() if k not in {"metadata", "status"}}
