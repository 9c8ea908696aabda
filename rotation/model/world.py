"""What was observed of other systems, without any value that is secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, NoReturn

if TYPE_CHECKING:
    from datetime import datetime

    from rotation.model.wire import JsonObject

Slot = Literal["blue", "green"]
SLOTS: tuple[Slot, Slot] = ("blue", "green")


def other(slot: Slot) -> Slot:
    return "green" if slot == "blue" else "blue"


def shown_slot(label: str | None) -> str:
    """A slot's name, or words for a selector's label that is none: anybody may have set it."""
    if not label:
        return "no slot"
    return label if label in SLOTS else "neither blue nor green"


@dataclass(frozen=True)
class SecretVersion:
    """A Key Vault secret version: the reference that crosses activities, never its value."""

    secret: str
    version: str
    enabled: bool
    created: datetime | None
    expires: datetime | None
    tags: dict[str, str] = field(default_factory=dict)
    content_type: str | None = None


@dataclass(frozen=True)
class Role:
    """A PostgreSQL login role, as `pg_roles` shows it."""

    name: str
    login: bool
    valid_until: datetime | None


@dataclass(frozen=True)
class Controller:
    """The object that a pod was made by and is counted by, of its owner references."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, order=True)
class Maker:
    """What makes pods: the object at the end of their owner references, or a pod that nothing made.

    `kind` is one word, `Pod` for one without an owner.
    """

    kind: str
    name: str


@dataclass(frozen=True)
class Claim:
    """The facts by which a pod is told to be a Deployment's or not."""

    controller: Controller | None
    phase: str
    template: str | None  # its label `pod-template-hash`


@dataclass(frozen=True)
class Pod:
    """A pod's name, its own addresses, its node's, and how it does.

    `waiting` and `ended` are known words of Kubernetes, of the container that is worst off.
    """

    name: str
    addresses: tuple[str, ...]
    nodes: tuple[str, ...]
    created: datetime | None = None
    ready: bool = False
    waiting: str | None = None  # why it does not run
    restarts: int = 0  # of all containers
    exit_code: int | None = None  # of the last time that a container ended
    ended: str | None = None  # why, `OOMKilled` for one


# What the app calls itself wherever it logs in.
OWN_APPLICATION = "credential-rotation"


@dataclass(frozen=True)
class Session:
    """A client session of a PostgreSQL server, as `pg_stat_activity` shows it."""

    role: str
    application: str
    client: str  # address, or "local"
    state: str
    since: datetime | None
    queried: datetime | None = None  # when its last statement began, unless that was a probe
    pid: int = 0  # of its process there


@dataclass(frozen=True)
class Route:
    """The slot that traffic goes to: by a Service's selector, which has a port, or by the weights
    of an HTTPRoute, which has none."""

    slot: str | None  # its selector's slot label; the slot that has all the weight
    port: str  # name or number of its first port
    revision: str | None = field(default=None, compare=False)  # changes with every change of it
    # What else the selector asks pods for; None where that is not known.
    besides: dict[str, str] | None = field(default=None, compare=False)
    label: str = field(default="slot", compare=False)
    # Without a port and an address of its own: it names pods, and no client goes through it.
    headless: bool = field(default=False, compare=False)
    fence: str | None = field(default=None, compare=False)  # the last rotation that went back

    # Of an HTTPRoute: the percentage of requests that each slot gets, the highest of its rules; why
    # it cannot be moved; and why its Gateways have not taken it as it is, `refused` where they say
    # no and do not only lag behind.
    weights: dict[Slot, int] | None = field(default=None, compare=False)
    lacks: tuple[str, ...] = field(default=(), compare=False)
    pending: str = field(default="", compare=False)
    refused: bool = field(default=False, compare=False)
    # A rule of it gives neither slot any weight: somebody has taken both out of it.
    idle: bool = field(default=False, compare=False)

    def selector(self, slot: str) -> dict[str, str] | None:
        """The labels that pods must have once traffic goes to the slot."""
        return None if self.besides is None else {**self.besides, self.label: slot}

    @property
    def selects(self) -> dict[str, str] | None:
        """The labels that pods must have for traffic to go to them now."""
        if self.besides is None or self.slot is None:
            return self.besides
        return self.selector(self.slot)

    def share(self, slot: Slot) -> int:
        """The percentage of requests that go to the slot."""
        if self.weights is None:
            return 100 if self.slot == slot else 0
        return self.weights[slot]

    @property
    def goes(self) -> str:
        """Where traffic goes, in words, without their subject."""
        if self.weights is None:
            return f"selects {shown_slot(self.slot)}"
        if self.slot is not None:
            return f"sends requests to {self.slot}"
        parts = [f"{self.weights[slot]} % to {slot}" for slot in SLOTS]
        return f"sends {' and '.join(parts)} of the requests of a rule"


