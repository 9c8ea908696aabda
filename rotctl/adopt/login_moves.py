"""The moves in the database and the vault: one owner, the second login, the one that rotates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotctl.adopt import moves
from rotctl.adopt.database import identifier, literal
from rotctl.adopt.shell import ASKS, PSQL, SINCE, named, none, quoted, there

if TYPE_CHECKING:
    from rotctl.adopt.moves import Move
    from rotctl.adopt.plan import Plan

NOTHING = "no row. A row says what is missing, and in its last column what gives it"
ACTS_AS_ITSELF = (
    f"{PSQL} -f database/undo/4-act-as-group.sql",
    # By the database's own clock: sessions from before act as the group until they end.
    "mkdir -p former",
    f"{ASKS} -f database/undo/since.sql > {SINCE}",
)
SESSIONS = f'{ASKS} -v since="$(cat {SINCE})" -f database/undo/sessions.sql'
OWNER_BACK = (
    # What acts as the group would lose what it reads.
    f"test -s {SINCE}",
    none(SESSIONS),
    f"{PSQL} --single-transaction -f database/undo/2-owner.sql",
)
GREEN_GONE = (
    # Never a login that somebody is logged in with.
    none(f"{ASKS} -f database/undo/green-sessions.sql"),
    f"{PSQL} --single-transaction -f database/undo/5-green.sql",
)
ROTATOR_GONE = (
    f'{PSQL} --single-transaction -v last="${{LAST:-}}" -f database/undo/7-rotator.sql',
)


def logins(plan: Plan) -> list[Move]:
    return [_group(plan), _act(plan), _green(plan), _rotator(plan)]


def _group(plan: Plan) -> Move:
    live, group = plan.credential.slots["blue"].role, plan.credential.group
    return moves.Move(
        f"A group owns what {live} owns",
        f"What one login creates the other cannot read. {live} becomes a member of {group}"
        " first, and the owner changes then, in one transaction: the application loses no right"
        " at any moment. With a long transaction in the way it gives up after 3 s and has"
        " changed nothing: run it again.",
        (
            f"{PSQL} --single-transaction -f database/1-group.sql",
            f"{PSQL} --single-transaction -f database/2-adopt.sql",
            f"{PSQL} -e -f database/3-level-group.sql",
        ),
        (f"{ASKS} -f database/3-level-group-check.sql",),
        NOTHING,
        (*ACTS_AS_ITSELF, *OWNER_BACK),
        f"The group {group} may stay: nobody logs in as it. Sessions that began while {live} acted"
        " as the group would lose what they read: it stops before, where there are any.",
        name="group",
        answer="",
    )


def _act(plan: Plan) -> Move:
    live, group = plan.credential.slots["blue"].role, plan.credential.group
    return moves.Move(
        f"{live} acts as {group}",
        "From its next login on. Sessions that are open go on as they are; what they create"
        " until then is given to the group in a later move. Look first for code and policies"
        " that ask for `current_user` (docs/onboarding.md, 2).",
        (f"{PSQL} -f database/4-act-as-group.sql", f"rm -f {SINCE}"),
        (f"{ASKS} -c {quoted(acting(live, group))}",),
        "the setting is there",
        ACTS_AS_ITSELF,
        name="acts-as-group",
        answer="1",
    )


def acting(role: str, group: str) -> str:
    return (  # a command that is written down, with the role in quotes
        "SELECT count(*) FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole WHERE"
        f" rolname = {literal(role)} AND setdatabase = 0"
        f" AND {literal(f'role={group}')} = ANY (setconfig)"
    )


def _green(plan: Plan) -> Move:
    green = plan.credential.slots["green"].role
    return moves.Move(
        f"The second login, {green}",
        "It may do what the first may, and cannot log in until a rotation has it do so.",
        (
            f"{PSQL} --single-transaction -f database/5-green.sql",
            f"{PSQL} -e -f database/6-level-green.sql",
        ),
        (f"{ASKS} -f database/6-level-check.sql",),
        NOTHING,
        GREEN_GONE,
        "Never while somebody is logged in with it: it stops before.",
        name="green-role",
        answer="",
    )


def _rotator(plan: Plan) -> Move:
    rotator = plan.credential.rotator
    held, role = named(plan, rotator.secret), quoted(f"\\password {rotator.role}")
    can = f"SELECT rolcanlogin FROM pg_roles WHERE rolname = {literal(rotator.role)}"
    may = f"ALTER ROLE {identifier(rotator.role)} LOGIN"
    download = f"az keyvault secret download {held} --file rotator.password"
    return moves.Move(
        f"The login that rotates, {rotator.role}",
        "It reads no data. Its password is made here and goes to Key Vault; `\\password` sends only"
        " what SCRAM makes of it (at a terminal of your own it asks for it: paste it twice), and"
        " it may log in once it has it. If the server has this login"
        " already, for another credential, its password stays as it is: write the secret that has"
        " it into credentials.yaml and into this move's scripts. With an Entra token in the place"
        " of a password: docs/deploy.md, 4.",
        (
            "umask 077",
            f"{PSQL} --single-transaction -f database/7-rotator.sql",
            f"can=$({ASKS} -c {quoted(can)})",
            'if [ "$can" = f ]; then',
            f"  held=$({there(plan, rotator.secret)})",
            '  if [ "$held" = 0 ]; then',
            '    printf %s "$(openssl rand -hex 24)" > rotator.password',
            "    test -s rotator.password",
            f"    az keyvault secret set {held} --file rotator.password --output none",
            "  fi",
            "  rm -f rotator.password",
            f"  {download}",
            "  { cat rotator.password; echo; cat rotator.password; echo; } |",
            f"    {PSQL} -c {role}",
            f"  {PSQL} -c {quoted(may)}",
            "  rm -f rotator.password",
            "fi",
        ),
        (
            "umask 077",
            "rm -f rotator.password",
            download,
            'PGPASSWORD="$(cat rotator.password)" \\',
            f"  {ASKS} -w -U {quoted(rotator.role)} -d postgres -c 'SELECT current_user'",
            "rm -f rotator.password",
        ),
        "it logs in with the password in Key Vault",
        ROTATOR_GONE,
        "It stays if it rotates other credentials. PostgreSQL before 16 does not say that: there"
        " it goes with `LAST=1` alone.",
        name="rotator",
        answer=rotator.role,
    )


def green_secret(plan: Plan) -> Move:
    secret = plan.credential.slots["green"].secret
    held = named(plan, secret)
    return moves.Move(
        f"The second secret, {secret}",
        "Rights are granted on it, so that it must exist: a version that nobody can read, until"
        " the first rotation writes one.",
        (
            f"az keyvault secret set {held} --value placeholder --disabled true --output none ||",
            # A deleted secret keeps its name for the vault's time of retention.
            f"  az keyvault secret recover {held} --output none",
        ),
        (there(plan, secret),),
        "the vault has it",
        (f"az keyvault secret delete {held} --output none",),
        name="green-secret",
        answer="1",
        by_hand="Grant the identity of the pods `Key Vault Secrets User` on it as on the first one,"
        " and add both to the secrets that the app rotates (docs/deploy.md, 2).",
    )


def again(plan: Plan) -> Move:
    live = plan.credential.slots["blue"].role
    return moves.Move(
        "What the last old sessions created",
        f"The old pods had the last sessions in which {live} did not act as the group.",
        (f"{PSQL} --single-transaction -f database/2-adopt.sql",),
        (f"{ASKS} -f database/6-level-check.sql",),
        NOTHING,
        (),
        "Nothing to undo.",
        name="last-of-old-sessions",
        answer="",
    )
