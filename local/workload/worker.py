"""`python -m local.workload.worker`: a queue worker that nothing calls, on the tables of queue.sql.

It takes its login and settings as the web application does. On SIGTERM it finishes the job that it
has, and takes no other one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from typing import TYPE_CHECKING

import psycopg

from local.workload.database import Database
from local.workload.running import run

if TYPE_CHECKING:
    from local.workload.settings import Settings

logger = logging.getLogger("workload.worker")

IDLE = 0.05  # seconds until an empty queue is looked at again


async def work(settings: Settings, told_to_stop: asyncio.Event) -> None:
    """Does jobs until it is told to stop."""
    database = Database(settings)
    async with database.opened():
        while not told_to_stop.is_set():
            try:
                done = await database.do_job(settings.pod, settings.job_seconds)
            except psycopg.OperationalError as error:
                logger.warning("no database: %s", error)
                done = False
            if not done:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(told_to_stop.wait(), IDLE)
    logger.info("stopped")


if __name__ == "__main__":
    sys.exit(run(work))
