"""Moves traffic by the selectors of Services, and asks workloads through the service proxy.

What HTTPRoutes are about is left to `rotation.edges.cluster.routes`.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import urllib3

from rotation.edges.bounded import within
from rotation.edges.cluster import events, listing, patches
from rotation.edges.cluster.client import MERGE, TIMEOUT, refusal, resource_version, uid_of
from rotation.edges.cluster.patches import Note
from rotation.edges.cluster.routes import HttpRoutes
from rotation.model.errors import Conflict, Invalid, Missing, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import RouteTarget
from rotation.model.world import PLAIN, Answer, Route, Routing, shown_slot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kubernetes import client

    from rotation.edges.cluster.client import Api
    from rotation.model.targets import ServiceTarget, TrafficTarget
    from rotation.model.wire import JsonObject
    from rotation.model.world import Manner, RouteSeen, Slot

LONGEST_BODY = 64 * 1024
# What the API server says where its proxy did not reach a pod (run: 1.35). The first words that fit
# count: a tunnel says what it was told, and else nothing.
# https://github.com/kubernetes/apimachinery/blob/master/pkg/util/proxy/transport.go
# https://github.com/kubernetes/apiserver/blob/master/pkg/server/egressselector/egress_selector.go
# https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/core/service/storage/storage.go
UNREACHED = "error trying to reach service: "
CAUSES = (
    ("malformed HTTP response", Code.PROXY_TLS),
    ("tls: ", Code.PROXY_TLS),
    ("server gave HTTP response to HTTPS client", Code.PROXY_TLS),
    ("connection refused", Code.PROXY_REFUSED),
    ("no route to host", Code.PROXY_NO_ROUTE),
    ("network is unreachable", Code.PROXY_NO_ROUTE),
    ("i/o timeout", Code.PROXY_TIMEOUT),
    ("dial timeout", Code.PROXY_TIMEOUT),
    ("connection timed out", Code.PROXY_TIMEOUT),
    ("deadline exceeded", Code.PROXY_TIMEOUT),
    ("proxy error from ", Code.PROXY_TUNNEL),
    ("from CONNECT to ", Code.PROXY_TUNNEL),
    ("tunnel closed", Code.PROXY_TUNNEL),
    ("No agent available", Code.PROXY_TUNNEL),
    ("connection reset by peer", Code.PROXY_RESET),
    ("broken pipe", Code.PROXY_RESET),
    ("EOF", Code.PROXY_RESET),
)


class Services:
    """Implements `contracts.traffic.Traffic`."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._http_routes = HttpRoutes(api)

    def route(self, target: TrafficTarget) -> Route | None:
        if isinstance(target, RouteTarget):
            return self._http_routes.route(target)
        try:
            with self._api.translated("read", f"Service {target}"):
                service = self._api.core.read_namespaced_service(
                    target.name, target.namespace, _request_timeout=TIMEOUT
                )
                spec = service.spec
                ports = (spec.ports if spec else None) or []
                selector = (spec.selector if spec else None) or {}
                return Route(
                    slot=selector.get(target.label),
                    port=str(ports[0].name or ports[0].port) if ports else "",
                    revision=resource_version(service.metadata),
                    besides={k: v for k, v in selector.items() if k != target.label},
                    label=target.label,
                    headless=spec is not None and spec.cluster_ip == "None" and not ports,
                    fence=_fence(service.metadata),
                )
        except Missing:
            return None

    def routing(self, namespace: str) -> Routing:
        with self._api.translated("list Services in", f"namespace {namespace}"):
            services = self._api.core.list_namespaced_service(namespace, _request_timeout=TIMEOUT)
            seen = tuple(listing.service_of(service) for service in services.items)
        with self._api.translated("list EndpointSlices in", f"namespace {namespace}"):
            # As text: one without an endpoint has null for them, which the SDK refuses.
            answer: Any = self._api.discovery.list_namespaced_endpoint_slice(
                namespace, _preload_content=False, _request_timeout=TIMEOUT
            )
            return Routing(seen, listing.slices_in(answer.data))

    def http_routes(self, namespace: str) -> tuple[RouteSeen, ...]:
        return self._http_routes.listed(namespace)

    def shift(
        self,
        target: RouteTarget,
        to: Slot,
        share: int,
        *,
        revision: str | None = None,
        by: str | None = None,
    ) -> None:
        self._http_routes.shift(target, to, share, revision=revision, by=by)

    def move(
        self,
        target: ServiceTarget,
        came_from: str,
        to: Slot,
        *,
        revision: str | None = None,
        by: str | None = None,
    ) -> None:
        seen = self._movable(target, came_from, to, revision)
        if seen is None:
            return
        did = f"moved traffic from {shown_slot(came_from)} to {to}"
        note = Note(by, "TrafficMoved", did) if by else None
        body = patches.with_metadata(patches.move(target.label, to), seen, note)
        try:
            with self._api.translated("select a slot in", f"Service {target}"):
                uid = uid_of(self._patch(target, body).metadata)
        except Unavailable as error:
            if error.code is not Code.CLUSTER_CONFLICT:
                raise
            if self._movable(target, came_from, to, seen) is not None:
                raise  # refused for another reason, and moved by nobody
            return
        if note is not None:
            told = events.Subject("v1", "Service", target.namespace, target.name, uid)
            events.tell(self._api, told, note)

    def fence(self, target: TrafficTarget, token: str) -> None:
        if isinstance(target, RouteTarget):
            self._http_routes.fence(target, token)
            return
        with self._api.translated("fence", f"Service {target}"):
            self._patch(target, patches.fence(token))

    def _patch(self, target: ServiceTarget, body: JsonObject) -> client.V1Service:
        """The Service as the merge patch has made it. Raises what the SDK raises."""
        return self._api.core.patch_namespaced_service(
            target.name,
            target.namespace,
            body,
            field_manager=patches.MANAGER,
            _content_type=MERGE,
            _request_timeout=TIMEOUT,
        )

    def _movable(
        self, target: ServiceTarget, came_from: str, to: Slot, revision: str | None
    ) -> str | None:
        """The Service's revision, if its traffic goes to where it came from; None if it is moved
        already. Raises as `move` does."""
        route, what = self.route(target), f"cluster {self._api.name}: Service {target}"
        if route is None:
            raise Missing(Code.CLUSTER_MISSING, f"{what} is not there")
        if route.slot == to:
            return None
        if route.slot != came_from:
            seen, wanted = shown_slot(route.slot), shown_slot(came_from)
            text = f"{what} selects {seen}, not {wanted}; somebody else changed it"
            raise Conflict(Code.TRAFFIC_ELSEWHERE, text)
        if revision not in {None, route.revision}:
            text = f"{what} was changed meanwhile; it has to be looked at anew"
            raise Unavailable(Code.TRAFFIC_CHANGED, text)
        return route.revision

    def ask(
        self, target: ServiceTarget, path: str, timeout: float, manner: Manner = PLAIN
    ) -> Answer:
        route, _, query = path.partition("?")
        what = f"Service {target} at {path}"
        if {".", ".."} & set(unquote(route).split("/")):
            # The configuration refuses such a path, but a role's name in it may be dots too.
            text = f"cluster {self._api.name}: {what}: dots would lead out of its proxy"
            raise Invalid(Code.TEST_PATH, text)
        url = f"{self._proxy(target, manner.scheme)}{quote(route, safe='/%:@')}"
        with self._api.translated("reach", what), _answering(what, timeout), within(timeout):
            # By hand: the generated method escapes the slashes of the path, and the SDK would make
            # JSON once more of a body.
            _, address, headers, *_ = self._api.client.param_serialize(
                manner.method,
                url,
                auth_settings=["BearerToken"],
                header_params={"Accept": "*/*"},
            )
            # Names ignore case: a test's own take the place of the SDK's.
            sent = urllib3.HTTPHeaderDict(headers)
            sent.update(manner.headers)
            answer = self._api.client.rest_client.pool_manager.request(
                manner.method,
                f"{address}?{query}" if query else address,
                body=manner.body,
                headers=sent,
                timeout=urllib3.Timeout(total=timeout),
                preload_content=False,
            )
            document = answer.read(LONGEST_BODY)
            answer.close()  # and with it the connection, unless all of the answer was read
        _raise_own_status(what, answer.status, document)
        return Answer(answer.status, document)

    def _proxy(self, target: ServiceTarget, scheme: str) -> str:
        """The path of the Service's proxy, by the target's port or its first one."""
        port = target.port
        if port is None:
            route = self.route(target)
            if route is None:
                raise Missing(Code.SERVICE_MISSING, f"Service {target} does not exist")
            port = route.port
        where = f"/api/v1/namespaces/{target.namespace}/services"
        return f"{where}/{scheme}:{target.name}:{port}/proxy"


