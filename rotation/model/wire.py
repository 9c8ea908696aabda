"""The one place where JSON comes in and goes out: typed structures on this side of it.

Structures are msgspec's, with camelCase names outside. Moments are ISO 8601 in UTC with
milliseconds and `Z`, kept as text: orchestrators write them at every turn and seldom read them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any, NewType, TypeVar

import msgspec

JsonObject = dict[str, Any]
Moment = NewType("Moment", Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})])
T = TypeVar("T")
Unreadable = msgspec.ValidationError


def decoded(value: object) -> Any:
    """A value that 1.x hands over as JSON text at times, and 2.x as what it is."""
    return json.loads(value) if isinstance(value, str) else value


def value_of(structure: msgspec.Struct) -> JsonObject:
    """JSON of a structure, made of dicts, lists and texts."""
    value: JsonObject = msgspec.to_builtins(structure)
    return value


def read(kind: type[T], value: object) -> T:
    """The structure in a decoded value or JSON text. Raises `Unreadable`, `ValueError`."""
    return msgspec.convert(decoded(value), kind)


def moment(at: datetime) -> Moment:
    return Moment(at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"))


def instant(at: Moment) -> datetime:
    return datetime.fromisoformat(at)


def truncated(text: str, longest: int) -> str:
    """At most `longest` characters, counted as JSON has them: one may take twelve there."""
    if _size(text) <= longest:
        return text
    low, high = 0, min(len(text), longest)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _size(text[:middle]) <= longest - 6 else (low, middle - 1)
    return f"{text[:low]}…"


def _size(text: str) -> int:
    return len(json.dumps(text)) - 2