@dataclass(frozen=True)
class ServiceSeen:
    """A Service of a namespace. An empty selector finds no pod: its endpoints come otherwise."""

    name: str
    selector: dict[str, str]


@dataclass(frozen=True)
class RouteSeen:
    """An HTTPRoute of a namespace, and the names of the Services there that it sends requests to,
    at whatever weight."""

    name: str
    services: frozenset[str]


@dataclass(frozen=True)
class Endpoint:
    """An address or several of one endpoint, and the pod that it says it is, if it says so."""

    addresses: tuple[str, ...]
    pod: str | None = None


@dataclass(frozen=True)
class SliceSeen:
    """An EndpointSlice of a namespace.

    `service` is the Service that it belongs to, and `derived` whether Kubernetes' own controller
    says that it made it from that Service's selector.
    """

    name: str
    service: str | None
    derived: bool
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True)
class Routing:
    """All that leads traffic to pods of one namespace."""

    services: tuple[ServiceSeen, ...]
    slices: tuple[SliceSeen, ...]


@dataclass(frozen=True)
class Requirement:
    """One requirement of a selector.

    `operator` is In, NotIn, Exists or DoesNotExist; only the first two have values.
    """

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selector:
    """The requirements that a Deployment has of its pods' labels, matchLabels among them."""

    requirements: tuple[Requirement, ...]


class Template:
    """A pod template as the API server has it, whose values may be secret: it does not print, and
    is not serialised.

    `strategy` is how its Deployment replaces pods.
    """

    __slots__ = ("document", "strategy")

    def __init__(self, document: JsonObject, strategy: JsonObject | None = None) -> None:
        self.document = document
        self.strategy = strategy or {}

    def __repr__(self) -> str:
        return "Template(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Template is not serialised: name the paths that matter")

    __getstate__ = __reduce__


@dataclass(frozen=True)
class Deployment:
    """A Deployment, or another kind of workload, and the number of its pods in each state.

    `images` maps container to image, init containers included as `init:<name>`.
    """

    namespace: str
    name: str
    replicas: int
    ready: int
    updated: int
    total: int  # pods that exist, old template included
    observed: bool  # the controller has seen the latest change
    images: dict[str, str]
    version: str | None  # secret version that its pods were started with, by annotation
    # What its conditions say, in Kubernetes' words. They may be about an earlier rollout.
    failure: str | None = None
    refusal: str | None = None  # what refuses new pods, in known words and numbers
    paused: bool = False
    selector: Selector | None = field(default=None, compare=False)  # None: it is not known
    labels: dict[str, str] | None = field(default=None, compare=False)  # of its pods
    template: Template | None = field(default=None, compare=False)  # None: it was not looked at
    revision: str | None = field(default=None, compare=False)  # changes with what it is to be
    kind: str = "Deployment"
    restarted: str | None = None  # which exchange of its login its pods were restarted for
    stays: str | None = None  # why a changed template does not restart all of its pods


