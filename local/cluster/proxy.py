"""The `proxy` subresource: a request to a Service or a pod through the API server."""

from __future__ import annotations

import errno
import random
import uuid
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from local.cluster import kinds
from local.cluster.errors import bad_request, unavailable
from local.cluster.services import local_port, port_key

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

    from local.cluster.registry import Registry
    from local.cluster.requests import Target
    from local.cluster.services import Services

HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "trailer",
    "transfer-encoding", "upgrade",
}  # fmt: skip
NOT_FORWARDED = {*HOP_BY_HOP, "authorization"}
OWN = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")  # which the library would add
DECODED = {*HOP_BY_HOP, "content-length"}


class Proxy:
    """Passes requests on to pods."""

    def __init__(self, registry: Registry, services: Services) -> None:
        self._registry = registry
        self._services = services

    async def answer(self, request: web.Request, target: Target) -> web.StreamResponse:
        scheme, name, port = _split(target.name)
        if target.kind is kinds.SERVICE:
            local = self._service_port(target, name, port)
        else:
            local = self._pod_port(target.namespace, name, port)
        if not target.rest and request.method in {"GET", "HEAD"}:
            target_url = request.rel_url.with_path(
                request.rel_url.raw_path + "/", encoded=True, keep_query=True
            )
            raise web.HTTPMovedPermanently(target_url)
        path = quote(target.rest or "/", safe="/:@!$&'()*+,;=~")
        query = request.rel_url.raw_query_string
        address = f"{scheme or 'http'}://127.0.0.1:{local}{path}?{query}".rstrip("?")
        return await self._forward(request, URL(address, encoded=True))

    def _service_port(self, target: Target, name: str, port: str) -> int:
        """Upstream has no word for a name that no port has, and names what was asked for."""
        namespace = target.namespace
        service = self._registry.fetch(kinds.SERVICE, namespace, name)
        ports = service["spec"].get("ports") or []
        if not port and len(ports) == 1:
            port = port_key(ports[0])
        chosen = next((p for p in ports if port in (p.get("name", ""), str(p["port"]))), None)
        if chosen is None and port.isdecimal():
            raise unavailable(f'no service port {port} found for service "{name}"')
        found = [self._services.endpoints(namespace, name, port_key(p)) for p in ports]
        if not any(found):
            raise unavailable(f'no endpoints available for service "{name}"')
        ready = self._services.endpoints(namespace, name, port_key(chosen)) if chosen else []
        if not ready:
            raise unavailable(f'no endpoints available for service "{target.name}"')
        return int(random.choice(ready)["port"])  # noqa: S311 - no secret

    def _pod_port(self, namespace: str, name: str, port: str) -> int:
        pod = self._registry.fetch(kinds.POD, namespace, name)
        declared = [p for c in pod["spec"]["containers"] for p in c.get("ports") or []]
        wanted = port or (str(declared[0]["containerPort"]) if declared else "")
        local = local_port(pod, int(wanted) if wanted.isdecimal() else wanted)
        if local is None:
            raise bad_request(f'no port "{port}" found for pod "{name}"')
        return local

    async def _forward(self, request: web.Request, url: URL) -> web.StreamResponse:
        body = request.content if request.body_exists else None
        # A connection each, of which no header tells. One that is kept would keep a pod that ends
        # waiting for a client that says nothing any more.
        try:
            async with (
                aiohttp.ClientSession(auto_decompress=False) as own,
                own.request(
                    request.method,
                    url,
                    headers=_request_headers(request, url),
                    data=body,
                    skip_auto_headers=OWN,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=60),
                    ssl=False,
                ) as answer,
            ):
                return await _relay(request, answer)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise unavailable(f"error trying to reach service: {_why(error, url)}") from error


def _why(error: Exception, url: URL) -> str:
    """What the API server, which is written in Go, says of a pod that it did not reach."""
    at = f"{url.host}:{url.port}"
    said = {
        aiohttp.ServerDisconnectedError: "EOF",
        aiohttp.ClientConnectorSSLError: "http: server gave HTTP response to HTTPS client",
        aiohttp.ClientResponseError: (
            'net/http: HTTP/1.x transport connection broken: malformed HTTP response "..."'
        ),
        TimeoutError: f"dial tcp {at}: i/o timeout",
    }
    for kind, words in said.items():
        if isinstance(error, kind):
            return words
    if isinstance(error, aiohttp.ClientOSError) and error.errno == errno.ECONNREFUSED:
        return f"dial tcp {at}: connect: connection refused"
    if isinstance(error, aiohttp.ClientOSError) and error.errno == errno.ECONNRESET:
        return f"read tcp 10.0.0.1:40000->{at}: read: connection reset by peer"
    return str(error) or type(error).__name__


async def _relay(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    headers = _without(answer.headers, DECODED)
    headers["Audit-Id"] = str(uuid.uuid4())
    headers.add("Cache-Control", "no-cache, private")
    if location := answer.headers.get("Location"):
        headers["Location"] = _public(request, location)
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    if answer.content_length is not None and request.method != "HEAD":
        response.content_length = answer.content_length
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


def _split(name: str) -> tuple[str, str, str]:
    """`name`, `name:port` or `scheme:name:port` as (scheme, name, port)."""
    parts = name.split(":")
    if len(parts) == 1:
        return "", parts[0], ""
    if len(parts) == 2:
        return "", parts[0], parts[1]
    if len(parts) == 3 and parts[0] in {"", "http", "https"}:
        return parts[0], parts[1], parts[2]
    raise bad_request(f'invalid service request "{name}"')


def _request_headers(request: web.Request, url: URL) -> CIMultiDict[str]:
    """The headers for the proxied server, without credentials for the API server.

    `Host` stays the API server's, as upstream.
    """
    named = {name.strip().lower() for name in request.headers.get("Connection", "").split(",")}
    headers = _without(request.headers, NOT_FORWARDED | named)
    for name in [name for name in headers if name.lower().startswith("impersonate-")]:
        del headers[name]
    if request.remote:
        known = headers.get("X-Forwarded-For")
        headers["X-Forwarded-For"] = f"{known}, {request.remote}" if known else request.remote
    headers["X-Forwarded-Uri"] = _prefix(request) + url.raw_path
    return headers


def _without(headers: CIMultiDictProxy[str], names: set[str]) -> CIMultiDict[str]:
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in names)


def _public(request: web.Request, location: str) -> str:
    """A redirect to the proxied server itself, as the client can follow it."""
    parts = urlsplit(location)
    if parts.netloc or not parts.path.startswith("/"):
        return location
    return _prefix(request) + location


def _prefix(request: web.Request) -> str:
    """What the API server's path has before the proxied server's."""
    return unquote(request.rel_url.raw_path.partition("/proxy")[0]) + "/proxy"
