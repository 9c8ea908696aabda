"""What the administrators of the vault, the database and the cluster see and do."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import urllib3
from azure.core.credentials import AccessToken
from azure.keyvault.secrets import SecretClient
from psycopg.conninfo import make_conninfo

from local import world
from local.cluster.client import connect
from local.cluster.ports import PORT_ANNOTATION
from local.identity import Identity, issue
from local.storage import write_private
from rotation.edges.vault import KeyVault
from rotation.model.targets import SecretTarget

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

    from local.stack.parts import Parts

APP = Identity.named("credential-rotation")
ENGINEER = Identity.named("platform-engineer")  # who makes secrets, and takes them away
LATE = timedelta(days=20)  # what a version has left whose time has come


class Owner:
    """The administrators of the vault, the database server and the cluster of one stack."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def dsn(self, database: str = "postgres") -> str:
        """The connection string of the server's administrator, which the app never uses."""
        facts = self._parts.components["postgres"].facts
        password = Path(str(facts["passwordFile"])).read_text(encoding="utf-8").strip()
        return make_conninfo(
            host="127.0.0.1",
            port=str(facts["port"]),
            user="postgres",
            password=password,
            dbname=database,
        )

    def password_file(self) -> Path:
        """The password of the server's administrator, as libpq reads it."""
        facts = self._parts.components["postgres"].facts
        password = Path(str(facts["passwordFile"])).read_text(encoding="utf-8").strip()
        path = self._parts.directory / "pgpass"
        write_private(path, f"127.0.0.1:{facts['port']}:*:postgres:{password}\n".encode())
        return path

    def sql(self, statement: str, database: str = world.DATABASE) -> None:
        """Runs a statement as the server's administrator."""
        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    @cached_property
    def vault(self) -> KeyVault:
        """The app's own edge, signed in as the app."""
        credential = OwnCredential(APP, self._parts.directory / "identity")
        return KeyVault(
            self._parts.addresses.vault, credential, str(self._parts.addresses.authority)
        )

    def age(self, secret: str) -> None:
        """Leaves the current version twenty days at most, as if its time had come."""
        current, limit = self.vault.current(SecretTarget(secret)), datetime.now(UTC) + LATE
        if current is None or current.expires is None or current.expires <= limit:
            return
        with SecretClient(
            self._parts.addresses.vault,
            OwnCredential(APP, self._parts.directory / "identity"),
            connection_verify=str(self._parts.addresses.authority),
            verify_challenge_resource=False,
        ) as client:
            client.update_secret_properties(secret, current.version, expires_on=limit)

    @cached_property
    def _tls(self) -> urllib3.PoolManager:
        return urllib3.PoolManager(retries=False, ca_certs=str(self._parts.addresses.authority))

    @cached_property
    def kubernetes(self) -> ApiClient:
        """A client of the cluster, as its administrator."""
        return connect(self._parts.directory / "cluster" / "kubeconfig")

    def api_client(self, namespace: str) -> ApiClient:  # noqa: ARG002 - for stacks of several clusters
        """A client of the cluster that the namespace is in."""
        return self.kubernetes

    def kubernetes_get(self, path: str) -> Any:
        """The object or list at a path below a namespace, as `/api/v1/namespaces/orders/pods`."""
        client = self.api_client(path.partition("/namespaces/")[2].partition("/")[0])
        parts = client.param_serialize("GET", path, auth_settings=["BearerToken"])
        return json.loads(client.call_api(*parts).response.data)

    def kubernetes_merge(self, path: str, body: dict[str, Any]) -> None:
        """Sends a JSON merge patch of the object at a path. Raises RuntimeError."""
        self._change("PATCH", path, "application/merge-patch+json", body)

    def kubernetes_delete(self, path: str) -> None:
        """Deletes the object at a path. Raises RuntimeError."""
        self._change("DELETE", path, "application/json", {})

    def _change(self, method: str, path: str, content: str, body: dict[str, Any]) -> None:
        client = self.api_client(path.partition("/namespaces/")[2].partition("/")[0])
        headers = {"Content-Type": content}
        parts = client.param_serialize(
            method, path, header_params=headers, auth_settings=["BearerToken"]
        )
        status = client.call_api(*parts[:3], body).response.status
        if status >= 300:
            raise RuntimeError(f"{method} {path}: HTTP {status}")

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
        """The slot that each workload's production Service selects."""
        return {
            name: self.kubernetes_get(f"/api/v1/namespaces/{space}/services/{name}")["spec"][
                "selector"
            ]["slot"]
            for name, space in world.WORKLOADS.items()
        }


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
