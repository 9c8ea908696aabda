"""The edges on the models: what `rotation.contracts` promises, without a network.

A call takes its effect in one moment. Between two calls anything else may happen.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

from rotation.contracts.pods import Exchanged
from rotation.model.errors import Conflict, Denied, Invalid, Missing, Unavailable
from rotation.model.preconditions import RoleStanding, ServerStanding, VaultStanding
from rotation.model.reasons import Code
from rotation.model.targets import RouteTarget
from rotation.model.world import (
    PLAIN,
    SLOTS,
    Answer,
    Differences,
    Role,
    Session,
    SlotSecret,
    other,
    shown_slot,
)
from rotation.secrecy import Secret
from rotation.settings import Settings
from tests.memory.calls import Change, Direct
from tests.memory.clock import START, Agenda, Clock
from tests.memory.cluster import HttpRouteState
from tests.memory.database import accepts
from tests.memory.jobs import MemoryJobs
from tests.memory.store import MemoryStore, StoreModel
from tests.memory.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from typing import Literal

    from rotation.config import Condition, Configuration, Credential
    from rotation.contracts.store import Container
    from rotation.model.preconditions import Limit, Right
    from rotation.model.targets import (
        CronJobTarget,
        DeploymentTarget,
        SecretKeyTarget,
        SecretTarget,
        ServiceTarget,
        SlotSecretTarget,
        TrafficTarget,
    )
    from rotation.model.wire import JsonObject
    from rotation.model.world import (
        CronJob,
        Deployment,
        Found,
        Maker,
        Manner,
        Pod,
        Query,
        Route,
        RouteSeen,
        Routing,
        SecretVersion,
        Slot,
        StartedJob,
        Template,
    )
    from tests.memory.calls import Calls
    from tests.memory.cluster import DeploymentState, SecretState, ServiceState
    from tests.memory.cron_jobs import CronJobState
    from tests.memory.database import Roles

T = TypeVar("T")
PLENTY = 1000  # connections of a server without a limit


class WorldEdges:
    """Implements `rotation.contracts.edges.Edges` on a world, by way of `calls`."""

    def __init__(self, world: World, calls: Calls, clock: Clock, settings: Settings) -> None:
        self.world = world
        self.clock = clock
        self.configuration = world.configuration
        self.settings = settings
        self._calls = calls

    def planned(self, configuration: Configuration) -> WorldEdges:
        twin = copy.copy(self)
        twin.configuration = configuration
        return twin

    def vault(self, url: str) -> MemoryVault:
        return MemoryVault(self.world, self._calls, self.clock, url)

    def database(self, credential: Credential) -> MemoryDatabase:
        host, port = credential.database.host, credential.database.port
        return MemoryDatabase(self.world, self._calls, f"{host}:{port}")

    def replicas(self, credential: Credential) -> list[MemoryReplica]:
        return [
            MemoryReplica(self.world, self._calls, f"{host}:{port}")
            for host, port in credential.database.reads_from
        ]

    def endpoint(self, credential: Credential) -> MemoryPooler | None:
        if credential.database.endpoint is None:
            return None
        host, port = credential.database.serves_at
        return MemoryPooler(self.world, self._calls, f"{host}:{port}")

    def traffic(self, cluster: str) -> MemoryTraffic:
        return MemoryTraffic(self.world, self._calls, self._named(cluster))

    def pods(self, cluster: str) -> MemoryPods:
        return MemoryPods(self.world, self._calls, self.clock, self._named(cluster))

    def cron_jobs(self, cluster: str) -> MemoryCronJobs:
        return MemoryCronJobs(self.world, self._calls, self._named(cluster))

    def jobs(self, cluster: str) -> MemoryJobs:
        model = self.world.clusters[self._named(cluster)].jobs
        return MemoryJobs(model, self._calls, self.clock)

    def access(self, cluster: str) -> MemoryAccess:
        return MemoryAccess(self.world, self._calls, self.clock, self._named(cluster))

    def _named(self, cluster: str) -> str:
        """The world's name for a cluster: what the configuration calls so may be another one now.

        Raises `Unavailable` for a server that is none of this world.
        """
        wanted, known = self.configuration.clusters[cluster], self.world.configuration.clusters
        for name in [cluster, *known]:
            if known.get(name) == wanted:
                return name
        text = f"cluster {cluster} could not be reached at {wanted.server}"
        raise Unavailable(Code.CLUSTER_UNAVAILABLE, text)

    def topic(self, endpoint: str) -> MemoryTopic:  # noqa: ARG002 - there is one
        return MemoryTopic(self.world, self._calls)

    def store(self, container: Container) -> MemoryStore:
        if self.world.stores is None:
            raise Missing(Code.STORAGE_UNSET, "the app has no storage account of its own")
        model = self.world.stores.setdefault(container, StoreModel())
        return MemoryStore(model, self._calls, container)

    def fetch(
        self, url: str, timeout: float, manner: Manner = PLAIN, authority: str | None = None
    ) -> Answer:
        def effect(_: float) -> Answer:
            if not self.world.scripted:
                raise Unavailable(Code.TEST_NO_ANSWER, f"GET {url} got no answer")
            return scripted(self.world)

        trusting = f" trusting {authority}" if authority else ""
        return self._calls.read("web", f"fetch {url} {timeout:g}{_how(manner)}{trusting}", effect)

    def measure(self, condition: Condition, timeout: float) -> list[float]:
        def effect(_: float) -> list[float]:
            found = self.world.metrics.get(condition.name, 0.0)
            found = found() if callable(found) else found
            if isinstance(found, Exception):
                raise found
            return [] if found is None else [found]

        return self._calls.read("metrics", f"measure {condition.name} {timeout:g}", effect)

    def trusts(self, authority: str) -> None:
        self._calls.read("web", f"trusts {authority}", lambda _: None)

    def side_by_side(self, calls: Sequence[Callable[[], T]], seconds: float) -> list[T | None]:
        """One after the other: threads would draw faults in an order that no seed gives."""
        del seconds
        return [call() for call in calls]

    def now(self) -> datetime:
        return self.clock.now

    def sleep(self, seconds: float) -> None:
        self._calls.pause(seconds)


class MemoryEdges(WorldEdges):
    """For unit tests: every credential whole and served by blue, unless `active` says otherwise.

    What was called is in `calls`, what there is in `world`; both may be changed, and `clock` set.
    """

    def __init__(
        self,
        configuration: Configuration,
        settings: Settings = Settings(),  # noqa: B008 - it is frozen
        now: datetime = START,
        active: dict[str, Slot] | None = None,
    ) -> None:
        clock = Clock(now)
        agenda = Agenda(clock)
        self.calls = Direct(clock, agenda)
        world = World(configuration, clock, agenda, active=active)
        super().__init__(world, self.calls, clock, settings)
        self.calls.pause(0.0)  # until all pods are up


class MemoryVault:
    """Implements `contracts.vault.Vault`."""

    def __init__(self, world: World, calls: Calls, clock: Clock, url: str) -> None:
        self._world, self._calls, self._clock, self._url = world, calls, clock, url
        self._model = world.vault_at(url)

    def current(self, secret: SecretTarget) -> SecretVersion | None:
        return self._calls.read(
            "vault", f"current {secret.name}", lambda age: self._model.current(secret.name, age)
        )

    def versions(self, secret: SecretTarget) -> list[SecretVersion]:
        return self._calls.read(
            "vault", f"versions {secret.name}", lambda age: self._model.listed(secret.name, age)
        )

    def value(self, secret: SecretTarget) -> Secret:
        def effect(_: float) -> Secret:
            found = (
                self._model.find(secret.name, secret.version)
                if secret.version
                else self._model.latest(secret.name)
            )
            if found is None:
                raise Missing(Code.VAULT_MISSING, f"secret {secret} is not there")
            if found.disabled is not None:
                raise Conflict(Code.VAULT_DISABLED, f"secret {secret}: this version is disabled")
            return Secret(found.value)

        return self._calls.read("vault", f"value {secret}", effect)

    def standing(self, secret: SecretTarget) -> VaultStanding:
        def effect(_: float) -> VaultStanding:
            return VaultStanding(self._model.may_set, self._clock.now + self._model.ahead)

        return self._calls.read("vault", f"standing {secret}", effect)

    def put(
        self,
        secret: SecretTarget,
        value: Secret,
        *,
        expires: datetime,
        content_type: str,
        tags: dict[str, str],
    ) -> SecretVersion:
        def effect() -> SecretVersion:
            owner = self._world.owners.get(secret.name)
            if owner is None:
                clear = value.reveal()
                made = self._model.put(secret.name, clear, clear, expires, dict(tags), content_type)
            else:
                credential = self._world.configuration.credential(owner.credential)
                made = self._world.put(
                    credential,
                    owner.slot,
                    value.reveal(),
                    expires=expires,
                    tags=dict(tags),
                    content_type=content_type,
                )
            return made.seen(self._clock.now)

        what = f"put {secret.name} {content_type}"
        return self._calls.write("vault", what, effect, _change(self._world, secret.name))

    def disable(self, secret: SecretTarget) -> None:
        def effect() -> None:
            found = self._model.find(secret.name, secret.version or "")
            if found is None:
                raise Missing(Code.VAULT_MISSING, f"secret {secret} is not there")
            found.disabled = found.disabled or self._clock.now

        change = _change(self._world, secret.name, "destroys")
        self._calls.write("vault", f"disable {secret}", effect, change)


class MemoryReplica:
    """Implements `contracts.database.Replica`: the roles as they were a while ago."""

    def __init__(self, world: World, calls: Calls, address: str) -> None:
        self._world, self._calls = world, calls
        self._model = world.database
        self.address = address

    @property
    def _verb(self) -> str:
        """How its calls are told from the server's, by their ends."""
        return f" at {self.address}"

    @property
    def _roles(self) -> Roles:
        return self._model.replayed

    def roles(self, names: list[str]) -> dict[str, Role]:
        def effect(_: float) -> dict[str, Role]:
            self._connect()
            known = {name: self._roles[name] for name in names if name in self._roles}
            return {
                name: Role(name, found.login, found.valid_until) for name, found in known.items()
            }

        return self._calls.read("database", f"roles {' '.join(names)}{self._verb}", effect)

    def terminate(self, role: str) -> int:
        def effect() -> int:
            left = [session for session in self._model.readers if session.role != role]
            ended = len(self._model.readers) - len(left)
            self._model.readers = left
            return ended

        what = f"terminate {role}{self._verb}"
        return self._calls.write("database", what, effect, _change(self._world, role, "destroys"))

    def standing(self, roles: list[str]) -> ServerStanding:
        def effect(_: float) -> ServerStanding:
            self._connect()
            model, counts = self._model, Counter(one.role for one in self._all())
            most = PLENTY if model.most is None else model.most
            found = {
                name: RoleStanding(
                    alterable=name not in model.foreign,
                    connects=name not in model.barred,
                    limit=None,
                    sessions=counts[name],
                )
                for name in roles
                if name in self._roles
            }
            if not found:
                raise _no_role(" and ".join(roles))
            free, now = most - len(self._all()), model.clock.now
            return ServerStanding(
                roles=found,
                creates=model.creates,
                ends=model.ends,
                sees=model.sees,
                most=most,
                free=free,
                database_free=None,
                hashes=model.hashes,
                clock=now,
            )

        return self._calls.read("database", f"standing {' '.join(roles)}{self._verb}", effect)

    def sessions(self, roles: list[str]) -> list[Session]:
        def effect(_: float) -> list[Session]:
            return [session for session in self._all() if session.role in roles]

        return self._calls.read("database", f"sessions {' '.join(roles)}{self._verb}", effect)

    def _all(self) -> list[Session]:
        return self._model.readers

    def login(self, role: str, password: Secret) -> None:
        what = f"login {role}{self._verb}"
        self._calls.read("database", what, lambda _: self._enter(role, password))

    def query(self, role: str, password: Secret, query: Query) -> Found:
        def effect(_: float) -> Found:
            self._enter(role, password)
            return self._model.found(query)

        return self._calls.read("database", f"query {role} {_asked(query)}{self._verb}", effect)

    def differences(self, role: str, password: Secret, other: str) -> Differences:
        def effect(_: float) -> Differences:
            self._enter(role, password)
            lacking = self._model.lacking if other in self._roles else {}
            return Differences(lacking.get(other, ()), lacking.get(role, ()))

        return self._calls.read("database", f"differences {role} {other}{self._verb}", effect)

    def _enter(self, role: str, password: Secret) -> None:
        """Raises for a login that is refused."""
        self._connect()
        if role in self._roles and self._roles[role].md5:
            text = f"the server says of role {role}: server requested a hashed password"
            raise Invalid(Code.LOGIN_NOT_SCRAM, text)
        if not accepts(self._roles, role, password.reveal()):
            text = f"the server says of role {role}: password authentication failed"
            raise Denied(Code.LOGIN_REFUSED, text)

    def _connect(self) -> None:
        """Raises `Unavailable` if the server has no connection left; a replica always has some."""


