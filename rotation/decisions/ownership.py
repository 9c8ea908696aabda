"""Whose a pod is: a Deployment's by its ReplicaSets, whatever labels it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.model.words import few

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rotation.model.world import Claim, Maker

# What makes pods that a rotation can start and stop; a pod that nothing made is somebody's copy.
SCALED = {"Deployment", "Pod"}
MOST_NAMES = 3  # in one text
# Such a pod has no processes any more, and stays until somebody deletes it: evicted ones do.
OVER = {"Failed", "Succeeded"}


def counts(claim: Claim, deployment: str, sets: Mapping[str, bool]) -> bool:
    """Whether a pod is one of the Deployment's, and not over.

    `sets` are the ReplicaSets that its selector finds, by uid, and whether the Deployment controls
    them. A debug copy has no controller, whatever its labels.
    """
    maker = claim.controller
    if claim.phase in OVER or maker is None or maker.kind != "ReplicaSet":
        return False
    if maker.uid in sets:
        return sets[maker.uid]
    # A ReplicaSet may be deleted while its pods still end (`revisionHistoryLimit: 0`). Its name
    # was one that this Deployment alone gives.
    return bool(claim.template) and maker.name == f"{deployment}-{claim.template}"


def made_by(claim: Claim, uid: str | None) -> bool:
    """Whether a pod is one that an object makes itself, as a StatefulSet does, and not over."""
    maker = claim.controller
    return maker is not None and maker.uid == uid and claim.phase not in OVER


def unscaled(makers: Iterable[Maker]) -> list[Maker]:
    """Those that a rotation cannot start and stop."""
    return [maker for maker in makers if maker.kind not in SCALED]


def named(makers: Iterable[Maker]) -> str:
    """The kinds and names of some, in one text."""
    return few([f"{maker.kind} {maker.name}" for maker in makers], MOST_NAMES)
