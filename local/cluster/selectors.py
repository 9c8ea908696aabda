"""Label and field selectors, in the text form of queries and the object form of specs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from local.cluster.errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.cluster.kinds import Object

Requirement: TypeAlias = tuple[str, str, tuple[str, ...]]  # key, operator, values

_SET = re.compile(r"^(?P<key>[^\s!=,()]+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[^\s!=,()]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s!=,()]*)$")
_EXISTS = re.compile(r"^(?P<op>!?)\s*(?P<key>[^\s!=,()]+)$")


def parse_labels(text: str) -> list[Requirement]:
    """`a=b,c!=d,e in (f,g),h,!i`. Raises a 400 that names the part it cannot read."""
    parts = re.split(r",(?![^(]*\))", text) if text.strip() else []
    return [_requirement(part.strip()) for part in parts]


def _requirement(part: str) -> Requirement:
    if found := _SET.match(part):
        values = tuple(value.strip() for value in found["values"].split(","))
        return found["key"], found["op"], values
    if found := _EQUAL.match(part):
        return found["key"], "notin" if found["op"] == "!=" else "in", (found["value"],)
    if found := _EXISTS.match(part):
        return found["key"], "missing" if found["op"] else "exists", ()
    raise bad_request(f'unable to parse requirement: found "{part}"')


def from_spec(selector: Object) -> list[Requirement]:
    """The requirements of the LabelSelector of a Deployment or ReplicaSet."""
    operators = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "missing"}
    labels = (selector.get("matchLabels") or {}).items()
    expressions = selector.get("matchExpressions") or []
    return [
        *((key, "in", (value,)) for key, value in labels),
        *((e["key"], operators[e["operator"]], tuple(e.get("values") or ())) for e in expressions),
    ]


def matches(requirements: list[Requirement], labels: Mapping[str, str]) -> bool:
    return all(_holds(requirement, labels) for requirement in requirements)


def _holds(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    key, operator, values = requirement
    if operator == "exists":
        return key in labels
    if operator == "missing":
        return key not in labels
    if operator == "in":
        return key in labels and labels[key] in values
    return labels.get(key) not in values


def selects(selector: Mapping[str, str] | None, labels: Mapping[str, str]) -> bool:
    """Whether a Service's selector selects the labels; an absent one selects nothing."""
    return bool(selector) and all(labels.get(k) == v for k, v in (selector or {}).items())


FIELDS = {
    "metadata.name", "metadata.namespace", "status.phase", "spec.nodeName", "type", "reason",
    "involvedObject.name", "involvedObject.namespace", "involvedObject.kind",
    "involvedObject.uid",
}  # fmt: skip


def parse_fields(text: str) -> list[tuple[str, bool, str]]:
    """`metadata.name=x,status.phase!=Running` as (field, equal, value)."""
    found = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        parsed = re.match(r"^([A-Za-z.]+)(==|=|!=)(.*)$", part)
        if parsed is None or parsed[1] not in FIELDS:
            raise bad_request(f'field label not supported: "{part}"')
        found.append((parsed[1], parsed[2] != "!=", parsed[3]))
    return found


def matches_fields(conditions: list[tuple[str, bool, str]], obj: Object) -> bool:
    return all((_field(obj, field) == value) is equal for field, equal, value in conditions)


def _field(obj: Object, path: str) -> str:
    value: object = obj
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return "" if value is None else str(value)
