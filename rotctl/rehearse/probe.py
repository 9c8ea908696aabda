"""The load of a rehearsal. Runs in a container by itself: `python3 -c TEXT OPTIONS`, and needs
Python's standard library alone (3.8 or newer), no file and no right.

OPTIONS are JSON: `host`, `port`, `service` (the variable's name that the kubelet gives a Service's
address by), `path`, `https`, `name` (of the `Host` header), `connections`, `rate` (requests a
second of each client), `timeout` and `seconds`. Twice a second it prints one line of JSON: numbers,
and one word about the server. Nothing of an answer is in it.
"""

# Kubernetes expands references to variables in arguments: no dollar sign in this file.

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import ssl
import sys
import threading
import time
from typing import Any

HEADERS = {  # of answers, by which a server says what it is
    "server": ("gunicorn", "uvicorn", "kestrel", "coyote"),
    "x-powered-by": ("express",),
}
EVERY = 0.5  # seconds between two lines


class FailedError(Exception):
    """A request that got no answer; `kind` says how."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Counts:
    """What all clients have seen so far."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self._lock = threading.Lock()
        self._numbers = {"requests": 0, "answered": 0, "told": 0}
        self._failed: dict[str, int] = {}
        self._statuses: dict[str, int] = {}
        self._kept: dict[int, float] = {}
        self._clients: set[int] = set()
        self._server = ""

    def now(self) -> float:
        return round(time.monotonic() - self.begun, 3)

    def sent(self) -> None:
        with self._lock:
            self._numbers["requests"] += 1

    def answered(self, status: int, server: str) -> None:
        with self._lock:
            self._numbers["answered"] += 1
            group = str(status // 100) + "xx"
            self._statuses[group] = self._statuses.get(group, 0) + 1
            self._server = self._server or server
        if status >= 500:
            self.failed("status")

    def failed(self, kind: str) -> None:
        with self._lock:
            self._failed[kind] = self._failed.get(kind, 0) + 1

    def keeps(self, client: int, since: float) -> None:
        """A client has had an answer on a connection that stays open."""
        with self._lock:
            self._clients.add(client)
            self._kept[client] = since

    def lets_go(self, client: int, *, told: bool = False) -> None:
        with self._lock:
            self._clients.add(client)
            self._kept.pop(client, None)
            self._numbers["told"] += told

    def line(self, waits: str) -> str:
        with self._lock:
            found: dict[str, Any] = dict(self._numbers)
            found.update(
                at=self.now(),
                waits=waits,
                clients=len(self._clients),
                kept=sorted(self._kept.values()),
                failed=self._failed,
                statuses=self._statuses,
                server=self._server,
            )
            return json.dumps(found)


class Client:
    """Sends one request after the other, each once. `keeps`: over one connection, at which it never
    looks before it sends, as many clients do."""

    def __init__(self, options: dict[str, Any], counts: Counts, *, keeps: bool = True) -> None:
        self.options, self.counts, self.keeps = options, counts, keeps
        self._connection: http.client.HTTPConnection | None = None
        self._since = 0.0

    def ask(self) -> None:
        """One request. Raises `FailedError`."""
        kept = self._connection is not None
        connection = self._connection or self._opened()
        self._connection = connection
        quiet = kept and _has_ended(connection)
        try:
            self._exchange(connection, kept=kept, quiet=quiet)
        except BaseException:
            self.leave()
            raise

    def _opened(self) -> http.client.HTTPConnection:
        options = self.options
        place = (options["host"], options["port"])
        if options["https"]:
            # Nothing is sent that is secret, and nothing of an answer is believed.
            context = ssl._create_unverified_context()  # noqa: S323, SLF001 - the line above
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                *place, timeout=options["timeout"], context=context
            )
        else:
            made = http.client.HTTPConnection(*place, timeout=options["timeout"])
        try:
            made.connect()
        except socket.timeout:  # noqa: UP041 - the same since 3.10
            raise FailedError("timeout") from None
        except OSError:
            made.close()
            raise FailedError("refused") from None
        self._since = self.counts.now()
        return made

    def _exchange(self, connection: http.client.HTTPConnection, *, kept: bool, quiet: bool) -> None:
        before = ("kept-idle" if quiet else "kept-in-flight") if kept else "fresh-closed"
        try:
            response = self._sent(connection)
        except socket.timeout:  # noqa: UP041 - the same since 3.10
            raise FailedError("kept-timeout" if kept else "timeout") from None
        except OSError:  # http.client's RemoteDisconnected too
            raise FailedError(before) from None
        except http.client.HTTPException:
            raise FailedError("garbled") from None
        told = response.will_close
        try:
            while response.read(65536):
                pass
        except socket.timeout:  # noqa: UP041 - the same since 3.10
            raise FailedError("kept-timeout" if kept else "timeout") from None
        except (OSError, http.client.HTTPException):
            raise FailedError("cut") from None
        finally:
            response.close()
        if response.length:  # which `read` with a number does not mind
            raise FailedError("cut")
        self.counts.answered(response.status, _server(response))
        if not self.keeps or told:
            self.leave(told=told)
        else:
            self.counts.keeps(id(self), self._since)

    def _sent(self, connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        headers = {"User-Agent": "rotctl-rehearse"}
        if self.options["name"]:
            headers["Host"] = self.options["name"]
        if not self.keeps:
            headers["Connection"] = "close"
        connection.request("GET", self.options["path"], headers=headers)
        return connection.getresponse()

    def leave(self, *, told: bool = False) -> None:
        """Ends the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self.keeps:
            self.counts.lets_go(id(self), told=told)

    def run(self) -> None:
        """Asks for ever."""
        pause = 1.0 / self.options["rate"]
        due = time.monotonic()
        while True:
            self.counts.sent()
            try:
                self.ask()
            except FailedError as failure:
                self.counts.failed(failure.kind)
            due = max(due + pause, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))


def _has_ended(connection: http.client.HTTPConnection) -> bool:
    """Whether the server has closed a connection while nobody used it: what a client that looks
    would see. Not seen where it is encrypted."""
    raw = connection.sock
    if raw is None or isinstance(raw, ssl.SSLSocket):
        return False
    if not select.select([raw], [], [], 0)[0]:
        return False
    try:
        return not raw.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def _server(response: http.client.HTTPResponse) -> str:
    for header, words in HEADERS.items():
        value = (response.getheader(header) or "").lower()
        for word in words:
            if word in value:
                return word
    return ""


def waited(options: dict[str, Any], counts: Counts) -> None:
    """Returns once there is an answer. What comes before counts for nothing."""
    unseen = Counts()
    while True:
        problem = ""
        try:
            Client(options, unseen, keeps=False).ask()
        except FailedError as failure:
            problem = failure.kind
        if not problem:
            return
        say(counts.line(problem))
        time.sleep(EVERY)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    options = json.loads(sys.argv[1])
    # The address by number, where the kubelet gives it: no DNS that a policy could close.
    with contextlib.suppress(KeyError):
        host = os.environ[options["service"] + "_SERVICE_HOST"]
        port = int(os.environ[options["service"] + "_SERVICE_PORT"])
        options["host"], options["port"] = host, port
    counts = Counts()
    say(counts.line("start"))
    waited(options, counts)
    clients = [Client(options, counts) for _ in range(options["connections"])]
    clients.append(Client(options, counts, keeps=False))
    for client in clients:
        threading.Thread(target=client.run, daemon=True).start()
    while counts.now() < options["seconds"]:
        say(counts.line(""))
        time.sleep(EVERY)


if __name__ == "__main__":
    main()
