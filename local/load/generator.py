"""Threads that send requests at a bounded rate.

No request is ever repeated, so nothing hides a failure. That is why the client is `http.client`:
libraries with pools send a request again when a kept-alive connection turns out to be dead.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from local.load.report import Recorder, Report

if TYPE_CHECKING:
    from collections.abc import Sequence

ROLE_HEADER = "X-Database-Role"
KEEP_ALIVE, FRESH = "keep-alive", "fresh"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: bytes | None = None


ORDER = json.dumps({"customer": "Load", "item": "Sugar", "quantity": 1}).encode()
MIX = (
    Request("GET", "/orders"),
    Request("GET", "/"),
    Request("GET", "/orders"),
    Request("GET", "/whoami"),
    Request("POST", "/orders", ORDER),
)


class Load:
    """Sends `mix` to each of `urls` (http://host:port) in turn, `rate` requests a second in all.

    Half of the workers keep their connections and leave one only when told to by
    `Connection: close`; the others make a connection for each request (`fresh` sets how many).
    After a stall the missed requests are not made up for. `timeout` is in seconds. Choose a rate
    that uses each connection more often than a server's idle timeout, or its end counts as failure.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        workers: int = 8,
        rate: float = 100.0,
        fresh: int | None = None,
        mix: Sequence[Request] = MIX,
        timeout: float = 10.0,
    ) -> None:
        self.urls = [_checked(url) for url in urls]
        if not self.urls or workers < 1 or rate <= 0:
            raise ValueError("a load needs at least one URL, one worker and a rate above 0")
        fresh = workers // 2 if fresh is None else fresh
        self._mix = mix
        self._timeout = timeout
        self._stopping = threading.Event()
        self._turns = _Turns(rate, self._stopping)
        self._recorder = Recorder(self.urls)
        kinds = [FRESH if number < fresh else KEEP_ALIVE for number in range(workers)]
        self._threads = [
            threading.Thread(
                target=self._work, args=(kind, number), name=f"load-{number}", daemon=True
            )
            for number, kind in enumerate(kinds)
        ]

    def start(self) -> Self:
        self._recorder = Recorder(self.urls)
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> Report:
        """Lets the requests in flight end."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._recorder.end()
        return self.report()

    def report(self) -> Report:
        """The report of what has been answered until now."""
        return self._recorder.report()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        if not self._stopping.is_set():
            self.stop()

    def _work(self, kind: str, number: int) -> None:
        """Each worker goes round all URLs by itself: none of its connections is left idle."""
        clients = {url: _Client(url, self._timeout, keep=kind == KEEP_ALIVE) for url in self.urls}
        for turn in itertools.count(number):
            if not self._turns.take():
                break
            url = self.urls[turn % len(self.urls)]
            request = self._mix[turn // len(self.urls) % len(self._mix)]
            self._send(kind, clients[url], request)
        for client in clients.values():
            client.close()

    def _send(self, kind: str, client: _Client, request: Request) -> None:
        began = time.monotonic()
        try:
            status, role = client.send(request)
        except (OSError, http.client.HTTPException) as error:
            client.close()
            failed, detail = _kind(error), f"{type(error).__name__}: {error}"
        else:
            if 200 <= status < 300:
                self._recorder.good(kind, client.url, role, time.monotonic() - began)
                return
            failed, detail = f"http {status}", ""
        url = client.url + request.path
        self._recorder.bad(kind, request.method, url, failed, detail)


class _Turns:
    """Hands out turns, evenly spaced in time, until told to stop."""

    def __init__(self, rate: float, stopping: threading.Event) -> None:
        self._interval = 1 / rate
        self._stopping = stopping
        self._lock = threading.Lock()
        self._due = 0.0

    def take(self) -> bool:
        """Waits for the turn's time, and returns whether there is one: false once stopped."""
        with self._lock:
            now = time.monotonic()
            due = max(self._due, now)
            self._due = due + self._interval
        return not self._stopping.wait(due - now)


class _Client:
    """`http.client` connects anew only where it closed the connection itself."""

    def __init__(self, url: str, timeout: float, *, keep: bool) -> None:
        self.url = url
        self._keep = keep
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)

    def send(self, request: Request) -> tuple[int, str | None]:
        """The status, and the database role if the answer names one."""
        headers = {} if self._keep else {"Connection": "close"}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        self._connection.request(request.method, request.path, request.body, headers)
        with self._connection.getresponse() as response:
            response.read()
            answer = response.status, response.headers.get(ROLE_HEADER)
        if not self._keep:
            self.close()
        return answer

    def close(self) -> None:
        self._connection.close()


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.netloc or parts.path.strip("/") or parts.query:
        raise ValueError(f"{url!r} is not of the form http://host:port")
    return url.rstrip("/")


def _kind(error: Exception) -> str:
    """The kind of an error, by the first that matches: `RemoteDisconnected` is a
    `ConnectionResetError` too."""
    for kinds, name in KINDS:
        if isinstance(error, kinds):
            return name
    return "network"


KINDS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((http.client.RemoteDisconnected, http.client.IncompleteRead), "closed"),
    ((ConnectionRefusedError,), "refused"),
    ((ConnectionResetError, BrokenPipeError, ConnectionAbortedError), "reset"),
    ((TimeoutError,), "timeout"),
    ((http.client.HTTPException,), "malformed"),
)
