"""`rotation.edges.cluster` against a Kubernetes API: the local one, or CONTRACT_KUBECONFIG's.

What `rotation.contracts.traffic` and `.pods` promise is asked of the cluster in memory too.

With that variable, CONTRACT_NAMESPACE names a namespace to work in, and CONTRACT_IMAGE an image
whose server answers on port 8080 to / and /healthz (default: a small public one). What the tests
make there has names that begin with `contract-`; each test takes its own away again.
"""

from __future__ import annotations

import base64
import copy
import itertools
import json
import os
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import pytest
import yaml
from azure.core.credentials import AccessToken

from local.cluster.client import apply, connect
from local.process import Component, wait_until
from local.tls import Authority
from rotation.clouds import PUBLIC
from rotation.config import Cluster
from rotation.decisions.selectors import matches
from rotation.decisions.templates import Names, Rules, differences
from rotation.edges.cluster import services
from rotation.edges.cluster.client import Api
from rotation.edges.cluster.deployments import Deployments
from rotation.edges.cluster.patches import DID, MANAGER, ROTATION, VERSION
from rotation.edges.cluster.services import Services
from rotation.edges.threads import side_by_side
from rotation.model.errors import Conflict, Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import (
    DeploymentTarget,
    RouteTarget,
    SecretKeyTarget,
    ServiceTarget,
)
from rotation.model.world import (
    Deployment,
    Endpoint,
    Maker,
    Manner,
    Route,
    Routing,
    ServiceSeen,
    SliceSeen,
    Template,
    shown_slot,
)
from rotation.secrecy import Secret, new_password
from tests.contract.conftest import (
    PLACES,
    Tokens,
    at_once,
    faults,
    needs_the_stand_in,
    revoked_once,
)
from tests.kubernetes import http_routes
from tests.local.azure.support import ADMIN, READER, Admin
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
    """Both edges of one cluster."""

    traffic: Services
    pods: Deployments


def edge_of(
    settings: Cluster,
    authenticate: Callable[[], Secret] = new_password,
    refused: Callable[[], None] = lambda: None,
) -> Edge:
    api = Api("contract", settings, authenticate, refused)
    return Edge(Services(api), Deployments(api))


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


# What the contract of traffic promises.


def test_traffic_of_what_is_not_there(place: Place, name: str) -> None:
    assert place.traffic.route(ServiceTarget(place.space, name, SLOT)) is None
    assert place.traffic.route(ServiceTarget("no-such-namespace", name, SLOT)) is None


def test_a_route_shows_its_slot_and_the_first_port(place: Place, name: str) -> None:
    target = place.service(name)
    assert place.traffic.route(target) == Route("blue", "http")
    assert place.traffic.route(replace(target, label="another")) == Route(None, "http")


def test_a_service_without_a_slot(place: Place, name: str) -> None:
    assert place.traffic.route(place.service(name, None)) == Route(None, "http")


def test_move_swaps_the_slot_and_nothing_else(place: Place, name: str) -> None:
    target = place.service(name, "blue", tier="web")
    place.traffic.move(target, "blue", "green")
    for label, value in ((SLOT, "green"), ("app", name), ("tier", "web")):
        assert place.traffic.route(replace(target, label=label)) == Route(value, "http")


def test_move_may_be_repeated(place: Place, name: str) -> None:
    target = place.service(name)
    place.traffic.move(target, "blue", "green")
    place.traffic.move(target, "blue", "green")
    assert place.traffic.route(target) == Route("green", "http")


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("slot", ["red", None])
def test_move_is_a_compare_and_swap(place: Place, name: str, slot: str | None) -> None:
    target = place.service(name, slot)
    text = f"selects {shown_slot(slot)}, not blue; somebody else changed it"
    with pytest.raises(Conflict, match=text) as caught:
        place.traffic.move(target, "blue", "green")
    assert caught.value.code is Code.TRAFFIC_ELSEWHERE
    assert place.traffic.route(target) == Route(slot, "http")


def revision(place: Place, target: ServiceTarget) -> str:
    found = place.traffic.route(target)
    assert found is not None
    assert found.revision is not None
    return found.revision


@pytest.mark.guarantee(2)
def test_move_refuses_a_service_that_was_changed_there_and_back(place: Place, name: str) -> None:
    target = place.service(name)
    seen = revision(place, target)
    place.traffic.move(target, "blue", "green", revision=seen)
    place.traffic.move(target, "green", "blue")
    with pytest.raises(Unavailable, match="was changed meanwhile") as caught:
        place.traffic.move(target, "blue", "green", revision=seen)
    assert caught.value.code is Code.TRAFFIC_CHANGED
    place.traffic.move(target, "green", "blue", revision=seen)
    assert place.traffic.route(target) == Route("blue", "http")


def test_a_fence_undoes_what_was_prepared_before_it(place: Place, name: str) -> None:
    target = place.service(name)
    seen = revision(place, target)
    place.traffic.fence(target, "orders-db-1")
    with pytest.raises(Unavailable, match="was changed meanwhile"):
        place.traffic.move(target, "blue", "green", revision=seen)
    assert place.traffic.route(target) == Route("blue", "http")


def test_a_route_shows_the_last_fence(place: Place, name: str) -> None:
    target = place.service(name)
    for token in (None, "orders-db-1", "orders-db-2"):
        if token is not None:
            place.traffic.fence(target, token)
        found = place.traffic.route(target)
        assert found is not None
        assert found.fence == token


def test_a_fence_that_is_repeated_changes_nothing(place: Place, name: str) -> None:
    target = place.service(name)
    place.traffic.fence(target, "orders-db-1")
    fenced = revision(place, target)
    place.traffic.fence(target, "orders-db-1")
    assert revision(place, target) == fenced
    place.traffic.fence(target, "orders-db-2")
    assert revision(place, target) != fenced


@pytest.mark.parametrize("verb", ["move", "fence"])
def test_a_service_that_is_not_there(place: Place, name: str, verb: str) -> None:
    target = ServiceTarget(place.space, name, SLOT)
    verbs: dict[str, Callable[[], None]] = {
        "move": lambda: place.traffic.move(target, "blue", "green"),
        "fence": lambda: place.traffic.fence(target, "orders-db-1"),
    }
    with pytest.raises(Missing, match=f"Service {target}") as caught:
        verbs[verb]()
    assert caught.value.code is Code.CLUSTER_MISSING


def test_ask_goes_through_the_service(place: Place, up: Workload) -> None:
    assert place.traffic.ask(up.service, "/healthz", 10).status == 200
    assert place.traffic.ask(replace(up.service, port="80"), "/healthz", 10).status == 200


def test_ask_without_pods(place: Place, down: Workload) -> None:
    with pytest.raises(Unavailable, match="HTTP 503, the Service has no ready pod") as caught:
        place.traffic.ask(down.service, "/", 10)
    assert caught.value.code is Code.PROXY_NO_PODS


def test_ask_of_a_service_that_is_not_there(place: Place, name: str) -> None:
    target = ServiceTarget(place.space, name, SLOT)
    with pytest.raises(Missing, match=f"Service {target}") as caught:
        place.traffic.ask(target, "/", 10)
    assert caught.value.code is Code.SERVICE_MISSING


@pytest.mark.parametrize("path", ["/a/../b", "/%2e%2e/b", "/./x", "/a/..?x=1"])
def test_ask_of_a_path_that_leads_out_of_the_proxy(place: Place, name: str, path: str) -> None:
    with pytest.raises(Invalid) as caught:
        place.traffic.ask(place.service(name), path, 10)
    assert caught.value.code is Code.TEST_PATH


# What the contract of pods promises.


def test_pods_of_what_is_not_there(place: Place, name: str) -> None:
    assert place.pods.deployment(DeploymentTarget(place.space, name)) is None


def test_a_deployment_shows_its_rollout(place: Place, up: Workload) -> None:
    assert place.pods.deployment(up.deployment) == Deployment(
        namespace=place.space,
        name=up.deployment.name,
        replicas=2,
        ready=2,
        updated=2,
        total=2,
        observed=True,
        images={"web": IMAGE},
        version=None,
    )


def test_listed_are_the_deployments_pods(place: Place, up: Workload) -> None:
    found = place.pods.listed(up.deployment)
    assert len(found) == 2
    assert all(pod.name.startswith(f"{up.deployment.name}-") for pod in found)


def test_each_pod_has_an_address_of_its_own_and_its_nodes(place: Place, up: Workload) -> None:
    """A pod's connections come from one of them, by the cluster's network."""
    found = place.pods.listed(up.deployment)
    addresses = [address for pod in found for address in pod.addresses]
    assert len(set(addresses)) == len(addresses) >= 2
    assert all(pod.nodes for pod in found)
    for address in [*addresses, *(node for pod in found for node in pod.nodes)]:
        ip_address(address)


