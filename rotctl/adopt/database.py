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
    """Each file's text by its path. Each may run again."""
    live, green = credential.slots["blue"].role, credential.slots["green"].role
    group, rotator = credential.group, credential.rotator.role
    names = {"group": group, "database": credential.database, "rotator": rotator}
    blue = {**names, "role": live}
    made = {
        "1-group.sql": _once(group, _filled("group", names)),
        "2-adopt.sql": _filled("adopt", blue),
        "3-level-group.sql": _level(live, group, OF_LOGINS),
        "3-level-group-check.sql": _members(live, group) + _asks(live, group, OF_LOGINS),
        "4-act-as-group.sql": _acts_as(live, group),
        "5-green.sql": _once(green, _filled("slot", {**names, "role": green})),
        "6-level-green.sql": _limits(live, green) + _level(live, green, ("owner",)),
        "6-level-check.sql": _members(green, group)
        + _asks(live, green)
        + _asks(green, live, ("expiry",)),
        "7-rotator.sql": _rotator(names, (live, green)),
        "undo/2-owner.sql": _owner_back(live, group),
        "undo/2-owner-check.sql": _owned(group),
        "undo/4-act-as-group.sql": f"ALTER ROLE {identifier(live)} RESET role;\n",
        "undo/5-green.sql": _if_there(green, _retired(green, live)),
        "undo/7-rotator.sql": _rotator_gone(rotator, live),
        "undo/7-rotator-check.sql": _rotator_left(rotator, (live, green)),
        "undo/since.sql": _since(group),
        "undo/sessions.sql": _sessions(live),
        "undo/green-sessions.sql": _logged_in(green),
    }
    return {f"{FOLDER}/{name}": text for name, text in made.items()}


def _there(role: str) -> str:
    return f"SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal(role)}) AS there \\gset\n"


def _once(role: str, text: str) -> str:
    """What makes a role, if it is not there; run in one transaction, so that all of it is done."""
    return f"{_there(role)}\\if :there\n\\else\n{text}\\endif\n"


def _if_there(role: str, text: str) -> str:
    return f"{_there(role)}\\if :there\n{text}\\endif\n"


def _members(role: str, group: str) -> str:
    """A row for each that is not there, and for a role that is no member of the group."""
    return (
        f"SELECT 'role', w.name, 'is not there' FROM (VALUES ({literal(role)}), ({literal(group)}))"
        " w (name)\nWHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = w.name);\n\n"
        f"SELECT 'membership', {literal(role)}, 'is no member of ' || {literal(group)}\n"
        "WHERE NOT EXISTS (\n    SELECT FROM pg_catalog.pg_auth_members m"
        " JOIN pg_catalog.pg_roles r ON r.oid = m.member\n"
        "    JOIN pg_catalog.pg_roles g ON g.oid = m.roleid\n"
        f"    WHERE r.rolname = {literal(role)} AND g.rolname = {literal(group)}\n);\n\n"
    )


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
    """The login that rotates, unless the server has it for another credential; and its rights. It
    may log in once it has a password."""
    name = names["rotator"]
    each = "".join(_filled("rotator-slot", {**names, "role": role}) for role in roles)
    made = f"CREATE ROLE {identifier(name)} NOLOGIN;\n{_filled('rotator', names)}"
    return (
        "-- One login rotates all credentials of a server.\n" + _once(name, made) + _since_16(each)
    )


def _since_16(then: str, otherwise: str = "") -> str:
    asked = "SELECT current_setting('server_version_num')::int >= 160000 AS has_options \\gset\n"
    other = f"\\else\n{otherwise}" if otherwise else ""
    return f"{asked}\\if :has_options\n{then}{other}\\endif\n"


def _owner_back(live: str, group: str) -> str:
    """adopt.sql the other way round, but for the membership, which stays: what was granted to the
    group since reaches the role by it."""
    return _if_there(group, _given(group, live))


def _given(role: str, heir: str) -> str:
    """What a role owns, to another one, which is no member of it."""
    made = _filled("adopt", {"role": role, "group": heir})
    grant = f"GRANT {identifier(heir)} TO {identifier(role)};\n"
    if grant not in made:
        raise AssertionError("infra/database/adopt.sql grants the group in another way than it did")
    return made.replace(grant, "")


