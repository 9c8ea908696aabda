"""`python -m local.workload`: serves until SIGTERM, then leaves without failing a request."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from datetime import UTC, datetime

from aiohttp import web

from local.process import announce
from local.workload.app import STATE, make_app
from local.workload.settings import Settings, SettingsError, parse

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


async def serve(settings: Settings) -> None:
    told_to_stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, told_to_stop.set)
    app = make_app(settings)
    runner = web.AppRunner(
        app, access_log=None, keepalive_timeout=75, shutdown_timeout=settings.drain_seconds
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        await site.start()
        port = runner.addresses[0][1]
        announce(f"http://{settings.host}:{port}", port=port, slot=settings.slot)
        await told_to_stop.wait()
        if not settings.lame_duck_seconds:
            return  # closes as aiohttp does by itself, under whatever clients keep
        # Clients on kept-alive connections learn from their next answer to go elsewhere; closing
        # under them at once would fail whatever they send in that moment.
        app[STATE].stopping = True
        await asyncio.sleep(settings.lame_duck_seconds)
        await site.stop()
        await _until_left(runner, settings.drain_seconds)
    finally:
        await runner.cleanup()


async def _until_left(runner: web.AppRunner, seconds: float) -> None:
    """A client that was quiet so far has not been told yet: its connection stays until it asks."""
    deadline = asyncio.get_running_loop().time() + seconds
    while runner.server and runner.server.connections:
        if asyncio.get_running_loop().time() > deadline:
            return
        await asyncio.sleep(0.05)


def log_as_json(settings: Settings) -> None:
    """Writes the log to stderr, a JSON object for each line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(settings))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("psycopg.pool").setLevel(logging.WARNING)  # else two lines a request


def main() -> int:
    try:
        settings = parse(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    log_as_json(settings)
    asyncio.run(serve(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
