"""Moves bytes between a Service's connection and a pod's.

Each side stops reading while the other cannot take more, an end of input is passed on while the
other direction goes on, and an abort of one side aborts the other.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, cast

from local.cluster.tasks import spawn

if TYPE_CHECKING:
    from collections.abc import Callable

_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: on, no time


class Side(asyncio.Protocol):
    """One of two connections; `peer` is the other one."""

    def __init__(self) -> None:
        self.peer: Side | None = None
        self.transport: asyncio.Transport | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.peer and self.peer.transport:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        """True keeps the connection open for the other direction."""
        self._ended = True
        peer = self.peer
        if peer and peer.transport and not peer.transport.is_closing():
            if peer._ended:  # noqa: SLF001 - the same class
                peer.transport.close()
                return False
            peer.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.peer and self.peer.transport:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer and self.peer.transport:
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        peer = self.peer
        if peer and peer.transport:
            if exc:
                abort(peer.transport)
            else:
                peer.transport.close()
        self.peer = None


class Incoming(Side):
    """A client's connection. `choose` gives the port of the pod to go to, None when there is
    none: then it is reset. `source` is the address that the connection there comes from."""

    def __init__(
        self, choose: Callable[[], int | None], host: str = "127.0.0.1", source: str | None = None
    ) -> None:
        super().__init__()
        self._choose = choose
        self._host = host
        self._source = (source, 0) if source else None
        self._early = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None  # noqa: S101 - set by the line above
        port = self._choose()
        if port is None:
            abort(self.transport)
            return
        self.transport.pause_reading()
        spawn(self._connect(port), "connection to a pod")

    def data_received(self, data: bytes) -> None:
        """Python before 3.11.4 reads in spite of a pause during `connection_made`."""
        if self.peer is None:
            self._early += data
        else:
            super().data_received(data)

    async def _connect(self, port: int) -> None:
        assert self.transport is not None  # noqa: S101 - connected by then
        outgoing = Side()
        outgoing.peer = self
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(
                lambda: outgoing, self._host, port, local_addr=self._source
            )
        except OSError:
            abort(self.transport)
            return
        if self.transport.is_closing():
            abort(cast("asyncio.Transport", outgoing.transport))
            return
        self.peer = outgoing
        other = cast("asyncio.Transport", outgoing.transport)
        other.write(bytes(self._early))
        if self._ended:
            other.write_eof()
        self.transport.resume_reading()


def abort(transport: asyncio.Transport) -> None:
    """Closes with a reset, so that the other end does not take it for an orderly end."""
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    transport.abort()
