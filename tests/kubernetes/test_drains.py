"""Drained nodes, on the stand-in and on a real API server, whose nodes are the tests' own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.cluster.client import apply, connect
from local.cluster.draining import cordon, drain, nodes, uncordon
from local.process import wait_until
from local.stack import Options
from tests.conftest import QUICK
from tests.e2e.draining import night
from tests.infra.test_rbac import rotate
from tests.kubernetes.conftest import needs_binaries, stand_in
from tests.kubernetes.control import ADMIN
from tests.kubernetes.test_rotations import RealStack

if TYPE_CHECKING:
    from collections.abc import Iterator

SPACE = "drained"
IMAGE = "echo:1.0"  # which both know


@pytest.fixture(params=["stand-in", pytest.param("real", marks=needs_binaries)])
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A client that may do anything."""
    if request.param == "real":
        request.getfixturevalue("node")
        real: Any = request.getfixturevalue("control_plane").client(ADMIN)
        yield real
        real.close()
        return
    with stand_in(tmp_path) as (running, _):
        client: Any = connect(Path(str(running.facts["kubeconfig"])))
        yield client
        client.close()


def manifests() -> list[dict[str, Any]]:
    labels = {"app": "web"}
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}
    container = {"name": "web", "image": IMAGE, "ports": [{"containerPort": 8080}]}
    pod = {"containers": [{**container, "readinessProbe": probe}]}
    template = {"metadata": {"labels": labels}, "spec": {**pod, "terminationGracePeriodSeconds": 2}}
    chosen = {"selector": {"matchLabels": labels}}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}},
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "web", "namespace": SPACE},
            "spec": {"maxUnavailable": 1, **chosen},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": SPACE},
            "spec": {"replicas": 2, **chosen, "template": template},
        },
    ]


@pytest.mark.timeout(300)
def test_a_drained_node_is_empty_and_its_pods_are_elsewhere(api: Any) -> None:
    from kubernetes.client import AppsV1Api, CoreV1Api  # noqa: PLC0415 - a third of a second

    core: Any = CoreV1Api(api)
    apps: Any = AppsV1Api(api)
    apply(api, manifests())

    def ready(count: int) -> bool:
        status = apps.read_namespaced_deployment("web", SPACE).status
        return bool(status and (status.ready_replicas or 0) == count)

    wait_until(lambda: ready(2), 60, "two ready pods")
    known = nodes(api)
    try:
        before = {pod.spec.node_name for pod in core.list_namespaced_pod(SPACE).items}
        assert before == set(known), "one pod a node"
        first, second = known
        assert drain(api, first) >= 1
        wait_until(lambda: ready(2), 60, "two ready pods elsewhere")
        assert {pod.spec.node_name for pod in core.list_namespaced_pod(SPACE).items} == {second}
        cordon(api, second)
        apps.patch_namespaced_deployment_scale("web", SPACE, {"spec": {"replicas": 3}})
        wait_until(lambda: pending(core), 30, "a pod that no node takes")
        uncordon(api, first)
        wait_until(lambda: ready(3), 60, "a node for it")
    finally:
        for node in known:
            uncordon(api, node)
        core.delete_namespace(SPACE)


def pending(core: Any) -> bool:
    """Whether a pod waits for a node, and says so."""
    conditions = [
        condition
        for pod in core.list_namespaced_pod(SPACE).items
        for condition in (pod.status and pod.status.conditions) or []
    ]
    return any((one.type, one.reason) == ("PodScheduled", "Unschedulable") for one in conditions)


@needs_binaries
@pytest.mark.timeout(600)
def test_a_rotation_while_nodes_are_drained_completes(tmp_path: Path) -> None:
    credential = {**QUICK, "retry": {"patience": "60s", "compensation": "90s"}}
    options = Options(replicas=2, watch_seconds=2, credential=credential)
    with RealStack(tmp_path, options) as stack, night(stack) as upgrade:
        wait_until(lambda: upgrade.drained, 120, "a drained node")
        assert [rotate(stack, decision) for decision in ("reject", "approve")] == [
            "rolled-back",
            "completed",
        ]
        assert upgrade.evicted > 4
