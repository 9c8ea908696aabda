"""The way out of a pod for programs that do not choose the address that they come from.

A real pod has an address, and all that it connects to sees that one. Here pods share the machine's
127.0.0.1; a program that is told SOURCE_ADDRESS can bind to its own, others cannot. So a pod may
name the variables that hold ports on 127.0.0.1 in the annotation `local/egress`
(`DATABASE_PORT`, or several with commas between them): each becomes the port of a relay of the
node's, which goes on to the one that was meant, from the pod's address.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from local.cluster.environment import HOST, ConfigError
from local.cluster.forwarding import Incoming

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.cluster.kinds import Object

ANNOTATION = "local/egress"


class Egress:
    """The relays of one pod, from `address`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._relays: dict[int, asyncio.Server] = {}

    async def variables(self, pod: Object, variables: Mapping[str, str]) -> dict[str, str]:
        """The variables of a container, with those that the pod names led through relays. Raises
        `ConfigError` for one that holds no port."""
        named = (pod["metadata"].get("annotations") or {}).get(ANNOTATION, "")
        found = dict(variables)
        for name in filter(None, (part.strip() for part in named.split(","))):
            given = found.get(name, "")
            if not given.isdecimal():
                raise ConfigError(f"annotation {ANNOTATION}: variable {name} holds no port")
            found[name] = str(await self._port(int(given)))
        return found

    async def _port(self, target: int) -> int:
        if target not in self._relays:
            loop = asyncio.get_running_loop()
            self._relays[target] = await loop.create_server(
                lambda: Incoming(lambda: target, HOST, self._address), HOST, 0
            )
        port: int = self._relays[target].sockets[0].getsockname()[1]
        return port

    def close(self) -> None:
        """Takes no more connections; those that are open end with the pod's processes."""
        for relay in self._relays.values():
            relay.close()
        self._relays.clear()
