"""Schemas of custom resources: what an API server makes of an object whose kind a CRD brought.

In its order: unknown fields and nulls are dropped, defaults are filled in, what is left is checked.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Problem: TypeAlias = tuple[str, str]
# A message, and what a value must be.
Rule: TypeAlias = tuple[str, Callable[[Any], bool]]

TYPES = {"string": str, "integer": int, "boolean": bool, "object": dict, "array": list}


@dataclass(frozen=True)
class Schema:
    """What one value may be. `key` is the field that tells items of a list apart, "" for the items
    themselves, None where they may repeat; `length` is of a text or of a list."""

    type: str
    fields: dict[str, Schema] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    items: Schema | None = None
    key: str | None = None
    length: tuple[int, int] | None = None
    between: tuple[int, int] | None = None
    pattern: str | None = None
    one_of: tuple[Any, ...] = ()
    default: Any = None
    rules: tuple[Rule, ...] = ()


def unknown(schema: Schema, value: Any, path: str = "") -> Iterator[str]:
    """The fields of a value that its schema does not know."""
    if isinstance(value, dict) and schema.fields:
        for name, child in value.items():
            where = f"{path}.{name}" if path else name
            if name not in schema.fields:
                yield where
            else:
                yield from unknown(schema.fields[name], child, where)
    elif isinstance(value, list) and schema.items:
        for position, child in enumerate(value):
            yield from unknown(schema.items, child, f"{path}[{position}]")


def completed(schema: Schema, value: Any) -> Any:
    """A copy without what the schema does not know, and with its defaults."""
    if isinstance(value, dict) and schema.fields:
        found = {
            name: completed(schema.fields[name], child)
            for name, child in value.items()
            if name in schema.fields and child is not None
        }
        for name, child in schema.fields.items():
            if child.default is not None and name not in found:
                found[name] = completed(child, copy.deepcopy(child.default))
        return found
    if isinstance(value, list) and schema.items:
        return [completed(schema.items, child) for child in value]
    return copy.deepcopy(value)


def problems(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    """What is wrong with a value that was completed: each a field and a text, as upstream's."""
    if not _is(schema.type, value):
        yield path, f"Invalid value: {path} in body must be of type {schema.type}"
        return
    found = [*_own(schema, value, path), *_below(schema, value, path)]
    yield from found
    if found:
        return  # rules expect values of the right form
    for message, holds in schema.rules:
        if not holds(value):
            yield path, f"Invalid value: {message}"


def _is(kind: str, value: Any) -> bool:
    return isinstance(value, TYPES[kind]) and (kind == "boolean") == isinstance(value, bool)


def _own(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    if schema.length is not None:
        least, most = schema.length
        what = "characters" if schema.type == "string" else "items"
        if len(value) < least:
            yield path, f"Invalid value: {path} should have at least {least} {what}"
        if len(value) > most:
            yield path, f"Too many: {len(value)}: must have at most {most} {what}"
    if schema.between is not None and not schema.between[0] <= value <= schema.between[1]:
        least, most = schema.between
        yield path, f"Invalid value: {value}: {path} in body should be from {least} to {most}"
    if schema.pattern is not None and not re.fullmatch(schema.pattern, value, re.ASCII):
        yield path, f"Invalid value: {path} in body should match '{schema.pattern}'"
    if schema.one_of and value not in schema.one_of:
        yield path, f"Unsupported value: supported values: {', '.join(map(repr, schema.one_of))}"


def _below(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    for name in schema.required:
        if name not in value:
            yield f"{path}.{name}", "Required value"
    if schema.fields:
        for name, child in value.items():
            yield from problems(schema.fields[name], child, f"{path}.{name}")
    if schema.items is None:
        return
    for position, child in enumerate(value):
        yield from problems(schema.items, child, f"{path}[{position}]")
    if schema.key is not None:
        keys = [child.get(schema.key) if isinstance(child, dict) else child for child in value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                yield f"{path}[{position}]", f'Duplicate value: "{key}"'
