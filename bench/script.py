"""What a script has to rotate with: psql, the vault, and what kubectl does.

`rollout_restart`, `rollout_status` and `set_login` send what `kubectl rollout restart`, `kubectl
rollout status` and `kubectl patch` send.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
from kubernetes.client import AppsV1Api, CoreV1Api
from psycopg import sql

from bench.product import SLOTS, SecretTarget, new_password
from local import world
from local.process import wait_until

if TYPE_CHECKING:
    from bench.product import Secret, Slot
    from local.stack import Stack

STRATEGIC = "application/strategic-merge-patch+json"
# Of the one Deployment that each workload has for a script; the other slot's stays at zero.
DEPLOYMENTS = {name: (space, f"{name}-blue") for name, space in world.WORKLOADS.items()}


class Script:
    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._apps = AppsV1Api(stack.owner.kubernetes)
        self._core = CoreV1Api(stack.owner.kubernetes)

    def new_password(self) -> Secret:
        return new_password()

    def alter_role(self, slot: Slot, password: Secret) -> None:
        role = f"orders_{slot}"
        with psycopg.connect(self.stack.owner.dsn(), autocommit=True) as connection:
            verifier = connection.pgconn.encrypt_password(
                password.reveal().encode(), role.encode(), b"scram-sha-256"
            ).decode()
            statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
            connection.execute(statement.format(sql.Identifier(role), sql.Literal(verifier)))

    def write_secret(self, slot: Slot, password: Secret) -> None:
        """Writes the password to Key Vault, which `api` mounts, and to the Kubernetes Secret
        that `web` reads."""
        name = world.secret(slot)
        expires = datetime.now(UTC) + timedelta(days=90)
        secret, plain = SecretTarget(name), "text/plain"
        self.stack.owner.vault.put(secret, password, expires=expires, content_type=plain, tags={})
        body = {"stringData": {"password": password.reveal()}}
        self._core.patch_namespaced_secret(name, world.WORKLOADS["web"], body)

    def configure(self, variables: dict[str, str]) -> None:
        """Sets the pods' environment, by their ConfigMaps; pods see it when they start."""
        for space in world.WORKLOADS.values():
            self._core.patch_namespaced_config_map("orders-database", space, {"data": variables})

    def start_slowly(self, seconds: int) -> None:
        """Makes pods of either slot ready no sooner than that: a rolling update."""
        probe = {"initialDelaySeconds": seconds}
        for name in DEPLOYMENTS:
            for slot in SLOTS:
                pod = {"containers": [{"name": name, "readinessProbe": probe}]}
                self._patch(name, {"spec": pod}, slot)

    def rollout_restart(self) -> None:
        annotation = {"kubectl.kubernetes.io/restartedAt": datetime.now(UTC).isoformat()}
        template = {"metadata": {"annotations": annotation}}
        for name in DEPLOYMENTS:
            self._patch(name, template)

    def set_login(self, slot: Slot) -> None:
        """Makes the pods log in with the slot's role and secret: a rolling update."""
        role = {"name": "DATABASE_ROLE", "value": f"orders_{slot}"}
        reference = {"secretKeyRef": {"name": world.secret(slot), "key": "password"}}
        password = {"name": "DATABASE_PASSWORD", "valueFrom": reference}
        driver = {"driver": "secrets-store.csi.k8s.io", "readOnly": True}
        mounted = {**driver, "volumeAttributes": {"secretProviderClass": world.secret(slot)}}
        api: dict[str, Any] = {
            "containers": [{"name": "api", "env": [role]}],
            "volumes": [{"name": "secrets", "csi": mounted}],
        }
        web = {"containers": [{"name": "web", "env": [role, password]}]}
        for name, pod in (("api", api), ("web", web)):
            self._patch(name, {"spec": pod})

    def _patch(self, name: str, template: dict[str, Any], slot: Slot = "blue") -> None:
        space, body = world.WORKLOADS[name], {"spec": {"template": template}}
        self._apps.patch_namespaced_deployment(
            f"{name}-{slot}", space, body, _content_type=STRATEGIC
        )

    def new_pods_are_up(self) -> bool:
        """Whether one pod of the new template runs in each workload, ready or not."""
        return all(self._status(name).get("updatedReplicas", 0) for name in DEPLOYMENTS)

    def rollout_status(self) -> None:
        """Waits for the rollout of each Deployment. Raises `TimeoutError`."""
        for name in DEPLOYMENTS:
            wait_until(lambda name=name: self._rolled_out(name), 60, f"the rollout of {name}")  # type: ignore[misc]

    def replaced_pods_are_gone(self) -> bool:
        """Whether the replaced pods are gone, which `kubectl rollout status` does not wait for."""
        return not any(
            pod["metadata"].get("deletionTimestamp")
            for space in world.WORKLOADS.values()
            for pod in self.stack.owner.kubernetes_get(f"/api/v1/namespaces/{space}/pods")["items"]
        )

    def _rolled_out(self, name: str) -> bool:
        found = self.stack.owner.deployment(*DEPLOYMENTS[name])
        status, wanted = found.get("status", {}), found["spec"]["replicas"]
        observed = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
        counts = ("updatedReplicas", "replicas", "availableReplicas")
        return observed and all(status.get(count, 0) == wanted for count in counts)

    def _status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.stack.owner.deployment(*DEPLOYMENTS[name]).get("status", {})
        return found