def _owned(role: str) -> str:
    """What a role owns here. What a session has for itself alone goes with it."""
    return (
        "SELECT o.type, o.identity FROM pg_catalog.pg_shdepend s\n"
        "JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid,\n"
        "LATERAL pg_catalog.pg_identify_object(s.classid, s.objid, s.objsubid) o\n"
        "WHERE s.deptype = 'o' AND s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass\n"
        f"  AND r.rolname = {literal(role)}\n"
        "  AND s.dbid IN (0, (SELECT oid FROM pg_catalog.pg_database\n"
        "                     WHERE datname = pg_catalog.current_database()))\n"
        "  AND s.classid <> 'pg_catalog.pg_default_acl'::pg_catalog.regclass\n"
        "  AND coalesce(o.schema, '') !~ '^pg_(toast_)?temp_';\n"
    )


def _since(group: str) -> str:
    """The server's time; where there is no group, nobody has ever acted as it."""
    return (
        "SELECT CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname ="
        f" {literal(group)})\n       THEN now()::text ELSE '-infinity' END;\n"
    )


def _sessions(live: str) -> str:
    """The sessions in which the live role still acts as the group. One whose beginning the server
    does not show may be one."""
    return (
        "-- Variable: since.\n"
        "SELECT pid, backend_start, application_name, client_addr\n"
        "FROM pg_catalog.pg_stat_activity\n"
        f"WHERE usename = {literal(live)} AND datname = pg_catalog.current_database()\n"
        "  AND (backend_start < :'since' OR backend_start IS NULL);\n"
    )


def _logged_in(role: str) -> str:
    return (
        "SELECT pid, datname, application_name, client_addr FROM pg_catalog.pg_stat_activity\n"
        f"WHERE usename = {literal(role)};\n"
    )


def _retired(green: str, live: str) -> str:
    """What it owns it does not take along: only what it was granted."""
    return f"ALTER ROLE {identifier(green)} NOLOGIN;\n{_given(green, live)}{_dropped(green)}"


def _dropped(role: str) -> str:
    """What a role was granted keeps it from being dropped."""
    name = identifier(role)
    return f"GRANT {name} TO CURRENT_USER;\nDROP OWNED BY {name};\nDROP ROLE {name};\n"


def _administers(rotator: str, *roles: str) -> str:
    """The roles that a login administers, but for these."""
    but = f"\n  AND r.rolname NOT IN ({', '.join(map(literal, roles))})" if roles else ""
    return (
        "SELECT r.rolname FROM pg_catalog.pg_auth_members m\n"
        "JOIN pg_catalog.pg_roles r ON r.oid = m.roleid\n"
        "JOIN pg_catalog.pg_roles n ON n.oid = m.member\n"
        f"WHERE m.admin_option AND n.rolname = {literal(rotator)}{but}"
    )


def _rotator_gone(rotator: str, live: str) -> str:
    """Takes away its right over the live role, and the login itself if it rotates nothing else.
    Servers before 16 do not know what it rotates."""
    revoked = (
        "SELECT format('REVOKE %I FROM %I GRANTED BY %I;', r.rolname, n.rolname,\n"
        "              pg_get_userbyid(m.grantor))\n"
        "FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid\n"
        "JOIN pg_roles n ON n.oid = m.member\n"
        f"WHERE n.rolname = {literal(rotator)} AND r.rolname = {literal(live)}\n\\gexec\n"
        f"SELECT NOT EXISTS ({_administers(rotator)}) AS idle \\gset\n"
    )
    idle = _since_16(revoked, "SELECT :'last' <> '' AS idle \\gset\n")
    gone = f"\\if :idle\n{_dropped(rotator)}\\endif\n"
    return "-- Variable: last, with anything in it: nobody else needs it.\n" + _if_there(
        rotator, idle + gone
    )


def _rotator_left(rotator: str, roles: tuple[str, str]) -> str:
    """A row for each right over the slots' roles, and for a login that rotates nothing."""
    here = f"FROM pg_roles WHERE rolname = {literal(rotator)}"
    ours = f"{_administers(rotator)} AND r.rolname IN ({', '.join(map(literal, roles))});\n"
    idle = f"SELECT rolname, 'rotates nothing' {here} AND NOT EXISTS ({_administers(rotator)});\n"
    last = f"SELECT rolname, 'is to go' {here} AND :'last' <> '';\n"
    return "-- Variable: last.\n" + _since_16(ours + idle, last)
