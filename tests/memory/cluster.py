"""Kubernetes as far as a rotation sees it: rollouts that take time, pods that read their password
once, Services whose routes settle a moment after their selector."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rotation.decisions import ownership, selectors
from rotation.model import world
from rotation.model.errors import Denied
from rotation.model.reasons import Code
from rotation.model.targets import RouteTarget
from rotation.model.world import (
    SLOTS,
    Claim,
    Controller,
    Deployment,
    Maker,
    Requirement,
    Route,
    RouteSeen,
    Routing,
    Selector,
    ServiceSeen,
    SliceSeen,
    Template,
)
from tests.memory.cron_jobs import Schedules
from tests.memory.jobs import JobsModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from rotation.model.preconditions import Limit, Right
    from rotation.model.targets import DeploymentTarget, TrafficTarget
    from tests.memory.clock import Agenda, Clock

NODE = "172.16.0.4"  # the address of all pods' nodes
NODES = ("one", "two", "three")
AGAIN = 5.0  # seconds until a drain asks a budget again, as kubectl
ALL = 100  # percent
BROKEN = "broken"  # an image of this tag never comes up


@dataclass(frozen=True)
class Times:
    """How long things take, in seconds.

    Routes settle before a pod's grace period is over, as they must. `lag` is from the moment when
    the controller has observed a change until it refreshes what it reported of the past.
    """

    controller: float  # from a change until the controller acts on it
    startup: float  # of a pod
    grace: float  # from SIGTERM until a pod is gone
    routes: float  # from a change of the selector until traffic follows it
    progress: float  # deadline of a rollout
    lag: float = 0.0


AT_ONCE = Times(controller=0.0, startup=0.0, grace=0.0, routes=0.0, progress=300.0)


@dataclass
class Pod:
    name: str
    revision: int
    password: str | None  # what it was started with; None: there was nothing to mount
    ready_at: datetime | None
    connected: bool = False  # holds sessions
    gone_at: datetime | None = None  # terminating
    phase: str = "Running"
    controller: Controller | None = None
    created: datetime | None = None
    node: str = NODES[0]
    role: str | None = None  # in place: whose login it has read

    @property
    def address(self) -> str:
        """Its own: another name, another address."""
        digest = hashlib.sha256(self.name.encode()).digest()
        return f"10.{digest[0]}.{digest[1]}.{digest[2]}"


@dataclass
class DeploymentState:
    """A Deployment; `mount` reads the password that a pod starting now would get."""

    namespace: str
    name: str
    role: str
    mount: Callable[[], str | None]
    replicas: int
    images: dict[str, str]
    version: str | None = None
    revision: int = 1
    by: str | None = None  # the last rotation that changed it, by annotation
    changes: int = 1  # of it and of its status, as the API server counts them
    changed: datetime | None = None  # until the controller has acted on it
    rolling_since: datetime | None = None
    pods: list[Pod] = field(default_factory=list)
    created: int = 0
    env: dict[str, str] = field(default_factory=dict)  # of its first container
    labels: dict[str, str] = field(default_factory=dict)  # of its pods
    host_network: bool = False
    selector: Selector | None = None  # of matchLabels that are its pods' labels, unless given
    paused: bool = False
    # Pods of its labels that are not of it, or over: evicted ones, copies for debugging.
    strays: list[Pod] = field(default_factory=list)
    past: str | None = None  # the failure of an earlier rollout, for as long as it is reported
    refused: bool = False  # a quota keeps it from its pods
    # In place: the role and password that a pod would read now, from the Secret of this name.
    login: Callable[[], tuple[str, str | None]] | None = None
    secret: str = ""
    reloads: bool = False
    kind: str = "Deployment"
    restarted: str | None = None
    stays: str | None = None

    def role_of(self, pod: Pod) -> str:
        """The role that a pod logs in as."""
        return pod.role or self.role

    @property
    def selects(self) -> Selector:
        given = tuple(Requirement(key, "In", (value,)) for key, value in self.labels.items())
        return self.selector or Selector(given)

    @property
    def template(self) -> Template:
        """Its pod template as the API server would have it, as far as there is one here."""
        app: list[dict[str, Any]] = []
        first: list[dict[str, Any]] = []
        for key, image in self.images.items():
            made: dict[str, Any] = {"name": key.removeprefix("init:"), "image": image}
            if not app and not key.startswith("init:"):
                own = {"DATABASE_ROLE": self.role, **self.env}
                made["env"] = [{"name": name, "value": value} for name, value in own.items()]
                made["readinessProbe"] = {"httpGet": {"path": "/readyz", "port": 8080}}
            (first if key.startswith("init:") else app).append(made)
        pod: dict[str, Any] = {"containers": app, "initContainers": first}
        if self.secret:
            app[0]["volumeMounts"] = [{"name": "login", "mountPath": "/mnt/login"}]
            pod["volumes"] = [{"name": "login", "secret": {"secretName": self.secret}}]
        return Template({"metadata": {"labels": dict(self.labels)}, "spec": pod})

    def replica_set(self, revision: int) -> Controller:
        """The ReplicaSet of one of its templates; itself where it makes its pods."""
        if self.kind != "Deployment":
            return Controller(self.kind, self.name, self.name)
        return Controller("ReplicaSet", f"{self.name}-{revision}", f"{self.name}/{revision}")

    @property
    def sets(self) -> dict[str, bool]:
        """The uids of its ReplicaSets, as `ownership.counts` takes them."""
        return {self.replica_set(number).uid: True for number in range(1, self.revision + 1)}


@dataclass
class ServiceState:
    """A Service; `backends` are the Deployments whose pods a slot's selector finds."""

    namespace: str
    name: str
    selector: dict[str, str]
    label: str = "slot"
    backends: dict[str, str] = field(default_factory=dict)
    preview: bool = False
    headless: bool = False  # and without ports
    before: str | None = None
    settles: datetime | None = None
    revision: int = 1
    fence: str | None = None
    by: str | None = None  # the last rotation that moved it, by annotation
    own: str = ""  # the slot whose own it is, whatever serves

    @property
    def slot(self) -> str | None:
        return self.selector.get(self.label)

    @property
    def goes(self) -> list[str]:
        """The slots that get requests."""
        return [self.slot] if self.slot else []


