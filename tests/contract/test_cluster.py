"""`rotation.cluster` against a Kubernetes API: the local one, or CONTRACT_KUBECONFIG's.

With that variable, CONTRACT_NAMESPACE names a namespace to work in, and CONTRACT_IMAGE an image
whose server answers on port 8080 to / and /healthz (default: a small public one).
"""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from local.cluster.client import apply, connect
from local.process import Component, wait_until
from local.tls import Authority
from rotation import cluster as edge
from rotation.cluster import VERSION, Kubernetes
from rotation.config import Cluster
from rotation.edges import AKS_SCOPE
from rotation.errors import Conflict, Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model import Deployment, Service
from rotation.secrecy import Secret, new_password
from tests.contract.conftest import Tokens, faults, needs_the_stand_in
from tests.local.azure.support import ADMIN, READER, Admin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KUBECONFIG = os.environ.get("CONTRACT_KUBECONFIG")
IMAGE = os.environ.get("CONTRACT_IMAGE", "registry.k8s.io/e2e-test-images/agnhost:2.53")
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


@pytest.fixture
def space(api: Any, name: str) -> Iterator[str]:
    """A namespace. Of a cluster that is not ours, what the test made in it is taken away."""
    if not KUBECONFIG:
        apply(api, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])
        yield name
        return
    space = os.environ["CONTRACT_NAMESPACE"]
    yield space
    for path in (f"/api/v1/namespaces/{space}", f"/apis/apps/v1/namespaces/{space}"):
        kinds = ("services", "secrets") if path.startswith("/api/") else ("deployments",)
        for kind in kinds:
            parts = api.param_serialize(
                "DELETE", f"{path}/{kind}/{name}", auth_settings=["BearerToken"]
            )
            status = api.call_api(*parts).response.status
            assert status in {200, 202, 404}, f"{kind}/{name} is left in {space}: HTTP {status}"


@pytest.fixture
def cluster(kubeconfig: Path) -> Kubernetes:
    return Kubernetes("contract", Cluster(kubeconfig=str(kubeconfig)), new_password)


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


@pytest.fixture
def up(api: Any, space: str, name: str, cluster: Kubernetes) -> Iterator[str]:
    """A Deployment with two ready pods and its Service, both of the test's name."""
    apply(api, [deployment(name, 2), service(name)], namespace=space)
    cluster.watch_deployment(space, name, ready, 60)
    yield name
    cluster.scale(space, name, 0)


@pytest.fixture
def down(api: Any, space: str, name: str) -> str:
    """The same at zero replicas: what a standby slot looks like."""
    apply(api, [deployment(name, 0), service(name)], namespace=space)
    return name


def ready(found: Deployment) -> bool:
    return found.observed and found.ready == found.updated == found.total == found.replicas


def test_what_is_not_there(cluster: Kubernetes, space: str) -> None:
    assert cluster.service(space, "nothing", SLOT) is None
    assert cluster.deployment(space, "nothing") is None
    assert cluster.service("no-such-namespace", "nothing", SLOT) is None


def test_a_service_shows_its_slot_and_its_first_port(
    cluster: Kubernetes, api: Any, space: str, name: str
) -> None:
    apply(api, [service(name)], namespace=space)
    assert cluster.service(space, name, SLOT) == Service(space, name, "blue", "http")
    assert cluster.service(space, name, "another") == Service(space, name, None, "http")


def test_a_service_without_a_slot(cluster: Kubernetes, api: Any, space: str, name: str) -> None:
    apply(api, [service(name, None)], namespace=space)
    found = cluster.service(space, name, SLOT)
    assert found is not None
    assert found.slot is None


def test_a_deployment_shows_its_rollout(cluster: Kubernetes, space: str, up: str) -> None:
    assert cluster.deployment(space, up) == Deployment(
        namespace=space,
        name=up,
        replicas=2,
        ready=2,
        updated=2,
        total=2,
        observed=True,
        images={"web": IMAGE},
        version=None,
    )


