"""The moves of a workload in place: a Secret with its login, which its pods then read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotctl.adopt import cluster_moves, in_place, moves

if TYPE_CHECKING:
    from rotctl.adopt.moves import Move
    from rotctl.adopt.plan import Plan, Workload


def of(workload: Workload, plan: Plan) -> list[Move]:
    return [_secret(workload, plan), _reads(workload)]


def _object(workload: Workload) -> str:
    return f"{workload.original.kind.lower()}/{workload.name}"


def _not_green(workload: Workload) -> str:
    """Fails once the Secret holds the other login: what is there today would be written over."""
    name = in_place.secret_name(workload)
    shown = f"-o jsonpath='{{.metadata.annotations.{in_place.HOLDS}}}'"
    call = f"{cluster_moves.kubectl(workload)} get secret {name} --ignore-not-found"
    return f"{call} {shown} | (! grep -x green)"


def _secret(workload: Workload, plan: Plan) -> Move:
    live, name = plan.credential.slots["blue"].secret, in_place.secret_name(workload)
    file = f"kubernetes/{workload.name}-login.yaml"
    call, key = cluster_moves.kubectl(workload), in_place.key(workload)
    return moves.Move(
        f"A Secret with the login of {workload.name}",
        f"{name} gets what Key Vault has in {live}, and says by its annotation that it is blue's. A"
        " rotation writes the other login into it, so that nothing else may: keep it out of Git.",
        (
            _not_green(workload),
            *cluster_moves.put_live(workload, plan),
            f"kubectl apply -f {file}",
            *cluster_moves.filled(workload, plan, name, key),
        ),
        (f"{call} get secret {name} {cluster_moves.path(key)} | grep -q .",),
        "nothing, and no error: it has a value, which is not shown",
        (f"{call} delete -f {file} --ignore-not-found",),
        "Before its pods read it. Then first the next move's way back.",
    )


def _reads(workload: Workload) -> Move:
    call, what = cluster_moves.kubectl(workload), _object(workload)
    name = in_place.secret_name(workload)
    patch = f"{call} patch {what} --type=strategic --patch-file"
    again = (
        "and each rotation restarts it once more"
        if workload.then == "restart"
        else "and no rotation restarts it"
    )
    return moves.Move(
        f"{workload.name} reads its login there",
        "Its pod template changes, so that it restarts by its own rolling update: as in any release"
        f" of it, that is all which clients notice, {again}. From here on its manifest of before"
        " must not be applied again: pause what does, and change it in the move about Git.",
        (f"{patch} kubernetes/{workload.name}-patch.yaml",),
        (
            f"{call} get {what} -o jsonpath='{{.spec.template.spec}}' | grep -ow {name}",
            f"{call} rollout status {what} --timeout=15m",
        ),
        "the Secret's name; all pods are updated and ready, so that they have logged in",
        (_not_green(workload), f"{patch} kubernetes/undo/{workload.name}-patch.yaml"),
        "It restarts once more.",
    )
