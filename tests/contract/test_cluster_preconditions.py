"""What an API server says of the app's own rights, of quotas and of admission, on the stand-in and
on CONTRACT_KUBECONFIG's; and what is asked in memory is answered alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from local.cluster.client import apply
from local.process import wait_until
from rotation.model.errors import Denied, Missing
from rotation.model.preconditions import Limit, Right
from tests.contract.clusters import (
    api,
    cluster,
    component,
    delete,
    deployment,
    kubeconfig,
    space,
    stored,
)
from tests.contract.test_cluster_access import door, rights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rotation.contracts.access import AccessReader
    from tests.contract.clusters import Edge
    from tests.contract.test_cluster_access import Door
    from tests.memory import MemoryEdges

__all__ = ["api", "cluster", "component", "door", "kubeconfig", "space"]
POLICY: dict[str, Any] = {"apiVersion": "admissionregistration.k8s.io/v1"}


def right(space: str, verb: str, resource: str = "services", name: str = "api") -> Right:
    return Right(space, "", resource, verb, name)


def test_it_says_what_the_app_may_and_tries_nothing(
    door: Door, api: Any, space: str, name: str
) -> None:
    """Rights are of a verb, a resource, a subresource and a namespace: each of them counts."""
    apply(api, rights(name, door.subject), namespace=space)
    access = door.edge().access
    wait_until(lambda: access.may(right(space, "get")), 10, "the API server's caches of rights")
    assert access.may(Right(space, "", "services", "get"))
    for missing in (
        right(space, "patch"),
        right(space, "get", "services/proxy"),
        right(space, "get", "secrets"),
        right("contract-elsewhere", "get"),
        Right(space, "apps", "services", "get", "api"),
    ):
        assert not access.may(missing), missing
    assert not access.may(right("contract-nowhere", "get"))


def test_whoever_has_no_right_may_ask(door: Door, space: str) -> None:
    assert not door.edge().access.may(right(space, "get"))


def test_the_limits_of_quotas_are_told_with_what_is_used(
    cluster: Edge, api: Any, space: str, name: str
) -> None:
    hard = {"pods": "3", "requests.cpu": "1500m", "limits.memory": "1Gi", "secrets": "9"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}}
    requests = {"requests": {"cpu": "250m"}, "limits": {"memory": "128Mi"}}
    apply(
        api,
        [{**quota, "spec": {"hard": hard}}, deployment(name, 2, resources=requests)],
        namespace=space,
    )
    wanted = {
        Limit(name, "pods", Decimal(3), Decimal(2)),
        Limit(name, "requests.cpu", Decimal("1.5"), Decimal("0.5")),
        Limit(name, "limits.memory", Decimal(1024**3), Decimal(256 * 1024**2)),
    }
    wait_until(
        lambda: {one for one in cluster.access.limits(space) if one.quota == name} == wanted,
        30,
        "the quota's counts",
    )


def test_a_quota_for_some_pods_only_says_nothing_of_others(
    cluster: Edge, api: Any, space: str, name: str
) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}}
    spec = {"hard": {"pods": "0"}, "scopes": ["BestEffort"]}
    apply(api, [{**quota, "spec": spec}], namespace=space)
    assert [one for one in cluster.access.limits(space) if one.quota == name] == []


def test_the_labels_of_a_namespace(cluster: Edge, api: Any, space: str) -> None:
    known = stored(api, f"/api/v1/namespaces/{space}")["metadata"].get("labels", {})
    assert cluster.access.labels(space) == known
    with pytest.raises(Missing):
        cluster.access.labels("contract-nowhere")


@pytest.fixture
def policy(api: Any, name: str) -> Iterator[Callable[..., None]]:
    """Makes a policy that concerns nothing, and a binding of it with these actions."""
    kinds = ("validatingadmissionpolicybindings", "validatingadmissionpolicies")

    def made(*actions: str) -> None:
        rule = {
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "operations": ["CREATE"],
            "resources": ["contractthings"],
        }
        spec = {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "true"}],
        }
        metadata = {"metadata": {"name": name}}
        found = [{**POLICY, **metadata, "kind": "ValidatingAdmissionPolicy", "spec": spec}]
        if actions:
            spec = {"policyName": name, "validationActions": list(actions)}
            kind = "ValidatingAdmissionPolicyBinding"
            found.append({**POLICY, **metadata, "kind": kind, "spec": spec})
        apply(api, found)

    yield made
    for kind in kinds:
        delete(api, f"/apis/admissionregistration.k8s.io/v1/{kind}/{name}")


def test_a_policy_counts_once_it_is_bound_and_denies(
    cluster: Edge, name: str, policy: Callable[..., None]
) -> None:
    assert not cluster.access.enforced(name)
    policy()
    assert not cluster.access.enforced(name)
    policy("Audit")
    assert not cluster.access.enforced(name)
    policy("Deny")
    assert cluster.access.enforced(name)


@pytest.mark.parametrize("verb", ["limits", "labels", "enforced"])
def test_without_the_right_to_look_it_says_so(door: Door, space: str, verb: str) -> None:
    access = door.edge().access
    with pytest.raises(Denied, match=r"HTTP 403"):
        getattr(access, verb)(space)


def test_the_time_there(cluster: Edge) -> None:
    found = cluster.access.clock()
    assert found is not None
    assert abs(found - datetime.now(UTC)) < timedelta(seconds=30)


def test_in_memory_it_is_answered_alike(memory: MemoryEdges) -> None:
    model, access = memory.world.clusters["aks"].access, memory.access("aks")
    answers: AccessReader = access
    assert answers.may(right("orders", "get"))
    model.missing = {right("orders", "get"), Right("orders", "apps", "deployments", "patch")}
    assert not answers.may(right("orders", "get"))
    assert not answers.may(Right("orders", "apps", "deployments", "patch", "api-blue"))
    assert answers.may(right("orders", "patch"))
    for look in (answers.limits, answers.labels, answers.enforced):
        with pytest.raises(Denied):
            look("orders")
    model.looks = {"orders"}
    assert (answers.limits("orders"), answers.labels("orders")) == ((), {})
    assert not answers.enforced("orders")
    assert answers.clock() == memory.now()
    assert memory.calls.writes == []
