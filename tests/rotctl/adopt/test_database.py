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
from local.process import wait_until
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


class Asked:
    """psql in the folder, as its scripts call it."""

    def __init__(self, server: Postgres, folder: Path) -> None:
        info = psycopg.conninfo.conninfo_to_dict(role(server, "dba"))
        own = {"HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password"}
        self.env = {f"PG{key}": str(info[word]) for key, word in own.items()}
        self.folder = folder
        for name, text in database.files(CREDENTIAL).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")

    def run(self, name: str, *more: str) -> str:
        assert PSQL is not None
        done = subprocess.run(  # noqa: S603 - argv is written here
            [PSQL, "-X", "-v", "ON_ERROR_STOP=1", *more, "-f", f"database/{name}.sql"],
            cwd=self.folder, capture_output=True, text=True, check=False, timeout=60,
            env={
                **os.environ, **self.env,
                "PGDATABASE": CREDENTIAL.database, "PGSSLMODE": "disable",
            },
        )  # fmt: skip
        assert done.returncode == 0, (name, done.stderr)
        return done.stdout

    def at_once(self, *names: str) -> None:
        for name in names:
            self.run(name, "--single-transaction")

    def says(self, name: str, *more: str) -> list[str]:
        return self.run(name, "-qAt", *more).splitlines()


@pytest.fixture
def asked(server: Postgres, tmp_path: Path) -> Asked:
    return Asked(server, tmp_path)


def adopt(asked: Asked) -> None:
    asked.at_once("1-group", "2-adopt")
    asked.run("3-level-group", "-e")
    asked.run("4-act-as-group")
    asked.at_once("5-green")
    asked.run("6-level-green", "-e")
    asked.at_once("7-rotator")


OWNER = "SELECT tableowner FROM pg_tables WHERE tablename = 'orders'"


def test_the_files_lead_to_two_logins_of_the_same_rights_and_back(
    server: Postgres, asked: Asked
) -> None:
    assert asked.says("3-level-group-check")
    assert asked.says("6-level-check")
    adopt(asked)
    assert asked.says("3-level-group-check") == asked.says("6-level-check") == []
    with psycopg.connect(role(server, LIVE)) as application:
        assert application.execute(OWNER).fetchone() == (GROUP,)
        assert application.execute("SELECT current_user").fetchone() == (GROUP,)
    asked.run("undo/4-act-as-group")
    since = asked.says("undo/since")[0]
    assert asked.says("undo/sessions", "-v", f"since={since}") == []
    assert asked.says("undo/2-owner-check")
    asked.at_once("undo/2-owner", "undo/5-green")
    asked.run("undo/7-rotator", "--single-transaction", "-v", "last=1")
    assert asked.says("undo/2-owner-check") == []
    with psycopg.connect(role(server, LIVE)) as application:
        assert application.execute(OWNER).fetchone() == (LIVE,)
        assert application.execute("SELECT current_user").fetchone() == (LIVE,)
        found = application.execute(
            "SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", [[GREEN, "rotator"]]
        )
        assert found.fetchall() == []
        # What others grant to the group goes on reaching the application.
        assert application.execute("SELECT * FROM other.prices").fetchall() == []


@pytest.mark.long
def test_each_file_may_run_again_in_either_direction(asked: Asked) -> None:
    adopt(asked)
    adopt(asked)
    assert asked.says("3-level-group-check") == asked.says("6-level-check") == []
    for _ in range(2):
        asked.run("undo/4-act-as-group")
        asked.at_once("undo/2-owner", "undo/5-green")
        asked.run("undo/7-rotator", "--single-transaction", "-v", "last=1")
    assert asked.says("undo/7-rotator-check", "-v", "last=1") == []
    adopt(asked)
    assert asked.says("6-level-check") == []


def test_a_world_that_nobody_has_adopted_is_led_back_to_itself(
    server: Postgres, asked: Asked
) -> None:
    with psycopg.connect(role(server, LIVE)):
        asked.run("undo/4-act-as-group")
        since = asked.says("undo/since")[0]
        assert since == "-infinity"
        assert asked.says("undo/sessions", "-v", f"since={since}") == []
        asked.at_once("undo/2-owner", "undo/5-green")
        asked.run("undo/7-rotator", "--single-transaction", "-v", "last=")
    with psycopg.connect(role(server, LIVE)) as application:
        assert application.execute(OWNER).fetchone() == (LIVE,)


@pytest.mark.long
def test_sessions_that_act_as_the_group_are_seen_until_they_end(
    server: Postgres, asked: Asked
) -> None:
    adopt(asked)
    with psycopg.connect(role(server, LIVE)):
        asked.run("undo/4-act-as-group")
        since = asked.says("undo/since")[0]
        with psycopg.connect(role(server, LIVE)):
            assert len(asked.says("undo/sessions", "-v", f"since={since}")) == 1
    ended = "SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = %s"
    with psycopg.connect(server.admin_conninfo, autocommit=True) as admin:
        wait_until(lambda: admin.execute(ended, [LIVE]).fetchone() == (True,), 30, "their end")
    assert asked.says("undo/sessions", "-v", f"since={since}") == []


def test_what_green_made_by_itself_is_not_lost_with_it(server: Postgres, asked: Asked) -> None:
    adopt(asked)
    with psycopg.connect(server.admin_conninfo, autocommit=True) as admin:
        verifier = admin.pgconn.encrypt_password(
            PASSWORD.reveal().encode(), GREEN.encode(), b"scram-sha-256"
        ).decode()
        may = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
        admin.execute(may.format(sql.Identifier(GREEN), verifier))
    with psycopg.connect(role(server, GREEN)) as green:
        green.execute("RESET ROLE")
        green.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(GREEN)))
        green.execute("CREATE TABLE made_by_green (id int)")
        green.commit()
        assert len(asked.says("undo/green-sessions")) == 1
    asked.run("undo/4-act-as-group")
    asked.at_once("undo/2-owner", "undo/5-green")
    with psycopg.connect(role(server, LIVE)) as application:
        assert application.execute("SELECT * FROM made_by_green").fetchall() == []


@pytest.mark.long
def test_a_login_that_rotates_for_others_stays(server: Postgres, asked: Asked) -> None:
    adopt(asked)
    with psycopg.connect(role(server, "dba"), autocommit=True) as dba:
        dba.execute("CREATE ROLE other_blue")
        if server_has_options := dba.info.server_version >= 160000:
            dba.execute("GRANT other_blue TO rotator WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
    asked.run("undo/4-act-as-group")
    asked.at_once("undo/2-owner", "undo/5-green")
    asked.run("undo/7-rotator", "--single-transaction", "-v", "last=")
    assert asked.says("undo/7-rotator-check", "-v", "last=") == []
    with psycopg.connect(server.admin_conninfo, autocommit=True) as admin:
        administered = admin.execute(
            "SELECT r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid"
            " JOIN pg_roles n ON n.oid = m.member WHERE n.rolname = 'rotator' AND m.admin_option"
        ).fetchall()
        assert administered == ([("other_blue",)] if server_has_options else [])
        assert admin.execute("SELECT FROM pg_roles WHERE rolname = 'rotator'").rowcount == 1


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
