"""Servers in a PostgreSQL's name that are none, and a pooler between a client and a real one.

Messages: https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Answer = bytes | None
OK = b"R" + struct.pack("!ii", 8, 0)  # AuthenticationOk, without any proof
CLEARTEXT = b"R" + struct.pack("!ii", 8, 3)
MD5 = b"R" + struct.pack("!ii", 12, 5) + b"salt"
READY = b"Z" + struct.pack("!i", 5) + b"I"


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", 4 + len(body)) + body


def error(text: str, sqlstate: str, severity: str = "FATAL") -> bytes:
    """An ErrorResponse with the text in each of its fields that takes one."""
    fields = {"S": severity, "V": severity, "C": sqlstate, **dict.fromkeys("MDHWstcdnFR", text)}
    written = b"".join(key.encode() + value.encode() + b"\0" for key, value in fields.items())
    return message(b"E", written + b"\0")


def notice(text: str) -> bytes:
    return b"N" + error(text, "00000", "WARNING")[1:]


@contextmanager
def listening(serve: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """The port of a server that hands each connection to `serve`, in a thread of its own, with an
    event that is set when all is over."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            serve(connection, over)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=one, args=[connection], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        over.set()
        listener.close()


@contextmanager
def answering(*answers: bytes, then: bytes = b"", pause: float = 0.01) -> Iterator[int]:
    """The port of a server that reads something before each of its answers, and goes on with
    `then`, for ever, or closes if there is nothing more to say."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        for answer in answers:
            connection.recv(65536)
            connection.sendall(answer)
        while then and not over.wait(pause):
            connection.sendall(then)

    with listening(serve) as port:
        yield port


@contextmanager
def silent() -> Iterator[int]:
    """The port of a server that takes everything, and never says anything."""

    def serve(_: socket.socket, over: threading.Event) -> None:
        over.wait()

    with listening(serve) as port:
        yield port


def startup(connection: socket.socket) -> dict[bytes, bytes]:
    """The parameters of a client's StartupMessage."""
    (length,) = struct.unpack("!i", _exactly(connection, 4))
    parts = _exactly(connection, length - 4)[4:].split(b"\0")
    return dict(zip(parts[::2], parts[1::2], strict=False))


@contextmanager
def pooler(port: int) -> Iterator[int]:
    """The port of what stands between a client and the server at `port`, and drops the options
    that the client starts with, as poolers do that are told to ignore them."""

    def serve(connection: socket.socket, _: threading.Event) -> None:
        given = startup(connection)
        given.pop(b"options", None)
        body = b"".join(name + b"\0" + value + b"\0" for name, value in given.items() if name)
        with socket.create_connection(("127.0.0.1", port)) as server:
            server.sendall(struct.pack("!ii", 9 + len(body), 196608) + body + b"\0")
            back = threading.Thread(target=_pump, args=[server, connection], daemon=True)
            back.start()
            _pump(connection, server)

    with listening(serve) as found:
        yield found


@contextmanager
def freezing(port: int, at: bytes) -> Iterator[int]:
    """The port of what passes everything on to the server at `port`, until the client says `at`:
    from then on nothing comes any more, and the kernel goes on acknowledging what it is sent."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:
            back = threading.Thread(target=_pump, args=[server, connection], daemon=True)
            back.start()
            while (received := connection.recv(65536)) and at not in received:
                server.sendall(received)
            over.wait()

    with listening(serve) as found:
        yield found


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while received := source.recv(65536):
            target.sendall(received)
        target.shutdown(socket.SHUT_WR)


def _exactly(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        more = connection.recv(size - len(received))
        if not more:
            raise OSError("the client went")
        received += more
    return received
