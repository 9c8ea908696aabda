"""Services: which pod a connection reaches, and what becomes of it."""

from __future__ import annotations

import http.client
import socket
import threading
import urllib.error
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from kubernetes.client import ApiException

from local.cluster.ports import PORT_ANNOTATION
from local.process import wait_until
from tests.local.cluster.support import deployment, get, service

if TYPE_CHECKING:
    from tests.local.cluster.support import Kube


def slots(kube: Kube, replicas: int = 1) -> str:
    """Two Deployments, blue and green, and a Service that points at blue; its URL."""
    for slot in ("blue", "green"):
        manifest = deployment(f"web-{slot}", replicas, labels={"slot": slot, "web": "yes"})
        kube.apply(manifest)
    kube.apply(service("web", {"web": "yes", "slot": "blue"}))
    for slot in ("blue", "green"):
        kube.wait_ready(f"web-{slot}", replicas)
    return kube.service_url("web")


def swap(kube: Kube, slot: str) -> None:
    operation = {"op": "replace", "path": "/spec/selector/slot", "value": slot}
    kube.core.patch_namespaced_service("web", kube.namespace, [operation])


def keep_alive(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)


def ask(connection: http.client.HTTPConnection) -> str:
    connection.request("GET", "/")
    response = connection.getresponse()
    body = response.read()
    assert response.status == 200
    return body.decode()


def test_a_swap_moves_new_connections_at_once_and_leaves_old_ones(kube: Kube) -> None:
    url = slots(kube)
    old = keep_alive(url)
    assert "web-blue" in ask(old)
    swap(kube, "green")
    assert "web-green" in get(url)["pod"]
    assert "web-blue" in ask(old)
    old.close()


def test_new_connections_take_turns(kube: Kube) -> None:
    url = slots(kube, replicas=2)
    assert len({get(url)["pod"] for _ in range(4)}) == 2


def test_a_terminating_pod_gets_no_new_connections_while_old_ones_live_on(kube: Kube) -> None:
    manifest = deployment("web", 1, env=[{"name": "LAME_DUCK", "value": "2"}])
    kube.apply(manifest, service("web", {"app": "web"}))
    kube.wait_ready("web", 1)
    url = kube.service_url("web")
    (pod,) = kube.pods("app=web")
    old = keep_alive(url)
    assert pod.metadata.name in ask(old)
    kube.core.delete_namespaced_pod(pod.metadata.name, kube.namespace)
    # At once: the pod that replaces it cannot be ready yet.
    assert is_reset(url)
    assert pod.metadata.name in ask(old)
    old.close()
    kube.wait_ready("web", 1)
    assert get(url)["pod"] != pod.metadata.name


def test_without_a_ready_pod_connections_are_reset(kube: Kube) -> None:
    kube.apply(service("web", {"app": "absent"}))
    wait_until(lambda: is_reset(kube.service_url("web")), 5, "a reset")


def is_reset(url: str) -> bool:
    with pytest.raises((ConnectionError, urllib.error.URLError)) as caught:
        get(url)
    return "reset" in str(caught.value)


def test_half_closed_connections_and_large_bodies_pass(kube: Kube) -> None:
    url = slots(kube)
    address = urlsplit(url)
    body = b"x" * 900_000
    with socket.create_connection((str(address.hostname), int(address.port or 0)), 10) as client:
        lines = ["POST / HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", "Connection: close"]
        head = "\r\n".join([*lines, "", ""])
        sender = threading.Thread(target=lambda: send(client, head.encode() + body))
        sender.start()
        received = b"".join(iter(lambda: client.recv(65536), b""))
        sender.join()
    assert received.startswith(b"HTTP/1.1 200")
    assert len(received) > len(body)


def send(client: socket.socket, data: bytes) -> None:
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)


def test_a_services_port_stays_when_its_manifest_is_replaced(kube: Kube) -> None:
    kube.apply(service("web", {"app": "web"}))
    before = kube.core.read_namespaced_service("web", kube.namespace)
    replaced = service("web", {"app": "other"})
    kube.core.replace_namespaced_service("web", kube.namespace, replaced)
    after = kube.core.read_namespaced_service("web", kube.namespace)
    key = "local/port.http"
    assert after.metadata.annotations[key] == before.metadata.annotations[key]
    assert after.spec.cluster_ip == before.spec.cluster_ip
    assert after.spec.selector == {"app": "other"}


