"""Whether a Deployment's rollout is finished, and why it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rotation.model.reasons import Code

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rotation.model.targets import DeploymentTarget
    from rotation.model.world import Deployment, Pod

RUNNING = "Running"  # what no reason to wait is called


def unready(deployment: Deployment, version: str | None = None) -> str | None:
    """Why a Deployment's rollout is not finished, or None if it is.

    With `version` it is finished only on pods of that secret version. Conditions count for nothing
    here: they may be about an earlier rollout.
    """
    if not deployment.observed:
        return "the controller has not seen the latest change"
    if version is not None and deployment.version != version:
        return f"its pods are of secret version {deployment.version or 'unknown'}, not {version}"
    wanted = deployment.replicas
    if deployment.updated < wanted:
        return f"{deployment.updated} of {wanted} pods are updated"
    if deployment.total > deployment.updated:
        return f"{deployment.total - deployment.updated} earlier pods are still there"
    if deployment.ready < wanted:
        return f"{deployment.ready} of {wanted} pods are ready"
    return None


def shared(images: dict[str, str], others: dict[str, str]) -> dict[str, str]:
    """The images of those containers that the others have too."""
    return {key: image for key, image in images.items() if key in others}


def without(images: dict[str, str], left_out: Collection[str]) -> dict[str, str]:
    """The images of the containers that are not left out."""
    return {key: image for key, image in images.items() if key not in left_out}


def named(images: dict[str, str], others: dict[str, str]) -> str:
    """The images that differ from the others, each once, in the order of their containers."""
    return ", ".join(
        dict.fromkeys(image for key, image in sorted(images.items()) if others.get(key) != image)
    )


class Explanation(NamedTuple):
    """Why a rollout is not finished: a code, and a text of known words, names and numbers."""

    code: Code
    text: str


def explained(
    target: DeploymentTarget, seen: Deployment, waiting: str, pods: Sequence[Pod] | None
) -> Explanation:
    """Why a rollout that `waiting` describes is not finished, and the command that shows the rest.

    `pods` are the Deployment's, None if they could not be looked at.
    """
    newest = _newest(pods or ())
    parts = [waiting]
    if seen.paused:
        parts.append("the Deployment is paused")
    if seen.failure is not None:
        parts.append(f"{seen.failure} ({seen.refusal})" if seen.refusal else seen.failure)
    if newest is not None:
        parts.append(f"pod {newest.name}: {_state(newest)}")
    elif pods is not None:
        parts.append("it has no pods")
    parts.append(_command(target, newest))
    return Explanation(_code(seen), "; ".join(parts))


def _newest(pods: Sequence[Pod]) -> Pod | None:
    """The pod that was made last, of those that are not ready where there are any."""
    unready_ones = [pod for pod in pods if not pod.ready]
    return max(
        unready_ones or pods,
        key=lambda pod: (pod.created.timestamp() if pod.created else 0.0, pod.name),
        default=None,
    )


def _state(pod: Pod) -> str:
    """How a pod does: what it waits for, its restarts, and how a container ended last."""
    if pod.ready:
        return "ready"
    parts = [pod.waiting or f"{RUNNING} and not ready"]
    if pod.restarts:
        parts.append(f"{pod.restarts} restarts")
    if pod.exit_code is not None:
        why = f" ({pod.ended})" if pod.ended else ""
        parts.append(f"exit code {pod.exit_code}{why}")
    return ", ".join(parts)


def _command(target: DeploymentTarget, newest: Pod | None) -> str:
    """The command that shows more: logs of what has run, events of what has not."""
    has_run = newest is not None and (newest.waiting is None or newest.exit_code is not None)
    return target.logs if has_run else target.describe(newest.name if newest else None)


def _code(seen: Deployment) -> Code:
    """The code for the most telling of what keeps a Deployment from coming up."""
    if seen.paused:
        return Code.DEPLOYMENT_PAUSED
    if seen.failure == "FailedCreate":
        return Code.PODS_REFUSED
    return Code.NOT_COMING_UP if seen.failure else Code.NOT_READY
