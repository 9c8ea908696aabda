"""The targets of an edge's verbs: names that belong together, so that none is mixed up."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

if TYPE_CHECKING:
    from rotation.model.world import Slot

Kind = Literal["Deployment", "StatefulSet", "DaemonSet"]


@dataclass(frozen=True)
class SecretTarget:
    """A secret of a vault; without `version`, its current one."""

    name: str
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.name}/{self.version}" if self.version else self.name


@dataclass(frozen=True)
class Namespaced:
    """An object of a Kubernetes namespace."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class ServiceTarget(Namespaced):
    """A Service whose selector has a slot under `label`; `port` is the one that tests use."""

    kind: ClassVar = "Service"
    label: str
    port: str | None = None  # name or number; the Service's first one unless given


@dataclass(frozen=True)
class RouteTarget(Namespaced):
    """An HTTPRoute whose rules share requests between `blue` and `green`, the slots' own Services
    in its namespace. `steps` are the percentages that a slot gets on the way to all of them."""

    kind: ClassVar = "HTTPRoute"
    blue: str
    green: str
    steps: tuple[int, ...] = ()

    @property
    def backends(self) -> dict[Slot, str]:
        """The name of each slot's own Service."""
        return {"blue": self.blue, "green": self.green}


# What leads a workload's clients to a slot.
TrafficTarget: TypeAlias = ServiceTarget | RouteTarget


@dataclass(frozen=True)
class DeploymentTarget(Namespaced):
    """A Deployment, or another kind of workload."""

    kind: Kind = "Deployment"

    @property
    def logs(self) -> str:
        """The command that shows what its pods say. The app itself reads no container's log."""
        what = f"{self.kind.lower()}/{self.name}"
        return f"kubectl logs --namespace {self.namespace} {what} --all-containers"

    def describe(self, pod: str | None = None) -> str:
        """The command that shows the events of one of its pods, or else the Deployment itself."""
        what = f"pod/{pod}" if pod else f"{self.kind.lower()}/{self.name}"
        return f"kubectl describe --namespace {self.namespace} {what}"


@dataclass(frozen=True)
class CronJobTarget(Namespaced):
    """A CronJob."""

    @property
    def logs(self) -> str:
        """The command that shows its Jobs, whose logs tell more."""
        return f"kubectl get jobs --namespace {self.namespace}"

    def patch(self, field: str, value: str) -> str:
        """The command that sets a field of it, whose value is JSON."""
        body = f'{{"spec": {{"{field}": {value}}}}}'
        at = f"--namespace {shlex.join([self.namespace, f'cronjob/{self.name}'])}"
        return f"kubectl patch {at} --type merge --patch '{body}'"


@dataclass(frozen=True)
class JobTarget(Namespaced):
    """A Job."""

    @property
    def logs(self) -> str:
        """The command that shows what its pod says. The app itself reads no container's log."""
        return f"kubectl logs --namespace {self.namespace} job/{self.name} --all-containers"


@dataclass(frozen=True)
class SecretKeyTarget(Namespaced):
    """A key of a Kubernetes Secret."""

    key: str


@dataclass(frozen=True)
class SlotSecretTarget(Namespaced):
    """A Kubernetes Secret that holds the login of one slot or of the other: `key` has the value,
    and `role_key` the role's name, if it has one."""

    key: str
    role_key: str | None = None

    @property
    def label(self) -> str:
        """The command that says which slot's login it holds, with a place for the slot."""
        what = f"kubectl annotate --namespace {self.namespace} secret {self.name}"
        return f"{what} credential-rotation/slot=<the slot whose login it holds>"


@dataclass(frozen=True)
class ServerTarget:
    """The server and database that a secret's value names for applications."""

    host: str
    port: int
    database: str
    sslmode: str
