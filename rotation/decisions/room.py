"""Whether both slots have room beside each other: pods in a namespace, connections of a server."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rotation.model.preconditions import Limit, ServerStanding
    from rotation.model.wire import JsonObject

# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
QUANTITY = re.compile(r"([+-]?[0-9.]+)([eE][+-]?[0-9]+)?(n|u|m|k|[KMGTPE]i?)?")
DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
OWN_LOGINS = 2  # connections of the app's own beside the pods': as the slot, and as who rotates


def quantity(text: object) -> Decimal:
    """A quantity of Kubernetes, `500m` or `1Gi`. Raises `ValueError` for what is none."""
    match = QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError("not a quantity")
    try:
        number = Decimal(match[1] + (match[2] or ""))
    except ArithmeticError:
        raise ValueError("not a quantity") from None
    suffix = match[3] or ""
    if suffix in BINARY:
        return number * Decimal(1024) ** BINARY[suffix]
    return number.scaleb(DECIMAL.get(suffix, 0))


class Demand(NamedTuple):
    """How many more pods are to run beside those that do, each from this pod template."""

    pods: int
    template: JsonObject


def short(limits: Iterable[Limit], demands: Iterable[Demand]) -> Iterator[tuple[str, str]]:
    """What a namespace's limits leave no room for: the quota's name and a text for each limit.

    A limit that nothing has counted yet is one that nothing uses. Raises `ValueError` for a
    template whose quantities are none.
    """
    wanted = list(demands)
    for limit in limits:
        more = sum((one.pods * _each(one.template, limit.resource) for one in wanted), Decimal())
        used = limit.used or Decimal()
        if more and used + more > limit.hard:
            text = f"ResourceQuota {limit.quota} limits {limit.resource} to {_shown(limit.hard)}"
            yield (
                limit.quota,
                f"{text}: {_shown(used)} are used, and {_shown(more)} more are needed",
            )


def _shown(number: Decimal) -> str:
    return f"{number.normalize():f}"


def _each(template: JsonObject, resource: str) -> Decimal:
    """What one pod counts for; nothing where its template does not say: a LimitRange may."""
    if resource in {"pods", "count/pods"}:
        return Decimal(1)
    kind, _, name = resource.rpartition(".")
    spec = template.get("spec") or {}
    init = spec.get("initContainers") or []
    # https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
    beside = [one for one in init if one.get("restartPolicy") == "Always"]
    running = [_of(one, kind or "requests", name) for one in [*spec.get("containers", []), *beside]]
    first = [_of(one, kind or "requests", name) for one in init]
    return max(sum(running, Decimal()), max(first, default=Decimal()))


def _of(container: dict[str, Any], kind: str, name: str) -> Decimal:
    resources = container.get("resources") or {}
    given = (resources.get(kind) or {}).get(name)
    if given is None and kind == "requests":
        given = (resources.get("limits") or {}).get(name)  # as the API server fills it in
    return Decimal() if given is None else quantity(given)


def crowded(standing: ServerStanding, active: str, standby: str) -> Iterator[str]:
    """Why the standby's pods may find no connection of the server, a text for each limit.

    They need as many as the active ones have now; the app has a few of its own.
    """
    roles = standing.roles
    if active not in roles or standby not in roles:
        return
    needed = roles[active].sessions
    if needed + OWN_LOGINS > standing.free and needed:
        text = f"the server has {standing.most} connections for all logins, {standing.free} of them"
        yield f"{text} are free, and the pods of {standby} need {needed}, as many as {active} has"
    left = standing.database_free
    if left is not None and needed + 1 > left and needed:
        text = f"the database's connection limit leaves {left}"
        yield f"{text}, and the pods of {standby} need {needed}, as many as {active} has"
    limit = roles[standby].limit
    if limit is not None and needed > limit:
        text = f"role {standby} has a connection limit of {limit}"
        yield f"{text}, and {active} has {needed} sessions"