@dataclass(frozen=True)
class SlotSecret:
    """A Kubernetes Secret that holds the login of one slot or of the other.

    `slot` is what its annotation says, `exchanged` the last rotation that wrote it.
    """

    slot: str | None
    immutable: bool = False
    revision: str = field(default="", compare=False)  # changes with every change of it
    fence: str | None = field(default=None, compare=False)  # the last rotation that went back
    exchanged: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class CronJob:
    """A CronJob. What it makes Jobs from is its template, whose `images` are by container.

    `deadline` is how many seconds late a run may start, None for any number; `alone`: no run starts
    while another one lasts. `last` is the time of the last run that its status tells of, `paused`
    when a rotation suspended it. `settings` are those that are no pod's.
    """

    namespace: str
    name: str
    suspended: bool
    deadline: int | None
    alone: bool
    images: dict[str, str]
    version: str | None  # of the secret, that its pods are noted to be of
    last: datetime | None = None
    paused: datetime | None = None
    fence: str | None = None  # the last rotation that went back
    settings: JsonObject = field(default_factory=dict, compare=False)
    labels: dict[str, str] = field(default_factory=dict, compare=False)  # of its pods
    template: Template | None = field(default=None, compare=False)
    revision: str | None = field(default=None, compare=False)  # changes with what it is to be

    @property
    def selector(self) -> None:
        """What it finds its pods by: nothing, their owners name it."""


@dataclass(frozen=True)
class StartedJob:
    """A Job that a CronJob made, or that somebody made from it. `over`: it has ended.

    `due` is the time that it was to run at, when it was made where that is not known, and None for
    one that somebody has made.
    """

    name: str
    due: datetime | None
    over: bool


@dataclass(frozen=True)
class JobTemplate:
    """A CronJob as Jobs are made from it: its pod template, and how many pods a Job of it would
    have. `uid` tells it from a later one of its name."""

    name: str
    uid: str
    suspended: bool
    template: Template
    pods: int = 1

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its pods."""
        metadata = self.template.document.get("metadata") or {}
        return dict(metadata.get("labels") or {})


@dataclass(frozen=True)
class JobWanted:
    """A Job that is to be made: by `rotation`, from `template`, as one of a `run` of Jobs.

    Its pod may run for `seconds`; the Job is kept for `kept` seconds after its end.
    """

    template: JobTemplate
    rotation: str
    run: str
    seconds: int
    kept: int


JobState = Literal["running", "complete", "failed"]


@dataclass(frozen=True)
class Job:
    """A Job of a run: how far it is, and how its pod does or has ended, in known words.

    `why` is the Job's own word for its failure, `ended` and `waiting` are those of its pod.
    """

    name: str
    rotation: str | None  # that made it, by annotation
    state: JobState
    began: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    why: str | None = None
    ended: str | None = None
    waiting: str | None = None

    @property
    def over(self) -> bool:
        return self.state != "running"

    @property
    def seconds(self) -> int | None:
        """How long it took; None where that is not known."""
        if self.began is None or self.ended_at is None:
            return None
        return max(0, round((self.ended_at - self.began).total_seconds()))


@dataclass(frozen=True)
class Manner:
    """How a test asks: the HTTP method, headers beside those that each request has, and a body.

    `scheme` is what pods speak that are asked through the API server, which takes any certificate.
    """

    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    scheme: Literal["http", "https"] = "http"


PLAIN = Manner()


@dataclass(frozen=True)
class Answer:
    """A workload's HTTP answer to a test. `body` is cut after 64 KiB."""

    status: int
    body: bytes


@dataclass(frozen=True)
class Query:
    """A test's query, of one statement. `timeout` is in seconds, for all of it.

    `expected` is a JSON scalar, as text, that the first column of the first row must be equal to;
    None where it only has to succeed.
    """

    statement: str
    timeout: float
    expected: str | None = None


Found = Literal["as expected", "another value", "no row"]


class Difference(NamedTuple):
    """Something that one role has and another lacks, and the SQL that `level`s it.

    `kind`, `object` and `privilege` are in the words of PostgreSQL: table, public.orders, INSERT.
    """

    kind: str
    object: str
    privilege: str
    level: str


class Differences(NamedTuple):
    """How two roles differ: what the second one lacks, and what the first one does."""

    lacks: tuple[Difference, ...] = ()
    has_more: tuple[Difference, ...] = ()


