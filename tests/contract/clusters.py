"""A Kubernetes API to work on, the local one or CONTRACT_KUBECONFIG's, and a cluster in memory.

With that variable, CONTRACT_NAMESPACE names a namespace to work in, and CONTRACT_IMAGE an image
whose server answers on port 8080 to / and /healthz (default: a small public one). What the tests
make there has names that begin with `contract-`; each test takes its own away again.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from local.cluster.client import apply, connect
from local.process import Component, wait_until
from rotation.config import Cluster
from rotation.edges.cluster.access import Access
from rotation.edges.cluster.client import Api
from rotation.edges.cluster.deployments import Deployments
from rotation.edges.cluster.patches import VERSION
from rotation.edges.cluster.services import Services
from rotation.model.targets import (
    DeploymentTarget,
    RouteTarget,
    SecretKeyTarget,
    ServiceTarget,
)
from rotation.model.world import (
    Deployment,
    Endpoint,
    SliceSeen,
)
from rotation.secrecy import Secret, new_password
from tests.contract.conftest import (
    PLACES,
    faults,
    needs_the_stand_in,
)
from tests.kubernetes import http_routes
from tests.local.azure.support import ADMIN, Admin
from tests.memory.cluster import DeploymentState, HttpRouteState, SecretState, ServiceState
from tests.memory.database import RoleState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rotation.contracts.pods import Pods
    from rotation.contracts.traffic import Traffic
    from tests.memory import MemoryEdges


KUBECONFIG = os.environ.get("CONTRACT_KUBECONFIG")
IMAGE = os.environ.get("CONTRACT_IMAGE", "registry.k8s.io/e2e-test-images/agnhost:2.53")
ECHO_IMAGE = os.environ.get("CONTRACT_ECHO_IMAGE")
ECHO = Path(__file__).parents[1] / "local" / "cluster" / "echo_app.py"
IMAGES = {IMAGE: ["python", str(ECHO)], "echo:2": ["python", str(ECHO)]}
SLOT = "example.com/slot"


@pytest.fixture(scope="session")
def component(identity: Component, state: Path) -> Iterator[Component]:
    images = state / "images.json"
    images.write_text(json.dumps(IMAGES), encoding="utf-8")
    running = Component.module(
        "cluster",
        *("--state", str(state / "cluster"), "--images", str(images), "--rbac", "on"),
        *("--identity-state", str(state / "identity")),
        log=state / "cluster.log",
        env=ADMIN,
    )
    with running:
        yield running


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> Path:
    if KUBECONFIG:
        return Path(KUBECONFIG)
    return Path(str(request.getfixturevalue("component").facts["kubeconfig"]))


@pytest.fixture(scope="session")
def api(kubeconfig: Path) -> Iterator[Any]:
    """For what the edge has no verb for."""
    client: Any = connect(kubeconfig)
    yield client
    client.close()


# What the tests make, those first whose end takes others along.
MADE = {
    "deployments": "/apis/apps/v1",
    "statefulsets": "/apis/apps/v1",
    "daemonsets": "/apis/apps/v1",
    "pods": "/api/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
    "resourcequotas": "/api/v1",
    "services": "/api/v1",
    "secrets": "/api/v1",
    "serviceaccounts": "/api/v1",
    "rolebindings": "/apis/rbac.authorization.k8s.io/v1",
    "roles": "/apis/rbac.authorization.k8s.io/v1",
    "endpointslices": "/apis/discovery.k8s.io/v1",
}


@pytest.fixture
def space(api: Any, name: str) -> Iterator[str]:
    """A namespace. Of a cluster that is not ours, what the test made in it is taken away."""
    if not KUBECONFIG:
        apply(api, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])
        yield name
        return
    space = os.environ["CONTRACT_NAMESPACE"]
    yield space
    assert removed(api, space, name) == []


def removed(api: Any, space: str, name: str) -> list[str]:
    """Deletes whatever a test of this name makes, and waits for its pods' end. What cannot be
    deleted is told, and keeps nothing else."""
    left = []
    for (kind, group), made in itertools.product(MADE.items(), (name, f"{name}-other")):
        status = delete(api, f"{group}/namespaces/{space}/{kind}/{made}")
        if status not in {200, 202, 404}:
            left.append(f"{kind}/{made}: HTTP {status}")
    pods = f"/api/v1/namespaces/{space}/pods"

    def gone() -> bool:
        there = [str(pod["metadata"]["name"]) for pod in stored(api, pods)["items"]]
        return not any(pod == name or pod.startswith(f"{name}-") for pod in there)

    wait_until(gone, 60, f"the end of the pods of {name}")
    return left


def delete(api: Any, path: str) -> int:
    """The status of the answer. What belongs to an object goes first."""
    return asked(api, "DELETE", path, {"propagationPolicy": "Foreground"})[0]


def asked(api: Any, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    """The status and the document that the API answers with."""
    parts = api.param_serialize(method, path, body=body, auth_settings=["BearerToken"])
    method, url, headers, sent, *_ = parts
    kind = {"Content-Type": "application/json"} if body is not None else {}
    answer = api.call_api(method, url, {**headers, **kind}, sent).response
    return answer.status, dict(json.loads(answer.read()))


@dataclass(frozen=True)
class Edge:
    """The edges of one cluster."""

    traffic: Services
    pods: Deployments
    access: Access


def edge_of(
    settings: Cluster,
    authenticate: Callable[[], Secret] = new_password,
    refused: Callable[[], None] = lambda: None,
) -> Edge:
    api = Api("contract", settings, authenticate, refused)
    return Edge(Services(api), Deployments(api), Access(api))


@pytest.fixture
def cluster(kubeconfig: Path) -> Edge:
    return edge_of(Cluster(kubeconfig=str(kubeconfig)))


@pytest.fixture
def admin(request: pytest.FixtureRequest) -> Iterator[Admin]:
    needs_the_stand_in("CONTRACT_KUBECONFIG")
    yield from faults(request.getfixturevalue("component"))


def deployment(name: str, replicas: int, **container: Any) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}
    main = {
        "name": "web",
        "image": IMAGE,
        "ports": [{"containerPort": 8080}],
        "readinessProbe": probe,
        **({"args": ["netexec", "--http-port=8080"]} if KUBECONFIG else {}),
        **container,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name, SLOT: "blue"}},
                "spec": {"containers": [main], "terminationGracePeriodSeconds": 2},
            },
        },
    }


def service(name: str, slot: str | None = "blue", **selector: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": {"app": name, **selector, **({SLOT: slot} if slot else {})},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        },
    }


def endpoint_slice(name: str, address: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]}],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


class Place(Protocol):
    """A namespace of a cluster, where a test puts things that have its name."""

    @property
    def traffic(self) -> Traffic: ...

    @property
    def pods(self) -> Pods: ...

    @property
    def space(self) -> str: ...

    def service(self, name: str, slot: str | None = "blue", **selector: str) -> ServiceTarget: ...

    def http_route(self, name: str, blue: int, green: int) -> RouteTarget:
        """With one rule, of these weights, in percent, for the slots' own Services."""

    def by_hand(self, name: str, address: str) -> None:
        """Writes an EndpointSlice with this address, which belongs to no Service."""

    def deployment(self, name: str, replicas: int) -> DeploymentTarget:
        """With a container `web` of `IMAGE`."""

    def twin(self, name: str, replicas: int) -> DeploymentTarget:
        """Another Deployment, whose selector is the same and whose pods have the same labels."""

    def debug_copy(self, target: DeploymentTarget) -> None:
        """Adds a pod that has the labels of the Deployment's."""

    def evict(self, target: DeploymentTarget) -> str:
        """Lets one of the Deployment's pods be evicted, and returns its name."""

    def secret(self, name: str, **data: str) -> SecretKeyTarget:
        """Its key `password`."""

    def mounted(self, target: SecretKeyTarget) -> tuple[dict[str, str], str | None]:
        """A Kubernetes Secret's data, and the version that it is annotated with."""


