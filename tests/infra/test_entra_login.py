"""infra/database/rotator-entra.sql, read by psql itself, on a real server as far as that goes.

Only Azure's servers have the provider of the label: every other one says so, which it does after it
has read the statement.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import certifi
import psycopg
import pytest

from local.postgres import Postgres
from local.postgres.installations import default_binaries
from local.process import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = ROOT / "infra/database/rotator-entra.sql"
OBJECT = "33333333-3333-3333-3333-333333333333"
NAME = "id-rotation-prod-abcdef"
PROGRAM = shutil.which("psql")
needs_psql = pytest.mark.skipif(PROGRAM is None, reason="no psql here: Debian has it in postgresql")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Postgres]:
    """With an administrator like Azure's: CREATEROLE, and no superuser."""
    with Postgres(tmp_path / "postgres", binaries=default_binaries()) as made:
        with psycopg.connect(made.admin_conninfo, autocommit=True) as connection:
            connection.execute("CREATE ROLE administrator LOGIN CREATEROLE PASSWORD 'of-the-test'")
        yield made


def psql(server: Postgres, *arguments: str, identity: str = OBJECT) -> tuple[int, str]:
    assert PROGRAM is not None
    made = subprocess.run(  # noqa: S603 - psql, with our own arguments
        [
            *(PROGRAM, "--no-psqlrc", "--echo-queries", "--set", "ON_ERROR_STOP=1"),
            *("--set", f"rotator={NAME}", "--set", f"object={identity}"),
            *arguments,
        ],
        env={
            **{key: value for key, value in os.environ.items() if not key.startswith("PG")},
            "PGHOST": "127.0.0.1",
            "PGPORT": str(server.port),
            "PGDATABASE": "postgres",
            "PGUSER": "administrator",
            "PGPASSWORD": "of-the-test",
            "PGSSLMODE": "disable",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return made.returncode, made.stdout + made.stderr


@needs_psql
def test_the_label_names_the_object_and_only_the_provider_is_missing(server: Postgres) -> None:
    code, printed = psql(server, "--file", str(FILE))
    assert code == 3
    label = f"'aadauth,oid={OBJECT},type=service'"
    assert f'SECURITY LABEL FOR pgaadauth ON ROLE "{NAME}" IS {label};' in printed
    assert 'security label provider "pgaadauth" is not loaded' in printed


@needs_psql
def test_whoever_creates_the_role_may_go_on_to_manage_it(server: Postgres) -> None:
    with psycopg.connect(server.admin_conninfo) as connection:
        if connection.info.server_version < 160000:
            pytest.skip("before PostgreSQL 16, CREATEROLE manages every role, whoever created it")
    psql(server, "--file", str(FILE))
    code, printed = psql(server, "--command", f'ALTER ROLE "{NAME}" CREATEROLE')
    assert code == 0, printed


@needs_psql
def test_what_is_no_object_id_creates_nothing(server: Postgres) -> None:
    code, printed = psql(server, "--file", str(FILE), identity="rotator',admin")
    assert code == 3
    assert "invalid input syntax for type uuid" in printed
    with psycopg.connect(server.admin_conninfo) as connection:
        found = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (NAME,)).fetchall()
    assert found == []


@needs_psql
def test_a_command_takes_no_variables(server: Postgres) -> None:
    """Why the guide has a file: psql would send the colon."""
    code, printed = psql(server, "--command", "SELECT :'rotator'")
    assert code != 0
    assert "syntax error" in printed


@pytest.mark.parametrize(
    "root",
    ["DigiCert Global Root G2", "Microsoft RSA Root Certificate Authority 2017"],
)
def test_the_authorities_that_the_app_trusts_have_azures_roots(root: str) -> None:
    with open(certifi.where(), encoding="utf-8") as bundle:  # noqa: PTH123 - a path as text
        assert f"CN={root}" in bundle.read()
