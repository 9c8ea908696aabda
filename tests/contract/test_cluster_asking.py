"""What workloads are asked through the API server's proxy, on a Kubernetes API."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from local.cluster.client import apply
from local.process import wait_until
from local.tls import Authority
from rotation.edges.threads import side_by_side
from rotation.model.errors import Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import (
    DeploymentTarget,
    ServiceTarget,
)
from rotation.model.world import (
    Manner,
    Route,
)
from tests.contract.clusters import (
    ECHO_IMAGE,
    IMAGE,
    KUBECONFIG,
    Edge,
    RealPlace,
    api,
    cluster,
    component,
    deployment,
    kubeconfig,
    ready,
    real,
    service,
    space,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["api", "cluster", "component", "kubeconfig", "real", "space"]


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
