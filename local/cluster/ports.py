"""Local TCP ports for pods and Services."""

from __future__ import annotations

from local.process import free_port


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
