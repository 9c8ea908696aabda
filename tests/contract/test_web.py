"""`rotation.edges.web`: tests of a URL, over the wire."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from local.tls import Authority
from rotation.edges.threads import side_by_side
from rotation.edges.web import LONGEST_BODY, fetch
from rotation.model.errors import Invalid, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import PLAIN, Answer, Manner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Server(ThreadingHTTPServer):
    """Answers with a status that the path ends in; notes what it is asked."""

    daemon_threads = True
    asked: list[tuple[str, dict[str, str]]]
    body: bytes = b'{"role": "orders_green"}'
    pause: float = 0.0
    released: threading.Event

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """Clients hang up in the middle of answers here: that is what is tested."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        if self.server.pause:
            self.server.released.wait(self.server.pause)
        tail = self.path.rpartition("/")[2]
        status = int(tail) if tail.isdecimal() else 200
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class
        """Nothing on standard error."""


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@contextmanager
def serving() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked, running.released = [], threading.Event()
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield running
        finally:
            running.released.set()
            running.shutdown()
            thread.join(10)


@pytest.mark.parametrize("status", [200, 204, 302, 404, 503])
def test_an_answer_is_an_answer_whatever_its_status(server: Server, status: int) -> None:
    found = fetch(f"{server.url}/{status}", 5)
    assert found.status == status
    assert [path for path, _ in server.asked] == [f"/{status}"]


def test_the_request_says_who_asks_and_nothing_secret(server: Server) -> None:
    assert fetch(f"{server.url}/whoami?a=b%20c", 5).body == server.body
    path, headers = server.asked[0]
    assert path == "/whoami?a=b%20c"
    assert headers["User-Agent"] == "credential-rotation"
    assert "Authorization" not in headers


def test_a_long_body_is_cut(server: Server) -> None:
    server.body = b"x" * (LONGEST_BODY + 1000)
    assert len(fetch(server.url, 5).body) == LONGEST_BODY


def test_a_slow_answer_is_no_answer(server: Server) -> None:
    server.pause = 10
    with pytest.raises(Unavailable, match=r"GET http://127\.0\.0\.1:\d+ got no answer"):
        fetch(server.url, 0.3)


def test_many_at_once_are_each_answered_and_each_by_its_own_deadline(server: Server) -> None:
    """A wait in vain beside them takes none of their time."""
    server.pause = 0.2

    def answered(number: int) -> int | str:
        try:
            return fetch(f"{server.url}/{number}", 0.02 if number % 2 else 20).status
        except Unavailable as error:
            return str(error.code)

    numbers = range(200, 216)
    found = side_by_side([partial(answered, number) for number in numbers], 30)
    assert found == [str(Code.TEST_NO_ANSWER) if number % 2 else number for number in numbers]


def test_a_server_that_is_down() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable):
            fetch(f"http://127.0.0.1:{taken.getsockname()[1]}/", 2)


def test_a_server_that_hangs_up_is_asked_once() -> None:
    """The orchestrator repeats, and says so."""
    accepted: list[int] = []

    def hang_up(listening: socket.socket) -> None:
        with suppress(OSError):  # the test is over
            while True:
                connection, _ = listening.accept()
                accepted.append(connection.fileno())
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=hang_up, args=[listening])
        thread.start()
        with pytest.raises(Unavailable):
            fetch(f"http://127.0.0.1:{listening.getsockname()[1]}/", 5)
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    assert len(accepted) == 1


def test_a_server_whose_authority_nobody_knows(server: Server, tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue("web")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with pytest.raises(Unavailable, match="got no answer: SSLError"):
        fetch(server.url.replace("http:", "https:"), 5)
    assert server.asked == []


def test_a_private_authority_vouches_for_a_server(server: Server, tmp_path: Path) -> None:
    """By its file, or by what stands in that."""
    authority = Authority(tmp_path)
    server.socket = authority.issue("web").context().wrap_socket(server.socket, server_side=True)
    url = server.url.replace("http:", "https:")
    for given in (str(authority.bundle), authority.bundle.read_text(encoding="utf-8")):
        assert fetch(url, 5, PLAIN, given).status == 200
    with pytest.raises(Unavailable, match="got no answer: SSLError"):
        fetch(url, 5, PLAIN, str(Authority(tmp_path / "another").bundle))


@pytest.mark.parametrize("authority", ["no-such-file.pem", "-----BEGIN CERTIFICATE-----\nhunter2"])
def test_an_authority_that_is_none(authority: str) -> None:
    with pytest.raises(Invalid, match="certificateAuthority of a test cannot be used: ") as caught:
        fetch("https://127.0.0.1/", 2, PLAIN, authority)
    assert caught.value.code is Code.TEST_AUTHORITY
    assert "hunter2" not in str(caught.value)


def test_a_header_is_sent_once_however_it_is_written(server: Server) -> None:
    fetch(f"{server.url}/", 5, Manner("GET", {"user-agent": "tests"}))
    ((_, headers),) = server.asked
    assert [v for name, v in headers.items() if name.lower() == "user-agent"] == ["tests"]


def test_a_request_with_a_method_headers_and_a_body(server: Server) -> None:
    manner = Manner("POST", {"Host": "green.api.example", "Content-Type": "text/csv"}, b"a,b")
    assert fetch(f"{server.url}/orders", 5, manner) == Answer(200, b"a,b")
    ((path, headers),) = server.asked
    assert path == "/orders"
    assert headers["Host"] == "green.api.example"
    assert headers["Content-Type"] == "text/csv"
    assert headers["User-Agent"] == "credential-rotation"


def test_a_server_that_speaks_something_else() -> None:
    def talk(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"SSH-2.0-something\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=talk, args=[listening])
        thread.start()
        with pytest.raises(Unavailable):
            fetch(f"http://127.0.0.1:{listening.getsockname()[1]}/", 2)
        thread.join(10)


@pytest.mark.parametrize("host", ["no-such-host.invalid", f"{'x' * 70}.example", "a..b.example"])
def test_a_host_that_does_not_resolve(host: str) -> None:
    with pytest.raises(Unavailable, match="its host name does not resolve"):
        fetch(f"https://{host}/", 2)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.130.1",
        "[::ffff:169.254.169.254]",
        "[fe80::1]",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "168.63.129.16",
    ],
)
def test_the_metadata_service_is_not_asked(host: str) -> None:
    with pytest.raises(Invalid, match="where the metadata service is"):
        fetch(f"http://{host}/metadata/identity/oauth2/token", 2)