class MemoryPooler:
    """Implements `contracts.database.Entrance`: lets in whom both it and the server know."""

    def __init__(self, world: World, calls: Calls, address: str) -> None:
        self._calls, self._model = calls, world.database
        self.address = address

    def login(self, role: str, password: Secret) -> None:
        what = f"login {role} through {self.address}"
        self._calls.read("database", what, lambda _: self._enter(role, password))

    def query(self, role: str, password: Secret, query: Query) -> Found:
        def effect(_: float) -> Found:
            self._enter(role, password)
            return self._model.found(query)

        what = f"query {role} {_asked(query)} through {self.address}"
        return self._calls.read("database", what, effect)

    def _enter(self, role: str, password: Secret) -> None:
        """Raises for a login that is refused."""
        for roles in (self._model.pooled, self._model.roles):
            if not accepts(roles, role, password.reveal()):
                text = f"the server says of role {role}: SASL authentication failed"
                raise Denied(Code.LOGIN_REFUSED, text)


class MemoryDatabase(MemoryReplica):
    """Implements `contracts.database.Database`."""

    _verb = ""

    @property
    def _roles(self) -> Roles:
        return self._model.roles

    def activate(self, role: str, password: Secret) -> None:
        def effect() -> None:
            self._connect()
            if role not in self._model.roles:
                raise _no_role(role)
            found = self._model.roles[role]
            found.login, found.password, found.valid_until = True, password.reveal(), None
            found.md5 = False
            self._model.wrote()

        self._calls.write("database", f"activate {role}", effect, _change(self._world, role))

    def deactivate(self, role: str) -> None:
        def effect() -> None:
            self._connect()
            if role not in self._model.roles:
                raise _no_role(role)
            found = self._model.roles[role]
            found.login, found.password = False, None
            self._model.wrote()

        change = _change(self._world, role, "destroys")
        self._calls.write("database", f"deactivate {role}", effect, change)

    def terminate(self, role: str) -> int:
        def effect() -> int:
            self._connect()
            left = [job for job in self._model.jobs if job.role != role]
            ended = len(self._model.jobs) - len(left)
            self._model.jobs = left
            ended += sum(cluster.drop_sessions(role) for cluster in self._world.clusters.values())
            self._model.ended[role] = self._model.ended.get(role, 0) + ended
            return ended

        change = _change(self._world, role, "destroys")
        return self._calls.write("database", f"terminate {role}", effect, change)

    def _all(self) -> list[Session]:
        self._connect()
        pods = [
            Session(role, deployment.name.rpartition("-")[0], pod.address, "idle", None)
            for cluster in self._world.clusters.values()
            for role, deployment, pod in cluster.sessions()
        ]
        for cluster in self._world.clusters.values():
            cluster.schedules.advance()
            pods += [
                Session(role, cron_job.name.rpartition("-")[0], job.address, "idle", None)
                for role, cron_job, job in cluster.schedules.sessions()
            ]
        return pods + self._model.jobs

    def _connect(self) -> None:
        if self._model.full():
            text = "the server says: too many clients already"
            raise Unavailable(Code.DATABASE_FULL, text)


