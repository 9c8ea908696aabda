"""What `rotation.contracts.traffic` promises, of Services and HTTPRoutes, and what is noted of it.

On a Kubernetes API, and on the cluster in memory: see `tests.contract.clusters`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from local.cluster.client import apply
from local.process import wait_until
from rotation.edges.cluster.patches import DID, MANAGER, ROTATION
from rotation.model.errors import Conflict, Invalid, Missing, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import (
    DeploymentTarget,
    RouteTarget,
    ServiceTarget,
)
from rotation.model.world import (
    Endpoint,
    Route,
    Routing,
    ServiceSeen,
    SliceSeen,
    shown_slot,
)
from rotation.secrecy import new_password
from tests.contract.clusters import (
    IMAGE,
    SLOT,
    Place,
    RealPlace,
    Workload,
    admin,
    api,
    asked,
    cluster,
    component,
    deployment,
    down,
    endpoint_slice,
    endpoints,
    kubeconfig,
    place,
    ready,
    real,
    service,
    space,
    stored,
    up,
    workload,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.local.azure.support import Admin


__all__ = [
    "admin",
    "api",
    "cluster",
    "component",
    "down",
    "kubeconfig",
    "place",
    "real",
    "space",
    "up",
]


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
