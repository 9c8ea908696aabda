"""The Services and EndpointSlices of a namespace, as the product sees them.

https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from rotation.model.world import Endpoint, ServiceSeen, SliceSeen

if TYPE_CHECKING:
    from kubernetes import client

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"  # Kubernetes' own, which goes by selectors
NAME = re.compile(r"[0-9a-z][0-9a-z.-]{0,252}", re.ASCII)


def service_of(service: client.V1Service) -> ServiceSeen:
    """The SDK's Service. Raises `ValueError` for what is none."""
    metadata, spec = service.metadata, service.spec
    if metadata is None or spec is None:
        raise ValueError("not a Service")
    # A name of elsewhere is all that one has: its selector finds nothing.
    selector = {} if spec.type == "ExternalName" else spec.selector or {}
    return ServiceSeen(name_of(metadata.name), dict(selector))


def slices_in(answer: bytes) -> tuple[SliceSeen, ...]:
    """The EndpointSlices of a list in JSON. Raises `ValueError`, `TypeError` and `AttributeError`
    for what is none."""
    return tuple(_slice(each) for each in json.loads(answer).get("items") or [])


def _slice(seen: Any) -> SliceSeen:
    metadata = seen.get("metadata") or {}
    labels = metadata.get("labels") or {}
    return SliceSeen(
        name=name_of(metadata.get("name")),
        service=labels.get(SERVICE_NAME),
        derived=labels.get(MANAGED_BY) == CONTROLLER,
        endpoints=tuple(_endpoint(each) for each in seen.get("endpoints") or []),
    )


def _endpoint(seen: Any) -> Endpoint:
    target = seen.get("targetRef") or {}
    pod = target.get("name") if target.get("kind") == "Pod" else None
    return Endpoint(tuple(map(str, seen.get("addresses") or [])), None if pod is None else str(pod))


def name_of(name: object) -> str:
    """A name that may stand in records. Raises `ValueError` for any other."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError("not the name of an object in a namespace")
    return name
