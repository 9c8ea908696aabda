"""The moves of a workload whose requests HTTPRoutes share between its slots."""

from __future__ import annotations

import json
from shlex import quote
from typing import TYPE_CHECKING

from rotctl.adopt import cluster_moves, moves, routes
from rotctl.adopt.plan import LABEL, SLOTS

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
    call = cluster_moves.kubectl(workload)
    blue, green = (workload.backend(slot) for slot in SLOTS)
    found = [_route(workload, name) for name in workload.routes]
    return moves.Move(
        f"Requests of {workload.name} go to the slot's own Service",
        f"In each rule {blue} and {green} take the place of {workload.service}, and blue has all of"
        " its share. From here on the weights are a rotation's: the HTTPRoute leaves Git in the"
        " move about Git, or stays there with the weights left alone by your tool (docs/gitops.md,"
        " weights). The annotations keep what applies it from deleting it then.",
        (
            *(
                f"{_names(call, name, blue)} ||"
                f" {_patched(call, name, routes.shared(one, workload))}"
                for name, one in found
            ),
            *(f"{call} label httproute {name} {GUARDED}" for name, _ in found),
            *(f"{call} annotate httproute {name} {' '.join(KEPT)}" for name, _ in found),
        ),
        tuple(
            line
            for name, _ in found
            for line in (
                _names(call, name, blue),
                f"{call} get httproute {name} {STATUS} | grep ResolvedRefs=True | (! grep =False)",
            )
        ),
        f"{blue} for each rule, and no error: the Gateways say `ResolvedRefs=True`, and nothing is"
        " `False`",
        (
            *(
                f"! {_names(call, name, blue)} ||"
                f" {_patched(call, name, routes.unshared(one, workload))}"
                for name, one in found
            ),
            *(f"{call} label httproute {name} {GUARDED.partition('=')[0]}-" for name, _ in found),
        ),
        "Once the guard is there, as the group for emergencies.",
    )


def green(workload: Workload, plan: Plan) -> Move:
    call, made = cluster_moves.kubectl(workload), workload.at(SLOTS[1])
    file = f"kubernetes/{workload.name}-{SLOTS[1]}.yaml"
    return moves.Move(
        f"{made} stands by",
        "It has no pods. A rotation gives it as many as the active slot has.",
        (f"{cluster_moves.applied(plan)} -f {file}",),
        (
            f"{call} get deployment {made}",
            f"{call} get service {workload.backend(SLOTS[1])} -o wide",
        ),
        f"`0/0` pods; the Service selects {LABEL}={SLOTS[1]}",
        (f"kubectl delete -f {file}",),
    )


def _names(call: str, name: str, service: str) -> str:
    """Whether a route names a Service already."""
    shown = r"""-o jsonpath='{range .spec.rules[*].backendRefs[*]}{.name}{"\n"}{end}'"""
    return f"{call} get httproute {name} {shown} | grep -x {service}"


def _route(workload: Workload, name: str) -> tuple[str, Object]:
    return name, workload.original.one(routes.KIND, name) or {}


def _patched(call: str, name: str, changes: list[Object]) -> str:
    return f"{call} patch httproute {name} --type=json -p {quote(json.dumps(changes))}"
