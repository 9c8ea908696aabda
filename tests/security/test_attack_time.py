"""Whoever answers slowly, or never, or without end, keeps nobody waiting."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from local.tls import Authority
from rotation.clouds import PUBLIC
from rotation.config import Cluster
from rotation.edges import bounded, web
from rotation.edges.bounded import within
from rotation.edges.cluster.client import Api
from rotation.edges.cluster.services import Services
from rotation.edges.topic import EventGridTopic
from rotation.model.activities import Nothing
from rotation.model.errors import Unavailable
from rotation.model.targets import ServiceTarget
from rotation.secrecy import Secret
from rotation.steps.deadline import in_time
from rotation.steps.running import Implementation
from tests.security.attacked import EVENT, AnyToken

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    from rotation.model.wire import JsonObject

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\n"


@contextmanager
def server(
    head: bytes,
    chunk: bytes,
    pause: float,
    tls: ssl.SSLContext | None = None,
    asked: list[bytes] | None = None,
) -> Iterator[str]:
    """Answers every request with `head`, and then a `chunk` every `pause` seconds. `asked` gets
    what it was asked."""
    done = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    if tls is not None:
        listener = tls.wrap_socket(listener, server_side=True)

    def answer(connection: socket.socket) -> None:
        with connection:
            request = connection.recv(65536)
            if asked is not None:
                asked.append(request)
            try:
                connection.sendall(head)
                while not done.wait(pause):
                    connection.sendall(chunk)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=[connection], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        done.set()
        listener.close()


def services(url: str) -> Services:
    settings = Cluster.model_construct(server=url)
    return Services(Api("weu", settings, lambda: Secret("token")))


TARGET = ServiceTarget("orders", "api", "slot", port="http")


def test_a_workload_that_drips_bytes_through_the_proxy() -> None:
    with server(HEAD, b"x", 0.05) as url, pytest.raises(Unavailable):
        services(url).ask(TARGET, "/whoami", 1.0)


def test_a_url_that_drips_bytes() -> None:
    with server(HEAD, b"x", 0.05) as url, pytest.raises(Unavailable, match="got no answer"):
        web.fetch(f"{url}/whoami", 1.0)


def test_an_api_server_that_drips_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LONGEST", 1.0)
    with server(HEAD, b" ", 0.05) as url, pytest.raises(Unavailable):
        services(url).route(TARGET)


def test_a_vault_that_drips_bytes() -> None:
    session = bounded.transport().session
    assert session is not None
    with (
        server(HEAD, b" ", 0.05) as url,
        within(1.0),
        pytest.raises(OSError, match=r"timed out|too long"),
    ):
        session.get(url, timeout=5)


def test_an_answer_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LARGEST", 100_000)
    with server(ENDLESS, b"x" * 50_000, 0.0) as url, pytest.raises(Unavailable):
        services(url).route(TARGET)


@pytest.mark.parametrize(
    ("head", "chunk", "pause"), [(HEAD, b" ", 0.05), (ENDLESS, b"x" * 50_000, 0.0)]
)
def test_a_topic_that_drips_bytes_or_never_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes, chunk: bytes, pause: float
) -> None:
    monkeypatch.setattr(bounded, "LONGEST", 1.0)
    monkeypatch.setattr(bounded, "LARGEST", 100_000)
    authority = Authority(tmp_path)
    context = authority.issue("topic").context()
    asked: list[bytes] = []
    with server(head, chunk, pause, context, asked) as url, pytest.raises(Unavailable):
        EventGridTopic(url, AnyToken(), PUBLIC.topics, str(authority.bundle)).publish(EVENT)
    assert asked[0].startswith(b"POST ")


def test_no_activity_outlives_its_deadline() -> None:
    never = threading.Event()

    def execute() -> JsonObject:
        never.wait()
        return {}

    activity = Implementation("verify", lambda _: Nothing())
    answer = in_time(activity, execute, longest=0.05)
    never.set()
    assert answer["error"]["code"] == "cut-off"
    assert answer["error"]["transient"] is True


def test_an_activity_in_time_answers_as_it_is() -> None:
    activity = Implementation("verify", lambda _: Nothing())
    assert in_time(activity, lambda: {"version": "v1"}) == {"version": "v1"}


def test_what_an_activity_raises_is_raised_at_once() -> None:
    def execute() -> JsonObject:
        raise LookupError("no request")

    activity = Implementation("plan", lambda _: Nothing())
    with pytest.raises(LookupError, match="no request"):
        in_time(activity, execute)