def test_pods_are_those_of_the_deployment(cluster: Kubernetes, space: str, up: str) -> None:
    found = cluster.pods(space, up)
    assert len(found) == 2
    assert all(pod.startswith(f"{up}-") for pod in found)


def test_pods_of_what_is_not_there(cluster: Kubernetes, space: str) -> None:
    with pytest.raises(Missing, match=f"could not read Deployment {space}/nothing: HTTP 404"):
        cluster.pods(space, "nothing")


def test_select_swaps_the_slot_and_nothing_else(
    cluster: Kubernetes, api: Any, space: str, name: str
) -> None:
    apply(api, [service(name, "blue", tier="web")], namespace=space)
    cluster.select(space, name, SLOT, "blue", "green")
    assert cluster.service(space, name, SLOT) == Service(space, name, "green", "http")
    assert cluster.service(space, name, "app") == Service(space, name, name, "http")
    assert cluster.service(space, name, "tier") == Service(space, name, "web", "http")


def test_select_may_be_repeated(cluster: Kubernetes, api: Any, space: str, name: str) -> None:
    apply(api, [service(name)], namespace=space)
    cluster.select(space, name, SLOT, "blue", "green")
    cluster.select(space, name, SLOT, "blue", "green")


@pytest.mark.parametrize("slot", ["red", None])
def test_select_is_a_compare_and_swap(
    cluster: Kubernetes, api: Any, space: str, name: str, slot: str | None
) -> None:
    apply(api, [service(name, slot)], namespace=space)
    with pytest.raises(Conflict, match=f"selects {slot}, not blue; somebody else changed it"):
        cluster.select(space, name, SLOT, "blue", "green")
    found = cluster.service(space, name, SLOT)
    assert found is not None
    assert found.slot == slot


def test_select_refuses_a_service_that_was_changed_there_and_back(
    cluster: Kubernetes, api: Any, space: str, name: str
) -> None:
    apply(api, [service(name)], namespace=space)
    seen = cluster.service(space, name, SLOT)
    assert seen is not None
    cluster.select(space, name, SLOT, "blue", "green", revision=seen.revision)
    cluster.select(space, name, SLOT, "green", "blue")
    with pytest.raises(Unavailable, match="was changed meanwhile"):
        cluster.select(space, name, SLOT, "blue", "green", revision=seen.revision)
    cluster.select(space, name, SLOT, "green", "blue", revision=seen.revision)
    assert cluster.service(space, name, SLOT) == seen


def test_a_seal_undoes_what_was_prepared_before_it_and_is_harmless_when_repeated(
    cluster: Kubernetes, api: Any, space: str, name: str
) -> None:
    apply(api, [service(name)], namespace=space)
    seen = cluster.service(space, name, SLOT)
    assert seen is not None
    cluster.seal(space, name, "orders-db-1")
    with pytest.raises(Unavailable, match="was changed meanwhile"):
        cluster.select(space, name, SLOT, "blue", "green", revision=seen.revision)
    sealed = cluster.service(space, name, SLOT)
    assert sealed is not None
    cluster.seal(space, name, "orders-db-1")
    cluster.select(space, name, SLOT, "blue", "green", revision=sealed.revision)
    with pytest.raises(Missing):
        cluster.seal(space, "nothing", "orders-db-1")


def test_select_of_what_is_not_there(cluster: Kubernetes, space: str) -> None:
    with pytest.raises(Missing):
        cluster.select(space, "nothing", SLOT, "blue", "green")


def test_put_secret_replaces_one_key(cluster: Kubernetes, api: Any, space: str, name: str) -> None:
    keep = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
    apply(api, [{**keep, "stringData": {"other": "kept", "password": "former"}}], namespace=space)
    value = new_password()
    for _ in range(2):
        cluster.put_secret(space, name, "password", value, "v7")
    found = stored(api, f"/api/v1/namespaces/{space}/secrets/{name}")
    decoded = {key: base64.b64decode(text).decode() for key, text in found["data"].items()}
    assert decoded == {"other": "kept", "password": value.reveal()}
    assert found["metadata"]["annotations"][VERSION] == "v7"


