"""What was observed of other systems, without any value that is secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NoReturn

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


@dataclass(frozen=True)
class Session:
    """A client session of a PostgreSQL server, as `pg_stat_activity` shows it."""

    role: str
    application: str
    client: str  # address, or "local"
    state: str
    since: datetime | None
    queried: datetime | None = None  # when its last statement began, unless that was a probe


@dataclass(frozen=True)
class Route:
    """The slot that a Service's traffic goes to, and its port."""

    slot: str | None  # its selector's slot label
    port: str  # name or number of its first port
    revision: str | None = field(default=None, compare=False)  # changes with every change of it
    # What else the selector asks pods for; None where that is not known.
    besides: dict[str, str] | None = field(default=None, compare=False)
    label: str = field(default="slot", compare=False)
    # Without a port and an address of its own: it names pods, and no client goes through it.
    headless: bool = field(default=False, compare=False)
    fence: str | None = field(default=None, compare=False)  # the last rotation that went back

    def selector(self, slot: str) -> dict[str, str] | None:
        """The labels that pods must have once traffic goes to the slot."""
        return None if self.besides is None else {**self.besides, self.label: slot}


@dataclass(frozen=True)
class ServiceSeen:
    """A Service of a namespace. An empty selector finds no pod: its endpoints come otherwise."""

    name: str
    selector: dict[str, str]


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
    """A Deployment and the number of its pods in each state.

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


@dataclass(frozen=True)
class WorkloadState:
    """A workload's Services and Deployments; None for one that does not exist.

    `at` is the production Service's namespace and name, for messages, `further` are the routes of
    those that move with it, by theirs, and `cluster` is where all of them are. `uncalled`: it has
    no preview Service; `stops`: the pods of the slot that is replaced end at the swap.
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

    @property
    def productions(self) -> dict[str, Route | None]:
        """The route of each production Service, by its namespace and name."""
        return {self.at: self.production, **self.further}


@dataclass(frozen=True)
class SlotState:
    """A slot's role and secret; None for one that does not exist."""

    role: Role | None
    secret: SecretVersion | None  # the current version


@dataclass(frozen=True)
class Snapshot:
    """The slots and workloads of one credential at one moment."""

    credential: str
    slots: dict[Slot, SlotState]
    workloads: tuple[WorkloadState, ...]
