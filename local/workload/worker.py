"""`python -m local.workload.worker`: a queue worker that nothing calls, on the tables of queue.sql.

It takes its login and settings as the web application does. JOB_SECONDS (0.05) is how long a job
takes. On SIGTERM it finishes the job that it has, and takes no other one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

import psycopg

from local.workload.__main__ import log_as_json
from local.workload.database import Database
from local.workload.settings import SettingsError, parse

if TYPE_CHECKING:
    from local.workload.settings import Settings

logger = logging.getLogger("workload.worker")

IDLE = 0.05  # seconds until an empty queue is looked at again


async def work(settings: Settings, job_seconds: float) -> None:
    """Does jobs until it is told to stop."""
    told_to_stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, told_to_stop.set)
    database = Database(settings)
    async with database.opened():
        while not told_to_stop.is_set():
            try:
                found = await database.do_job(settings.pod, job_seconds)
            except psycopg.OperationalError as error:
                logger.warning("no database: %s", error)
                found = False
            if not found:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(told_to_stop.wait(), IDLE)
    logger.info("stopped")


def main() -> int:
    try:
        settings = parse(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    log_as_json(settings)
    asyncio.run(work(settings, float(os.environ.get("JOB_SECONDS") or "0.05")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
