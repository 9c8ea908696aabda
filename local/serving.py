"""Runs a component's HTTP servers until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

ACCESS_FORMAT = '%a "%r" %s %Tfs'


@dataclass(frozen=True)
class Site:
    """One server on 127.0.0.1. Port 0 takes any free one."""

    app: web.Application
    port: int
    tls: ssl.SSLContext | None = None


def log_to_stderr() -> None:
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )


async def serve(sites: Sequence[Site], listening: Callable[[list[str]], None]) -> None:
    """`listening` is called with the base URLs, in the order of `sites`, once all accept."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    runners: list[web.AppRunner] = []
    try:
        urls = [await _start(site, runners) for site in sites]
        listening(urls)
        await stopped.wait()
    finally:
        for runner in runners:
            await runner.cleanup()


async def _start(site: Site, runners: list[web.AppRunner]) -> str:
    runner = web.AppRunner(site.app, access_log_format=ACCESS_FORMAT, shutdown_timeout=1.0)
    runners.append(runner)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", site.port, ssl_context=site.tls).start()
    port = runner.addresses[0][1]
    return f"{'https' if site.tls else 'http'}://127.0.0.1:{port}"
