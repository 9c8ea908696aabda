"""All the parts of one cluster, put together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from local.cluster import kinds
from local.cluster.api import Api
from local.cluster.audit import Audit
from local.cluster.auth import MASTERS, Authenticator, User, read_tokens
from local.cluster.client import write_kubeconfig
from local.cluster.cronjobs import CronJobController
from local.cluster.csi import Csi, VaultReader
from local.cluster.daemonsets import DaemonSetController
from local.cluster.deployments import DeploymentController
from local.cluster.endpoints import EndpointsController
from local.cluster.events import Recorder
from local.cluster.evictions import BudgetController
from local.cluster.garbage import NamespaceController, OwnerController
from local.cluster.gateways import GatewayController
from local.cluster.http_routes import RouteController, Table
from local.cluster.images import Images
from local.cluster.jobs import JobController
from local.cluster.node import Node
from local.cluster.ports import Ports
from local.cluster.proxy import Proxy
from local.cluster.quotas import QuotaController
from local.cluster.rbac import Authorizer
from local.cluster.registry import Registry
from local.cluster.replicasets import ReplicaSetController
from local.cluster.scheduler import NODES, Scheduler, node_manifest, node_status
from local.cluster.services import Services
from local.cluster.statefulsets import StatefulSetController
from local.cluster.store import Store
from local.cluster.tasks import cancel, spawn
from local.faults import admin
from local.tls import Authority

if TYPE_CHECKING:
    from pathlib import Path

    from local.cluster.controllers import Controller

OWNED = tuple(
    kind for kind in kinds.STORED if kind not in {kinds.NAMESPACE, kinds.NODE, kinds.EVENT}
)
FIRST_NAMESPACES = ("default", "kube-system")
MAX_OUTAGE = 600.0  # seconds


@dataclass(frozen=True)
class Settings:
    name: str
    port: int
    state: Path
    images: Path
    admin_token: str = field(repr=False)
    tokens: Path | None
    rbac: bool
    identity_state: Path | None
    authority: Path
    vault_authority: Path | None


class Cluster:
    """Must be made within the event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.authority = Authority(settings.authority)
        self.kubeconfig = settings.state / "kubeconfig"
        self.url = ""
        self._store = Store(settings.state / "cluster.db")
        self._ports = Ports()
        self._registry = Registry(self._store)
        self._services = Services(self._store, self._ports)
        self._registry.mutators[kinds.SERVICE] = self._services.assign
        record = Recorder(self._registry)
        csi = Csi(self._registry, VaultReader(settings.vault_authority))
        images = Images(settings.images)
        self._node = Node(self._registry, images, csi, record, self._ports, settings.state)
        table = Table()
        self._gateways = GatewayController(self._registry, self._services, self._ports, table)
        self._registry.mutators[kinds.GATEWAY] = self._gateways.assign
        self._proxy = Proxy(self._registry, self._services)
        self._audit = Audit(settings.state / "audit.log")
        self._controllers = _controllers(self._registry, record)
        self._controllers += [self._gateways, RouteController(self._registry, table)]
        self._tasks: list[asyncio.Task[None]] = []
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=1.0)
        self._site: web.TCPSite | None = None
        self._port = settings.port

    def _app(self) -> web.Application:
        settings = self.settings
        tokens = read_tokens(settings.tokens) if settings.tokens else {}
        tokens[settings.admin_token] = User("local-admin", frozenset({MASTERS}))
        authenticator = Authenticator(tokens, settings.identity_state)
        authorizer = Authorizer(self._store, enforced=settings.rbac)
        extensions = {"log": self._node.answer_log, "proxy": self._proxy.answer}
        outage = web.post("/local/outage", admin(self._take_outage))
        api = Api(self._registry, authenticator, authorizer, extensions, self._audit)
        return api.app([outage])

    async def start(self) -> None:
        for name in FIRST_NAMESPACES:
            if self._store.get(kinds.NAMESPACE, "", name) is None:
                self._registry.create(kinds.NAMESPACE, {"metadata": {"name": name}})
        for name in NODES:
            if self._store.get(kinds.NODE, "", name) is None:
                self._registry.create(kinds.NODE, node_manifest(name))
                self._registry.update(
                    kinds.NODE, {"metadata": {"name": name}, "status": node_status(name)}, "status"
                )
        self._services.start()  # first, so that no pod takes a port that is a Service's
        self._node.adopt()
        parts: list[Node | Controller] = [self._node, *self._controllers]
        self._tasks = [spawn(part.run(), type(part).__name__) for part in parts]
        await self._runner.setup()
        await self._open()
        self.url = f"https://127.0.0.1:{self._port}"
        write_kubeconfig(
            self.kubeconfig,
            server=self.url,
            authority=self.authority.bundle,
            token=self.settings.admin_token,
            name=self.settings.name,
        )

    async def _open(self) -> None:
        context = self.authority.issue(f"cluster-{self.settings.name}").context()
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=context)
        await self._site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await cancel(self._tasks)
        await self._gateways.stop()
        await self._services.stop()
        await self._node.shut_down()
        await self._runner.cleanup()
        self._store.close()
        self._audit.close()

    async def _take_outage(self, request: web.Request) -> web.StreamResponse:
        """`{"seconds": S}`: the API is gone for so long, its open connections too."""
        try:
            seconds = float((await request.json())["seconds"])
        except (ValueError, KeyError, TypeError):
            return web.json_response({"error": 'send {"seconds": number}'}, status=400)
        if not 0 < seconds <= MAX_OUTAGE:
            return web.json_response({"error": f"at most {MAX_OUTAGE:g} seconds"}, status=400)
        spawn(self._be_away(seconds), "outage of the API")
        return web.json_response({"seconds": seconds}, status=202)

    async def _be_away(self, seconds: float) -> None:
        site, server = self._site, self._runner.server
        if site is None or server is None:
            return
        await asyncio.sleep(0.05)  # for the answer to go out
        await site.stop()
        for connection in list(server.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(seconds)
        await self._open()


def _controllers(registry: Registry, record: Recorder) -> list[Controller]:
    return [
        DeploymentController(registry, record),
        ReplicaSetController(registry, record),
        StatefulSetController(registry, record),
        DaemonSetController(registry, record),
        Scheduler(registry, record),
        JobController(registry),
        CronJobController(registry),
        EndpointsController(registry),
        BudgetController(registry),
        QuotaController(registry),
        NamespaceController(registry),
        *(OwnerController(registry, kind) for kind in OWNED),
    ]
