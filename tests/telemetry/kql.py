"""Runs the queries of the alerts and guides on log lines: an interpreter of just what they use.

It refuses every operator and function that it does not know, so a query that it runs is one that it
understands. That the text is Kusto's language at all, and which columns come out, is what Kusto's
own language service says (kusto.py); test_queries.py compares both. The engines in Python that were
tried stop at a log line that is no JSON, and read no properties of a dynamic column.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Row = dict[str, Any]
Value = Any  # of a cell: text, number, datetime, None, or the dict, list, ... of a dynamic one

TOKEN = re.compile(
    r"""\s*(?:(?P<span>\d+[dhms])\b|(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-z_]\w*)"""
    r"""|"(?P<text>[^"\\]*)"|(?P<sign>==|!=|<=|>=|[-<>=|(),.\[\]]))"""
)
UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}
EPOCH = datetime(1, 1, 1, tzinfo=UTC)


class UnknownError(Exception):
    """Something that this interpreter does not know; its text says what."""


@dataclass(frozen=True)
class Named:
    """A column that a query makes: its name, and how to compute it."""

    name: str
    of: Callable[[Any], Value]


def run(query: str, tables: dict[str, list[Row]]) -> list[Row]:
    """The rows that come out. Raises `UnknownError`."""
    reader = _Reader(_tokens(re.sub(r"//[^\n]*", "", query)))
    rows = [dict(row) for row in tables[reader.name()]]
    while reader.take("|"):
        rows = _operator(reader, rows)
    reader.end()
    return rows


def columns(query: str, sample: Row) -> list[str]:
    """The names of the columns that come out for such a row of `traces`, in their order."""
    kept = re.sub(r"\|\s*where [^|]*", "", query)  # no condition takes the row away
    return list(run(kept, {"traces": [sample]})[0])


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise UnknownError(f"what stands at {text[at : at + 20]!r}")
        kind = str(match.lastgroup)
        found.append((kind, match[kind]))
        at = match.end()
    return found


