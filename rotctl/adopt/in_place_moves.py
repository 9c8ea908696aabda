"""The moves of a workload in place: a Secret with its login, which its pods then read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotctl.adopt import cluster_moves, in_place, moves
from rotctl.adopt.shell import file, kind, kubectl, not_on_green, quoted

if TYPE_CHECKING:
    from rotctl.adopt.moves import Move
    from rotctl.adopt.plan import Plan, Workload


def of(workload: Workload, plan: Plan) -> list[Move]:
    return [_secret(workload, plan), _reads(workload)]


def _object(workload: Workload) -> str:
    return f"{kind(workload)}/{workload.name}"


def _template(workload: Workload) -> str:
    """Reads the names of the Secrets that its pods read, and the rest of their template."""
    shown = quoted("{.spec.template.spec}")
    return f"{kubectl(workload)} get {_object(workload)} -o jsonpath={shown}"


def reads_it(workload: Workload) -> str:
    """Passes where its pods are to read the Secret of its own."""
    return f"{_template(workload)} | grep -ow {in_place.secret_name(workload)}"


def _patched(workload: Workload, path: str) -> str:
    call = kubectl(workload)
    return f"{call} patch {_object(workload)} --type=strategic --patch-file {path}"


def _rolled_out(workload: Workload) -> str:
    return f"{kubectl(workload)} rollout status {_object(workload)} --timeout=15m"


def _secret(workload: Workload, plan: Plan) -> Move:
    live, name = plan.credential.slots["blue"].secret, in_place.secret_name(workload)
    call, key = kubectl(workload), in_place.key(workload)
    return moves.Move(
        f"A Secret with the login of {workload.name}",
        f"{name} gets what Key Vault has in {live}, and says by its annotation that it is blue's. A"
        " rotation writes the other login into it, so that nothing else may: keep it out of Git.",
        (
            # Once it holds the other login, what is there would be written over.
            *not_on_green(workload),
            *cluster_moves.put_live(workload, plan),
            f"kubectl apply -f {file(workload, 'login')}",
            *cluster_moves.filled(workload, plan, name, key),
        ),
        (f"{call} get secret {name} {cluster_moves.path(key)} | grep -q .",),
        "it has a value, which is not shown",
        (
            f"{_template(workload)} | (! grep -ow {name}) || false",
            f"{call} delete -f {file(workload, 'login')} --ignore-not-found",
        ),
        "Before its pods read it. Then first the next move's way back.",
        name=f"{workload.name}-login",
    )


def _reads(workload: Workload) -> Move:
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
        (_patched(workload, f"kubernetes/{workload.name}-patch.yaml"),),
        (reads_it(workload), _rolled_out(workload)),
        "the Secret's name; all pods are updated and ready, so that they have logged in",
        (*not_on_green(workload), *_back(workload)),
        "It restarts once more.",
        name=f"{workload.name}-reads-it",
    )


def _back(workload: Workload) -> tuple[str, ...]:
    """What it has become since stays: the patch names what it changes, and nothing else."""
    name = in_place.secret_name(workload)
    return (
        f"found=$({_template(workload)})",
        f'if echo "$found" | grep -qw {name}; then',
        f"  {_patched(workload, f'kubernetes/undo/{workload.name}-patch.yaml')}",
        "fi",
    )


def as_before(workload: Workload) -> Move:
    """Of the way back to one slot, once its former Secret has the live login again."""
    return moves.Move(
        f"{workload.name} reads its login as before",
        "It restarts by its own rolling update. What has changed in it since, such as its image,"
        " stays. Until the last move its tool must not apply the manifest of now: pause what does.",
        (*not_on_green(workload), *_back(workload), _rolled_out(workload)),
        (
            f"{_template(workload)} | (! grep -ow {in_place.secret_name(workload)}) || false",
            _rolled_out(workload),
        ),
        "not the Secret's name; all pods are updated and ready, so that they have logged in",
        (),
        "Go on to two logins again: `rotctl adopt --apply`.",
        name=f"{workload.name}-former",
    )
