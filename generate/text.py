"""Parts of hand-written texts: found once, or not at all."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rotation.model.wire import JsonObject


def replaced(text: str, pattern: str, part: str) -> str:
    """The text with `part` in place of the pattern's group.

    Raises `LookupError` unless there is just one.
    """
    matches = list(re.finditer(pattern, text, re.DOTALL))
    if len(matches) != 1:
        raise LookupError(f"{pattern!r} is there {len(matches)} times, not once")
    start, end = matches[0].span(1)
    return text[:start] + part + text[end:]


def between(text: str, name: str, part: str) -> str:
    """The Markdown text with `part` between the markers of `name`."""
    begin, end = f"<!-- make generated: {name} -->\n", "<!-- end of what is generated -->"
    pattern = re.escape(begin) + f"((?:(?!{re.escape(end)}).)*)" + re.escape(end)
    return replaced(text, pattern, f"\n{part}\n\n")


def table(*rows: tuple[str, ...]) -> str:
    """A Markdown table; the first row is its head."""
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def document(value: JsonObject) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
