"""What was observed of other systems, without any value that is secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

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


@dataclass(frozen=True)
class Role:
    """A PostgreSQL login role, as `pg_roles` shows it."""

    name: str
    login: bool
    valid_until: datetime | None


@dataclass(frozen=True)
class Pod:
    """A pod's name, its own addresses, and its node's."""

    name: str
    addresses: tuple[str, ...]
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Session:
    """A client session of a PostgreSQL server, as `pg_stat_activity` shows it."""

    role: str
    application: str
    client: str  # address, or "local"
    state: str
    since: datetime | None


@dataclass(frozen=True)
class Route:
    """The slot that a Service's traffic goes to, and its port."""

    slot: str | None  # its selector's slot label
    port: str  # name or number of its first port
    revision: str | None = field(default=None, compare=False)  # changes with every change of it


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
    failure: str | None = None  # why it does not progress, in Kubernetes' words


@dataclass(frozen=True)
class Answer:
    """A workload's HTTP answer to a test. `body` is cut after 64 KiB."""

    status: int
    body: bytes


@dataclass(frozen=True)
class WorkloadState:
    """A workload's Services and Deployments; None for one that does not exist.

    `at` is the production Service's namespace and name, for messages.
    """

    name: str
    at: str
    production: Route | None
    preview: Route | None
    deployments: dict[Slot, Deployment | None]


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
