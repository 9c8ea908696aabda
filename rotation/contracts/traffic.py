"""Where a workload's traffic goes: the selectors of its Services, on one cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rotation.model.targets import ServiceTarget
    from rotation.model.world import Answer, Route, Slot


class TrafficReader(Protocol):
    """Looks at traffic, and asks what serves it."""

    def route(self, target: ServiceTarget) -> Route | None:
        """Where it goes; None if the Service does not exist."""

    def ask(self, target: ServiceTarget, path: str, timeout: float) -> Answer:
        """GET through the API server's service proxy within `timeout` seconds.

        Raises `Unavailable` without an answer, `Missing` without a Service, `Invalid`.
        """


class Traffic(TrafficReader, Protocol):
    """Moves traffic. Each verb is its own guard: a compare-and-swap."""

    def move(
        self, target: ServiceTarget, came_from: str, to: Slot, *, revision: str | None = None
    ) -> None:
        """Harmless when it goes to `to` already.

        Raises `Conflict` if it goes to neither, `Missing`, and with `revision` `Unavailable` if the
        Service was changed since: there and back again would look like no change at all.
        """

    def seal(self, target: ServiceTarget, token: str) -> None:
        """Changes the Service's revision, once for each token, so that a `move` that was prepared
        before, and is held up, comes to nothing. Raises `Missing`."""
