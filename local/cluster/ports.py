"""Local TCP ports for pods and Services, and the addresses that pods' connections come from."""

from __future__ import annotations

import random

from local.process import free_port

PORT_ANNOTATION = "local/port."
SPANS = ((64, 127), (0, 255), (1, 254))


class PortError(RuntimeError):
    """No port could be had."""


class Ports:
    """Hands out free ports of 127.0.0.1, none twice until it is given back."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def reserve(self, port: int) -> None:
        self._taken.add(port)

    def release(self, port: int) -> None:
        self._taken.discard(port)

    def take(self) -> int:
        for _ in range(1000):
            port = free_port()
            if port not in self._taken:
                self._taken.add(port)
                return port
        raise PortError("no free port of 127.0.0.1 that is not promised already")


class Addresses:
    """Hands out addresses of this machine's loopback, all of which Linux has: none twice until it
    is given back, and none below 127.64.0.0, where other programs may look for theirs."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def release(self, address: str) -> None:
        self._taken.discard(address)

    def take(self) -> str:
        for _ in range(1000):
            second, third, last = (random.randint(*span) for span in SPANS)  # noqa: S311 - no secret
            address = f"127.{second}.{third}.{last}"
            if address not in self._taken:
                self._taken.add(address)
                return address
        raise PortError("no free address of 127.64.0.0/10 that is not promised already")
