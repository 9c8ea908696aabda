"""ResourceQuotas: what pods count for in their namespace, and what is refused for it.

Counted are pods, and what they request of CPU and memory and are limited to. Others are stored, and
count nothing; nor do quotas with scopes.

https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from local.cluster import kinds
from local.cluster.controllers import Controller, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.cluster.controllers import Key
    from local.cluster.kinds import Object
    from local.cluster.store import Change, Store

ALIASES = {"cpu": "requests.cpu", "memory": "requests.memory", "count/pods": "pods"}
RESOURCES = ("requests.cpu", "requests.memory", "limits.cpu", "limits.memory")


def parse(quantity: Any) -> Decimal:
    """The number that a quantity such as `500m` or `1Gi` is. Raises ValueError."""
    # Importing the client takes a third of a second: only clusters with quotas pay.
    from kubernetes.utils import parse_quantity  # noqa: PLC0415 - see above

    number: Decimal = parse_quantity(quantity)  # type: ignore[no-untyped-call]  # the SDK's own
    return number


def usage(pod: Object) -> dict[str, Decimal]:
    """What one pod counts for, by the names without an alias."""
    counts = {"pods": Decimal(1)}
    for resource in RESOURCES:
        kind, _, name = resource.partition(".")
        counts[resource] = sum(
            (_given(container, kind, name) for container in pod["spec"]["containers"]), Decimal()
        )
    return counts


def _given(container: Object, kind: str, name: str) -> Decimal:
    resources = container.get("resources") or {}
    given = (resources.get(kind) or {}).get(name)
    if given is None and kind == "requests":
        given = (resources.get("limits") or {}).get(name)
    return parse(given) if given is not None else Decimal()


def used(store: Store, namespace: str) -> dict[str, Decimal]:
    """What all pods of a namespace count for that have not run their course."""
    total = dict.fromkeys(("pods", *RESOURCES), Decimal())
    for pod in store.items(kinds.POD, namespace):
        if (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}:
            for resource, count in usage(pod).items():
                total[resource] += count
    return total


def limits(quota: Object) -> Iterator[tuple[str, str, Decimal]]:
    """Of a quota without scopes: how it calls a resource, how it is counted, and its limit."""
    spec = quota["spec"]
    if spec.get("scopes") or spec.get("scopeSelector"):
        return
    for resource, hard in (spec.get("hard") or {}).items():
        counted = ALIASES.get(resource, resource)
        if counted in ("pods", *RESOURCES):
            yield resource, counted, parse(hard)


def refusal(store: Store, pod: Object) -> str | None:
    """Why a pod is refused; None where there is room for it."""
    namespace = pod["metadata"]["namespace"]
    quotas = store.items(kinds.QUOTA, namespace)
    if not quotas:
        return None
    taken, more = used(store, namespace), usage(pod)
    for quota in quotas:
        over: list[tuple[str, Decimal, Decimal, Decimal]] = [
            (resource, more[counted], taken[counted], hard)
            for resource, counted, hard in limits(quota)
            if more[counted] and taken[counted] + more[counted] > hard
        ]
        if over:
            parts = {
                "requested": ",".join(f"{name}={text(count)}" for name, count, _, _ in over),
                "used": ",".join(f"{name}={text(count)}" for name, _, count, _ in over),
                "limited": ",".join(f"{name}={text(count)}" for name, _, _, count in over),
            }
            counts = ", ".join(f"{part}: {told}" for part, told in parts.items())
            return f"exceeded quota: {quota['metadata']['name']}, {counts}"
    return None


def text(number: Decimal) -> str:
    return f"{number.normalize():f}"


class QuotaController(Controller):
    """Writes into each quota's status what is used of it."""

    kind = kinds.QUOTA

    def concerns(self, change: Change) -> list[Key]:
        if change.kind is kinds.QUOTA:
            return [key_of(change.object)]
        if change.kind is kinds.POD:
            namespace = change.object["metadata"]["namespace"]
            return [key_of(quota) for quota in self.store.items(kinds.QUOTA, namespace)]
        return []

    def reconcile(self, obj: Object) -> None:
        taken = used(self.store, obj["metadata"]["namespace"])
        counted = {resource: text(taken[name]) for resource, name, _ in limits(obj)}
        status = {"hard": dict(obj["spec"].get("hard") or {}), "used": counted}
        if obj.get("status") != status:
            self.registry.update(kinds.QUOTA, {**obj, "status": status}, "status")