def _fence(metadata: client.V1ObjectMeta | None) -> str | None:
    """The last rotation that went back, by the fence's annotation."""
    annotations = (metadata.annotations if metadata else None) or {}
    rotation = annotations.get(patches.FENCE)
    return rotation if isinstance(rotation, str) else None


@contextmanager
def _answering(what: str, seconds: float) -> Iterator[None]:
    """Turns a wait in vain for an answer into `Unavailable`: the API server was reached, and waits
    for the pod longer than a test does."""
    try:
        yield
    except urllib3.exceptions.ConnectTimeoutError:
        raise
    except (urllib3.exceptions.TimeoutError, TimeoutError):
        text = f"no answer of {what} through the API server's proxy in {seconds:g} s"
        raise Unavailable(Code.PROXY_TIMEOUT, text) from None


def _raise_own_status(what: str, status: int, document: bytes) -> None:
    """Raises the API server's own refusal; a workload's answer of the same status passes."""
    if status < 400:
        return
    try:
        answer = json.loads(document)
    except (ValueError, RecursionError):
        return
    if isinstance(answer, dict) and answer.get("kind") == "Status" and "apiVersion" in answer:
        cause = _cause(status, answer.get("message"))
        if cause is not None:
            text = f"{what}: HTTP {status}, {cause.cause.partition(':')[0]}"
            raise Unavailable(cause, text)
        raise refusal(what, status, answer, None)


def _cause(status: int, message: object) -> Code | None:
    """Why the proxy did not reach a pod, by known words; None where it is not about that."""
    if status < 500 or not isinstance(message, str):
        return None
    if message.startswith("no endpoints available for service "):
        return Code.PROXY_NO_PODS
    if message.startswith("no service port "):
        return Code.PROXY_NO_PORT
    if not message.startswith(UNREACHED):
        return None
    return next((code for words, code in CAUSES if words in message), Code.PROXY_ERROR)
