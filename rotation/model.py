"""What is decided about: the world as it was observed, without any value that is secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from datetime import datetime

Slot = Literal["blue", "green"]
SLOTS: tuple[Slot, Slot] = ("blue", "green")

Outcome = Literal["completed", "rolled-back", "aborted", "skipped", "refused", "needs-attention"]
Origin = Literal["near-expiry", "expired", "sweep", "manual"]


def other(slot: Slot) -> Slot:
    return "green" if slot == "blue" else "blue"


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
class Session:
    """One row of `pg_stat_activity`."""

    role: str
    application: str
    client: str  # address, or "local"
    state: str
    since: datetime | None


@dataclass(frozen=True)
class Service:
    namespace: str
    name: str
    slot: str | None  # its selector's slot label
    port: str  # name or number of the port that tests use
    revision: str | None = field(default=None, compare=False)  # changes with every change of it


@dataclass(frozen=True)
class Deployment:
    """`images` maps container to image, init containers included as `init:<name>`."""

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
    """What a workload answered to a test. `body` is cut after 64 KiB."""

    status: int
    body: bytes


@dataclass(frozen=True)
class WorkloadState:
    name: str
    service: Service | None
    preview: Service | None
    deployments: dict[Slot, Deployment | None]


@dataclass(frozen=True)
class SlotState:
    role: Role | None
    secret: SecretVersion | None  # the current version


@dataclass(frozen=True)
class Snapshot:
    """One credential's world at one moment."""

    credential: str
    slots: dict[Slot, SlotState]
    workloads: tuple[WorkloadState, ...]


@dataclass(frozen=True)
class Request:
    """Why a rotation was asked for. `secret` and `version` are set for events."""

    rotation: str
    credential: str
    origin: Origin
    requested_by: str
    reason: str
    secret: str | None = None
    version: str | None = None

    def as_value(self) -> dict[str, str | None]:
        """An orchestration's input."""
        return {
            "rotation": self.rotation,
            "credential": self.credential,
            "origin": self.origin,
            "requestedBy": self.requested_by,
            "reason": self.reason,
            "secret": self.secret,
            "version": self.version,
        }

    @classmethod
    def from_value(cls, value: dict[str, Any]) -> Self:
        return cls(
            rotation=value["rotation"],
            credential=value["credential"],
            origin=value["origin"],
            requested_by=value["requestedBy"],
            reason=value["reason"],
            secret=value["secret"],
            version=value["version"],
        )


@dataclass(frozen=True)
class Rotate:
    active: Slot
    standby: Slot


@dataclass(frozen=True)
class Skip:
    reason: str


@dataclass(frozen=True)
class Refuse:
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Wait:
    """Nothing is wrong for good: look again soon."""

    problems: tuple[str, ...]


Decision = Rotate | Skip | Refuse | Wait