def stored(api: Any, path: str) -> dict[str, Any]:
    method, url, headers, *_ = api.param_serialize("GET", path, auth_settings=["BearerToken"])
    answer = api.call_api(method, url, headers).response
    return dict(json.loads(answer.read()))


def test_put_secret_needs_the_secret(cluster: Kubernetes, space: str) -> None:
    """The right to create one cannot be limited to a name."""
    with pytest.raises(Missing) as caught:
        cluster.put_secret(space, "nothing", "password", Secret("hunter2"), "v7")
    assert "hunter2" not in str(caught.value)
    assert base64.b64encode(b"hunter2").decode() not in str(caught.value)


def test_put_secret_under_a_key_that_is_none(
    cluster: Kubernetes, api: Any, space: str, name: str
) -> None:
    apply(
        api,
        [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}],
        namespace=space,
    )
    with pytest.raises(Invalid, match="HTTP 422 Invalid data") as caught:
        cluster.put_secret(space, name, "not a key", Secret("hunter2"), "v7")
    assert base64.b64encode(b"hunter2").decode() not in str(caught.value)


def test_start_brings_up_what_it_is_told(cluster: Kubernetes, space: str, down: str) -> None:
    for _ in range(2):
        cluster.start(space, down, replicas=1, images={"web": IMAGE}, version="v7")
    found = cluster.watch_deployment(space, down, ready, 60)
    assert (found.replicas, found.ready, found.version) == (1, 1, "v7")
    assert found.images == {"web": IMAGE}


def test_start_with_another_version_replaces_the_pods(
    cluster: Kubernetes, space: str, up: str
) -> None:
    before = set(cluster.pods(space, up))
    cluster.start(space, up, replicas=2, images={"web": IMAGE}, version="v8")
    found = cluster.watch_deployment(space, up, lambda d: ready(d) and d.version == "v8", 60)
    assert ready(found)
    wait_until(lambda: len(cluster.pods(space, up)) == 2, 30, "the end of the former pods")
    assert not before & set(cluster.pods(space, up))


def test_start_sets_init_containers_too(
    cluster: Kubernetes, api: Any, space: str, name: str
) -> None:
    manifest = deployment(name, 0)
    pod = manifest["spec"]["template"]["spec"]
    pod["initContainers"] = [{"name": "migrate", "image": "echo:1", "args": ["keep"]}]
    apply(api, [manifest], namespace=space)
    images = {"web": "echo:2", "init:migrate": "echo:2"}
    cluster.start(space, name, replicas=0, images=images, version="v7")
    found = cluster.deployment(space, name)
    assert found is not None
    assert found.images == images
    kept = stored(api, f"/apis/apps/v1/namespaces/{space}/deployments/{name}")
    assert kept["spec"]["template"]["spec"]["initContainers"][0]["args"] == ["keep"]
    assert "readinessProbe" in kept["spec"]["template"]["spec"]["containers"][0]


def test_start_of_what_is_not_there(cluster: Kubernetes, space: str) -> None:
    with pytest.raises(Missing):
        cluster.start(space, "nothing", replicas=1, images={}, version="v7")


def test_start_with_what_is_not_valid(cluster: Kubernetes, space: str, down: str) -> None:
    with pytest.raises(Invalid, match=r"HTTP 422 Invalid .*spec\.replicas"):
        cluster.start(space, down, replicas=-1, images={}, version="v7")


def test_an_image_that_is_not_there_never_gets_ready(
    cluster: Kubernetes, space: str, down: str
) -> None:
    cluster.start(space, down, replicas=1, images={"web": "no.such/image:1"}, version="v7")
    begun = time.monotonic()
    found = cluster.watch_deployment(space, down, ready, 2)
    assert 1 <= time.monotonic() - begun < 20
    assert (found.ready, found.replicas) == (0, 1)
    cluster.scale(space, down, 0)


