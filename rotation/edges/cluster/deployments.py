"""Looks at pods, starts and scales them by Deployments, and writes Secrets that they read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubernetes import client

from rotation.edges.cluster import patches
from rotation.edges.cluster.client import MERGE, STRATEGIC, TIMEOUT, resource_version
from rotation.model.errors import Invalid, Missing
from rotation.model.reasons import Code
from rotation.model.world import Deployment, Pod

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.edges.cluster.client import Api
    from rotation.model.targets import DeploymentTarget, SecretKeyTarget
    from rotation.model.wire import JsonObject
    from rotation.secrecy import Secret

CONDITIONS = {"FailedCreate", "FailedDelete", "ProgressDeadlineExceeded", "ReplicaSetCreateError"}


class Deployments:
    """Implements `contracts.pods.Pods`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def deployment(self, target: DeploymentTarget) -> Deployment | None:
        try:
            with self._api.translated("read", f"Deployment {target}"):
                return _deployment(self._read(target))
        except Missing:
            return None

    def listed(self, target: DeploymentTarget) -> list[Pod]:
        pods, _ = self._pods(target.namespace, self._selector(target))
        return sorted(pods, key=lambda pod: pod.name)

    def deliver(self, target: SecretKeyTarget, value: Secret, version: str) -> None:
        """Writes a value into a Kubernetes Secret, which must exist.

        The right to create one cannot be limited to a name.
        """
        with self._api.translated("write", f"Secret {target}"):
            self._api.core.patch_namespaced_secret(
                target.name,
                target.namespace,
                patches.deliver(target.key, value, version),
                _content_type=MERGE,
                _request_timeout=TIMEOUT,
            )

    def start(
        self,
        target: DeploymentTarget,
        *,
        replicas: int,
        images: dict[str, str],
        version: str | None,
    ) -> None:
        self._patch("start", target, patches.start(replicas, images, version))

    def scale(self, target: DeploymentTarget, replicas: int) -> None:
        self._patch("scale", target, patches.scale(replicas))

    def watch(
        self, target: DeploymentTarget, until: Callable[[Deployment], bool], seconds: float
    ) -> Deployment:
        what = f"Deployment {target}"
        with self._api.translated("watch", what):
            seen = self._read(target)
            if until(_deployment(seen)):
                return _deployment(seen)
            for event in self._api.watch(
                self._api.apps.list_namespaced_deployment,
                target.namespace,
                seconds,
                field_selector=f"metadata.name={target.name}",
                resource_version=resource_version(seen.metadata),
            ):
                if event["type"] == "DELETED":
                    text = f"cluster {self._api.name}: {what} was deleted"
                    raise Missing(Code.CLUSTER_MISSING, text)
                seen = event["object"]
                if until(_deployment(seen)):
                    break
            return _deployment(seen)

    def watch_gone(self, target: DeploymentTarget, seconds: float) -> list[str]:
        selector = self._selector(target)
        pods, version = self._pods(target.namespace, selector)
        names = {pod.name for pod in pods}
        if not names:
            return []
        with self._api.translated("watch", f"the pods of Deployment {target}"):
            for event in self._api.watch(
                self._api.core.list_namespaced_pod,
                target.namespace,
                seconds,
                label_selector=selector,
                resource_version=version,
            ):
                pod = event["object"].metadata.name
                if event["type"] == "DELETED":
                    names.discard(pod)
                else:
                    names.add(pod)
                if not names:
                    break
        return sorted(names)

    def _read(self, target: DeploymentTarget) -> client.V1Deployment:
        """The Deployment as the SDK has it. Raises what the SDK raises."""
        return self._api.apps.read_namespaced_deployment(
            target.name, target.namespace, _request_timeout=TIMEOUT
        )

    def _patch(self, verb: str, target: DeploymentTarget, body: JsonObject) -> None:
        with self._api.translated(verb, f"Deployment {target}"):
            self._api.apps.patch_namespaced_deployment(
                target.name,
                target.namespace,
                body,
                _content_type=STRATEGIC,
                _request_timeout=TIMEOUT,
            )

    def _selector(self, target: DeploymentTarget) -> str:
        """The Deployment's selector of pods, as queries take it. Raises `Invalid` without one."""
        with self._api.translated("read", f"Deployment {target}"):
            deployment = self._read(target)
            # The SDK takes it that there always is one; a server may say otherwise.
            labels = getattr(getattr(deployment.spec, "selector", None), "match_labels", None)
            if not labels:
                text = f"Deployment {target} selects its pods by no matchLabels"
                raise Invalid(Code.NO_MATCH_LABELS, text)
            return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))

    def _pods(self, namespace: str, selector: str) -> tuple[list[Pod], str]:
        """The pods that a selector matches, and the version of that list."""
        with self._api.translated("list pods in", f"namespace {namespace}"):
            listed = self._api.core.list_namespaced_pod(
                namespace, label_selector=selector, _request_timeout=TIMEOUT
            )
            pods = [_pod(pod) for pod in listed.items if pod.metadata]
            return pods, resource_version(listed.metadata)


def _pod(seen: client.V1Pod) -> Pod:
    """The SDK's pod as a `Pod`. Its addresses are there once it has been scheduled."""
    status = seen.status or client.V1PodStatus()
    own = [status.pod_ip, *(each.ip for each in status.pod_ips or [])]
    node = [status.host_ip, *(each.ip for each in status.host_ips or [])]
    return Pod(
        name=str(seen.metadata.name if seen.metadata else ""),
        addresses=tuple(dict.fromkeys(address for address in own if address)),
        nodes=tuple(dict.fromkeys(address for address in node if address)),
    )


def _deployment(seen: client.V1Deployment) -> Deployment:
    """The SDK's Deployment as a `Deployment`. Raises `Invalid` if it is none."""
    metadata, spec = seen.metadata, seen.spec
    status = seen.status or client.V1DeploymentStatus()
    if metadata is None or spec is None:
        text = "the API server answered a Deployment without metadata or spec"
        raise Invalid(Code.CLUSTER_ANSWER, text)
    labelled = spec.template.metadata or client.V1ObjectMeta()
    return Deployment(
        namespace=str(metadata.namespace),
        name=str(metadata.name),
        replicas=1 if spec.replicas is None else spec.replicas,
        ready=status.ready_replicas or 0,
        updated=status.updated_replicas or 0,
        total=status.replicas or 0,
        observed=(status.observed_generation or 0) >= (metadata.generation or 0),
        images=_images(spec.template.spec),
        version=(labelled.annotations or {}).get(patches.VERSION),
        failure=_failure(status),
    )


def _images(pod: client.V1PodSpec | None) -> dict[str, str]:
    """A pod's images by container, as `patches.start` takes them."""
    if pod is None:
        return {}
    images = {container.name: container.image or "" for container in pod.containers}
    for container in pod.init_containers or []:
        images[f"init:{container.name}"] = container.image or ""
    return images


def _failure(status: client.V1DeploymentStatus) -> str | None:
    """Why the rollout has failed, by the Deployment's conditions; None if it has not."""
    for condition in status.conditions or []:
        if condition.type == "Progressing" and condition.status == "False":
            return _known_reason(condition.reason, "not progressing")
        if condition.type == "ReplicaFailure" and condition.status == "True":
            return _known_reason(condition.reason, "replica failure")
    return None


def _known_reason(word: str | None, otherwise: str) -> str:
    """A condition's reason if it is a known one, or else `otherwise`: others may write any."""
    return word if word in CONDITIONS else otherwise
