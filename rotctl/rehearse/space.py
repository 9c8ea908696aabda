"""One namespace, with the rights of whoever rehearses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from rotctl.adopt import cluster
from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from rotctl.adopt.original import Object

KINDS = {
    "Deployment": ("apps/v1", "deployments"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "DaemonSet": ("apps/v1", "daemonsets"),
    "CronJob": ("batch/v1", "cronjobs"),
    "Job": ("batch/v1", "jobs"),
    "Service": ("v1", "services"),
    "Pod": ("v1", "pods"),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims"),
    "Event": ("v1", "events"),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies"),
    "HTTPRoute": ("gateway.networking.k8s.io/v1", "httproutes"),
    "Rollout": ("argoproj.io/v1alpha1", "rollouts"),
}
LONGEST = 400  # characters of what an API server says


class Space:
    """Raises `ClientError` where the API server says no."""

    def __init__(self, client: Any, namespace: str) -> None:
        self._client = client
        self.namespace = namespace

    @classmethod
    def of(cls, namespace: str, context: str) -> Space:
        """By the kubeconfig; "" is the context's own namespace."""
        client, active = cluster.opened(context)
        return cls(client, namespace or cluster.namespace_of(active))

    def items(self, kind: str, selector: str = "", *, needed: bool = True) -> list[Object]:
        """All of a kind. `needed`: else there are none where it may not be looked at, or is not
        served."""
        query = {"labelSelector": selector} if selector else {}
        if kind == "Event":  # there are many
            query["fieldSelector"] = "type=Warning"
        status, found = self._asked("GET", self._path(kind, query=query))
        if status != 200:
            if not needed and status in {401, 403, 404}:
                return []
            raise self._refused(f"list {KINDS[kind][1]}", status, found)
        version = KINDS[kind][0]
        return [{"apiVersion": version, "kind": kind, **one} for one in found["items"]]

    def create(self, obj: Object) -> Object:
        kind = str(obj["kind"])
        status, found = self._asked("POST", self._path(kind), obj)
        if status != 201:
            what = f"create {kind} {obj['metadata']['name']}"
            raise self._refused(what, status, found)
        return {"apiVersion": KINDS[kind][0], "kind": kind, **found}

    def patch(self, kind: str, name: str, body: Object) -> None:
        """Merges fields into an object."""
        status, found = self._asked("PATCH", self._path(kind, name), body)
        if status != 200:
            raise self._refused(f"patch {kind} {name}", status, found)

    def delete(self, kind: str, name: str) -> None:
        """With all that it owns. One that is gone already is as well."""
        body = {"propagationPolicy": "Background"}
        status, found = self._asked("DELETE", self._path(kind, name), body)
        if status not in {200, 202, 404}:
            raise self._refused(f"delete {kind} {name}", status, found)

    def last_line(self, pod: str) -> str:
        """Of what a pod's `probe` has printed; "" while there is nothing."""
        query = {"container": "probe", "tailLines": "1"}
        path = self._path("Pod", f"{pod}/log", query)
        status, found = self._asked("GET", path, text=True)
        if status in {204, 400}:  # no node has it yet, or its container has not begun
            return ""
        if status != 200:
            raise self._refused(f"read the log of pod {pod}", status, found)
        return str(found).strip()

    def _path(self, kind: str, name: str = "", query: dict[str, str] | None = None) -> str:
        version, plural = KINDS[kind]
        root = "apis" if "/" in version else "api"
        path = f"/{root}/{version}/namespaces/{self.namespace}/{plural}"
        path += f"/{name}" if name else ""
        return f"{path}?{urlencode(query)}" if query else path

    def _asked(
        self, method: str, path: str, body: Object | None = None, *, text: bool = False
    ) -> tuple[int, Any]:
        """The status and the document; 0 if nobody answered."""
        from urllib3.exceptions import HTTPError

        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        asked = self._client.param_serialize(
            method, path, header_params={"Content-Type": kind}, auth_settings=["BearerToken"]
        )
        try:
            answer = self._client.call_api(
                *asked[:3], body, _request_timeout=cluster.SECONDS
            ).response
        except HTTPError:
            return 0, {}
        if text and answer.status == 200:
            return 200, answer.data.decode("utf-8", "replace")
        try:
            return answer.status, json.loads(answer.data)
        except ValueError:
            return answer.status, {}

    def _refused(self, what: str, status: int, found: Any) -> ClientError:
        host = self._client.configuration.host
        if not status or status >= 500 or status == 429:
            said = f" ({status})" if status else ""
            text = f"{host} does not answer{said}"
            return ClientError(text, "look at your kubeconfig", Exit.UNREACHABLE)
        why = "".join(sign if sign.isprintable() else " " for sign in str(found.get("message", "")))
        text = f"{host} does not let you {what} in {self.namespace} ({status}): {why[:LONGEST]}"
        if status in {401, 403}:
            cure = "sign in, or ask for the right; docs/rotctl.md has all that a rehearsal needs"
            return ClientError(text, cure, Exit.NOT_ALLOWED)
        return ClientError(text, "what it says is in the way", Exit.PROBLEM)
