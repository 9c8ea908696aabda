"""Disruption budgets: how many pods may go, and the `eviction` subresource that asks them.

https://kubernetes.io/docs/tasks/run-application/configure-pdb/
"""

from __future__ import annotations

import copy
import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from local.cluster import kinds, times
from local.cluster.controllers import Controller, Key, controller_of, key_of, leaving
from local.cluster.errors import ApiError, bad_request
from local.cluster.registry import is_finished
from local.cluster.replicasets import is_ready
from local.cluster.selectors import from_spec, matches

if TYPE_CHECKING:
    from local.cluster.kinds import Object
    from local.cluster.registry import Registry
    from local.cluster.requests import Target
    from local.cluster.store import Change, Store

FORGOTTEN = timedelta(minutes=2)  # an eviction that came to nothing
REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."
TWO = (
    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not"
    " support."
)
OWNERS = (kinds.DEPLOYMENT, kinds.REPLICA_SET, kinds.STATEFUL_SET, kinds.JOB)


def budgets_of(store: Store, pod: Object) -> list[Object]:
    labels = pod["metadata"].get("labels") or {}
    found = store.items(kinds.DISRUPTION_BUDGET, pod["metadata"]["namespace"])
    return [budget for budget in found if _selects(budget, labels)]


def _selects(budget: Object, labels: dict[str, str]) -> bool:
    selector = budget["spec"].get("selector")
    return selector is not None and matches(from_spec(selector), labels)


class BudgetController(Controller):
    kind = kinds.DISRUPTION_BUDGET

    def concerns(self, change: Change) -> list[Key]:
        if change.kind is kinds.DISRUPTION_BUDGET:
            return [key_of(change.object)]
        if change.kind is kinds.POD:
            return [key_of(budget) for budget in budgets_of(self.store, change.object)]
        if change.kind in OWNERS:
            namespace = change.object["metadata"]["namespace"]
            return [key_of(found) for found in self.store.items(self.kind, namespace)]
        return []

    def reconcile(self, obj: Object) -> None:
        pods = [
            pod
            for pod in self.store.items(kinds.POD, obj["metadata"]["namespace"])
            if _selects(obj, pod["metadata"].get("labels") or {})
        ]
        gone = self._disrupted(obj, pods)
        healthy = sum(
            is_ready(pod) and not leaving(pod) and pod["metadata"]["name"] not in gone
            for pod in pods
            if not is_finished(pod)
        )
        expected, wanted = self._expected(obj, pods)
        allowed = max(0, healthy - wanted) if expected else 0
        status = {
            "observedGeneration": obj["metadata"]["generation"],
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": wanted,
            "expectedPods": expected,
            **({"disruptedPods": gone} if gone else {}),
        }
        _set_allowed(obj, status)
        self.registry.modify(self.kind, obj, lambda new: new.update(status=status), "status")

    def _disrupted(self, budget: Object, pods: list[Object]) -> dict[str, str]:
        """The evictions that are not seen in the pods yet."""
        there = {pod["metadata"]["name"] for pod in pods if not leaving(pod)}
        known = (budget.get("status") or {}).get("disruptedPods") or {}
        pending = {
            name: since
            for name, since in known.items()
            if name in there and times.now() - times.parse(since) < FORGOTTEN
        }
        if pending:
            self.enqueue_after(key_of(budget), FORGOTTEN.total_seconds())
        return pending

    def _expected(self, budget: Object, pods: list[Object]) -> tuple[int, int]:
        """How many pods there are to be, and how many of them have to be healthy."""
        spec = budget["spec"]
        least = spec.get("minAvailable")
        if isinstance(least, int):
            return len(pods), least
        scales = [scale for pod in pods if (scale := self._scale(pod)) is not None]
        expected = sum(dict(scales).values())
        if least is not None:
            return expected, _share(least, expected)
        return expected, max(0, expected - _share(spec.get("maxUnavailable", 1), expected))

    def _scale(self, pod: Object) -> tuple[str, int] | None:
        """The uid and the replicas of what the pod belongs to at last; None for a pod of its
        own."""
        found, obj = None, pod
        while owner := controller_of(obj):
            kind = kinds.BY_KIND.get((owner["apiVersion"], owner["kind"]))
            held = kind and self.store.get(kind, pod["metadata"]["namespace"], owner["name"])
            if not held or held["metadata"]["uid"] != owner["uid"]:
                break
            found, obj = (owner["uid"], int(held["spec"].get("replicas", 1))), held
        return found


