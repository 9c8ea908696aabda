"""`python -m local.workload`: serves until SIGTERM, then leaves without failing a request."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from aiohttp import web

from local.process import announce
from local.workload.app import STATE, make_app
from local.workload.running import run

if TYPE_CHECKING:
    from local.workload.settings import Settings


async def serve(settings: Settings, told_to_stop: asyncio.Event) -> None:
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


if __name__ == "__main__":
    sys.exit(run(serve))
