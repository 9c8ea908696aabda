"""HTTPRoutes, good ones and bad ones, for the stand-in and for a real API server with the published
CRDs."""

from __future__ import annotations

from typing import Any

GROUP = "gateway.networking.k8s.io"


def backend(name: str = "web-blue", **more: Any) -> dict[str, Any]:
    return {"name": name, "port": 80, **more}


def route(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {"parentRefs": [{"name": "edge"}], **spec},
    }


def pair(blue: int, green: int) -> list[dict[str, Any]]:
    return [backend("web-blue", weight=blue), backend("web-green", weight=green)]


def gateway(name: str = "edge") -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Gateway",
        "metadata": {"name": name},
        "spec": {
            "gatewayClassName": "local",
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
        },
    }


def _one(**rule: Any) -> dict[str, Any]:
    return {"rules": [rule]}


def _path(kind: str, value: str) -> dict[str, Any]:
    return _one(matches=[{"path": {"type": kind, "value": value}}])


def _filter(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, **more}


HEADER = {"set": [{"name": "X-Slot", "value": "blue"}]}
PREFIX = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
TWO_MATCHES = [{"path": {"value": "/a"}}, {"path": {"value": "/b"}}]

# What an API server takes, by name.
GOOD: dict[str, dict[str, Any]] = {
    "nothing": {},
    "no parents": {"parentRefs": []},
    "two slots": _one(backendRefs=pair(100, 0)),
    "no weight": _one(backendRefs=[backend(), backend("web-green", weight=0)]),
    "the most weight": _one(backendRefs=[backend(weight=1_000_000)]),
    "sixteen backends": _one(backendRefs=[backend(f"s{n}") for n in range(16)]),
    "sixteen rules": {"rules": [{"backendRefs": [backend()]}] * 16},
    "128 matches": {"rules": [{"matches": [{"path": {"value": f"/{n}"}} for n in range(64)]}] * 2},
    "another kind without a port": _one(
        backendRefs=[{"group": "example.org", "kind": "Bucket", "name": "b"}]
    ),
    "another namespace": _one(backendRefs=[backend(namespace="elsewhere")]),
    "an unknown field": {"unheard": 1, **_one(backendRefs=[backend(unheard=2)])},
    "nulls": {"hostnames": None, **_one(backendRefs=[backend(weight=None)], filters=None)},
    "hostnames": {"hostnames": ["web.example.org", "*.example.org"]},
    "an exact path": _path("Exact", "/a%20b/~c"),
    "an expression": _path("RegularExpression", "no/[slash"),
    "headers": _one(matches=[{"headers": [{"name": "X-A", "value": "1"}], "method": "GET"}]),
    "query": _one(matches=[{"queryParams": [{"name": "a", "value": "1"}]}]),
    "a name": _one(name="first.rule"),
    "timeouts": _one(timeouts={"request": "10s", "backendRequest": "9500ms"}),
    "no timeout for all": _one(timeouts={"request": "0s", "backendRequest": "10s"}),
    "a header filter": _one(
        filters=[_filter("RequestHeaderModifier", requestHeaderModifier=HEADER)]
    ),
    "a mirror": _one(
        backendRefs=pair(100, 0),
        filters=[_filter("RequestMirror", requestMirror={"backendRef": backend("copy")})],
    ),
    "a mirror of a fraction": _one(
        filters=[
            _filter(
                "RequestMirror",
                requestMirror={"backendRef": backend("copy"), "fraction": {"numerator": 5}},
            )
        ]
    ),
    "a redirect": _one(filters=[_filter("RequestRedirect", requestRedirect={"scheme": "https"})]),
    "a rewrite of a prefix": _one(filters=[_filter("URLRewrite", urlRewrite=PREFIX)]),
    "an extension": _one(
        filters=[
            _filter("ExtensionRef", extensionRef={"group": "", "kind": "ConfigMap", "name": "x"})
        ]
    ),
    "cors": _one(filters=[_filter("CORS", cors={"allowOrigins": ["https://*.example.org"]})]),
    "a filter of a backend": _one(
        backendRefs=[
            backend(filters=[_filter("ResponseHeaderModifier", responseHeaderModifier=HEADER)])
        ]
    ),
    "sections": {
        "parentRefs": [{"name": "edge", "sectionName": "a"}, {"name": "edge", "sectionName": "b"}]
    },
}
# What it refuses with 422.
BAD: dict[str, dict[str, Any]] = {
    "no rule": {"rules": []},
    "seventeen rules": {"rules": [{"backendRefs": [backend()]}] * 17},
    "seventeen backends": _one(backendRefs=[backend(f"s{n}") for n in range(17)]),
    "129 matches": {
        "rules": [
            *[{"matches": [{"path": {"value": f"/{n}"}} for n in range(64)]}] * 2,
            {"matches": [{"path": {"value": "/last"}}]},
        ]
    },
    "a weight below nothing": _one(backendRefs=[backend(weight=-1)]),
    "too much weight": _one(backendRefs=[backend(weight=1_000_001)]),
    "a weight as a text": _one(backendRefs=[backend(weight="1")]),
    "half a weight": _one(backendRefs=[backend(weight=0.5)]),
    "a weight that is true": _one(backendRefs=[backend(weight=True)]),
    "no port": _one(backendRefs=[{"name": "web-blue"}]),
    "port 0": _one(backendRefs=[backend(port=0)]),
    "port 65536": _one(backendRefs=[backend(port=65536)]),
    "no name": _one(backendRefs=[{"port": 80}]),
    "an empty name": _one(backendRefs=[backend("")]),
    "a bad kind": _one(backendRefs=[backend(kind="not a kind")]),
    "a bad namespace": _one(backendRefs=[backend(namespace="Not-One")]),
    "a namespace and a line break": _one(backendRefs=[backend(namespace="one\n")]),
    "backends that are none": _one(backendRefs={"name": "web-blue"}),
    "a backend that is null": _one(backendRefs=[None]),
    "a parent without a name": {"parentRefs": [{"kind": "Gateway"}]},
    "a parent twice": {"parentRefs": [{"name": "edge"}, {"name": "edge"}]},
    "a section twice": {"parentRefs": [{"name": "edge", "sectionName": "a"}] * 2},
    "a section once of two": {
        "parentRefs": [{"name": "edge", "sectionName": "a"}, {"name": "edge"}]
    },
    "a bad hostname": {"hostnames": ["Example.org"]},
    "a port in a hostname": {"hostnames": ["example.org:80"]},
    "a path without a slash": _path("PathPrefix", "a"),
    "dots in a path": _path("Exact", "/a/../b"),
    "dots at its end": _path("Exact", "/a/.."),
    "an escaped slash": _path("PathPrefix", "/a%2Fb"),
    "two slashes": _path("PathPrefix", "/a//b"),
    "a space in a path": _path("Exact", "/a b"),
    "a path of no kind": _path("Prefix", "/a"),
    "a method of no kind": _one(matches=[{"method": "get"}]),
    "a header twice": _one(
        matches=[{"headers": [{"name": "X-A", "value": "1"}, {"name": "X-A", "value": "2"}]}]
    ),
    "a header without a value": _one(matches=[{"headers": [{"name": "X-A"}]}]),
    "a bad header": _one(matches=[{"headers": [{"name": "X A", "value": "1"}]}]),
    "a bad name": _one(name="First"),
    "a bad timeout": _one(timeouts={"request": "1.5s"}),
    "a longer timeout of a backend": _one(timeouts={"request": "1s", "backendRequest": "2s"}),
    "a filter of no kind": _one(filters=[_filter("Nothing")]),
    "a filter without what it does": _one(filters=[_filter("RequestHeaderModifier")]),
    "a filter with what another does": _one(
        filters=[_filter("RequestHeaderModifier", responseHeaderModifier=HEADER)]
    ),
    "a filter twice": _one(
        filters=[_filter("RequestHeaderModifier", requestHeaderModifier=HEADER)] * 2
    ),
    "a redirect and backends": _one(
        backendRefs=[backend()],
        filters=[_filter("RequestRedirect", requestRedirect={"scheme": "https"})],
    ),
    "a redirect and a rewrite": _one(
        filters=[
            _filter("RequestRedirect", requestRedirect={"scheme": "https"}),
            _filter("URLRewrite", urlRewrite={"hostname": "example.org"}),
        ]
    ),
    "a redirect of no status": _one(
        filters=[_filter("RequestRedirect", requestRedirect={"statusCode": 300})]
    ),
    "a rewrite of two prefixes": _one(
        matches=TWO_MATCHES, filters=[_filter("URLRewrite", urlRewrite=PREFIX)]
    ),
    "the same at a backend": _one(
        matches=TWO_MATCHES,
        backendRefs=[backend(filters=[_filter("URLRewrite", urlRewrite=PREFIX)])],
    ),
    "a rewrite of two minds": _one(
        filters=[
            _filter(
                "URLRewrite",
                urlRewrite={"path": {"type": "ReplaceFullPath", "replacePrefixMatch": "/"}},
            )
        ]
    ),
    "a mirror of percent and fraction": _one(
        filters=[
            _filter(
                "RequestMirror",
                requestMirror={
                    "backendRef": backend("copy"),
                    "percent": 5,
                    "fraction": {"numerator": 5},
                },
            )
        ]
    ),
    "a mirror of more than all": _one(
        filters=[
            _filter(
                "RequestMirror",
                requestMirror={
                    "backendRef": backend("copy"),
                    "fraction": {"numerator": 5, "denominator": 4},
                },
            )
        ]
    ),
    "cors of all and some": _one(filters=[_filter("CORS", cors={"allowMethods": ["*", "GET"]})]),
}
