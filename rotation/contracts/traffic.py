"""The contract of workloads' traffic: the selectors of Services, on one cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rotation.model.world import PLAIN

if TYPE_CHECKING:
    from rotation.model.targets import ServiceTarget
    from rotation.model.world import Answer, Manner, Route, Routing, Slot


class TrafficReader(Protocol):
    """Reads where traffic goes, and asks what serves it."""

    def route(self, target: ServiceTarget) -> Route | None:
        """The Service's route; None if the Service does not exist."""

    def routing(self, namespace: str) -> Routing:
        """The Services and EndpointSlices of a namespace, those that nobody named among them."""

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

    def fence(self, target: ServiceTarget, token: str) -> None:
        """Changes the Service's revision, once for each token, so that a `move` with an earlier one
        fails, however long it was held up. Raises `Missing`."""
