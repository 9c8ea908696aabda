"""The targets of an edge's verbs: names that belong together, so that none is mixed up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SecretTarget:
    """A secret of a vault; without `version`, its current one."""

    name: str
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.name}/{self.version}" if self.version else self.name


@dataclass(frozen=True)
class ServiceTarget:
    """A Service whose selector has a slot under `label`; `port` is the one that tests use."""

    namespace: str
    name: str
    label: str
    port: str | None = None  # name or number; the Service's first one unless given

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class DeploymentTarget:
    """A Deployment."""

    namespace: str
    name: str

    @property
    def logs(self) -> str:
        """The command that shows what its pods say. The app itself reads no container's log."""
        return f"kubectl logs --namespace {self.namespace} deployment/{self.name} --all-containers"

    def describe(self, pod: str | None = None) -> str:
        """The command that shows the events of one of its pods, or else the Deployment itself."""
        what = f"pod/{pod}" if pod else f"deployment/{self.name}"
        return f"kubectl describe --namespace {self.namespace} {what}"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class SecretKeyTarget:
    """A key of a Kubernetes Secret."""

    namespace: str
    name: str
    key: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class ServerTarget:
    """The server and database that a secret's value names for applications."""

    host: str
    port: int
    database: str
    sslmode: str