class _Reader:
    """Goes through the tokens of a query."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._left = tokens

    def peek(self) -> tuple[str, str]:
        return self._left[0] if self._left else ("end", "")

    def take(self, *words: str) -> bool:
        """Whether these come next; they are behind the reader then."""
        heads = [word for kind, word in self._left[: len(words)] if kind in {"name", "sign"}]
        if heads != list(words):
            return False
        del self._left[: len(words)]
        return True

    def expect(self, word: str) -> None:
        if not self.take(word):
            raise UnknownError(f"{self.peek()[1]!r} where {word!r} was expected")

    def name(self) -> str:
        kind, word = self.peek()
        if kind != "name":
            raise UnknownError(f"{word!r} where a name was expected")
        del self._left[0]
        return word

    def next(self) -> tuple[str, str]:
        head = self.peek()
        del self._left[:1]
        return head

    def end(self) -> None:
        if self._left:
            raise UnknownError(f"what follows {self._left[0][1]!r}")

    def several(self, one: Callable[[], Any]) -> list[Any]:
        found = [one()]
        while self.take(","):
            found.append(one())
        return found


def _operator(reader: _Reader, rows: list[Row]) -> list[Row]:
    match reader.name():
        case "where":
            condition, _ = _either(reader)
            return [row for row in rows if condition(row) is True]
        case "extend":
            made = reader.several(lambda: _named(reader))
            return [_extended(row, made) for row in rows]
        case "project":
            made = reader.several(lambda: _named(reader))
            return [{one.name: one.of(row) for one in made} for row in rows]
        case "summarize":
            return _summarized(reader, rows)
        case "order":
            return _ordered(reader, rows)
        case other:
            raise UnknownError(f"the operator {other!r}")


def _extended(row: Row, made: list[Named]) -> Row:
    """Columns of one `extend` do not see each other."""
    return {**row, **{one.name: one.of(row) for one in made}}


def _named(reader: _Reader) -> Named:
    of, name = _either(reader)
    if reader.take("="):
        of, _ = _either(reader)
    return Named(name, of)


def _ordered(reader: _Reader, rows: list[Row]) -> list[Row]:
    reader.expect("by")
    of, _ = _either(reader)
    if not reader.take("asc"):
        raise UnknownError("an order that is not said to be `asc`")
    return sorted(rows, key=of)


def _summarized(reader: _Reader, rows: list[Row]) -> list[Row]:
    counted = reader.several(lambda: _aggregate(reader))
    by = reader.several(lambda: _named(reader)) if reader.take("by") else []
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(repr([one.of(row) for one in by]), []).append(row)
    return [
        {one.name: one.of(group[0]) for one in by} | {one.name: one.of(group) for one in counted}
        for group in groups.values()
    ]


def _aggregate(reader: _Reader) -> Named:
    function = reader.name()
    reader.expect("(")
    if function == "count":
        reader.expect(")")
        return Named("count_", len)
    of, name = _either(reader)
    if function == "any":
        reader.expect(")")
        return Named(f"any_{name}", lambda rows: of(rows[0]))
    if function == "percentile":
        reader.expect(",")
        _, percent = reader.next()
        reader.expect(")")
        return Named(f"percentile_{name}_{percent}", lambda rows: _nearest(of, rows, int(percent)))
    raise UnknownError(f"the aggregate {function!r}")


def _nearest(of: Callable[[Row], Value], rows: list[Row], percent: int) -> Value:
    """The nearest rank; Kusto estimates it."""
    values = sorted(value for value in map(of, rows) if value is not None)
    return values[max(0, -(-len(values) * percent // 100) - 1)] if values else None


# Expressions: what computes a value of a row, with the name that Kusto gives a column of it.


def _either(reader: _Reader) -> tuple[Callable[[Row], Value], str]:
    left, name = _both(reader)
    while reader.take("or"):
        left = _join(left, _both(reader)[0], any)
    return left, name


def _both(reader: _Reader) -> tuple[Callable[[Row], Value], str]:
    left, name = _compared(reader)
    while reader.take("and"):
        left = _join(left, _compared(reader)[0], all)
    return left, name


def _join(
    one: Callable[[Row], Value], other: Callable[[Row], Value], how: Callable[[list[bool]], bool]
) -> Callable[[Row], Value]:
    return lambda row: how([one(row) is True, other(row) is True])


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _compared(reader: _Reader) -> tuple[Callable[[Row], Value], str]:
    left, name = _value(reader)
    if reader.take("in"):
        reader.expect("(")
        others = [of for of, _ in reader.several(lambda: _value(reader))]
        reader.expect(")")
        return lambda row: left(row) in [of(row) for of in others], name
    kind, sign = reader.peek()
    if kind != "sign" or sign not in COMPARE:
        return left, name
    reader.next()
    right, _ = _value(reader)
    return lambda row: _comparison(sign, left(row), right(row)), name


def _comparison(sign: str, left: Value, right: Value) -> bool | None:
    """What has no value compares with nothing."""
    return None if left is None or right is None else COMPARE[sign](left, right)


def _value(reader: _Reader) -> tuple[Callable[[Row], Value], str]:
    kind, word = reader.next()
    if kind == "text":
        return lambda _: word, ""
    if kind == "number":
        return lambda _: float(word), ""
    if kind == "span":
        return lambda _: int(word[:-1]) * UNITS[word[-1]], ""
    if kind != "name":
        raise UnknownError(f"{word!r} where a value was expected")
    if reader.take("("):
        given = [] if reader.take(")") else reader.several(lambda: _either(reader))
        if given:
            reader.expect(")")
        return _call(word, given)
    return _path(reader, word)


def _path(reader: _Reader, column: str) -> tuple[Callable[[Row], Value], str]:
    keys: list[str] = []
    while reader.take(".") or reader.peek() == ("sign", "["):
        if reader.take("["):
            keys.append(reader.next()[1])
            reader.expect("]")
        else:
            keys.append(reader.name())

    def of(row: Row) -> Value:
        found = row[column]
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    return of, "_".join([column, *keys])


def _call(
    function: str, given: list[tuple[Callable[[Row], Value], str]]
) -> tuple[Callable[[Row], Value], str]:
    """A conversion keeps the name of what it converts."""
    made = FUNCTIONS.get(function)
    if made is None:
        raise UnknownError(f"the function {function!r}")
    parts = [of for of, _ in given]
    return lambda row: made(*(of(row) for of in parts)), given[0][1]


def _parse_json(text: Value) -> Value:
    """What is no JSON stays text, of which nothing can be read."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _to_string(value: Value) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _to_double(value: Value) -> float | None:
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _bin(moment: datetime, size: timedelta) -> datetime:
    return moment - (moment - EPOCH) % size


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "parse_json": _parse_json,
    "tostring": _to_string,
    "todouble": _to_double,
    "bin": _bin,
}