def _share(value: int | str, whole: int) -> int:
    """Percentages are rounded up, of either kind of budget."""
    if isinstance(value, int):
        return value
    return math.ceil(whole * int(value.removesuffix("%")) / 100)


def _set_allowed(budget: Object, status: Object) -> None:
    enough = status["disruptionsAllowed"] > 0
    condition = {
        "type": "DisruptionAllowed",
        "status": "True" if enough else "False",
        "reason": "SufficientPods" if enough else "InsufficientPods",
        "message": "",
        "observedGeneration": budget["metadata"]["generation"],
        "lastTransitionTime": times.stamp(),
    }
    known = ((budget.get("status") or {}).get("conditions") or [{}])[0]
    if known.get("status") == condition["status"]:
        condition["lastTransitionTime"] = known["lastTransitionTime"]
    status["conditions"] = [condition]


class Evictions:
    """Answers the `eviction` subresource."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._store = registry.store

    def evict(self, target: Target, body: Any) -> Object:
        """Deletes the pod, if its budget allows that. Raises 429 if not."""
        given = body if isinstance(body, dict) else {}
        if (given.get("metadata") or {}).get("name") != target.name:
            raise bad_request("name in URL does not match name in Eviction object")
        options = given.get("deleteOptions") or {}
        pod = self._registry.fetch(kinds.POD, target.namespace, target.name)
        if not _always(pod):
            self._ask(pod, dry=bool(options.get("dryRun")))
        if not options.get("dryRun"):
            self._mark(pod)
        self._registry.delete(kinds.POD, pod, options)
        return {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
        }  # fmt: skip

    def _ask(self, pod: Object, *, dry: bool) -> None:
        budgets = budgets_of(self._store, pod)
        if len(budgets) > 1:
            raise ApiError(500, "", TWO)
        if not budgets or _needs_none(budgets[0], pod):
            return
        (budget,) = budgets
        name, status = budget["metadata"]["name"], budget.get("status") or {}
        if status.get("observedGeneration", 0) < budget["metadata"]["generation"]:
            why = f"The disruption budget {name} is still being processed by the server."
            raise _refused(why, retry_after=10)
        if status["disruptionsAllowed"] < 1:
            wanted, healthy = status["desiredHealthy"], status["currentHealthy"]
            why = f"needs {wanted} healthy pods and has {healthy} currently"
            raise _refused(f"The disruption budget {name} {why}")
        if not dry:
            self._registry.modify(
                kinds.DISRUPTION_BUDGET, budget, lambda new: _take_one(new, pod), "status"
            )

    def _mark(self, pod: Object) -> None:
        """Says on the pod why it goes, unless it is on its way already."""
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
            "lastTransitionTime": times.stamp(),
        }

        def change(new: Object) -> None:
            status = new.setdefault("status", {})
            others = [c for c in status.get("conditions") or [] if c["type"] != condition["type"]]
            status["conditions"] = [*others, condition]

        if not leaving(pod):
            self._registry.modify(kinds.POD, pod, change, "status")


def _always(pod: Object) -> bool:
    """Whether no budget is asked: the pod is over, on its way out, or has not begun."""
    phase = (pod.get("status") or {}).get("phase", "Pending")
    return is_finished(pod) or leaving(pod) or phase == "Pending"


def _needs_none(budget: Object, pod: Object) -> bool:
    """Whether a pod that is not ready may go: by the budget's policy, or since there are enough."""
    status = budget.get("status") or {}
    if is_ready(pod):
        return False
    enough = bool(status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0)
    return enough or budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"


def _take_one(budget: Object, pod: Object) -> None:
    """Counts the pod as gone, before the controller has seen it."""
    status = budget["status"] = copy.deepcopy(budget["status"])
    status["disruptionsAllowed"] -= 1
    status.setdefault("disruptedPods", {})[pod["metadata"]["name"]] = times.stamp()
    _set_allowed(budget, status)


def _refused(why: str, retry_after: int | None = None) -> ApiError:
    details: Object = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if retry_after is not None:
        details["retryAfterSeconds"] = retry_after
    return ApiError(429, "TooManyRequests", REFUSED, details)
