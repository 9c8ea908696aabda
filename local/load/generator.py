"""Threads that send requests at a bounded rate.

No request is ever repeated, so nothing hides a failure. Three kinds of client send them:
`http.client` with a connection for each request, the same with one that it keeps and never looks
at before it uses it again, and urllib3's pool, which does look, with its repeats turned off.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import urlsplit

import urllib3

from local.load.report import Recorder, Report

if TYPE_CHECKING:
    from collections.abc import Sequence

ROLE_HEADER = "X-Database-Role"
KEEP_ALIVE, POOLED, FRESH = "keep-alive", "pooled", "fresh"


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
    `pooled` of those that keep theirs take them from one pool of urllib3, which leaves a connection
    that it finds closed as well. After a stall the missed requests are not made up for. `timeout`
    is in seconds. Choose a rate that uses each connection more often than a server's idle timeout,
    or its end counts as failure.
    """

    def __init__(  # noqa: PLR0913 - each by its name, and each has a default
        self,
        urls: Sequence[str],
        *,
        workers: int = 8,
        rate: float = 100.0,
        fresh: int | None = None,
        pooled: int = 0,
        mix: Sequence[Request] = MIX,
        timeout: float = 10.0,
    ) -> None:
        self.urls = [_checked(url) for url in urls]
        if not self.urls or workers < 1 or rate <= 0:
            raise ValueError("a load needs at least one URL, one worker and a rate above 0")
        fresh = workers // 2 if fresh is None else fresh
        if fresh + pooled > workers:
            raise ValueError(f"{fresh} fresh and {pooled} pooled are more than {workers} workers")
        self._mix = mix
        self._timeout = timeout
        self._stopping = threading.Event()
        self._turns = _Turns(rate, self._stopping)
        self._recorder = Recorder(self.urls)
        self._pool = urllib3.PoolManager(
            num_pools=len(self.urls), maxsize=max(pooled, 1), block=True, timeout=timeout
        )
        kinds = [FRESH] * fresh + [POOLED] * pooled
        kinds += [KEEP_ALIVE] * (workers - len(kinds))
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
        self._pool.clear()
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
        clients = {url: self._client(kind, url) for url in self.urls}
        for turn in itertools.count(number):
            if not self._turns.take():
                break
            url = self.urls[turn % len(self.urls)]
            request = self._mix[turn // len(self.urls) % len(self._mix)]
            self._send(kind, clients[url], request)
        for client in clients.values():
            client.close()

    def _client(self, kind: str, url: str) -> Kept | Pooled:
        if kind == POOLED:
            return Pooled(url, self._pool)
        return Kept(url, self._timeout, keep=kind == KEEP_ALIVE)

    def _send(self, kind: str, client: Kept | Pooled, request: Request) -> None:
        began = time.monotonic()
        try:
            answer = client.send(request)
        except (OSError, http.client.HTTPException) as error:
            client.close()
            failed, detail = _kind(error), f"{type(error).__name__}: {error}"
        else:
            if answer.last and kind != FRESH:
                self._recorder.told(kind)
            if 200 <= answer.status < 300:
                self._recorder.good(kind, client.url, answer.role, time.monotonic() - began)
                return
            failed, detail = f"http {answer.status}", ""
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


class _Answer(NamedTuple):
    """`role` is the database role that the answer names, `last` whether it is its connection's."""

    status: int
    role: str | None
    last: bool


class Kept:
    """`http.client` connects anew only where it closed the connection itself."""

    def __init__(self, url: str, timeout: float, *, keep: bool) -> None:
        self.url = url
        self._keep = keep
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)

    def send(self, request: Request) -> _Answer:
        headers = {} if self._keep else {"Connection": "close"}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        self._connection.request(request.method, request.path, request.body, headers)
        with self._connection.getresponse() as response:
            response.read()
            role = response.headers.get(ROLE_HEADER)
            answer = _Answer(response.status, role, response.will_close)
        if not self._keep:
            self.close()
        return answer

    def close(self) -> None:
        self._connection.close()


class Pooled:
    """A worker's share in the pool, which closes the connections that fail."""

    def __init__(self, url: str, pool: urllib3.PoolManager) -> None:
        self.url = url
        self._pool = pool

    def send(self, request: Request) -> _Answer:
        headers = {} if request.body is None else {"Content-Type": "application/json"}
        url = self.url + request.path
        try:
            response = self._pool.request(
                request.method, url, body=request.body, headers=headers, retries=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise _cause(error) from error
        last = response.headers.get("Connection", "").lower() == "close"
        return _Answer(response.status, response.headers.get(ROLE_HEADER), last)

    def close(self) -> None:
        """Leaves the pool to the others."""


def _cause(error: urllib3.exceptions.HTTPError) -> Exception:
    """The exception of the standard library that urllib3 wrapped, or one that says as much."""
    wrapped = [each for each in (*error.args, error.__cause__) if isinstance(each, Exception)]
    if wrapped and not isinstance(wrapped[0], urllib3.exceptions.HTTPError):
        return wrapped[0]
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return TimeoutError(str(error))
    return OSError(f"{type(error).__name__}: {error}")


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
