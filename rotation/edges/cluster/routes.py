"""Moves traffic by the weights of HTTPRoutes (Gateway API), between the slots' own Services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from rotation.decisions import routes
from rotation.edges.cluster import events, patches
from rotation.edges.cluster.client import JSON_PATCH, MERGE, TIMEOUT
from rotation.edges.cluster.listing import name_of
from rotation.edges.cluster.patches import Note
from rotation.model.errors import Conflict, Missing, Unavailable
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from rotation.edges.cluster.client import Api
    from rotation.model.targets import RouteTarget
    from rotation.model.wire import JsonObject
    from rotation.model.world import Route, RouteSeen, Slot

GROUP, VERSION, PLURAL = "gateway.networking.k8s.io", "v1", "httproutes"


class HttpRoutes:
    """The verbs of `contracts.traffic.Traffic` for what a `RouteTarget` names."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def route(self, target: RouteTarget) -> Route | None:
        found = self._read(target)
        return None if found is None else _seen(found, target)

    def listed(self, namespace: str) -> tuple[RouteSeen, ...]:
        with self._api.translated("list HTTPRoutes in", f"namespace {namespace}"):
            answer: Any = self._api.custom.list_namespaced_custom_object(
                GROUP, VERSION, namespace, PLURAL, _request_timeout=TIMEOUT
            )
            seen = routes.leading(answer["items"], namespace)
            for each in seen:
                name_of(each.name)
            return seen

    def shift(
        self,
        target: RouteTarget,
        to: Slot,
        share: int,
        *,
        revision: str | None = None,
        by: str | None = None,
    ) -> None:
        found = self._movable(target, to, share, revision)
        if found is None:
            return
        # By what is seen now, so that a repeat makes the same Event.
        whole = share == routes.ALL
        did = f"moved traffic to {to}" if whole else f"gave {to} {share} % of the requests"
        note = Note(by, "TrafficMoved", did) if by else None
        body = patches.shift(found, routes.changes(found, target, to, share), note)
        try:
            with self._api.translated("change weights of", f"HTTPRoute {target}"):
                patched = self._patch(target, body, JSON_PATCH)
        except Unavailable as error:
            if error.code is not Code.CLUSTER_CONFLICT:
                raise
            seen = str(found["metadata"]["resourceVersion"])
            if self._movable(target, to, share, seen) is not None:
                raise  # refused for another reason, and moved by nobody
            return
        if note is not None:
            uid = str(patched["metadata"].get("uid") or "") or None
            kind = f"{GROUP}/{VERSION}", "HTTPRoute"
            events.tell(self._api, events.Subject(*kind, target.namespace, target.name, uid), note)

    def fence(self, target: RouteTarget, token: str) -> None:
        with self._api.translated("fence", f"HTTPRoute {target}"):
            self._patch(target, patches.fence(token), MERGE)

    def _read(self, target: RouteTarget) -> JsonObject | None:
        try:
            with self._api.translated("read", f"HTTPRoute {target}"):
                answer = self._api.custom.get_namespaced_custom_object(
                    GROUP,
                    VERSION,
                    target.namespace,
                    PLURAL,
                    target.name,
                    _request_timeout=TIMEOUT,
                )
                return _document(answer)
        except Missing:
            return None

    def _patch(self, target: RouteTarget, body: Any, content_type: str) -> JsonObject:
        """The HTTPRoute as the patch has made it. Raises what the SDK raises."""
        answer = self._api.custom.patch_namespaced_custom_object(
            GROUP,
            VERSION,
            target.namespace,
            PLURAL,
            target.name,
            body,
            field_manager=patches.MANAGER,
            _content_type=content_type,
            _request_timeout=TIMEOUT,
        )
        return _document(answer)

    def _movable(
        self, target: RouteTarget, to: Slot, share: int, revision: str | None
    ) -> JsonObject | None:
        """The HTTPRoute, if the slot has less than its share there; None if it has it already.
        Raises as `shift` does."""
        found, what = self._read(target), f"cluster {self._api.name}: HTTPRoute {target}"
        if found is None:
            raise Missing(Code.CLUSTER_MISSING, f"{what} is not there")
        try:
            left = routes.changes(found, target, to, share)
        except ValueError as error:
            raise Conflict(Code.ROUTE_BACKENDS, f"{what}: {error}") from None
        if not left:
            return None
        if revision not in {None, found["metadata"]["resourceVersion"]}:
            text = f"{what} was changed meanwhile; it has to be looked at anew"
            raise Unavailable(Code.TRAFFIC_CHANGED, text)
        return found


def _document(answer: object) -> JsonObject:
    """What the API server has answered, an HTTPRoute. Raises `ValueError` for what is none."""
    metadata = answer.get("metadata") if isinstance(answer, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("resourceVersion"), str):
        raise ValueError("not an HTTPRoute")  # noqa: TRY004 - as for any other answer
    return cast("JsonObject", answer)


def _seen(found: JsonObject, target: RouteTarget) -> Route:
    metadata = found["metadata"]
    fence = (metadata.get("annotations") or {}).get(patches.FENCE)
    return routes.seen(
        found,
        target,
        revision=metadata["resourceVersion"],
        fence=fence if isinstance(fence, str) else None,
    )
