"""The demo's world: what docs/onboarding.md leads to, with this machine's addresses.

One credential, `orders-db`; two workloads that use it: `api` by CSI volume in namespace orders,
`web` by Kubernetes Secret in namespace shop. Manifests and rights are those of infra/kubernetes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from local.process import ROOT
from rotation.model.world import SLOTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rotation.secrecy import Secret

CREDENTIAL = "orders-db"
DATABASE = "orders"
WORKLOADS = {"api": "orders", "web": "shop"}  # name to namespace
MANIFESTS = ROOT / "infra" / "kubernetes"
IMAGES = {
    "registry.example/orders:1.0": ["python", "-m", "local.workload"],
    # What the clients of `rotctl rehearse` run in.
    "mcr.microsoft.com/azurelinux/distroless/python:3.12-nonroot": ["python3"],
}
APPROVERS = ["ada@contoso.example", "grace@contoso.example"]
LINK_KEY = "link-key"  # the secret that signs links, where there are some
OPERATOR = "olga@contoso.example"  # asks for rotations, and decides none


@dataclass(frozen=True)
class Addresses:
    """Where this machine's stand-ins are."""

    vault: str
    database_port: int
    authority: Path


def configuration(
    addresses: Addresses, cluster: str, credential: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The content of credentials.yaml. `credential` is merged over the demo's."""
    return {
        "clusters": {
            "local": {"server": cluster, "certificateAuthority": str(addresses.authority)}
        },
        "credentials": {CREDENTIAL: {**_credential(addresses), **(credential or {})}},
    }


def _credential(addresses: Addresses) -> dict[str, Any]:
    return {
        "vault": addresses.vault,
        "validity": "90d",
        "format": "password",
        "database": {
            "host": "127.0.0.1",
            "port": addresses.database_port,
            "name": DATABASE,
            "admin": {"role": "rotator", "secret": "rotator"},
            "sslmode": "disable",  # the PostgreSQL that comes from a package registry has no TLS
        },
        "slots": {slot: {"role": f"orders_{slot}", "secret": secret(slot)} for slot in SLOTS},
        "workloads": [
            workload("api", {"delivery": "csi"}),
            workload("web", {"delivery": "secret", "secrets": {s: secret(s) for s in SLOTS}}),
        ],
        "drain": "10s",
        "approval": {"approvers": APPROVERS},
    }


def secret(slot: str) -> str:
    """The slot's Key Vault secret, and its Kubernetes Secret."""
    return f"{CREDENTIAL}-{slot}"


def workload(name: str, delivery: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "cluster": "local",
        "namespace": WORKLOADS[name],
        "service": name,
        "preview": f"{name}-preview",
        "deployments": {slot: f"{name}-{slot}" for slot in SLOTS},
        **delivery,
        "application": f"orders-{name}",
        "tests": [
            {"path": "/healthz"},
            {"path": "/whoami", "json": {"role": "{role}", "slot": "{slot}"}},
        ],
    }


def manifests(
    addresses: Addresses,
    *,
    app: str,
    pods: str,
    replicas: int,
    password: Secret,
    warm_up: float = 0,
) -> Iterator[dict[str, Any]]:
    """The manifests of infra/kubernetes with this machine's values where theirs are examples.

    `password` is the active role's, which its Kubernetes Secret holds before the first rotation;
    `warm_up` is the seconds that pods of the second workload take to be ready. For the others see
    `localised`.
    """
    for name in ("example/api.yaml", "example/web.yaml", "rbac.yaml", "guard.yaml"):
        for found in yaml.safe_load_all((MANIFESTS / name).read_text(encoding="utf-8")):
            manifest = localised(found, addresses, app=app, pods=pods)
            match manifest["kind"]:
                case "Deployment" if manifest["spec"]["replicas"]:
                    manifest["spec"]["replicas"] = replicas
                case "ConfigMap" if manifest["metadata"]["namespace"] == WORKLOADS["web"]:
                    manifest["data"]["WARM_UP_SECONDS"] = str(warm_up)
                case "Secret" if manifest["metadata"]["name"] == secret("blue"):
                    manifest["stringData"] = {"password": password.reveal()}
            yield manifest


def localised(
    manifest: dict[str, Any], addresses: Addresses, *, app: str, pods: str
) -> dict[str, Any]:
    """A manifest with this machine's values where an environment has its own.

    `app` is the app's object id, `pods` the client id of the pods' identity.
    """
    match manifest["kind"]:
        case "ConfigMap" if manifest["metadata"]["name"] == "guard":
            # Whoever holds the stack's own administrator token may move Services by hand.
            manifest["data"] |= {"identity": app, "breakGlass": "system:masters"}
        case "ConfigMap" if manifest["metadata"]["name"] == "jobs-guard":
            manifest["data"]["identity"] = app
        case "ConfigMap":
            manifest["data"] |= _database(addresses)
        case "SecretProviderClass":
            manifest["spec"]["parameters"] |= {"clientID": pods, "keyvaultUrl": addresses.vault}
        case "Gateway":
            manifest["spec"]["gatewayClassName"] = "local"
        case "RoleBinding" | "ClusterRoleBinding":
            manifest["subjects"][0]["name"] = app
    return manifest


def _database(addresses: Addresses) -> dict[str, str]:
    return {
        "DATABASE_HOST": "127.0.0.1",
        "DATABASE_PORT": str(addresses.database_port),
        "DATABASE_SSLMODE": "disable",
        "LAME_DUCK_SECONDS": "1",
    }
