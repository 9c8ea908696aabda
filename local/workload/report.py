"""`python -m local.workload.report`: a run of a report, which holds a session until it is done.

It takes its login and settings as the web application does, and takes JOB_SECONDS. It fails if its
session is taken from it, and if it is told to end before it is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from typing import TYPE_CHECKING

from local.workload.database import Database
from local.workload.running import run

if TYPE_CHECKING:
    from local.workload.settings import Settings

logger = logging.getLogger("workload.report")

STEP = 0.2  # seconds between two of its queries


async def report(settings: Settings, told_to_stop: asyncio.Event) -> None:
    """Works until it is done. Raises `RuntimeError` if it is told to stop, and what the database
    raises."""
    loop = asyncio.get_running_loop()
    end = loop.time() + settings.job_seconds
    database = Database(settings)
    async with database.opened():
        while loop.time() < end:
            await database.ping()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(told_to_stop.wait(), STEP)
            if told_to_stop.is_set():
                raise RuntimeError("told to stop before it was done")
    logger.info("done")


if __name__ == "__main__":
    sys.exit(run(report))
