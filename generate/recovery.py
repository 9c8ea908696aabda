"""docs/recovery.md: how rotations end, and what each reason's code means."""

from __future__ import annotations

from generate.text import between, table
from rotation.model.catalogue import Ending, Outcome, ending
from rotation.model.reasons import Area, Code


def made(text: str) -> str:
    """The text of docs/recovery.md with its tables.

    Everything around them is kept. Raises `LookupError` for an area without a place.
    """
    text = between(text, "outcomes", _outcomes())
    for area in Area:
        text = between(text, area.value, _reasons(area))
    return text


def _outcomes() -> str:
    head = ("outcome", "production runs on", "what is left", "to do")
    rows = [(f"`{one}`", end.production, end.left, end.to_do) for one, end in _endings()]
    return table(head, *rows)


def _endings() -> list[tuple[Outcome, Ending]]:
    return [(outcome, ending(outcome)) for outcome in Outcome]


def _reasons(area: Area) -> str:
    codes = [code for code in Code if code.area is area]
    rows = [(f"`{code}`", code.cause, code.remedy, code.waived or "never") for code in codes]
    head = ("code", "cause", "cure", "if it is waived")
    # A column where no row has anything to say would only be in the way.
    width = len(head) if any(code.waived for code in codes) else len(head) - 1
    return f"### {area}\n\n{table(*(row[:width] for row in (head, *rows)))}"
