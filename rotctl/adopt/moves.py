"""The moves from one slot to the first rotation: each with commands, a check and a way back.

They are those of docs/onboarding.md, in its order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotctl.adopt import cluster_moves, leaving, login_moves
from rotctl.adopt.plan import SLOTS
from rotctl.adopt.shell import REHEARSED

if TYPE_CHECKING:
    from rotctl.adopt.plan import Plan, Workload


@dataclass(frozen=True)
class Move:
    """`do`, `check` and `back` are lines of bash, which stops at the first command that fails.

    A check passes if all its commands do and, where there is an `answer`, print just that; with a
    move whose check passes nothing is left to be done. Commands look first and may run again. What
    somebody does elsewhere, `by_hand` says; the check tells when it is done. `expects` says in
    words what a check shows, and `back_says` what there is to know before one goes back. `name` is
    that of the move's folder.
    """

    title: str
    why: str
    do: tuple[str, ...]
    check: tuple[str, ...]
    expects: str
    back: tuple[str, ...]
    back_says: str = ""
    name: str = ""
    answer: str | None = None
    by_hand: str = ""
    needs: tuple[str, ...] = ()  # variables of the environment


def moves(plan: Plan) -> list[Move]:
    """From one slot to two."""
    made = [*login_moves.logins(plan), login_moves.green_secret(plan)]
    for workload in plan.workloads:
        made += cluster_moves.of(workload, plan)
    return [
        *made,
        login_moves.again(plan),
        *cluster_moves.shared(plan),
        _file(plan),
        cluster_moves.git(plan),
        *(_rehearsal(each) for each in plan.workloads if each.called and not each.in_place),
        _first(plan),
    ]


def back_to_one(plan: Plan) -> list[Move]:
    """From two slots, or from half of them, to one."""
    return leaving.leading_back(plan)


def _file(plan: Plan) -> Move:
    name = plan.credential.name
    return Move(
        "credentials.yaml",
        "Every workload that logs in with this credential must be listed: a session of"
        " pg_stat_activity whose address is nobody's in the list is a client that loses its login"
        " at the first approval.",
        ("rotctl check credentials.yaml",),
        (
            f"rotctl doctor {name} ||",
            f"  rotctl list --rotations --credential {name} --json |",
            """  grep -E '"outcome": (null|"completed")'""",
        ),
        "no finding that refuses or waits (each has its own cure), or a rotation that is under way"
        " or completed",
        (),
        "Deploy the app without the entry. Nothing is rotated then.",
        name="entry",
        by_hand="Put the entry into the repository of the app, with its cluster and its"
        " certificates, and deploy the app with it.",
    )


def _rehearsal(workload: Workload) -> Move:
    """Of what clients call: Jobs, workers and pods in place have no twin's connections to lose."""
    said, blue = f"{REHEARSED}/{workload.name}.txt", workload.at(SLOTS[0])
    asked = f"{workload.namespace}/{blue} --credentials credentials.yaml"
    if workload.routes:
        asked += f" --service {workload.service}"
    return Move(
        f"A rehearsal of {workload.name}",
        "A rotation ends pods that clients keep connections to. Two copies of a pod show how many"
        " requests that costs; what serves is not touched (docs/rotctl.md#rehearse). It asks for"
        " `/`: `--path` names something better.",
        (
            f"mkdir -p {REHEARSED}",
            f"rotctl rehearse {asked} --yes |",
            f"  tee {said}.new",
            f"mv {said}.new {said}",
        ),
        (f"test -s {said}",),
        f"no request failed, as {said} says. If some did, it ends here with the recipe for your"
        " application. Whoever lets that many fail at each rotation writes so into that file, and"
        " goes on",
        (f"rm -f {said} {said}.new",),
        "It has taken everything away again.",
        name=f"{workload.name}-rehearsal",
    )


def _first(plan: Plan) -> Move:
    name = plan.credential.name
    return Move(
        "The first rotation",
        "At a quiet hour: the live secret may have no expiry date, so that nothing announces it.",
        (
            "code=0",
            f"rotctl watch {name} --until decision --timeout 2s > /dev/null 2>&1 || code=$?",
            # Completed, waiting for somebody, or on its way: there is one.
            'case "$code" in',
            "  0 | 20 | 21) ;;",
            f"  *) rotctl start {name} --reason 'first rotation' ;;",
            "esac",
        ),
        (f"rotctl watch {name} --until decision --timeout 20s",),
        "a rotation that is completed",
        (f"rotctl reject {name}",),
        "Until the approval. Afterwards the next rotation goes the other way.",
        name="first-rotation",
        by_hand="Somebody else than the one who started it looks at the evidence"
        f" (`rotctl evidence {name}`: tests that pass on green, no session of nobody known) and"
        f" approves it: `rotctl approve {name}`.",
    )