TemplatePolicy = Literal["refuse", "warn", "sync"]


@dataclass(frozen=True)
class Drift:
    """The paths at which the pod template of a workload's standby differs from the active one's,
    and what its owner wants done then. `own` are containers, by the keys of images, that only one
    of them may have, `named` those that one of them has under a slot's name."""

    policy: TemplatePolicy = "refuse"
    paths: tuple[str, ...] = ()
    own: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()


# How a pod reads a Secret. Only a volume's files follow a change of it, and no `subPath` of one.
Reading = Literal["env", "volume", "subPath"]


@dataclass(frozen=True)
class InPlaceState:
    """The Secret of a workload without a twin, and how its pods read it.

    `secret` is its namespace and name, `label` the command that says which slot's login it holds.
    `holds` is the slot whose role stands in it, None if it is neither's; `readable`: its value is
    one. `found` is None for one that does not exist.
    """

    secret: str
    label: str
    then: Literal["restart", "reload"]
    found: SlotSecret | None
    holds: Slot | None = None
    readable: bool = True
    readings: frozenset[Reading] = frozenset()


@dataclass(frozen=True)
class WorkloadNames:
    """How the file calls a workload's objects, by namespace and name: its preview Service, and each
    slot's Deployment or CronJob and own Service. `label` is a selector's that has the slot."""

    preview: str = ""
    slots: dict[Slot, str] = field(default_factory=dict)
    backends: dict[Slot, str] = field(default_factory=dict)
    label: str = "slot"


@dataclass(frozen=True)
class WorkloadState:
    """A workload's Services and Deployments; None for one that does not exist.

    `at` is the production Service's namespace and name, for messages, `further` are the routes of
    those that move with it, by theirs, and `cluster` is where all of them are. `uncalled`: it has
    no preview Service; `stops`: the pods of the slot that is replaced end at the swap. With `kind`
    HTTPRoute those are what `at` and `further` name, and `backends` the slots' own Services.
    `names` is how the file calls them all, whether or not they are there.
    """

    name: str
    at: str
    production: Route | None
    preview: Route | None
    deployments: dict[Slot, Deployment | None]
    cluster: str = ""
    drift: Drift = Drift()
    further: dict[str, Route | None] = field(default_factory=dict)
    uncalled: bool = False
    stops: bool = False
    # What else makes the pods that the Service finds with a slot, where its Deployment has none.
    makers: dict[Slot, tuple[Maker, ...]] = field(default_factory=dict)
    in_place: InPlaceState | None = None  # None: its Services are what is moved
    # In the place of Deployments, which are none then.
    cron_jobs: dict[Slot, CronJob | None] = field(default_factory=dict)
    kind: str = "Service"
    backends: dict[Slot, Route | None] = field(default_factory=dict)
    names: WorkloadNames = field(default_factory=WorkloadNames)

    @property
    def productions(self) -> dict[str, Route | None]:
        """The route of each production Service, by its namespace and name. None of a workload in
        place."""
        return {} if self.in_place else {self.at: self.production, **self.further}

    @property
    def selected(self) -> set[str | None]:
        """The slots that serve: that its production Services select, or whose login its Secret
        holds."""
        if self.in_place is not None:
            found = self.in_place.found
            return {found.slot if found else None}
        return {route.slot if route else None for route in self.productions.values()}


@dataclass(frozen=True)
class LoginNames:
    """How the file calls a slot's role and secret, and where they are: `vault` is its URL, `server`
    the host, port and database by the options of `psql`."""

    role: str = ""
    secret: str = ""
    vault: str = ""
    server: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SlotState:
    """A slot's role and secret; None for one that does not exist. `names` is how the file calls
    them."""

    role: Role | None
    secret: SecretVersion | None  # the current version
    names: LoginNames = field(default_factory=LoginNames)


@dataclass(frozen=True)
class Snapshot:
    """The slots and workloads of one credential at one moment."""

    credential: str
    slots: dict[Slot, SlotState]
    workloads: tuple[WorkloadState, ...]