def test_scale(cluster: Kubernetes, space: str, up: str) -> None:
    for _ in range(2):
        cluster.scale(space, up, 0)
    assert cluster.watch_gone(space, up, 30) == []
    assert cluster.pods(space, up) == []


def test_scale_of_what_is_not_there(cluster: Kubernetes, space: str) -> None:
    with pytest.raises(Missing):
        cluster.scale(space, "nothing", 0)


def test_watch_deployment_sees_a_change_at_once(cluster: Kubernetes, space: str, down: str) -> None:
    timer = threading.Timer(0.5, cluster.scale, (space, down, 1))
    timer.start()
    begun = time.monotonic()
    found = cluster.watch_deployment(space, down, lambda d: d.replicas == 1, 60)
    assert found.replicas == 1
    assert time.monotonic() - begun < 30
    timer.join()
    cluster.scale(space, down, 0)


def test_watch_deployment_needs_no_change(cluster: Kubernetes, space: str, down: str) -> None:
    begun = time.monotonic()
    assert cluster.watch_deployment(space, down, ready, 60).replicas == 0
    assert time.monotonic() - begun < 30


def test_watch_deployment_of_what_is_not_there(cluster: Kubernetes, space: str) -> None:
    with pytest.raises(Missing):
        cluster.watch_deployment(space, "nothing", ready, 5)


def test_watch_deployment_of_what_is_deleted(
    cluster: Kubernetes, kubeconfig: Path, space: str, down: str
) -> None:
    def delete() -> None:
        client: Any = connect(kubeconfig)
        path = f"/apis/apps/v1/namespaces/{space}/deployments/{down}"
        method, url, headers, *_ = client.param_serialize(
            "DELETE", path, auth_settings=["BearerToken"]
        )
        client.call_api(method, url, headers).response.read()
        client.close()

    timer = threading.Timer(0.5, delete)
    timer.start()
    with pytest.raises(Missing, match="was deleted"):
        cluster.watch_deployment(space, down, lambda _: False, 60)
    timer.join()


def test_watch_gone_tells_who_is_left(cluster: Kubernetes, space: str, up: str) -> None:
    assert cluster.watch_gone(space, up, 1) == cluster.pods(space, up)


def test_fetch_goes_through_the_service(cluster: Kubernetes, space: str, up: str) -> None:
    found = cluster.service(space, up, SLOT)
    assert found is not None
    assert cluster.fetch(found, "/healthz", 10).status == 200
    assert cluster.fetch(replace(found, port="80"), "/healthz", 10).status == 200


def test_fetch_keeps_path_and_query(
    cluster: Kubernetes, space: str, up: str, component: Component
) -> None:
    """The echo server tells what it was asked."""
    found = cluster.service(space, up, SLOT)
    assert found is not None
    asked = json.loads(cluster.fetch(found, "/a%20b/ü?x=1&y=%20", 10).body)
    assert (asked["path"], asked["query"]) == ("/a%20b/%C3%BC", "x=1&y= ")
    assert "Authorization" not in asked["headers"]


def test_fetch_without_pods(cluster: Kubernetes, space: str, down: str) -> None:
    found = cluster.service(space, down, SLOT)
    assert found is not None
    with pytest.raises(Unavailable, match="HTTP 503 ServiceUnavailable"):
        cluster.fetch(found, "/", 10)


def test_fetch_of_a_service_that_is_not_there(cluster: Kubernetes, space: str) -> None:
    with pytest.raises((Missing, Unavailable)):
        cluster.fetch(Service(space, "nothing", None, "http"), "/", 10)


def test_fetch_does_not_wait_longer_than_told(
    cluster: Kubernetes, space: str, up: str, component: Component
) -> None:
    found = cluster.service(space, up, SLOT)
    assert found is not None
    with pytest.raises(Unavailable):
        cluster.fetch(found, "/slow?seconds=20", 0.5)


