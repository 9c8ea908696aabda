"""The database's contract tests on servers whose administrator is no superuser, as on Azure.

There is somebody else on these servers, whom the tests must not touch.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from local.postgres import Installation, installations
from tests.real import pointed
from tests.real.servers import Managed, managed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

# The oldest with TLS, and the newest: CREATEROLE means something else before PostgreSQL 16.
FOUND = installations()
TLS = [found for found in FOUND if found.tls]
CHOSEN = {found.binaries: found for found in [*TLS[:1], *FOUND[-1:]]}.values()
BYSTANDERS = """
CREATE ROLE nobody LOGIN PASSWORD 'of somebody else';
CREATE ROLE nothing LOGIN PASSWORD 'of somebody else' VALID UNTIL '2035-01-01';
CREATE ROLE contract LOGIN PASSWORD 'of somebody else';
CREATE ROLE orders NOLOGIN IN ROLE pg_monitor;
GRANT orders TO nobody;
ALTER ROLE nobody SET search_path = theirs;
"""


@contextmanager
def occupied(server: Managed) -> Iterator[None]:
    """Others' roles and databases, and a session of theirs, which has to live on."""
    with psycopg.connect(server.owner, autocommit=True) as owner:
        owner.execute(BYSTANDERS)
        for database in ("orders", "contract_of_theirs"):
            owner.execute(f"CREATE DATABASE {database} OWNER nobody".encode())
    theirs = server.conninfo("nobody", "of somebody else", "orders")
    with psycopg.connect(theirs, autocommit=True) as session:
        yield
        assert session.execute("SELECT 1").fetchone() == (1,), "somebody else's session was ended"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("found", CHOSEN, ids=lambda found: f"{found.major}")
def test_contract_with_an_administrator_who_is_no_superuser(
    found: Installation, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    with managed(found, tmp_path) as server, occupied(server):
        before = server.state()
        variables = {"CONTRACT_POSTGRES_DSN": server.admin}
        outcome = pointed.run("tests/contract/test_database.py", variables, "-k", "not memory")
        assert server.state() == before
    tell(
        f"PostgreSQL {found.major}{' with TLS' if found.tls else ''}: {outcome.passed} contract"
        f" tests passed, {outcome.skipped} skipped, nothing left or changed"
    )
    assert outcome.passed > 30


@pytest.mark.skipif(not TLS, reason="no PostgreSQL of Debian's here: apt install postgresql")
def test_one_of_them_speaks_tls() -> None:
    assert any(found.tls for found in CHOSEN)
