"""The cluster killed and started again, and its API away or failing for a while."""

from __future__ import annotations

import json
import urllib.error
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from kubernetes.client import ApiException

from local.process import wait_until
from tests.local.cluster.support import (
    ADMIN_KEY,
    Kube,
    cluster_component,
    deployment,
    get,
    secret,
    service,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = {"X_Local_Admin_Key": ADMIN_KEY}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Kube]:
    """A cluster of the test's own."""
    with cluster_component(tmp_path) as component:
        kube = Kube(component, "default")
        yield kube
        kube.client.close()


def alive(pid: int) -> bool:
    """False for one that has ended but that nobody has waited for, too."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.long
def test_after_a_kill_objects_are_there_and_pods_start_anew(tmp_path: Path) -> None:
    component = cluster_component(tmp_path).start()
    kube = Kube(component, "default")
    kube.apply(deployment("web", 1), service("web", {"app": "web"}), secret("s", k="v"))
    kube.wait_ready("web", 1)
    url = kube.service_url("web")
    pid = get(url)["pid"]
    before = kube.deployment("web").metadata
    component.kill()
    wait_until(lambda: not alive(pid), 5, "the end of the pod's process")
    with cluster_component(tmp_path) as again:
        kube = Kube(again, "default")
        assert kube.core.read_namespaced_secret("s", "default").data == {"k": "dg=="}
        assert kube.deployment("web").metadata.uid == before.uid
        kube.wait_ready("web", 1)
        assert kube.service_url("web") == url
        wait_until(lambda: answers(url), 10, "the Service's answer")
        assert get(url)["pid"] != pid
        check_forgotten(kube, "1")


def answers(url: str) -> bool:
    try:
        get(url)
    except (ConnectionError, urllib.error.URLError):
        return False
    return True


def check_forgotten(kube: Kube, revision: str) -> None:
    """A watch cannot go on from before the restart: it is told so, to list again."""
    query = f"watch=1&timeoutSeconds=1&resourceVersion={revision}"
    status, text = kube.raw("GET", kube.path(f"secrets?{query}"))
    event = json.loads(text)
    assert (status, event["type"], event["object"]["code"]) == (200, "ERROR", 410)
    assert event["object"]["reason"] == "Expired"


def test_a_stop_ends_the_pods_processes(tmp_path: Path) -> None:
    with cluster_component(tmp_path) as component:
        kube = Kube(component, "default")
        kube.apply(deployment("web", 1), service("web", {"app": "web"}))
        kube.wait_ready("web", 1)
        pid = get(kube.service_url("web"))["pid"]
    assert not alive(pid)


def test_services_go_on_while_the_api_is_away(own: Kube) -> None:
    own.apply(deployment("web", 1), service("web", {"app": "web"}))
    own.wait_ready("web", 1)
    url = own.service_url("web")
    assert own.raw("POST", "/local/outage", {"seconds": 1}, **KEY)[0] == 202

    def reachable() -> bool:
        try:
            own.raw("GET", "/readyz")
        except OSError:
            return False
        return True

    wait_until(lambda: not reachable(), 5, "the outage")
    assert get(url)["pod"]
    wait_until(reachable, 10, "the end of the outage")
    assert own.deployment("web").status.ready_replicas == 1


def test_failures_can_be_ordered(own: Kube) -> None:
    order: dict[str, Any] = {
        "match": {"method": "GET", "path_prefix": "/api/v1/namespaces/default/secrets"},
        "times": 1,
        "status": 503,
    }
    assert own.raw("POST", "/local/faults", order, **KEY)[0] == 201
    with pytest.raises(ApiException) as caught:
        own.core.list_namespaced_secret("default")
    assert caught.value.status == 503
    assert own.core.list_namespaced_secret("default").items == []
    assert own.raw("POST", "/local/outage", {"seconds": 1}, X_Local_Admin_Key="no")[0] == 403


def test_no_password_reaches_the_clusters_log(own: Kube) -> None:
    own.apply(secret("s", password="hidden-value"))
    own.raw("POST", own.path("secrets"), {"stringData": {"password": "hidden-value"}})
    log = own.component.log.read_text(encoding="utf-8")
    assert "hidden-value" not in log
