"""The moves from one slot to the first rotation: each with commands, a check and a way back.

They are those of docs/onboarding.md, in its order.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rotctl.adopt import cluster_moves
from rotctl.adopt.plan import SLOTS

if TYPE_CHECKING:
    from rotctl.adopt.plan import Plan

PSQL = "psql -v ON_ERROR_STOP=1"
NO_ROWS = "`(0 rows)`, each time"
# Files with a password that moves make and remove again.
PASSING = ("live.value", "rotator.password")


@dataclass(frozen=True)
class Move:
    """`do`, `check` and `back` are lines of shell; `expects` says what the check shows when all is
    well, and `back_says` what there is to know before one goes back."""

    title: str
    why: str
    do: tuple[str, ...]
    check: tuple[str, ...]
    expects: str
    back: tuple[str, ...]
    back_says: str = ""


def moves(plan: Plan) -> list[Move]:
    made = [_group(plan), _act(plan), _green(plan), _rotator(plan), _green_secret(plan)]
    for workload in plan.workloads:
        made += cluster_moves.of(workload, plan)
    again = _again(plan)
    return [
        *made,
        again,
        *cluster_moves.shared(plan),
        _file(plan),
        cluster_moves.git(plan),
        _first(plan),
    ]


def vault_name(plan: Plan) -> str:
    return (urlsplit(plan.credential.vault).hostname or "").partition(".")[0]


def _named(plan: Plan, secret: str) -> str:
    return f"--vault-name {quoted(vault_name(plan))} --name {quoted(secret)}"


def _versions(named: str) -> str:
    """Lists versions, and reads no value."""
    return f"az keyvault secret list-versions {named} --query '[].attributes.enabled'"


def quoted(text: str) -> str:
    return shlex.quote(text)


def _group(plan: Plan) -> Move:
    live, group = plan.credential.slots["blue"].role, plan.credential.group
    return Move(
        f"A group owns what {live} owns",
        f"What one login creates the other cannot read. {live} becomes a member of {group}"
        " first, and the owner changes then, in one transaction: the application loses no right"
        " at any moment. With a long transaction in the way it gives up after 3 s and has"
        " changed nothing: run it again.",
        (
            f"{PSQL} -f database/1-group.sql",
            f"{PSQL} --single-transaction -f database/2-adopt.sql",
            f"{PSQL} -e -f database/3-level-group.sql",
        ),
        (f"{PSQL} -f database/3-level-group-check.sql",),
        "`(0 rows)`. A row says in its column `level` what is still to be run, by whoever may",
        (f"{PSQL} -f database/undo/2-owner.sql",),
        f"The group {group} may stay: nobody logs in as it.",
    )


def _act(plan: Plan) -> Move:
    live, group = plan.credential.slots["blue"].role, plan.credential.group
    return Move(
        f"{live} acts as {group}",
        "From its next login on. Sessions that are open go on as they are; what they create"
        " until then is given to the group in a later move. Look first for code and policies"
        " that ask for `current_user` (docs/onboarding.md, 2).",
        (f"{PSQL} -f database/4-act-as-group.sql",),
        (f"{PSQL} -Atc {quoted(_setting(live))}",),
        f"`{{role={group}}}`",
        (f"{PSQL} -f database/undo/4-act-as-group.sql",),
    )


def _setting(role: str) -> str:
    name = role.replace("'", "''")
    return (  # a command that is written down, with the role in quotes
        "SELECT setconfig FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole WHERE"
        f" rolname = '{name}' AND setdatabase = 0"
    )


def _green(plan: Plan) -> Move:
    green = plan.credential.slots["green"].role
    return Move(
        f"The second login, {green}",
        "It may do what the first may, and cannot log in until a rotation has it do so.",
        (f"{PSQL} -f database/5-green.sql", f"{PSQL} -e -f database/6-level-green.sql"),
        (f"{PSQL} -f database/6-level-check.sql",),
        NO_ROWS,
        (f"{PSQL} -f database/undo/5-green.sql",),
    )


def _rotator(plan: Plan) -> Move:
    rotator = plan.credential.rotator
    named, role = _named(plan, rotator.secret), quoted(f"\\password {rotator.role}")
    return Move(
        f"The login that rotates, {rotator.role}",
        "It reads no data. Its password is made here; `\\password` asks for it twice (paste it)"
        " and sends only what SCRAM makes of it. If the server has this login already, for"
        " another credential, leave out all but the first line and write the secret that has"
        " its password into credentials.yaml. With an Entra token in the place of a password:"
        " docs/deploy.md, 4.",
        (
            f"{PSQL} -f database/7-rotator.sql",
            '(umask 077; printf %s "$(openssl rand -hex 24)" > rotator.password)',
            f"az keyvault secret set {named} --file rotator.password --output none",
            f"{PSQL} -c {role}",
            "rm rotator.password",
        ),
        (_versions(named),),
        "a list with `true` in it",
        (f"{PSQL} -f database/undo/7-rotator.sql",),
        "Not if it rotates other credentials.",
    )


def _green_secret(plan: Plan) -> Move:
    named = _named(plan, plan.credential.slots["green"].secret)
    return Move(
        f"The second secret, {plan.credential.slots['green'].secret}",
        "Rights are granted on it, so that it must exist: a version that nobody can read, until"
        " the first rotation writes one. Grant the identity of the pods `Key Vault Secrets"
        " User` on it as on the first one, and add both to the secrets that the app rotates"
        " (docs/deploy.md, 2).",
        (f"az keyvault secret set {named} --value placeholder --disabled true --output none",),
        (_versions(named),),
        "a list of `false`: there is a version, and nobody can read it",
        (f"az keyvault secret delete {named} --output none",),
        "A deleted secret keeps its name for the vault's time of retention: to do this move again,"
        f" `az keyvault secret recover {named}` in the place of its command.",
    )


def _again(plan: Plan) -> Move:
    live = plan.credential.slots["blue"].role
    return Move(
        "What the last old sessions created",
        f"The old pods had the last sessions in which {live} did not act as the group.",
        (f"{PSQL} --single-transaction -f database/2-adopt.sql",),
        (f"{PSQL} -f database/6-level-check.sql",),
        NO_ROWS,
        (),
        "Nothing to undo.",
    )


def _file(plan: Plan) -> Move:
    return Move(
        "credentials.yaml",
        "It goes into the repository of the app, with its cluster and its certificates, and is"
        " deployed with it. Every workload that logs in with this credential must be listed: a"
        " session of"
        " pg_stat_activity whose address is nobody's in the list is a client that loses its login"
        " at the first approval.",
        ("rotctl check credentials.yaml",),
        (f"rotctl doctor {plan.credential.name}",),
        (
            "no finding that refuses or waits, and `blue` as the active slot. What it finds has"
            " its own cure"
        ),
        (),
        "Deploy the app without the entry. Nothing is rotated then.",
    )


def _first(plan: Plan) -> Move:
    name = plan.credential.name
    return Move(
        "The first rotation",
        "At a quiet hour: the live secret may have no expiry date, so that nothing announces"
        " it. Somebody else than the one who starts it approves.",
        (f"rotctl start {name} --reason 'first rotation' --watch",),
        (f"rotctl evidence {name}",),
        f"tests that pass on {SLOTS[1]}, and no session of nobody known",
        (f"rotctl reject {name}",),
        "Until the approval. Afterwards the next rotation goes the other way.",
    )
