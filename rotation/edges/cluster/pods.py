"""The SDK's pods as the product's: whose they are, and how they do, in known words.

Whoever may write pods may write any text into their status: only words and numbers that are known
are taken over.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kubernetes import client

from rotation.model.world import Claim, Controller, Maker, Pod

if TYPE_CHECKING:
    from collections.abc import Sequence

TEMPLATE = "pod-template-hash"
# https://pkg.go.dev/k8s.io/kubernetes/pkg/kubelet/images and .../kuberuntime name most of them.
WAITING = {
    "ContainerCreating", "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError",
    "ErrImageNeverPull", "ErrImagePull", "ImageInspectError", "ImagePullBackOff",
    "InvalidImageName", "PodInitializing", "PostStartHookError", "PreCreateHookError",
    "RegistryUnavailable", "RunContainerError",
}  # fmt: skip
ENDED = {
    "Completed", "ContainerCannotRun", "ContainerStatusUnknown", "DeadlineExceeded", "Error",
    "OOMKilled", "StartError",
}  # fmt: skip
KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,62}", re.ASCII)
NAME = re.compile(r"[0-9a-z][0-9a-z.-]{0,252}", re.ASCII)
UNSCHEDULED = {"SchedulingGated", "Unschedulable"}


def claim_of(pod: client.V1Pod) -> Claim:
    """The facts by which a pod is told to be a Deployment's."""
    metadata = pod.metadata or client.V1ObjectMeta()
    made_by = next((owner for owner in metadata.owner_references or [] if owner.controller), None)
    return Claim(
        controller=Controller(made_by.kind, made_by.name, made_by.uid) if made_by else None,
        phase=str((pod.status.phase if pod.status else None) or "Pending"),
        template=(metadata.labels or {}).get(TEMPLATE),
    )


def name_of(pod: client.V1Pod) -> str:
    """The pod's name. Raises `ValueError` for one that is none: it would stand in records."""
    name = str(pod.metadata.name if pod.metadata else "")
    if not NAME.fullmatch(name):
        raise ValueError("not the name of a pod")
    return name


def maker_of(metadata: client.V1ObjectMeta | None, sets: dict[str, Maker]) -> Maker:
    """What makes a pod, by its metadata; of a ReplicaSet what `sets` names, by uids.

    Raises `ValueError` for a kind or name that is none: they would stand in records.
    """
    metadata = metadata or client.V1ObjectMeta()
    own = next((owner for owner in metadata.owner_references or [] if owner.controller), None)
    kind, name = (own.kind, own.name) if own else ("Pod", metadata.name)
    if not KIND.fullmatch(str(kind)) or not NAME.fullmatch(str(name)):
        raise ValueError("not the kind and name of what makes pods")
    return sets.get(own.uid if own else "", Maker(str(kind), str(name)))


def pod_of(seen: client.V1Pod) -> Pod:
    """The SDK's pod as a `Pod`. Its addresses are there once it has been scheduled.

    Raises `ValueError` as `name_of` does.
    """
    metadata = seen.metadata or client.V1ObjectMeta()
    status = seen.status or client.V1PodStatus()
    own = [status.pod_ip, *(each.ip for each in status.pod_ips or [])]
    node = [status.host_ip, *(each.ip for each in status.host_ips or [])]
    containers = [*(status.init_container_statuses or []), *(status.container_statuses or [])]
    ended = _ended(containers)
    return Pod(
        name=name_of(seen),
        addresses=tuple(dict.fromkeys(address for address in own if address)),
        nodes=tuple(dict.fromkeys(address for address in node if address)),
        created=metadata.creation_timestamp,
        ready=any(
            condition.type == "Ready" and condition.status == "True"
            for condition in status.conditions or []
        ),
        waiting=_waiting(status, containers),
        restarts=sum(container.restart_count or 0 for container in containers),
        exit_code=ended.exit_code if ended else None,
        ended=ended.reason if ended and ended.reason in ENDED else None,
    )


def _waiting(
    status: client.V1PodStatus, containers: Sequence[client.V1ContainerStatus]
) -> str | None:
    """Why a pod does not run, in a known word; None if all of its containers run or have ended."""
    for condition in status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return condition.reason if condition.reason in UNSCHEDULED else "not scheduled"
    words = [
        container.state.waiting.reason if container.state.waiting.reason in WAITING else "waiting"
        for container in containers
        if container.state and container.state.waiting
    ]
    # The others wait for the one that cannot start.
    telling = [word for word in words if word not in {"PodInitializing", "ContainerCreating"}]
    if not words and not containers:
        return "Pending"
    return next(iter([*telling, *words]), None)


def _ended(
    containers: Sequence[client.V1ContainerStatus],
) -> client.V1ContainerStateTerminated | None:
    """How a container ended last: the first one that failed, or else the first that ended."""
    terminations = [
        state.terminated
        for container in containers
        for state in (container.state, container.last_state)
        if state and state.terminated and (state.terminated.exit_code or container.restart_count)
    ]
    return next(
        (each for each in terminations if each.exit_code), terminations[0] if terminations else None
    )
