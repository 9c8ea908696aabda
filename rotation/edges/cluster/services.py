"""Moves traffic by the selectors of Services, and asks workloads through the service proxy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from rotation.edges.bounded import within
from rotation.edges.cluster import patches
from rotation.edges.cluster.client import (
    JSON_PATCH,
    MERGE,
    TIMEOUT,
    refusal,
    resource_version,
)
from rotation.model.errors import Conflict, Invalid, Missing, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import Answer, Route, shown_slot

if TYPE_CHECKING:
    from rotation.edges.cluster.client import Api
    from rotation.model.targets import ServiceTarget
    from rotation.model.world import Slot

LONGEST_BODY = 64 * 1024


class Services:
    """Implements `contracts.traffic.Traffic`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def route(self, target: ServiceTarget) -> Route | None:
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
                )
        except Missing:
            return None

    def move(
        self, target: ServiceTarget, came_from: str, to: Slot, *, revision: str | None = None
    ) -> None:
        body = patches.move(target.label, came_from, to, revision)
        try:
            with self._api.translated("select a slot in", f"Service {target}"):
                self._api.core.patch_namespaced_service(
                    target.name,
                    target.namespace,
                    body,
                    _content_type=JSON_PATCH,
                    _request_timeout=TIMEOUT,
                )
        except (Invalid, Conflict, Unavailable) as error:
            if error.code not in {Code.CLUSTER_ERROR, Code.CLUSTER_CONFLICT}:
                raise
            self._demand_moved(target, came_from, to)

    def fence(self, target: ServiceTarget, token: str) -> None:
        with self._api.translated("fence", f"Service {target}"):
            self._api.core.patch_namespaced_service(
                target.name,
                target.namespace,
                patches.fence(token),
                _content_type=MERGE,
                _request_timeout=TIMEOUT,
            )

    def _demand_moved(self, target: ServiceTarget, came_from: str, to: Slot) -> None:
        """Raises why a `move` failed its `test`, unless traffic goes to `to` already."""
        route, what = self.route(target), f"cluster {self._api.name}: Service {target}"
        if route is None:
            raise Missing(Code.CLUSTER_MISSING, f"{what} is not there")
        if route.slot == came_from:
            text = f"{what} was changed meanwhile; it has to be looked at anew"
            raise Unavailable(Code.TRAFFIC_CHANGED, text)
        if route.slot != to:
            seen, wanted = shown_slot(route.slot), shown_slot(came_from)
            text = f"{what} selects {seen}, not {wanted}; somebody else changed it"
            raise Conflict(Code.TRAFFIC_ELSEWHERE, text)

    def ask(self, target: ServiceTarget, path: str, timeout: float) -> Answer:
        route, _, query = path.partition("?")
        what = f"Service {target} at {path}"
        if {".", ".."} & set(unquote(route).split("/")):
            # The configuration refuses such a path, but a role's name in it may be dots too.
            text = f"cluster {self._api.name}: {what}: dots would lead out of its proxy"
            raise Invalid(Code.TEST_PATH, text)
        url = f"{self._proxy(target)}{quote(route, safe='/%:@')}"
        with self._api.translated("reach", what), within(timeout):
            # Serialised by hand: the generated method escapes the slashes of the path.
            method, address, headers, body, form = self._api.client.param_serialize(
                "GET", url, auth_settings=["BearerToken"], header_params={"Accept": "*/*"}
            )
            answer = self._api.client.call_api(
                method,
                f"{address}?{query}" if query else address,
                headers,
                body,
                form,
                _request_timeout=timeout,
            ).response
            document = answer.read(LONGEST_BODY)
            answer.close()  # and with it the connection, unless all of the answer was read
        _raise_own_status(what, answer.status, document)
        return Answer(answer.status, document)

    def _proxy(self, target: ServiceTarget) -> str:
        """The path of the Service's proxy, by the target's port or its first one."""
        port = target.port
        if port is None:
            route = self.route(target)
            if route is None:
                raise Missing(Code.SERVICE_MISSING, f"Service {target} does not exist")
            port = route.port
        where = f"/api/v1/namespaces/{target.namespace}/services"
        return f"{where}/http:{target.name}:{port}/proxy"


def _raise_own_status(what: str, status: int, document: bytes) -> None:
    """Raises the API server's own refusal; a workload's answer of the same status passes."""
    if status < 400:
        return
    try:
        answer = json.loads(document)
    except (ValueError, RecursionError):
        return
    if isinstance(answer, dict) and answer.get("kind") == "Status" and "apiVersion" in answer:
        raise refusal(what, status, answer, None)
