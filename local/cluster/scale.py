"""The scale subresource: an object's replicas as an `autoscaling/v1` Scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.cluster.errors import bad_request, invalid
from local.cluster.selectors import from_spec

if TYPE_CHECKING:
    from local.cluster.kinds import Kind, Object


def scale_of(obj: Object) -> Object:
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept},
        "spec": {"replicas": obj["spec"]["replicas"]},
        "status": {
            "replicas": (obj.get("status") or {}).get("replicas", 0),
            "selector": _selector_text(obj),
        },
    }


def _selector_text(obj: Object) -> str:
    parts = []
    for key, operator, values in from_spec(obj["spec"]["selector"]):
        if operator == "in" and len(values) == 1:
            parts.append(f"{key}={values[0]}")
        elif values:
            parts.append(f"{key} {operator} ({','.join(values)})")
        else:
            parts.append(key if operator == "exists" else f"!{key}")
    return ",".join(parts)


def with_scale(kind: Kind, obj: Object, scale: Any) -> Object:
    """The object with the replicas of a Scale, and its preconditions."""
    if not isinstance(scale, dict):
        raise bad_request("the body of the request is not a Scale")
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    sent = scale.get("metadata") or {}
    if not isinstance(replicas, int) or replicas < 0:
        problem = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid(kind, obj["metadata"]["name"], [("spec.replicas", problem)])
    preconditions = {k: sent[k] for k in ("resourceVersion", "uid") if sent.get(k)}
    return {
        **obj,
        "metadata": {**obj["metadata"], **preconditions},
        "spec": {**obj["spec"], "replicas": replicas},
    }
