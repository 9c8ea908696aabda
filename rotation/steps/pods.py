"""The slot's pods in one workload: delivered to, started, waited for, scaled down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.decisions.rollout import shared, unready
from rotation.model.activities import Watched
from rotation.model.errors import Conflict
from rotation.model.reasons import Code
from rotation.model.targets import SecretTarget
from rotation.model.words import few
from rotation.model.world import other
from rotation.steps import cron_jobs, in_place
from rotation.steps.drift import brought, own_containers
from rotation.steps.explaining import explain
from rotation.steps.traffic import preview_slot

if TYPE_CHECKING:
    from rotation.model.world import Deployment, Template
    from rotation.steps.running import Step


def deliver(step: Step) -> None:
    """Writes the secret's value into the slot's Kubernetes Secret.

    Pods with `delivery: csi` fetch it themselves, from Key Vault, when they start.
    """
    workload = step.workload
    if workload.secret_key(step.slot) is None:
        return
    secret = SecretTarget(step.login.secret, step.version)
    step.standby.deliver(workload, step.vault.value(secret), step.version)


def start(step: Step) -> None:
    """Starts the standby Deployment with the active one's number of pods, and its images; with
    `template: sync` with its pod template, where that differs.

    The preview Service, if there is one, is pointed at it first.
    """
    workload = step.workload
    if workload.cron_jobs:
        cron_jobs.equip(step)
        return
    came_from = preview_slot(step)
    if came_from not in {"", step.slot}:
        step.standby.preview(workload, came_from)
    active = step.pods.deployment(workload.deployment(other(step.slot)))
    if active is None or active.replicas == 0:
        text = f"the active Deployment of workload {workload.name} is gone or at zero"
        raise Conflict(Code.ACTIVE_GONE, text)
    standby = step.pods.deployment(step.deployment)
    template = _brought(step, standby, active)
    revision = standby.revision if standby else None
    if template is not None:
        step.standby.sync(
            workload,
            template,
            replicas=active.replicas,
            version=step.version,
            revision=revision,
        )
        return
    # A patch would add a container that only the active one has: that they differ may be waived.
    images = shared(active.images, standby.images) if standby else active.images
    step.standby.start(
        workload,
        replicas=active.replicas,
        images=images,
        version=step.version,
        revision=revision,
    )


def level(step: Step) -> None:
    """Starts the slot's Deployment, which traffic is about to come to, with the images that serve,
    or with those of the reference; and with as many pods as serve. With `template` in the reference
    and `template: sync` it gets all of the pod template that serves.

    Raises `Conflict` if its containers are others than those of the images, and that is not waived.
    """
    workload = step.workload
    if workload.cron_jobs:
        cron_jobs.level(step)
        return
    came_from = preview_slot(step)
    if came_from not in {"", step.slot}:
        step.arriving.preview(came_from)
    target = step.pods.deployment(step.deployment)
    serving = step.pods.deployment(workload.deployment(other(step.slot)))
    if target is None or serving is None:
        gone = step.deployment if target is None else workload.deployment(other(step.slot))
        raise Conflict(Code.CANNOT_SERVE, f"Deployment {gone} is gone")
    replicas = max(serving.replicas, target.replicas, 1)
    template = _brought(step, target, serving) if step.reference.template else None
    if template is not None:
        step.arriving.sync(
            template, replicas=replicas, version=target.version, revision=target.revision
        )
        return
    images = step.reference.images or serving.images
    differ = (images.keys() ^ target.images.keys()) - own_containers(workload)
    if differ and Code.CONTAINERS_DIFFER not in step.reference.waived:
        text = f"Deployment {step.deployment} has other containers than what serves"
        raise Conflict(Code.CONTAINERS_DIFFER, text)
    images = shared(images, target.images)
    step.arriving.level(
        replicas=replicas, images=images, version=target.version, revision=target.revision
    )


def _brought(step: Step, target: Deployment | None, serving: Deployment) -> Template | None:
    """The pod template that makes the slot's like the one that serves; None where it is not to be
    changed."""
    if step.workload.template != "sync" or target is None:
        return None
    active = other(step.slot)
    return brought(step.credential, step.workload, active, {step.slot: target, active: serving})


def await_ready(step: Step) -> Watched:
    """Whether the slot's Deployment is ready, on the version if there is one, after one bounded
    watch.

    A failure that the Deployment reports ends nothing, since it may be about the past, or pass: it
    is part of the answer that says why the Deployment is not ready, and the story waits on.
    """
    if step.workload.cron_jobs:
        return cron_jobs.await_equipped(step)
    version, target = step.reference.version, step.deployment

    def settled(deployment: Deployment) -> bool:
        return unready(deployment, version) is None

    seen = step.pods.watch(target, settled, step.edges.settings.watch_seconds)
    waiting = unready(seen, version)
    if waiting is None:
        return Watched(done=True)
    why = explain(step.pods, target, seen, waiting)
    return Watched(done=False, observed=why.text, code=why.code)


def scale_down(step: Step) -> None:
    """Scales the slot's Deployment to zero."""
    if step.workload.cron_jobs:
        cron_jobs.suspend(step)
        return
    _scale_down(step, step.pods.deployment(step.deployment))


def _scale_down(step: Step, seen: Deployment | None) -> None:
    """Scales the slot's Deployment to zero, as it was seen. Raises `Missing`."""
    revision = seen.revision if seen else None
    step.standby.scale_down(step.workload, revision, early=step.reference.early)


def await_gone(step: Step) -> Watched:
    """Whether the slot's pods are gone, after one bounded watch.

    Scales down once more where a `start` that came late, or somebody else, has undone that.
    """
    if step.workload.in_place:
        return in_place.await_left(step)
    if step.workload.cron_jobs:
        return cron_jobs.await_jobs(step)
    deployment = step.pods.deployment(step.deployment)
    if deployment is not None and deployment.replicas > 0:
        _scale_down(step, deployment)
    left = step.pods.watch_gone(step.deployment, step.edges.settings.watch_seconds)
    return Watched(not left, f"pods left: {few(left) or 'none'}")
