"""For those who use a cluster: kubeconfig files, and manifests applied to it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import yaml

from local.cluster.kinds import BY_KIND, NAMESPACE
from local.storage import write_private

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kubernetes.client import ApiClient

    from local.cluster.kinds import Object

MANAGER = "local"


def write_kubeconfig(path: Path, *, server: str, authority: Path, token: str, name: str) -> Path:
    """A kubeconfig for one cluster and one user, with the token in it: mode 0600."""
    ca = base64.b64encode(authority.read_bytes()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [
            {"name": name, "cluster": {"server": server, "certificate-authority-data": ca}}
        ],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    write_private(path, yaml.safe_dump(config, sort_keys=False).encode())
    return path


def connect(kubeconfig: Path) -> ApiClient:
    """A client of its own, which shares no global configuration."""
    # Importing the client takes a third of a second: only its users pay.
    from kubernetes.config import new_client_from_config  # noqa: PLC0415 - see above

    client: ApiClient = new_client_from_config(str(kubeconfig), persist_config=False)  # type: ignore[no-untyped-call]  # the SDK's own
    return client


def read_manifests(source: str | Path) -> list[Object]:
    """The objects of a multi-document YAML text, or of a file."""
    text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
    return [document for document in yaml.safe_load_all(text) if document]


def apply(
    client: ApiClient, manifests: str | Path | Iterable[Object], *, namespace: str = "default"
) -> list[Object]:
    """Server-side applies manifests in order, taking over fields that others set. Returns the
    stored objects. Raises the client's ApiException."""
    objects = read_manifests(manifests) if isinstance(manifests, (str, Path)) else list(manifests)
    return [_apply_one(client, obj, namespace) for obj in objects]


def _apply_one(client: ApiClient, obj: Object, namespace: str) -> Object:
    from kubernetes.client import ApiException  # noqa: PLC0415 - as in `connect`

    query = urlencode({"fieldManager": MANAGER, "force": "true"})
    request = client.param_serialize(
        method="PATCH",
        resource_path=f"{path_of(obj, namespace)}?{query}",
        header_params={"Content-Type": "application/apply-patch+yaml"},
        auth_settings=["BearerToken"],
    )
    method, url, headers, *_ = request
    response = client.call_api(method, url, headers, json.dumps(obj))
    body = response.read().decode()  # type: ignore[no-untyped-call]  # the SDK's own
    if response.status >= 300:
        raise ApiException(status=response.status, reason=response.reason, body=body)
    answer: Object = json.loads(body)
    return answer


def path_of(obj: Object, namespace: str = "default") -> str:
    """The API path of an object. Raises ValueError for a kind that is not served."""
    kind = BY_KIND.get((obj["apiVersion"], obj["kind"]))
    if kind is None:
        raise ValueError(f"{obj['kind']} of {obj['apiVersion']} is not served here")
    metadata = obj["metadata"]
    prefix = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    if kind.namespaced:
        prefix += f"/{NAMESPACE.plural}/{metadata.get('namespace', namespace)}"
    return f"{prefix}/{kind.plural}/{metadata['name']}"
