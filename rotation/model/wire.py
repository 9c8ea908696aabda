"""Conversion between JSON and typed structures, for everything that comes in and goes out.

Structures are msgspec's, with camelCase names outside. Moments are ISO 8601 in UTC with
milliseconds and `Z`, kept as text: orchestrators write them at every turn and seldom read them.
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from typing import Annotated, Any, NewType, TypeVar

import msgspec

JsonObject = dict[str, Any]
Moment = NewType("Moment", Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})])
T = TypeVar("T")

_prepared: set[type] = set()
_preparing = threading.Lock()


def decoded(value: object) -> Any:
    """The value, parsed if it is JSON text: the SDK's 1.x hands over text at times, 2.x never.

    Raises `ValueError`, and `RecursionError` for JSON that is nested too deeply.
    """
    return json.loads(value) if isinstance(value, str) else value


def value_of(structure: msgspec.Struct) -> JsonObject:
    """A structure as the values that JSON has: dicts, lists, texts and numbers."""
    value: JsonObject = msgspec.to_builtins(structure)
    return value


def read(kind: type[T], value: object) -> T:
    """The structure of type `kind` in a value or JSON text. Raises what `decoded` raises, and
    `ValueError` for a value that is not of this type."""
    if kind not in _prepared:
        _prepare(kind)
    return msgspec.convert(decoded(value), kind)


def _prepare(kind: type) -> None:
    """Has msgspec look through a type, once.

    By itself it does so at the first use, and lets other threads see what is half done: two that
    read a type for the first time at once end the process, by a null pointer (msgspec 0.22).
    """
    with _preparing:
        msgspec.json.Decoder(kind)
        _prepared.add(kind)


def moment(at: datetime) -> Moment:
    """The time as text: ISO 8601 in UTC with milliseconds and `Z`."""
    return Moment(at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"))


def instant(at: Moment) -> datetime:
    """The time that a moment's text says, in UTC."""
    return datetime.fromisoformat(at)


def truncated(text: str, longest: int) -> str:
    """The text, cut to `longest` characters as JSON counts them: one may take twelve there."""
    if _size(text) <= longest:
        return text
    low, high = 0, min(len(text), longest)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _size(text[:middle]) <= longest - 6 else (low, middle - 1)
    return f"{text[:low]}…"


def _size(text: str) -> int:
    """How many characters the text takes in JSON, without the quotes around it."""
    return len(json.dumps(text)) - 2
