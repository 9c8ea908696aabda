"""The whole local stack: every component, the demo's world in it, and a caller's view of the app.

python -m local.stack [--directory DIR]      (make local) keeps it running until Ctrl-C
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

import psycopg
import urllib3
import yaml
from azure.core.credentials import AccessToken
from psycopg.conninfo import make_conninfo

from local import engines, world
from local.cluster.client import apply, connect
from local.cluster.pods import PORT_ANNOTATION
from local.identity import Identity, issue
from local.identity import environment as identity_environment
from local.postgres.provision import Application, provision
from local.process import ROOT, Component, free_port, wait_until
from rotation import config
from rotation.edges.vault import KeyVault
from rotation.model.targets import SecretTarget
from rotation.secrecy import Secret, new_password, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kubernetes.client import ApiClient

APP = Identity.named("credential-rotation")
# What the platform says of an application that calls: its token is about itself.
PROGRAM_ID = "90000000-0000-4000-8000-00000000ca11"
PROGRAM = base64.b64encode(
    json.dumps(
        {
            "auth_typ": "aad",
            "claims": [
                {"typ": "oid", "val": PROGRAM_ID},
                {"typ": "sub", "val": PROGRAM_ID},
                {"typ": "idtyp", "val": "app"},
            ],
        }
    ).encode()
).decode()
TOPIC = "/subscriptions/0/resourceGroups/local/providers/Microsoft.KeyVault/vaults/kv-orders"
PODS = Identity.named("orders-pods")


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; `json` of an empty body is None."""

    status: int
    headers: urllib3.HTTPHeaderDict
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


@dataclass
class Options:
    """What tests vary. `credential` is merged over the demo's credential in credentials.yaml."""

    rbac: bool = True
    timers: bool = False
    watch_seconds: int = 5
    replicas: int = 2
    credential: dict[str, Any] = field(default_factory=dict)
    clusters: dict[str, Any] = field(default_factory=dict)  # more than the stack's own
    environment: dict[str, str] = field(default_factory=dict)
    engine: str = field(default_factory=engines.selected)


