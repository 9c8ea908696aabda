"""Servers on 127.0.0.1."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from aiohttp import web

from local.host.settings import SettingsError

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

BODY_LIMIT = 100 * 1024 * 1024  # bytes, as on the platform
GRACE = 3.0  # seconds that running calls have to end in


def bound_socket(port: int) -> socket.socket:
    """Does not listen yet: the port is known before anybody can call it. 0 takes any free one."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        raise SettingsError(f"port {port} of 127.0.0.1 cannot be used: {error}") from error
    return sock


def url_of(sock: socket.socket) -> str:
    return f"http://127.0.0.1:{sock.getsockname()[1]}"


async def listen(stack: AsyncExitStack, app: web.Application, sock: socket.socket) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, sock).start()
