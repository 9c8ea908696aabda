"""The SDK's StatefulSets and DaemonSets as the product's, and Secrets whose login is exchanged."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from rotation.contracts.pods import Exchanged
from rotation.edges.cluster import patches
from rotation.edges.cluster.client import resource_version
from rotation.edges.cluster.races import revision_of
from rotation.edges.cluster.rollouts import exchange_in, known_version, selector_of
from rotation.model.errors import Invalid
from rotation.model.reasons import Code
from rotation.model.world import SLOTS, Deployment, SlotSecret, Template
from rotation.secrecy import Secret

if TYPE_CHECKING:
    from kubernetes import client

    from rotation.model.targets import Kind, SlotSecretTarget
    from rotation.model.wire import JsonObject


def single_of(kind: Kind, seen: Any, document: JsonObject) -> Deployment:
    """The SDK's StatefulSet or DaemonSet as a `Deployment`. Raises `Invalid` if it is none.

    https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/stateful-set-v1/
    https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/daemon-set-v1/
    """
    metadata, spec = seen.metadata, seen.spec
    if metadata is None or spec is None:
        text = f"the API server answered a {kind} without metadata or spec"
        raise Invalid(Code.CLUSTER_ANSWER, text)
    notes = (spec.template.metadata.annotations if spec.template.metadata else None) or {}
    strategy = (document.get("spec") or {}).get("updateStrategy") or {}
    replicas, ready, updated, total = _counts(kind, spec, seen.status)
    observed = (seen.status.observed_generation if seen.status else None) or 0
    return Deployment(
        namespace=str(metadata.namespace),
        name=str(metadata.name),
        kind=kind,
        replicas=replicas,
        ready=ready,
        updated=updated,
        total=total,
        observed=observed >= (metadata.generation or 0),
        images={},
        version=known_version(notes.get(patches.VERSION)),
        selector=selector_of(seen),
        labels=dict((spec.template.metadata.labels if spec.template.metadata else None) or {}),
        template=Template((document.get("spec") or {}).get("template") or {}, strategy),
        revision=revision_of(metadata),
        restarted=exchange_in(notes),
        stays=stays(strategy),
    )


def _counts(kind: Kind, spec: Any, status: Any) -> tuple[int, int, int, int]:
    """How many pods there are to be, are ready, are of the newest template, and are there."""
    if kind == "DaemonSet":
        return (
            (status.desired_number_scheduled if status else None) or 0,
            (status.number_ready if status else None) or 0,
            (status.updated_number_scheduled if status else None) or 0,
            (status.current_number_scheduled if status else None) or 0,
        )
    return (
        1 if spec.replicas is None else spec.replicas,
        (status.ready_replicas if status else None) or 0,
        (status.updated_replicas if status else None) or 0,
        (status.replicas if status else None) or 0,
    )


def stays(strategy: JsonObject) -> str | None:
    """Why a changed template does not replace all pods; None if it does."""
    if strategy.get("type") == "OnDelete":
        return "its updateStrategy is OnDelete"
    if (strategy.get("rollingUpdate") or {}).get("partition"):
        return "its updateStrategy has a partition"
    return None


def exchanged_of(seen: client.V1Secret, target: SlotSecretTarget) -> Exchanged:
    """The SDK's Secret, with what stands under the target's keys."""
    notes = (seen.metadata.annotations if seen.metadata else None) or {}
    slot, by = notes.get(patches.HOLDS), notes.get(patches.ROTATION)
    data = seen.data or {}
    return Exchanged(
        SlotSecret(
            # Anybody may have written it: what is no slot is as good as nothing.
            slot=slot if slot in SLOTS else None,
            immutable=bool(seen.immutable),
            revision=resource_version(seen.metadata),
            fence=notes.get(patches.FENCE),
            exchanged=by,
        ),
        _text(data.get(target.key)),
        None if target.role_key is None else _text(data.get(target.role_key)),
    )


def _text(encoded: bytes | str | None) -> Secret | None:
    """What a Secret's datum holds; None where that is nothing, or no text."""
    if not encoded:
        return None
    try:
        return Secret(base64.b64decode(encoded, validate=True).decode())
    except (binascii.Error, ValueError):
        return None
