"""How a cluster is signed in to, and what is made of its refusals and silences."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from azure.core.credentials import AccessToken

from local.cluster.client import apply
from local.tls import Authority
from rotation.clouds import PUBLIC
from rotation.config import Cluster
from rotation.edges.cluster import services
from rotation.model.errors import Denied, EdgeError, Invalid, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import (
    DeploymentTarget,
    SecretKeyTarget,
    ServiceTarget,
)
from rotation.model.world import (
    Route,
)
from rotation.secrecy import Secret
from tests.contract.clusters import (
    KUBECONFIG,
    SLOT,
    Edge,
    RealPlace,
    admin,
    api,
    asked,
    cluster,
    component,
    edge_of,
    kubeconfig,
    ready,
    real,
    service,
    space,
)
from tests.contract.conftest import (
    Tokens,
    at_once,
    revoked_once,
)
from tests.local.azure.support import READER, Admin

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.process import Component

__all__ = ["admin", "api", "cluster", "component", "kubeconfig", "real", "space"]


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
