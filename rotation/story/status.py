"""Keeps a custom status within 16 KB of UTF-16, which is all that Azure Storage takes of one.

An orchestration whose status is larger fails at once, so the limit is kept whatever the texts are.
The output of the orchestration has everything in full.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from rotation.model.wire import truncated

if TYPE_CHECKING:
    from rotation.model.wire import JsonObject

V = TypeVar("V")

LIMIT = 8000  # characters of JSON, all of it ASCII
# Tried in this order: how long a text may be, how many of the last steps, and of the reasons,
# waivers, doubts and other texts each, are shown.
TIGHTER = ((1000, 50, 20), (300, 50, 10), (110, 50, 2), (110, 8, 1), (110, 4, 1), (110, 2, 0))


def truncated_status(status: JsonObject) -> JsonObject:
    """The status, if it is too long with shorter texts, its last steps, and its first reasons and
    other texts only.

    Ids and names have at most a hundred characters and stay whole.
    """
    shown = status
    for longest, steps, reasons in TIGHTER:
        if len(json.dumps(shown)) <= LIMIT:
            break
        kept = {"steps": status["steps"][-steps:], "reasons": status["reasons"][:reasons]}
        kept |= {key: status[key][:reasons] for key in ("changed", "releases", "waivers", "doubts")}
        shown = _cut({**status, **kept}, longest, reasons)
    return shown


def _cut(value: V, longest: int, most: int) -> V:
    """The same value with each text in it truncated, and the last `most` of each list of texts."""
    if isinstance(value, dict):
        return {key: _cut(child, longest, most) for key, child in value.items()}  # type: ignore[return-value]
    if isinstance(value, list):
        texts = all(isinstance(child, str) for child in value)
        listed = value[max(len(value) - most, 0) :] if texts else value
        return [_cut(child, longest, most) for child in listed]  # type: ignore[return-value]
    return truncated(value, longest) if isinstance(value, str) else value  # type: ignore[return-value]