VERBS: dict[str, Callable[[Kubernetes, str, str], object]] = {
    "service": lambda cluster, space, name: cluster.service(space, name, SLOT),
    "deployment": lambda cluster, space, name: cluster.deployment(space, name),
    "pods": lambda cluster, space, name: cluster.pods(space, name),
    "put_secret": lambda cluster, space, name: cluster.put_secret(
        space, name, "password", Secret("hunter2"), "v7"
    ),
    "start": lambda cluster, space, name: cluster.start(
        space, name, replicas=0, images={}, version="v7"
    ),
    "scale": lambda cluster, space, name: cluster.scale(space, name, 0),
    "watch_deployment": lambda cluster, space, name: cluster.watch_deployment(
        space, name, ready, 1
    ),
    "watch_gone": lambda cluster, space, name: cluster.watch_gone(space, name, 1),
    "select": lambda cluster, space, name: cluster.select(space, name, SLOT, "blue", "green"),
}
STATUSES: list[tuple[int, type[EdgeError]]] = [
    (400, Invalid),
    (401, Denied),
    (403, Denied),
    (429, Unavailable),
    (500, Unavailable),
    (503, Unavailable),
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("status", "error"), STATUSES)
def test_a_refusal_says_what_it_is(
    cluster: Kubernetes, admin: Admin, verb: str, status: int, error: type[EdgeError]
) -> None:
    paths = {"path_prefix": "/api"}
    admin.fault(match=paths, status=status, times=50, retry_after=7)
    with pytest.raises(error, match=f"^cluster contract could not .* HTTP {status}") as caught:
        VERBS[verb](cluster, "orders", "api")
    # Nothing is repeated here: the orchestrator does, and its waits survive a restart.
    assert sum(fault["hits"] for fault in admin.faults()) <= 2
    assert type(caught.value) is error
    assert caught.value.retry_after == (7 if error is Unavailable else None)
    assert caught.value.__cause__ is None
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("verb", VERBS)
def test_a_lost_connection_is_worth_a_retry(cluster: Kubernetes, admin: Admin, verb: str) -> None:
    admin.fault(match={"path_prefix": "/api"}, drop="before", times=50)
    with pytest.raises(Unavailable, match="is its API reachable"):
        VERBS[verb](cluster, "orders", "api")


def test_a_swap_whose_answer_is_lost_was_made(
    cluster: Kubernetes, api: Any, space: str, name: str, admin: Admin
) -> None:
    apply(api, [service(name)], namespace=space)
    admin.fault(match={"method": "PATCH"}, drop="after")
    with pytest.raises(Unavailable):
        cluster.select(space, name, SLOT, "blue", "green")
    cluster.select(space, name, SLOT, "blue", "green")
    found = cluster.service(space, name, SLOT)
    assert found is not None
    assert found.slot == "green"


def test_an_api_that_is_slow(
    cluster: Kubernetes, admin: Admin, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "TIMEOUT", (1.0, 0.5))
    admin.fault(match={"path_prefix": "/api"}, delay=3, times=9)
    with pytest.raises(Unavailable):
        cluster.service(space, "api", SLOT)


def signed_in(component: Component, authenticate: Callable[[], Secret], **more: Any) -> Kubernetes:
    authority = str(component.facts["ca"])
    settings = Cluster(**{"server": component.url, "certificate_authority": authority, **more})
    return Kubernetes("contract", settings, authenticate)


def token(state: Path) -> Callable[[], Secret]:
    return lambda: Secret(Tokens(state, READER).get_token(AKS_SCOPE).token)


