"""HTTP connections on which an answer has a deadline for all of it, and a largest size.

The clients' own timeouts are for each read: a server that sends one byte at a time keeps them
waiting for ever. The connections here are urllib3's, as all of our clients use them.
"""

from __future__ import annotations

import io
import time
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

import requests
import requests.adapters
import urllib3
from azure.core.pipeline.transport import RequestsTransport
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from _typeshed import WriteableBuffer

LONGEST = 40.0  # seconds for one answer, unless `within` says less
CONNECT, READ = 10, 20  # seconds for each
LARGEST = 16 * 1024 * 1024  # bytes of one answer: a list of all pods of a namespace has a few MB

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Sets the deadline of the answers that are read in here, one for all of them together."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


class _Bounded(io.RawIOBase):
    """A reader of a socket that raises `OSError` at its deadline, or when too much has come."""

    def __init__(self, raw: io.RawIOBase, connected: socket.socket) -> None:
        self._raw = raw
        self._socket = connected
        self._deadline = _deadline.get() or time.monotonic() + LONGEST
        self._left = LARGEST

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        waits = self._socket.gettimeout()
        self._socket.settimeout(left if waits is None else min(waits, left))
        try:
            size = self._raw.readinto(buffer)
        finally:
            self._socket.settimeout(waits)
        self._left -= size or 0
        if self._left < 0:
            raise OSError("the answer is too large")
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    """A response that is read with a deadline and a largest size."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw: io.RawIOBase = self.fp.detach()
        self.fp = io.BufferedReader(_Bounded(raw, sock))


class Http(HTTPConnection):
    """An HTTP connection with bounded responses."""

    response_class = _Response


class Https(HTTPSConnection):
    """An HTTPS connection with bounded responses."""

    response_class = _Response


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = Http


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = Https


POOLS = {"http": _HttpPool, "https": _HttpsPool}


class _Adapter(requests.adapters.HTTPAdapter):
    """An adapter for requests that opens the connections of this module."""

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **kwargs: Any
    ) -> None:
        super().init_poolmanager(connections, maxsize, block, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS


def transport(ca_bundle: str | None = None) -> RequestsTransport:
    """A transport on these connections, for the clients of azure-core.

    Their own settings reach only a transport that they make. `ca_bundle` is the path of a private
    authority; certifi's public ones unless given.
    """
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(max_retries=False))
    return RequestsTransport(
        session=session,
        session_owner=False,
        connection_verify=ca_bundle or True,
        connection_timeout=CONNECT,
        read_timeout=READ,
    )
