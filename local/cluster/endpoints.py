"""Endpoints and EndpointSlices: for readers only, the routing does not go by them.

What pods listen on are ports of 127.0.0.1, whatever addresses their connections come from, so each
has a subset, and a slice, of its own.

https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.cluster import kinds
from local.cluster.controllers import Controller, Key, key_of, leaving, reference_to
from local.cluster.replicasets import is_ready
from local.cluster.services import local_port, selected_pods

if TYPE_CHECKING:
    from local.cluster.kinds import Kind, Object
    from local.cluster.store import Change

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_LABEL = "endpointslice.kubernetes.io/managed-by"
HEADLESS_LABEL = "service.kubernetes.io/headless"
MANAGER = "endpointslice-controller.k8s.io"


class EndpointsController(Controller):
    kind = kinds.SERVICE

    def concerns(self, change: Change) -> list[Key]:
        if change.kind is kinds.SERVICE:
            return [key_of(change.object)]
        if change.kind is kinds.POD:
            services = self.store.items(kinds.SERVICE, change.object["metadata"]["namespace"])
            return [key_of(service) for service in services]
        return []

    def reconcile(self, obj: Object) -> None:
        if not obj["spec"].get("selector"):
            return  # written by hand, as upstream
        found = selected_pods(self.store, obj)
        pods = [pod for pod in found if (pod.get("status") or {}).get("podIP")]
        self._write(kinds.ENDPOINTS, _endpoints(obj, pods))
        slices = [_slice(obj, pod) for pod in pods] or [_empty(obj)]
        for wanted in slices:
            self._write(kinds.ENDPOINT_SLICE, wanted)
        names = {wanted["metadata"]["name"] for wanted in slices}
        for old in self.store.items(kinds.ENDPOINT_SLICE, obj["metadata"]["namespace"]):
            metadata = old["metadata"]
            labels = metadata.get("labels") or {}
            ours = (labels.get(SERVICE_LABEL), labels.get(MANAGED_LABEL))
            if ours == (obj["metadata"]["name"], MANAGER) and metadata["name"] not in names:
                self.registry.delete(kinds.ENDPOINT_SLICE, old)

    def _write(self, kind: Kind, wanted: Object) -> None:
        current = self.store.get(kind, *key_of(wanted))
        if current is None:
            self.registry.create(kind, wanted)
            return
        content = {key: value for key, value in wanted.items() if key != "metadata"}
        labels = wanted["metadata"].get("labels") or {}

        def change(obj: Object) -> None:
            obj.update(content)
            obj["metadata"]["labels"] = labels

        self.registry.modify(kind, current, change)


def _ports(service: Object, pod: Object) -> list[Object]:
    found = [
        {"name": port.get("name", ""), "port": local, "protocol": port["protocol"]}
        for port in service["spec"].get("ports") or []
        if (local := local_port(pod, port["targetPort"])) is not None
    ]
    return [{k: v for k, v in port.items() if v != ""} for port in found]


def _target(pod: Object) -> Object:
    metadata = pod["metadata"]
    reference = {key: metadata[key] for key in ("name", "namespace", "uid")}
    return {"kind": "Pod", **reference}


def _endpoints(service: Object, pods: list[Object]) -> Object:
    subsets = [
        {
            "addresses" if is_ready(pod) else "notReadyAddresses": [
                {"ip": "127.0.0.1", "nodeName": pod["spec"]["nodeName"], "targetRef": _target(pod)}
            ],
            "ports": _ports(service, pod),
        }
        for pod in pods
        if not leaving(pod)
    ]
    metadata = {key: service["metadata"][key] for key in ("name", "namespace")}
    owner = {"ownerReferences": [reference_to(service) | {"controller": False}]}
    return {"metadata": {**metadata, **owner}, "subsets": subsets}


def _empty(service: Object) -> Object:
    """The slice of a Service that no pod is behind."""
    metadata = _metadata(service, service)
    return {"metadata": metadata, "addressType": "IPv4", "endpoints": None, "ports": None}


def _metadata(service: Object, of: Object) -> Object:
    name = service["metadata"]["name"]
    headless = {HEADLESS_LABEL: ""} if service["spec"].get("clusterIP") == "None" else {}
    return {
        "name": f"{name}-{of['metadata']['uid'][:8]}",
        "generateName": f"{name}-",
        "namespace": service["metadata"]["namespace"],
        "labels": {
            **(service["metadata"].get("labels") or {}),
            **headless,
            SERVICE_LABEL: name,
            MANAGED_LABEL: MANAGER,
        },
        "ownerReferences": [reference_to(service)],
    }


def _slice(service: Object, pod: Object) -> Object:
    return {
        "metadata": _metadata(service, pod),
        "addressType": "IPv4",
        "endpoints": [_endpoint(pod)],
        "ports": _ports(service, pod),
    }


def _endpoint(pod: Object) -> Object:
    ready, going = is_ready(pod), leaving(pod)
    return {
        "addresses": ["127.0.0.1"],
        "conditions": {"ready": ready and not going, "serving": ready, "terminating": going},
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": _target(pod),
    }