def test_a_debug_copy_is_no_deployments(place: Place, up: Workload) -> None:
    before = names(place, up)
    place.debug_copy(up.deployment)
    assert names(place, up) == before
    place.pods.scale(up.deployment, 0)
    assert place.pods.watch_gone(up.deployment, 30) == []


def makers(place: Place, name: str) -> list[Maker]:
    return place.pods.makers(place.space, {"app": name, SLOT: "blue"})


def test_pods_are_told_by_what_makes_them(place: Place, up: Workload, name: str) -> None:
    assert makers(place, name) == [Maker("Deployment", name)]
    place.debug_copy(up.deployment)
    made, alone = makers(place, name)
    assert (made, alone.kind) == (Maker("Deployment", name), "Pod")
    assert place.pods.makers(place.space, {"app": name, SLOT: "green"}) == []
    place.pods.scale(up.deployment, 0)
    assert place.pods.watch_gone(up.deployment, 30) == []


def test_an_evicted_pod_is_nobodys(place: Place, up: Workload) -> None:
    evicted = place.evict(up.deployment)
    assert evicted not in names(place, up)
    wait_until(lambda: len(names(place, up)) == 2, 30, "a pod in the evicted one's place")
    place.pods.scale(up.deployment, 0)
    assert place.pods.watch_gone(up.deployment, 30) == []


def test_pods_of_another_deployment_with_the_same_selector(
    place: Place, up: Workload, name: str
) -> None:
    twin = place.twin(name, 1)
    place.pods.watch(twin, ready, 60)
    assert len(names(place, up)) == 2
    assert len(place.pods.listed(twin)) == 1
    place.pods.scale(twin, 0)
    assert place.pods.watch_gone(twin, 30) == []
    assert len(names(place, up)) == 2


def test_listed_says_how_a_pod_does(place: Place, up: Workload) -> None:
    for pod in place.pods.listed(up.deployment):
        assert (pod.ready, pod.waiting, pod.restarts, pod.exit_code) == (True, None, 0, None)
        assert pod.created is not None


def test_a_deployment_shows_what_it_selects(place: Place, down: Workload, name: str) -> None:
    found = place.pods.deployment(down.deployment)
    assert found is not None
    assert found.labels == {"app": name, SLOT: "blue"}
    assert found.selector is not None
    assert matches(found.selector, found.labels)
    assert not matches(found.selector, {SLOT: "blue"})
    assert not found.paused


def test_a_route_shows_what_else_its_service_selects(place: Place, name: str) -> None:
    route = place.traffic.route(place.service(name, "blue", tier="web"))
    assert route is not None
    assert route.selector("green") == {"app": name, "tier": "web", SLOT: "green"}


def test_routing_shows_services_by_their_selectors(place: Place, name: str) -> None:
    place.service(name, "blue", tier="web")
    place.service(f"{name}-other", None)
    seen = {one.name: one for one in place.traffic.routing(place.space).services}
    assert seen[name] == ServiceSeen(name, {"app": name, "tier": "web", SLOT: "blue"})
    assert seen[f"{name}-other"].selector == {"app": f"{name}-other"}
    assert place.traffic.routing("no-such-namespace") == Routing((), ())


def test_routing_shows_what_was_written_by_hand(place: Place, name: str) -> None:
    place.by_hand(name, "10.9.8.7")
    found = [one for one in place.traffic.routing(place.space).slices if one.name == name]
    assert found == [SliceSeen(name, None, derived=False, endpoints=(Endpoint(("10.9.8.7",)),))]


def slices_of(place: Place, service: str) -> list[SliceSeen]:
    return [one for one in place.traffic.routing(place.space).slices if one.service == service]


def test_routing_shows_what_follows_from_a_selector(real: RealPlace, api: Any, name: str) -> None:
    """First without a pod, for which the API answers with null."""
    target = workload(real, name, 0).deployment
    wait_until(lambda: bool(slices_of(real, name)), 10, "a slice without endpoints")
    (empty,) = slices_of(real, name)
    assert empty.endpoints == ()
    path = f"/apis/discovery.k8s.io/v1/namespaces/{real.space}/endpointslices/{empty.name}"
    assert stored(api, path)["endpoints"] is None
    real.pods.scale(target, 2)
    real.pods.watch(target, ready, 60)
    pods = {pod.name for pod in real.pods.listed(target)}

    def seen() -> set[str | None]:
        return {each.pod for one in slices_of(real, name) for each in one.endpoints}

    wait_until(lambda: seen() == pods, 10, "a slice with the pods")
    assert all(one.derived for one in slices_of(real, name))


def test_routing_takes_nobodys_word_for_whose_a_slice_is(
    real: RealPlace, api: Any, name: str
) -> None:
    """A slice of a Service that has a selector, by somebody else than the controller; and a Service
    that is but a name, whose selector finds nothing."""
    real.service(name)
    labels = {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "me"}
    outside = service(f"{name}-other", None)
    outside["spec"] |= {"type": "ExternalName", "externalName": "db.example"}
    apply(api, [endpoint_slice(name, "10.9.8.7", **labels), outside], namespace=real.space)
    (found,) = [one for one in slices_of(real, name) if one.name == name]
    assert not found.derived
    seen = {one.name: one.selector for one in real.traffic.routing(real.space).services}
    assert seen[f"{name}-other"] == {}


def names(place: Place, workload: Workload) -> list[str]:
    return [pod.name for pod in place.pods.listed(workload.deployment)]


MISSING: dict[str, Callable[[Place, DeploymentTarget], object]] = {
    "listed": lambda place, target: place.pods.listed(target),
    "watch": lambda place, target: place.pods.watch(target, ready, 5),
    "watch_gone": lambda place, target: place.pods.watch_gone(target, 5),
    "start": lambda place, target: place.pods.start(target, replicas=1, images={}, version="v7"),
    "sync": lambda place, target: place.pods.sync(
        target, Template({"spec": {}}), replicas=1, version="v7"
    ),
    "scale": lambda place, target: place.pods.scale(target, 0),
    "deliver": lambda place, target: place.pods.deliver(
        SecretKeyTarget(target.namespace, target.name, "password"), Secret("hunter2"), "v7"
    ),
}


@pytest.mark.parametrize("verb", MISSING)
def test_a_deployment_or_secret_that_is_not_there(place: Place, name: str, verb: str) -> None:
    """The right to create a Kubernetes Secret cannot be limited to a name."""
    target = DeploymentTarget(place.space, name)
    with pytest.raises(Missing, match=f"{target}") as caught:
        MISSING[verb](place, target)
    assert caught.value.code is Code.CLUSTER_MISSING
    assert "hunter2" not in str(caught.value)
    assert base64.b64encode(b"hunter2").decode() not in str(caught.value)


def test_deliver_replaces_one_key(place: Place, name: str) -> None:
    target = place.secret(name, other="kept", password="former")
    value = new_password()
    for _ in range(2):
        place.pods.deliver(target, value, "v7")
    assert place.mounted(target) == ({"other": "kept", "password": value.reveal()}, "v7")


def test_start_brings_up_what_it_is_told(place: Place, down: Workload) -> None:
    for _ in range(2):
        place.pods.start(down.deployment, replicas=1, images={"web": IMAGE}, version="v7")
    found = place.pods.watch(down.deployment, ready, 60)
    assert (found.replicas, found.ready, found.version) == (1, 1, "v7")
    assert found.images == {"web": IMAGE}
    place.pods.scale(down.deployment, 0)


def test_start_with_another_version_replaces_the_pods(place: Place, up: Workload) -> None:
    before = set(names(place, up))
    place.pods.start(up.deployment, replicas=2, images={"web": IMAGE}, version="v8")
    found = place.pods.watch(up.deployment, lambda d: ready(d) and d.version == "v8", 60)
    assert ready(found)
    wait_until(lambda: len(place.pods.listed(up.deployment)) == 2, 30, "the former pods' end")
    assert not before & set(names(place, up))


def test_start_once_more_leaves_the_pods_alone(place: Place, up: Workload) -> None:
    place.pods.start(up.deployment, replicas=2, images={"web": IMAGE}, version="v8")
    place.pods.watch(up.deployment, lambda d: ready(d) and d.version == "v8", 60)
    wait_until(lambda: len(place.pods.listed(up.deployment)) == 2, 30, "the former pods' end")
    before = names(place, up)
    place.pods.start(up.deployment, replicas=2, images={"web": IMAGE}, version="v8")
    assert ready(place.pods.watch(up.deployment, ready, 60))
    assert names(place, up) == before


