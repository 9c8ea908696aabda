"""The schemas of the Gateway API's kinds that are served: HTTPRoute, as the standard channel of
version 1.5 has it, and of a Gateway what anything here reads.

tests/kubernetes compares what they take with the published CRDs, on a real API server.

https://gateway-api.sigs.k8s.io/reference/1.5/spec/
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from local.cluster.schemas import Rule, Schema

SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
HEADER = r"^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$"
ORIGIN = r"(^\*$)|(^(http(s)?):\/\/(((\*\.)?([a-zA-Z0-9\-]+\.)*[a-zA-Z0-9-]+|\*)(:([0-9]{1,5}))?)$)"
DURATION = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
PATH = re.compile(r"^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$", re.ASCII)
NOT_IN_PATHS = ("//", "/./", "/../", "%2f", "%2F", "#")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
UNITS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
INT32 = 2**31 - 1
MOST_MATCHES = 128
ROOT: dict[str, Any] = {"type": "PathPrefix", "value": "/"}


def text(most: int, pattern: str | None = None, *, least: int = 1, **more: Any) -> Schema:
    return Schema("string", length=(least, most), pattern=pattern, **more)


def number(least: int, most: int = INT32, **more: Any) -> Schema:
    return Schema("integer", between=(least, most), **more)


def each(items: Schema, most: int, *, least: int = 0, **more: Any) -> Schema:
    return Schema("array", items=items, length=(least, most), **more)


def words(*known: str, **more: Any) -> Schema:
    return Schema("string", one_of=known, **more)


PORT = number(1, 65535)


def _whole_service(reference: dict[str, Any]) -> bool:
    service = not reference["group"] and reference["kind"] == "Service"
    return "port" in reference or not service


def _reference(group: str, kind: str, **fields: Schema) -> dict[str, Schema]:
    return {
        "group": text(253, rf"^$|{SUBDOMAIN}", least=0, default=group),
        "kind": text(63, r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$", default=kind),
        "name": text(253),
        "namespace": text(63, LABEL),
        "port": PORT,
        **fields,
    }


def _backend(**fields: Schema) -> Schema:
    rule: Rule = ("Must have port for Service reference", _whole_service)
    known = _reference("", "Service", **fields)
    return Schema("object", known, required=("name",), rules=(rule,))


def _pair(most: int, **fields: Schema) -> Schema:
    known = {"name": text(256, HEADER), "value": text(most), **fields}
    return Schema("object", known, required=("name", "value"))


HEADERS = each(_pair(4096), 16, key="name")
MODIFIER = Schema(
    "object",
    {"add": HEADERS, "remove": each(Schema("string"), 16, key=""), "set": HEADERS},
)


def _replaces(path: dict[str, Any]) -> bool:
    kinds = {"replaceFullPath": "ReplaceFullPath", "replacePrefixMatch": "ReplacePrefixMatch"}
    return all((name in path) == (path["type"] == kind) for name, kind in kinds.items())


REPLACED = Schema(
    "object",
    {
        "type": words("ReplaceFullPath", "ReplacePrefixMatch"),
        "replaceFullPath": text(1024, least=0),
        "replacePrefixMatch": text(1024, least=0),
    },
    required=("type",),
    rules=(("type and what is replaced must go together", _replaces),),
)


def _alone(found: list[Any]) -> bool:
    return "*" not in found or len(found) == 1


def _several(items: Schema, most: int) -> Schema:
    rule: Rule = ("cannot contain '*' alongside others", _alone)
    return each(items, most, key="", rules=(rule,))


FILTERS = {
    "RequestHeaderModifier": MODIFIER,
    "ResponseHeaderModifier": MODIFIER,
    "RequestMirror": Schema(
        "object",
        {
            "backendRef": _backend(),
            "percent": number(0, 100),
            "fraction": Schema(
                "object",
                {"numerator": number(0), "denominator": number(1, default=100)},
                required=("numerator",),
                rules=(
                    (
                        "numerator must be less than or equal to denominator",
                        lambda part: part["numerator"] <= part["denominator"],
                    ),
                ),
            ),
        },
        required=("backendRef",),
        rules=(("Only one of percent or fraction may be specified", lambda one: len(one) < 3),),
    ),
    "RequestRedirect": Schema(
        "object",
        {
            "scheme": words("http", "https"),
            "hostname": text(253, SUBDOMAIN),
            "path": REPLACED,
            "port": PORT,
            "statusCode": Schema("integer", one_of=(301, 302, 303, 307, 308), default=302),
        },
    ),
    "URLRewrite": Schema("object", {"hostname": text(253, SUBDOMAIN), "path": REPLACED}),
    "ExtensionRef": Schema(
        "object",
        {
            "group": text(253, rf"^$|{SUBDOMAIN}", least=0),
            "kind": text(63, r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"),
            "name": text(253),
        },
        required=("group", "kind", "name"),
    ),
    "CORS": Schema(
        "object",
        {
            "allowCredentials": Schema("boolean"),
            "allowHeaders": _several(text(256, HEADER), 64),
            "allowMethods": _several(words(*METHODS, "*"), 9),
            "allowOrigins": _several(text(253, ORIGIN), 64),
            "exposeHeaders": each(text(256, HEADER), 64, key=""),
            "maxAge": number(1, default=5),
        },
    ),
}
KEYS = {kind: kind[0].lower() + kind[1:] for kind in FILTERS} | {
    "URLRewrite": "urlRewrite",
    "CORS": "cors",
}
ONCE = ("CORS", "RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite")


def _has_its_own(found: dict[str, Any]) -> bool:
    return all((key in found) == (found["type"] == kind) for kind, key in KEYS.items())


def _not_both(found: list[dict[str, Any]]) -> bool:
    return not {"RequestRedirect", "URLRewrite"} <= {one["type"] for one in found}


def _once(kind: str, found: list[dict[str, Any]]) -> bool:
    return [one["type"] for one in found].count(kind) <= 1


FILTER_LIST = each(
    Schema(
        "object",
        {"type": words(*FILTERS), **{KEYS[kind]: one for kind, one in FILTERS.items()}},
        required=("type",),
        rules=(("a filter has what its type names, and nothing else", _has_its_own),),
    ),
    16,
    rules=(
        ("May specify either a redirect or a rewrite, but not both", _not_both),
        *((f"{kind} filter cannot be repeated", partial(_once, kind)) for kind in ONCE),
    ),
)


def _good_path(path: dict[str, Any]) -> bool:
    if path["type"] == "RegularExpression":
        return True
    value = str(path["value"])
    bad = any(part in value for part in NOT_IN_PATHS) or value.endswith(("/..", "/."))
    return value.startswith("/") and not bad and bool(PATH.match(value))


def _matched(most: int) -> Schema:
    kind = words("Exact", "RegularExpression", default="Exact")
    return each(_pair(most, type=kind), 16, key="name")


MATCH = Schema(
    "object",
    {
        "headers": _matched(4096),
        "method": words(*METHODS),
        "path": Schema(
            "object",
            {
                "type": words("Exact", "PathPrefix", "RegularExpression", default="PathPrefix"),
                "value": text(1024, least=0, default="/"),
            },
            default=ROOT,
            rules=(("must be an absolute path of valid characters", _good_path),),
        ),
        "queryParams": _matched(1024),
    },
)


def _milliseconds(duration: str) -> int:
    return sum(int(n) * UNITS[u] for n, u in re.findall(r"([0-9]+)(ms|h|m|s)", duration))


def _in_time(timeouts: dict[str, str]) -> bool:
    both = {name: _milliseconds(value) for name, value in timeouts.items()}
    whole = both.get("request", 0)
    return not whole or both.get("backendRequest", 0) <= whole


def _no_redirect(rule: dict[str, Any]) -> bool:
    redirects = any("requestRedirect" in one for one in rule.get("filters") or [])
    return not (rule.get("backendRefs") and redirects)


def _one_prefix(rule: dict[str, Any]) -> bool:
    """Whether what replaces a prefix has one to replace."""
    own = [rule.get("filters") or []]
    of_backends = [backend.get("filters") or [] for backend in rule.get("backendRefs") or []]
    replacing = [
        [one for one in filters if "replacePrefixMatch" in (one.get(key) or {}).get("path", {})]
        for key in ("requestRedirect", "urlRewrite")
        for filters in (*own, *of_backends)
    ]
    if not any(len(found) == 1 for found in replacing):
        return True
    matches = rule["matches"]
    return len(matches) == 1 and bool(matches[0]["path"]["type"] == "PathPrefix")


def _few_matches(rules: list[dict[str, Any]]) -> bool:
    return sum(len(rule["matches"]) for rule in rules) <= MOST_MATCHES


RULES = each(
    Schema(
        "object",
        {
            "name": text(253, SUBDOMAIN),
            "matches": each(MATCH, 64, default=[{"path": ROOT}]),
            "filters": FILTER_LIST,
            "backendRefs": each(
                _backend(filters=FILTER_LIST, weight=number(0, 1_000_000, default=1)), 16
            ),
            "timeouts": Schema(
                "object",
                {
                    "request": Schema("string", pattern=DURATION),
                    "backendRequest": Schema("string", pattern=DURATION),
                },
                rules=(("backendRequest cannot be longer than request", _in_time),),
            ),
        },
        rules=(
            ("RequestRedirect filter must not be used together with backendRefs", _no_redirect),
            ("replacePrefixMatch needs exactly one PathPrefix match", _one_prefix),
        ),
    ),
    16,
    least=1,
    default=[{"matches": [{"path": ROOT}]}],
    rules=(("the number of matches of all rules must be 128 at most", _few_matches),),
)


def _sections(parents: list[dict[str, Any]]) -> bool:
    """Whether several references to one parent name a section each, and none twice."""
    sections: dict[tuple[Any, ...], list[str]] = {}
    for one in parents:
        key = (one["group"], one["kind"], one["name"], one.get("namespace", ""))
        sections.setdefault(key, []).append(one.get("sectionName", ""))
    return all(
        len(found) == 1 or (len(set(found)) == len(found) and all(found))
        for found in sections.values()
    )


HTTP_ROUTE = Schema(
    "object",
    {
        "parentRefs": each(
            Schema(
                "object",
                _reference(
                    "gateway.networking.k8s.io", "Gateway", sectionName=text(253, SUBDOMAIN)
                ),
                required=("name",),
            ),
            32,
            rules=(("sectionName must be given and unique for one parent", _sections),),
        ),
        "hostnames": each(text(253, rf"^(\*\.)?{SUBDOMAIN[1:]}"), 16),
        "rules": RULES,
    },
)
GATEWAY = Schema(
    "object",
    {
        "gatewayClassName": text(253),
        "listeners": each(
            Schema(
                "object",
                {
                    "name": text(253, SUBDOMAIN),
                    "hostname": text(253, rf"^(\*\.)?{SUBDOMAIN[1:]}"),
                    "port": PORT,
                    "protocol": text(255),
                    "tls": Schema("object"),
                    "allowedRoutes": Schema("object"),
                },
                required=("name", "port", "protocol"),
            ),
            64,
            least=1,
            key="name",
        ),
        "addresses": each(Schema("object"), 16),
        "infrastructure": Schema("object"),
    },
    required=("gatewayClassName", "listeners"),
)
