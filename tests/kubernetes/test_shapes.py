"""Deployments, Services and Secrets in the shapes that people have: a rotation changes its own
fields of them, and nothing else.

Whole objects are compared, as the API server stores them, under the rights and the guard of
infra/kubernetes: on the stand-in, and on a real API server where it was built.
"""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import pytest
import yaml

from local.process import wait_until
from rotation.config import parse
from rotation.decisions.selectors import matches
from rotation.edges.cluster.patches import DID, FENCE, ROTATION, VERSION
from rotation.model.activities import Reference
from rotation.model.catalogue import Origin
from rotation.model.record import Request
from rotation.model.targets import DeploymentTarget, SecretKeyTarget, ServiceTarget
from rotation.secrecy import Secret
from rotation.steps.login import activate, stage
from rotation.steps.planning import plan
from rotation.steps.pods import await_gone, await_ready, scale_down, start
from rotation.steps.running import Step
from rotation.steps.traffic import confirm, swap
from tests.kubernetes.conftest import stand_in
from tests.kubernetes.support import GUARDED, Guarded, deployment, secret, service
from tests.memory import MemoryEdges
from tests.unit.test_config import VALID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rotation.model.activities import Watched
    from rotation.model.world import Deployment, Slot
    from tests.kubernetes.support import Edge

FILE = Path(__file__).with_name("shapes.yaml")
TEXT = FILE.read_text(encoding="utf-8")
SHAPES: dict[str, Any] = yaml.safe_load(TEXT)
# Those that `make test` has; `make long` and `make test-kubernetes` have all.
QUICK = {
    "a release with checksums and standard labels",
    "waits for its database and migrates first",
    "a sidecar that starts first and stays",
    "everything from the environment",
    "selectors with expressions",
    "two containers of one image and an empty list",
}
ROTATED = {"a sidecar that starts first and stays", "selectors with expressions"}
GREEN = DeploymentTarget(GUARDED, "api-green")
# What the API server and its controllers write by themselves.
OWN = ("generation", "managedFields", "resourceVersion")
REVISION = "deployment.kubernetes.io/revision"
# Each way in which an image may be named, and a newer one.
RELEASED = {"app": "registry.example:5000/team/app@sha256:" + "ab" * 32, "init": "init:2"}


def parameters(quick: Iterable[str], without: Iterable[str] = ()) -> list[Any]:
    marks = {name: () if name in set(quick) else pytest.mark.long for name in SHAPES}
    return [pytest.param(name, marks=marks[name]) for name in SHAPES if name not in set(without)]