def _no_role(role: str) -> Missing:
    return Missing(Code.DATABASE_MISSING, f"role {role} does not exist")


def _asked(query: Query) -> str:
    """What a test's query asks, and what it must find, if it must find anything."""
    wanted = "" if query.expected is None else f" for {query.expected}"
    return f"{query.statement} {query.timeout:g}{wanted}"


def _how(manner: Manner) -> str:
    """What a test asks with, beside a plain GET."""
    if manner == PLAIN:
        return ""
    headers = ", ".join(f"{name}: {value}" for name, value in sorted(manner.headers.items()))
    body = (manner.body or b"").decode()
    return f" by {manner.scheme} {manner.method} [{headers}] {body}".rstrip()


class MemoryTraffic:
    """Implements `contracts.traffic.Traffic`."""

    def __init__(self, world: World, calls: Calls, cluster: str) -> None:
        self._world, self._calls = world, calls
        self._model = world.clusters[cluster]

    def route(self, target: TrafficTarget) -> Route | None:
        label = target.kind if isinstance(target, RouteTarget) else target.label
        what = f"route {target} {label}"
        return self._calls.read("cluster", what, lambda _: self._model.route(target))

    def http_routes(self, namespace: str) -> tuple[RouteSeen, ...]:
        what = f"http_routes {namespace}"
        return self._calls.read("cluster", what, lambda _: self._model.seen_http_routes(namespace))

    def shift(
        self,
        target: RouteTarget,
        to: Slot,
        share: int,
        *,
        revision: str | None = None,
        by: str | None = None,
    ) -> None:
        def effect() -> None:
            found = self._service(target)
            assert isinstance(found, HttpRouteState)
            if found.lacks:
                raise Conflict(Code.ROUTE_BACKENDS, f"HTTPRoute {target}: {found.lacks[0]}")
            if found.shares.get(to, 0) >= share:
                return
            if revision not in {None, str(found.revision)}:
                raise Unavailable(Code.TRAFFIC_CHANGED, f"HTTPRoute {target} was changed meanwhile")
            self._model.share(found, {to: share, other(to): 100 - share})
            found.by = by or found.by

        self._calls.write("cluster", f"shift {target}: {share} % -> {to}", effect)

    def move(
        self,
        target: ServiceTarget,
        came_from: str,
        to: Slot,
        *,
        revision: str | None = None,
        by: str | None = None,
    ) -> None:
        def effect() -> None:
            found = self._service(target)
            selected = found.selector.get(target.label)
            if selected not in {to, came_from}:
                text = f"Service {target} selects {shown_slot(selected)}, not {came_from}"
                raise Conflict(Code.TRAFFIC_ELSEWHERE, f"{text}; somebody else changed it")
            if selected == came_from and revision not in {None, str(found.revision)}:
                raise Unavailable(Code.TRAFFIC_CHANGED, f"Service {target} was changed meanwhile")
            self._model.select(found, to)
            if selected != to:
                found.by = by or found.by

        what = f"move {target} {target.label}: {came_from} -> {to}"
        self._calls.write("cluster", what, effect, self._previewed(target, to))

    def _previewed(self, target: ServiceTarget, to: Slot) -> Change | None:
        """The change of a slot that moving a preview Service is; None for a production one."""
        found = self._model.service(target)
        backend = found.backends.get(to) if found and found.preview else None
        return _change(self._world, f"{target.namespace}/{backend}", "previews")

    def fence(self, target: TrafficTarget, token: str) -> None:
        def effect() -> None:
            self._model.fence(self._service(target), token)

        self._calls.write("cluster", f"fence {target}", effect)

    def routing(self, namespace: str) -> Routing:
        what = f"routing {namespace}"
        return self._calls.read("cluster", what, lambda _: self._model.routing(namespace))

    def ask(
        self, target: ServiceTarget, path: str, timeout: float, manner: Manner = PLAIN
    ) -> Answer:
        def effect(_: float) -> Answer:
            if {".", ".."} & set(unquote(path.partition("?")[0]).split("/")):
                raise Invalid(Code.TEST_PATH, f"Service {target} at {path}: dots would lead out")
            found = self._service(target, Code.SERVICE_MISSING)
            if self._world.scripted:
                return scripted(self._world)
            deployment = self._model.answers(found)
            if deployment is None:
                text = f"Service {target} at {path}: HTTP 503, the Service has no ready pod"
                raise Unavailable(Code.PROXY_NO_PODS, text)
            return self._answer(found, deployment)

        port = f":{target.port}" if target.port else ""
        return self._calls.read(
            "cluster", f"ask {target}{port}{path} {timeout:g}{_how(manner)}", effect
        )

    def _answer(self, service: ServiceState, deployment: DeploymentState) -> Answer:
        """The answer in which a workload says who it is."""
        if self._flawed(service):
            owner = self._world.owners[self._role(deployment)]
            if self._world.active[owner.credential] != owner.slot:
                return Answer(500, b"{}")
        return Answer(200, json.dumps({"role": self._role(deployment)}).encode())

    def _role(self, deployment: DeploymentState) -> str:
        """The role of the pod that answers: the first one that is ready."""
        ready = (pod for pod in deployment.pods if self._model.ready(deployment, pod))
        return deployment.role_of(next(ready))

    def _flawed(self, service: ServiceState) -> bool:
        """Whether the workload's own fault shows in an answer through the Service: for one that is
        a slot's own, by whether any request of clients goes there."""
        if not service.own:
            return self._world.flaw == ("preview" if service.preview else "service")
        routes = self._model.http_routes.values()
        serves = any(service.own in route.goes for route in routes if service.name in route.names)
        return self._world.flaw == ("service" if serves else "preview")

    def _service(self, target: TrafficTarget, code: Code = Code.CLUSTER_MISSING) -> ServiceState:
        found = self._model.service(target)
        if found is None:
            raise Missing(code, f"{target.kind} {target} is not there")
        return found