def test_start_without_a_version_leaves_the_one_that_is_named(place: Place, up: Workload) -> None:
    for version in ("v8", None):
        place.pods.start(up.deployment, replicas=2, images={"web": IMAGE}, version=version)
        found = place.pods.watch(up.deployment, lambda d: ready(d) and d.version == "v8", 60)
        assert ready(found)
        assert found.version == "v8"


def test_start_with_what_is_not_valid(place: Place, down: Workload) -> None:
    with pytest.raises(Invalid, match=r"HTTP 422 Invalid .*spec\.replicas") as caught:
        place.pods.start(down.deployment, replicas=-1, images={}, version="v7")
    assert caught.value.code is Code.CLUSTER_ERROR


CHANGES: dict[str, Callable[[Place, DeploymentTarget, str | None], object]] = {
    "start": lambda place, target, revision: place.pods.start(
        target, replicas=0, images={"web": IMAGE}, version="v9", revision=revision
    ),
    "sync": lambda place, target, revision: place.pods.sync(
        target, template_of(place, target), replicas=0, version="v9", revision=revision
    ),
    "scale": lambda place, target, revision: place.pods.scale(target, 0, revision=revision),
}


def template_of(place: Place, target: DeploymentTarget) -> Template:
    """The pod template of a Deployment, as the API server has it."""
    seen = place.pods.deployment(target)
    assert seen is not None
    assert seen.template is not None
    return seen.template


@pytest.mark.parametrize("verb", CHANGES)
def test_a_change_of_what_was_changed_since_the_look_comes_to_nothing(
    place: Place, down: Workload, verb: str
) -> None:
    """An execution that was held up must not undo what another one has done."""
    seen = place.pods.deployment(down.deployment)
    assert seen is not None
    assert seen.revision
    place.pods.start(down.deployment, replicas=0, images={"web": IMAGE}, version="v8")
    with pytest.raises(Unavailable, match=f"{down.deployment}: HTTP 409 Conflict") as caught:
        CHANGES[verb](place, down.deployment, seen.revision)
    assert caught.value.code is Code.CLUSTER_CONFLICT
    found = place.pods.deployment(down.deployment)
    assert found is not None
    assert found.version == "v8"

    def changed() -> bool:
        """After another look, unless a controller's word on its status was faster."""
        again = place.pods.deployment(down.deployment)
        assert again is not None
        with suppress(Unavailable):
            CHANGES[verb](place, down.deployment, again.revision)
            return True
        return False

    wait_until(changed, 30, "a change between two words of a controller")


def test_a_rotation_that_leaves_the_number_of_pods_undoes_what_was_prepared_before_it(
    place: Place, up: Workload
) -> None:
    """Only annotations change, and no status does by that."""
    seen = place.pods.deployment(up.deployment)
    assert seen is not None
    place.pods.scale(up.deployment, 2, by="orders-db-1")
    with pytest.raises(Unavailable, match=f"{up.deployment}: HTTP 409 Conflict") as caught:
        place.pods.scale(up.deployment, 0, revision=seen.revision)
    assert caught.value.code is Code.CLUSTER_CONFLICT
    found = place.pods.deployment(up.deployment)
    assert found is not None
    assert found.replicas == 2


def test_a_pod_template_is_brought_whole(place: Place, down: Workload) -> None:
    """What it had and the new one has not is gone; and when repeated nothing changes."""
    document = copy.deepcopy(template_of(place, down.deployment).document)
    container = document["spec"]["containers"][0]
    container["env"] = [{"name": "ADDED", "value": "1"}, *container.get("env", [])]
    for _ in range(2):
        place.pods.sync(down.deployment, Template(document), replicas=0, version="v7")
    found = place.pods.deployment(down.deployment)
    assert found is not None
    assert (found.version, found.replicas) == ("v7", 0)
    rules = Rules(Names((), ("blue", "green")))
    brought = template_of(place, down.deployment).document
    assert differences(document, brought, rules) == []
    assert "ADDED" not in repr(found)
    container["env"] = container["env"][1:]
    place.pods.sync(down.deployment, Template(document), replicas=0, version=None)
    assert differences(document, template_of(place, down.deployment).document, rules) == []


def noted(real: RealPlace, path: str) -> tuple[str, str]:
    """The rotation that an object's annotations name, and what they say that it did."""
    annotations = stored(real.api, path)["metadata"]["annotations"]
    return annotations[ROTATION], annotations[DID]


def told(real: RealPlace, kind: str, name: str) -> list[tuple[str, str]]:
    """What `kubectl describe` shows of Events that rotations have made of the object."""
    listed = stored(real.api, f"/api/v1/namespaces/{real.space}/events")["items"]
    at = f"{'/apis/apps' if kind == 'Deployment' else '/api'}/v1/namespaces/{real.space}"
    uid = stored(real.api, f"{at}/{kind.lower()}s/{name}")["metadata"]["uid"]
    return [
        (event["reason"], event["message"])
        for event in listed
        if event["involvedObject"].get("uid") == uid
        and event["involvedObject"]["kind"] == kind
        and event["source"].get("component") == MANAGER
    ]


def test_an_object_tells_which_rotation_did_what(real: RealPlace, name: str) -> None:
    """Also where an execution is repeated, which makes no second Event."""
    target, service = real.deployment(name, 0), real.service(name)
    for _ in range(2):
        real.pods.start(target, replicas=1, images={}, version="v7", by="orders-db-1")
        real.traffic.move(service, "blue", "green", by="orders-db-1")
    path = f"/apis/apps/v1/namespaces/{real.space}/deployments/{name}"
    assert noted(real, path) == ("orders-db-1", "started 1 pod with secret version v7")
    real.pods.scale(target, 0, by="orders-db-2")
    assert noted(real, path) == ("orders-db-2", "scaled to 0 pods")
    assert sorted(told(real, "Deployment", name)) == [
        ("SlotScaled", "rotation orders-db-2 scaled to 0 pods"),
        ("SlotStarted", "rotation orders-db-1 started 1 pod with secret version v7"),
    ]
    at = f"/api/v1/namespaces/{real.space}/services/{name}"
    assert noted(real, at) == ("orders-db-1", "moved traffic from blue to green")
    assert told(real, "Service", name) == [
        ("TrafficMoved", "rotation orders-db-1 moved traffic from blue to green")
    ]


def test_the_fields_that_a_rotation_writes_are_its_own(real: RealPlace, name: str) -> None:
    """By its name in managedFields, which GitOps tools go by."""
    target, service = real.deployment(name, 0), real.service(name)
    key = real.secret(name, password="former")
    real.pods.start(target, replicas=1, images={"web": IMAGE}, version="v7", by="orders-db-1")
    real.traffic.move(service, "blue", "green", by="orders-db-1")
    real.traffic.fence(service, "orders-db-1")
    real.pods.deliver(key, new_password(), "v7")
    core, apps = (f"{at}/namespaces/{real.space}" for at in ("/api/v1", "/apis/apps/v1"))
    paths = (f"{core}/services/{name}", f"{apps}/deployments/{name}", f"{core}/secrets/{name}")
    for path, field in zip(paths, ("f:selector", "f:replicas", "f:data"), strict=True):
        managed = stored(real.api, path)["metadata"]["managedFields"]
        (own,) = [entry for entry in managed if entry["manager"] == MANAGER]
        assert own["operation"] == "Update"
        fields = own["fieldsV1"]
        assert field in {**fields, **fields.get("f:spec", {})}
    real.pods.scale(target, 0)


