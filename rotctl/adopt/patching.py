"""The strategic merge patch that makes one object of another, as Kustomize applies it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rotctl.adopt.original import Object

# Lists that are merged item by item, by the key that tells items apart.
# https://kubernetes.io/docs/reference/generated/kubernetes-api/ (patch merge key)
KEYS = {"containers": "name", "initContainers": "name", "env": "name", "volumes": "name"}


def patch(before: Object, after: Object) -> Object:
    """What `after` has otherwise; null takes away. Both are JSON."""
    made: Object = {key: None for key in before if key not in after}
    for key, value in after.items():
        if key not in before:
            made[key] = value
        elif before[key] != value:
            made[key] = _value(key, before[key], value)
    return made


def _value(key: str, before: Any, after: Any) -> Any:
    if isinstance(before, dict) and isinstance(after, dict):
        return patch(before, after)
    if key in KEYS and isinstance(before, list) and isinstance(after, list):
        return _items(KEYS[key], before, after)
    return after


def _items(name: str, before: list[Object], after: list[Object]) -> list[Object]:
    """The items that are new or changed, and those that are gone."""
    known, kept = {item[name]: item for item in before}, {item[name] for item in after}
    changed = [
        {name: item[name], **patch(known.get(item[name], {}), item)}
        for item in after
        if item != known.get(item[name])
    ]
    return [*changed, *({name: each, "$patch": "delete"} for each in known if each not in kept)]
