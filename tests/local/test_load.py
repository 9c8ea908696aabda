from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, BinaryIO

import pytest
import urllib3

from local.load import Load, Report, Request
from local.load.generator import MIX, Kept, Pooled
from local.load.report import Recorder
from local.process import ROOT, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GET = [Request("GET", "/")]
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


def reply(status: int = 200, *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status} Reason", "Content-Length: 2", *headers, "", "ok"]
    return "\r\n".join(head).encode()


class Server:
    """Answers each request with what `answer` returns; None ends the connection unsaid, b"" too
    but with a reset. `connections` and `requests` are counted."""

    def __init__(self, answer: Callable[[int, str], bytes | None]) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self.requests: list[str] = []
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._lock = threading.Lock()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed by `__exit__`
            with self._lock:
                self.connections += 1
                self._open.append(connection)
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            number = 0
            while line := self._request(stream):
                number += 1
                answer = self._answer(number, line)
                if answer == b"":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                if not answer:
                    return
                connection.sendall(answer)
                if b"Connection: close" in answer:
                    return

    def _request(self, stream: BinaryIO) -> str:
        """The request line, once head and body are read; empty at the connection's end."""
        head: list[str] = []
        try:
            while (line := stream.readline()) not in {b"", b"\r\n"}:
                head.append(line.decode().strip())
            for name, _, value in (line.partition(":") for line in head):
                if name.lower() == "content-length":
                    stream.read(int(value))
        except OSError:
            return ""
        if not head:
            return ""
        with self._lock:
            self.requests.append(head[0])
        return head[0]

    def closed(self, number: int) -> bool:
        return self._open[number].fileno() < 0

    def __enter__(self) -> Server:
        self._threads[0].start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # ended already
        for thread in self._threads:
            thread.join()


def run(load: Load, enough: int = 20) -> Report:
    load.start()
    wait_until(lambda: load.report().requests >= enough, 20, f"{enough} requests")
    return load.stop()


@pytest.fixture
def healthy() -> Iterator[Server]:
    with Server(lambda _number, _line: reply(200, "X-Database-Role: orders_blue")) as server:
        yield server


def test_counts_requests_by_client_and_by_role(healthy: Server) -> None:
    report = run(Load([healthy.url], workers=4, rate=400))
    assert report.failed == 0
    assert report.requests == len(healthy.requests) == sum(report.clients.values())
    assert report.roles == {healthy.url: {"orders_blue": report.requests}}
    assert report.clients.keys() == {"keep-alive", "fresh"}
    assert (report.failed_by, report.told) == ({}, {})
    assert 0 < report.latency["p50"] <= report.latency["p99"] <= report.latency["max"]


def test_keeps_connections_or_makes_one_for_each_request(healthy: Server) -> None:
    kept = run(Load([healthy.url], workers=3, fresh=0, rate=400))
    assert kept.requests >= 20
    assert healthy.connections <= 3
    before = healthy.connections
    fresh = run(Load([healthy.url], workers=3, fresh=3, rate=400))
    assert healthy.connections - before == fresh.requests


def test_a_pool_shares_its_connections(healthy: Server) -> None:
    report = run(Load([healthy.url], workers=4, fresh=0, pooled=3, rate=400))
    assert report.failed == 0
    assert report.clients.keys() == {"keep-alive", "pooled"}
    assert report.requests == len(healthy.requests)
    assert healthy.connections <= 4


def test_more_of_a_kind_than_there_are_workers_bad() -> None:
    with pytest.raises(ValueError, match="2 fresh and 3 pooled are more than 4 workers"):
        Load(["http://127.0.0.1:1"], workers=4, pooled=3)


def test_reads_and_writes_several_servers_in_turn(healthy: Server) -> None:
    with Server(lambda _number, _line: reply(201)) as other:
        report = run(Load([healthy.url, other.url], rate=400), enough=40)
        assert report.failed == 0
        for server in (healthy, other):
            assert {line.split(" HTTP")[0] for line in server.requests} == {
                f"{request.method} {request.path}" for request in MIX
            }
    assert abs(len(healthy.requests) - len(other.requests)) <= 8


def test_leaves_a_connection_when_told_to(healthy: Server) -> None:
    with Server(lambda _number, _line: reply(200, "Connection: close")) as closing:
        report = run(Load([closing.url], fresh=0, pooled=4, rate=400))
        assert report.failed == 0
        assert closing.connections == report.requests
        assert report.told == report.clients
        assert report.told.keys() == {"keep-alive", "pooled"}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (None, "closed"),
        (b"", "reset"),
        (reply(503), "http 503"),
        (reply(302), "http 302"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhalf", "closed"),
        (b"nonsense\r\n\r\n", "malformed"),
    ],
)
@pytest.mark.parametrize("client", ["keep-alive", "fresh", "pooled"])
def test_every_kind_of_failure_is_counted_bad(answer: bytes | None, kind: str, client: str) -> None:
    kinds = {"fresh": 4 * (client == "fresh"), "pooled": 4 * (client == "pooled")}
    with Server(lambda _number, _line: answer) as failing:
        report = run(Load([failing.url], workers=4, rate=400, mix=GET, **kinds))
        assert report.failed_by == {client: report.requests}
        assert report.kinds == {kind: report.requests}
        assert report.failed == report.requests == len(failing.requests)