@pytest.mark.parametrize("status", [403, 500])
def test_an_event_that_cannot_be_made_stops_nothing(
    real: RealPlace, name: str, admin: Admin, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    target = real.service(name)
    events = f"/api/v1/namespaces/{real.space}/events"
    admin.fault(match={"path_prefix": events, "method": "POST"}, status=status, times=1)
    real.traffic.move(target, "blue", "green", by="orders-db-1")
    assert real.traffic.route(target) == Route("green", "http")
    (line,) = [one for one in caplog.messages if "cluster.event_failed" in one]
    assert f"HTTP {status}" in line


def test_events_that_are_slow_do_not_keep_traffic_waiting(
    real: RealPlace, name: str, admin: Admin, caplog: pytest.LogCaptureFixture
) -> None:
    """A cluster's Events may be in a store of their own, which is away."""
    target = real.service(name)
    path = f"/api/v1/namespaces/{real.space}/events"
    admin.fault(match={"path_prefix": path, "method": "POST"}, delay=20, times=1)
    began = time.monotonic()
    real.traffic.move(target, "blue", "green", by="orders-db-1")
    assert time.monotonic() - began < 10
    assert real.traffic.route(target) == Route("green", "http")
    assert [one for one in caplog.messages if "cluster.event_failed" in one]


def test_scale(place: Place, up: Workload) -> None:
    for _ in range(2):
        place.pods.scale(up.deployment, 0)
    assert place.pods.watch_gone(up.deployment, 30) == []
    assert place.pods.listed(up.deployment) == []


def test_watch_needs_no_change(place: Place, down: Workload) -> None:
    begun = time.monotonic()
    assert place.pods.watch(down.deployment, ready, 60).replicas == 0
    assert time.monotonic() - begun < 30


def test_watch_ends_without_what_it_waits_for(place: Place, down: Workload) -> None:
    assert place.pods.watch(down.deployment, lambda _: False, 1).replicas == 0


def test_watch_gone_tells_who_is_left(place: Place, up: Workload) -> None:
    assert place.pods.watch_gone(up.deployment, 1) == names(place, up)


# What only a real API server can show.


def test_deliver_under_a_key_that_is_none(real: RealPlace, name: str) -> None:
    target = replace(real.secret(name), key="not a key")
    with pytest.raises(Invalid, match="HTTP 422 Invalid data") as caught:
        real.pods.deliver(target, Secret("hunter2"), "v7")
    assert base64.b64encode(b"hunter2").decode() not in str(caught.value)


def test_start_sets_init_containers_too(real: RealPlace, api: Any, name: str) -> None:
    manifest = deployment(name, 0)
    pod = manifest["spec"]["template"]["spec"]
    pod["initContainers"] = [{"name": "migrate", "image": "echo:1", "args": ["keep"]}]
    apply(api, [manifest], namespace=real.space)
    target = DeploymentTarget(real.space, name)
    images = {"web": "echo:2", "init:migrate": "echo:2"}
    real.pods.start(target, replicas=0, images=images, version="v7")
    found = real.pods.deployment(target)
    assert found is not None
    assert found.images == images
    kept = stored(api, f"/apis/apps/v1/namespaces/{real.space}/deployments/{name}")
    assert kept["spec"]["template"]["spec"]["initContainers"][0]["args"] == ["keep"]
    assert "readinessProbe" in kept["spec"]["template"]["spec"]["containers"][0]


def test_an_image_that_is_not_there_never_gets_ready(real: RealPlace, name: str) -> None:
    target = real.deployment(name, 0)
    real.pods.start(target, replicas=1, images={"web": "no.such/image:1"}, version="v7")
    begun = time.monotonic()
    found = real.pods.watch(target, ready, 2)
    assert 1 <= time.monotonic() - begun < 20
    assert (found.ready, found.replicas) == (0, 1)
    real.pods.scale(target, 0)


def test_match_expressions_are_followed_too(real: RealPlace, api: Any, name: str) -> None:
    manifest = deployment(name, 1)
    manifest["spec"]["selector"] = {
        "matchExpressions": [
            {"key": "app", "operator": "In", "values": [name, "another"]},
            {"key": "tier", "operator": "NotIn", "values": ["web", "jobs"]},
            {"key": SLOT, "operator": "Exists"},
            {"key": "retired", "operator": "DoesNotExist"},
        ]
    }
    apply(api, [manifest], namespace=real.space)
    target = DeploymentTarget(real.space, name)
    found = real.pods.watch(target, ready, 60)
    assert found.selector is not None
    assert matches(found.selector, found.labels or {})
    assert not matches(found.selector, {"app": name, SLOT: "blue", "retired": ""})
    (pod,) = real.pods.listed(target)
    assert real.pods.watch_gone(target, 1) == [pod.name]
    real.pods.scale(target, 0)
    assert real.pods.watch_gone(target, 30) == []


def test_a_pod_that_cannot_start_says_why(real: RealPlace, name: str) -> None:
    target = real.deployment(name, 0)
    real.pods.start(target, replicas=1, images={"web": "no.such/image:1"}, version="v7")

    def reasons() -> set[str | None]:
        return {pod.waiting for pod in real.pods.listed(target)}

    wait_until(lambda: reasons() & {"ErrImagePull", "ImagePullBackOff"} != set(), 30, "a reason")
    real.pods.scale(target, 0)


def test_a_pod_that_crashes_says_how_often_and_how(real: RealPlace, api: Any, name: str) -> None:
    needs_the_stand_in("CONTRACT_KUBECONFIG", "runs a command that its image has")
    apply(api, [deployment(name, 1, command=["sh", "-c", "exit 3"])], namespace=real.space)
    target = DeploymentTarget(real.space, name)

    def crashed() -> bool:
        found = real.pods.listed(target)
        return any(pod.waiting == "CrashLoopBackOff" and pod.restarts > 0 for pod in found)

    wait_until(crashed, 30, "a back-off")
    (pod,) = real.pods.listed(target)
    assert (pod.ready, pod.exit_code, pod.ended) == (False, 3, "Error")
    real.pods.scale(target, 0)


@pytest.fixture
def alone(cluster: Edge, api: Any, space: str, name: str) -> Iterator[RealPlace]:
    """A namespace of the test's own, where what is set is in force for nobody else."""
    if not KUBECONFIG:
        yield RealPlace(cluster, api, space)
        return
    path = f"/api/v1/namespaces/{name}"
    status = asked(api, "POST", "/api/v1/namespaces", {"metadata": {"name": name}})[0]
    if status == 403:
        pytest.skip("whom CONTRACT_KUBECONFIG names may not make a namespace")
    assert status == 201
    yield RealPlace(cluster, api, name)
    assert delete(api, path) in {200, 202}
    wait_until(lambda: asked(api, "GET", path)[0] == 404, 60, f"the end of namespace {name}")


def test_a_quota_that_refuses_pods_is_told_in_numbers(
    alone: RealPlace, api: Any, name: str
) -> None:
    real = alone
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}}
    apply(api, [{**quota, "spec": {"hard": {"pods": "0"}}}], namespace=real.space)
    path = f"/api/v1/namespaces/{real.space}/resourcequotas/{name}"
    wait_until(lambda: not KUBECONFIG or "used" in stored(api, path)["status"], 30, "its count")
    target = real.deployment(name, 1)
    refused = real.pods.watch(target, lambda found: found.failure is not None, 30)
    assert (refused.failure, refused.ready) == ("FailedCreate", 0)
    assert re.fullmatch(
        r"a quota is full: \d of 0 pods used, 1 more asked for", refused.refusal or ""
    )
    delete(api, path)
    # By itself, with the ReplicaSet controller's back-off.
    found = real.pods.watch(target, lambda found: ready(found) and found.failure is None, 60)
    assert (found.ready, found.failure, found.refusal) == (1, None, None)
    real.pods.scale(target, 0)


@pytest.mark.parametrize("kind", ["secrets", "serviceaccounts"])
def test_a_deletion_in_the_foreground_ends_where_nothing_is_owned(
    api: Any, space: str, name: str, kind: str
) -> None:
    """What these tests, and people, delete by."""
    path = f"{MADE[kind]}/namespaces/{space}/{kind}"
    assert asked(api, "POST", path, {"metadata": {"name": name}})[0] == 201
    assert delete(api, f"{path}/{name}") in {200, 202}
    wait_until(lambda: asked(api, "GET", f"{path}/{name}")[0] == 404, 30, f"the end of {kind}")


def test_a_deployment_that_is_paused_says_so(real: RealPlace, api: Any, name: str) -> None:
    manifest = deployment(name, 0)
    manifest["spec"]["paused"] = True
    apply(api, [manifest], namespace=real.space)
    found = real.pods.deployment(DeploymentTarget(real.space, name))
    assert found is not None
    assert found.paused


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


def test_pods_of_a_rollout_are_told_by_it(real: RealPlace, api: Any, name: str) -> None:
    """Which makes them by a ReplicaSet, as a Deployment does; nobody here knows what it is."""
    manifest = deployment(name, 1)
    owner = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "name": f"{name}-rollout",
        "uid": "7a6f5f0e-0000-4000-8000-000000000001",
        "controller": True,
    }
    labels = manifest["spec"]["template"]["metadata"]["labels"]
    metadata = {"name": name, "labels": labels, "ownerReferences": [owner]}
    path = f"/apis/apps/v1/namespaces/{real.space}/replicasets"
    manifest |= {"kind": "ReplicaSet", "metadata": metadata}
    assert asked(api, "POST", path, manifest)[0] == 201
    wait_until(lambda: makers(real, name) == [Maker("Rollout", f"{name}-rollout")], 30, "its pod")
    assert delete(api, f"{path}/{name}") in {200, 202}
    wait_until(lambda: makers(real, name) == [], 30, "the end of its pod")


