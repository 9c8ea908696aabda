"""Route templates: `{name}`, `{name:constraint}`, `{name?}`, `{*rest}`, matched as ASP.NET does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable

PARAMETER = re.compile(r"\{((?:[^{}]|\{\{|\}\})+)\}")
GUID = r"\{?[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\}?"
INT32 = 2**31
INT64 = 2**63


class RouteError(Exception):
    """A template that cannot be served; the message holds template and reason."""


def _whole(limit: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        return re.fullmatch(r"[+-]?\d+", text) is not None and -limit <= int(text) < limit

    return check


def _like(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


PLAIN: dict[str, Callable[[str], bool]] = {
    "int": _whole(INT32),
    "long": _whole(INT64),
    "bool": _like("(?i)true|false"),
    "guid": _like(GUID),
    "alpha": _like("[A-Za-z]*"),
    "decimal": _like(r"[+-]?\d*\.?\d+"),
    "double": _like(r"[+-]?\d*\.?\d+([eE][+-]?\d+)?"),
    "float": _like(r"[+-]?\d*\.?\d+([eE][+-]?\d+)?"),
    "required": lambda text: text != "",
}
NUMBERED: dict[str, Callable[[str, list[int]], bool]] = {
    "length": lambda text, n: n[0] <= len(text) <= n[-1],
    "minlength": lambda text, n: len(text) >= n[0],
    "maxlength": lambda text, n: len(text) <= n[0],
    "min": lambda text, n: PLAIN["long"](text) and int(text) >= n[0],
    "max": lambda text, n: PLAIN["long"](text) and int(text) <= n[0],
    "range": lambda text, n: PLAIN["long"](text) and n[0] <= int(text) <= n[-1],
}


def constraint(text: str) -> Callable[[str], bool]:
    """`int`, `range(1,9)`, `regex(^a+$)`... Raises `ValueError` for one that is not known."""
    if text in PLAIN:
        return PLAIN[text]
    call = re.fullmatch(r"(\w+)\((.*)\)", text)
    if call is None:
        raise ValueError(f"constraint {text!r} is not known")
    name, argument = call.groups()
    if name == "regex":
        pattern = re.compile(argument, re.IGNORECASE)
        return lambda value: pattern.search(value) is not None
    if name not in NUMBERED:
        raise ValueError(f"constraint {text!r} is not known")
    numbers = [int(number) for number in argument.split(",")]
    return lambda value: NUMBERED[name](value, numbers)


@dataclass(frozen=True)
class Parameter:
    """One `{...}` of a template."""

    name: str
    checks: tuple[Callable[[str], bool], ...]
    optional: bool
    catch_all: bool

    @classmethod
    def parse(cls, text: str) -> Parameter:
        name, *constraints = _split_constraints(text)
        if "=" in text.split(":", 1)[0]:
            raise ValueError(f"default values ({{{text}}}) are not supported")
        last = constraints[-1] if constraints else name
        optional = last.endswith("?")
        if optional and constraints:
            constraints[-1] = constraints[-1][:-1]
        bare = name.lstrip("*").removesuffix("?")
        return cls(bare, tuple(constraint(c) for c in constraints), optional, name.startswith("*"))

    def accepts(self, value: str) -> bool:
        return all(check(value) for check in self.checks)


def _split_constraints(text: str) -> list[str]:
    """The constraints, split at colons outside parentheses; braces of a regex are written
    doubled."""
    parts = re.split(r":(?![^(]*\))", text)
    return [part.replace("{{", "{").replace("}}", "}") for part in parts]


class Route:
    """A parsed template. `order` sorts the more specific route first, segment by segment."""

    def __init__(self, template: str) -> None:
        self.template = template
        try:
            segments = [segment for segment in template.strip("/").split("/") if segment]
            parsed = [_segment(segment) for segment in segments]
            self._pattern = re.compile("".join(text for text, _ in parsed), re.IGNORECASE)
        except (ValueError, re.error) as error:
            raise RouteError(f"route {template!r}: {error}") from error
        self._parameters = {p.name: p for _, parameters in parsed for p in parameters}
        self.order = tuple(
            _weight(segment, parameters)
            for segment, (_, parameters) in zip(segments, parsed, strict=True)
        )

    def match(self, raw_path: str) -> dict[str, str] | None:
        """`raw_path` is still quoted. Optional parameters that were left out are absent."""
        found = self._pattern.fullmatch("/" + raw_path.strip("/") if raw_path.strip("/") else "")
        if found is None:
            return None
        values = {name: unquote(value) for name, value in found.groupdict().items() if value}
        accepted = all(self._parameters[name].accepts(value) for name, value in values.items())
        return values if accepted else None


def _segment(segment: str) -> tuple[str, list[Parameter]]:
    """A pattern that includes the leading slash, and the segment's parameters."""
    parameters: list[Parameter] = []
    pattern, position = "", 0
    for found in PARAMETER.finditer(segment):
        parameter = Parameter.parse(found.group(1))
        parameters.append(parameter)
        pattern += re.escape(segment[position : found.start()])
        pattern += f"(?P<{parameter.name}>{'.*' if parameter.catch_all else '[^/]+?'})"
        position = found.end()
    pattern = "/" + pattern + re.escape(segment[position:])
    whole = len(parameters) == 1 and PARAMETER.fullmatch(segment) is not None
    if whole and (parameters[0].optional or parameters[0].catch_all):
        pattern = f"(?:{pattern})?"
    return pattern, parameters


def _weight(segment: str, parameters: list[Parameter]) -> int:
    """ASP.NET's precedence: literal, mixed or constrained, plain, constrained catch-all, rest."""
    if not parameters:
        return 1
    first = parameters[0]
    if first.catch_all:
        return 4 if first.checks else 5
    mixed = PARAMETER.fullmatch(segment) is None
    return 2 if mixed or first.checks else 3
