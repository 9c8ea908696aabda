"""Cordons and drains nodes as `kubectl` does: each pod is evicted, as soon as its budget allows.

https://kubernetes.io/docs/tasks/administer-cluster/safely-drain-node/
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

NODES = "/api/v1/nodes"
PAUSE = 0.25  # seconds between two tries; kubectl waits for five
MERGE = "application/merge-patch+json"


def nodes(client: ApiClient) -> list[str]:
    """Their names, the one with the most pods first."""
    _, found = _ask(client, "GET", NODES)
    names = [item["metadata"]["name"] for item in found["items"]]
    return sorted(names, key=lambda name: len(_pods(client, name)), reverse=True)


def cordon(client: ApiClient, node: str) -> None:
    """No further pod is given to the node."""
    _schedulable(client, node, can=False)


def uncordon(client: ApiClient, node: str) -> None:
    _schedulable(client, node, can=True)


def _schedulable(client: ApiClient, node: str, *, can: bool) -> None:
    patch = {"spec": {"unschedulable": None if can else True}}
    status, answer = _ask(client, "PATCH", f"{NODES}/{node}", patch, MERGE)
    if status != 200:
        raise RuntimeError(f"node {node} cannot be cordoned: {answer.get('message')}")


def drain(client: ApiClient, node: str, seconds: float = 60) -> int:
    """Cordons a node and evicts its pods; returns how many, once they are gone.

    Raises `TimeoutError` if budgets, or pods that do not end, keep it from that.
    """
    cordon(client, node)
    deadline, evicted = time.monotonic() + seconds, set[str]()
    while left := _pods(client, node):
        if time.monotonic() > deadline:
            names = ", ".join(pod["metadata"]["name"] for pod in left)
            raise TimeoutError(f"node {node} still has {names} after {seconds:g} s")
        evicted |= {uid for pod in left if (uid := _evicted(client, pod))}
        time.sleep(PAUSE)
    return len(evicted)


def _pods(client: ApiClient, node: str) -> list[dict[str, Any]]:
    """Those that are not over."""
    _, found = _ask(client, "GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}")
    over = {"Succeeded", "Failed"}
    return [pod for pod in found["items"] if pod.get("status", {}).get("phase") not in over]


def _evicted(client: ApiClient, pod: dict[str, Any]) -> str | None:
    """The pod's uid, if it may go now. A budget that refuses is asked again."""
    metadata = pod["metadata"]
    if "deletionTimestamp" in metadata:
        return None
    where = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/eviction"
    names = {key: metadata[key] for key in ("name", "namespace")}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": names}
    status, answer = _ask(client, "POST", where, eviction)
    if status not in {201, 404, 429}:
        raise RuntimeError(f"pod {metadata['name']} cannot be evicted: {answer.get('message')}")
    return str(metadata["uid"]) if status == 201 else None


def _ask(
    client: Any, method: str, path: str, body: object = None, type_: str = "application/json"
) -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": type_} if body is not None else {}
    parts = client.param_serialize(
        method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
    )
    answer = client.call_api(*parts).response
    return answer.status, dict(json.loads(answer.read()))
