"""What else leads traffic to a slot's pods: Services and EndpointSlices that nobody named.

Whoever uses them is not seen by a rotation, and would be left without a pod by the end of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rotation.model.reasons import Code
from rotation.model.words import few

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from rotation.model.world import Endpoint, Pod, Routing, SliceSeen


class Stranger(NamedTuple):
    """A Service or EndpointSlice that nobody named."""

    kind: str
    name: str

    @property
    def code(self) -> Code:
        return Code.OTHER_SERVICE if self.kind == "Service" else Code.OTHER_ENDPOINTS


def strangers(
    routing: Routing,
    own: Collection[str],
    left_alone: Collection[str],
    labels: Mapping[str, str],
    pods: Iterable[Pod],
) -> set[Stranger]:
    """What leads to a slot's pods, and is neither one of the workload's own Services nor among
    those that are left alone.

    `labels` are those that new pods of the slot get, `pods` those that there are.
    """
    led, known = _Led(pods), {*own, *left_alone}
    services = {service.name for service in routing.services}
    others = {
        Stranger("Service", service.name)
        for service in routing.services
        if service.name not in known and _selects(service.selector, labels)
    }
    for each in routing.slices:
        if _expected(each, own, left_alone) or not any(map(led.by, each.endpoints)):
            continue
        named = each.service in services and each.service not in known
        others.add(Stranger("Service", str(each.service)) if named else _slice(each))
    return others


def behind(routing: Routing, own: Collection[str]) -> set[str]:
    """The pods that are found by some Services, by the slices that Kubernetes made of them."""
    return {
        endpoint.pod
        for each in routing.slices
        if each.derived and each.service in own
        for endpoint in each.endpoints
        if endpoint.pod is not None
    }


def _slice(seen: SliceSeen) -> Stranger:
    return Stranger("EndpointSlice", seen.name)


def _selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return bool(selector) and selector.items() <= labels.items()


def _expected(seen: SliceSeen, own: Collection[str], left_alone: Collection[str]) -> bool:
    """Whether an EndpointSlice follows from a Service that is known, or is left alone with it.

    Those of the workload's own Services lag behind their selectors for a moment; one that somebody
    wrote by hand follows no selector.
    """
    if seen.name in left_alone or seen.service in left_alone:
        return True
    return seen.derived and seen.service in own


class _Led:
    """Pods by what endpoints say of them: a namespace may have thousands of both."""

    def __init__(self, pods: Iterable[Pod]) -> None:
        self._names: set[str] = set()
        self._addresses: set[str] = set()
        self._unshared: set[str] = set()  # a node's address is that of many
        for pod in pods:
            self._names.add(pod.name)
            self._addresses.update(pod.addresses)
            self._unshared.update(set(pod.addresses) - set(pod.nodes))

    def by(self, endpoint: Endpoint) -> bool:
        """Whether an endpoint is one of the pods. Where it names a pod, that counts, and a node's
        address does not."""
        if endpoint.pod in self._names:
            return True
        own = self._addresses if endpoint.pod is None else self._unshared
        return not own.isdisjoint(endpoint.addresses)


def named(others: Iterable[Stranger]) -> Iterator[tuple[Code, str]]:
    """A code and the names, for the Services and for the EndpointSlices that were found."""
    ordered = sorted(others)
    for kind in ("Service", "EndpointSlice"):
        names = [one.name for one in ordered if one.kind == kind]
        if names:
            plural = "s" if len(names) > 1 else ""
            code = Stranger(kind, names[0]).code
            yield code, f"{kind}{plural} {few(names)}"
