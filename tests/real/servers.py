"""PostgreSQL as a managed server has it: TLS, and an administrator who is no superuser."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local.postgres import Installation, Postgres
from local.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADMIN = "pgadmin"
# All that the tests could change: each row as text.
STATE = (
    "SELECT 'role', to_jsonb(r) - 'oid' FROM pg_authid r",
    """SELECT 'member', jsonb_build_array(roleid::regrole, member::regrole, grantor::regrole,
       to_jsonb(m) - 'oid' - 'roleid' - 'member' - 'grantor') FROM pg_auth_members m""",
    "SELECT 'database', jsonb_build_array(datname, datdba::regrole, datacl) FROM pg_database",
    """SELECT 'setting', jsonb_build_array(setrole::regrole, setdatabase, setconfig)
       FROM pg_db_role_setting""",
)


@dataclass(frozen=True)
class Managed:
    """`admin` is what people have of such a server; `owner` is the superuser, whom nobody has."""

    server: Postgres
    admin: str = field(repr=False)
    owner: str = field(repr=False)
    authority: Path | None

    @property
    def verified(self) -> dict[str, Any]:
        """What a client has to say of TLS, as libpq has it."""
        if self.authority is None:
            return {}
        return {"sslmode": "verify-full", "sslrootcert": str(self.authority)}

    def conninfo(self, role: str, password: str, database: str) -> str:
        return make_conninfo(self.server.conninfo(role, password, database), **self.verified)

    def state(self) -> set[str]:
        """Roles with their passwords, memberships, databases and settings."""
        with psycopg.connect(self.owner) as connection:
            rows = [row for query in STATE for row in connection.execute(query.encode())]
        return {f"{kind} {row}" for kind, row in rows}


@contextmanager
def managed(installation: Installation, folder: Path) -> Iterator[Managed]:
    authority = Authority(folder / "tls") if installation.tls else None
    certificate = authority.issue("postgres") if authority else None
    with Postgres(folder / "server", binaries=installation.binaries, tls=certificate) as server:
        bundle = authority.bundle if authority else None
        password = secrets.token_hex(16)
        bare = Managed(server, "", "", bundle)
        owner = make_conninfo(server.admin_conninfo, **bare.verified)
        with psycopg.connect(owner, autocommit=True) as superuser:
            create = sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB PASSWORD {}")
            superuser.execute(create.format(sql.Identifier(ADMIN), password))
            grant = sql.SQL("GRANT pg_signal_backend, pg_read_all_stats TO {} WITH ADMIN OPTION")
            superuser.execute(grant.format(sql.Identifier(ADMIN)))
        yield Managed(server, bare.conninfo(ADMIN, password, "postgres"), owner, bundle)
