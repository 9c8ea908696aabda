"""What was found, as a table: for a terminal, and in docs/applications.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from local.load.generator import KEEP_ALIVE, POOLED
from local.process import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.frameworks.measuring import Found

PAGE = ROOT / "docs" / "applications.md"
BEGIN, END = "<!-- make bench-frameworks -->", "<!-- end of what is measured -->"
HEAD = (
    "application",
    "on SIGTERM",
    "http.client, never looks",
    "urllib3 pool",
    "after a rejection",
    "elsewhere",
    "of requests",
)


def rows(found: Iterable[Found]) -> list[tuple[str, ...]]:
    return [
        (
            one.application,
            one.title,
            _each(one.approved, KEEP_ALIVE),
            _each(one.approved, POOLED),
            ", ".join(str(sum(each.values())) for each in one.rejected),
            str(sum(one.elsewhere.values())),
            str(one.requests),
        )
        for one in found
    ]


def _each(counts: list[dict[str, int]], kind: str) -> str:
    return ", ".join(str(count[kind]) for count in counts)


def text(found: dict[str, Any]) -> str:
    lines = [HEAD, *rows(found["measured"])]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([_about(found), "", *shown, "", *found["left_out"]]).rstrip() + "\n"


def markdown(found: dict[str, Any]) -> str:
    lines = [HEAD, ("---",) * len(HEAD), *rows(found["measured"])]
    shown = [f"| {' | '.join(line)} |" for line in lines]
    left = [f"{sentence}." for sentence in found["left_out"]]
    return "\n".join([_about(found), "", *shown, *(["", *left] if left else [])])


def _about(found: dict[str, Any]) -> str:
    machine, pace = found["machine"], found["pace"]
    return (
        f"`make bench-frameworks` on {machine['date']}: {machine['cores']} cores "
        f"({machine['processor']}) with a load of {machine['load']} beforehand,\n"
        f"Python {machine['python']}, PostgreSQL {machine['postgresql']}. Failed requests of eight "
        f"clients of each kind, {pace['rate']:g} requests a second each, after each\n"
        f"approval; after each rejection, and at any other time, of both kinds together."
    )


def write(found: dict[str, Any]) -> None:
    """Writes it into docs/applications.md. Raises `LookupError` where there is no place for it."""
    page = PAGE.read_text(encoding="utf-8")
    between = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if len(between.findall(page)) != 1:
        raise LookupError(f"{PAGE} has no place between {BEGIN} and {END}")
    made = f"{BEGIN}\n\n{markdown(found)}\n\n{END}"
    PAGE.write_text(between.sub(lambda _: made, page), encoding="utf-8")
