"""Everything outside the app: the models, whose they are, and what is true of them just now."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol, assert_never

from local.secret_values import rendered, server_of
from rotation.formats import read
from rotation.model.errors import Invalid
from rotation.model.world import SLOTS, Answer, Requirement, Selector, Slot, other
from rotation.secrecy import Secret
from tests.memory.cluster import (
    AT_ONCE,
    ClusterModel,
    DeploymentState,
    HttpRouteState,
    SecretState,
    ServiceState,
)
from tests.memory.cron_jobs import CronJobState
from tests.memory.database import DatabaseModel, RoleState, accepts
from tests.memory.owner import Owner
from tests.memory.vault import VaultModel, Version

Metric = float | Exception | None

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rotation.config import Configuration, Credential, Workload
    from rotation.contracts.store import Container
    from rotation.model.targets import DeploymentTarget
    from rotation.model.wire import JsonObject
    from tests.memory.clock import Agenda, Clock
    from tests.memory.cluster import Times
    from tests.memory.store import StoreModel

    class Runs(Protocol):
        """How CronJobs run: see `tests.simulation.scenario`."""

        @property
        def period(self) -> float: ...

        @property
        def lasts(self) -> float: ...

        @property
        def policy(self) -> str: ...

        @property
        def deadline(self) -> int: ...


# What is wrong with a live secret, or with what its role has.
Live = Literal["newline", "unreadable", "role", "host", "database", "password", "md5"]
AGE, LEFT = timedelta(days=70), timedelta(days=20)  # of the versions that serve


class World:
    """Each credential is whole, and served by its slot in `active`, which is blue unless given.

    `values` are all secret values there have ever been: none may be seen anywhere. `flaw` is a
    fault of the workloads' own: with `preview` or `service`, tests that go through such a Service
    fail on a slot that did not serve at first. `scripted` are answers to tests instead of the
    workloads' own, one after the other, the last one for ever.
    """

    def __init__(
        self,
        configuration: Configuration,
        clock: Clock,
        agenda: Agenda,
        *,
        active: Mapping[str, Slot] | None = None,
        replicas: int = 2,
        times: Times = AT_ONCE,
    ) -> None:
        self.configuration = configuration
        self.active: dict[str, Slot] = dict.fromkeys(configuration.credentials, "blue")
        self.active |= active or {}
        self.replicas = replicas
        self.values: list[str] = []
        self.flaw = ""
        self.scripted: list[Answer | Exception] = []
        # What a condition's query is answered with: 0, unless it stands here.
        self.metrics: dict[str, Metric | Callable[[], Metric]] = {}
        self.database = DatabaseModel(clock)
        self.vaults: dict[str, VaultModel] = {}
        self.published: list[JsonObject] = []
        self.stores: dict[Container, StoreModel] | None = {}  # None: the app has no account
        self.owners: dict[str, Owner] = {}  # of roles, secrets, and namespace/name of the rest
        self.clusters = {
            name: ClusterModel(clock, agenda, times, self._accepts, self.database.full)
            for name in configuration.clusters
        }
        self.database.used = self.connections
        self._clock = clock
        for name, credential in configuration.credentials.items():
            self._provision(name, credential)
        self.spoiled: dict[str, Live] = {}
        self.database.wrote()

    def _accepts(self, role: str, password: str | None) -> bool:
        """Whether a pod can log in wherever its workload connects to."""
        owner = self.owners.get(role)
        if owner is not None:
            settings = self.configuration.credential(owner.credential).database
            if settings.replicas and not accepts(self.database.replayed, role, password):
                return False
            if settings.endpoint and not accepts(self.database.pooled, role, password):
                return False
        return self.database.accepts(role, password)

    def accepted(self, role: str, password: str | None) -> bool:
        """Whether the server itself lets a pod in, what lags behind it or not."""
        return self.database.accepts(role, password)

    # As it was before anything began

    def _provision(self, name: str, credential: Credential) -> None:
        active = self.active[name]
        for slot in SLOTS:
            login = credential.slots[slot]
            owner = Owner(name, slot)
            self.owners |= {login.role: owner, login.secret: owner}
            self.database.roles[login.role] = RoleState(login=slot == active, password=None)
            if slot == active:
                version = self.write(credential, slot, f"first{name}{slot}".ljust(40, "0"))
                version.created, version.expires = version.created - AGE, version.created + LEFT
                self.database.roles[login.role].password = version.password
        for workload in credential.workloads:
            self._provision_workload(name, credential, workload, active)

    def _provision_workload(
        self, name: str, credential: Credential, workload: Workload, active: Slot
    ) -> None:
        if workload.in_place:
            self._provision_in_place(credential, workload, active)
            return
        cluster, space = self.clusters[workload.cluster], workload.namespace
        production = dict.fromkeys([workload.service or "", *workload.services], active)
        previews = {workload.preview: other(active)} if workload.preview else {}
        if workload.route is not None:
            production = {}
            self._provision_routes(cluster, workload, active)
        for service, slot in {**production, **previews}.items():
            cluster.services[space, service] = ServiceState(
                space,
                service,
                {"app": workload.name, workload.selector_label: slot},
                workload.selector_label,
                backends={slot: workload.deployments.get(slot, "") for slot in SLOTS},
                preview=service == workload.preview,
                headless=workload.preview is None,
            )
        for other_service in workload.other_services:
            selector = {"app": workload.name}
            state = ServiceState(space, other_service, selector, workload.selector_label)
            cluster.services[space, other_service] = state
        for slot in SLOTS:
            owner = Owner(name, slot)
            self._provision_secret(credential, workload, owner)
            if workload.cron_jobs:
                self._provision_cron_job(credential, workload, owner, active)
                continue
            deployment = DeploymentState(
                namespace=space,
                name=workload.deployments[slot],
                role=credential.slots[slot].role,
                mount=self._mount(credential, workload, slot),
                replicas=self.replicas if slot == active else 0,
                images={"app": "app:1", "init:wait": "wait:1"},
                labels={"app": workload.name, workload.selector_label: slot},
            )
            self.owners[f"{space}/{deployment.name}"] = owner
            cluster.deployments[space, deployment.name] = deployment
            if slot == active:
                cluster.settle(deployment)
            for test in workload.tests:
                if test.job is not None:
                    exits = self._exits(deployment)
                    cluster.jobs.provide(space, test.job.cron_jobs[slot], exits)

    def _exits(self, deployment: DeploymentState) -> Callable[[], int]:
        """A function that says how a Job ends which logs in as the Deployment's pods do."""
        return lambda: 0 if self._accepts(deployment.role, deployment.mount()) else 1

    def _provision_in_place(self, credential: Credential, workload: Workload, active: Slot) -> None:
        """Makes one workload, and the Secret with the login that serves."""
        cluster, target = self.clusters[workload.cluster], workload.exchanged
        latest, at = self.current(credential, active), workload.deployment(active)
        assert target is not None
        assert latest is not None
        assert workload.in_place is not None
        role = credential.slots[active].role
        state = SecretState({target.key: latest.value}, slot=active)
        if target.role_key is not None:
            state.data[target.role_key] = role
        cluster.secrets[target.namespace, target.name] = state

        def login() -> tuple[str, str | None]:
            value = Secret(state.data[target.key])
            try:
                held = read(credential.shape, value, "mounted")
            except Invalid:
                return role, None
            named = state.data[target.role_key] if target.role_key else held.role
            return named or role, held.password.reveal()

        deployment = DeploymentState(
            namespace=at.namespace,
            name=at.name,
            role=role,
            mount=lambda: None,
            replicas=self.replicas,
            images={"app": "app:1"},
            labels={"app": workload.name},
            login=login,
            secret=target.name,
            reloads=workload.in_place.then == "reload",
            kind=at.kind,
        )
        cluster.deployments[at.namespace, at.name] = deployment
        cluster.settle(deployment)
        if workload.service is not None:
            cluster.services[at.namespace, workload.service] = ServiceState(
                at.namespace,
                workload.service,
                {"app": workload.name},
                backends={"": at.name},
            )

    def _provision_cron_job(
        self, credential: Credential, workload: Workload, owner: Owner, active: Slot
    ) -> None:
        schedules, slot = self.clusters[workload.cluster].schedules, owner.slot
        target = workload.cron_job(slot)
        schedules.found[target.namespace, target.name] = CronJobState(
            namespace=target.namespace,
            name=target.name,
            role=credential.slots[slot].role,
            mount=self._mount(credential, workload, slot),
            images={"report": "report:1"},
            created=self._clock.now - AGE,
            suspended=slot != active,
            labels={"app": workload.name, workload.selector_label: slot},
        )
        self.owners[str(target)] = owner
        if slot == SLOTS[1]:
            blue, green = ((target.namespace, workload.cron_jobs[each]) for each in SLOTS)
            schedules.pairs.append((blue, green))

    def _provision_routes(self, cluster: ClusterModel, workload: Workload, active: Slot) -> None:
        """Makes the HTTPRoutes of a workload, and its slots' own Services."""
        space = workload.namespace
        for slot, target in workload.backends.items():
            cluster.services[space, target.name] = ServiceState(
                space,
                target.name,
                {"app": workload.name, workload.selector_label: slot},
                workload.selector_label,
                backends={slot: workload.deployments[slot]},
                own=slot,
            )
        for route in workload.productions:
            cluster.http_routes[space, route.name] = HttpRouteState(
                space,
                route.name,
                {},
                backends={slot: workload.deployments[slot] for slot in SLOTS},
                shares={active: 100},
                names=frozenset(each.name for each in workload.backends.values()),
            )

    def _provision_secret(self, credential: Credential, workload: Workload, owner: Owner) -> None:
        """Makes the Kubernetes Secret of a slot, empty where it does not serve."""
        target = workload.secret_key(owner.slot)
        if target is not None:
            self.owners[str(target)] = owner
            latest = self.current(credential, owner.slot)
            self.clusters[workload.cluster].secrets[target.namespace, target.name] = SecretState(
                {target.key: latest.value} if latest else {}
            )

    def _mount(
        self, credential: Credential, workload: Workload, slot: Slot
    ) -> Callable[[], str | None]:
        """A function that says what a pod that starts now reads: the secret's current version, or
        the Kubernetes Secret."""

        def from_vault() -> str | None:
            current = self.current(credential, slot)
            return None if current is None or current.disabled else current.password

        def from_secret() -> str | None:
            target = workload.secret_key(slot)
            assert target is not None
            found = self.clusters[workload.cluster].secrets.get((target.namespace, target.name))
            value = found.data.get(target.key) if found else None
            try:
                return read(credential.shape, Secret(value or ""), "mounted").password.reveal()
            except Invalid:
                return None

        return from_vault if workload.delivery == "csi" else from_secret

    def spoil(self, name: str, how: Live) -> None:
        """Makes the live secret, or what its role has, other than a rotation expects it."""
        credential, slot = self.configuration.credential(name), self.active[name]
        if credential.format == "password" and how in {"role", "host", "database"}:
            how = "password"  # it names nothing else
        self.spoiled[name] = how
        current, login = self.current(credential, slot), credential.slots[slot]
        assert current is not None
        role, server = self.database.roles[login.role], server_of(credential)
        password = Secret(current.password)
        match how:
            case "newline":
                current.value += "\n"
            case "unreadable":
                current.value = "\n" if credential.format == "password" else '{"secret": "p"}'
            case "role":
                current.value = rendered(credential.format, "other", password, server).reveal()
            case "host":
                server = replace(server, host="other.example")
                current.value = rendered(credential.format, login.role, password, server).reveal()
            case "database":
                server = replace(server, database="other")
                current.value = rendered(credential.format, login.role, password, server).reveal()
            case "password":
                role.password = "set by hand"
            case "md5":
                role.md5 = True
            case _:
                assert_never(how)
        self.database.wrote()

    def report_the_past(self) -> None:
        """Lets each Deployment that does not serve report that an earlier rollout failed."""
        for deployment in self._deployments():
            if not deployment.replicas:
                deployment.past = "ProgressDeadlineExceeded"

    def schedule(self, runs: Runs) -> None:
        """Sets how all CronJobs run."""
        for cluster in self.clusters.values():
            for found in cluster.schedules.found.values():
                found.period, found.lasts = runs.period, runs.lasts
                found.policy, found.deadline = runs.policy, runs.deadline

    def advance(self) -> None:
        """Lets the CronJobs do what was due until now."""
        for cluster in self.clusters.values():
            cluster.schedules.advance()

    def configure(self) -> None:
        """Gives what serves a variable that the other slot has not, unless that is refused."""
        for _, _, workload in self.workloads():
            for deployment in self._deployments():
                mine = deployment.name in workload.deployments.values()
                if workload.template != "refuse" and mine and deployment.replicas:
                    deployment.env = {"CONFIG": "first"}

    def leave_strays(self) -> None:
        """Adds an evicted pod and a debug copy to each Deployment that serves."""
        for cluster in self.clusters.values():
            for deployment in cluster.deployments.values():
                if deployment.replicas:
                    cluster.leave_behind(deployment)

    def share_selectors(self) -> None:
        """Lets each Deployment select the pods of both slots of its workload."""
        for deployment in self._deployments():
            wanted = (Requirement("app", "In", (deployment.labels["app"],)),)
            deployment.selector = Selector(wanted)

    def _deployments(self) -> Iterator[DeploymentState]:
        for cluster in self.clusters.values():
            yield from cluster.deployments.values()

    def write(self, credential: Credential, slot: Slot, password: str) -> Version:
        """Writes a version of the slot's secret, as somebody else than the app writes it."""
        login = credential.slots[slot]
        value = rendered(credential.format, login.role, Secret(password), server_of(credential))
        return self.put(credential, slot, value.reveal())

    def put(self, credential: Credential, slot: Slot, value: str, **more: Any) -> Version:
        password = read(credential.shape, Secret(value), "new").password.reveal()
        for secret in {value, password}:
            self.values.append(secret)
        vault = self.vault(credential)
        return vault.put(credential.slots[slot].secret, value, password, **more)

    # What is true now

    def connections(self) -> int:
        """How many connections the database has: one for each pod, and those of others."""
        clusters = self.clusters.values()
        pods = sum(len(cluster.sessions()) for cluster in clusters)
        pods += sum(len(list(cluster.schedules.sessions())) for cluster in clusters)
        return pods + len(self.database.jobs)

    def vault(self, credential: Credential) -> VaultModel:
        return self.vault_at(credential.vault)

    def vault_at(self, url: str) -> VaultModel:
        return self.vaults.setdefault(url, VaultModel(self._clock))

    def current(self, credential: Credential, slot: Slot) -> Version | None:
        return self.vault(credential).latest(credential.slots[slot].secret)

    def serving(self, owner: Owner) -> list[str]:
        """The production Services that select the slot."""
        found = []
        for workload in self.configuration.credential(owner.credential).workloads:
            cluster = self.clusters[workload.cluster]
            for target in workload.productions:
                service = cluster.service(target)
                if service is not None and owner.slot in service.goes:
                    found.append(str(target))
            if workload.exchanged is not None:
                at = workload.exchanged
                if cluster.secrets[at.namespace, at.name].slot == owner.slot:
                    found.append(str(at))
        return found

    def strangers(self, target: DeploymentTarget) -> list[str]:
        """The Services that find a Deployment's pods, and that the configuration does not name."""
        known = {
            (workload.namespace, name)
            for _, _, workload in self.workloads()
            for name in (
                *(own.name for own in workload.own_services),
                *workload.other_services,
            )
        }
        return [
            f"{service.namespace}/{service.name}"
            for cluster in self.clusters.values()
            for key, service in cluster.services.items()
            if key not in known
            and (found := cluster.find(target)) is not None
            and service.namespace == found.namespace
            and service.selector.items() <= found.labels.items()
        ]

    def parts(self, owner: Owner) -> tuple[object, ...]:
        """The state of all parts of a slot, to be compared with a later one."""
        credential = self.configuration.credential(owner.credential)
        login = credential.slots[owner.slot]
        role = self.database.roles[login.role]
        versions = self.vault(credential).of(login.secret)
        parts: list[object] = [role.login, role.password, self.database.ended.get(login.role)]
        parts += [(v.version, v.disabled) for v in versions]
        for workload in credential.workloads:
            if workload.in_place:
                continue  # it is no part of a slot
            cluster, space = self.clusters[workload.cluster], workload.namespace
            parts.append(self._of_kind(cluster, space, workload, owner.slot))
            target = workload.secret_key(owner.slot)
            if target is not None:
                mounted = cluster.secrets[target.namespace, target.name]
                parts.append((dict(mounted.data), mounted.version))
        return tuple(parts)

    def _of_kind(
        self, cluster: ClusterModel, space: str, workload: Workload, slot: Slot
    ) -> tuple[object, ...]:
        """The state of what starts a slot's processes."""
        if workload.cron_jobs:
            job = cluster.schedules.found[space, workload.cron_jobs[slot]]
            return job.suspended, dict(job.images), dict(job.env), job.version
        found = cluster.deployments[space, workload.deployments[slot]]
        return found.replicas, dict(found.images), dict(found.env), found.version

    def password_of(self, owner: Owner) -> str | None:
        """The password that the slot's role logs in with just now; None where it has none."""
        login = self.configuration.credential(owner.credential).slots[owner.slot]
        return self.database.roles[login.role].password

    def logs_in(self, owner: Owner) -> str | None:
        """Why the slot's role cannot log in with its secret's current version, or None."""
        credential = self.configuration.credential(owner.credential)
        current = self.current(credential, owner.slot)
        if current is None or current.disabled is not None:
            return "its secret's current version is missing or disabled"
        if not self.database.accepts(credential.slots[owner.slot].role, current.password):
            return f"its role is refused with the current version {current.version}"
        return None

    def deployed(self) -> Iterator[tuple[str, Credential, Workload]]:
        """The workloads of Deployments."""
        return (each for each in self.workloads() if each[2].deployments)

    def workloads(self) -> Iterator[tuple[str, Credential, Workload]]:
        for name, credential in self.configuration.credentials.items():
            for workload in credential.workloads:
                yield name, credential, workload