def shaped(name: str, slot: Slot) -> dict[str, Any]:
    """The shape's Deployment for a slot, at zero pods."""
    found = deployment(f"api-{slot}")
    spec = yaml.safe_load(TEXT.replace("SLOT", slot))[name]
    labels = {"app": "api", "slot": slot}
    found["spec"] = {"replicas": 0, "selector": {"matchLabels": labels}, **spec}
    metadata = found["spec"]["template"].setdefault("metadata", {})
    metadata["labels"] = {**labels, **metadata.get("labels", {})}
    found["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "Helm"}
    found["metadata"]["annotations"] = {
        "meta.helm.sh/release-name": "prod",
        "reloader.stakater.com/auto": "true",
        "argocd.argoproj.io/sync-options": "RespectIgnoreDifferences=true",
    }
    return found


def containers(stored: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The containers of a Deployment, as the product names them."""
    pod = stored["spec"]["template"]["spec"]
    for each in pod["containers"]:
        yield each["name"], each
    for each in pod.get("initContainers") or []:
        yield f"init:{each['name']}", each


def told(stored: dict[str, Any]) -> dict[str, Any]:
    """What an object is told to be."""
    found = copy.deepcopy(stored)
    found.pop("status", None)
    for key in OWN:
        found["metadata"].pop(key, None)
    (found["metadata"].get("annotations") or {}).pop(REVISION, None)
    return found


def released(image: str) -> str:
    """Another image in the place of this one."""
    kind = image.rpartition("/")[2].partition(":")[0].partition("@")[0]
    return RELEASED.get(kind, f"{kind}:2")


def test_there_are_twenty() -> None:
    assert len(SHAPES) == 20


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("name", parameters(QUICK))
def test_start_and_scale_change_a_slots_pods_and_nothing_else(guarded: Guarded, name: str) -> None:
    edge = guarded.edge()
    guarded.delete(deployment("api-green"))
    guarded.apply(shaped(name, "green"))
    before = guarded.get("Deployment", GREEN.name)
    seen = edge.pods.deployment(GREEN)
    assert seen is not None
    assert seen.images == {key: each["image"] for key, each in containers(before)}
    assert seen.selector is not None
    assert matches(seen.selector, seen.labels or {})
    assert edge.pods.listed(GREEN) == []

    images = {key: released(image) for key, image in seen.images.items()}
    for _ in range(2):
        edge.pods.start(GREEN, replicas=2, images=images, version="f" * 32)
    expected = told(before)
    expected["spec"]["replicas"] = 2
    for key, each in containers(expected):
        each["image"] = images[key]
    metadata = expected["spec"]["template"]["metadata"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), VERSION: "f" * 32}
    started = guarded.get("Deployment", GREEN.name)
    assert told(started) == expected
    assert started["metadata"]["generation"] == before["metadata"]["generation"] + 1

    wait_until(lambda: len(edge.pods.listed(GREEN)) == 2, 30, "the slot's two pods")
    assert all(pod.name.startswith(f"{GREEN.name}-") for pod in edge.pods.listed(GREEN))
    edge.pods.scale(GREEN, 0)
    expected["spec"]["replicas"] = 0
    assert told(guarded.get("Deployment", GREEN.name)) == expected
    assert edge.pods.watch_gone(GREEN, 30) == []
    after = edge.pods.deployment(GREEN)
    assert after is not None
    assert (after.replicas, after.version, after.images) == (0, "f" * 32, images)


SERVICES: dict[str, dict[str, Any]] = {
    "many ports": {
        "ports": [
            {"name": "http", "port": 80, "targetPort": "http", "appProtocol": "http"},
            {"name": "https", "port": 443, "targetPort": 8443},
            {"name": "calls", "port": 443, "targetPort": "calls", "protocol": "UDP"},
        ]
    },
    "headless": {"clusterIP": "None", "publishNotReadyAddresses": True},
    "sticky": {
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 600}},
    },
    "a node's port": {"type": "NodePort", "externalTrafficPolicy": "Local"},
    "a balancer's": {
        "type": "LoadBalancer",
        "loadBalancerSourceRanges": ["10.0.0.0/8"],
        "allocateLoadBalancerNodePorts": False,
        "externalIPs": ["192.0.2.7"],
    },
}
NOTED = {
    "service.beta.kubernetes.io/azure-load-balancer-internal": "true",
    "meta.helm.sh/release-namespace": "orders",
    "argocd.argoproj.io/tracking-id": "shop:/Service:orders/api",
}


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("name", SERVICES)
def test_a_swap_changes_a_services_slot_and_nothing_else(guarded: Guarded, name: str) -> None:
    edge, target = guarded.edge(), ServiceTarget(GUARDED, "api", "slot")
    labels = {"app": "api", "app.kubernetes.io/part-of": "shop", "slot": "blue"}
    manifest = service("api", labels)
    manifest["metadata"]["annotations"] = NOTED
    manifest["spec"] |= SERVICES[name]
    guarded.delete(service("api", {}))
    guarded.apply(manifest)
    expected = told(guarded.get("Service", "api"))
    for came_from, to in (("blue", "green"), ("green", "blue"), ("blue", "green")):
        route = edge.traffic.route(target)
        assert route is not None
        assert route.slot == came_from
        edge.traffic.move(target, came_from, to, revision=route.revision)  # type: ignore[arg-type]  # they are slots
        expected["spec"]["selector"]["slot"] = to
        assert told(guarded.get("Service", "api")) == expected
    edge.traffic.fence(target, "orders-db-1")
    expected["metadata"]["annotations"][FENCE] = "orders-db-1"
    assert told(guarded.get("Service", "api")) == expected


SECRETS: dict[str, dict[str, Any]] = {
    "a basic login": {
        "type": "kubernetes.io/basic-auth",
        "stringData": {"username": "orders_green", "password": "former"},
    },
    "many keys": {
        "stringData": {
            "postgres-password": "of the superuser",
            "password": "former",
            ".pgpass": "pg:5432:*:orders_green:former",
            "uri": "postgresql://pg",
        }
    },
    "nothing yet": {"stringData": {}},
    "an empty value": {"data": {"password": "", "other": "AA=="}},
    "somebody's own": {
        "metadata": {
            "labels": {"reconcile.external-secrets.io/managed": "true"},
            "annotations": {"reflector.v1.k8s.emberstack.com/reflection-allowed": "true"},
        },
        "stringData": {"password": "former"},
    },
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_delivery_changes_a_secrets_key_and_nothing_else(guarded: Guarded, name: str) -> None:
    target = SecretKeyTarget(GUARDED, "orders-db-green", "password")
    manifest = {key: value for key, value in secret(target.name).items() if key != "stringData"}
    shape = copy.deepcopy(SECRETS[name])
    manifest["metadata"] |= shape.pop("metadata", {})
    guarded.delete(secret(target.name))
    guarded.apply({**manifest, **shape})
    expected = told(guarded.get("Secret", target.name))
    for value in ("hunter2", "hunter3 'ü\n"):
        guarded.edge().pods.deliver(target, Secret(value), "f" * 32)
        expected["data"] = {
            **expected.get("data", {}),
            "password": base64.b64encode(value.encode()).decode(),
        }
        noted = expected["metadata"].get("annotations") or {}
        expected["metadata"]["annotations"] = {**noted, VERSION: "f" * 32}
        assert told(guarded.get("Secret", target.name)) == expected


# -- from plan to the end of the replaced pods, with pods that run

APART = {
    "disks of its own": "the stand-in's node has no disks",
    "the CSI driver's volume": "tests/e2e has it, with a vault",
    "every probe": "a balancer sets its gate",
}


def running(name: str, slot: Slot) -> dict[str, Any]:
    """The shape with programs that this machine has, and no probes of what they do not serve."""
    found = shaped(name, slot)
    pod = found["spec"]["template"]["spec"]
    pod["terminationGracePeriodSeconds"] = 2
    found["spec"]["minReadySeconds"] = 0
    for volume in pod.get("volumes") or []:
        projected = volume.get("projected") or {"sources": []}
        sources = [each for each in projected["sources"] if "serviceAccountToken" not in each]
        items = (volume.get("downwardAPI") or {"items": []})["items"]
        fields = [each for each in items if "fieldRef" in each]
        volume.update({"projected": {**projected, "sources": sources}} if sources else {})
        volume.update({"downwardAPI": {"items": fields}} if fields else {})
    for key, each in containers(found):
        ends = key.startswith("init:") and each.get("restartPolicy") != "Always"
        each["command"] = ["true"] if ends else ["sleep", "600"]
        each["image"] = "app:1"
        for field in ("args", "lifecycle", "startupProbe", "livenessProbe", "readinessProbe"):
            each.pop(field, None)
        each["env"] = [
            variable
            for variable in each.get("env") or []
            if "resourceFieldRef" not in variable.get("valueFrom", {})
        ]
    return found


class Mixed(MemoryEdges):
    """Everything in memory but the cluster."""

    def __init__(self, edge: Edge) -> None:
        super().__init__(parse(yaml.safe_dump(VALID)))
        self._edge = edge

    def pods(self, cluster: str) -> Any:
        del cluster
        return self._edge.pods

    def traffic(self, cluster: str) -> Any:
        del cluster
        return self._edge.traffic

    def step(self, slot: Slot, **more: Any) -> Step:
        reference = Reference(
            rotation="r-1", credential="orders-db", workload="api", slot=slot, **more
        )
        return Step(self, reference)

    def all_is_done(self, look: Callable[[], Watched], what: str) -> None:
        """Repeats a bounded watch, as the story does."""
        wait_until(lambda: look().done, 60, what)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A stand-in whose images run."""
    folder = tmp_path_factory.mktemp("running")
    with stand_in(folder) as (running, tokens), Guarded.on_stand_in(running, tokens) as found:
        images = {"app:1": ["sleep"], "app:2": ["sleep"]}
        (folder / "images.json").write_text(json.dumps(images), encoding="utf-8")
        yield found


def ready(found: Deployment) -> bool:
    return found.observed and found.ready == found.updated == found.total == found.replicas


@pytest.mark.parametrize("name", parameters(ROTATED, without=APART))
def test_a_rotation_of_the_shape_from_its_plan_to_the_end(own: Guarded, name: str) -> None:
    slots: tuple[Slot, Slot] = ("blue", "green")
    for manifest in (*map(secret, ("orders-db-blue", "orders-db-green")), *services(name)):
        own.delete(manifest)
        own.apply(manifest)
    for slot in slots:
        own.delete(deployment(f"api-{slot}"))
    blue, green = (running(name, slot) for slot in slots)
    blue["spec"]["replicas"] = 2 if name != "on the host's network" else 1
    own.apply(blue, green)
    edges = Mixed(own.edge())
    pods = edges.pods("aks")
    serving, standby = (edges.step(slot).workload.deployment(slot) for slot in slots)
    assert ready(pods.watch(serving, ready, 60))
    before = {slot: told(own.get("Deployment", f"api-{slot}")) for slot in slots}

    request = Request(
        rotation="r-1",
        credential="orders-db",
        origin=Origin.MANUAL,
        requested_by="ada@contoso.example",
        reason="shapes",
    )
    planned = plan(edges.step("green", request=request))
    assert (planned.active, planned.reasons) == ("blue", [])
    version = stage(edges.step("green")).version
    activate(edges.step("green", version=version))
    start(edges.step("green", version=version))
    edges.all_is_done(lambda: await_ready(edges.step("green", version=version)), "ready pods")
    assert len(pods.listed(standby)) == blue["spec"]["replicas"]
    assert swap(edges.step("green", level=True)).released == {}
    confirm(edges.step("green"))
    scale_down(edges.step("blue"))
    edges.all_is_done(lambda: await_gone(edges.step("blue")), "the end of blue's pods")
    assert len(pods.listed(standby)) == blue["spec"]["replicas"]

    before["blue"]["spec"]["replicas"] = 0
    before["green"]["spec"]["replicas"] = blue["spec"]["replicas"]
    metadata = before["green"]["spec"]["template"]["metadata"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), VERSION: version}
    for slot in slots:
        before[slot]["metadata"]["annotations"] |= {ROTATION: "r-1", DID: ANY}
    assert {slot: told(own.get("Deployment", f"api-{slot}")) for slot in slots} == before
    scale_down(Mixed(own.edge()).step("blue"))
    own.delete(deployment("api-green"))


def services(name: str) -> list[dict[str, Any]]:
    """The production Service at blue, and the preview at green."""
    labels = {"app": "api"} if "selector" not in SHAPES[name] else {}
    return [
        service("api", {**labels, "slot": "blue"}),
        service("api-preview", {**labels, "slot": "green"}),
    ]