class Stack:
    """Everything it writes is below `directory`. The components end with the stack."""

    def __init__(self, directory: Path, options: Options | None = None) -> None:
        self.directory = directory
        self.options = options or Options()
        self.components: dict[str, Component] = {}
        self.keys = {
            name: secrets.token_urlsafe(24) for name in ("function", "master", "system", "admin")
        }
        self.release = ROOT  # the folder of the app that runs
        self.answers: list[bytes] = []  # what the app answered, for those who search it
        self._http = urllib3.PoolManager(retries=False, maxsize=16)

    def start(self, progress: Callable[[str], None] = lambda _: None) -> Self:
        """`progress` is told what is being started. Raises `StartError`, `TimeoutError`."""
        engines.demand(self.options.engine)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._start(progress)
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self, progress: Callable[[str], None]) -> None:
        progress("identity endpoint, Key Vault, PostgreSQL, event topic")
        self._component("identity", *("--identity", APP.name, "--identity", PODS.name))
        access = self._write(
            "access.json",
            {APP.principal_id: ["get", "list", "set"], PODS.principal_id: ["get"]},
        )
        self._component("keyvault", *self._shared(), "--name", "kv-orders", "--access", access)
        self._component("postgres")
        self._component("topic", *self._shared())
        progress("database with two login roles, secret of the active one")
        self._provision()
        progress("cluster with two workloads on the blue slot")
        self._start_cluster()
        if self.options.engine == engines.AZURE:
            progress("Azure Storage (Azurite), for Microsoft's durable extension")
            ports = ("--queue-port", str(free_port()), "--table-port", str(free_port()))
            self._component("storage", *ports, module="durable.storage")
        progress("Functions host with the app")
        self.start_host()

    def _component(self, name: str, *arguments: str, module: str = "") -> Component:
        """A component keeps its port, so that it can be stopped and started again."""
        component = Component.module(
            module or name,
            *("--state", self._path(name), "--port", str(free_port())),
            *arguments,
            log=self.directory / "logs" / f"{name}.log",
            env=self._environment(),
        )
        self.components[name] = component
        return component.start()

    def _path(self, *parts: str) -> str:
        return str(self.directory.joinpath(*parts))

    def _shared(self) -> tuple[str, ...]:
        return ("--identity-state", self._path("identity"), "--tls", self._path("tls"))

    def _environment(self) -> dict[str, str]:
        found = {"LOCAL_ADMIN_KEY": self.keys["admin"]}
        if "identity" in self.components:
            url = self.components["identity"].url
            found |= identity_environment(self.directory / "identity", url)
        return found

    def _write(self, name: str, document: object) -> str:
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(json.dumps(document, indent=2), encoding="utf-8")
        return str(path)

    def _start_cluster(self) -> None:
        self._component(
            "cluster",
            *self._shared(),
            *("--name", "local", "--images", self._write("images.json", world.IMAGES)),
            *("--vault-ca", str(self.addresses.authority)),
            *("--rbac", "on" if self.options.rbac else "off"),
        )
        self._populate()

    def _populate(self) -> None:
        """The workloads, on the blue slot."""
        current = self.vault.current(SecretTarget(world.secret("blue")))
        assert current is not None  # noqa: S101 - provisioned before
        found = world.manifests(
            self.addresses,
            app=APP.principal_id,
            pods=PODS.client_id,
            replicas=self.options.replicas,
            password=self.vault.value(SecretTarget(current.secret, current.version)),
        )
        for manifest in found:
            metadata = manifest["metadata"]
            apply(self.client(metadata.get("namespace", metadata["name"])), [manifest])
        for name, namespace in world.WORKLOADS.items():
            wait_until(
                lambda path=f"{namespace}/{name}-blue": self.ready(*path.split("/")),  # type: ignore[misc]
                60,
                f"Deployment {namespace}/{name}-blue being ready",
            )

    def start_host(self) -> None:
        """The Functions host, on a port that stays the same when it is started again."""
        if "host" not in self.components:
            self.write_configuration()
            self.components["host"] = self._host(free_port())
        self.components["host"].start()

    def _host(self, port: int) -> Component:
        host = Component.module(
            "host",
            *("--app", str(self.release / "function_app.py"), *self._engine()),
            *("--port", str(port), "--timers", "on" if self.options.timers else "off"),
            log=self.directory / "logs" / "host.log",
            env=self._host_environment(),
        )
        engines.be_patient(host, self.options.engine)
        return host

    def _engine(self) -> tuple[str, ...]:
        if self.options.engine == engines.AZURE:
            return engines.arguments(self.components["storage"], self.release)
        return ("--journal", self._path("journal.db"))

    def replace(self, release: Path) -> None:
        """Another release of the app, in that folder, in the place of the one that runs."""
        before = self.components["host"]
        before.stop()
        self.release = release
        self.components["host"] = self._host(urlsplit(before.url).port or 0)
        self.start_host()

    def write_configuration(self) -> None:
        """credentials.yaml, as JSON: that is YAML too. The host reads it when it starts."""
        self._write("credentials.yaml", self._configuration(self.components["cluster"].url))

    def _configuration(self, cluster: str) -> dict[str, Any]:
        found = world.configuration(self.addresses, cluster, self.options.credential)
        found["clusters"] |= self.options.clusters
        return found

    def _host_environment(self) -> dict[str, str]:
        return {
            **self._environment(),
            "LOCAL_FUNCTION_KEY": self.keys["function"],
            "LOCAL_MASTER_KEY": self.keys["master"],
            "LOCAL_SYSTEM_KEY": self.keys["system"],
            "AZURE_CLIENT_ID": APP.client_id,
            "ROTATION_CONFIG": self._path("credentials.yaml"),
            "ROTATION_CA_BUNDLE": str(self.addresses.authority),
            "ROTATION_SWEEP_SCHEDULE": "0 0 6 * * *",
            "ROTATION_TOPIC_ENDPOINT": self.components["topic"].url,
            "PYTHON_THREADPOOL_THREAD_COUNT": "32",  # as infra/ sets it
            "ROTATION_WATCH_SECONDS": str(self.options.watch_seconds),
            **self.options.environment,
        }

    def stop(self) -> None:
        """In the reverse order of their start."""
        for component in reversed(self.components.values()):
            component.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # -- its world

    @property
    def addresses(self) -> world.Addresses:
        return world.Addresses(
            vault=self.components["keyvault"].url,
            database_port=int(str(self.components["postgres"].facts["port"])),
            authority=self.directory / "tls" / "ca.pem",
        )

    def _provision(self) -> None:
        blue, rotator = new_password(), new_password()
        provision(self.admin_dsn(), Application(), password=blue, rotator_password=rotator)
        found = self._configuration("https://started.later")
        credential = config.parse(yaml.safe_dump(found)).credential(world.CREDENTIAL)
        value = render(credential.format, credential.slots["blue"].role, blue, credential.server)
        self._put_secret("rotator", rotator, timedelta(days=365))
        self._put_secret(world.secret("blue"), value, timedelta(days=20))

    def _put_secret(self, name: str, value: Secret, life: timedelta) -> None:
        expires = datetime.now(UTC) + life
        secret, plain = SecretTarget(name), "text/plain"
        self.vault.put(secret, value, expires=expires, content_type=plain, tags={})

    def admin_dsn(self, database: str = "postgres") -> str:
        """Of the server's administrator, which the app never uses."""
        facts = self.components["postgres"].facts
        password = Path(str(facts["passwordFile"])).read_text(encoding="utf-8").strip()
        return make_conninfo(
            host="127.0.0.1",
            port=str(facts["port"]),
            user="postgres",
            password=password,
            dbname=database,
        )

    def sql(self, statement: str, database: str = world.DATABASE) -> None:
        """As the server's administrator."""
        with psycopg.connect(self.admin_dsn(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    @cached_property
    def vault(self) -> KeyVault:
        """The app's own edge, signed in as the app."""
        credential = OwnCredential(APP, self.directory / "identity")
        return KeyVault(self.addresses.vault, credential, str(self.addresses.authority))

    @cached_property
    def _tls(self) -> urllib3.PoolManager:
        return urllib3.PoolManager(retries=False, ca_certs=str(self.addresses.authority))

    @cached_property
    def kubernetes(self) -> ApiClient:
        """As the cluster's administrator."""
        return connect(self.directory / "cluster" / "kubeconfig")

    def client(self, namespace: str) -> ApiClient:  # noqa: ARG002 - for stacks of several clusters
        """Of the cluster that the namespace is in."""
        return self.kubernetes

    def kubernetes_get(self, path: str) -> Any:
        """The object or list at a path below a namespace, as `/api/v1/namespaces/orders/pods`."""
        client = self.client(path.partition("/namespaces/")[2].partition("/")[0])
        parts = client.param_serialize("GET", path, auth_settings=["BearerToken"])
        return json.loads(client.call_api(*parts).response.data)

    def deployment(self, namespace: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.kubernetes_get(
            f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        )
        return found

    def ready(self, namespace: str, name: str) -> bool:
        found = self.deployment(namespace, name)
        wanted: int = found["spec"]["replicas"]
        return bool(found.get("status", {}).get("readyReplicas", 0) == wanted)

    def service_url(self, namespace: str, name: str) -> str:
        found = self.kubernetes_get(f"/api/v1/namespaces/{namespace}/services/{name}")
        return f"http://127.0.0.1:{found['metadata']['annotations'][PORT_ANNOTATION + 'http']}"

    def active_slots(self) -> dict[str, str]:
        """What each workload's production Service selects."""
        return {
            name: self.kubernetes_get(f"/api/v1/namespaces/{space}/services/{name}")["spec"][
                "selector"
            ]["slot"]
            for name, space in world.WORKLOADS.items()
        }

    # -- faults to order, and the way back from them

    def admin(self, component: str, method: str, path: str, body: Any = None) -> Answer:
        """A stand-in's own routes below /local, for example its faults (see `local.faults`)."""
        parts = urlsplit(self.components[component].url)
        answer = self._tls.request(
            method,
            f"{parts.scheme}://{parts.netloc}{path}",
            body=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "x-local-admin-key": self.keys["admin"]},
        )
        return Answer(answer.status, answer.headers, answer.data)

    def fault(self, component: str, **order: Any) -> None:
        answer = self.admin(component, "POST", "/local/faults", order)
        if answer.status >= 300:
            raise ValueError(f"the order was refused: {answer.body.decode()}")

    @contextmanager
    def without_storage(self) -> Iterator[None]:
        """The task hub's storage is away: Azurite ends and comes back, or our engine fails as it
        would. Afterwards the app answers again."""
        if self.options.engine == engines.AZURE:
            self.components["storage"].stop()
        else:
            self.fault("host", times=1_000_000, status=500)
        yield
        if self.options.engine == engines.AZURE:
            self.components["storage"].start()
        else:
            self.admin("host", "DELETE", "/local/faults")
        patience = 60 + engines.slack(self.options.engine)
        wait_until(lambda: self.api("GET", "/rotations").status == 200, patience, "the task hub")

    def restore(self) -> None:
        """Every component up, no fault ordered, no rotation waiting: rejects those that do."""
        for component in self.components.values():
            if not component.alive:
                component.start()
        own = ("host",) if self.options.engine == engines.LOCAL else ()
        for name in ("keyvault", "cluster", "topic", *own):
            self.admin(name, "DELETE", "/local/faults")
        for record in self.rotations():
            if record["outcome"] is None:
                self.reject(record["rotation"])
        # Whoever stops the host next may take with it, for a minute, the news of a rotation's end.
        patience = 60 + engines.slack(self.options.engine)
        wait_until(self.free, patience, "the end of the credential's orchestration")

    def free(self) -> bool:
        """Whether the credential can be rotated: no orchestration of it is under way."""
        code = quote(self.keys["system"], safe="")
        path = f"/runtime/webhooks/durabletask/instances/{world.CREDENTIAL}?code={code}"
        return self.request("GET", path).status in {200, 404}

    def reject(self, rotation: str) -> None:
        found = self.follow(
            rotation, lambda r: r["outcome"] or (r["approval"] or {}).get("event"), timeout=150
        )
        if found["outcome"] is None:
            self.decide(rotation, "reject")
            self.follow(rotation, lambda r: r["outcome"], timeout=150)

    def decide(self, rotation: str, decision: str, by: str = world.APPROVERS[0]) -> Answer:
        body = {"decision": decision, "by": by, "comment": "decided by the local stack"}
        return self.api("POST", f"/rotations/{rotation}/approval", body)

    # -- a caller's view of the app

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Without a key of its own; `path` is below the host's URL."""
        answer = self._http.request(
            method,
            self.components["host"].url + path,
            body=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **(headers or {})},
            timeout=urllib3.Timeout(connect=5, read=60),
            redirect=False,
        )
        self.answers.append(repr(dict(answer.headers)).encode() + answer.data)
        return Answer(answer.status, answer.headers, answer.data)

    def api(self, method: str, path: str, body: Any = None) -> Answer:
        """With the function key, and where people sign in with an application's token as well;
        `path` is below /api."""
        headers = {"x-functions-key": self.keys["function"], "X-Local-Sign-In": PROGRAM}
        return self.request(method, f"/api{path}", body, headers)

    def webhook(self, body: Any, kind: str) -> Answer:
        """What Event Grid posts; `kind` is Notification or SubscriptionValidation."""
        return self.request("POST", self.webhook_path, body, {"aeg-event-type": kind})

    @property
    def webhook_path(self) -> str:
        query = f"functionName=on_secret_event&code={self.keys['system']}"
        return f"/runtime/webhooks/eventgrid?{query}"

    def announce(self, slot: str = "blue", kind: str = "SecretNearExpiry", **event: Any) -> Answer:
        """Posts the event that Key Vault would; `event` replaces some of its fields."""
        return self.webhook([{**self.near_expiry(slot, kind), **event}], "Notification")

    def near_expiry(self, slot: str, kind: str = "SecretNearExpiry") -> dict[str, Any]:
        """In the schema of https://learn.microsoft.com/azure/event-grid/event-schema-key-vault."""
        current = self.vault.current(SecretTarget(world.secret(slot)))
        assert current is not None  # noqa: S101 - the caller names a slot that has a secret
        expires = str(int(current.expires.timestamp())) if current.expires else None
        return {
            "id": secrets.token_hex(16),
            "topic": TOPIC,
            "subject": current.secret,
            "eventType": f"Microsoft.KeyVault.{kind}",
            "eventTime": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "data": {
                "Id": f"{self.addresses.vault}/secrets/{current.secret}/{current.version}",
                "VaultName": "kv-orders",
                "ObjectType": "Secret",
                "ObjectName": current.secret,
                "Version": current.version,
                "NBF": None,
                "EXP": expires,
            },
            "dataVersion": "1",
            "metadataVersion": "1",
        }

    def rotations(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api("GET", "/rotations").json["rotations"]
        return found

    def rotation(self, rotation: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api("GET", f"/rotations/{rotation}").json
        return found

    def follow(
        self,
        rotation: str,
        until: Callable[[dict[str, Any]], Any],
        timeout: float = 90,
        seen: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Polls a rotation until `until` holds of its record; `seen` gets each one on the way."""
        deadline = time.monotonic() + timeout + engines.slack(self.options.engine)
        while True:
            record = self.rotation(rotation)
            seen(record)
            if until(record):
                return record
            if time.monotonic() > deadline:
                raise TimeoutError(f"rotation {rotation} is still at {record['stage']}: {record}")
            time.sleep(0.1)


class OwnCredential:
    """Signs in without the identity endpoint, so that this process's environment stays as it is."""

    def __init__(self, identity: Identity, state: Path) -> None:
        self._identity = identity
        self._state = state

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """For azure.core.credentials.TokenCredential."""
        resource = scopes[0].removesuffix("/.default")
        return AccessToken(
            *issue(self._identity, resource, self._state, now=time.time(), lifetime=3600)
        )