class MemoryPods:
    """Implements `contracts.pods.Pods`."""

    def __init__(self, world: World, calls: Calls, clock: Clock, cluster: str) -> None:
        self._world, self._calls, self._clock = world, calls, clock
        self._model = world.clusters[cluster]

    def deployment(self, target: DeploymentTarget) -> Deployment | None:
        what = f"deployment {target}"
        return self._calls.read("cluster", what, lambda _: self._model.deployment(target))

    def listed(self, target: DeploymentTarget) -> list[Pod]:
        def effect(_: float) -> list[Pod]:
            self._find(target)
            return sorted(self._model.listed(target), key=lambda pod: pod.name)

        return self._calls.read("cluster", f"listed {target}", effect)

    def makers(self, namespace: str, labels: dict[str, str]) -> list[Maker]:
        what = f"makers {namespace}"
        return self._calls.read("cluster", what, lambda _: self._model.makers(namespace, labels))

    def watch(
        self, target: DeploymentTarget, until: Callable[[Deployment], bool], seconds: float
    ) -> Deployment:
        def look(_: float) -> Deployment:
            found = self._model.deployment(target)
            if found is None:
                raise _gone(target)
            return found

        end = self._clock.after(seconds)
        state = self._calls.read("cluster", f"watch {target}", look)
        while not until(state) and self._clock.now < end:
            self._calls.pause(1.0)
            state = look(0.0)
        return state

    def watch_gone(self, target: DeploymentTarget, seconds: float) -> list[str]:
        def look(_: float) -> list[str]:
            self._find(target)
            return sorted(pod.name for pod in self._model.listed(target))

        end = self._clock.after(seconds)
        left = self._calls.read("cluster", f"watch_gone {target}", look)
        while left and self._clock.now < end:
            self._calls.pause(1.0)
            left = look(0.0)
        return left

    def exchanged(self, target: SlotSecretTarget) -> Exchanged | None:
        def effect(_: float) -> Exchanged | None:
            found = self._model.secrets.get((target.namespace, target.name))
            if found is None:
                return None
            texts = {key: Secret(text) for key, text in found.data.items()}
            slot = next((each for each in SLOTS if each == found.slot), None)
            return Exchanged(
                SlotSecret(slot, found.immutable, str(found.revision), found.fence, found.by),
                texts.get(target.key),
                texts.get(target.role_key or ""),
            )

        return self._calls.read("cluster", f"exchanged {target}", effect)

    def exchange(
        self,
        target: SlotSecretTarget,
        slot: Slot,
        login: tuple[str, Secret],
        *,
        version: str,
        revision: str,
        by: str,
    ) -> None:
        def effect() -> None:
            found = self._secret(target)
            if revision != str(found.revision):
                raise Unavailable(Code.CLUSTER_CONFLICT, f"Secret {target}: HTTP 409 Conflict")
            if found.immutable:
                raise Invalid(Code.CLUSTER_ERROR, f"Secret {target}: HTTP 422 Invalid data")
            role, value = login
            found.data[target.key] = value.reveal()
            if target.role_key is not None:
                found.data[target.role_key] = role
            found.slot, found.by, found.revision = slot, by, found.revision + 1
            for each in self._model.deployments.values():
                if (each.namespace, each.secret) == (target.namespace, target.name):
                    self._model.exchange(each)

        self._calls.write("cluster", f"exchange {target} {slot} {version}", effect)

    def fence_secret(self, target: SlotSecretTarget, token: str) -> None:
        def effect() -> None:
            found = self._secret(target)
            if found.fence != token:
                found.fence, found.revision = token, found.revision + 1

        self._calls.write("cluster", f"fence_secret {target}", effect)

    def restart(
        self, target: DeploymentTarget, *, version: str, exchange: str, revision: str, by: str
    ) -> None:
        def effect() -> None:
            found = self._unchanged(target, revision)
            self._model.restart(found, version, exchange)
            found.by = by

        self._calls.write("cluster", f"restart {target} {exchange}", effect)

    def _secret(self, target: SlotSecretTarget) -> SecretState:
        found = self._model.secrets.get((target.namespace, target.name))
        if found is None:
            raise Missing(Code.CLUSTER_MISSING, f"Secret {target} is not there")
        return found

    def deliver(self, target: SecretKeyTarget, value: Secret, version: str) -> None:
        def effect() -> None:
            found = self._model.secrets.get((target.namespace, target.name))
            if found is None:
                raise Missing(Code.CLUSTER_MISSING, f"Secret {target} is not there")
            found.data[target.key], found.version = value.reveal(), version

        change = _change(self._world, str(target))
        self._calls.write("cluster", f"deliver {target} {target.key} {version}", effect, change)

    def start(
        self,
        target: DeploymentTarget,
        *,
        replicas: int,
        images: dict[str, str],
        version: str | None,
        revision: str | None = None,
        by: str | None = None,
    ) -> None:
        def effect() -> None:
            found = self._unchanged(target, revision)
            if replicas < 0:
                text = f"Deployment {target}: HTTP 422 Invalid spec.replicas"
                raise Invalid(Code.CLUSTER_ERROR, text)
            self._model.roll(found, images, found.version if version is None else version)
            self._model.scale(found, replicas)
            found.by = by or found.by

        change = _change(self._world, str(target))
        self._calls.write("cluster", f"start {target} {replicas} {version}", effect, change)

    def sync(
        self,
        target: DeploymentTarget,
        template: Template,
        *,
        replicas: int,
        version: str | None,
        revision: str | None = None,
        by: str | None = None,
    ) -> None:
        def effect() -> None:
            found = self._unchanged(target, revision)
            self._model.sync(found, template, found.version if version is None else version)
            self._model.scale(found, replicas)
            found.by = by or found.by

        change = _change(self._world, str(target))
        self._calls.write("cluster", f"sync {target} {replicas} {version}", effect, change)

    def scale(
        self,
        target: DeploymentTarget,
        replicas: int,
        *,
        revision: str | None = None,
        by: str | None = None,
    ) -> None:
        def effect() -> None:
            changed = self._unchanged(target, revision)
            self._model.scale(changed, replicas)
            if by is not None and changed.by != by:
                changed.by = by
                changed.changes += 1

        found = self._model.find(target)
        kind: Literal["destroys", "alters", "raises"] = "destroys" if replicas == 0 else "raises"
        if found and 0 < replicas < found.replicas:
            kind = "alters"
        self._calls.write(
            "cluster",
            f"scale {target} to {replicas}",
            effect,
            _change(self._world, str(target), kind),
        )

    def _unchanged(self, target: DeploymentTarget, revision: str | None) -> DeploymentState:
        """The Deployment, if it is as it was at the revision."""
        found = self._find(target)
        if revision not in {None, str(found.changes)}:
            raise Unavailable(Code.CLUSTER_CONFLICT, f"Deployment {target}: HTTP 409 Conflict")
        return found

    def _find(self, target: DeploymentTarget) -> DeploymentState:
        found = self._model.find(target)
        if found is None:
            raise _gone(target)
        return found


