"""What is there in one namespace, read by a kubeconfig. Secrets are not read."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yaml import YAMLError

from rotctl.adopt.original import flat
from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from rotctl.adopt.original import Object

NEEDED = ("apps/v1/deployments", "v1/services")
WANTED = (
    *("apps/v1/statefulsets", "apps/v1/daemonsets", "batch/v1/cronjobs", "v1/configmaps"),
    *("v1/persistentvolumeclaims", "autoscaling/v2/horizontalpodautoscalers", "v1/pods"),
    *("policy/v1/poddisruptionbudgets", "networking.k8s.io/v1/networkpolicies"),
    "secrets-store.csi.x-k8s.io/v1/secretproviderclasses",
    *("external-secrets.io/v1/externalsecrets", "external-secrets.io/v1/secretstores"),
    *("argoproj.io/v1alpha1/rollouts", "keda.sh/v1alpha1/scaledobjects"),
    *("autoscaling.k8s.io/v1/verticalpodautoscalers", "monitoring.coreos.com/v1/servicemonitors"),
    *("monitoring.coreos.com/v1/podmonitors", "gateway.networking.k8s.io/v1/httproutes"),
)
# What the SDK raises for a file that is YAML and no kubeconfig.
MISSHAPEN = (TypeError, KeyError, AttributeError, ValueError)
SECONDS = (10.0, 30.0)  # to connect, to read


@dataclass(frozen=True)
class Seen:
    """What a namespace has. `unread` are kinds that whoever asks may not list; `authority` is
    PEM."""

    objects: tuple[Object, ...]
    unread: tuple[str, ...]
    name: str
    server: str
    authority: str


def opened(context: str) -> tuple[Any, Any]:
    """A client of the cluster that a kubeconfig's context names ("": its current one), and the
    context.

    Raises `ClientError`.
    """
    try:
        from kubernetes import config
    except ImportError as error:
        text = f"a cluster cannot be read here: {error}"
        cure = "install credential-rotation[rotctl,adopt] with pip; adopt reads files, with --from"
        raise ClientError(text, cure, Exit.USAGE) from None
    try:
        # The SDK reads the variable once, when it is imported.
        file = os.environ.get("KUBECONFIG") or None
        client = config.new_client_from_config(file, context=context or None, persist_config=False)  # type: ignore[no-untyped-call]  # the SDK's own
        every, current = config.list_kube_config_contexts(file)  # type: ignore[no-untyped-call]  # the SDK's own
    except (config.ConfigException, OSError, YAMLError, *MISSHAPEN) as error:
        text = f"no kubeconfig will do: {type(error).__name__}"
        cure = "set KUBECONFIG, `az aks get-credentials` writes one; look at --context"
        raise ClientError(text, cure, Exit.USAGE) from None
    return client, next((one for one in every if one["name"] == context), current)


def namespace_of(active: Any) -> str:
    """The namespace that a context names."""
    return str((active.get("context") or {}).get("namespace") or "default")


def seen(namespace: str, context: str) -> Seen:
    """Everything of a namespace ("": the context's own) that a twin may depend on.

    Raises `ClientError`.
    """
    client, active = opened(context)
    own = namespace or namespace_of(active)
    objects: list[Object] = []
    unread = []
    for kind in (*NEEDED, *WANTED):
        status, found = _listed(client, kind, own)
        if status == 200:
            objects += flat(_typed(found))
        elif kind in NEEDED or status in {0, 401}:
            raise _unreadable(client, kind, own, status)
        elif status != 404:
            unread.append(kind.rpartition("/")[2])
    name = str(active["name"])
    return Seen(tuple(objects), tuple(unread), name, client.configuration.host, _authority(client))


def _listed(client: Any, kind: str, namespace: str) -> tuple[int, Any]:
    """The status and the list; 0 if nobody answered."""
    prefix, _, plural = kind.rpartition("/")
    root = "api" if "/" not in prefix else "apis"
    path = f"/{root}/{prefix}/namespaces/{namespace}/{plural}"
    from urllib3.exceptions import HTTPError

    asked = client.param_serialize("GET", path, auth_settings=["BearerToken"])
    try:
        answer = client.call_api(*asked[:3], _request_timeout=SECONDS).response
    except HTTPError:
        return 0, None
    return answer.status, json.loads(answer.data) if answer.status == 200 else None


def _typed(found: Any) -> list[Any]:
    """A list's items, which do not say their kind themselves."""
    kind = str(found["kind"]).removesuffix("List")
    return [{"apiVersion": found["apiVersion"], "kind": kind, **one} for one in found["items"]]


def _unreadable(client: Any, kind: str, namespace: str, status: int) -> ClientError:
    what, host = kind.rpartition("/")[2], client.configuration.host
    if not status:
        return ClientError(f"{host} does not answer", "look at your kubeconfig", Exit.UNREACHABLE)
    text = f"{host} does not let you list {what} in {namespace} ({status})"
    return ClientError(text, "sign in, or ask for the right to read them", Exit.NOT_ALLOWED)


def _authority(client: Any) -> str:
    """What the kubeconfig trusts, as PEM; it is no secret."""
    path = client.configuration.ssl_ca_cert
    if not path:
        return ""
    text = Path(path).read_text(encoding="utf-8")
    return text if text.startswith("-----") else base64.b64decode(text).decode()


def pod_addresses(objects: tuple[Object, ...], labels: dict[str, str]) -> list[str]:
    """The addresses of the pods with these labels."""
    found = []
    for one in objects:
        own = (one["metadata"].get("labels") or {}) if one["kind"] == "Pod" else {}
        addresses = (one.get("status") or {}).get("podIPs") or []
        if one["kind"] == "Pod" and labels.items() <= own.items():
            found += [address["ip"] for address in addresses]
    return found