def test_endpoints_and_slices_follow_the_pods(kube: Kube) -> None:
    slots(kube)

    def ready() -> list[str]:
        found = kube.core.read_namespaced_endpoints("web", kube.namespace).subsets or []
        return [a.target_ref.name for subset in found for a in subset.addresses or []]

    wait_until(lambda: [name[:8] for name in ready()] == ["web-blue"], 5, "endpoints")
    swap(kube, "green")
    wait_until(lambda: [name[:8] for name in ready()] == ["web-gree"], 5, "new endpoints")
    path = kube.path("endpointslices?labelSelector=kubernetes.io/service-name%3Dweb",
                     "discovery.k8s.io")  # fmt: skip
    (found,) = kube.raw("GET", path)[1]["items"]
    assert found["endpoints"][0]["conditions"]["ready"] is True


def test_the_service_proxy_forwards_methods_headers_query_and_body(kube: Kube) -> None:
    slots(kube)
    path = kube.path("services/http:web:http/proxy/a/b%20c?q=1&q=2")
    status, answer = kube.raw("POST", path, {"k": "v"}, X_Asked="yes")
    assert status == 200
    assert (answer["method"], answer["path"], answer["query"]) == ("POST", "/a/b%20c", "q=1&q=2")
    assert answer["headers"]["X-Asked"] == "yes"
    assert answer["body"] == '{"k": "v"}'
    assert "Authorization" not in answer["headers"]
    through_client = kube.core.connect_get_namespaced_service_proxy_with_path(
        "web:80", kube.namespace, "deep/path"
    )
    assert "'/deep/path'" in str(through_client) or '"/deep/path"' in str(through_client)


def test_the_service_proxy_keeps_no_connection(kube: Kube) -> None:
    """A pod that ends waits for the connections that it still has."""
    slots(kube)
    (pod,) = kube.pods("slot=blue")
    port = int(pod.metadata.annotations[f"{PORT_ANNOTATION}8080"])
    for _ in range(3):
        assert kube.raw("GET", kube.path("services/web/proxy/"))[0] == 200
    wait_until(lambda: not established(port), 10, "the end of the proxy's connections")


def established(port: int) -> list[str]:
    """The connections of this machine to the port, of a server on 127.0.0.1."""
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    fields = [line.split() for line in lines]
    return [remote for _, local, remote, state, *_ in fields if (local, state) == (_at(port), "01")]


def _at(port: int) -> str:
    return f"0100007F:{port:04X}"


def test_the_service_proxy_passes_on_failures_and_redirects(kube: Kube) -> None:
    slots(kube)
    status, _ = kube.raw("GET", kube.path("services/web/proxy/file?path=/absent"))
    assert status == 500
    connection_path = kube.path("services/web/proxy/redirect")
    assert kube.raw("GET", connection_path)[0] == 302
    assert kube.raw("GET", kube.path("services/web/proxy"))[0] == 301


def test_the_service_proxy_says_that_there_are_no_endpoints(kube: Kube) -> None:
    kube.apply(service("web", {"app": "absent"}))
    with pytest.raises(ApiException) as caught:
        kube.core.connect_get_namespaced_service_proxy("web", kube.namespace)
    assert caught.value.status == 503
    assert 'no endpoints available for service \\"web\\"' in str(caught.value.body)


def test_a_pod_is_reached_through_its_own_proxy(kube: Kube) -> None:
    slots(kube)
    (pod,) = kube.pods("slot=green")
    status, answer = kube.raw("GET", kube.path(f"pods/{pod.metadata.name}:8080/proxy/"))
    assert (status, answer["pod"]) == (200, pod.metadata.name)


def test_containers_are_told_where_the_services_are_that_were_there_first(kube: Kube) -> None:
    named = ["EARLY_BIRD_SERVICE_HOST", "EARLY_BIRD_SERVICE_PORT", "LATE_SERVICE_HOST"]
    env = [{"name": "ECHO", "value": ",".join(named)}]
    kube.apply(service("early-bird", {"app": "web"}), deployment("web", env=env))
    kube.wait_ready("web", 1)
    kube.apply(service("late", {"app": "web"}))
    url = kube.service_url("early-bird")
    assert get(url)["env"] == {
        named[0]: "127.0.0.1", named[1]: str(urlsplit(url).port), named[2]: None,
    }  # fmt: skip
    quiet = deployment("quiet", env=env, pod={"enableServiceLinks": False})
    kube.apply(quiet, service("quiet", {"app": "quiet"}))
    kube.wait_ready("quiet", 1)
    assert get(kube.service_url("quiet"))["env"] == dict.fromkeys(named)