class MemoryCronJobs:
    """Implements `contracts.cron_jobs.CronJobs`."""

    def __init__(self, world: World, calls: Calls, cluster: str) -> None:
        self._world, self._calls = world, calls
        self._model = world.clusters[cluster].schedules

    def cron_job(self, target: CronJobTarget) -> CronJob | None:
        def effect(_: float) -> CronJob | None:
            self._model.advance()
            found = self._model.found.get((target.namespace, target.name))
            return self._model.seen(found) if found else None

        return self._calls.read("cluster", f"cron_job {target}", effect)

    def jobs(self, target: CronJobTarget) -> list[StartedJob]:
        def effect(_: float) -> list[StartedJob]:
            return self._model.jobs(self._find(target))

        return self._calls.read("cluster", f"jobs {target}", effect)

    def pods(self, target: CronJobTarget) -> list[Pod]:
        def effect(_: float) -> list[Pod]:
            return self._model.pods(self._find(target))

        return self._calls.read("cluster", f"pods of jobs {target}", effect)

    def suspend(
        self,
        target: CronJobTarget,
        at: datetime,
        *,
        revision: str | None,
        by: str,
        fence: bool = False,
    ) -> None:
        def effect() -> None:
            found = self._unchanged(target, revision)
            found.generation += not found.suspended
            self._note(found, by, "suspended", fence=fence)
            found.paused, found.suspended = at, True

        self._write(f"suspend {target} ", effect, target)

    def resume(
        self, target: CronJobTarget, *, revision: str | None, by: str, fence: bool = False
    ) -> None:
        def effect() -> None:
            found = self._unchanged(target, revision)
            found.generation += found.suspended
            self._note(found, by, "resumed", fence=fence)
            found.suspended = False
            self._model.reconcile()

        self._write(f"resume {target} ", effect, target)

    def equip(
        self,
        target: CronJobTarget,
        *,
        images: dict[str, str],
        version: str | None,
        revision: str | None,
        by: str,
    ) -> None:
        def effect() -> None:
            found = self._unchanged(target, revision)
            found.generation += {**found.images, **images} != found.images
            self._note(found, by, f"equipped {version}", fence=False)
            found.images |= images
            found.version = version or found.version

        self._write(f"equip {target} {version}", effect, target)

    def _write(self, what: str, effect: Callable[[], None], target: CronJobTarget) -> None:
        """None of it harms what runs, also where the swap does it to the slot that it leaves."""
        change = _change(self._world, str(target), "raises")
        self._calls.write("cluster", what, effect, change)

    def _note(self, found: CronJobState, by: str, did: str, *, fence: bool) -> None:
        found.by, found.did, found.fence = by, did, by if fence else found.fence

    def _unchanged(self, target: CronJobTarget, revision: str | None) -> CronJobState:
        found = self._find(target)
        if revision not in {None, found.revision}:
            raise Unavailable(Code.CLUSTER_CONFLICT, f"CronJob {target}: HTTP 409 Conflict")
        return found

    def _find(self, target: CronJobTarget) -> CronJobState:
        self._model.advance()
        found = self._model.found.get((target.namespace, target.name))
        if found is None:
            raise Missing(Code.CLUSTER_MISSING, f"CronJob {target} is not there")
        return found


