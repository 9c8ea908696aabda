"""The contract of workloads' traffic: selectors of Services, weights of HTTPRoutes, on one
cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rotation.model.world import PLAIN

if TYPE_CHECKING:
    from rotation.model.targets import RouteTarget, ServiceTarget, TrafficTarget
    from rotation.model.world import Answer, Manner, Route, RouteSeen, Routing, Slot


class TrafficReader(Protocol):
    """Reads where traffic goes, and asks what serves it."""

    def route(self, target: TrafficTarget) -> Route | None:
        """The Service's route, or the HTTPRoute's; None if it does not exist."""

    def routing(self, namespace: str) -> Routing:
        """The Services and EndpointSlices of a namespace, those that nobody named among them."""

    def http_routes(self, namespace: str) -> tuple[RouteSeen, ...]:
        """The HTTPRoutes of a namespace, those that nobody named among them."""

    def ask(
        self, target: ServiceTarget, path: str, timeout: float, manner: Manner = PLAIN
    ) -> Answer:
        """The answer to a request through the API server's service proxy, within `timeout` seconds.

        Raises `Unavailable` without an answer, `Missing` without a Service, `Invalid`.
        """


class Traffic(TrafficReader, Protocol):
    """Moves traffic. Each verb is its own guard: a compare-and-swap.

    With `by`, a rotation's id, annotations and a Kubernetes Event tell who did what.
    """

    def move(
        self,
        target: ServiceTarget,
        came_from: str,
        to: Slot,
        *,
        revision: str | None = None,
        by: str | None = None,
    ) -> None:
        """Moves the Service's traffic from one slot to the other. Harmless when it is there.

        Raises `Conflict` if it goes to neither, `Missing`, and with `revision` `Unavailable` if the
        Service was changed since: there and back again would look like no change at all.
        """

    def shift(
        self,
        target: RouteTarget,
        to: Slot,
        share: int,
        *,
        revision: str | None = None,
        by: str | None = None,
    ) -> None:
        """Gives the slot `share` percent of the HTTPRoute's requests, or leaves it more. Harmless
        when it has them. Raises as `move` does, `Conflict` if its rules are not of the slots."""

    def fence(self, target: TrafficTarget, token: str) -> None:
        """Changes the revision, once for each token, so that a `move` or `shift` with an earlier
        one fails, however long it was held up. Raises `Missing`."""