def test_slices_name_the_pods_behind_a_service(real: RealPlace, api: Any, name: str) -> None:
    served = real.service(name)
    manifest = deployment(name, 1, lifecycle={"preStop": {"sleep": {"seconds": 3}}})
    manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 5
    apply(api, [manifest], namespace=real.space)
    target = DeploymentTarget(real.space, name)
    real.pods.watch(target, ready, 60)
    (pod,) = real.pods.listed(target)
    serving = {"ready": True, "serving": True, "terminating": False}
    wait_until(lambda: endpoints(api, served) == [(pod.name, serving)], 30, "the pod in a slice")
    real.pods.scale(target, 0)
    ending = {"ready": False, "serving": True, "terminating": True}
    wait_until(lambda: endpoints(api, served) == [(pod.name, ending)], 30, "the pod's end, told")
    wait_until(lambda: endpoints(api, served) == [], 30, "an empty slice")


PORTS = [{"name": "http", "port": 80, "targetPort": 8080}]
SERVICES: list[tuple[dict[str, Any], int, bool]] = [
    ({"clusterIP": "None"}, 201, True),
    ({"clusterIP": "None", "ports": PORTS}, 201, False),
    ({"ports": PORTS}, 201, False),
    ({}, 422, False),
    ({"clusterIP": "None", "type": "NodePort", "ports": PORTS}, 422, False),
    ({"clusterIP": "None", "type": "LoadBalancer", "ports": PORTS}, 422, False),
]


@pytest.mark.parametrize(("spec", "status", "headless"), SERVICES)
def test_a_service_may_be_without_ports_if_it_is_headless(
    real: RealPlace, api: Any, name: str, spec: dict[str, Any], status: int, headless: bool
) -> None:
    body = {"metadata": {"name": name}, "spec": {"selector": {"app": name, SLOT: "blue"}, **spec}}
    path = f"/api/v1/namespaces/{real.space}/services"
    assert asked(api, "POST", path, body)[0] == status
    found = real.traffic.route(ServiceTarget(real.space, name, SLOT))
    assert (found is not None) == (status == 201)
    assert found is None or found.headless == headless


def test_a_service_stays_headless_or_not(real: RealPlace, api: Any, name: str) -> None:
    """Whoever makes a Service headless has to make it anew."""
    target = real.service(name)
    path = f"/api/v1/namespaces/{real.space}/services/{name}"
    found = stored(api, path)
    found["spec"] |= {"clusterIP": "None", "clusterIPs": ["None"]}
    assert asked(api, "PUT", path, found)[0] == 422
    route = real.traffic.route(target)
    assert route is not None
    assert not route.headless


def test_a_service_without_ports_moves_and_its_slices_follow(
    real: RealPlace, api: Any, name: str
) -> None:
    manifest = service(name)
    manifest["spec"] = {"clusterIP": "None", "selector": manifest["spec"]["selector"]}
    apply(api, [manifest, deployment(name, 1)], namespace=real.space)
    served, target = ServiceTarget(real.space, name, SLOT), DeploymentTarget(real.space, name)
    real.pods.watch(target, ready, 60)
    (pod,) = real.pods.listed(target)
    serving = {"ready": True, "serving": True, "terminating": False}
    wait_until(lambda: endpoints(api, served) == [(pod.name, serving)], 30, "the pod in a slice")
    found = real.traffic.routing(real.space)
    assert [each.derived for each in found.slices if each.service == name] == [True]
    real.traffic.move(served, "blue", "green")
    wait_until(lambda: endpoints(api, served) == [], 30, "an empty slice")
    real.pods.scale(target, 0)


def budget(name: str, **fields: Any) -> dict[str, Any]:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": name}}, **fields}
    kind = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


def counts(api: Any, space: str, name: str) -> tuple[int, int, int, int]:
    """A budget's expected, desired and healthy pods, and how many may go."""
    status = stored(api, f"/apis/policy/v1/namespaces/{space}/poddisruptionbudgets/{name}")
    found = status.get("status", {})
    keys = ("expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed")
    expected, desired, healthy, allowed = (int(found.get(key, -1)) for key in keys)
    return expected, desired, healthy, allowed


def evicted(api: Any, space: str, pod: str) -> tuple[int, dict[str, Any]]:
    """The answer to what `kubectl drain` asks for each pod of a node."""
    kind = {"apiVersion": "policy/v1", "kind": "Eviction"}
    path = f"/api/v1/namespaces/{space}/pods/{pod}/eviction"
    return asked(api, "POST", path, {**kind, "metadata": {"name": pod, "namespace": space}})


def test_a_budget_lets_one_pod_go_at_a_time(real: RealPlace, api: Any, name: str) -> None:
    apply(api, [budget(name)], namespace=real.space)
    target = real.deployment(name, 2)
    real.pods.watch(target, ready, 60)
    wait_until(lambda: counts(api, real.space, name) == (2, 1, 2, 1), 30, "the budget's count")
    first, second = (pod.name for pod in real.pods.listed(target))
    assert evicted(api, real.space, first)[0] == 201
    status, document = evicted(api, real.space, second)
    assert (status, document["reason"]) == (429, "TooManyRequests")
    said = "Cannot evict pod as it would violate the pod's disruption budget."
    assert document["message"] == said
    assert document["details"]["causes"] == [
        {
            "reason": "DisruptionBudget",
            "message": f"The disruption budget {name} needs 1 healthy pods and has 1 currently",
        }
    ]
    wait_until(lambda: counts(api, real.space, name) == (2, 1, 2, 1), 60, "a pod in its place")
    assert first not in {pod.name for pod in real.pods.listed(target) if pod.ready}
    assert evicted(api, real.space, second)[0] == 201
    real.pods.scale(target, 0)
    wait_until(lambda: counts(api, real.space, name) == (0, 0, 0, 0), 30, "a budget of nothing")


ASKED_FOR: list[tuple[dict[str, Any], tuple[int, int, int, int]]] = [
    ({"maxUnavailable": None, "minAvailable": 2}, (3, 2, 3, 1)),
    ({"maxUnavailable": None, "minAvailable": "50%"}, (3, 2, 3, 1)),
    ({"maxUnavailable": "50%"}, (3, 1, 3, 2)),
    ({"maxUnavailable": 0}, (3, 3, 3, 0)),
]


def test_what_budgets_ask_for(real: RealPlace, api: Any, name: str) -> None:
    target = real.deployment(name, 3)
    real.pods.watch(target, ready, 60)
    for fields, expected in ASKED_FOR:
        manifest = budget(name, **fields)
        manifest["spec"] = {k: v for k, v in manifest["spec"].items() if v is not None}
        apply(api, [manifest], namespace=real.space)

        def counted(expected: tuple[int, ...] = expected) -> bool:
            return counts(api, real.space, name) == expected

        wait_until(counted, 30, f"the count {expected}")
    real.pods.scale(target, 0)


def test_an_eviction_of_what_is_not_there(api: Any, space: str, name: str) -> None:
    status, document = evicted(api, space, name)
    assert (status, document["message"]) == (404, f'pods "{name}" not found')
    path = f"/api/v1/namespaces/{space}/pods/{name}/eviction"
    assert asked(api, "POST", path, {"metadata": {"name": "another"}})[0] == 400


def test_two_budgets_of_a_pod_let_it_not_go(real: RealPlace, api: Any, name: str) -> None:
    second = {**budget(name), "metadata": {"name": f"{name}-other"}}
    apply(api, [budget(name), second], namespace=real.space)
    target = real.deployment(name, 1)
    real.pods.watch(target, ready, 60)
    (pod,) = real.pods.listed(target)

    def refusal() -> str:
        status, document = evicted(api, real.space, pod.name)
        return str(document["message"]) if status == 500 else ""

    assert "more than one PodDisruptionBudget" in refusal()
    real.pods.scale(target, 0)


def test_a_pod_that_no_node_takes_says_so(real: RealPlace, api: Any, name: str) -> None:
    """As while every node is cordoned that could take it."""
    manifest = deployment(name, 1)
    manifest["spec"]["template"]["spec"]["nodeSelector"] = {"example.com/nowhere": "true"}
    apply(api, [manifest], namespace=real.space)
    target = DeploymentTarget(real.space, name)

    def waiting() -> list[str | None]:
        return [pod.waiting for pod in real.pods.listed(target)]

    wait_until(lambda: waiting() == ["Unschedulable"], 30, "the scheduler's word")
    assert endpoints(api, real.service(name)) == []
    real.pods.scale(target, 0)
    assert real.pods.watch_gone(target, 30) == []


def progress(api: Any, target: DeploymentTarget) -> str:
    found = stored(api, f"/apis/apps/v1/namespaces/{target.namespace}/deployments/{target.name}")
    conditions = found.get("status", {}).get("conditions") or []
    return next((str(c["reason"]) for c in conditions if c["type"] == "Progressing"), "")


