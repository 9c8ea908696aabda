"""Patches that are compare-and-swaps, of objects whose controllers write their status too."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, TypeVar

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from rotation.edges.cluster import patches
from rotation.edges.cluster.client import resource_version

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

RACES = 5  # with those who write a status, until the step begins anew


def revision_of(metadata: client.V1ObjectMeta | None) -> str:
    """An object's revision: which one it is, in which generation, and what a rotation last did to
    it; a slash, and its version.

    The version changes with each word of a controller on its status too, and the generation does
    not: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
    """
    metadata = metadata or client.V1ObjectMeta()
    notes = metadata.annotations or {}
    noted = [notes.get(patches.ROTATION), notes.get(patches.DID)]
    if patches.FENCE in notes:
        noted.append(notes[patches.FENCE])
    did = zlib.crc32(repr(noted).encode())
    same = f"{metadata.uid or ''}.{metadata.generation or 0}.{did:08x}"
    return f"{same}/{resource_version(metadata)}"


def swapped(patch: Callable[[str | None], T], look: Callable[[], str], revision: str | None) -> T:
    """The object as `patch` has made it, which gets the version that it must still have; `look`
    gives its revision as it is now.

    Raises what the SDK raises, a conflict too if somebody has changed more than the object's status
    since the revision.
    """
    same, _, version = (revision or "").rpartition("/")
    for left in reversed(range(RACES)):
        try:
            return patch(version or None)
        except ApiException as error:
            if error.status != 409 or revision is None or not left:
                raise
            # Pods that crash change a status faster than traffic is looked at.
            now, _, latest = look().rpartition("/")
            if now != same or latest == version:
                raise
            version = latest
    raise AssertionError("the last conflict was raised")