def test_a_dead_kept_connection_is_a_failure_not_a_retry_bad() -> None:
    """The server goes away between two requests, as a pod without a lame duck does."""
    with Server(lambda number, _line: reply() if number == 1 else None) as server:
        report = run(Load([server.url], workers=1, fresh=0, rate=400, mix=GET))
        assert report.failed == report.requests // 2
        assert len(server.requests) == report.requests


@pytest.mark.parametrize("pooled", [True, False])
def test_a_pool_looks_whether_a_connection_is_closed_and_the_other_client_does_not(
    pooled: bool,
) -> None:
    """The server closes each connection behind its answer, without a word."""
    with Server(lambda _number, _line: reply(200, "X-Unsaid: Connection: close")) as server:
        with urllib3.PoolManager() as pool:
            client = Pooled(server.url, pool) if pooled else Kept(server.url, 10, keep=True)
            assert client.send(GET[0]).status == 200
            wait_until(lambda: server.closed(0), 10, "the end of the connection")
            if pooled:
                assert client.send(GET[0]).status == 200
            else:
                with pytest.raises(OSError, match=r"closed connection without response|reset"):
                    client.send(GET[0])
            client.close()
        assert server.connections == 1 + pooled


def test_nobody_listening_and_nobody_answering_bad() -> None:
    refused = run(Load([f"http://127.0.0.1:{free_port()}"], pooled=2, rate=400))
    assert refused.kinds == {"refused": refused.requests}
    assert refused.failed_by.keys() == {"fresh", "pooled", "keep-alive"}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        report = run(Load([url], workers=2, pooled=1, rate=400, timeout=0.2), enough=2)
    assert report.kinds == {"timeout": report.requests}


def test_the_first_failures_are_kept_with_what_is_needed_to_find_them() -> None:
    with Server(lambda _number, _line: reply(503)) as failing:
        report = run(Load([failing.url], workers=2, fresh=2, rate=800, mix=GET), enough=40)
    assert len(report.failures) == 20
    first = report.failures[0]
    assert (first.client, first.method, first.url) == ("fresh", "GET", f"{failing.url}/")
    assert first.time.endswith("+00:00")


def test_the_rate_is_bounded_also_after_a_stall() -> None:
    released = threading.Event()

    def stall(_number: int, _line: str) -> bytes:
        released.wait(10)
        return reply()

    with Server(stall) as server:
        load = Load([server.url], workers=4, rate=50, mix=GET).start()
        wait_until(lambda: len(server.requests) == 4, 10, "every worker waiting")
        stalled = threading.Event()
        stalled.wait(0.5)
        released.set()
        wait_until(lambda: load.report().requests >= 20, 10, "20 requests")
        report = load.stop()
    assert report.longest_gap >= 0.5
    # 4 went out before the stall of half a second; had the 25 missed ones been made up for in a
    # burst, the others would not have taken their time.
    assert report.seconds >= 0.5 + (report.requests - 8) / 50


def test_the_gap_is_that_of_the_server_that_waited_longest(healthy: Server) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    report = run(Load([healthy.url, nowhere], rate=200), enough=60)
    assert report.longest_gap == report.seconds
    assert report.roles[nowhere] == {}


def test_percentiles_are_within_two_percent() -> None:
    recorder = Recorder(["u"])
    for milliseconds in range(1, 1001):
        recorder.good("fresh", "u", None, milliseconds / 1000)
    recorder.end()
    latency = recorder.report().latency
    assert latency["p50"] == pytest.approx(500, rel=0.021)
    assert latency["p90"] == pytest.approx(900, rel=0.021)
    assert latency["p99"] == pytest.approx(990, rel=0.021)
    assert latency["max"] == 1000


@pytest.mark.parametrize("url", ["https://127.0.0.1", "127.0.0.1:80", "http://h/path", "http://"])
def test_other_urls_are_refused_bad(url: str) -> None:
    with pytest.raises(ValueError, match="is not of the form http://host:port"):
        Load([url])


# The command


def command(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - the module under test
        [sys.executable, "-m", "local.load", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_the_command_ends_by_itself_with_a_report(healthy: Server) -> None:
    with command("--url", healthy.url, "--seconds", "0.5", "--rate", "200") as process:
        output, _ = process.communicate(timeout=20)
    report = json.loads(output)
    assert process.returncode == 0
    assert report["requests"] == len(healthy.requests) > 0
    assert report["failed"] == 0


def test_the_command_reports_when_told_to_end(healthy: Server) -> None:
    with command("--url", healthy.url, "--rate", "200") as process:
        wait_until(lambda: len(healthy.requests) > 5, 20, "some requests")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert json.loads(output)["requests"] == len(healthy.requests)


def test_the_command_fails_when_a_request_did_bad() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with command("--url", url, "--seconds", "0.3") as process:
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert json.loads(output)["kinds"].keys() == {"refused"}
