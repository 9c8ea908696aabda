"""A workload that clients reach by two Services, and a Service that nobody named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local.cluster.client import apply
from local.load import Load
from local.process import wait_until
from rotation.model.world import Slot, other
from tests.conftest import QUICK
from tests.e2e import site
from tests.e2e.test_rotation import active, codes, ended, started, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import Stack

SECOND, NOBODYS = "api-grpc", "api-legacy"
ROLE = "/apis/rbac.authorization.k8s.io/v1/namespaces/orders/roles/credential-rotation"
RIGHT = {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "patch"]}


def service(name: str, slot: Slot) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "orders"},
        "spec": {
            "selector": {"app": "api", "slot": slot},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def asked(stack: Stack, method: str, path: str, body: object = None) -> None:
    """Asks the cluster by text: the SDK refuses what a deletion is answered with."""
    api: Any = stack.owner.kubernetes
    kind = {"Content-Type": "application/merge-patch+json"} if body is not None else {}
    parts = api.param_serialize(
        method, path, header_params=kind, body=body, auth_settings=["BearerToken"]
    )
    assert api.call_api(*parts).response.status == 200


def deleted(stack: Stack, name: str) -> None:
    asked(stack, "DELETE", f"/api/v1/namespaces/orders/services/{name}")


def rights(stack: Stack, change: Any) -> None:
    """Changes the rules of the app's Role."""
    rules = stack.owner.kubernetes_get(ROLE)["rules"]
    change(rules)
    asked(stack, "PATCH", ROLE, {"rules": rules})


@pytest.fixture(scope="module")
def several(shared_stack: Stack) -> Iterator[Stack]:
    """The workload `api` with two Services."""
    own = {**RIGHT, "resourceNames": [SECOND]}
    rights(shared_stack, lambda rules: rules.append(own))
    apply(shared_stack.owner.kubernetes, [service(SECOND, active(shared_stack))])
    api, web = QUICK["workloads"]
    changes: dict[str, Any] = {
        "workloads": [{**api, "services": [SECOND]}, web],
        "retry": {"patience": "8s", "compensation": "10s"},
    }
    with site.host_with(shared_stack, {}, **changes):
        yield shared_stack
    deleted(shared_stack, SECOND)
    rights(shared_stack, lambda rules: rules.remove(own))


def selected(stack: Stack, name: str) -> str:
    found = stack.owner.kubernetes_get(f"/api/v1/namespaces/orders/services/{name}")
    return str(found["spec"]["selector"]["slot"])


def urls(stack: Stack, *names: str) -> list[str]:
    return [stack.owner.service_url("orders", name) for name in ("api", *names)]


def decided(stack: Stack, rotation: str, decision: str) -> dict[str, Any]:
    record = stack.client.follow(rotation, waiting)
    assert record["outcome"] is None, record["outcomeReason"]
    assert stack.client.decide(rotation, decision).status == 200
    return ended(stack, rotation)


@pytest.mark.guarantee(2)
@pytest.mark.parametrize(
    ("decision", "outcome"),
    [
        pytest.param("approve", "completed", marks=pytest.mark.long),
        pytest.param("reject", "rolled-back", marks=pytest.mark.long),
    ],
)
def test_both_services_move_together_and_no_request_fails(
    several: Stack, decision: str, outcome: str
) -> None:
    before = active(several)
    with Load(urls(several, SECOND), rate=40, workers=9, fresh=3, pooled=3) as load:
        record = decided(several, started(several), decision)
        report = load.stop()
    assert record["outcome"] == outcome, record["outcomeReason"]
    assert (report.failed, report.failures) == (0, [])
    serving = other(before) if decision == "approve" else before
    assert [selected(several, name) for name in ("api", SECOND)] == [serving] * 2
    wait_until(lambda: not replicas(several, other(serving)), 10, "the end of the other slot")


def replicas(stack: Stack, slot: Slot) -> int:
    found = stack.owner.kubernetes_get(f"/apis/apps/v1/namespaces/orders/deployments/api-{slot}")
    return int(found["spec"]["replicas"])


@pytest.mark.guarantee(2)
@pytest.mark.long
def test_a_service_that_nobody_named_is_refused_by_name(several: Stack) -> None:
    apply(several.owner.kubernetes, [service(NOBODYS, active(several))])
    try:
        record = ended(several, started(several))
        assert (record["outcome"], codes(record)) == ("refused", {"other-service"})
        assert f"Service {NOBODYS}, which the file does not name" in record["outcomeReason"]
        (seen,) = several.client.api("GET", "/credentials?fresh=true").json["credentials"]
        (finding,) = (one for one in seen["findings"] if one["severity"] == "refuses")
        assert (finding["code"], finding["object"]) == (
            "other-service",
            f"Service orders/{NOBODYS}",
        )
    finally:
        deleted(several, NOBODYS)


@pytest.mark.guarantee(2, 7)
@pytest.mark.long
def test_one_that_comes_during_the_approval_keeps_its_pods(several: Stack) -> None:
    before = active(several)
    rotation = started(several)
    record = several.client.follow(rotation, waiting)
    assert record["outcome"] is None, record["outcomeReason"]
    apply(several.owner.kubernetes, [service(NOBODYS, before)])
    try:
        with Load(urls(several, SECOND, NOBODYS), rate=40) as load:
            evidence = several.client.api("GET", f"/rotations/{rotation}/evidence").json
            record = decided(several, rotation, "approve")
            report = load.stop()
    finally:
        deleted(several, NOBODYS)
    assert any(NOBODYS in problem for problem in evidence["problems"])
    assert record["outcome"] == "needs-attention"
    assert "other-service" in codes(record)
    assert NOBODYS in record["outcomeReason"]
    assert (report.failed, report.failures) == (0, [])
    assert replicas(several, before) > 0
    # With that Service gone, the next rotation takes up from there.
    assert decided(several, started(several), "reject")["outcome"] == "rolled-back"
    assert active(several) == other(before)
