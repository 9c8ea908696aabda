"""The expression language of Logic Apps workflow definitions, as far as ours use it.

https://learn.microsoft.com/azure/logic-apps/workflow-definition-language-functions-reference
A function that is not known here raises: a definition cannot use one unseen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import chain
from typing import Any
from urllib.parse import quote

TOKEN = re.compile(r"\s*(?:'((?:[^']|'')*)'|(-?\d+)|([A-Za-z_$][\w$]*)|(\?\[|[()\[\],.]))")
KEYWORDS = {"true": True, "false": False, "null": None}

Scope = dict[str, Callable[..., Any]]


def flat(lists: tuple[list[Any], ...]) -> list[Any]:
    return list(chain.from_iterable(lists))


FUNCTIONS: Scope = {
    "coalesce": lambda *values: next((value for value in values if value is not None), None),
    "concat": lambda *values: "".join(values),
    "contains": lambda collection, value: value in collection,
    "empty": lambda value: not value,
    "encodeURIComponent": lambda value: quote(value, safe="-_.!~*'()"),
    "equals": lambda left, right: left == right,
    "greater": lambda left, right: left > right,
    "if": lambda condition, yes, no: yes if condition else no,
    "join": lambda values, between: between.join(values),
    "json": json.loads,
    "length": len,
    "not": lambda value: not value,
    "replace": lambda value, old, new: value.replace(old, new),
    "setProperty": lambda thing, name, value: {**thing, name: value},
    "startsWith": lambda value, start: value.lower().startswith(start.lower()),
    "string": lambda value: value if isinstance(value, str) else json.dumps(value),
    "take": lambda collection, count: collection[:count],
    "toLower": lambda value: value.lower(),
    "union": lambda *lists: [
        item for at, item in enumerate(flat(lists)) if item not in flat(lists)[:at]
    ],
}


class Expression:
    """A recursive descent over the tokens of one expression."""

    def __init__(self, source: str, scope: Scope) -> None:
        self.tokens = list(self._tokens(source))
        self.scope = FUNCTIONS | scope

    @staticmethod
    def _tokens(source: str) -> Any:
        at = 0
        while source[at:].strip():
            match = TOKEN.match(source, at)
            if match is None:
                raise ValueError(f"cannot read the expression at {source[at:]!r}")
            text, number, name, sign = match.groups()
            if text is not None:
                yield "value", text.replace("''", "'")
            elif number is not None:
                yield "value", int(number)
            else:
                yield ("name", name) if name else ("sign", sign)
            at = match.end()

    def evaluate(self) -> Any:
        value = self._value()
        if self.tokens:
            raise ValueError(f"something follows the expression: {self.tokens}")
        return value

    def _value(self) -> Any:
        kind, token = self.tokens.pop(0)
        if kind == "value":
            return self._accessed(token)
        if kind != "name":
            raise ValueError(f"{token!r} where a value should be")
        if token in KEYWORDS:
            return KEYWORDS[token]
        return self._accessed(self._call(token))

    def _call(self, name: str) -> Any:
        self._expect("(")
        arguments = []
        while self.tokens[0] != ("sign", ")"):
            arguments.append(self._value())
            if self.tokens[0] == ("sign", ","):
                self.tokens.pop(0)
        self._expect(")")
        return self.scope[name](*arguments)

    def _accessed(self, value: Any) -> Any:
        while self.tokens and self.tokens[0] in {("sign", "["), ("sign", "?[")}:
            optional = self.tokens.pop(0)[1] == "?["
            key = self._value()
            self._expect("]")
            value = (
                value.get(key)
                if optional and isinstance(value, dict)
                else self._item(value, key, optional)
            )
        return value

    @staticmethod
    def _item(value: Any, key: Any, optional: bool) -> Any:
        if value is None and optional:
            return None
        return value[key]

    def _expect(self, sign: str) -> None:
        found = self.tokens.pop(0)
        if found != ("sign", sign):
            raise ValueError(f"{found[1]!r} where {sign!r} should be")


def resolve(document: Any, scope: Scope) -> Any:
    """The document with every expression in it replaced by its value."""
    if isinstance(document, dict):
        return {key: resolve(value, scope) for key, value in document.items()}
    if isinstance(document, list):
        return [resolve(value, scope) for value in document]
    if not isinstance(document, str):
        return document
    if document.startswith("@") and not document.startswith(("@{", "@@")):
        return Expression(document[1:], scope).evaluate()
    return _interpolated(document, scope)


def _interpolated(template: str, scope: Scope) -> str:
    result, rest = "", template
    while "@{" in rest:
        before, _, rest = rest.partition("@{")
        inside = re.match(r"((?:'(?:[^']|'')*'|[^'}])*)\}", rest)
        if inside is None:
            raise ValueError(f"an expression is not closed: {rest!r}")
        value = Expression(inside[1], scope).evaluate()
        shown = "" if value is None else value if isinstance(value, str) else json.dumps(value)
        result += before + shown
        rest = rest[inside.end() :]
    return result + rest
