"""README.md of the folder."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from rotctl.adopt import telling
from rotctl.adopt.moves import back_to_one, moves
from rotctl.adopt.plan import SLOTS

if TYPE_CHECKING:
    from rotctl.adopt.moves import Move
    from rotctl.adopt.plan import Plan, Workload


_INTRODUCTION = (
    "From one login, one secret and {what} to {goal}. The moves are"
    " those of docs/onboarding.md, with your names filled in; each has its check and its way"
    " back, and you may stop after any of them and go on another day. It is about {names}."
)
_HOW = (
    "`rotctl adopt --apply .` makes them one by one and asks before each. It stops at whatever a"
    " check refuses, with the way back; typed again it goes on where it stopped, and what is done"
    " already it leaves alone. `--dry-run` says what is left. `applied.json` then has who has made"
    " which move, and when: commit it too. Everything that it does stands below, and in scripts"
    " that run by themselves: `moves/01-group/do.sh`, `check.sh` beside it, and `back.sh` if there"
    " is one. A check passes if its script ends with 0 and, where it says so, prints just that; a"
    " move whose check passes is done."
)
_BACK = (
    "`rotctl adopt --undo .` leads back to one slot, from two or from any move on the way: for a"
    " team that leaves."
)
_BELOW = "Its moves are in `undo`, and in the last part of this page."
_BEFORE = (
    "Nothing was changed when this folder was written. You need to be an administrator of the"
    " database, of the vault's secrets and of the namespace, and bash, psql, kubectl, az, openssl"
    " and rotctl, the latter with ROTCTL_URL and ROTCTL_KEY, or a profile, once the app is asked."
    " What is called docs/ here are the guides of credential-rotation; an app that is"
    " deployed shows them, from /api/pages/guides/onboarding on. The command knows the database"
    " from this folder. Who you are there, it knows from you:"
)
_BY_SCRIPT = (
    "For the scripts, and for commands of your own, the database too. By hand, run the scripts and"
    " not the lines that are shown here: a script ends where a line fails, and a terminal goes on:"
)
_COMMIT = (
    "Commit this folder, and whatever you change in it. No file of it has a password in it; those"
    " that moves make for a moment are in .gitignore."
)


def text(plan: Plan) -> str:
    one = plan.credential
    names = ", ".join(f"`{each.name}`" for each in plan.workloads)
    told = telling.lines(plan)
    parts = [
        f"# Two slots for {one.name}",
        _INTRODUCTION.format(what=_what(plan), goal=_goal(plan), names=names),
        _HOW,
        f"{_BACK} {_BELOW}",
        _table(plan),
        "## Before it begins",
        _BEFORE,
        _shell(["export PGUSER=pgadmin # an administrator; PGPASSFILE has the password"]),
        _BY_SCRIPT,
        _shell(
            [
                f"export PGHOST={one.host} PGPORT={one.port} PGDATABASE={quote(one.database)}",
                "export PGSSLMODE=verify-full PGSSLROOTCERT=system",
            ]
        ),
        _COMMIT,
    ]
    if told:
        parts += ["Look at these first:", "\n".join(f"- {line}" for line in told)]
    parts += [_move(number, each) for number, each in enumerate(moves(plan), 1)]
    parts += ["# Back to one slot", _BACK]
    parts += [_move(number, each) for number, each in enumerate(back_to_one(plan), 1)]
    return "\n\n".join(parts) + "\n"


def _what(plan: Plan) -> str:
    kinds = [f"one {each.original.kind}" for each in plan.workloads]
    return kinds[0] if len(kinds) == 1 else f"{len(kinds)} workloads"


def _goal(plan: Plan) -> str:
    if any(each.in_place for each in plan.workloads):
        return "two logins and two secrets; what is adopted in place restarts once for it"
    return "two of each, with no failed request"


def _table(plan: Plan) -> str:
    one = plan.credential
    blue, green = (one.slots[slot] for slot in SLOTS)
    rows = [
        ("role", blue.role, green.role),
        ("secret in Key Vault", blue.secret, green.secret),
        *(_row(each) for each in plan.workloads),
    ]
    lines = ["| | blue, which serves today | green |", "|---|---|---|"]
    lines += [f"| {what} | `{left}` | `{right}` |" for what, left, right in rows]
    lines += ["", f"Both roles are members of `{one.group}`, which owns what they make."]
    return "\n".join(lines)


def _row(workload: Workload) -> tuple[str, str, str]:
    return (f"{workload.original.kind} `{workload.name}`", *(workload.at(slot) for slot in SLOTS))  # type: ignore[return-value]  # two slots


def _move(number: int, move: Move) -> str:
    parts = [f"## {number}. {move.title}", move.why]
    if move.do:
        parts.append(_shell(move.do))
    if move.by_hand:
        parts.append(f"**By hand.** {move.by_hand}")
    parts += [f"**Check.** Expected: {_expected(move)}.", _shell(move.check)]
    if move.back:
        parts += [f"**Way back.** {move.back_says}".rstrip(), _shell(move.back)]
    else:
        parts.append(f"**Way back.** {move.back_says}")
    return "\n\n".join(parts)


def _expected(move: Move) -> str:
    if move.answer is None or not move.answer:
        return move.expects
    return f"{move.expects}; it prints `{' '.join(move.answer.split())}`"


def _shell(lines: tuple[str, ...] | list[str]) -> str:
    return "```bash\n" + "\n".join(lines) + "\n```"
