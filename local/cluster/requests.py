"""What a request asks for, read from its method and path, as upstream's RequestInfo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from local.cluster.errors import bad_request, method_not_allowed, no_such_path
from local.cluster.kinds import ACCESS_REVIEW, BY_PLURAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.cluster.kinds import Kind

METHODS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch",
           "DELETE": "delete", "OPTIONS": "get"}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A resource request. `rest` is the decoded path behind a proxy subresource, from its slash."""

    verb: str
    kind: Kind
    namespace: str
    name: str
    subresource: str = ""
    rest: str = ""

    @property
    def resource(self) -> str:
        """The resource as roles name it: `deployments/scale`."""
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural


def parse(method: str, raw_path: str, query: Mapping[str, str]) -> Target:
    """Raises 404 for a path that names no served resource, 405 for a verb that it has not."""
    group, version, segments = _split(raw_path)
    namespace = ""
    within = len(segments) > 2 and segments[0] == "namespaces"
    if within and (group, version, segments[2]) in BY_PLURAL:
        namespace, segments = unquote(segments[1]), segments[2:]
    kind = BY_PLURAL.get((group, version, segments[0]))
    if kind is None or (namespace and not kind.namespaced):
        raise no_such_path()
    return _target(kind, namespace, segments[1:], method, query)


def _split(raw_path: str) -> tuple[str, str, list[str]]:
    """Group, version and the segments behind them, as they were sent."""
    parts = raw_path.split("/")[1:]
    if len(parts) > 2 and parts[0] == "api":
        return "", parts[1], parts[2:]
    if len(parts) > 3 and parts[0] == "apis":
        return parts[1], parts[2], parts[3:]
    raise no_such_path()


def _target(
    kind: Kind, namespace: str, segments: list[str], method: str, query: Mapping[str, str]
) -> Target:
    if segments[1:2] == ["proxy"] and "proxy" in kind.subresources:
        # Decoded as a whole, as upstream: a client may send the slashes of a path as %2F.
        rest = "/" + unquote("/".join(segments[2:])) if len(segments) > 2 else ""
        return Target(_verb(method), kind, namespace, unquote(segments[0]), "proxy", rest)
    name, subresource, *more = [*(unquote(part) for part in segments if part), "", ""]
    if any(more) or (subresource and subresource not in kind.subresources):
        raise no_such_path()
    if name and kind.namespaced and not namespace:
        raise no_such_path()
    if subresource == "eviction":
        if method != "POST":
            raise method_not_allowed()
        return Target("create", kind, namespace, name, subresource)
    verb = _item_verb(method, query) if name else _collection_verb(method, kind, query)
    return Target(verb, kind, namespace, name or _named(query), subresource)


def _verb(method: str) -> str:
    if method not in METHODS:
        raise method_not_allowed()
    return METHODS[method]


def _item_verb(method: str, query: Mapping[str, str]) -> str:
    if method == "POST" or method not in METHODS:
        raise method_not_allowed()
    return "watch" if method == "GET" and flag(query, "watch") else METHODS[method]


def _collection_verb(method: str, kind: Kind, query: Mapping[str, str]) -> str:
    if method == "POST":
        return "create"
    if kind is ACCESS_REVIEW:
        raise method_not_allowed()
    if method == "GET":
        return "watch" if flag(query, "watch") else "list"
    if method == "DELETE":
        return "deletecollection"
    raise method_not_allowed()


def _named(query: Mapping[str, str]) -> str:
    """The name of a request: a list or watch of one name by field selector counts as a request
    for that name."""
    for part in query.get("fieldSelector", "").split(","):
        field, _, value = part.partition("=")
        if field == "metadata.name":
            return value.lstrip("=")
    return ""


def flag(query: Mapping[str, str], key: str) -> bool:
    return query.get(key, "").lower() in {"true", "1"}


def whole(query: Mapping[str, str], key: str) -> int:
    text = query.get(key, "0")
    if not text.isdecimal():
        raise bad_request(f"{key} is {text!r}; it must be a whole number")
    return int(text)
