"""Ownership of fields: server-side apply, its conflicts, and what becomes unowned.

A field is a path in the form of FieldsV1: `("f:spec", "f:replicas")`, with `k:{...}` for an item
of a list that merges by key, and a last `.` for the item itself. Writers other than apply own
what they changed, so that a later apply of another value is a conflict, as upstream.
Controllers' own writes are not tracked.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, TypeAlias

from local.cluster.errors import ApiError
from local.cluster.patches import merge_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.cluster.kinds import Kind, Object

Path: TypeAlias = tuple[str, ...]
# Who wrote a field: manager, operation (Apply or Update), subresource ("" for the object itself).
Owner: TypeAlias = tuple[str, str, str]

ATOMIC = {"selector", "nodeSelector"}
UNOWNED_METADATA = {
    "name", "namespace", "managedFields", "resourceVersion", "uid", "creationTimestamp",
    "generation", "generateName", "deletionTimestamp", "deletionGracePeriodSeconds",
}  # fmt: skip
MISSING = object()


def owned_paths(obj: Object, kind: Kind) -> set[Path]:
    """Every field that an object sets, but for its identity and status."""
    metadata = {k: v for k, v in obj.get("metadata", {}).items() if k not in UNOWNED_METADATA}
    rest = {k: v for k, v in obj.items() if k not in {"apiVersion", "kind", "metadata", "status"}}
    fields = {"metadata": metadata, **rest} if metadata else rest
    return set(_leaves(fields, kind, "", ())) if fields else set()


def _leaves(value: Any, kind: Kind, field: str, path: Path) -> Iterator[Path]:
    if isinstance(value, dict) and (value or not path) and field not in ATOMIC:
        for key, item in value.items():
            yield from _leaves(item, kind, key, (*path, f"f:{key}"))
    elif isinstance(value, list) and merge_key(field, kind):
        for item in value:
            element = (*path, _item_key(item, field, kind))
            yield (*element, ".")
            yield from _leaves(item, kind, "", element)
    else:
        yield path


def _item_key(item: Object, field: str, kind: Kind) -> str:
    identity = merge_key(field, kind) or ""
    key: Object = {identity: item.get(identity)}
    if field == "ports":
        key["protocol"] = item.get("protocol", "TCP")
    return "k:" + json.dumps(key, separators=(",", ":"), sort_keys=True)


def _value(obj: Any, path: Path, kind: Kind) -> Any:
    field = ""
    for step in path:
        if step == ".":
            return True
        if step.startswith("f:"):
            field = step[2:]
            obj = obj.get(field, MISSING) if isinstance(obj, dict) else MISSING
        else:
            items = obj if isinstance(obj, list) else []
            obj = next((i for i in items if _item_key(i, field, kind) == step), MISSING)
        if obj is MISSING:
            return MISSING
    return obj


def apply(live: Object, applied: Object, kind: Kind, manager: str, *, force: bool) -> Object:
    """The live object with a manifest applied to it. Raises 409 when another manager set one of
    its fields to another value, unless forced."""
    wanted = owned_paths(applied, kind)
    owners = _owners(live)
    before = owners.pop((manager, "Apply", ""), set())
    contested = _contested(live, applied, wanted, owners, kind)
    if contested and not force:
        raise _apply_conflict(contested, kind)
    for owner, path in contested:
        owners[owner].discard(path)
    result = _merge(copy.deepcopy(live), applied, kind, "")
    kept = wanted.union(*owners.values())
    _take_away(result, before - kept, kept, kind)
    owners[manager, "Apply", ""] = wanted
    return _with_owners(result, owners, kind)


def _contested(
    live: Object,
    applied: Object,
    wanted: set[Path],
    owners: dict[Owner, set[Path]],
    kind: Kind,
) -> list[tuple[Owner, Path]]:
    return [
        (owner, path)
        for owner, paths in owners.items()
        for path in sorted(paths & wanted)
        if _value(live, path, kind) != _value(applied, path, kind)
    ]


def _apply_conflict(contested: list[tuple[Owner, Path]], kind: Kind) -> ApiError:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {_named(owner)} using {kind.api_version}",
            "field": _readable(path),
        }
        for owner, path in contested
    ]
    listed = ", ".join(f"{cause['message']}: {cause['field']}" for cause in causes)
    plural = "" if len(causes) == 1 else "s"
    message = f"Apply failed with {len(causes)} conflict{plural}: {listed}"
    return ApiError(409, "Conflict", message, {"causes": causes})


def _named(owner: Owner) -> str:
    manager, _, subresource = owner
    return f'"{manager}"' + (f' with subresource "{subresource}"' if subresource else "")


def _readable(path: Path) -> str:
    return "".join(f".{step[2:]}" if step.startswith("f:") else f"[{step[2:]}]" for step in path)


def _merge(live: Any, applied: Any, kind: Kind, field: str) -> Any:
    if isinstance(applied, dict) and isinstance(live, dict) and field not in ATOMIC:
        for key, value in applied.items():
            live[key] = _merge(live.get(key), value, kind, key)
        return live
    if isinstance(applied, list) and isinstance(live, list) and merge_key(field, kind):
        return _merge_items(live, applied, kind, field)
    return copy.deepcopy(applied)


def _merge_items(live: list[Any], applied: list[Any], kind: Kind, field: str) -> list[Any]:
    places = {_item_key(item, field, kind): i for i, item in enumerate(live)}
    for item in applied:
        place = places.get(_item_key(item, field, kind))
        if place is None:
            live.append(copy.deepcopy(item))
        else:
            live[place] = _merge(live[place], item, kind, "")
    return live


def _take_away(obj: Object, gone: set[Path], kept: set[Path], kind: Kind) -> None:
    """Removes fields that nobody sets any more; an item of a list as a whole, unless somebody else
    set a part of it."""
    items = [path[:-1] for path in gone if path[-1] == "."]
    for item in items:
        if not any(path[: len(item)] == item for path in kept):
            _remove(obj, item, kind)
    for path in gone:
        if path[-1] != "." and not _identifies(path):
            _remove(obj, path, kind)


def _identifies(path: Path) -> bool:
    """Whether a field is what tells its item from others: it stays as long as the item."""
    return path[-2].startswith("k:") and path[-1][2:] in json.loads(path[-2][2:])


def _remove(obj: Object, target: Path, kind: Kind) -> None:
    parent = _value(obj, target[:-1], kind)
    if isinstance(parent, dict):
        parent.pop(target[-1][2:], None)
    elif isinstance(parent, list):
        field = target[-2][2:]
        parent[:] = [item for item in parent if _item_key(item, field, kind) != target[-1]]


def track_update(
    old: Object, new: Object, kind: Kind, manager: str, subresource: str = ""
) -> Object:
    """The new object with what changed owned by `manager`, who wrote it without apply."""
    own: Owner = (manager, "Update", subresource)
    if new["metadata"].get("managedFields") == [{}]:  # what clears them
        new = {**new, "metadata": {**new["metadata"], "managedFields": []}}
    before, after = owned_paths(old, kind), owned_paths(new, kind)
    changed = {p for p in after if _value(old, p, kind) != _value(new, p, kind)}
    if not changed and before == after:
        return new
    owners = {
        owner: (paths & after) - (set() if owner == own else changed)
        for owner, paths in _owners(new).items()
    }
    owners[own] = owners.get(own, set()) | changed
    return _with_owners(new, owners, kind)


def _owners(obj: Object) -> dict[Owner, set[Path]]:
    entries = obj["metadata"].get("managedFields") or []
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): set(
            _decode(entry["fieldsV1"], ())
        )
        for entry in entries
    }


def _with_owners(obj: Object, owners: dict[Owner, set[Path]], kind: Kind) -> Object:
    entries = [
        {
            "manager": manager,
            "operation": operation,
            "apiVersion": kind.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": _encode(paths),
            **({"subresource": subresource} if subresource else {}),
        }
        for (manager, operation, subresource), paths in owners.items()
        if paths
    ]
    return {**obj, "metadata": {**obj["metadata"], "managedFields": entries}}


def _encode(paths: set[Path]) -> Object:
    tree: Object = {}
    for path in sorted(paths):
        node = tree
        for step in path:
            node = node.setdefault(step, {})
    return tree


def _decode(tree: Object, path: Path) -> Iterator[Path]:
    if not tree and path:
        yield path
    for step, below in tree.items():
        yield from _decode(below, (*path, step))
