"""Local TCP ports for pods and Services."""

from __future__ import annotations

import random
import socket

# Below the range from which the kernel takes the source ports of outgoing connections (32768 up),
# so that a port stays free between being chosen and being bound, and over a restart.
FIRST, LAST = 10240, 32000


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
            port = random.randint(FIRST, LAST)  # noqa: S311 - not a secret
            if port not in self._taken and _is_free(port):
                self._taken.add(port)
                return port
        raise PortError(f"no free port found on 127.0.0.1 between {FIRST} and {LAST}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