RIGHTS = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [services], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %s}]
"""


def test_entra_tokens_open_what_their_owner_was_granted(
    component: Component, api: Any, state: Path, space: str, name: str
) -> None:
    needs_the_stand_in("CONTRACT_KUBECONFIG", "grants rights to a local identity")
    apply(api, [service(name)], namespace=space)
    apply(api, RIGHTS % READER.principal_id, namespace=space)
    reader = signed_in(component, token(state))
    assert reader.service(space, name, SLOT) is not None
    with pytest.raises(Denied, match=r"HTTP 403 .*; apply infra/kubernetes/rbac\.yaml"):
        reader.select(space, name, SLOT, "blue", "green")


def test_a_token_is_asked_for_with_each_request(
    component: Component, state: Path, space: str
) -> None:
    asked = []

    def authenticate() -> Secret:
        asked.append(1)
        return token(state)()

    reader = signed_in(component, authenticate)
    for _ in range(2):
        with pytest.raises(Denied):
            reader.deployment(space, "x")
    assert len(asked) >= 2


def test_a_token_that_is_not_accepted(component: Component, space: str) -> None:
    with pytest.raises(Denied, match=r"HTTP 401 .*the API server does not accept") as caught:
        signed_in(component, lambda: Secret("hunter2")).service(space, "x", SLOT)
    assert "hunter2" not in str(caught.value)


def test_a_sign_in_that_fails_is_passed_on(component: Component, space: str) -> None:
    def fails() -> Secret:
        raise Unavailable("no identity")

    with pytest.raises(Unavailable, match="no identity"):
        signed_in(component, fails).service(space, "x", SLOT)


def test_an_authority_may_be_given_as_text(component: Component, state: Path, space: str) -> None:
    pem = Path(str(component.facts["ca"])).read_text(encoding="utf-8")
    with pytest.raises(Denied):
        signed_in(component, token(state), certificate_authority=pem).service(space, "x", SLOT)


def test_an_unknown_authority_is_refused(
    component: Component, state: Path, space: str, tmp_path: Path
) -> None:
    asked = []

    def authenticate() -> Secret:
        asked.append(1)
        return token(state)()

    stranger = str(Authority(tmp_path / "tls").bundle)
    refused = signed_in(component, authenticate, certificate_authority=stranger)
    with pytest.raises(Unavailable, match="is its API reachable"):
        refused.service(space, "x", SLOT)


@pytest.mark.parametrize("authority", ["nothing.pem", "x" * 300])
def test_an_authority_that_is_not_there(component: Component, authority: str) -> None:
    with pytest.raises(Invalid, match="is neither PEM text nor a file"):
        signed_in(component, new_password, certificate_authority=authority)


def test_an_api_that_is_down(space: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = f"https://127.0.0.1:{taken.getsockname()[1]}"
        cluster = Kubernetes("contract", Cluster(server=server), new_password)
        with pytest.raises(Unavailable, match="is its API reachable"):
            cluster.service(space, "x", SLOT)


KUBECONFIGS: list[str | None] = [None, "", "{", "[]", "a: 1", "current-context: x\ncontexts: []"]


@pytest.mark.parametrize("content", KUBECONFIGS)
def test_a_kubeconfig_that_cannot_be_used(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "kubeconfig"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(Invalid, match=r"cannot be used: .*; check the path and the context"):
        Kubernetes("contract", Cluster(kubeconfig=str(file)), new_password)


def test_a_context_that_is_not_there(kubeconfig: Path) -> None:
    settings = Cluster(kubeconfig=str(kubeconfig), context="nowhere")
    with pytest.raises(Invalid, match="check the path and the context"):
        Kubernetes("contract", settings, new_password)


def test_the_first_context_is_not_the_only_one(
    kubeconfig: Path, tmp_path: Path, space: str
) -> None:
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    known = config["contexts"][0]
    config["contexts"] = [{"name": "broken", "context": {"cluster": "x", "user": "y"}}, known]
    config["current-context"] = "broken"
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    cluster = Kubernetes(
        "contract", Cluster(kubeconfig=str(file), context=known["name"]), new_password
    )
    assert cluster.service(space, "nothing", SLOT) is None


def test_two_clusters_share_nothing(component: Component, state: Path, space: str) -> None:
    """The SDK keeps a global configuration, which none of them may use."""
    one = signed_in(component, token(state))
    signed_in(component, lambda: Secret("hunter2"))
    with pytest.raises(Denied, match="HTTP 403"):
        one.deployment(space, "x")