def test_a_pause_is_a_condition_too(real: RealPlace, api: Any, name: str) -> None:
    target = real.deployment(name, 1)
    real.pods.watch(target, ready, 60)
    path = f"/apis/apps/v1/namespaces/{target.namespace}/deployments/{target.name}"

    def pause(value: bool) -> None:
        parts = api.param_serialize(
            "PATCH",
            path,
            header_params={"Content-Type": "application/merge-patch+json"},
            body={"spec": {"paused": value}},
            auth_settings=["BearerToken"],
        )
        assert api.call_api(*parts).response.status == 200

    pause(True)
    wait_until(lambda: progress(api, target) == "DeploymentPaused", 30, "the pause, told")
    real.pods.scale(target, 2)
    # What is paused is scaled all the same, and nothing is said of its progress.
    found = real.pods.watch(target, ready, 60)
    assert (found.paused, found.ready) == (True, 2)
    assert progress(api, target) == "DeploymentPaused"
    pause(False)
    over = {"DeploymentResumed", "NewReplicaSetAvailable"}
    wait_until(lambda: progress(api, target) in over, 30, "the end of the pause")
    real.pods.scale(target, 0)


def test_a_native_sidecar_starts_first_and_counts(real: RealPlace, api: Any, name: str) -> None:
    sidecar = {
        "name": "proxy",
        "image": IMAGE,
        "restartPolicy": "Always",
        "ports": [{"containerPort": 8081}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8081}, "periodSeconds": 1},
        "startupProbe": {"httpGet": {"path": "/healthz", "port": 8081}, "periodSeconds": 1},
        **({"args": ["netexec", "--http-port=8081"]} if KUBECONFIG else {}),
    }

    def with_sidecar(**fields: Any) -> None:
        manifest = deployment(name, 1)
        manifest["spec"]["template"]["spec"]["initContainers"] = [{**sidecar, **fields}]
        apply(api, [manifest], namespace=real.space)

    target = DeploymentTarget(real.space, name)
    nowhere = {"httpGet": {"path": "/nowhere", "port": 8081}, "periodSeconds": 1}
    with_sidecar(startupProbe={**nowhere, "failureThreshold": 1000})

    def told() -> list[str | None]:
        return [pod.waiting for pod in real.pods.listed(target)]

    wait_until(lambda: told() == ["PodInitializing"], 60, "a sidecar that does not come up")
    with_sidecar(readinessProbe={**nowhere, "failureThreshold": 1})
    wait_until(lambda: None in told(), 60, "a sidecar that runs and is not ready")
    found = real.pods.deployment(target)
    assert found is not None
    assert found.ready == 0
    with_sidecar()
    found = real.pods.watch(target, ready, 60)
    assert set(found.images.values()) == {IMAGE}
    assert len(found.images) == 2
    real.pods.scale(target, 0)


def test_watch_sees_a_change_at_once(real: RealPlace, name: str) -> None:
    target = real.deployment(name, 0)
    timer = threading.Timer(0.5, real.pods.scale, (target, 1))
    timer.start()
    begun = time.monotonic()
    assert real.pods.watch(target, lambda d: d.replicas == 1, 60).replicas == 1
    assert time.monotonic() - begun < 30
    timer.join()
    real.pods.scale(target, 0)


def test_watch_of_what_is_deleted(real: RealPlace, kubeconfig: Path, name: str) -> None:
    target = real.deployment(name, 0)

    def delete() -> None:
        client: Any = connect(kubeconfig)
        path = f"/apis/apps/v1/namespaces/{target.namespace}/deployments/{target.name}"
        asked(client, "DELETE", path)
        client.close()

    timer = threading.Timer(0.5, delete)
    timer.start()
    with pytest.raises(Missing, match="was deleted"):
        real.pods.watch(target, lambda _: False, 60)
    timer.join()


@pytest.fixture
def echo(real: RealPlace, api: Any, name: str) -> Iterator[ServiceTarget]:
    """A workload that tells what it was asked."""
    if KUBECONFIG and not ECHO_IMAGE:
        pytest.skip("CONTRACT_ECHO_IMAGE names no image that tells what it was asked")
    served = real.service(name)  # the API server's proxy takes a moment to know it
    ports = [{"containerPort": 8080}, {"containerPort": 8081}]  # nothing listens at the second
    manifest = deployment(name, 1, image=ECHO_IMAGE or IMAGE, ports=ports)
    apply(api, [manifest], namespace=real.space)
    target = DeploymentTarget(real.space, name)
    real.pods.watch(target, ready, 60)
    yield served
    real.pods.scale(target, 0)


def test_ask_keeps_path_and_query(cluster: Edge, echo: ServiceTarget) -> None:
    asked = json.loads(cluster.traffic.ask(echo, "/a%20b/ü?x=1&y=%20", 10).body)
    assert (asked["path"], asked["query"]) == ("/a%20b/%C3%BC", "x=1&y= ")
    assert "Authorization" not in asked["headers"]


def test_the_proxy_s_headers(cluster: Edge, api: Any, echo: ServiceTarget) -> None:
    """What an application sees of a request that the API server passes on: a host that is not its
    own, and nothing of whoever asked. https://www.rfc-editor.org/rfc/rfc9110#name-connection"""
    asked = json.loads(cluster.traffic.ask(echo, "/a%20b", 10).body)["headers"]
    asked = {name.lower(): value for name, value in asked.items()}
    path = f"/api/v1/namespaces/{echo.namespace}/services/http:{echo.name}:http/proxy/a%20b"
    assert asked.pop("host") == urlsplit(api.configuration.host).netloc
    assert asked.pop("x-forwarded-uri") == path
    assert asked.pop("x-forwarded-for").split(", ")[-1]
    assert asked.keys() <= {"accept", "accept-encoding", "user-agent", "content-type"}


def test_the_proxy_keeps_what_is_the_application_s(api: Any, echo: ServiceTarget) -> None:
    path = f"/api/v1/namespaces/{echo.namespace}/services/{echo.name}:80/proxy/"
    sent = {"X-Own": "1", "X-Dropped": "1", "Connection": "X-Dropped", "Content-Type": "text/plain"}
    sent |= {"X-Forwarded-For": "192.0.2.1", "Cookie": "a=b"}
    parts = api.param_serialize("POST", path, header_params=sent, auth_settings=["BearerToken"])
    answer = api.rest_client.pool_manager.request(*parts[:2], headers=parts[2], body=b"text")
    asked = {name.lower(): value for name, value in answer.json()["headers"].items()}
    assert (answer.json()["body"], asked["content-length"]) == ("text", "4")
    assert (asked["x-own"], asked["cookie"], asked["content-type"]) == ("1", "a=b", "text/plain")
    assert asked["x-forwarded-for"].startswith("192.0.2.1, ")
    assert not {"authorization", "x-dropped", "connection", "transfer-encoding"} & asked.keys()
    assert answer.headers["Audit-Id"]
    assert "no-cache, private" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_ask_by_another_method_with_headers_and_a_body(
    cluster: Edge, echo: ServiceTarget, method: str
) -> None:
    body = None if method == "DELETE" else '{"for": "rôle"}'.encode()
    manner = Manner(method, {"Content-Type": "application/json", "X-Slot": "green"}, body)
    asked = json.loads(cluster.traffic.ask(echo, "/orders", 10, manner).body)
    assert (asked["method"], asked["path"]) == (method, "/orders")
    assert asked["headers"]["X-Slot"] == "green"
    assert asked["body"] == (body or b"").decode()
    assert "Authorization" not in asked["headers"]
    if body:
        assert asked["headers"]["Content-Type"] == "application/json"


def test_ask_of_pods_that_speak_tls(
    cluster: Edge, echo: ServiceTarget, api: Any, tmp_path: Path
) -> None:
    """By any certificate: the API server checks none."""
    issued = Authority(tmp_path).issue("echo")
    tls = {"CERTIFICATE": str(issued.certificate), "KEY": str(issued.key)}
    env = [{"name": name, "value": value} for name, value in tls.items()]
    asked = {"path": "/healthz", "port": 8080, "scheme": "HTTPS"}
    probe = {"httpGet": asked, "periodSeconds": 1}
    manifest = deployment(echo.name, 1, image=ECHO_IMAGE or IMAGE, env=env, readinessProbe=probe)
    apply(api, [manifest], namespace=echo.namespace)
    target = DeploymentTarget(echo.namespace, echo.name)
    cluster.pods.watch(target, ready, 60)
    wait_until(lambda: len(cluster.pods.listed(target)) == 1, 30, "the former pod's end")
    answer = cluster.traffic.ask(echo, "/orders", 10, Manner(scheme="https"))
    assert json.loads(answer.body)["path"] == "/orders"


def test_ask_of_pods_that_do_not_speak_tls(cluster: Edge, echo: ServiceTarget) -> None:
    with pytest.raises(Unavailable) as caught:
        cluster.traffic.ask(echo, "/orders", 10, Manner(scheme="https"))
    assert caught.value.code is Code.PROXY_TLS


