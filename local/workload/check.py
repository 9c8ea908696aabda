"""`python -m local.workload.check`: logs in with the workload's login, asks who it is, and ends.

It is for a Kubernetes Job, whose exit code says whether it passed. CHECK_EXIT (0) is what it ends
with once it has logged in, CHECK_SECONDS (0) how long it takes until then.
"""

from __future__ import annotations

import os
import sys
import time

import psycopg

from local.workload.settings import parse


def main() -> int:
    settings = parse(os.environ)
    with psycopg.connect(**settings.connection) as connection:
        time.sleep(float(os.environ.get("CHECK_SECONDS", "0")))
        connection.execute("SELECT session_user")
    sys.stdout.write(f"logged in as the {settings.slot} role\n")
    return int(os.environ.get("CHECK_EXIT", "0"))


if __name__ == "__main__":
    sys.exit(main())
