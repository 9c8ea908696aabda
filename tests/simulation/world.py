"""Everything outside the app: the models, whose they are, and what is true of them just now."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from rotation.model.world import SLOTS, Slot, other
from rotation.secrecy import Secret, extract, render
from tests.simulation.cluster import ClusterModel, DeploymentState, ServiceState
from tests.simulation.database import DatabaseModel, RoleState
from tests.simulation.vault import VaultModel, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rotation.config import Credential, Workload
    from tests.simulation.clock import Agenda, Clock
    from tests.simulation.scenario import Scenario


class Owner(NamedTuple):
    """A slot of a credential: what a role, secret or Deployment belongs to."""

    credential: str
    slot: Slot

    def __str__(self) -> str:
        return f"{self.credential}/{self.slot}"


class World:
    """`values` are all secret values there have ever been: none may be seen anywhere."""

    def __init__(self, scenario: Scenario, clock: Clock, agenda: Agenda) -> None:
        self.scenario = scenario
        self.configuration = scenario.configuration
        self.values: list[str] = []
        self.flaw = scenario.flaw
        self.database = DatabaseModel()
        self.vaults: dict[str, VaultModel] = {}
        self.published: list[dict[str, Any]] = []
        self.owners: dict[str, Owner] = {}  # of roles, secrets, and namespace/name of the rest
        self.clusters = {
            name: ClusterModel(clock, agenda, scenario.times, self.database.accepts)
            for name in self.configuration.clusters
        }
        self._clock = clock
        for name, credential in self.configuration.credentials.items():
            self.vaults[credential.vault] = VaultModel(clock)
            self._provision(name, credential)

    # As it was before anything began

    def _provision(self, name: str, credential: Credential) -> None:
        active = self.scenario.active[name]
        for slot in SLOTS:
            login = credential.slots[slot]
            owner = Owner(name, slot)
            self.owners |= {login.role: owner, login.secret: owner}
            self.database.roles[login.role] = RoleState(login=slot == active, password=None)
            if slot == active:
                version = self.write(credential, slot, f"first{name}{slot}".ljust(40, "0"))
                version.created -= timedelta(days=60)
                self.database.roles[login.role].password = version.password
        for workload in credential.workloads:
            self._provision_workload(name, credential, workload, active)

    def _provision_workload(
        self, name: str, credential: Credential, workload: Workload, active: Slot
    ) -> None:
        cluster, space = self.clusters[workload.cluster], workload.namespace
        for service, slot in ((workload.service, active), (workload.preview, other(active))):
            cluster.services[space, service] = ServiceState(space, service, slot)
        for slot in SLOTS:
            owner = Owner(name, slot)
            if workload.secrets:
                self.owners[f"{space}/{workload.secrets[slot]}"] = owner
            deployment = DeploymentState(
                namespace=space,
                name=workload.deployments[slot],
                role=credential.slots[slot].role,
                mount=self._mount(credential, workload, slot),
                replicas=self.scenario.replicas if slot == active else 0,
                images={"app": "app:1", "init:wait": "wait:1"},
            )
            self.owners[f"{space}/{deployment.name}"] = owner
            cluster.deployments[space, deployment.name] = deployment
            if slot == active:
                self._first_secret(credential, workload, slot)
                cluster.settle(deployment)

    def _first_secret(self, credential: Credential, workload: Workload, slot: Slot) -> None:
        if workload.secrets:
            latest = self.vault(credential).latest(credential.slots[slot].secret)
            key = (workload.namespace, workload.secrets[slot])
            self.clusters[workload.cluster].secrets[key] = (latest.value, latest.password)

    def _mount(
        self, credential: Credential, workload: Workload, slot: Slot
    ) -> Callable[[], str | None]:
        """What a pod that starts now reads: the secret's current version, or the Kubernetes
        Secret."""

        def from_vault() -> str | None:
            current = self.current(credential, slot)
            return None if current is None or current.disabled else current.password

        def from_secret() -> str | None:
            key = (workload.namespace, workload.secrets[slot] if workload.secrets else "")
            found = self.clusters[workload.cluster].secrets.get(key)
            return found[1] if found else None

        return from_vault if workload.delivery == "csi" else from_secret

    def write(self, credential: Credential, slot: Slot, password: str) -> Version:
        """A new version of the slot's secret, as somebody else than the app writes it."""
        login = credential.slots[slot]
        value = render(credential.format, login.role, Secret(password), credential.database)
        return self.put(credential, slot, value.reveal())

    def put(self, credential: Credential, slot: Slot, value: str, **more: Any) -> Version:
        password = extract(credential.format, Secret(value), "new").reveal()
        for secret in {value, password}:
            self.values.append(secret)
        vault = self.vault(credential)
        return vault.put(credential.slots[slot].secret, value, password, **more)

    # What is true now

    def vault(self, credential: Credential) -> VaultModel:
        return self.vaults[credential.vault]

    def current(self, credential: Credential, slot: Slot) -> Version | None:
        versions = self.vault(credential).secrets.get(credential.slots[slot].secret)
        return versions[-1] if versions else None

    def serving(self, owner: Owner) -> list[str]:
        """The production Services that select the slot, or that traffic still follows to it."""
        found = []
        for workload in self.configuration.credential(owner.credential).workloads:
            cluster = self.clusters[workload.cluster]
            service = cluster.services.get((workload.namespace, workload.service))
            if service is not None and service.slot == owner.slot:
                found.append(f"{workload.namespace}/{workload.service}")
        return found

    def parts(self, owner: Owner) -> tuple[object, ...]:
        """All that a slot is made of, to be compared with itself later."""
        credential = self.configuration.credential(owner.credential)
        login = credential.slots[owner.slot]
        role = self.database.roles[login.role]
        versions = self.vault(credential).secrets.get(login.secret, ())
        parts: list[object] = [role.login, role.password, self.database.ended.get(login.role)]
        parts += [(v.version, v.disabled) for v in versions]
        for workload in credential.workloads:
            cluster, space = self.clusters[workload.cluster], workload.namespace
            found = cluster.deployments[space, workload.deployments[owner.slot]]
            parts.append((found.replicas, dict(found.images), found.version))
            if workload.secrets:
                parts.append(cluster.secrets.get((space, workload.secrets[owner.slot])))
        return tuple(parts)

    def logs_in(self, owner: Owner) -> str | None:
        """Why the slot's role cannot log in with its secret's current version, or None."""
        credential = self.configuration.credential(owner.credential)
        current = self.current(credential, owner.slot)
        if current is None or current.disabled is not None:
            return "its secret's current version is missing or disabled"
        if not self.database.accepts(credential.slots[owner.slot].role, current.password):
            return f"its role is refused with the current version {current.version}"
        return None

    def workloads(self) -> Iterator[tuple[str, Credential, Workload]]:
        for name, credential in self.configuration.credentials.items():
            for workload in credential.workloads:
                yield name, credential, workload
