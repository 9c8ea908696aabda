"""The edges that the activities get: each verb is a call that can be held up, fail, or be cut off.

A call takes its effect in one moment. Between two calls anything else may happen.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rotation.model.errors import Conflict, Denied, Missing, Unavailable
from rotation.model.world import Answer, Role, Session
from rotation.secrecy import Secret, extract
from rotation.settings import Settings
from tests.simulation.scenario import TOPIC

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from rotation import config
    from rotation.model.world import Deployment, SecretVersion, Service
    from tests.simulation.calls import Calls
    from tests.simulation.cluster import DeploymentState
    from tests.simulation.world import World


class SimulatedEdges:
    """Implements `rotation.edges.Edges`."""

    def __init__(self, world: World, calls: Calls) -> None:
        self._world = world
        self._calls = calls
        self.configuration = world.configuration
        self.settings = Settings(topic=TOPIC if world.scenario.topic else None)

    def vault(self, url: str) -> SimulatedVault:
        return SimulatedVault(self._world, self._calls, url)

    def database(self, credential: config.Credential) -> SimulatedDatabase:
        return SimulatedDatabase(self._world, self._calls, credential)

    def cluster(self, name: str) -> SimulatedCluster:
        return SimulatedCluster(self._world, self._calls, name)

    def topic(self, endpoint: str) -> SimulatedTopic:  # noqa: ARG002 - there is one
        return SimulatedTopic(self._world, self._calls)

    def fetch(self, url: str, timeout: float) -> Answer:
        raise Unavailable(f"no test here asks a URL: {url} within {timeout} s")

    def now(self) -> datetime:
        return self._calls.clock.now

    def sleep(self, seconds: float) -> None:
        self._calls.fibers.pause(seconds)


class SimulatedVault:
    def __init__(self, world: World, calls: Calls, url: str) -> None:
        self._world, self._calls, self._url = world, calls, url
        self._model = world.vaults[url]

    def current(self, secret: str) -> SecretVersion | None:
        return self._calls.read(
            "vault", f"current {secret}", lambda age: self._model.current(secret, age)
        )

    def versions(self, secret: str) -> list[SecretVersion]:
        return self._calls.read(
            "vault", f"versions {secret}", lambda age: self._model.listed(secret, age)
        )

    def value(self, secret: str, version: str) -> Secret:
        def effect(_: float) -> Secret:
            found = self._model.find(secret, version or self._model.latest(secret).version)
            if found is None:
                raise Missing(f"secret {secret}/{version} is not there")
            if found.disabled is not None:
                raise Conflict(f"secret {secret}/{version} is disabled")
            return Secret(found.value)

        return self._calls.read("vault", f"value {secret}/{version}", effect)

    def put(
        self,
        secret: str,
        value: Secret,
        *,
        expires: datetime,
        content_type: str,
        tags: dict[str, str],
    ) -> SecretVersion:
        owner = self._world.owners[secret]
        credential = self._world.configuration.credential(owner.credential)

        def effect() -> SecretVersion:
            made = self._world.put(
                credential, owner.slot, value.reveal(), expires=expires, tags=tags
            )
            return made.seen(self._calls.clock.now)

        return self._calls.write("vault", f"put {secret} {content_type}", effect, owner)

    def disable(self, secret: str, version: str) -> None:
        def effect() -> None:
            found = self._model.find(secret, version)
            if found is None:
                raise Missing(f"secret {secret}/{version} is not there")
            found.disabled = found.disabled or self._calls.clock.now

        owner = self._world.owners[secret]
        self._calls.write("vault", f"disable {secret}/{version}", effect, owner, destroys=True)


class SimulatedDatabase:
    def __init__(self, world: World, calls: Calls, credential: config.Credential) -> None:
        self._world, self._calls = world, calls
        self._model = world.database
        self._credential = credential

    def roles(self, names: list[str]) -> dict[str, Role]:
        def effect(_: float) -> dict[str, Role]:
            known = {name: self._model.roles[name] for name in names if name in self._model.roles}
            return {name: Role(name, found.login, None) for name, found in known.items()}

        return self._calls.read("database", f"roles {' '.join(names)}", effect)

    def activate(self, role: str, password: Secret) -> None:
        def effect() -> None:
            if role not in self._model.roles:
                raise Missing(f"role {role} does not exist")
            self._model.roles[role].login = True
            self._model.roles[role].password = password.reveal()

        self._calls.write("database", f"activate {role}", effect, self._world.owners[role])

    def deactivate(self, role: str) -> None:
        def effect() -> None:
            if role not in self._model.roles:
                raise Missing(f"role {role} does not exist")
            self._model.roles[role].login = False
            self._model.roles[role].password = None

        owner = self._world.owners[role]
        self._calls.write("database", f"deactivate {role}", effect, owner, destroys=True)

    def terminate(self, role: str) -> int:
        def effect() -> int:
            ended = self._model.jobs.count(role)
            self._model.jobs = [job for job in self._model.jobs if job != role]
            ended += sum(cluster.drop_sessions(role) for cluster in self._world.clusters.values())
            self._model.ended[role] = self._model.ended.get(role, 0) + ended
            return ended

        owner = self._world.owners[role]
        return self._calls.write("database", f"terminate {role}", effect, owner, destroys=True)

    def sessions(self, roles: list[str]) -> list[Session]:
        def effect(_: float) -> list[Session]:
            pods = [
                Session(role, deployment.name.rpartition("-")[0], "10.0.0.1", "idle", None)
                for cluster in self._world.clusters.values()
                for role, deployment in cluster.sessions()
                if role in roles
            ]
            jobs = [role for role in self._model.jobs if role in roles]
            return pods + [Session(role, "report", "10.0.0.9", "active", None) for role in jobs]

        return self._calls.read("database", f"sessions {' '.join(roles)}", effect)

    def login(self, role: str, password: Secret) -> None:
        def effect(_: float) -> None:
            if not self._model.accepts(role, password.reveal()):
                raise Denied(f"the server says of role {role}: password authentication failed")

        self._calls.read("database", f"login {role}", effect)


class SimulatedCluster:
    def __init__(self, world: World, calls: Calls, name: str) -> None:
        self._world, self._calls, self._name = world, calls, name
        self._model = world.clusters[name]

    def service(self, namespace: str, name: str, label: str) -> Service | None:
        return self._calls.read(
            "cluster", f"service {name} {label}", lambda _: self._model.service(namespace, name)
        )

    def deployment(self, namespace: str, name: str) -> Deployment | None:
        return self._calls.read(
            "cluster", f"deployment {name}", lambda _: self._model.deployment(namespace, name)
        )

    def pods(self, namespace: str, deployment: str) -> list[str]:
        self._deployment(namespace, deployment)
        return self._calls.read(
            "cluster", f"pods {deployment}", lambda _: self._model.pods(namespace, deployment)
        )

    def _deployment(self, namespace: str, name: str) -> DeploymentState:
        found = self._model.deployments.get((namespace, name))
        if found is None:
            raise Missing(f"Deployment {namespace}/{name} is not there")
        return found

    def put_secret(self, namespace: str, name: str, key: str, value: Secret, version: str) -> None:
        owner = self._world.owners[f"{namespace}/{name}"]
        shape = self._world.configuration.credential(owner.credential).format

        def effect() -> None:
            password = extract(shape, value, version).reveal()
            self._model.secrets[namespace, name] = (value.reveal(), password)

        self._calls.write("cluster", f"put_secret {name} {key} {version}", effect, owner)

    def start(
        self, namespace: str, name: str, *, replicas: int, images: dict[str, str], version: str
    ) -> None:
        def effect() -> None:
            found = self._deployment(namespace, name)
            self._model.roll(found, images, version)
            self._model.scale(found, replicas)

        owner = self._world.owners[f"{namespace}/{name}"]
        self._calls.write("cluster", f"start {name} {replicas} {version}", effect, owner)

    def watch_deployment(
        self, namespace: str, name: str, until: Callable[[Deployment], bool], seconds: float
    ) -> Deployment:
        end = self._calls.clock.after(seconds)

        def look(_: float) -> Deployment:
            found = self._model.deployment(namespace, name)
            if found is None:
                raise Missing(f"Deployment {namespace}/{name} is not there")
            return found

        state = self._calls.read("cluster", f"watch {name}", look)
        while not until(state) and self._calls.clock.now < end:
            self._calls.fibers.pause(1.0)
            state = look(0.0)
        return state

    def watch_gone(self, namespace: str, name: str, seconds: float) -> list[str]:
        end = self._calls.clock.after(seconds)

        def look(_: float) -> list[str]:
            self._deployment(namespace, name)
            return self._model.pods(namespace, name)

        left = self._calls.read("cluster", f"watch_gone {name}", look)
        while left and self._calls.clock.now < end:
            self._calls.fibers.pause(1.0)
            left = look(0.0)
        return left

    def scale(self, namespace: str, name: str, replicas: int) -> None:
        owner = self._world.owners[f"{namespace}/{name}"]
        self._calls.write(
            "cluster",
            f"scale {name} to {replicas}",
            lambda: self._model.scale(self._deployment(namespace, name), replicas),
            owner if replicas < self._deployment(namespace, name).replicas else None,
            destroys=replicas == 0,
        )

    def select(
        self,
        namespace: str,
        name: str,
        label: str,
        expected: str,
        slot: str,
        *,
        revision: str | None = None,
    ) -> None:
        def effect() -> None:
            found = self._model.services.get((namespace, name))
            if found is None:
                raise Missing(f"Service {namespace}/{name} is not there")
            if found.slot not in {slot, expected}:
                raise Conflict(f"Service {namespace}/{name} selects {found.slot}, not {expected}")
            if found.slot == expected and revision not in {None, str(found.revision)}:
                raise Unavailable(f"Service {namespace}/{name} was changed meanwhile")
            self._model.select(found, slot)

        self._calls.write("cluster", f"select {name} {label}: {expected} -> {slot}", effect)

    def seal(self, namespace: str, name: str, token: str) -> None:
        def effect() -> None:
            found = self._model.services.get((namespace, name))
            if found is None:
                raise Missing(f"Service {namespace}/{name} is not there")
            self._model.seal(found, token)

        self._calls.write("cluster", f"seal {name}", effect)

    def fetch(self, service: Service, path: str, timeout: float) -> Answer:
        def effect(_: float) -> Answer:
            return answer(self._world, self._name, service)

        return self._calls.read("cluster", f"fetch {service.name}{path} {timeout:.0f}", effect)


def answer(world: World, cluster: str, service: Service) -> Answer:
    """What the workload behind a Service says of itself, through the API server's proxy."""
    model = world.clusters[cluster]
    state = model.services.get((service.namespace, service.name))
    deployment = state and model.deployments.get(
        (service.namespace, f"{service.name.removesuffix('-preview')}-{state.slot}")
    )
    if not deployment or not any(model.ready(deployment, pod) for pod in deployment.pods):
        raise Unavailable(f"Service {service.namespace}/{service.name}: HTTP 503, no endpoints")
    through = "preview" if service.name.endswith("-preview") else "service"
    owner = world.owners[deployment.role]
    flawed = world.flaw == through and world.scenario.active[owner.credential] != owner.slot
    if flawed:
        return Answer(500, b"{}")
    return Answer(200, json.dumps({"role": deployment.role}).encode())


class SimulatedTopic:
    def __init__(self, world: World, calls: Calls) -> None:
        self._world, self._calls = world, calls

    def publish(self, event: Mapping[str, Any]) -> None:
        def effect() -> None:
            self._world.published.append(dict(event))

        self._calls.write("topic", f"publish {event['id']} {event['eventType']}", effect)
