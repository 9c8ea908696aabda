"""The guards' verbs, each without its look at what serves: tests must notice every one of them."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rotation.steps.guards import Arriving, Standby

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.contracts.pods import Pods
    from rotation.contracts.traffic import Traffic
    from rotation.model.targets import SlotSecretTarget, TrafficTarget


@dataclass(frozen=True)
class Guarded:
    """A verb of one of the guards."""

    guard: type[Any]
    name: str

    def __str__(self) -> str:
        return f"{self.guard.__name__}.{self.name}"


GUARDED = tuple(
    Guarded(guard, name)
    for guard in (Standby, Arriving)
    for name, member in vars(guard).items()
    if inspect.isfunction(member) and not name.startswith("_")
)


class BlindTraffic:
    """Traffic of which every look says that nothing serves."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    def route(self, target: TrafficTarget) -> None:
        del target

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._traffic, verb)


class BlindPods:
    """Pods of which every look says that no Secret's login is exchanged."""

    def __init__(self, pods: Pods) -> None:
        self._pods = pods

    def exchanged(self, target: SlotSecretTarget) -> None:
        del target

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._pods, verb)


class BlindEdges:
    """The same edges for a guard that does not look."""

    def __init__(self, edges: Any) -> None:
        self._edges = edges

    def traffic(self, cluster: str) -> BlindTraffic:
        return BlindTraffic(self._edges.traffic(cluster))

    def pods(self, cluster: str) -> BlindPods:
        return BlindPods(self._edges.pods(cluster))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._edges, name)


def unguarded(verb: Guarded) -> tuple[type[Any], str, Callable[..., Any]]:
    """The owner, name and value of a patch that makes a guard's verb blind."""
    original = getattr(verb.guard, verb.name)

    def blind(self: Any, *given: Any, **named: Any) -> Any:
        twin = copy.copy(self)
        twin._edges = BlindEdges(self._edges)  # noqa: SLF001 - it stands in the guard's own place
        return original(twin, *given, **named)

    return verb.guard, verb.name, blind
