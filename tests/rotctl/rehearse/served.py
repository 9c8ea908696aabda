"""A small HTTP server as a container image, which ends as `END` says.

`at-once`: by SIGTERM itself; `closing`: takes no more and closes what is kept, under its clients;
`lame-duck`: ends each connection with an answer for `LAME_DUCK` seconds first; `fails`: the same,
with 503 for all; `deaf`: not at all; `keeps-none`: keeps no connection.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

HOW = os.environ.get("END", "at-once")
stopping = threading.Event()
kept: set[socket.socket] = set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = os.environ.get("SERVER", "made-up")
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        kept.add(self.connection)

    def finish(self) -> None:
        kept.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        told = HOW in {"lame-duck", "fails"} and stopping.is_set()
        status = int(os.environ.get("STATUS", "200")) if self.path == "/" else 200
        self.send_response(503 if told and (self.path == "/healthz" or HOW == "fails") else status)
        self.send_header("Content-Length", "2")
        if told or HOW == "keeps-none":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        pass


def end(server: Server) -> None:
    time.sleep(float(os.environ.get("LAME_DUCK", "1")) if HOW in {"lame-duck", "fails"} else 0)
    server.server_close()
    for connection in list(kept):
        connection.close()
    os._exit(0)


def main() -> None:
    server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)

    def told(*_: object) -> None:
        stopping.set()
        threading.Thread(target=end, args=(server,)).start()

    if HOW == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif HOW != "at-once":
        signal.signal(signal.SIGTERM, told)
    server.serve_forever()


if __name__ == "__main__":
    main()