def test_many_ask_at_once_and_each_gets_its_own_answer(cluster: Edge, echo: ServiceTarget) -> None:
    """Through one client, as a workload's tests do."""
    paths = [f"/orders/{number}" for number in range(12)]
    calls = [partial(cluster.traffic.ask, echo, path, 20) for path in paths]
    answers = side_by_side(calls, 30)
    assert [json.loads(answer.body)["path"] for answer in answers if answer] == paths


def test_ask_does_not_wait_longer_than_told(cluster: Edge, echo: ServiceTarget) -> None:
    with pytest.raises(Unavailable, match=r"no answer of Service .* in 0\.5 s") as caught:
        cluster.traffic.ask(echo, "/slow?seconds=20", 0.5)
    assert caught.value.code is Code.PROXY_TIMEOUT


BROKEN = [
    ("/reset", Code.PROXY_RESET),
    ("/eof", Code.PROXY_RESET),
    ("/tls", Code.PROXY_TLS),
]


@pytest.mark.parametrize(("path", "code"), BROKEN)
def test_ask_of_a_pod_that_breaks_the_connection(
    cluster: Edge, echo: ServiceTarget, path: str, code: Code
) -> None:
    """As a sidecar does that wants mTLS, and a port that speaks TLS."""
    with pytest.raises(Unavailable, match="HTTP 503") as caught:
        cluster.traffic.ask(echo, path, 10)
    assert caught.value.code is code


def test_ask_of_a_port_where_nothing_listens(cluster: Edge, api: Any, echo: ServiceTarget) -> None:
    """Through a tunnel that does not say why, it is the tunnel that did not reach it."""
    manifest = service(echo.name)
    manifest["spec"]["ports"] = [{"name": "http", "port": 80, "targetPort": 8081}]
    apply(api, [manifest], namespace=echo.namespace)
    found = []

    def code() -> Code | None:
        try:
            cluster.traffic.ask(echo, "/", 10)
        except Unavailable as error:
            found.append(error.code)
        return found[-1] if found else None

    known = Code.PROXY_TUNNEL if KUBECONFIG else Code.PROXY_REFUSED
    wait_until(lambda: code() is known, 10, "the Service's new port")


def test_ask_by_a_port_that_is_not_the_first(
    real: RealPlace, api: Any, echo: ServiceTarget, name: str
) -> None:
    """By its name and by its number; at the first one nothing listens."""
    manifest = service(f"{name}-other")
    manifest["spec"] |= {
        "selector": service(name)["spec"]["selector"],
        "ports": [
            {"name": "metrics", "port": 81, "targetPort": 8081},
            {"name": "web", "port": 8443, "targetPort": 8080},
        ],
    }
    apply(api, [manifest], namespace=real.space)
    target = replace(echo, name=f"{name}-other")
    assert real.traffic.route(target) == Route("blue", "metrics")

    def served(port: str) -> bool:
        try:
            answer = real.traffic.ask(replace(target, port=port), "/orders", 10)
        except Unavailable:
            return False
        return bool(json.loads(answer.body)["path"] == "/orders")

    wait_until(lambda: served("web"), 30, "the Service's pods")
    assert served("8443")
    assert not served("metrics")


def test_ask_by_a_port_that_the_service_has_not(cluster: Edge, echo: ServiceTarget) -> None:
    for port, code in (("81", Code.PROXY_NO_PORT), ("nothing", Code.PROXY_NO_PODS)):
        with pytest.raises(Unavailable, match="HTTP 503") as caught:
            cluster.traffic.ask(replace(echo, port=port), "/", 10)
        assert caught.value.code is code


API = ServiceTarget("orders", "api", SLOT)
PODS = DeploymentTarget("orders", "api")


VERBS: dict[str, Callable[[Edge], object]] = {
    "route": lambda edge: edge.traffic.route(API),
    "move": lambda edge: edge.traffic.move(API, "blue", "green"),
    "fence": lambda edge: edge.traffic.fence(API, "orders-db-1"),
    "routing": lambda edge: edge.traffic.routing("orders"),
    "deployment": lambda edge: edge.pods.deployment(PODS),
    "listed": lambda edge: edge.pods.listed(PODS),
    "deliver": lambda edge: edge.pods.deliver(
        SecretKeyTarget("orders", "api", "password"), Secret("hunter2"), "v7"
    ),
    "start": lambda edge: edge.pods.start(PODS, replicas=0, images={}, version="v7"),
    "scale": lambda edge: edge.pods.scale(PODS, 0),
    "watch": lambda edge: edge.pods.watch(PODS, ready, 1),
    "watch_gone": lambda edge: edge.pods.watch_gone(PODS, 1),
}
STATUSES: list[tuple[int, type[EdgeError], Code]] = [
    (400, Invalid, Code.CLUSTER_ERROR),
    (401, Denied, Code.CLUSTER_TOKEN),
    (403, Denied, Code.CLUSTER_REFUSED),
    (429, Unavailable, Code.CLUSTER_UNAVAILABLE),
    (500, Unavailable, Code.CLUSTER_UNAVAILABLE),
    (503, Unavailable, Code.CLUSTER_UNAVAILABLE),
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("status", "error", "code"), STATUSES)
def test_a_refusal_says_what_it_is(
    cluster: Edge, admin: Admin, verb: str, status: int, error: type[EdgeError], code: Code
) -> None:
    paths = {"path_prefix": "/api"}
    admin.fault(match=paths, status=status, times=50, retry_after=7)
    with pytest.raises(error, match=f"^cluster contract could not .* HTTP {status}") as caught:
        VERBS[verb](cluster)
    # Nothing is repeated here: the orchestrator does, and its waits survive a restart.
    assert sum(fault["hits"] for fault in admin.faults()) <= 2
    assert (type(caught.value), caught.value.code) == (error, code)
    assert caught.value.retry_after == (7 if error is Unavailable else None)
    assert caught.value.__cause__ is None
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("verb", VERBS)
def test_a_lost_connection_is_worth_a_retry(cluster: Edge, admin: Admin, verb: str) -> None:
    admin.fault(match={"path_prefix": "/api"}, drop="before", times=50)
    with pytest.raises(Unavailable, match="is its API reachable"):
        VERBS[verb](cluster)


@pytest.mark.guarantee(4)
def test_a_move_whose_answer_is_lost_was_made(real: RealPlace, name: str, admin: Admin) -> None:
    target = real.service(name)
    admin.fault(match={"method": "PATCH"}, drop="after")
    with pytest.raises(Unavailable):
        real.traffic.move(target, "blue", "green")
    real.traffic.move(target, "blue", "green")
    assert real.traffic.route(target) == Route("green", "http")


def test_an_api_that_is_slow(
    cluster: Edge, admin: Admin, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "TIMEOUT", (1.0, 0.5))
    admin.fault(match={"path_prefix": "/api"}, delay=3, times=9)
    with pytest.raises(Unavailable):
        cluster.traffic.route(ServiceTarget(space, "api", SLOT))


@dataclass(frozen=True)
class Door:
    """Where the API is, what vouches for it, and a token of somebody without any right."""

    server: str
    authority: Path
    subject: dict[str, str]
    token: Callable[[], Secret]

    def edge(
        self,
        authenticate: Callable[[], Secret] | None = None,
        refused: Callable[[], None] = lambda: None,
        **more: Any,
    ) -> Edge:
        values = {"server": self.server, "certificateAuthority": str(self.authority)}
        return edge_of(Cluster(**{**values, **more}), authenticate or self.token, refused)

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken(self.token().reveal(), int(time.time()) + 600)


@pytest.fixture
def door(
    request: pytest.FixtureRequest, state: Path, tmp_path: Path, space: str, name: str
) -> Door:
    """Entra's sign-in at the stand-in, a service account's elsewhere."""
    group = {"apiGroup": "rbac.authorization.k8s.io"}
    if not KUBECONFIG:
        component: Component = request.getfixturevalue("component")
        return Door(
            component.url,
            Path(str(component.facts["ca"])),
            {**group, "kind": "User", "name": READER.principal_id},
            lambda: Secret(Tokens(state, READER).get_token(PUBLIC.clusters).token),
        )
    api = request.getfixturevalue("api")
    settings = api.configuration
    authority = tmp_path / "authority.pem"
    authority.write_bytes(Path(settings.ssl_ca_cert).read_bytes())
    accounts = f"/api/v1/namespaces/{space}/serviceaccounts"
    assert asked(api, "POST", accounts, {"metadata": {"name": name}})[0] == 201
    status, made = asked(api, "POST", f"{accounts}/{name}/token", {"spec": {}})
    assert status == 201, made
    return Door(
        settings.host,
        authority,
        {"kind": "ServiceAccount", "name": name, "namespace": space},
        lambda: Secret(made["status"]["token"]),
    )


