"""The SQL of the folder, run by psql in the order of its README, and back, by no superuser."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local.postgres import Postgres
from rotation.secrecy import new_password
from rotctl.adopt import database
from rotctl.adopt.plan import Credential, Login
from tests import versions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PSQL = shutil.which("psql")
LIVE, GREEN, GROUP = 'Kiosk "App"', "kiosk\\green", "it's all"
PASSWORD = new_password()
CREDENTIAL = Credential(
    name="kiosk",
    vault="https://kv.example",
    format="password",
    slots={"blue": Login(LIVE, "kiosk"), "green": Login(GREEN, "kiosk-green")},
    group=GROUP,
    host="pg.example",
    port=5432,
    database="kiosk's",
    rotator=Login("rotator", "kiosk-rotator"),
)
BEFORE = """
CREATE SCHEMA other;
CREATE TABLE other.prices (id int);
GRANT USAGE ON SCHEMA other TO {0};
GRANT SELECT ON other.prices TO {0} WITH GRANT OPTION;
GRANT CREATE ON SCHEMA public TO {0};
ALTER ROLE {0} SET statement_timeout = '7s';
ALTER ROLE {0} CONNECTION LIMIT 7;
"""

pytestmark = pytest.mark.skipif(PSQL is None, reason="there is no psql here")


def role(server: Postgres, name: str, **more: Any) -> str:
    return make_conninfo(
        server.conninfo(name, PASSWORD.reveal()), **{"dbname": CREDENTIAL.database, **more}
    )


@pytest.fixture(params=versions.each())
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Postgres]:
    """With a role that has rights of many kinds, and an administrator as Azure has one."""
    with Postgres(tmp_path / "server", binaries=request.param.binaries) as server:
        with psycopg.connect(server.admin_conninfo, autocommit=True) as admin:
            for name, options in (("dba", "CREATEROLE CREATEDB"), (LIVE, "")):
                verifier = admin.pgconn.encrypt_password(
                    PASSWORD.reveal().encode(), name.encode(), b"scram-sha-256"
                )
                made = sql.SQL(f"CREATE ROLE {{}} LOGIN {options} PASSWORD {{}}")
                if name == "dba":
                    admin.execute(made.format(sql.Identifier(name), verifier.decode()))
                    granted = "GRANT pg_signal_backend, pg_read_all_stats TO dba WITH ADMIN OPTION"
                    admin.execute(granted)
                    continue
                own = make_conninfo(server.conninfo("dba", PASSWORD.reveal()), dbname="postgres")
                with psycopg.connect(own, autocommit=True) as dba:
                    dba.execute(made.format(sql.Identifier(name), verifier.decode()))
                    create = sql.SQL("CREATE DATABASE {}")
                    dba.execute(create.format(sql.Identifier(CREDENTIAL.database)))
        with psycopg.connect(role(server, "dba"), autocommit=True) as dba:
            dba.execute(sql.SQL(BEFORE).format(sql.Identifier(LIVE)))
        with psycopg.connect(role(server, LIVE)) as application:
            application.execute("CREATE TABLE orders (id int)")
        yield server


def run(server: Postgres, folder: Path, name: str, *more: str) -> str:
    info = psycopg.conninfo.conninfo_to_dict(role(server, "dba"))
    own = {"HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password"}
    env = {f"PG{key}": str(info[word]) for key, word in own.items()}
    assert PSQL is not None
    done = subprocess.run(  # noqa: S603 - argv is written here
        [PSQL, "-X", "-v", "ON_ERROR_STOP=1", *more, "-f", f"database/{name}.sql"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, **env, "PGDATABASE": CREDENTIAL.database, "PGSSLMODE": "disable"},
    )  # fmt: skip
    assert done.returncode == 0, (name, done.stderr)
    return done.stdout


def test_the_files_lead_to_two_logins_of_the_same_rights_and_back(
    server: Postgres, tmp_path: Path
) -> None:
    for name, text in database.files(CREDENTIAL).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    run(server, tmp_path, "1-group")
    run(server, tmp_path, "2-adopt", "--single-transaction")
    assert "GRANT SELECT ON TABLE other.prices" in run(server, tmp_path, "3-level-group", "-e")
    assert run(server, tmp_path, "3-level-group-check").count("(0 rows)") == 1
    run(server, tmp_path, "4-act-as-group")
    run(server, tmp_path, "5-green")
    assert "CONNECTION LIMIT 7" in run(server, tmp_path, "6-level-green", "-e")
    assert run(server, tmp_path, "6-level-check").count("(0 rows)") == 2
    run(server, tmp_path, "7-rotator")
    run(server, tmp_path, "7-rotator")  # of the next credential of this server
    with psycopg.connect(role(server, LIVE)) as application:
        owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'orders'"
        assert application.execute(owner).fetchone() == (GROUP,)
        assert application.execute("SELECT current_user").fetchone() == (GROUP,)
    for name in ("7-rotator", "5-green", "4-act-as-group"):
        run(server, tmp_path, f"undo/{name}")
    run(server, tmp_path, "undo/2-owner", "--single-transaction")
    with psycopg.connect(role(server, LIVE)) as application:
        assert application.execute(owner).fetchone() == (LIVE,)
        assert application.execute("SELECT current_user").fetchone() == (LIVE,)
        found = application.execute("SELECT rolname FROM pg_roles WHERE rolname = %s", [GREEN])
        assert found.fetchone() is None


@pytest.mark.parametrize(
    ("name", "quoted"), [("a", '"a"'), ('a"b', '"a""b"'), ("Kiosk App", '"Kiosk App"')]
)
def test_identifiers_are_quoted_as_psql_does(name: str, quoted: str) -> None:
    assert database.identifier(name) == quoted


@pytest.mark.parametrize(
    ("text", "quoted"), [("a", "'a'"), ("it's", "'it''s'"), ("a\\b", " E'a\\\\b'")]
)
def test_literals_are_quoted_as_psql_does(text: str, quoted: str) -> None:
    assert database.literal(text) == quoted
