"""A Gateway's data plane: a local port for each HTTP listener, and each request by the weights of
the HTTPRoute that it matches.

Requests go by what `http_routes` has last made of the routes, which is what it then says in their
status.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from local.cluster import kinds
from local.cluster.controllers import Controller, Key, key_of
from local.cluster.http_routes import CLASS, RefusedError, condition
from local.cluster.ports import PORT_ANNOTATION
from local.cluster.tasks import spawn

if TYPE_CHECKING:
    from local.cluster.http_routes import Listener, Table
    from local.cluster.kinds import Object
    from local.cluster.ports import Ports
    from local.cluster.registry import Registry
    from local.cluster.services import Services
    from local.cluster.store import Change

log = logging.getLogger(__name__)

HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade",
}  # fmt: skip
OWN = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")
LONGEST = 60.0  # seconds that a backend has for its answer


class GatewayController(Controller):
    """Opens a local port for each listener of each Gateway of our class, and routes by `table`."""

    kind = kinds.GATEWAY

    def __init__(self, registry: Registry, services: Services, ports: Ports, table: Table) -> None:
        super().__init__(registry)
        self._services, self._ports, self._table = services, ports, table
        self._open: dict[Listener, web.AppRunner] = {}
        self._session: aiohttp.ClientSession | None = None

    def assign(self, gateway: Object, old: Object | None) -> None:
        """Gives a Gateway's listeners their local ports, which stay the same."""
        kept = ((old or {}).get("metadata") or {}).get("annotations") or {}
        annotations = gateway["metadata"].get("annotations") or {}
        for listener in gateway["spec"]["listeners"]:
            key = PORT_ANNOTATION + listener["name"]
            annotations[key] = annotations.get(key) or kept.get(key) or str(self._ports.take())
        gateway["metadata"]["annotations"] = annotations

    def concerns(self, change: Change) -> list[Key]:
        if change.kind is not kinds.GATEWAY:
            return []
        key = key_of(change.object)
        if self.store.get(kinds.GATEWAY, *key) is None:
            for listener in [at for at in self._open if at[:2] == key]:
                self._close(listener)
        return [key]

    def reconcile(self, obj: Object) -> None:
        metadata, spec = obj["metadata"], obj["spec"]
        if spec["gatewayClassName"] != CLASS:
            return
        for each in spec["listeners"]:
            listener = (*key_of(obj), each["name"])
            port = int(metadata["annotations"][PORT_ANNOTATION + each["name"]])
            if each["protocol"] == "HTTP" and listener not in self._open:
                self._ports.reserve(port)
                self._listen(listener, port)
        generation = metadata["generation"]
        before = obj.get("status") or {}
        status = {
            "addresses": [{"type": "IPAddress", "value": "127.0.0.1"}],
            "conditions": [
                condition(before, kind, RefusedError(kind, ""), generation)
                for kind in ("Accepted", "Programmed")
            ],
        }
        if status != before:
            self.registry.update(self.kind, {**obj, "status": status}, "status")

    def _listen(self, listener: Listener, port: int) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            return await self._answer(listener, request)

        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:(?s:.*)}", answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self._open[listener] = runner
        spawn(_serve(runner, port), f"gateway {'/'.join(listener)}")

    def _close(self, listener: Listener) -> None:
        spawn(self._open.pop(listener).cleanup(), f"end of gateway {'/'.join(listener)}")

    async def stop(self) -> None:
        for runner in self._open.values():
            await runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _answer(self, listener: Listener, request: web.Request) -> web.StreamResponse:
        """The answer of a pod: which one is chosen for this request alone."""
        rule = self._table.find(listener, request)
        if rule is None:
            return web.Response(status=404)
        weights = [backend.weight for backend in rule.backends]
        if not any(weights):
            return web.Response(status=500)
        (backend,) = random.choices(rule.backends, weights)  # noqa: S311 - no secret
        if backend.key is None:
            return web.Response(status=500)
        ready = self._services.endpoints(backend.namespace, backend.service, backend.key)
        if not ready:
            return web.Response(status=503)
        port = int(random.choice(ready)["port"])  # noqa: S311 - no secret
        try:
            return await self._forward(request, port)
        except (aiohttp.ClientError, TimeoutError) as error:
            log.info("gateway %s: %s of a pod", "/".join(listener), type(error).__name__)
            return web.Response(status=502)

    async def _forward(self, request: web.Request, port: int) -> web.StreamResponse:
        if self._session is None:
            # Kept connections to pods, as real ones have them.
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        async with self._session.request(
            request.method,
            URL(f"http://127.0.0.1:{port}{request.raw_path}", encoded=True),
            headers=_passed(request.headers),
            data=request.content if request.body_exists else None,
            skip_auto_headers=OWN,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=LONGEST),
        ) as answer:
            response = web.StreamResponse(
                status=answer.status, reason=answer.reason, headers=_passed(answer.headers)
            )
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


def _passed(headers: Any) -> CIMultiDict[str]:
    """Headers for the other side: those of a connection are its own."""
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in HOP_BY_HOP | named)


async def _serve(runner: web.AppRunner, port: int) -> None:
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
