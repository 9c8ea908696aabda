"""HTTPRoutes and Gateways: what is taken, what their status says, and where requests go."""

from __future__ import annotations

import http.client
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from kubernetes.client import ApiException

from local.cluster import schemas
from local.cluster.gateway_schemas import HTTP_ROUTE
from local.process import wait_until
from tests.kubernetes.http_routes import BAD, GOOD, GROUP, gateway, pair, route
from tests.local.cluster.support import deployment, get, service

if TYPE_CHECKING:
    from tests.local.cluster.support import Kube

KIND = (GROUP, "v1")


def problems(spec: dict[str, Any]) -> list[schemas.Problem]:
    return list(schemas.problems(HTTP_ROUTE, schemas.completed(HTTP_ROUTE, spec), "spec"))


@pytest.mark.parametrize("name", GOOD)
def test_what_the_published_schema_takes_is_taken(name: str) -> None:
    assert problems(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_what_it_refuses_is_refused(name: str) -> None:
    assert problems(BAD[name])


def test_what_is_left_out_is_filled_in() -> None:
    assert schemas.completed(HTTP_ROUTE, GOOD["an unknown field"]) == {
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [
                    {"group": "", "kind": "Service", "name": "web-blue", "port": 80, "weight": 1}
                ],
            }
        ]
    }


def test_a_route_that_is_bad_is_422_and_an_unknown_field_400_where_asked(kube: Kube) -> None:
    path = kube.path("httproutes", GROUP)
    manifest = route(**BAD["no port"])
    status, said = kube.raw("POST", path, manifest, Content_Type="application/json")
    assert (status, said["reason"]) == (422, "Invalid")
    assert "Must have port for Service reference" in said["message"]
    manifest = route(**GOOD["an unknown field"])
    strict = f"{path}?fieldValidation=Strict"
    status, said = kube.raw("POST", strict, manifest, Content_Type="application/json")
    assert (status, 'unknown field "spec.unheard"' in said["message"]) == (400, True)
    status, said = kube.raw("POST", path, manifest, Content_Type="application/json")
    assert (status, "unheard" in said["spec"]) == (201, False)


def slots(kube: Kube) -> str:
    """Two slots with a Service each, and a route between them; the URL of its Gateway."""
    for slot in ("blue", "green"):
        kube.apply(deployment(f"web-{slot}"), service(f"web-{slot}", {"app": f"web-{slot}"}))
    kube.apply(gateway(), route(rules=[{"backendRefs": pair(100, 0)}]))
    for slot in ("blue", "green"):
        kube.wait_ready(f"web-{slot}", 1)
    settled(kube)
    found = kube.custom.get_namespaced_custom_object(*KIND, kube.namespace, "gateways", "edge")
    return f"http://127.0.0.1:{found['metadata']['annotations']['local/port.http']}"


def read(kube: Kube) -> dict[str, Any]:
    found: dict[str, Any] = kube.custom.get_namespaced_custom_object(
        *KIND, kube.namespace, "httproutes", "web"
    )
    return found


def conditions(kube: Kube) -> dict[str, str]:
    """Those about the route as it is, by type."""
    found = read(kube)
    return {
        one["type"]: one["reason"]
        for parent in (found.get("status") or {}).get("parents") or []
        for one in parent["conditions"]
        if one["observedGeneration"] == found["metadata"]["generation"]
    }


def settled(kube: Kube, accepted: str = "Accepted", resolved: str = "ResolvedRefs") -> None:
    wanted = {"Accepted": accepted, "ResolvedRefs": resolved}
    wait_until(lambda: conditions(kube) == wanted, 10, f"{wanted}")


def weigh(kube: Kube, blue: int, green: int) -> None:
    at = "/spec/rules/0/backendRefs"
    patch = [
        {"op": "add", "path": f"{at}/{number}/weight", "value": weight}
        for number, weight in enumerate((blue, green))
    ]
    kube.custom.patch_namespaced_custom_object(
        *KIND,
        kube.namespace,
        "httproutes",
        "web",
        patch,
        _content_type="application/json-patch+json",
    )
    settled(kube)


def test_each_request_is_routed_anew_by_weight(kube: Kube) -> None:
    url = slots(kube)
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)

    def served(requests: int) -> Counter[str]:
        found: Counter[str] = Counter()
        for _ in range(requests):
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
            connection.request("GET", "/")
            body = connection.getresponse().read()
            found["green" if b"web-green" in body else "blue"] += 1
        return found

    assert served(5) == {"blue": 5}
    weigh(kube, 50, 50)
    assert len(served(60)) == 2
    weigh(kube, 0, 7)
    assert served(5) == {"green": 5}
    connection.close()


def test_a_route_that_leads_nowhere_says_so(kube: Kube) -> None:
    url = slots(kube)
    kube.raw("DELETE", kube.path("services/web-green"))
    settled(kube, resolved="BackendNotFound")
    assert get(url)["pod"].startswith("web-blue")
    elsewhere = [{"op": "add", "path": "/spec/parentRefs/0/sectionName", "value": "no"}]
    kube.custom.patch_namespaced_custom_object(
        *KIND,
        kube.namespace,
        "httproutes",
        "web",
        elsewhere,
        _content_type="application/json-patch+json",
    )
    settled(kube, "NoMatchingParent", "BackendNotFound")
    assert status_of(url) == 404


def status_of(url: str, path: str = "/") -> int:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.request("GET", path)
    with connection.getresponse() as answer:
        status = answer.status
    connection.close()
    return status


def test_without_weight_or_pods_there_is_no_answer(kube: Kube) -> None:
    url = slots(kube)
    weigh(kube, 0, 0)
    assert status_of(url) == 500
    weigh(kube, 0, 1)
    kube.apps.patch_namespaced_deployment("web-green", kube.namespace, {"spec": {"replicas": 0}})
    kube.wait_pods("app=web-green", 0)
    assert status_of(url) == 503


def test_a_patch_of_an_earlier_revision_is_a_conflict(kube: Kube) -> None:
    slots(kube)
    before = read(kube)["metadata"]["resourceVersion"]
    weigh(kube, 90, 10)
    patch = [{"op": "replace", "path": "/metadata/resourceVersion", "value": before}]
    with pytest.raises(ApiException) as caught:
        kube.custom.patch_namespaced_custom_object(
            *KIND,
            kube.namespace,
            "httproutes",
            "web",
            patch,
            _content_type="application/json-patch+json",
        )
    assert caught.value.status == 409
