"""Probes: what is asked of a container, and when an answer changes its state."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from local.cluster.processes import run_command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from local.cluster.kinds import Object

    Check = Callable[[], Awaitable[str | None]]

HOST = "127.0.0.1"
EAGER = 0.1  # seconds


@dataclass(frozen=True)
class Prober:
    """Asks one container. `ports` gives the local port of a container port, by number or name."""

    session: aiohttp.ClientSession
    ports: dict[int | str, int]
    environment: dict[str, str]
    directory: Path
    log: Path

    async def check(self, probe: Object) -> str | None:
        """None for success, else what went wrong."""
        if action := probe.get("httpGet"):
            return await self.http(action, probe["timeoutSeconds"])
        if action := probe.get("tcpSocket"):
            return await self._tcp(action, probe["timeoutSeconds"])
        if action := probe.get("exec"):
            return await self.exec(action, probe["timeoutSeconds"])
        return "this kind of probe is not available here"

    async def http(self, action: Object, seconds: float) -> str | None:
        port = self._port(action["port"])
        scheme = action.get("scheme", "HTTP").lower()
        headers = {h["name"]: h["value"] for h in action.get("httpHeaders") or []}
        try:
            async with self.session.get(
                f"{scheme}://{action.get('host', HOST)}:{port}{action.get('path', '/')}",
                headers={"User-Agent": "kube-probe/1.34", **headers},
                timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,
                ssl=False,
            ) as response:
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return f"Get port {port}: {str(error) or type(error).__name__}"
        return None if 200 <= status < 400 else f"HTTP probe failed with statuscode: {status}"

    async def _tcp(self, action: Object, seconds: float) -> str | None:
        port = self._port(action["port"])
        try:
            async with asyncio.timeout(seconds):
                _, writer = await asyncio.open_connection(HOST, port)
        except (OSError, TimeoutError) as error:
            return f"dial tcp {HOST}:{port}: {str(error) or type(error).__name__}"
        writer.close()
        return None

    async def exec(self, action: Object, seconds: float) -> str | None:
        try:
            code = await run_command(
                action["command"], self.environment, self.directory, self.log, seconds
            )
        except OSError as error:
            return f"command cannot be run: {error}"
        if code is None:
            return f"command timed out after {seconds:g}s"
        return None if code == 0 else f"command exited with {code}"

    def _port(self, port: int | str) -> int:
        """The local port for a container port; one that is not declared is taken as it is."""
        return self.ports.get(port) or int(port)


async def transitions(
    probe: Object,
    check: Check,
    failed: Callable[[str], None],
    *,
    healthy: bool | None,
    eager: bool = False,
) -> AsyncIterator[bool]:
    """Yields the new state each time that its threshold has been reached, starting from `healthy`;
    None is neither. `failed` is told of every failing check. An eager one asks more often than
    upstream until the first change, so that nobody waits for a process that starts in no time."""
    await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
    row, last = 0, None
    pause = EAGER if eager else probe["periodSeconds"]
    while True:
        problem = await check()
        if problem:
            failed(problem)
        row = row + 1 if (problem is None) is last else 1
        last = problem is None
        threshold = probe["successThreshold" if last else "failureThreshold"]
        if last is not healthy and row >= threshold:
            healthy = last
            pause = probe["periodSeconds"]
            yield healthy
        await asyncio.sleep(pause)
