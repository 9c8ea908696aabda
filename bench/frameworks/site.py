"""An application of a framework in the place of the sample one: same slots, Services and tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kubernetes.client import AppsV1Api

from bench.frameworks import building
from bench.product import SLOTS
from bench.script import STRATEGIC
from local import world
from local.cluster.client import apply, read_manifests
from local.cluster.egress import ANNOTATION
from local.process import wait_until
from local.stack import APP, Options, Stack
from local.stack.provisioner import PODS

if TYPE_CHECKING:
    from pathlib import Path

    from bench.frameworks.catalogue import Framework, Shape

WORKLOAD = "api"
NAMESPACE = world.WORKLOADS[WORKLOAD]
GATEWAYS = f"/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/gateways"
START = 180.0  # seconds until an application's pods are ready, at most


def stack(directory: Path, *, routed: bool = False) -> Stack:
    """A stack whose credential has one workload; the other's pods are taken down once it runs.
    `routed`: its clients come through a Gateway.

    No test names the role: which login its pods use is proved by their sessions, as with an
    application that nobody has changed for a rotation.
    """
    tests = [{"path": "/healthz"}, {"path": "/orders"}]
    workload = {
        **world.workload(WORKLOAD, {"delivery": "csi"}),
        "tests": tests,
        "ready": f"{START:.0f}s",
    }
    if routed:
        backends = {slot: f"{WORKLOAD}-{slot}" for slot in SLOTS}
        workload["otherServices"] = [workload.pop("service"), workload.pop("preview")]
        workload["route"] = {"name": WORKLOAD, "backends": backends}
    return Stack(directory, Options(replicas=1, credential={"workloads": [workload]}))


class Site:
    """The one workload of a stack that runs. Made once for each stack."""

    def __init__(self, running: Stack, *, routed: bool = False) -> None:
        self.stack = running
        self._routed = routed
        if routed:
            found = read_manifests(world.MANIFESTS / "example" / "api-route.yaml")
            own: dict[str, Any] = {"app": APP.principal_id, "pods": PODS.client_id}
            made = [world.localised(one, running.addresses, **own) for one in found]
            apply(running.owner.kubernetes, made)
        self._apps = AppsV1Api(running.owner.kubernetes)
        self._set: set[str] = set()  # variables of the application that is there
        other, space = next(item for item in world.WORKLOADS.items() if item[0] != WORKLOAD)
        for slot in SLOTS:
            self._apps.patch_namespaced_deployment(
                f"{other}-{slot}", space, {"spec": {"replicas": 0}}
            )
        wait_until(lambda: not self._pods(space), 60, f"the end of the pods of {other}")

    @property
    def url(self) -> str:
        if self._routed:
            gateway = self.stack.owner.kubernetes_get(f"{GATEWAYS}/edge")
            return f"http://127.0.0.1:{gateway['metadata']['annotations']['local/port.http']}"
        return self.stack.owner.service_url(NAMESPACE, WORKLOAD)

    def install(self, framework: Framework, shape: Shape) -> None:
        """Puts it into both slots, and returns once it serves alone. Raises `TimeoutError`."""
        image = f"registry.example/{framework.name}-{shape.name}:1.0"
        images = {**world.IMAGES, image: building.command(framework, shape)}
        path = self.stack.directory / "images.json"
        path.write_text(json.dumps(images), encoding="utf-8")
        variables = building.environment(framework, shape)
        left = [{"name": name, "$patch": "delete"} for name in self._set - set(variables)]
        given = [{"name": name, "value": value} for name, value in variables.items()]
        container = {"name": WORKLOAD, "image": image, "env": [*left, *given]}
        template = {
            "metadata": {"annotations": {ANNOTATION: "DATABASE_PORT"}},
            "spec": {"containers": [container]},
        }
        for slot in SLOTS:
            self._apps.patch_namespaced_deployment(
                *(f"{WORKLOAD}-{slot}", NAMESPACE, {"spec": {"template": template}}),
                _content_type=STRATEGIC,
            )
        self._set = set(variables)
        wait_until(lambda: self._serves_alone(image), START, f"{image} serving alone")

    def _serves_alone(self, image: str) -> bool:
        pods = self._pods(NAMESPACE)
        return bool(pods) and all(_serves(pod, image) for pod in pods)

    def settled(self) -> None:
        """Returns once no pod is on its way out. Raises `TimeoutError`."""
        wait_until(
            lambda: not any(_leaving(pod) for pod in self._pods(NAMESPACE)),
            60,
            "the end of the replaced pods",
        )

    def _pods(self, space: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.stack.owner.kubernetes_get(
            f"/api/v1/namespaces/{space}/pods"
        )["items"]
        return found


def _leaving(pod: dict[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _serves(pod: dict[str, Any], image: str) -> bool:
    conditions = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions") or []}
    ran = pod["spec"]["containers"][0]["image"]
    return not _leaving(pod) and ran == image and conditions.get("Ready") == "True"
