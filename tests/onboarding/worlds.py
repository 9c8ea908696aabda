"""Where adoptions start from: a table of worlds with one login, one secret and one workload.

Each is the local stack's, with manifests of `starts/`, or of the guide itself.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from local.cluster.client import apply
from local.cluster.ports import PORT_ANNOTATION
from local.practice import guide
from local.practice.one_slot import VAULT, OneSlot, OneSlotProvisioner, localised
from local.process import ROOT, wait_until
from local.secret_values import rendered
from local.stack import Options
from rotation.model.errors import Conflict
from rotation.model.targets import SecretTarget, ServerTarget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import Owner, Parts
    from rotation.config import Credential
    from rotation.formats import Format
    from rotation.secrecy import Secret

STARTS = Path(__file__).with_name("starts")
SECRET = "orders-db"
QUEUE = (ROOT / "local" / "postgres" / "queue.sql").read_text(encoding="utf-8")
PAUSE = 0.2  # seconds between two new jobs: two pods are done with more


@dataclass(frozen=True)
class World:
    """`options` say to `rotctl adopt` what the manifests cannot, `calls` are the Services and
    their ports by which clients come; a workload without any works on a queue.

    By a Gateway they come to all that its HTTPRoutes lead to. `held` is the Kubernetes Secret and
    the key that pods read, if it is no mounted one; with `in_vault` Key Vault has the live value as
    well.
    """

    name: str
    workload: str = "api"
    kind: str = "Deployment"
    options: tuple[str, ...] = ()
    calls: tuple[tuple[str, str], ...] = (("api", "http"),)
    format: Format = "password"
    held: tuple[str, str] | None = None
    in_vault: bool = True
    gateway: str = ""

    def __str__(self) -> str:
        return self.name

    @property
    def works(self) -> bool:
        """Whether it works on a queue."""
        return not self.calls and not self.gateway

    @property
    def named(self) -> tuple[str, str]:
        """The option that names the workload."""
        option = "--deployment" if self.kind == "Deployment" else "--stateful-set"
        return option, f"orders/{self.workload}"

    @property
    def manifests(self) -> str:
        if self.name == "the-guide":
            return guide.file("start.yaml")
        return (STARTS / f"{self.name}.yaml").read_text(encoding="utf-8")


IN_VAULT = ("--vault", VAULT, "--secret", SECRET)
WORLDS = (
    World("the-guide"),
    World(
        "several-ports",
        options=(*IN_VAULT, "--service", "api", "--with-service", "api-internal"),
        calls=(("api", "http"), ("api", "admin"), ("api-internal", "http")),
        held=("orders", "db-password"),
        in_vault=False,
    ),
    World(
        "a-url",
        options=(*IN_VAULT, "--format", "url", "--pods-secret", "api-database/DATABASE_URL"),
        format="url",
        held=("api-database", "DATABASE_URL"),
    ),
    World("a-worker", workload="mailer", calls=()),
    World(
        "in-place",
        workload="ledger",
        kind="StatefulSet",
        options=(*IN_VAULT, "--pods-secret", "ledger-database/password", "--in-place", "restart"),
        calls=(("ledger", "http"),),
        held=("ledger-database", "password"),
        in_vault=False,
    ),
    World("by-a-gateway", options=("--route", "api"), calls=(), gateway="edge"),
)


class WorldProvisioner(OneSlotProvisioner):
    def __init__(self, parts: Parts, owner: Owner, password: Secret, world: World) -> None:
        super().__init__(parts, owner, password)
        self.world = world

    @cached_property
    def value(self) -> Secret:
        """The live secret's."""
        port = self.parts.addresses.database_port
        server = ServerTarget("127.0.0.1", port, "orders", "disable")
        return rendered(self.world.format, "orders_app", self.first, server)

    def login(self, credential: Credential) -> None:
        super().login(credential)
        if self.world.works:
            with psycopg.connect(self.as_role("orders_app", self.first)) as application:
                application.execute(QUEUE.partition("GRANT")[0].encode())

    def keep_secret(self) -> None:
        if self.world.in_vault:
            self.put_secret(SECRET, self.value, timedelta(days=20))

    def workloads(self, replicas: int, warm_up: float = 0) -> None:
        del replicas, warm_up  # the manifest says how many
        manifests = localised(self.parts, self.world.manifests)
        for one in manifests:
            if one["kind"] == "Secret" and self.world.held:
                name, key = self.world.held
                assert one["metadata"]["name"] == name
                one["stringData"][key] = self.value.reveal()
        apply(self.owner.kubernetes, manifests)
        wait_until(self.ready, 60, f"{self.world.kind} {self.world.workload} being ready")

    def ready(self) -> bool:
        plural = f"{self.world.kind.lower()}s"
        path = f"/apis/apps/v1/namespaces/orders/{plural}/{self.world.workload}"
        found = self.owner.kubernetes_get(path)
        wanted = found["spec"].get("replicas", 1)
        status = found.get("status") or {}
        return bool(status.get("readyReplicas", status.get("numberReady", 0)) == wanted)


