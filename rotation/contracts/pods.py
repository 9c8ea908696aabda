"""The contract of the pods of workloads: Deployments and Kubernetes Secrets, on one cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.model.targets import DeploymentTarget, SecretKeyTarget, SlotSecretTarget
    from rotation.model.world import Deployment, Maker, Pod, Slot, SlotSecret, Template
    from rotation.secrecy import Secret


class Exchanged(NamedTuple):
    """A Kubernetes Secret whose login is exchanged, with what stands under its keys; None where
    there is nothing, or no text."""

    seen: SlotSecret
    value: Secret | None
    role: Secret | None


class PodsReader(Protocol):
    """Looks at Deployments and their pods."""

    def deployment(self, target: DeploymentTarget) -> Deployment | None:
        """The Deployment as it is now, its pod template included; None if it does not exist."""

    def listed(self, target: DeploymentTarget) -> list[Pod]:
        """The Deployment's pods, terminating ones included, by name.

        They are those that its ReplicaSets made, whatever their labels, and that are not over:
        neither `Failed`, as evicted ones are, nor `Succeeded`. Raises `Missing`, `Invalid`.
        """

    def makers(self, namespace: str, labels: dict[str, str]) -> list[Maker]:
        """What makes the pods that have these labels and are not over, in order, each once."""

    def exchanged(self, target: SlotSecretTarget) -> Exchanged | None:
        """The Kubernetes Secret as it is now; None if it does not exist."""

    def watch(
        self, target: DeploymentTarget, until: Callable[[Deployment], bool], seconds: float
    ) -> Deployment:
        """The Deployment as soon as `until` holds of it, or after `seconds`. Raises `Missing`."""

    def watch_gone(self, target: DeploymentTarget, seconds: float) -> list[str]:
        """The names of the pods that are left of those that `listed` would return, as soon as there
        are none or after `seconds`. Raises `Missing`, `Invalid`.
        """


class Pods(PodsReader, Protocol):
    """Changes a slot's pods.

    With a `revision`, which a look at the Deployment had, a verb is a compare-and-swap: it raises
    `Unavailable` if the Deployment was changed since, so that one that was held up changes nothing.
    A controller's word on its status is no change.
    With `by`, a rotation's id, annotations and a Kubernetes Event tell who did what.
    """

    def deliver(self, target: SecretKeyTarget, value: Secret, version: str) -> None:
        """Writes the value under a key of a Kubernetes Secret, which must exist, and `version` into
        an annotation. Harmless when repeated. Raises `Missing`."""

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
        """Scales a Deployment and sets its images; an annotation of its pods names the secret
        version, so that pods of an earlier version are replaced. Without a `version` the annotation
        stays as it is. Harmless when repeated. Raises `Missing`, `Invalid`."""

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
        """Gives a Deployment another pod template, all of it, and scales it. The secret version is
        noted as `start` does. Harmless when repeated. Raises `Missing`, `Invalid`."""

    def scale(
        self,
        target: DeploymentTarget,
        replicas: int,
        *,
        revision: str | None = None,
        by: str | None = None,
    ) -> None:
        """Sets the Deployment's number of pods. Harmless when repeated. Raises `Missing`."""

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
        """Writes a slot's role and value into a Kubernetes Secret, which has to be as it was at
        `revision`, and the slot into an annotation, all at once. Raises `Missing`."""

    def fence_secret(self, target: SlotSecretTarget, token: str) -> None:
        """Changes the Kubernetes Secret's revision, once for each token, so that an `exchange` with
        an earlier one fails, however long it was held up. Raises `Missing`."""

    def restart(
        self, target: DeploymentTarget, *, version: str, exchange: str, revision: str, by: str
    ) -> None:
        """Has a workload replace its pods, one after the other, in its own way: annotations of its
        pod template name the secret version and the `exchange`. Harmless when repeated. Raises
        `Missing`."""
