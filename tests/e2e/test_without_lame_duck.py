"""Whole rotations of an application that closes its connections at once, as most do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import AppsV1Api, CoreV1Api

from local import world
from local.load import Load
from local.process import wait_until
from tests.e2e.test_rotation import active, ended, started, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import Stack

pytestmark = pytest.mark.long
NOT_YET = {"ready": False}
KEPT, POOLED = 4, 3  # connections to each workload, at most, of each kind of client


@pytest.fixture(scope="module")
def configured(shared_stack: Stack) -> Iterator[None]:
    """Both workloads end without a lame duck, and as before once the tests are over."""
    configure(shared_stack, "0")
    yield
    configure(shared_stack, "1")


@pytest.fixture
def abrupt(stack: Stack, configured: None) -> Stack:
    return stack


def configure(stack: Stack, seconds: str) -> None:
    """Has all pods replaced by some with that setting, and returns once they serve alone."""
    core, apps = CoreV1Api(stack.owner.kubernetes), AppsV1Api(stack.owner.kubernetes)
    annotations = {"lame-duck": seconds}
    restart = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    for name, space in world.WORKLOADS.items():
        body = {"data": {"LAME_DUCK_SECONDS": seconds}}
        core.patch_namespaced_config_map("orders-database", space, body)
        for slot in ("blue", "green"):
            apps.patch_namespaced_deployment(f"{name}-{slot}", space, restart)
    wait_until(lambda: all(are_new(pods(stack, s), seconds) for s in spaces()), 60, "new pods")


def spaces() -> list[str]:
    return list(world.WORKLOADS.values())


def pods(stack: Stack, space: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.owner.kubernetes_get(f"/api/v1/namespaces/{space}/pods")[
        "items"
    ]
    return found


def are_new(found: list[dict[str, Any]], seconds: str) -> bool:
    return bool(found) and all(
        pod["metadata"].get("annotations", {}).get("lame-duck") == seconds
        and "deletionTimestamp" not in pod["metadata"]
        # One that was just made has no status yet.
        and all(one["ready"] for one in pod.get("status", {}).get("containerStatuses", [NOT_YET]))
        for pod in found
    )


def left(load: Load) -> int:
    """The kept connections of `http.client` whose end it has heard of."""
    report = load.report()
    return report.told.get("keep-alive", 0) + report.failed_by.get("keep-alive", 0)


def loads(stack: Stack) -> Load:
    urls = [stack.owner.service_url(space, name) for name, space in world.WORKLOADS.items()]
    return Load(urls, workers=KEPT + POOLED, fresh=0, pooled=POOLED, rate=60)


def test_an_approval_fails_at_most_a_request_for_each_kept_connection(abrupt: Stack) -> None:
    with loads(abrupt) as load:
        wait_until(lambda: load.report().requests > 100, 20, "every connection being open")
        rotation = started(abrupt)
        abrupt.client.follow(rotation, waiting)
        assert load.report().failed == 0
        abrupt.client.decide(rotation, "approve")
        assert ended(abrupt, rotation)["outcome"] == "completed"
        kept = KEPT * len(world.WORKLOADS)
        wait_until(lambda: left(load) == kept, 20, "each kept connection being noticed as closed")
        count = load.report().requests
        wait_until(lambda: load.report().requests > count + 100, 20, "traffic on the new pods")
        report = load.stop()
    assert left(load) == kept
    assert report.failed_by.get("pooled", 0) <= POOLED * len(world.WORKLOADS)
    assert report.failed > 0
    assert set(report.kinds) <= {"closed", "reset"}


def test_a_rejection_fails_none(abrupt: Stack) -> None:
    """Its clients' connections are to the pods that stay."""
    before = active(abrupt)
    with loads(abrupt) as load:
        wait_until(lambda: load.report().requests > 100, 20, "every connection being open")
        rotation = started(abrupt)
        abrupt.client.follow(rotation, waiting)
        abrupt.client.decide(rotation, "reject")
        assert ended(abrupt, rotation)["outcome"] == "rolled-back"
        count = load.report().requests
        wait_until(lambda: load.report().requests > count + 100, 20, "traffic after it")
        report = load.stop()
    assert active(abrupt) == before
    assert (report.failed, report.told) == (0, {})
