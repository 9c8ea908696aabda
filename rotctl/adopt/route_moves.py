"""The moves of a workload whose requests HTTPRoutes share between its slots."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rotctl.adopt import cluster_moves, moves, routes
from rotctl.adopt.plan import LABEL, SLOTS
from rotctl.adopt.shell import (
    backends,
    behind,
    file,
    kubectl,
    not_on_green,
    quoted,
    ready,
    says,
    slot_of,
    some,
)

if TYPE_CHECKING:
    from rotctl.adopt.moves import Move
    from rotctl.adopt.original import Object
    from rotctl.adopt.plan import Plan, Workload

GUARDED = "credential-rotation/guard=on"
# A route that leaves what a tool applies must not be deleted by it.
KEPT = (
    "helm.sh/resource-policy=keep",
    "argocd.argoproj.io/sync-options=Prune=false",
    "kustomize.toolkit.fluxcd.io/prune=disabled",
)
STATUS = "-o jsonpath='{range .status.parents[*].conditions[*]}{.type}={.status} {end}{\"\\n\"}'"


def traffic(workload: Workload) -> Move:
    call = kubectl(workload)
    blue, green = (workload.backend(slot) for slot in SLOTS)
    return moves.Move(
        f"Requests of {workload.name} go to the slot's own Service",
        f"In each rule {blue} and {green} take the place of {workload.service}, and blue has all of"
        " its share. From here on the weights are a rotation's: the HTTPRoute leaves Git in the"
        " move about Git, or stays there with the weights left alone by your tool (docs/gitops.md,"
        " weights). The annotations keep what applies it from deleting it then.",
        (
            f'{behind(workload, blue)} | grep "^{workload.at(SLOTS[0])}-"',
            *(line for name in workload.routes for line in _shared(workload, name)),
            *(
                line
                for name in workload.routes
                for line in (
                    f"{call} label httproute {name} --overwrite {GUARDED}",
                    f"{call} annotate httproute {name} --overwrite {' '.join(KEPT)}",
                )
            ),
        ),
        tuple(
            line
            for name in workload.routes
            for line in (
                says(backends(workload, name), blue),
                f"{call} get httproute {name} {STATUS} | grep ResolvedRefs=True |",
                "  (! grep =False) || false",
            )
        ),
        f"{blue} for each rule, and no error: the Gateways say `ResolvedRefs=True`, and nothing is"
        " `False`",
        (
            # What its Service leads to once blue's pods end.
            some(ready(workload, workload.name)),
            *unshared(workload),
        ),
        "Once the guard is there, as the group for emergencies.",
        name=f"{workload.name}-traffic",
    )


def _shared(workload: Workload, name: str) -> tuple[str, ...]:
    route = workload.original.one(routes.KIND, name) or {}
    return (
        f"found=$({backends(workload, name)})",
        f'if ! echo "$found" | grep -qx {workload.backend(SLOTS[0])}; then',
        f"  {_patched(workload, name, routes.shared(route, workload))}",
        "fi",
    )


def unshared(workload: Workload) -> tuple[str, ...]:
    """Gives the Service back its share, in the rules as they were read: with others it stops."""
    made: list[str] = []
    for name in workload.routes:
        route = workload.original.one(routes.KIND, name) or {}
        made += [
            f"found=$({backends(workload, name)})",
            f'if echo "$found" | grep -qx {workload.backend(SLOTS[0])}; then',
            f"  {_patched(workload, name, routes.unshared(route, workload))}",
            "fi",
            f"{kubectl(workload)} label httproute {name} {GUARDED.partition('=')[0]}-",
        ]
    return tuple(made)


def green(workload: Workload, plan: Plan) -> Move:
    call, made = kubectl(workload), workload.at(SLOTS[1])
    service = workload.backend(SLOTS[1])
    return moves.Move(
        f"{made} stands by",
        "It has no pods. A rotation gives it as many as the active slot has.",
        (
            # What serves is never applied again.
            *not_on_green(workload),
            f"{cluster_moves.applied(plan)} -f {file(workload, SLOTS[1])}",
        ),
        (f"{call} get deployment {made}", says(slot_of(workload, service), SLOTS[1])),
        f"it is there, with `0/0` pods until a rotation; the Service selects {LABEL}={SLOTS[1]}",
        (
            *not_on_green(workload),
            f"kubectl delete -f {file(workload, SLOTS[1])} --ignore-not-found",
        ),
        name=made,
    )


def _patched(workload: Workload, name: str, changes: list[Object]) -> str:
    call = kubectl(workload)
    return f"{call} patch httproute {name} --type=json -p {quoted(json.dumps(changes))}"