@dataclass
class HttpRouteState(ServiceState):
    """An HTTPRoute between two slots' own Services; `shares` are percentages of its requests.

    `moved` are slots that get requests until its Gateways have taken it as it is.
    """

    shares: dict[str, int] = field(default_factory=dict)
    names: frozenset[str] = frozenset()  # of the Services
    moved: list[str] = field(default_factory=list)
    lacks: tuple[str, ...] = ()
    refused: str = ""  # why a Gateway says no

    @property
    def slot(self) -> str | None:
        return next((slot for slot, share in self.shares.items() if share == ALL), None)

    @property
    def goes(self) -> list[str]:
        return [slot for slot, share in self.shares.items() if share]


@dataclass
class SecretState:
    """A Kubernetes Secret."""

    data: dict[str, str] = field(default_factory=dict)
    version: str | None = None  # by annotation
    slot: str | None = None  # whose login it holds, by annotation
    fence: str | None = None
    by: str | None = None  # the last rotation that exchanged it
    immutable: bool = False
    revision: int = 1


@dataclass
class AccessModel:
    """What a cluster lets the app do: everything but `missing`, of which an empty name stands for
    all of them. `looks` are namespaces and policies that it may look at besides; its clock is
    `ahead`."""

    missing: set[Right] = field(default_factory=set)
    looks: set[str] = field(default_factory=set)
    limits: dict[str, list[Limit]] = field(default_factory=dict)  # by namespace
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    policies: set[str] = field(default_factory=set)
    ahead: timedelta = timedelta()

    def lacks(self, right: Right) -> bool:
        return bool({right, replace(right, name="")} & self.missing)

    def look(self, what: str) -> None:
        """Raises `Denied` for what the app may not look at."""
        if what not in self.looks:
            raise Denied(Code.CLUSTER_DENIED, f"{what} could not be looked at")


