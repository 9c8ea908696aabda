"""Says why a rollout is not finished, by a look at its pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.decisions.rollout import Explanation, explained
from rotation.model.errors import EdgeError

if TYPE_CHECKING:
    from rotation.contracts.pods import PodsReader
    from rotation.model.targets import DeploymentTarget
    from rotation.model.world import Deployment


def explain(
    pods: PodsReader, target: DeploymentTarget, seen: Deployment, waiting: str
) -> Explanation:
    """Why a rollout is not finished, by a look at the Deployment's pods.

    Where that look fails, the explanation does without it and says so.
    """
    try:
        listed = pods.listed(target)
    except EdgeError as error:
        why = explained(target, seen, waiting, None)
        text = f"{why.text}; its pods could not be looked at: {error.code}"
        return why._replace(text=text)
    return explained(target, seen, waiting, listed)
