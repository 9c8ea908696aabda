"""Whether a Deployment's rollout is finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rotation.model.world import Deployment


def unready(deployment: Deployment, version: str | None = None) -> str | None:
    """Why a Deployment's rollout is not finished, or None if it is.

    With `version` it is finished only on pods of that secret version.
    """
    if not deployment.observed:
        return "the controller has not seen the latest change"
    if version is not None and deployment.version != version:
        return f"its pods are of secret version {deployment.version}, not {version}"
    wanted = deployment.replicas
    if deployment.updated < wanted:
        return f"{deployment.updated} of {wanted} pods are updated"
    if deployment.total > deployment.updated:
        return f"{deployment.total - deployment.updated} earlier pods are still there"
    if deployment.ready < wanted:
        return f"{deployment.ready} of {wanted} pods are ready"
    return None


def named(images: dict[str, str], others: dict[str, str]) -> str:
    """The images that differ from the others, each once, in the order of their containers."""
    return ", ".join(
        dict.fromkeys(image for key, image in sorted(images.items()) if others.get(key) != image)
    )
