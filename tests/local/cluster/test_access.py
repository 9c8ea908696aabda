"""Who may do what, with Roles enforced and tokens of the identity endpoint."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import ApiException

from local.cluster.auth import AKS_AUDIENCE
from local.cluster.client import write_kubeconfig
from local.identity import Identity, issue
from tests.local.cluster.support import Kube, cluster_component, deployment, service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.process import Component

ROTATOR = Identity.named("rotator")
RBAC = "rbac.authorization.k8s.io"
RULES: list[dict[str, Any]] = [
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]},
    {
        "apiGroups": ["apps"],
        "resources": ["deployments/scale"],
        "verbs": ["patch"],
        "resourceNames": ["web"],
    },
    {"apiGroups": [""], "resources": ["services/proxy"], "verbs": ["get"]},
]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("access")


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[Component]:
    tokens = folder / "tokens.json"
    tokens.write_text(json.dumps({"t-viewer": {"user": "viewer", "groups": ["viewers"]}}))
    issue_token(folder)  # makes the signing key that the cluster verifies with
    arguments = ("--rbac", "on", "--tokens", str(tokens), "--identity-state", str(folder / "id"))
    with cluster_component(folder, *arguments) as component:
        yield component


@pytest.fixture
def owner(guarded: Component) -> Iterator[Kube]:
    kube = Kube(guarded, f"orders-{next(_numbers)}")
    kube.core.create_namespace({"metadata": {"name": kube.namespace}})
    yield kube
    kube.core.delete_namespace(kube.namespace)
    kube.client.close()


def issue_token(folder: Path, audience: str = AKS_AUDIENCE) -> str:
    (folder / "id").mkdir(exist_ok=True)
    token, _ = issue(ROTATOR, audience, folder / "id", now=time.time(), lifetime=600)
    return token


def as_user(owner: Kube, folder: Path, token: str) -> Kube:
    path = write_kubeconfig(
        folder / "kubeconfig",
        server=owner.component.url,
        authority=Path(str(owner.component.facts["ca"])),
        token=token,
        name="other",
    )
    return Kube(owner.component, owner.namespace, path)


def grant(owner: Kube, subject: dict[str, str], *rules: dict[str, Any]) -> None:
    owner.apply(
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "Role",
            "metadata": {"name": "rotator"},
            "rules": list(rules),
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "rotator"},
            "subjects": [subject],
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "rotator"},
        },
    )


def test_an_identity_may_do_what_its_role_says_and_nothing_else(owner: Kube, folder: Path) -> None:
    owner.apply(deployment("web", 0), deployment("other", 0), service("web", {"app": "web"}))
    grant(owner, {"kind": "User", "name": ROTATOR.principal_id}, *RULES)
    rotator = as_user(owner, folder, issue_token(folder))
    assert len(rotator.apps.list_namespaced_deployment(rotator.namespace).items) == 2
    scale = rotator.apps.patch_namespaced_deployment_scale
    assert scale("web", rotator.namespace, {"spec": {"replicas": 0}}).spec.replicas == 0
    with pytest.raises(ApiException) as caught:
        scale("other", rotator.namespace, {"spec": {"replicas": 0}})
    body = json.loads(str(caught.value.body))
    assert (body["code"], body["reason"]) == (403, "Forbidden")
    assert body["message"] == (
        f'deployments.apps "other" is forbidden: User "{ROTATOR.principal_id}" cannot patch'
        f' resource "deployments/scale" in API group "apps" in the namespace "{owner.namespace}"'
    )


def test_the_service_proxy_is_a_right_of_its_own(owner: Kube, folder: Path) -> None:
    owner.apply(service("web", {"app": "web"}))
    grant(owner, {"kind": "User", "name": ROTATOR.principal_id}, *RULES)
    rotator = as_user(owner, folder, issue_token(folder))
    with pytest.raises(ApiException) as caught:
        rotator.core.connect_get_namespaced_service_proxy("web", rotator.namespace)
    assert caught.value.status == 503  # allowed, but nothing serves
    with pytest.raises(ApiException) as caught:
        rotator.core.connect_post_namespaced_service_proxy("web", rotator.namespace)
    assert caught.value.status == 403
    with pytest.raises(ApiException, match="cannot get resource"):
        rotator.core.read_namespaced_service("web", rotator.namespace)


def test_a_binding_counts_in_its_namespace_only(owner: Kube, folder: Path) -> None:
    grant(owner, {"kind": "Group", "name": "viewers"}, *RULES)
    viewer = as_user(owner, folder, "t-viewer")
    assert viewer.apps.list_namespaced_deployment(viewer.namespace).items == []
    with pytest.raises(ApiException) as caught:
        viewer.apps.list_namespaced_deployment("default")
    assert caught.value.status == 403
    with pytest.raises(ApiException, match="at the cluster scope"):
        viewer.core.list_namespace()


def test_a_user_can_ask_what_it_may_do(owner: Kube, folder: Path) -> None:
    grant(owner, {"kind": "Group", "name": "viewers"}, *RULES)
    viewer = as_user(owner, folder, "t-viewer")

    def allowed(verb: str, resource: str) -> bool:
        asked = {"verb": verb, "group": "apps", "resource": resource,
                 "namespace": viewer.namespace}  # fmt: skip
        body = {"spec": {"resourceAttributes": asked}}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(viewer.raw("POST", path, body)[1]["status"]["allowed"])

    assert allowed("list", "deployments")
    assert not allowed("delete", "deployments")


def test_a_token_for_another_service_is_unauthorized(owner: Kube, folder: Path) -> None:
    stranger = as_user(owner, folder, issue_token(folder, "https://vault.azure.net"))
    with pytest.raises(ApiException) as caught:
        stranger.core.list_namespaced_pod(stranger.namespace)
    assert caught.value.status == 401


def test_who_may_impersonate_asks_as_another_and_is_named(owner: Kube, folder: Path) -> None:
    """What `kubectl --as NAME --as-group GROUP` sends, and what the audit log says of it."""
    grant(owner, {"kind": "Group", "name": "viewers"}, *RULES)
    path = owner.path("deployments", "apps")
    as_viewer = {"Impersonate_User": "ada", "Impersonate_Group": "viewers"}
    status, _ = owner.raw("GET", path, **as_viewer)
    assert status == 200
    status, answer = owner.raw("GET", owner.path("services"), **as_viewer)
    assert (status, 'User "ada" cannot list' in answer["message"]) == (403, True)
    log = Path(str(owner.component.facts["kubeconfig"])).with_name("audit.log")
    event = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    assert "system:masters" in event["user"]["groups"]
    assert event["impersonatedUser"]["username"] == "ada"
    viewer = as_user(owner, folder, "t-viewer")
    status, answer = viewer.raw("GET", path, Impersonate_User="ada")
    assert (status, 'cannot impersonate resource "users"' in answer["message"]) == (403, True)
    status, answer = owner.raw("GET", path, Impersonate_Group="viewers")
    assert (status, answer["reason"]) == (400, "BadRequest")