class ClusterModel:
    """A cluster; `accepts` and `full` ask the database: a pod that cannot log in is not ready."""

    def __init__(
        self,
        clock: Clock,
        agenda: Agenda,
        times: Times,
        accepts: Callable[[str, str | None], bool],
        full: Callable[[], bool] = lambda: False,
    ) -> None:
        self._full = full
        self._clock = clock
        self._agenda = agenda
        self._accepts = accepts
        self.times = times
        self.services: dict[tuple[str, str], ServiceState] = {}
        self.http_routes: dict[tuple[str, str], HttpRouteState] = {}
        self.routes_of_others: dict[str, list[RouteSeen]] = {}  # by namespace
        self.deployments: dict[tuple[str, str], DeploymentState] = {}
        self.secrets: dict[tuple[str, str], SecretState] = {}
        self.schedules = Schedules(clock, accepts)
        self.slices: dict[str, list[SliceSeen]] = {}  # of others, by namespace
        self.made: dict[str, list[tuple[dict[str, str], Maker]]] = {}  # pods of others' kinds
        self.jobs = JobsModel(clock, agenda)
        self.access = AccessModel()
        self.full_until: datetime | None = None  # the quota of pods
        self.cordoned: set[str] = set()  # nodes
        # Hears of a Deployment that a drain leaves without a ready pod.
        self.on_outage: Callable[[DeploymentState], None] = lambda _: None

    # What is seen from outside

    def service(self, target: TrafficTarget) -> ServiceState | None:
        """The Service or HTTPRoute."""
        if isinstance(target, RouteTarget):
            return self.http_routes.get((target.namespace, target.name))
        return self.services.get((target.namespace, target.name))

    def route(self, target: TrafficTarget) -> Route | None:
        found = self.service(target)
        if found is None:
            return None
        if isinstance(target, RouteTarget):
            return self._http_route(found)
        return Route(
            found.selector.get(target.label),
            "http",
            str(found.revision),
            besides={k: v for k, v in found.selector.items() if k != target.label},
            label=target.label,
            headless=found.headless,
            fence=found.fence,
        )

    def _http_route(self, found: ServiceState) -> Route:
        assert isinstance(found, HttpRouteState)
        late = found.settles is not None and found.settles > self._clock.now
        return Route(
            found.slot,
            "",
            str(found.revision),
            fence=found.fence,
            weights={slot: found.shares.get(slot, 0) for slot in SLOTS},
            lacks=found.lacks,
            pending=found.refused or ("a Gateway has not looked at it" if late else ""),
            refused=bool(found.refused),
            idle=not any(found.shares.values()),
        )

    def seen_http_routes(self, namespace: str) -> tuple[RouteSeen, ...]:
        own = (
            RouteSeen(name, found.names)
            for (space, name), found in self.http_routes.items()
            if space == namespace
        )
        return (*own, *self.routes_of_others.get(namespace, ()))

    def routing(self, namespace: str) -> Routing:
        """All Services, and the EndpointSlices that others wrote: those of Services are left out,
        since they follow from them."""
        services = (service for service in self.services.values() if service.namespace == namespace)
        return Routing(
            tuple(ServiceSeen(service.name, dict(service.selector)) for service in services),
            tuple(self.slices.get(namespace, ())),
        )

    def find(self, target: DeploymentTarget) -> DeploymentState | None:
        found = self.deployments.get((target.namespace, target.name))
        return found if found and found.kind == target.kind else None

    def deployment(self, target: DeploymentTarget) -> Deployment | None:
        found = self.find(target)
        if found is None:
            return None
        alive = [pod for pod in found.pods if pod.gone_at is None]
        return Deployment(
            namespace=found.namespace,
            name=found.name,
            replicas=found.replicas,
            ready=sum(self.ready(found, pod) for pod in alive),
            updated=sum(pod.revision == found.revision for pod in alive),
            total=len(alive),
            observed=found.changed is None,
            images=dict(found.images),
            version=found.version,
            failure=self._failure(found),
            refusal="a quota is full" if found.refused else None,
            paused=found.paused,
            selector=found.selects,
            labels=dict(found.labels),
            template=found.template,
            revision=str(found.changes),
            kind=found.kind,
            restarted=found.restarted,
            stays=found.stays,
        )

    def listed(self, target: DeploymentTarget) -> list[world.Pod]:
        """The pods that the product's own rule takes for the Deployment's, of those that its
        selector finds in the namespace."""
        found = self.find(target)
        return [] if found is None else [self._shown(d, pod) for d, pod in self._owned(found)]

    def _owned(self, found: DeploymentState) -> Iterator[tuple[DeploymentState, Pod]]:
        for each in self.deployments.values():
            if each.namespace != found.namespace:
                continue
            if not selectors.matches(found.selects, each.labels):
                continue
            for pod in [*each.pods, *each.strays]:
                claim = Claim(pod.controller, pod.phase, str(pod.revision))
                own = ownership.made_by(claim, found.name)
                if own or ownership.counts(claim, found.name, found.sets):
                    yield each, pod

    def _shown(self, deployment: DeploymentState, pod: Pod) -> world.Pod:
        ready = self.ready(deployment, pod)
        starting = pod.ready_at is None or pod.ready_at > self._clock.now
        return world.Pod(
            pod.name,
            (NODE if deployment.host_network else pod.address,),
            (NODE,),
            created=pod.created,
            ready=ready,
            waiting="ContainerCreating" if starting else None,
        )

    def makers(self, namespace: str, labels: dict[str, str]) -> list[Maker]:
        """What makes the pods with these labels."""
        found = {m for own, m in self.made.get(namespace, ()) if labels.items() <= own.items()}
        for each in self.deployments.values():
            if each.namespace == namespace and labels.items() <= each.labels.items():
                found |= {Maker("Deployment", each.name) for pod in each.pods if not pod.gone_at}
                alone = [pod for pod in each.strays if pod.phase not in ownership.OVER]
                found |= {Maker("Pod", pod.name) for pod in alone if pod.controller is None}
        found |= self.schedules.makers(namespace, labels)
        return sorted(found)

    def pods(self, target: DeploymentTarget) -> list[str]:
        """The pods that the Deployment has in truth."""
        found = self.find(target)
        return [pod.name for pod in found.pods] if found else []

    def answers(self, service: ServiceState) -> DeploymentState | None:
        """The Deployment whose ready pods answer for a Service."""
        found = self.deployments.get(
            (service.namespace, service.backends.get(service.slot or "", ""))
        )
        return found if found and any(self.ready(found, pod) for pod in found.pods) else None

    def ready(self, deployment: DeploymentState, pod: Pod) -> bool:
        return pod.gone_at is None and self.works(deployment, pod)

    def works(self, deployment: DeploymentState, pod: Pod) -> bool:
        """Whether a pod answers requests, as a terminating pod does until its grace period is
        over."""
        started = pod.ready_at is not None and pod.ready_at <= self._clock.now
        connects = pod.connected or not self._full()
        return started and connects and self._accepts(deployment.role_of(pod), pod.password)

    def sessions(self) -> list[tuple[str, DeploymentState, Pod]]:
        """Role, Deployment and pod of each pod that holds one."""
        return [
            (deployment.role_of(pod), deployment, pod)
            for deployment in self.deployments.values()
            for pod in deployment.pods
            if pod.connected
        ]

    def routed(self, service: ServiceState) -> list[str]:
        """The slots that traffic goes to just now."""
        if service.settles is None or service.settles <= self._clock.now:
            return service.goes
        if isinstance(service, HttpRouteState):
            return list(dict.fromkeys([*service.goes, *service.moved]))
        return [service.before] if service.before else []

    # What is changed

    def select(self, service: ServiceState, slot: str | None) -> None:
        if isinstance(service, HttpRouteState):
            self.share(service, {slot: ALL} if slot in SLOTS else {})
        elif service.slot != slot:
            service.before = next(iter(self.routed(service)), None)
            service.selector.pop(service.label, None)
            if slot is not None:
                service.selector[service.label] = slot
            service.revision += 1
            service.settles = self._clock.after(self.times.routes)
            self._agenda.add(self.times.routes, lambda: None)

    def share(self, route: HttpRouteState, shares: dict[str, int]) -> None:
        """Sets the percentages of an HTTPRoute's requests."""
        if any(route.shares.get(slot, 0) != shares.get(slot, 0) for slot in SLOTS):
            route.moved = self.routed(route)
            route.shares = shares
            route.revision += 1
            route.settles = self._clock.after(self.times.routes)
            self._agenda.add(self.times.routes, lambda: None)

    def fence(self, service: ServiceState, token: str) -> None:
        if service.fence != token:
            service.fence = token
            service.revision += 1

    def scale(self, deployment: DeploymentState, replicas: int) -> None:
        if deployment.replicas != replicas:
            deployment.replicas = replicas
            self._changed(deployment)

    def roll(
        self, deployment: DeploymentState, images: dict[str, str], version: str | None
    ) -> None:
        self._replace(deployment, {**deployment.images, **images}, deployment.env, version)

    def configure(self, deployment: DeploymentState, env: dict[str, str]) -> None:
        """Sets variables of its pods, as a release of configuration does."""
        env = {**deployment.env, **env}
        self._replace(deployment, deployment.images, env, deployment.version)

    def sync(self, deployment: DeploymentState, template: Template, version: str | None) -> None:
        """Sets all of the pod template, as far as there is one here."""
        pod, labels = template.document["spec"], template.document["metadata"]["labels"]
        images = {each["name"]: each["image"] for each in pod["containers"]}
        images |= {f"init:{each['name']}": each["image"] for each in pod["initContainers"]}
        env = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
        own = env.pop("DATABASE_ROLE") == deployment.role and labels == deployment.labels
        assert own, "a slot's pods were given what is the other's"
        self._replace(deployment, images, env, version)

    def _replace(
        self,
        deployment: DeploymentState,
        images: dict[str, str],
        env: dict[str, str],
        version: str | None,
    ) -> None:
        former = deployment.images, deployment.env, deployment.version
        if former != (images, env, version):
            deployment.images, deployment.env, deployment.version = images, env, version
            deployment.revision += 1
            self._changed(deployment)

    def drop_sessions(self, role: str) -> int:
        """Ends the role's sessions; pods that can still log in are back at once."""
        ended = 0
        for deployment in self.deployments.values():
            for pod in deployment.pods:
                if pod.connected and deployment.role_of(pod) == role:
                    ended += 1
                    pod.connected = self.works(deployment, pod)
        return ended

    def exchange(self, deployment: DeploymentState) -> None:
        """Has the pods of a workload read a changed Secret again, where they do that by
        themselves."""
        if deployment.reloads:
            seconds = self.times.routes + self.times.startup
            self._agenda.add(seconds, lambda: self._read_again(deployment))

    def _read_again(self, deployment: DeploymentState) -> None:
        for pod in deployment.pods:
            assert deployment.login is not None
            read = deployment.login()
            if (pod.role, pod.password) != read:
                pod.role, pod.password = read
                pod.connected = self.works(deployment, pod)

    def restart(self, deployment: DeploymentState, version: str, exchange: str) -> None:
        if (deployment.version, deployment.restarted) != (version, exchange):
            deployment.version, deployment.restarted = version, exchange
            deployment.revision += 1
            self._changed(deployment)

    # What goes wrong

    def leave_behind(self, deployment: DeploymentState) -> None:
        """Adds an evicted pod and a debug copy to the Deployment: both have its labels."""
        evicted = self._new_pod(deployment, "evicted", None)
        evicted.phase = "Failed"
        copied = self._new_pod(deployment, "debug", None)
        copied.controller = None
        deployment.strays += [evicted, copied]

    def evict(self, deployment: DeploymentState) -> None:
        """Evicts a pod, if another one is ready: it stays, as `Failed`, and has no processes."""
        ready = [pod for pod in deployment.pods if self.ready(deployment, pod)]
        if len(ready) > 1:
            pod = ready[0]
            deployment.pods.remove(pod)
            pod.phase, pod.connected = "Failed", False
            deployment.strays.append(pod)
            self.reconcile(deployment, self.times.startup)

    def drain(self, node: str, seconds: float) -> None:
        """Cordons a node and evicts its pods, each as soon as its budget allows: of a Deployment's
        pods one may be missing. What is still there after `seconds` stays.

        Of what serves the last ready pod never goes: a budget that allowed that, of a single pod,
        would be an outage of its owner's own. Another node is left for the pods.
        """
        if not self.cordoned:
            self.cordoned.add(node)
            self._empty(node, self._clock.after(seconds))

    def _empty(self, node: str, until: datetime) -> None:
        left = False
        for deployment in self.deployments.values():
            for pod in [pod for pod in deployment.pods if pod.node == node and not pod.gone_at]:
                if self._may_go(deployment, pod):
                    self._terminate(deployment, pod)
                    self.reconcile(deployment, self.times.startup)
                    if not any(self.ready(deployment, other) for other in deployment.pods):
                        self.on_outage(deployment)
                else:
                    left = True
        if left and self._clock.now < until:
            self._agenda.add(AGAIN, lambda: self._empty(node, until))
        else:
            self.cordoned.discard(node)

    def _may_go(self, deployment: DeploymentState, pod: Pod) -> bool:
        """What the budget of the Deployment's pods says: `maxUnavailable: 1`."""
        healthy = sum(self.ready(deployment, other) for other in deployment.pods)
        wanted = max(deployment.replicas - 1, 0)
        if not self.ready(deployment, pod):
            return healthy >= wanted > 0
        return healthy > max(wanted, 1 if self._serves(deployment) else 0)

    def _serves(self, deployment: DeploymentState) -> bool:
        return deployment.login is not None or any(
            service.backends.get(slot or "") == deployment.name
            for service in [*self.services.values(), *self.http_routes.values()]
            if service.namespace == deployment.namespace and not service.preview
            for slot in (*service.goes, *self.routed(service))
        )

    def fill(self, seconds: float) -> None:
        """Refuses new pods for a while, as a quota does that is full."""
        self.full_until = self._clock.after(seconds)

    # The controller

    def settle(self, deployment: DeploymentState) -> None:
        """Makes the Deployment as if all that was asked for had been there for long."""
        deployment.changed = None
        deployment.pods = []
        self.reconcile(deployment, startup=0.0)

    def _changed(self, deployment: DeploymentState) -> None:
        deployment.changes += 1
        deployment.changed = deployment.rolling_since = self._clock.now
        self._agenda.add(self.times.controller, lambda: self._observe(deployment))

    def _observe(self, deployment: DeploymentState) -> None:
        deployment.changed = None
        self._agenda.add(self.times.lag, lambda: self._refresh(deployment))
        self.reconcile(deployment, self.times.startup)

    def _refresh(self, deployment: DeploymentState) -> None:
        deployment.past = None

    def reconcile(self, deployment: DeploymentState, startup: float) -> None:
        """Replaces pods: surges first; earlier pods leave once the new ones are ready, broken ones
        at once."""
        deployment.changes += 1
        deployment.pods = [
            pod for pod in deployment.pods if not pod.gone_at or pod.gone_at > self._clock.now
        ]
        alive = [pod for pod in deployment.pods if pod.gone_at is None]
        new = [pod for pod in alive if pod.revision == deployment.revision]
        there = new if deployment.kind == "Deployment" else deployment.pods
        missing = max(0, deployment.replicas - len(there))
        deployment.refused = bool(missing) and self._is_full()
        if deployment.refused:
            self._agenda.add(1.0, lambda: self.reconcile(deployment, startup))
        else:
            for _ in range(missing):
                self._create(deployment, startup)
        for pod in new[deployment.replicas :]:
            self._terminate(deployment, pod)
        if deployment.kind != "Deployment":
            self._replace_one(deployment)
            return
        replaced = sum(self.ready(deployment, pod) for pod in new) >= deployment.replicas
        for pod in alive:
            if pod.revision != deployment.revision and (
                replaced or not self.ready(deployment, pod)
            ):
                self._terminate(deployment, pod)
        for pod in deployment.pods:
            pod.connected = pod.connected or self.works(deployment, pod)

    def _replace_one(self, deployment: DeploymentState) -> None:
        """Ends one earlier pod, if all others are ready: its name is taken until it is gone."""
        for pod in deployment.pods:
            pod.connected = pod.connected or self.works(deployment, pod)
        old = [pod for pod in deployment.pods if pod.revision != deployment.revision]
        broken = [pod for pod in deployment.pods if not self.ready(deployment, pod)]
        if old and len(deployment.pods) >= deployment.replicas and (not broken or broken[0] in old):
            self._terminate(deployment, (broken or old)[0])

    def _create(self, deployment: DeploymentState, startup: float) -> None:
        broken = any(image.endswith(BROKEN) for image in deployment.images.values())
        deployment.created += 1
        ready_at = None if broken else self._clock.after(startup)
        pod = self._new_pod(deployment, str(deployment.created), ready_at)
        pod.password = deployment.mount()
        if deployment.login is not None:
            pod.role, pod.password = deployment.login()
        pod.connected = self.works(deployment, pod)
        deployment.pods.append(pod)
        self._agenda.add(startup, lambda: self.reconcile(deployment, self.times.startup))

    def _new_pod(self, deployment: DeploymentState, suffix: str, ready_at: datetime | None) -> Pod:
        """A pod of the Deployment's newest ReplicaSet, which is not in its list yet."""
        return Pod(
            f"{deployment.name}-{suffix}",
            deployment.revision,
            None,
            ready_at,
            controller=deployment.replica_set(deployment.revision),
            created=self._clock.now,
            node=self._choose(deployment),
        )

    def _choose(self, deployment: DeploymentState) -> str:
        """The node with the fewest of the Deployment's pods, of those that are not cordoned."""
        there = [pod.node for pod in deployment.pods if pod.gone_at is None]
        open_ones = [node for node in NODES if node not in self.cordoned]
        return min(open_ones, key=there.count)

    def _is_full(self) -> bool:
        return self.full_until is not None and self._clock.now < self.full_until

    def _terminate(self, deployment: DeploymentState, pod: Pod) -> None:
        if pod.gone_at is None:
            pod.gone_at = self._clock.after(self.times.grace)
            self._agenda.add(
                self.times.grace, lambda: self.reconcile(deployment, self.times.startup)
            )

    def _failure(self, deployment: DeploymentState) -> str | None:
        if deployment.past is not None:
            return deployment.past
        if deployment.refused:
            return "FailedCreate"
        if deployment.rolling_since is None or deployment.changed is not None:
            return None
        alive = [pod for pod in deployment.pods if pod.gone_at is None]
        ready = sum(self.ready(deployment, pod) for pod in alive)
        if ready >= deployment.replicas and len(alive) == deployment.replicas:
            return None
        late = self._clock.now > deployment.rolling_since + timedelta(seconds=self.times.progress)
        return "ProgressDeadlineExceeded" if late else None
