"""The SQL of infra/database with names filled in, in the order in which it is run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rotctl.adopt import shipped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rotctl.adopt.plan import Credential

VARIABLE = re.compile(r""":(?P<quote>["'])(?P<name>\w+)(?P=quote)""")
ASKS = "SELECT kind, object, privilege, level FROM differences ORDER BY 1, 2, 3;\n"
# Nobody logs in as the group, so that these say nothing of it; and what the login owns it gets by
# adopt.sql.
OF_LOGINS = ("setting", "attribute", "connection limit", "expiry", "owner")
FOLDER = "database"


def files(credential: Credential) -> dict[str, str]:
    """Each file's text by its path."""
    live, green = credential.slots["blue"].role, credential.slots["green"].role
    group, rotator = credential.group, credential.rotator.role
    names = {"group": group, "database": credential.database, "rotator": rotator}
    blue = {**names, "role": live}
    made = {
        "1-group.sql": _filled("group", names),
        "2-adopt.sql": _filled("adopt", blue),
        "3-level-group.sql": _level(live, group, OF_LOGINS),
        "3-level-group-check.sql": _asks(live, group, OF_LOGINS),
        "4-act-as-group.sql": _acts_as(live, group),
        "5-green.sql": _filled("slot", {**names, "role": green}),
        "6-level-green.sql": _limits(live, green) + _level(live, green, ("owner",)),
        "6-level-check.sql": _asks(live, green) + _asks(green, live, ("expiry",)),
        "7-rotator.sql": _rotator(names, (live, green)),
        "undo/2-owner.sql": _owner_back(live, group),
        "undo/4-act-as-group.sql": f"ALTER ROLE {identifier(live)} RESET role;\n",
        "undo/5-green.sql": _dropped(green),
        "undo/7-rotator.sql": _dropped(rotator),
    }
    return {f"{FOLDER}/{name}": text for name, text in made.items()}


def _acts_as(live: str, group: str) -> str:
    return (
        "-- From its next login on, so that whatever it creates belongs to both slots.\nALTER"
        f" ROLE {identifier(live)} SET role = {literal(group)};\n"
    )


def identifier(name: str) -> str:
    """As psql writes :"name"."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """As psql writes :'name'."""
    quoted = "'" + text.replace("'", "''") + "'"
    return f" E{quoted}".replace("\\", "\\\\") if "\\" in text else quoted


def _filled(name: str, variables: Mapping[str, str]) -> str:
    """A file of the product's, as psql would run it with these variables."""

    def quoted(match: re.Match[str]) -> str:
        value = variables[match["name"]]
        return identifier(value) if match["quote"] == '"' else literal(value)

    lines = shipped.text(f"{FOLDER}/{name}.sql").splitlines(keepends=True)
    return "".join(
        line if line.lstrip().startswith("--") else VARIABLE.sub(quoted, line) for line in lines
    )


def _asks(having: str, lacking: str, without: tuple[str, ...] = ()) -> str:
    """What one role may do and the other may not: no row is a pass."""
    return _parity(having, lacking).replace(ASKS, ASKS.replace(" ORDER", f"{_but(without)} ORDER"))


def _level(having: str, lacking: str, without: tuple[str, ...]) -> str:
    """Gives the other role what it lacks: psql runs each row of the answer, and shows it."""
    rows = (
        f"SELECT level FROM differences{_but(without)} ORDER BY kind, object, privilege\n\\gexec\n"
    )
    head = "-- Runs what the column `level` says; psql -e shows each statement.\n"
    return head + _parity(having, lacking).replace(ASKS, rows)


def _limits(live: str, green: str) -> str:
    """What the live role may not, the green one may not either. Of an expiry a rotation rids it."""
    return (
        f"SELECT format('ALTER ROLE %I CONNECTION LIMIT %s %s;', {literal(green)}::text,\n"
        "              rolconnlimit, CASE WHEN rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END)\n"
        f"FROM pg_catalog.pg_roles WHERE rolname = {literal(live)}\n\\gexec\n\n"
    )


def _but(kinds: tuple[str, ...]) -> str:
    return f" WHERE kind NOT IN ({', '.join(map(literal, kinds))})" if kinds else ""


def _parity(having: str, lacking: str) -> str:
    made = _filled("parity", {"having": having, "lacking": lacking})
    if ASKS not in made:
        raise AssertionError("infra/database/parity.sql ends in another way than it did")
    return made


def _rotator(names: Mapping[str, str], roles: tuple[str, str]) -> str:
    """The login that rotates, unless the server has it for another credential; and its rights."""
    name = names["rotator"]
    each = "".join(_filled("rotator-slot", {**names, "role": role}) for role in roles)
    return (
        "-- One login rotates all credentials of a server.\nSELECT EXISTS (SELECT FROM pg_roles"
        f" WHERE rolname = {literal(name)}) AS there,\n      "
        " current_setting('server_version_num')::int >= 160000 AS has_options \\gset\n\\if"
        f" :there\n\\else\nCREATE ROLE {identifier(name)}"
        f" LOGIN;\n{_filled('rotator', names)}\\endif\n\n\\if :has_options\n{each}\\endif\n"
    )


def _owner_back(live: str, group: str) -> str:
    """adopt.sql the other way round, but for the membership, which may stay."""
    made = _filled("adopt", {"role": group, "group": live})
    grant = f"GRANT {identifier(live)} TO {identifier(group)};\n"
    if grant not in made:
        raise AssertionError("infra/database/adopt.sql grants the group in another way than it did")
    return "-- Before the green role has made anything.\n" + made.replace(grant, "")


def _dropped(role: str) -> str:
    """What a role was granted keeps it from being dropped."""
    name = identifier(role)
    return f"GRANT {name} TO CURRENT_USER;\nDROP OWNED BY {name};\nDROP ROLE {name};\n"
