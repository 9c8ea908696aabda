"""Looks at pods, starts and scales them by Deployments, and writes Secrets that they read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kubernetes import client

from rotation.decisions import ownership
from rotation.edges.cluster import events, patches
from rotation.edges.cluster.client import MERGE, STRATEGIC, TIMEOUT, resource_version, uid_of
from rotation.edges.cluster.patches import Note
from rotation.edges.cluster.pods import claim_of, maker_of, name_of, pod_of
from rotation.edges.cluster.races import revision_of, swapped
from rotation.edges.cluster.rollouts import deployment_of, query
from rotation.edges.cluster.singles import exchanged_of, single_of
from rotation.model.errors import Missing
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.contracts.pods import Exchanged
    from rotation.edges.cluster.client import Api
    from rotation.model.targets import DeploymentTarget, SecretKeyTarget, SlotSecretTarget
    from rotation.model.wire import JsonObject
    from rotation.model.world import Deployment, Maker, Pod, Slot, Template
    from rotation.secrecy import Secret

SET = "ReplicaSet"


class Deployments:
    """Implements `contracts.pods.Pods`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def deployment(self, target: DeploymentTarget) -> Deployment | None:
        try:
            with self._api.translated("read", f"{target.kind} {target}"):
                read = self._api.of(target.kind).read
                answer: Any = read(
                    target.name,
                    target.namespace,
                    _preload_content=False,
                    _request_timeout=TIMEOUT,
                )
                # The text too: the SDK leaves out what it does not know, and a template is copied.
                text, form = answer.data.decode(), answer.headers.get("content-type")
                seen: Any = self._api.client.deserialize(text, f"V1{target.kind}", form)
                if target.kind != "Deployment":
                    return single_of(target.kind, seen, json.loads(text))
                return deployment_of(seen, json.loads(text))
        except Missing:
            return None

    def listed(self, target: DeploymentTarget) -> list[Pod]:
        family = self._family(target)
        with self._api.translated("list pods in", f"namespace {target.namespace}"):
            pods, _ = self._pods(target, family)
            return sorted((pod_of(pod) for pod in pods), key=lambda pod: pod.name)

    def makers(self, namespace: str, labels: dict[str, str]) -> list[Maker]:
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        with self._api.translated("list pods in", f"namespace {namespace}"):
            pods = self._api.core.list_namespaced_pod(
                namespace, label_selector=selector, _request_timeout=TIMEOUT
            ).items
        claims = [(pod, claim_of(pod)) for pod in pods]
        claims = [(pod, claim) for pod, claim in claims if claim.phase not in ownership.OVER]
        sets: dict[str, Maker] = {}
        if any(claim.controller and claim.controller.kind == SET for _, claim in claims):
            with self._api.translated("list ReplicaSets in", f"namespace {namespace}"):
                listed = self._api.apps.list_namespaced_replica_set(
                    namespace, label_selector=selector, _request_timeout=TIMEOUT
                )
                for each in listed.items:
                    metadata = each.metadata or client.V1ObjectMeta()
                    if any(owner.controller for owner in metadata.owner_references or []):
                        sets[str(metadata.uid)] = maker_of(metadata, {})
        with self._api.translated("list pods in", f"namespace {namespace}"):
            return sorted({maker_of(pod.metadata, sets) for pod, _ in claims})

    def deliver(self, target: SecretKeyTarget, value: Secret, version: str) -> None:
        """Writes a value into a Kubernetes Secret, which must exist.

        The right to create one cannot be limited to a name.
        """
        with self._api.translated("write", f"Secret {target}"):
            self._api.core.patch_namespaced_secret(
                target.name,
                target.namespace,
                patches.deliver(target.key, value, version),
                field_manager=patches.MANAGER,
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
        revision: str | None = None,
        by: str | None = None,
    ) -> None:
        body = patches.start(replicas, images, version)
        named = "as it was" if version is None else f"with secret version {version}"
        note = Note(by, "SlotStarted", f"started {_pods(replicas)} {named}") if by else None
        self._patch("start", target, body, revision, note)

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
        body = patches.sync(template, replicas, version)
        named = "as it was" if version is None else f"with secret version {version}"
        did = f"got the pod template that serves, and started {_pods(replicas)} {named}"
        note = Note(by, "SlotSynced", did) if by else None
        self._patch("bring a pod template to", target, body, revision, note)

    def scale(
        self,
        target: DeploymentTarget,
        replicas: int,
        *,
        revision: str | None = None,
        by: str | None = None,
    ) -> None:
        body = patches.scale(replicas)
        note = Note(by, "SlotScaled", f"scaled to {_pods(replicas)}") if by else None
        self._patch("scale", target, body, revision, note)

    def exchanged(self, target: SlotSecretTarget) -> Exchanged | None:
        try:
            with self._api.translated("read", f"Secret {target}"):
                seen = self._api.core.read_namespaced_secret(
                    target.name, target.namespace, _request_timeout=TIMEOUT
                )
                return exchanged_of(seen, target)
        except Missing:
            return None

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
        did = f"wrote the login of {slot}, of secret version {version}"
        body = patches.exchange(target, slot, *login)
        self._patch_secret(
            "exchange the login in",
            target,
            patches.with_metadata(body, revision, Note(by, "LoginExchanged", did)),
        )

    def fence_secret(self, target: SlotSecretTarget, token: str) -> None:
        self._patch_secret("fence", target, patches.fence(token))

    def restart(
        self, target: DeploymentTarget, *, version: str, exchange: str, revision: str, by: str
    ) -> None:
        note = Note(by, "PodsRestarted", f"restarts its pods with secret version {version}")
        self._patch("restart", target, patches.restart(version, exchange), revision, note)

    def watch(
        self, target: DeploymentTarget, until: Callable[[Deployment], bool], seconds: float
    ) -> Deployment:
        what = f"Deployment {target}"
        with self._api.translated("watch", what):
            seen = self._read(target)
            if until(deployment_of(seen)):
                return deployment_of(seen)
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
                if until(deployment_of(seen)):
                    break
            return deployment_of(seen)

    def watch_gone(self, target: DeploymentTarget, seconds: float) -> list[str]:
        family = self._family(target)
        with self._api.translated("watch", f"the pods of Deployment {target}"):
            pods, version = self._pods(target, family)
            names = {name_of(pod) for pod in pods}
            if not names:
                return []
            for event in self._api.watch(
                self._api.core.list_namespaced_pod,
                target.namespace,
                seconds,
                label_selector=family.selector,
                resource_version=version,
            ):
                pod = event["object"]
                if event["type"] != "DELETED" and family.has(pod):
                    names.add(name_of(pod))
                else:
                    names.discard(name_of(pod))
                if not names:
                    break
        return sorted(names)

    def _patch_secret(self, verb: str, target: SlotSecretTarget, body: JsonObject) -> None:
        """Changes a Kubernetes Secret. No Event tells of it: whoever may read Events need not know
        when a login was exchanged, and the workload's restart has one."""
        with self._api.translated(verb, f"Secret {target}"):
            self._api.core.patch_namespaced_secret(
                target.name,
                target.namespace,
                body,
                field_manager=patches.MANAGER,
                _content_type=MERGE,
                _request_timeout=TIMEOUT,
            )

    def _read(self, target: DeploymentTarget) -> client.V1Deployment:
        """The Deployment, or what the target's kind is, as the SDK has it. Raises what the SDK
        raises."""
        read: Callable[..., client.V1Deployment] = self._api.of(target.kind).read
        return read(target.name, target.namespace, _request_timeout=TIMEOUT)

    def _patch(
        self,
        verb: str,
        target: DeploymentTarget,
        body: JsonObject,
        revision: str | None,
        note: Note | None,
    ) -> None:
        with self._api.translated(verb, f"{target.kind} {target}"):
            uid = uid_of(self._swapped(target, body, revision, note).metadata)
        if note is not None:
            told = events.Subject("apps/v1", target.kind, target.namespace, target.name, uid)
            events.tell(self._api, told, note)

    def _swapped(
        self, target: DeploymentTarget, body: JsonObject, revision: str | None, note: Note | None
    ) -> client.V1Deployment:
        """The Deployment as the patch has made it. Raises what the SDK raises, a conflict too if
        somebody has changed more than its status since the revision."""
        patch: Callable[..., client.V1Deployment] = self._api.of(target.kind).patch
        return swapped(
            lambda version: patch(
                target.name,
                target.namespace,
                patches.with_metadata(body, version, note),
                field_manager=patches.MANAGER,
                _content_type=STRATEGIC,
                _request_timeout=TIMEOUT,
            ),
            lambda: revision_of(self._read(target).metadata),
            revision,
        )

    def _family(self, target: DeploymentTarget) -> Family:
        """What tells the Deployment's pods from others. Raises `Missing`, `Invalid`."""
        with self._api.translated("read", f"{target.kind} {target}"):
            return Family(self._api, target, self._read(target))

    def _pods(self, target: DeploymentTarget, family: Family) -> tuple[list[client.V1Pod], str]:
        """The Deployment's pods, and the version of the list that they are from."""
        with self._api.translated("list pods in", f"namespace {target.namespace}"):
            listed = self._api.core.list_namespaced_pod(
                target.namespace, label_selector=family.selector, _request_timeout=TIMEOUT
            )
            pods = [pod for pod in listed.items if pod.metadata and family.has(pod)]
            return pods, resource_version(listed.metadata)


