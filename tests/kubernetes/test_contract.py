"""The contract tests of the cluster, which the stand-in keeps, on a real API server.

Somebody else uses the namespace, whose things the tests must not touch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local.cluster.client import apply
from local.process import wait_until
from tests.kubernetes.conftest import needs_binaries
from tests.kubernetes.control import ADMIN
from tests.real import pointed

if TYPE_CHECKING:
    from local.process import Component
    from tests.kubernetes.control import ControlPlane

SPACE = "contract"
THEIRS = ("nothing", "api", "contract")
CORE, APPS = f"/api/v1/namespaces/{SPACE}", f"/apis/apps/v1/namespaces/{SPACE}"
RBAC = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{SPACE}"
KINDS = {
    **dict.fromkeys(("services", "secrets", "serviceaccounts", "configmaps", "pods"), CORE),
    **dict.fromkeys(("deployments", "replicasets"), APPS),
    **dict.fromkeys(("roles", "rolebindings"), RBAC),
}


def bystanders() -> list[dict[str, Any]]:
    """Somebody else's, under names that tests may take for nobody's."""
    found: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
    ]
    for name in THEIRS:
        labels = {"app": name}
        container = {"name": "web", "image": "registry.example/theirs:1"}
        pod = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod}
        ports = [{"name": "http", "port": 80}]
        metadata = {"name": name, "namespace": SPACE}
        found += [
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec},
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": metadata,
                "spec": {"selector": labels, "ports": ports},
            },
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata,
                "stringData": {"password": "of somebody else"},
            },
        ]
    return found


def state(plane: ControlPlane) -> dict[str, object]:
    """Whatever there is, and what it is told to be. (A status changes by itself.)"""
    return {
        f"{kind}/{item['metadata']['name']}": (
            item["metadata"]["uid"],
            item["metadata"].get("deletionTimestamp"),
            item.get("spec"),
            item.get("data"),
            item.get("rules"),
        )
        for kind, path in KINDS.items()
        for item in plane.items(f"{path}/{kind}")
    }


@needs_binaries
@pytest.mark.timeout(600)
def test_the_stand_in_is_believed_in_nothing_that_is_not_so(
    control_plane: ControlPlane, node: Component
) -> None:
    api = control_plane.client(ADMIN)
    apply(api, bystanders())
    theirs = f"{APPS}/replicasets"
    wait_until(lambda: len(control_plane.items(theirs)) == len(THEIRS), 30, "their ReplicaSets")
    before = state(control_plane)
    first, *others = CLUSTER
    outcome = pointed.run(first, variables(control_plane), *others, *REAL_ALONE)
    assert state(control_plane) == before
    assert outcome.passed > 50
    api.close()


PARTS = ("access", "asking", "pods", "preconditions", "traffic")
CLUSTER = [f"tests/contract/test_cluster_{part}.py" for part in PARTS]
REAL_ALONE = ("-k", "not memory")


def variables(plane: ControlPlane) -> dict[str, str]:
    return {
        "CONTRACT_KUBECONFIG": str(plane.kubeconfig(ADMIN)),
        "CONTRACT_NAMESPACE": SPACE,
        "CONTRACT_ECHO_IMAGE": "echo:1",
    }


@needs_binaries
@pytest.mark.timeout(600)
def test_nor_of_statefulsets_and_daemonsets(control_plane: ControlPlane, node: Component) -> None:
    api = control_plane.client(ADMIN)
    apply(api, bystanders())
    outcome = pointed.run("tests/contract/test_in_place.py", variables(control_plane), *REAL_ALONE)
    assert outcome.passed > 20
    api.close()
