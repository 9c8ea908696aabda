"""A real PostgreSQL server, and the database that the demo and the tests rotate credentials of.

Run alone as `python -m local.postgres --state DIR [--port N]`.
"""

from local.postgres.installations import Installation, default_binaries, installations
from local.postgres.provision import Application, provision, run_sql
from local.postgres.replica import Replica
from local.postgres.server import Postgres

__all__ = [
    "Application",
    "Installation",
    "Postgres",
    "Replica",
    "default_binaries",
    "installations",
    "provision",
    "run_sql",
]
