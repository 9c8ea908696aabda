"""What the sample's processes have in common: settings, log, and the signal to end."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from local.workload.settings import SettingsError, parse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from local.workload.settings import Settings

EXTRA = ("method", "path", "status", "ms", "role")


class JsonLines(logging.Formatter):
    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._who = {"application": settings.application, "pod": settings.pod}

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **{name: record.__dict__[name] for name in EXTRA if name in record.__dict__},
            **self._who,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def run(program: Callable[[Settings, asyncio.Event], Awaitable[None]]) -> int:
    """Runs a program, whose event SIGTERM sets. Returns the exit code: 2 for wrong settings."""
    try:
        settings = parse(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(settings))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("psycopg.pool").setLevel(logging.WARNING)  # else two lines a request

    async def until_told_to_stop() -> None:
        told_to_stop = asyncio.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, told_to_stop.set)
        await program(settings, told_to_stop)

    asyncio.run(until_told_to_stop())
    return 0
