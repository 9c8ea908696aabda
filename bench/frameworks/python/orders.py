"""What each of them does with the database, by a pool of psycopg."""

from __future__ import annotations

import os
from datetime import datetime
from json import dumps
from pathlib import Path
from typing import Any

from psycopg import Connection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool

NEWEST = "SELECT id, customer, item, quantity, created FROM orders ORDER BY id DESC LIMIT 20"
ADD = (
    "INSERT INTO orders (customer, item, quantity) VALUES (%(customer)s, %(item)s, %(quantity)s) "
    "RETURNING id, customer, item, quantity, created"
)
WHOAMI = "SELECT session_user AS role"
Pool = ConnectionPool[Connection[DictRow]]


def pool() -> Pool:
    """A pool that opens its connections when it is opened: after gunicorn's fork."""
    env = os.environ
    return ConnectionPool(
        connection_class=Connection[DictRow],
        kwargs={
            "host": env["DATABASE_HOST"],
            "port": env["DATABASE_PORT"],
            "dbname": env["DATABASE_NAME"],
            "user": env["DATABASE_ROLE"],
            "password": _password(),
            "sslmode": env["DATABASE_SSLMODE"],
            "autocommit": True,
            "row_factory": dict_row,
        },
        min_size=1,
        max_size=8,
        timeout=5,
        open=False,
    )


def _password() -> str:
    if given := os.environ.get("DATABASE_PASSWORD"):
        return given
    return Path(os.environ["DATABASE_PASSWORD_FILE"]).read_text(encoding="utf-8").rstrip("\n")


def rows(found: Pool, query: str, given: dict[str, Any] | None = None) -> list[DictRow]:
    with found.connection() as connection:
        return connection.execute(query.encode(), given).fetchall()


def whoami(found: Pool) -> dict[str, Any]:
    pod = {"slot": os.environ["SLOT"], "pod": os.environ["HOSTNAME"]}
    return {**rows(found, WHOAMI)[0], **pod}


def as_json(document: Any) -> bytes:
    return dumps(document, default=datetime.isoformat).encode()
