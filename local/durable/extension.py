"""The extension as a child process of the local host, which runs the app's functions for it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import ClientSession, ClientTimeout, web
from aiohttp.client_exceptions import ClientError
from azure.functions.meta import Datum
from yarl import URL

from local.engine.errors import FunctionFailed
from local.host import app as apps
from local.host.access import KEY_QUERY, Doorkeeper, Level
from local.host.logs import event
from local.process import StartError, free_port, set_death_signal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local.host.app import App, AppFunction
    from local.host.settings import HostFile
    from local.host.worker import Worker

# Of the extension's endpoint: by the extension at level Information, and by its web server.
OPENED = re.compile(r"(?:Opened local http RPC endpoint|Now listening on): (http\S+)")
OPENS_WITHIN = 100.0  # seconds; the first start on a machine unpacks 100 MB
ENDS_WITHIN = 20.0
EVENTS_PATH = "/runtime/webhooks/eventgrid"
# A hop's own business, and what only the outer host may know.
HOP = {"host", "connection", "transfer-encoding", "content-length", "x-functions-key"}


@dataclass(frozen=True)
class Program:
    """What is started. `connection` is Azure Storage's connection string."""

    binary: Path
    folder: Path
    connection: str
    host_file: HostFile
    webhook: str


class Extension:
    """`ended` is told when the process ends on its own."""

    def __init__(self, program: Program, app: App, ended: Callable[[], None]) -> None:
        self._program = program
        self._app = app
        self._ended = ended
        self._stopping = False
        self._process: asyncio.subprocess.Process | None = None
        self._events = f"http://127.0.0.1:{free_port()}"
        self._watching: list[asyncio.Task[None]] = []
        self.endpoint = ""
        self.failure: StartError | None = None

    async def start(self, bridge: str) -> None:
        """`bridge` is where its calls of the app's functions go. Raises `StartError`."""
        functions = self._program.folder / "functions.json"
        functions.write_text(json.dumps(self._names()), encoding="utf-8")
        self._process = await asyncio.create_subprocess_exec(
            str(self._program.binary),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=sys.stderr.fileno(),
            env=self._environment(bridge, functions),
            # A host that is killed takes its extension along, as one that crashes on Azure does.
            preexec_fn=lambda: set_death_signal(signal.SIGKILL),
        )
        try:
            self.endpoint = await asyncio.wait_for(self._opened(self._process), OPENS_WITHIN)
        except TimeoutError as error:
            raise StartError(
                f"the durable host did not open within {OPENS_WITHIN:.0f} s"
            ) from error
        self._watching = [asyncio.create_task(self._watch(self._process))]

    def _names(self) -> dict[str, list[str]]:
        kinds = {"orchestrators": apps.ORCHESTRATION, "activities": apps.ACTIVITY}
        names = {key: [f.durable_name for f in self._app.of_kind(k)] for key, k in kinds.items()}
        return {**names, "eventGrid": [f.name for f in self._app.of_kind(apps.EVENT_GRID)]}

    def _environment(self, bridge: str, functions: Path) -> dict[str, str]:
        """Of this process's own only what a .NET program needs: app settings are the app's."""
        kept = ("PATH", "HOME", "TMPDIR", "LANG", "DOTNET_BUNDLE_EXTRACT_BASE_DIR")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1",
            "Logging__LogLevel__Microsoft.AspNetCore": "Warning",  # else each request in two lines
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "FUNCTIONS": str(functions),
            "BRIDGE": bridge,
            "EVENTS": self._events,
            "WEBHOOK": self._program.webhook,
            "AzureWebJobsStorage": self._program.connection,
            "TASKHUB_NAME": os.environ.get("TASKHUB_NAME", "rotation"),
            "PARTITIONS": "1",
            **self._program.host_file.extension_settings(),
        }

    async def _opened(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None  # noqa: S101 - PIPE was asked for
        while line := await process.stdout.readline():
            found = OPENED.search(line.decode())
            if found is not None:
                return found[1].rstrip("/").removesuffix("/durabletask")
            sys.stderr.write(line.decode())
        raise StartError(f"the durable host ended with {await process.wait()} before it opened")

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - PIPE was asked for
        while line := await process.stdout.readline():
            sys.stderr.write(line.decode())
        code = await process.wait()
        if not self._stopping:
            self.failure = StartError(f"the durable host ended with {code}; its last lines say why")
            self._ended()

    async def stop(self) -> None:
        self._stopping = True
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), ENDS_WITHIN)
            except TimeoutError:
                event("durable host cut off", logging.WARNING)
                self._process.kill()
        await asyncio.gather(*self._watching)

    @property
    def events(self) -> str:
        return self._events + EVENTS_PATH


class Bridge:
    """`POST /{orchestrator|activity|eventGrid}/{name}`: the trigger's text for the result."""

    def __init__(self, app: App, worker: Worker) -> None:
        self._app = app
        self._worker = worker

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/{kind}/{name}", self.call)]

    async def call(self, request: web.Request) -> web.Response:
        function = self._function(request.match_info["kind"], request.match_info["name"])
        if function is None:
            raise web.HTTPNotFound
        try:
            result = await self._worker.invoke(function, Datum(await request.text(), "json"))
        except Exception as error:  # noqa: BLE001 - whatever the app raises is told to the extension
            return self._failed(function, FunctionFailed.of(error))
        text = "null" if result is None else str(result.value)
        return web.Response(text=text, content_type="application/json")

    def _function(self, kind: str, name: str) -> AppFunction | None:
        if kind == "eventGrid":
            return self._app.functions.get(name)
        return self._app.durable("orchestrator" if kind == "orchestrator" else "activity", name)

    def _failed(self, function: AppFunction, failure: FunctionFailed) -> web.Response:
        """An orchestrator's failure carries its whole state and is no news to the host."""
        if function.kind != apps.ORCHESTRATION:
            event("function failed", logging.ERROR, function=function.name, error=failure)
        body = {"message": failure.message, "stack": failure.stack}
        return web.json_response(body, status=500)


class Forwarding:
    """The extension's own endpoints, behind the keys that the Functions host checks."""

    def __init__(self, extension: Extension, doors: Doorkeeper, session: ClientSession) -> None:
        self._extension = extension
        self._doors = doors
        self._session = session

    async def durable(self, request: web.Request) -> web.Response:
        self._doors.demand(request, Level.SYSTEM)
        rest = request.rel_url.raw_path.partition("/runtime/webhooks/durabletask")[2]
        return await self._forward(request, f"{self._extension.endpoint}/durabletask{rest}")

    async def events(self, request: web.Request) -> web.Response:
        self._doors.demand(request, Level.SYSTEM)
        return await self._forward(request, self._extension.events)

    async def _forward(self, request: web.Request, target: str) -> web.Response:
        """Without the key, which the extension does not check and its web server would log."""
        url = URL(target, encoded=True).with_query(
            request.rel_url.without_query_params(KEY_QUERY).query
        )
        headers = [(n, v) for n, v in request.headers.items() if n.lower() not in HOP]
        body = await request.read()
        try:
            async with self._session.request(
                request.method, url, headers=headers, data=body, allow_redirects=False
            ) as answer:
                kept = [(n, v) for n, v in answer.headers.items() if n.lower() not in HOP]
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)
        except ClientError as error:
            event("the durable host does not answer", logging.ERROR, error=error)
            return web.Response(status=502)


def session() -> ClientSession:
    return ClientSession(timeout=ClientTimeout(total=230), auto_decompress=False)
