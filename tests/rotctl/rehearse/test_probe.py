"""The clients of a rehearsal, against servers that fail in each way there is."""

from __future__ import annotations

import ast
import json
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.tls import Authority
from rotctl.rehearse import counts, probe
from rotctl.rehearse.counts import Line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEXT = Path(probe.__file__).read_text(encoding="utf-8")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TOLD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
SECONDS = 10.0


def read(connection: socket.socket) -> bytes:
    """One request."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        more = connection.recv(4096)
        if not more:
            return data
        data += more
    return data


class Server:
    """Does with each connection what it is told to. Made by `serving`."""

    def __init__(self, accepting: socket.socket, each: Callable[[socket.socket], None]) -> None:
        self.port = int(accepting.getsockname()[1])
        self.requests: list[bytes] = []
        self._accepting, self._each = accepting, each
        self.ended = threading.Event()  # the first connection is over

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._accepting.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(SECONDS)
                self._each(connection)
            self.ended.set()


@contextmanager
def serving(each: Callable[[socket.socket], None]) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as accepting:
        server = Server(accepting, each)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        yield server
        accepting.shutdown(socket.SHUT_RDWR)
    thread.join(SECONDS)


def options(port: int, **more: Any) -> dict[str, Any]:
    given = {"host": "127.0.0.1", "port": port, "path": "/orders", "https": False, "name": ""}
    return {**given, "timeout": SECONDS, "rate": 50.0, "connections": 2, "service": "X", **more}


@pytest.fixture
def client() -> Iterator[Callable[..., tuple[probe.Client, probe.Counts]]]:
    """Makes a client, and what it counts."""
    made: list[probe.Client] = []

    def make(port: int, *, keeps: bool = True, **more: Any) -> tuple[probe.Client, probe.Counts]:
        seen = probe.Counts()
        made.append(probe.Client(options(port, **more), seen, keeps=keeps))
        return made[-1], seen

    yield make
    for one in made:
        one.leave()


def fails(one: probe.Client) -> str:
    with pytest.raises(probe.FailedError) as raised:
        one.ask()
    return raised.value.kind


def line(seen: probe.Counts) -> Line:
    found = Line.of(seen.line(""))
    assert found is not None
    return found


def answers(*given: bytes) -> Callable[[socket.socket], None]:
    """Reads a request and sends the next of these; after the last one it closes."""

    def each(connection: socket.socket) -> None:
        for one in given:
            read(connection)
            connection.sendall(one)

    return each


def test_a_connection_that_was_closed_between_two_requests(client: Any) -> None:
    with serving(answers(OK)) as server:
        one, _ = client(server.port)
        one.ask()
        assert server.ended.wait(SECONDS)
        held = one._connection  # noqa: SLF001 - to see its end arrive
        assert held is not None
        assert select.select([held.sock], [], [], SECONDS)[0]
        assert fails(one) == "kept-idle"


def test_a_connection_that_ends_under_a_request(client: Any) -> None:
    def each(connection: socket.socket) -> None:
        answers(OK)(connection)
        read(connection)

    with serving(each) as server:
        one, seen = client(server.port)
        one.ask()
        assert line(seen).kept != ()
        assert fails(one) == "kept-in-flight"
        assert line(seen).kept == ()


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (b"", "fresh-closed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "cut"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "cut"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "garbled"),
    ],
)
def test_new_connections(client: Any, given: bytes, kind: str) -> None:
    with serving(answers(given)) as server:
        assert fails(client(server.port, keeps=False)[0]) == kind


def test_nobody_listens(client: Any) -> None:
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        assert fails(client(bound.getsockname()[1])[0]) == "refused"


def test_nothing_is_answered(client: Any) -> None:
    over = threading.Event()

    def each(connection: socket.socket) -> None:
        read(connection)
        over.wait(SECONDS)

    with serving(each) as server:
        assert fails(client(server.port, timeout=0.2)[0]) == "timeout"
        over.set()

    over.clear()

    def second(connection: socket.socket) -> None:
        answers(OK)(connection)
        each(connection)

    with serving(second) as server:
        one, _ = client(server.port, timeout=0.2)
        one.ask()
        assert fails(one) == "kept-timeout"
        over.set()


def test_an_answer_that_says_so_ends_a_connection_and_fails_nothing(client: Any) -> None:
    with serving(answers(TOLD)) as server:
        one, seen = client(server.port)
        one.ask()
        one.ask()
        found = line(seen)
    assert (found.told, found.answered, found.failed, found.kept) == (2, 2, {}, ())
    assert found.clients == 1


def test_an_answer_of_500_or_more_has_failed(client: Any) -> None:
    refused = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
    missing = b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"
    with serving(answers(refused, missing)) as server:
        one, seen = client(server.port)
        one.ask()
        one.ask()
    assert line(seen).failed == {"status": 1}
    assert line(seen).statuses == {"5xx": 1, "4xx": 1}


@pytest.mark.parametrize(
    ("header", "word"),
    [
        (b"Server: gunicorn", "gunicorn"),
        (b"server: uvicorn", "uvicorn"),
        (b"Server: Kestrel", "kestrel"),
        (b"X-Powered-By: Express", "express"),
        (b"Server: secret-of-theirs/1.0", ""),
    ],
)
def test_of_an_answer_nothing_is_said_but_a_known_word(
    client: Any, header: bytes, word: str
) -> None:
    given = b"HTTP/1.1 200 OK\r\n" + header + b"\r\nContent-Length: 11\r\n\r\nsecret-body"
    with serving(answers(given)) as server:
        one, seen = client(server.port)
        one.ask()
        assert line(seen).server == word
        assert "secret" not in seen.line("")


def test_what_is_asked(client: Any) -> None:
    asked: list[bytes] = []

    def each(connection: socket.socket) -> None:
        asked.append(read(connection))
        connection.sendall(OK)

    with serving(each) as server:
        client(server.port, keeps=False, name="shop.example")[0].ask()
    (request,) = asked
    head = request.split(b"\r\n")
    assert head[0] == b"GET /orders HTTP/1.1"
    assert [one for one in head if one.lower().startswith(b"host:")] == [b"Host: shop.example"]
    assert b"Connection: close" in head


def test_pods_that_speak_tls_are_not_asked_who_they_are(client: Any, tmp_path: Path) -> None:
    context = Authority(tmp_path).issue("somebody-else").context()

    def each(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as encrypted:
            answers(OK, TOLD)(encrypted)

    with serving(each) as server:
        one, seen = client(server.port, https=True)
        one.ask()
        one.ask()
        found = line(seen)
    assert (found.answered, found.told, found.failed) == (2, 1, {})


def test_every_kind_has_words() -> None:
    raised = {
        node.args[0].value
        for node in ast.walk(ast.parse(TEXT))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "FailedError"
        and isinstance(node.args[0], ast.Constant)
    }
    assert raised | {"status"} <= set(counts.KINDS)
    assert {"cut", "refused", "garbled"} <= raised


def test_any_python_from_3_8_on_runs_it_by_itself() -> None:
    tree = ast.parse(TEXT, feature_version=(3, 8))
    imported = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= {*sys.stdlib_module_names}
    assert "$" not in TEXT  # Kubernetes would expand it


def test_as_a_process_it_waits_counts_and_ends_by_itself() -> None:
    def each(connection: socket.socket) -> None:
        read(connection)
        connection.sendall(TOLD)

    with serving(each) as server:
        given = options(1, seconds=1.5)
        environment = {"X_SERVICE_HOST": "127.0.0.1", "X_SERVICE_PORT": str(server.port)}
        done = subprocess.run(  # noqa: S603 - argv is written here
            [sys.executable, "-I", "-c", TEXT, json.dumps(given)],
            capture_output=True, text=True, check=True, timeout=60, env=environment,
        )  # fmt: skip
    lines = [Line.of(one) for one in done.stdout.splitlines()]
    assert done.stderr == ""
    assert lines[0] is not None
    assert lines[0].waits == "start"
    assert lines[-1] is not None
    assert lines[-1].waits == ""
    assert lines[-1].answered > 2
    assert lines[-1].failed == {}


def test_it_says_why_it_waits_and_leaves_on_sigterm() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        given = options(bound.getsockname()[1], seconds=60.0)
        with subprocess.Popen(  # noqa: S603 - argv is written here
            [sys.executable, "-I", "-c", TEXT, json.dumps(given)],
            stdout=subprocess.PIPE, text=True, env={},
        ) as process:  # fmt: skip
            assert process.stdout is not None
            said = [Line.of(process.stdout.readline()) for _ in range(2)]
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
    assert [one and one.waits for one in said] == ["start", "refused"]
