"""The three-way merge of client-side tools.

After k8s.io/apimachinery's `CreateThreeWayMergePatch`, for what the manifests of the recipes have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.cluster.patches import merge_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.cluster.kinds import Kind, Object


def three_way(former: Object, wanted: Object, live: Object, kind: Kind) -> Object:
    """The strategic merge patch that brings `live` to `wanted`, and takes away what only `former`
    has."""
    return _joined(_set(live, wanted, kind), _unset(former, wanted, kind), kind)


def _set(live: Object, wanted: Object, kind: Kind) -> Object:
    patch: Object = {}
    for key, value in wanted.items():
        found = live.get(key)
        if isinstance(value, dict) and isinstance(found, dict):
            if below := _set(found, value, kind):
                patch[key] = below
        elif isinstance(value, list) and isinstance(found, list) and merge_key(key, kind):
            if items := list(_items(found, value, key, kind)):
                patch[key] = items
        elif value != found:
            patch[key] = value
    return patch


def _items(live: list[Any], wanted: list[Any], key: str, kind: Kind) -> Iterator[Object]:
    name = merge_key(key, kind) or ""
    places = {item.get(name): item for item in live}
    for item in wanted:
        below = _set(places.get(item[name], {}), item, kind)
        if below:
            yield {**below, name: item[name]}


def _unset(former: Object, wanted: Object, kind: Kind) -> Object:
    patch: Object = {}
    for key, value in former.items():
        now = wanted.get(key)
        if key not in wanted:
            patch[key] = None
        elif isinstance(value, dict) and isinstance(now, dict):
            if below := _unset(value, now, kind):
                patch[key] = below
        elif isinstance(value, list) and isinstance(now, list) and (name := merge_key(key, kind)):
            kept = {item[name]: item for item in now}
            items = [
                {"$patch": "delete", name: item[name]}
                if item[name] not in kept
                else {**below, name: item[name]}
                for item in value
                if item[name] not in kept or (below := _unset(item, kept[item[name]], kind))
            ]
            if items:
                patch[key] = items
    return patch


def _joined(one: Object, other: Object, kind: Kind) -> Object:
    joined = dict(one)
    for key, value in other.items():
        if key in joined and isinstance(value, dict):
            joined[key] = _joined(joined[key], value, kind)
        elif key in joined and isinstance(value, list):
            joined[key] = [*joined[key], *value]
        else:
            joined[key] = value
    return joined