def rights(name: str, subject: dict[str, str]) -> list[dict[str, Any]]:
    """To look at Services."""
    group = "rbac.authorization.k8s.io"
    metadata = {"apiVersion": f"{group}/v1", "metadata": {"name": name}}
    rules = [{"apiGroups": [""], "resources": ["services"], "verbs": ["get"]}]
    reference = {"apiGroup": group, "kind": "Role", "name": name}
    binding = {"kind": "RoleBinding", "roleRef": reference, "subjects": [subject]}
    return [{**metadata, "kind": "Role", "rules": rules}, {**metadata, **binding}]


def test_tokens_open_what_their_owner_was_granted(
    door: Door, api: Any, space: str, name: str
) -> None:
    apply(api, [service(name), *rights(name, door.subject)], namespace=space)
    target = ServiceTarget(space, name, SLOT)
    reader = door.edge()
    assert reader.traffic.route(target) is not None
    with pytest.raises(Denied, match=r"HTTP 403 .*; apply infra/kubernetes/rbac\.yaml"):
        reader.traffic.move(target, "blue", "green")


def test_a_list_without_its_right_names_what_is_missing(
    door: Door, api: Any, space: str, name: str
) -> None:
    apply(api, rights(name, door.subject), namespace=space)
    where = f"in namespace {space}: HTTP 403 Forbidden; apply infra/kubernetes/rbac.yaml"
    text = re.escape(f"cluster contract could not list Services {where}")
    with pytest.raises(Denied, match=text) as caught:
        door.edge().traffic.routing(space)
    assert caught.value.code is Code.CLUSTER_DENIED


def test_a_token_is_asked_for_with_each_request(door: Door, space: str) -> None:
    asked = []

    def authenticate() -> Secret:
        asked.append(1)
        return door.token()

    reader = door.edge(authenticate)
    for _ in range(2):
        with pytest.raises(Denied):
            reader.pods.deployment(DeploymentTarget(space, "x"))
    assert len(asked) >= 2


def test_a_token_that_is_not_accepted(door: Door, space: str) -> None:
    stranger = door.edge(lambda: Secret("hunter2"))
    text = r"HTTP 401 .*; check `server` and the cluster's sign-in"
    with pytest.raises(Denied, match=text) as caught:
        stranger.traffic.route(ServiceTarget(space, "x", SLOT))
    assert "hunter2" not in str(caught.value)


def test_a_token_that_is_refused_is_forgotten(door: Door, space: str) -> None:
    signing_in = revoked_once(door)

    def authenticate() -> Secret:
        return Secret(signing_in.get_token(PUBLIC.clusters).token)

    reader = door.edge(authenticate, signing_in.forget)
    for status in (401, 403):
        with pytest.raises(Denied, match=f"HTTP {status}"):
            reader.pods.deployment(DeploymentTarget(space, "x"))


@pytest.mark.parametrize("verb", ["route", "scale", "watch_gone"])
def test_a_pause_that_is_asked_for_is_the_orchestrator_s(
    cluster: Edge, admin: Admin, verb: str
) -> None:
    admin.fault(match={"path_prefix": "/api"}, status=429, times=50, retry_after=30)
    with at_once(30), pytest.raises(Unavailable) as caught:
        VERBS[verb](cluster)
    assert caught.value.retry_after == 30


def test_a_sign_in_that_fails_is_passed_on(door: Door, space: str) -> None:
    def fails() -> Secret:
        raise Unavailable(Code.IDENTITY_MISSING, "no identity")

    with pytest.raises(Unavailable, match="no identity"):
        door.edge(fails).traffic.route(ServiceTarget(space, "x", SLOT))


def test_an_authority_may_be_given_as_text(door: Door, space: str) -> None:
    pem = door.authority.read_text(encoding="utf-8")
    with pytest.raises(Denied):
        door.edge(certificateAuthority=pem).traffic.route(ServiceTarget(space, "x", SLOT))


def test_an_unknown_authority_is_refused(door: Door, space: str, tmp_path: Path) -> None:
    stranger = str(Authority(tmp_path / "tls").bundle)
    refused = door.edge(certificateAuthority=stranger)
    with pytest.raises(Unavailable, match="is its API reachable"):
        refused.traffic.route(ServiceTarget(space, "x", SLOT))


def test_two_clusters_share_nothing(door: Door, space: str) -> None:
    """The SDK keeps a global configuration, which none of them may use."""
    one = door.edge()
    door.edge(lambda: Secret("hunter2"))
    with pytest.raises(Denied, match="HTTP 403"):
        one.pods.deployment(DeploymentTarget(space, "x"))


def test_a_context_that_is_not_there(kubeconfig: Path) -> None:
    settings = Cluster(kubeconfig=str(kubeconfig), context="nowhere")
    with pytest.raises(Invalid, match="check the path and the context"):
        edge_of(settings)


def test_the_first_context_is_not_the_only_one(
    kubeconfig: Path, tmp_path: Path, space: str
) -> None:
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    known = config["contexts"][0]
    config["contexts"] = [{"name": "broken", "context": {"cluster": "x", "user": "y"}}, known]
    config["current-context"] = "broken"
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    cluster = edge_of(Cluster(kubeconfig=str(file), context=known["name"]))
    assert cluster.traffic.route(ServiceTarget(space, "contract-nothing", SLOT)) is None


def test_a_token_file_is_read_again(kubeconfig: Path, tmp_path: Path, space: str) -> None:
    """Whoever writes it puts a newer token there before the old one expires."""
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    token = config["users"][0]["user"].get("token")
    if token is None:
        pytest.skip("this kubeconfig signs in by other means than a token")
    config["users"][0]["user"] = {"tokenFile": "tokens/current", "token": "hunter2"}
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    written = tmp_path / "tokens" / "current"
    written.parent.mkdir()
    written.write_text("hunter2\n", encoding="utf-8")
    pods = edge_of(Cluster(kubeconfig=str(file))).pods
    target = DeploymentTarget(space, "x")
    with pytest.raises(EdgeError, match=r"HTTP 40[13]"):
        pods.deployment(target)
    written.write_text(f"{token}\n", encoding="utf-8")
    assert pods.deployment(target) is None
    written.unlink()
    with pytest.raises(Invalid, match=r"token file .*current cannot be read: FileNotFoundError"):
        pods.deployment(target)


# -- HTTPRoutes


@pytest.mark.parametrize(
    ("blue", "green", "slot"), [(100, 0, "blue"), (0, 100, "green"), (90, 10, None), (0, 0, None)]
)
def test_an_http_route_goes_to_the_slot_that_has_all_the_weight(
    place: Place, blue: int, green: int, slot: str | None
) -> None:
    found = place.traffic.route(place.http_route(f"weighed-{blue}-{green}", blue, green))
    assert found is not None
    assert (found.slot, found.share("blue"), found.share("green")) == (slot, blue, green)


def test_an_http_route_gives_a_slot_its_share_and_takes_nothing_back(place: Place) -> None:
    target = place.http_route("shared", 100, 0)
    for share, expected in ((10, 10), (10, 10), (50, 50), (10, 50), (100, 100), (50, 100)):
        place.traffic.shift(target, "green", share, by="r-1")
        found = place.traffic.route(target)
        assert found is not None
        assert (found.share("green"), found.share("blue")) == (expected, 100 - expected)
    place.traffic.shift(target, "blue", 100)
    found = place.traffic.route(target)
    assert found is not None
    assert found.slot == "blue"


def test_a_fence_keeps_weights_that_come_late_from_an_http_route(place: Place) -> None:
    target = place.http_route("fenced", 100, 0)
    before = place.traffic.route(target)
    assert before is not None
    for _ in range(2):
        place.traffic.fence(target, "r-1")
    fenced = place.traffic.route(target)
    assert fenced is not None
    assert (fenced.fence, fenced.revision != before.revision) == ("r-1", True)
    with pytest.raises(Unavailable) as caught:
        place.traffic.shift(target, "green", 10, revision=before.revision)
    assert caught.value.code == Code.TRAFFIC_CHANGED
    place.traffic.shift(target, "green", 10, revision=fenced.revision)


def test_an_http_route_that_is_not_there(place: Place) -> None:
    place.http_route("another", 100, 0)
    target = RouteTarget(place.space, "no-route", "web-blue", "web-green")
    assert place.traffic.route(target) is None
    with pytest.raises(Missing):
        place.traffic.shift(target, "green", 100)
    with pytest.raises(Missing):
        place.traffic.fence(target, "r-1")


def test_http_routes_are_listed_with_what_they_lead_to(place: Place) -> None:
    place.http_route("listed", 100, 0)
    seen = {one.name: one.services for one in place.traffic.http_routes(place.space)}
    assert seen["listed"] == {"web-blue", "web-green"}
