"""What else leads traffic to a slot's pods: Services and EndpointSlices that nobody named.

Whoever uses them is not seen by a rotation, and would be left without a pod by the end of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rotation.model.reasons import Code

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from rotation.model.world import Endpoint, Pod, Routing, SliceSeen

MOST_NAMES = 5  # in one text


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
    listed, known = list(pods), {*own, *left_alone}
    services = {service.name for service in routing.services}
    found = {
        Stranger("Service", service.name)
        for service in routing.services
        if service.name not in known and _selects(service.selector, labels)
    }
    for each in routing.slices:
        if _expected(each, own, left_alone) or not _leads_to(each, listed):
            continue
        named = each.service in services and each.service not in known
        found.add(Stranger("Service", str(each.service)) if named else _slice(each))
    return found


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


def _leads_to(seen: SliceSeen, pods: Iterable[Pod]) -> bool:
    return any(_is(endpoint, pod) for endpoint in seen.endpoints for pod in pods)


def _is(endpoint: Endpoint, pod: Pod) -> bool:
    """Whether an endpoint is the pod. A node's address is that of many, so that there the name of a
    pod counts, if one is given."""
    if endpoint.pod == pod.name:
        return True
    own = set(pod.addresses) if endpoint.pod is None else set(pod.addresses) - set(pod.nodes)
    return bool(own & set(endpoint.addresses))


def named(found: Iterable[Stranger]) -> Iterator[tuple[Code, str]]:
    """A code and the names, for the Services and for the EndpointSlices that were found."""
    ordered = sorted(found)
    for kind in ("Service", "EndpointSlice"):
        names = [one.name for one in ordered if one.kind == kind]
        if names:
            more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
            plural = "s" if len(names) > 1 else ""
            code = Stranger(kind, names[0]).code
            yield code, f"{kind}{plural} {', '.join(names[:MOST_NAMES])}{more}"