def _pods(count: int) -> str:
    return "1 pod" if count == 1 else f"{count} pods"


class Family:
    """A Deployment with its ReplicaSets, which are looked at when a pod names an unknown one.

    `selector` narrows what is listed, and decides nothing.
    """

    def __init__(self, api: Api, target: DeploymentTarget, deployment: client.V1Deployment) -> None:
        self.selector = query(deployment)
        self._api, self._target = api, target
        self._uid = deployment.metadata.uid if deployment.metadata else None
        self._sets: dict[str, bool] = {}
        self._gone: set[str] = set()

    def has(self, pod: client.V1Pod) -> bool:
        """Whether a pod is the Deployment's, and not over. Raises what the SDK raises."""
        claim = claim_of(pod)
        if self._target.kind != "Deployment":
            return ownership.made_by(claim, self._uid)
        maker = claim.controller
        unknown = maker is not None and maker.uid not in self._sets.keys() | self._gone
        if maker is not None and maker.kind == "ReplicaSet" and unknown:
            self._look()
            if maker.uid not in self._sets:
                self._gone.add(maker.uid)  # and is not looked for again and again
        return ownership.counts(claim, self._target.name, self._sets)

    def _look(self) -> None:
        """Learns the ReplicaSets that there are by now."""
        listed = self._api.apps.list_namespaced_replica_set(
            self._target.namespace, label_selector=self.selector, _request_timeout=TIMEOUT
        )
        for replica_set in listed.items:
            metadata = replica_set.metadata or client.V1ObjectMeta()
            owners = metadata.owner_references or []
            own = any(owner.controller and owner.uid == self._uid for owner in owners)
            self._sets[str(metadata.uid)] = own