def _gone(target: DeploymentTarget) -> Missing:
    return Missing(Code.CLUSTER_MISSING, f"Deployment {target} is not there")


class MemoryAccess:
    """Implements `contracts.access.AccessReader`."""

    def __init__(self, world: World, calls: Calls, clock: Clock, cluster: str) -> None:
        self._calls, self._clock = calls, clock
        self._model = world.clusters[cluster].access

    def may(self, right: Right) -> bool:
        what = f"may {right} in {right.namespace}"
        return self._calls.read("cluster", what, lambda _: not self._model.lacks(right))

    def limits(self, namespace: str) -> tuple[Limit, ...]:
        def effect(_: float) -> tuple[Limit, ...]:
            self._model.look(namespace)
            return tuple(self._model.limits.get(namespace, ()))

        return self._calls.read("cluster", f"limits {namespace}", effect)

    def labels(self, namespace: str) -> dict[str, str]:
        def effect(_: float) -> dict[str, str]:
            self._model.look(namespace)
            return dict(self._model.labels.get(namespace, {}))

        return self._calls.read("cluster", f"labels {namespace}", effect)

    def enforced(self, policy: str) -> bool:
        def effect(_: float) -> bool:
            self._model.look(policy)
            return policy in self._model.policies

        return self._calls.read("cluster", f"enforced {policy}", effect)

    def clock(self) -> datetime | None:
        return self._calls.read("cluster", "clock", lambda _: self._clock.now + self._model.ahead)


class MemoryTopic:
    """Implements `contracts.topic.Topic`."""

    def __init__(self, world: World, calls: Calls) -> None:
        self._world, self._calls = world, calls

    def publish(self, event: JsonObject) -> None:
        def effect() -> None:
            self._world.published.append(dict(event))

        self._calls.write("topic", f"publish {event['id']} {event['eventType']}", effect)


def scripted(world: World) -> Answer:
    """The next answer of `world.scripted`."""
    found = world.scripted.pop(0) if len(world.scripted) > 1 else world.scripted[0]
    if isinstance(found, Exception):
        raise found
    return found


def _change(
    world: World,
    thing: str,
    kind: Literal["alters", "destroys", "raises", "previews"] = "alters",
) -> Change | None:
    """The change of the slot that a thing belongs to; None if it belongs to none."""
    owner = world.owners.get(thing)
    return Change(owner, kind) if owner else None
