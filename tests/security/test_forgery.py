"""Server-side request forgery: URLs of tests that lead where tokens are handed out.

The servers are sockets of this process; where a name leads is decided by a resolver of the test's
own, since no name on the internet leads to an address of ours.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from rotation.config import fields
from rotation.edges import web
from rotation.model.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

METADATA = "169.254.169.254"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class Listener:
    """Answers each connection with `reply` and keeps what it was sent."""

    def __init__(self, reply: Callable[[socket.socket], None]) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._reply = reply
        self.port: int = self._server.getsockname()[1]
        self.received: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed at the end of the test
            while True:
                connection, _ = self._server.accept()
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):  # the client may hang up first
            self.received.append(connection.recv(4096))
            if self.received[-1]:
                self._reply(connection)

    def close(self) -> None:
        self._server.close()


@contextlib.contextmanager
def listening(reply: Callable[[socket.socket], None]) -> Iterator[Listener]:
    listener = Listener(reply)
    try:
        yield listener
    finally:
        listener.close()


def saying(answer: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(answer)


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """`resolve("a", "b")` makes every look-up of a name give `a`, the next one `b`, and so on."""
    asked: list[str] = []

    def become(*addresses: str) -> list[str]:
        left = list(addresses)

        def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
            asked.append(host)
            address = left.pop(0) if len(left) > 1 else left[0]
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            place = (address, port, 0, 0) if ":" in address else (address, port)
            return [(family, socket.SOCK_STREAM, 6, "", place)]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return become


class TestRefusedBeforeConnecting:
    @pytest.mark.guarantee(8)
    @pytest.mark.parametrize(
        "url",
        [
            f"http://{METADATA}/metadata/identity/oauth2/token",
            f"https://{METADATA}/",
            "http://169.254.129.1:8081/msi/token",
            "http://168.63.129.16/machine",
            "http://2852039166/",  # the same address as one number
            "http://0xa9fea9fe/",
            "http://169.254.43518/",
            "http://0251.0376.0251.0376/",
            "http://[::ffff:169.254.169.254]/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://[fe80::1]/",
        ],
    )
    def test_every_way_to_write_the_address(self, url: str) -> None:
        with pytest.raises(Invalid, match="metadata service"):
            web.fetch(url, 1)

    def test_a_name_that_leads_there(self, resolve: Callable[..., list[str]]) -> None:
        resolve(METADATA)
        with pytest.raises(Invalid, match="metadata service"):
            web.fetch("http://innocent.example/", 1)

    @pytest.mark.parametrize(
        "url",
        [
            "file:///etc/passwd",
            "ftp://files.example/a",
            "gopher://files.example/",
            "http:///nowhere",
            "https://",
            "//host.example/",
            "",
        ],
    )
    def test_what_is_no_http_url(self, url: str) -> None:
        with pytest.raises(Invalid, match="only http"):
            web.fetch(url, 1)

    @pytest.mark.parametrize(
        "url",
        [
            "file:///etc/passwd",
            "ftp://files.example/a",
            "http://somebody:something@host.example/",
            f"http://host.example\\@{METADATA}/",
            f"http://host.example@{METADATA}/",
            "http://host.example/\nHost: other",
            "http://host.example/ x",
            "javascript:alert(1)",
        ],
    )
    def test_the_configuration_takes_none_of_these(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"must not hold credentials|is not an"):
            fields.test_url(url)


class TestRefusedOnceConnected:
    """Between the look at a name and the connection, the name may have come to lead elsewhere."""

    @pytest.mark.guarantee(8)
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_a_name_that_changes_meanwhile_gets_not_one_byte(
        self,
        scheme: str,
        resolve: Callable[..., list[str]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with listening(saying(OK)) as listener:
            monkeypatch.setattr(web, "METADATA", tuple(map(network, ("127.0.0.1/32",))))
            asked = resolve("192.0.2.1", "127.0.0.1")
            with pytest.raises(Invalid, match=r"127\.0\.0\.1 is where the metadata service is"):
                web.fetch(f"{scheme}://rebinding.example:{listener.port}/", 5)
            assert asked == ["rebinding.example", "rebinding.example"]
            settled(lambda: listener.received == [b""])

    def test_an_ipv4_address_inside_an_ipv6_one_is_seen_through(self) -> None:
        assert web.is_metadata("::ffff:169.254.169.254")
        assert web.is_metadata("fe80::1%eth0")
        assert not web.is_metadata("::ffff:10.0.0.4")


def network(text: str) -> Any:
    import ipaddress  # noqa: PLC0415 - for this

    return ipaddress.ip_network(text)


def settled(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.guarantee(8)
def test_redirects_are_an_answer_and_not_followed() -> None:
    with listening(saying(OK)) as inner:
        location = f"http://127.0.0.1:{inner.port}/inner".encode()
        reply = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n"
        with listening(saying(reply)) as outer:
            answer = web.fetch(f"http://127.0.0.1:{outer.port}/", 5)
        assert answer.status == 302
        assert inner.received == []


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(saying(OK)) as proxy, listening(saying(OK)) as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert web.fetch(f"http://127.0.0.1:{server.port}/", 5).body == b"ok"
        assert proxy.received == []


def test_an_answer_without_end_is_cut() -> None:
    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with listening(endless) as listener:
        answer = web.fetch(f"http://127.0.0.1:{listener.port}/", 5)
    assert len(answer.body) == web.LONGEST_BODY


def test_an_answer_that_trickles_is_given_up() -> None:
    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)

    with listening(trickle) as listener:
        began = time.monotonic()
        with pytest.raises(Unavailable, match="TimeoutError"):
            web.fetch(f"http://127.0.0.1:{listener.port}/", 0.5)
    assert time.monotonic() - began < 30  # a whole body at that pace takes an hour


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut"],
    ids=["none", "no HTTP", "cut off"],
)
def test_what_is_no_answer_is_worth_a_retry(answer: bytes) -> None:
    with listening(saying(answer)) as listener, pytest.raises(Unavailable, match="got no answer"):
        web.fetch(f"http://127.0.0.1:{listener.port}/", 5)
