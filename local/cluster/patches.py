"""The three patch formats that change an object: JSON, merge and strategic merge patch."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from local.cluster.errors import bad_request, patch_refused

if TYPE_CHECKING:
    from local.cluster.kinds import Kind, Object

# Lists that merge item by item, by the key that tells items apart. Source: the patchMergeKey
# tags of k8s.io/api for the served kinds.
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "imagePullSecrets": "name",
    "ownerReferences": "uid",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "conditions": "type",
}
PRIMITIVE_LISTS = {"finalizers"}


def merge_key(field: str, kind: Kind) -> str | None:
    """The key by which a list merges; None for a list that is replaced as a whole."""
    if field == "ports":
        return "port" if kind.kind == "Service" else "containerPort"
    if field == "secrets" and kind.kind == "ServiceAccount":
        return "name"
    return MERGE_KEYS.get(field)


def json_patch(document: Object, operations: object) -> Object:
    """The document with a JSON patch (RFC 6902) applied.

    A malformed patch is a 400; one that does not apply, or fails a `test`, a 422.
    """
    if not isinstance(operations, list):
        raise bad_request("a JSON patch is a list of operations")
    result: Any = copy.deepcopy(document)
    for operation in operations:
        if not isinstance(operation, dict) or "op" not in operation or "path" not in operation:
            raise bad_request("an operation of a JSON patch has `op` and `path`")
        result = _operate(result, operation)
    if not isinstance(result, dict):
        raise patch_refused()
    return result


def _operate(document: Any, operation: Object) -> Any:
    name, path = operation["op"], operation["path"]
    if name == "test":
        if not _equal(_read(document, path), operation.get("value")):
            raise patch_refused()
        return document
    if name == "remove":
        return _write(document, path, remove=True)
    if name in {"add", "replace"}:
        if name == "replace":
            _read(document, path)
        return _write(document, path, operation.get("value"), replace=name == "replace")
    if name in {"move", "copy"}:
        value = copy.deepcopy(_read(document, operation.get("from", "")))
        if name == "move":
            document = _write(document, operation["from"], remove=True)
        return _write(document, path, value)
    raise bad_request(f"unknown operation {name!r} in a JSON patch")


def _equal(left: object, right: object) -> bool:
    """Whether two JSON values are equal: true is not 1, at any depth."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def _tokens(path: str) -> list[str]:
    if path == "":
        return []
    if not path.startswith("/"):
        raise bad_request(f"{path!r} is not a JSON pointer")
    return [token.replace("~1", "/").replace("~0", "~") for token in path[1:].split("/")]


def _read(document: Any, path: str) -> Any:
    for token in _tokens(path):
        document = _step(document, token)
    return document


def _step(document: Any, token: str) -> Any:
    if isinstance(document, dict) and token in document:
        return document[token]
    if isinstance(document, list):
        return document[_index(document, token, len(document) - 1)]
    raise patch_refused()


def _index(items: list[Any], token: str, last: int) -> int:
    if token == "-" and last == len(items):  # noqa: S105 - RFC 6901's name of the end
        return last
    if not token.isdecimal() or int(token) > last:
        raise patch_refused()
    return int(token)


def _write(
    document: Any, path: str, value: object = None, *, remove: bool = False, replace: bool = False
) -> Any:
    tokens = _tokens(path)
    if not tokens:
        return value
    parent = document
    for token in tokens[:-1]:
        parent = _step(parent, token)
    if isinstance(parent, list):
        _write_item(parent, tokens[-1], value, remove=remove, replace=replace)
    elif isinstance(parent, dict):
        _write_key(parent, tokens[-1], value, remove=remove)
    else:
        raise patch_refused()
    return document


def _write_item(
    items: list[Any], token: str, value: object, *, remove: bool, replace: bool
) -> None:
    position = _index(items, token, len(items) - 1 if remove or replace else len(items))
    if remove:
        del items[position]
    elif replace:
        items[position] = value
    else:
        items.insert(position, value)


def _write_key(parent: Object, key: str, value: object, *, remove: bool) -> None:
    if not remove:
        parent[key] = value
    elif key in parent:
        del parent[key]
    else:
        raise patch_refused()


def merge_patch(document: Any, patch: Any) -> Any:
    """The document with a merge patch (RFC 7386) applied."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def strategic_patch(document: Any, patch: Any, kind: Kind) -> Any:
    """The document with a strategic merge patch applied, which knows which lists merge by a key,
    with `$patch`, `$retainKeys`, `$deleteFromPrimitiveList` and `$setElementOrder`."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    directive = patch.get("$patch")
    if directive == "delete":
        return {}
    if directive == "replace":
        return {key: copy.deepcopy(value) for key, value in patch.items() if key != "$patch"}
    result = dict(document) if isinstance(document, dict) else {}
    if "$retainKeys" in patch:
        result = {key: result[key] for key in result if key in patch["$retainKeys"]}
    for key, value in patch.items():
        _merge_field(result, key, value, kind)
    for key, order in patch.items():
        field = key.partition("/")[2]
        identity = merge_key(field, kind) if key.startswith("$setElementOrder/") else None
        if identity and isinstance(result.get(field), list):
            result[field] = _in_order(result[field], order, (document or {}).get(field), identity)
    return result


def _in_order(items: list[Any], order: list[Any], before: list[Any] | None, key: str) -> list[Any]:
    """Items as `$setElementOrder` lists them. One that it does not list stands before the first
    listed one that followed it before.

    As `mergeSortedSlice` of k8s.io/apimachinery's strategicpatch does it.
    """
    wanted = [one[key] for one in order]
    place = {item[key]: number for number, item in enumerate(before or [])}
    made = sorted((i for i in items if i[key] in wanted), key=lambda i: wanted.index(i[key]))
    start = 0
    for item in (i for i in items if i[key] not in wanted):
        at = start
        while at < len(made) and place.get(made[at][key], -1) <= place.get(item[key], -1):
            at += 1
        made.insert(at, item)
        start = at + 1
    return made


def _merge_field(result: Object, key: str, value: Any, kind: Kind) -> None:
    if key.startswith("$deleteFromPrimitiveList/"):
        field = key.partition("/")[2]
        result[field] = [item for item in result.get(field) or [] if item not in value]
    elif key.startswith("$"):
        return  # an order, which is made in the end, or a directive that has been followed
    elif value is None:
        result.pop(key, None)
    elif isinstance(value, list):
        result[key] = _merge_list(result.get(key) or [], value, key, kind)
    else:
        result[key] = strategic_patch(result.get(key), value, kind)


def _merge_list(current: list[Any], patch: list[Any], field: str, kind: Kind) -> list[Any]:
    if field in PRIMITIVE_LISTS:
        return [*current, *(item for item in patch if item not in current)]
    identity = merge_key(field, kind)
    replaced = {"$patch": "replace"} in patch
    if identity is None or replaced:
        return [copy.deepcopy(item) for item in patch if item != {"$patch": "replace"}]
    result = list(current)
    for item in patch:
        _merge_item(result, item, identity, kind)
    return result


def _merge_item(result: list[Any], item: Any, identity: str, kind: Kind) -> None:
    if not isinstance(item, dict) or identity not in item:
        raise bad_request(f"map: {item!r} does not contain declared merge key: {identity}")
    places = [i for i, old in enumerate(result) if old.get(identity) == item[identity]]
    if item.get("$patch") == "delete":
        result[:] = [old for i, old in enumerate(result) if i not in places]
    elif places:
        result[places[0]] = strategic_patch(result[places[0]], item, kind)
    else:
        result.append(strategic_patch({}, item, kind))