class Start(OneSlot):
    """The local stack on which one of the worlds is adopted."""

    def __init__(self, directory: Path, world: World, options: Options | None = None) -> None:
        super().__init__(directory, options or Options())
        self.origin = world

    @cached_property
    def provisioner(self) -> WorldProvisioner:
        return WorldProvisioner(self, self.owner, self.admin_password, self.origin)

    @property
    def urls(self) -> list[str]:
        """Where clients come."""
        core, gateways = "/api/v1", "/apis/gateway.networking.k8s.io/v1"
        found = [(f"{core}/namespaces/orders/services/{name}", p) for name, p in self.origin.calls]
        if self.origin.gateway:
            found.append((f"{gateways}/namespaces/orders/gateways/{self.origin.gateway}", "http"))
        return [self._local(path, port) for path, port in found]

    def _local(self, path: str, port: str) -> str:
        notes = self.owner.kubernetes_get(path)["metadata"]["annotations"]
        return f"http://127.0.0.1:{notes[PORT_ANNOTATION + port]}"

    def logs_in(self, role: str, secret: str) -> bool:
        """Whether the current version of a secret is a login of this role."""
        current = self.owner.vault.current(SecretTarget(secret))
        assert current is not None
        try:
            value = self.owner.vault.value(SecretTarget(secret, current.version))
            dsn = value.reveal()
            if self.origin.format == "password":
                dsn = self.provisioner.as_role(role, value)
            with psycopg.connect(dsn) as session:
                return session.info.user == role
        except (Conflict, psycopg.OperationalError):  # disabled, refused
            return False


class Queue:
    """A worker's jobs, of which somebody puts one after the other."""

    def __init__(self, stack: OneSlot) -> None:
        self.stack = stack

    @contextmanager
    def streaming(self) -> Iterator[None]:
        over = threading.Event()
        thread = threading.Thread(target=self._put, args=[over])
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _put(self, over: threading.Event) -> None:
        with psycopg.connect(self.stack.owner.dsn("orders"), autocommit=True) as connection:
            while not over.wait(PAUSE):
                connection.execute("INSERT INTO jobs DEFAULT VALUES")

    def asked(self, query: str) -> Any:
        with psycopg.connect(self.stack.owner.dsn("orders")) as connection:
            return connection.execute(query.encode()).fetchall()[0][0]

    def assert_each_done_once(self) -> None:
        def left() -> bool:
            return bool(self.asked("SELECT count(*) FROM jobs WHERE done_by IS NULL") == 0)

        wait_until(left, 60, "the end of the queue")
        again = "SELECT count(*) FROM (SELECT FROM begun GROUP BY job HAVING count(*) > 1) AS a"
        assert self.asked(again) == 0
        assert self.asked("SELECT count(*) FROM jobs") > 30
