"""A small HTTP server as a container image: says who it is, and behaves as told.

GET  /            JSON: pid, environment named in `ECHO`, headers, path, method, body
GET  /healthz     200, or 503 while the file named by `UNREADY_FILE` exists
GET  /file?path=  the content of a file
POST /exit        ends the process with the status in `code`
GET  /slow        answers after `seconds`
GET  /redirect    302 to /
GET  /reset       ends the connection by a reset, as a sidecar's strict mTLS does
GET  /eof         closes the connection without an answer
GET  /tls         answers with an alert of TLS
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import struct
import sys
from pathlib import Path

from aiohttp import web


async def index(request: web.Request) -> web.Response:
    shown = [name for name in os.environ.get("ECHO", "").split(",") if name]
    return web.json_response(
        {
            "pid": os.getpid(),
            "pod": os.environ.get("HOSTNAME"),
            "env": {name: os.environ.get(name) for name in shown},
            "argv": sys.argv[1:],
            "method": request.method,
            "path": request.rel_url.raw_path,
            "query": request.query_string,
            "headers": dict(request.headers),
            "body": (await request.read()).decode(),
        }
    )


async def healthz(request: web.Request) -> web.Response:
    unready = os.environ.get("UNREADY_FILE")
    return web.Response(status=503 if unready and exists(unready) else 200)


def exists(path: str) -> bool:
    return Path(path).exists()


async def file(request: web.Request) -> web.Response:
    return web.Response(text=read(request.query["path"]))


def read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


async def leave(request: web.Request) -> web.Response:
    asyncio.get_running_loop().call_later(0.01, os._exit, int(request.query["code"]))
    return web.Response()


async def slow(request: web.Request) -> web.Response:
    await asyncio.sleep(float(request.query["seconds"]))
    return web.Response(text="slow")


async def redirect(request: web.Request) -> web.Response:
    raise web.HTTPFound("/")


async def reset(request: web.Request) -> web.Response:
    raw = request.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return _ended(request)


async def eof(request: web.Request) -> web.Response:
    return _ended(request)


async def tls(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.write(b"\x15\x03\x01\x00\x02\x02F")
        request.transport.close()
    return web.Response()


def _ended(request: web.Request) -> web.Response:
    """Aborts the connection; what is returned reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def tls_of() -> ssl.SSLContext | None:
    """What it speaks by the certificate in the file that `CERTIFICATE` names, and its `KEY`."""
    if "CERTIFICATE" not in os.environ:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(os.environ["CERTIFICATE"], os.environ["KEY"])
    return context


async def main() -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/file", file),
            web.post("/exit", leave),
            web.get("/slow", slow),
            web.get("/redirect", redirect),
            web.get("/reset", reset),
            web.get("/eof", eof),
            web.get("/tls", tls),
            web.route("*", "/{path:.*}", index),
        ]
    )
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(os.environ["PORT"]), ssl_context=tls_of()).start()
    sys.stdout.write(json.dumps({"started": os.environ.get("HOSTNAME")}) + "\n")
    await stopped.wait()
    await asyncio.sleep(float(os.environ.get("LAME_DUCK", "0")))
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