class RealPlace:
    def __init__(self, edge: Edge, api: Any, space: str) -> None:
        self.traffic, self.pods, self.space = edge.traffic, edge.pods, space
        self.api = api

    def service(self, name: str, slot: str | None = "blue", **selector: str) -> ServiceTarget:
        apply(self.api, [service(name, slot, **selector)], namespace=self.space)
        return ServiceTarget(self.space, name, SLOT)

    def http_route(self, name: str, blue: int, green: int) -> RouteTarget:
        needs_the_stand_in("CONTRACT_KUBECONFIG", "knows the Gateway API")
        rule = {"backendRefs": http_routes.pair(blue, green)}
        apply(self.api, [http_routes.route(name, rules=[rule])], namespace=self.space)
        return RouteTarget(self.space, name, "web-blue", "web-green")

    def by_hand(self, name: str, address: str) -> None:
        apply(self.api, [endpoint_slice(name, address)], namespace=self.space)

    def deployment(self, name: str, replicas: int) -> DeploymentTarget:
        apply(self.api, [deployment(name, replicas)], namespace=self.space)
        return DeploymentTarget(self.space, name)

    def twin(self, name: str, replicas: int) -> DeploymentTarget:
        manifest = deployment(name, replicas)
        manifest["metadata"]["name"] = f"{name}-other"
        apply(self.api, [manifest], namespace=self.space)
        return DeploymentTarget(self.space, f"{name}-other")

    def debug_copy(self, target: DeploymentTarget) -> None:
        template = deployment(target.name, 1)["spec"]["template"]
        metadata = {"name": target.name, **template["metadata"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        apply(self.api, [pod], namespace=self.space)

    def evict(self, target: DeploymentTarget) -> str:
        needs_the_stand_in("CONTRACT_KUBECONFIG", "plays the part of a node")
        name = self.pods.listed(target)[0].name
        path = f"/api/v1/namespaces/{self.space}/pods/{name}/status"
        parts = self.api.param_serialize(
            "PATCH",
            path,
            header_params={"Content-Type": "application/merge-patch+json"},
            body={"status": {"phase": "Failed", "reason": "Evicted"}},
            auth_settings=["BearerToken"],
        )
        assert self.api.call_api(*parts).response.status == 200
        return name

    def secret(self, name: str, **data: str) -> SecretKeyTarget:
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
        apply(self.api, [{**manifest, "stringData": data}], namespace=self.space)
        return SecretKeyTarget(self.space, name, "password")

    def mounted(self, target: SecretKeyTarget) -> tuple[dict[str, str], str | None]:
        found = stored(self.api, f"/api/v1/namespaces/{self.space}/secrets/{target.name}")
        data = {key: base64.b64decode(text).decode() for key, text in found["data"].items()}
        return data, found["metadata"]["annotations"][VERSION]


class MemoryPlace:
    space = "contract"

    def __init__(self, edges: MemoryEdges) -> None:
        self.traffic, self.pods = edges.traffic("aks"), edges.pods("aks")
        self._edges = edges
        self._model = edges.world.clusters["aks"]
        edges.world.database.roles["web"] = RoleState(login=True, password="mounted")

    def service(self, name: str, slot: str | None = "blue", **selector: str) -> ServiceTarget:
        labels = {"app": name, **selector, **({SLOT: slot} if slot else {})}
        self._model.services[self.space, name] = ServiceState(
            self.space, name, labels, SLOT, backends={"blue": name}
        )
        return ServiceTarget(self.space, name, SLOT)

    def http_route(self, name: str, blue: int, green: int) -> RouteTarget:
        self._model.http_routes[self.space, name] = HttpRouteState(
            self.space,
            name,
            {},
            shares={"blue": blue, "green": green},
            names=frozenset({"web-blue", "web-green"}),
        )
        return RouteTarget(self.space, name, "web-blue", "web-green")

    def by_hand(self, name: str, address: str) -> None:
        seen = SliceSeen(name, None, derived=False, endpoints=(Endpoint((address,)),))
        self._model.slices[self.space] = [seen]

    def deployment(self, name: str, replicas: int) -> DeploymentTarget:
        return self._deployment(name, name, replicas)

    def _deployment(self, name: str, app: str, replicas: int) -> DeploymentTarget:
        state = DeploymentState(
            self.space,
            name,
            "web",
            lambda: "mounted",
            replicas,
            {"web": IMAGE},
            labels={"app": app, SLOT: "blue"},
        )
        self._model.deployments[self.space, name] = state
        self._model.settle(state)
        return DeploymentTarget(self.space, name)

    def twin(self, name: str, replicas: int) -> DeploymentTarget:
        return self._deployment(f"{name}-other", name, replicas)

    def debug_copy(self, target: DeploymentTarget) -> None:
        found = self._model.deployments[target.namespace, target.name]
        self._model.leave_behind(found)
        found.strays = [pod for pod in found.strays if pod.controller is None]
        assert found.strays

    def evict(self, target: DeploymentTarget) -> str:
        found = self._model.deployments[target.namespace, target.name]
        self._model.evict(found)
        (pod,) = found.strays
        return pod.name

    def secret(self, name: str, **data: str) -> SecretKeyTarget:
        self._model.secrets[self.space, name] = SecretState(dict(data))
        return SecretKeyTarget(self.space, name, "password")

    def mounted(self, target: SecretKeyTarget) -> tuple[dict[str, str], str | None]:
        found = self._model.secrets[target.namespace, target.name]
        return found.data, found.version


@pytest.fixture
def real(cluster: Edge, api: Any, space: str) -> RealPlace:
    return RealPlace(cluster, api, space)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, memory: MemoryEdges) -> Place:
    if request.param == "memory":
        return MemoryPlace(memory)
    found: RealPlace = request.getfixturevalue("real")
    return found


@dataclass(frozen=True)
class Workload:
    """A Service and the Deployment behind it, both of the test's name."""

    service: ServiceTarget
    deployment: DeploymentTarget


def workload(place: Place, name: str, replicas: int) -> Workload:
    return Workload(place.service(name), place.deployment(name, replicas))


@pytest.fixture
def up(place: Place, name: str) -> Iterator[Workload]:
    """With two ready pods."""
    found = workload(place, name, 2)
    place.pods.watch(found.deployment, ready, 60)
    yield found
    place.pods.scale(found.deployment, 0)


@pytest.fixture
def down(place: Place, name: str) -> Workload:
    """The same at zero replicas: what a standby slot looks like."""
    return workload(place, name, 0)


def ready(found: Deployment) -> bool:
    return found.observed and found.ready == found.updated == found.total == found.replicas


def stored(api: Any, path: str) -> dict[str, Any]:
    return asked(api, "GET", path)[1]


SLICES = "/apis/discovery.k8s.io/v1/namespaces/{space}/endpointslices?labelSelector={label}"


def endpoints(api: Any, target: ServiceTarget) -> list[tuple[str, dict[str, bool]]]:
    """The pods that a Service's slices name, each with its conditions."""
    label = f"kubernetes.io%2Fservice-name%3D{target.name}"
    found = stored(api, SLICES.format(space=target.namespace, label=label))["items"]
    for each in found:
        labels = each["metadata"]["labels"]
        managed = labels["endpointslice.kubernetes.io/managed-by"]
        assert managed == "endpointslice-controller.k8s.io"
        (owner,) = each["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("Service", target.name)
    return [
        (one["targetRef"]["name"], one["conditions"])
        for each in found
        for one in each.get("endpoints") or []
    ]
