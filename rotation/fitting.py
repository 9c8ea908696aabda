"""Keeps a custom status within 16 KB of UTF-16, which is all that Azure Storage takes of one.

An orchestration whose status is larger fails at once, so the limit is kept whatever the texts are.
The output of the orchestration has everything in full.
"""

from __future__ import annotations

import json
from typing import Any

LIMIT = 8000  # characters of JSON, all of it ASCII
# Tried in this order: how long a text may be, and how many of the last steps are shown.
TIGHTER = ((1000, 50), (300, 50), (110, 50), (110, 12))


def fitting(status: dict[str, Any]) -> dict[str, Any]:
    """The same status with shorter texts and only its last steps, where it is too long.

    Ids and names have at most a hundred characters and stay whole.
    """
    shown = status
    for longest, steps in TIGHTER:
        if len(json.dumps(shown)) <= LIMIT:
            break
        shown = {**_cut(status, longest), "steps": _cut(status["steps"][-steps:], longest)}
    return shown


def _cut(value: Any, longest: int) -> Any:
    if isinstance(value, dict):
        return {key: _cut(child, longest) for key, child in value.items()}
    if isinstance(value, list):
        return [_cut(child, longest) for child in value]
    return shortened(value, longest) if isinstance(value, str) else value


def shortened(text: str, longest: int) -> str:
    """`longest` counts the characters that it takes in JSON, where one may become twelve."""
    if _size(text) <= longest:
        return text
    low, high = 0, min(len(text), longest)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _size(text[:middle]) <= longest - 6 else (low, middle - 1)
    return f"{text[:low]}…"


def _size(text: str) -> int:
    return len(json.dumps(text)) - 2
