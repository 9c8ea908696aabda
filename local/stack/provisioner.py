"""The world that a stack begins with: a login and its secret, and workloads that use them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from local import world
from local.cluster.client import apply
from local.identity import Identity
from local.postgres.provision import Application, provision
from local.process import wait_until
from local.secret_values import rendered, server_of
from local.stack.owner import APP, LATE
from rotation.model.targets import SecretTarget
from rotation.secrecy import Secret, new_password

if TYPE_CHECKING:
    from local.stack.owner import Owner
    from local.stack.parts import Parts
    from rotation.config import Credential

PODS = Identity.named("orders-pods")
PROVIDER_CLASSES = "secrets-store.csi.x-k8s.io/v1"


class Provisioner:
    """The demo's world: two login roles, the secret of the active one, two workloads on it."""

    begins_with = "database with two login roles, secret of the active one"
    namespaces: tuple[str, ...] = tuple(world.WORKLOADS.values())

    def __init__(self, parts: Parts, owner: Owner) -> None:
        self.parts = parts
        self.owner = owner

    def login(self, credential: Credential) -> None:
        """Makes the database with its roles, and the vault with the secret of the blue one."""
        blue, rotator = new_password(), new_password()
        dsn = self.owner.dsn()
        provision(dsn, Application(), password=blue, rotator_password=rotator)
        role, server = credential.slots["blue"].role, server_of(credential)
        value = rendered(credential.format, role, blue, server)
        self.put_secret("rotator", rotator, timedelta(days=365))
        self.put_secret(world.secret("blue"), value, LATE)

    def put_secret(self, name: str, value: Secret, life: timedelta) -> None:
        expires = datetime.now(UTC) + life
        secret, plain = SecretTarget(name), "text/plain"
        vault = self.owner.vault
        vault.put(secret, value, expires=expires, content_type=plain, tags={})

    def workloads(self, replicas: int, warm_up: float = 0) -> None:
        """Applies the workloads on the blue slot and waits until they are ready."""
        vault, secret = self.owner.vault, world.secret("blue")
        current = vault.current(SecretTarget(secret))
        assert current is not None  # noqa: S101 - made before
        manifests = world.manifests(
            self.parts.addresses,
            app=APP.principal_id,
            pods=PODS.client_id,
            replicas=replicas,
            password=vault.value(SecretTarget(current.secret, current.version)),
            warm_up=warm_up,
        )
        for manifest in manifests:
            metadata = manifest["metadata"]
            namespace = metadata.get("namespace", metadata["name"])
            apply(self.owner.api_client(namespace), [manifest])
        for name, namespace in world.WORKLOADS.items():
            wait_until(
                lambda path=f"{namespace}/{name}-blue": self.owner.ready(*path.split("/")),  # type: ignore[misc]
                60,
                f"Deployment {namespace}/{name}-blue being ready",
            )

    def resume(self, *, moved: bool) -> None:
        """Waits until the workloads of a cluster that was started again are as they were; `moved`:
        tells them first where vault and database are now."""
        if moved:
            for namespace in self.namespaces:
                self._readdress(namespace)
        wait_until(self._all_ready, 90, "the workloads being as they were")

    def _readdress(self, namespace: str) -> None:
        """Pods read both when they start: those that started with the cluster begin anew."""
        core = f"/api/v1/namespaces/{namespace}/configmaps"
        classes = f"/apis/{PROVIDER_CLASSES}/namespaces/{namespace}/secretproviderclasses"
        addresses = self.parts.addresses
        for found in self.owner.kubernetes_get(core)["items"]:
            if "DATABASE_PORT" in found.get("data", {}):
                data = {"DATABASE_PORT": str(addresses.database_port)}
                self.owner.kubernetes_merge(f"{core}/{found['metadata']['name']}", {"data": data})
        for found in self.owner.kubernetes_get(classes)["items"]:
            spec = {"parameters": {"keyvaultUrl": addresses.vault}}
            self.owner.kubernetes_merge(f"{classes}/{found['metadata']['name']}", {"spec": spec})
        pods = f"/api/v1/namespaces/{namespace}/pods"
        for found in self.owner.kubernetes_get(pods)["items"]:
            self.owner.kubernetes_delete(f"{pods}/{found['metadata']['name']}")

    def _all_ready(self) -> bool:
        return all(
            found.get("status", {}).get("readyReplicas", 0) == found["spec"]["replicas"]
            for namespace in self.namespaces
            for found in self.owner.kubernetes_get(
                f"/apis/apps/v1/namespaces/{namespace}/deployments"
            )["items"]
        )
