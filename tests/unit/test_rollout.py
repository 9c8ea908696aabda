"""Whether a rollout is finished, and why it is not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from rotation.decisions.rollout import explained, unready
from rotation.model.reasons import Code
from rotation.model.targets import DeploymentTarget
from rotation.model.world import Pod
from tests.unit.test_plan import deployment

UNREADY: list[tuple[dict[str, Any], str | None, str]] = [
    ({"observed": False}, None, "the controller has not seen the latest change"),
    ({"version": "v0"}, "v1", "its pods are of secret version v0, not v1"),
    ({"version": None}, "v1", "its pods are of secret version unknown, not v1"),
    ({"updated": 1}, None, "1 of 2 pods are updated"),
    ({"total": 3}, None, "1 earlier pods are still there"),
    ({"ready": 0}, None, "0 of 2 pods are ready"),
]


@pytest.mark.parametrize(("state", "wanted", "reason"), UNREADY)
def test_unready(state: dict[str, Any], wanted: str | None, reason: str) -> None:
    assert unready(deployment("api-blue", **state), wanted) == reason


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        ({}, None),
        ({}, "v1"),
        ({"version": None}, None),
        ({"replicas": 0, "ready": 0, "updated": 0, "total": 0}, None),
    ],
)
def test_unready_bad(state: dict[str, Any], wanted: str | None) -> None:
    """A rollout that is finished."""
    assert unready(deployment("api-blue", **state), wanted) is None


API = DeploymentTarget("orders", "api-green")
EARLIER, LATER = datetime(2027, 3, 1, tzinfo=UTC), datetime(2027, 3, 2, tzinfo=UTC)
LOGS = "kubectl logs --namespace orders deployment/api-green --all-containers"
NOT_YET = "0 of 2 pods are ready"


def pod(name: str = "api-green-1", **more: Any) -> Pod:
    return Pod(name, (), (), **{"created": EARLIER, **more})


EXPLAINED: list[tuple[dict[str, Any], list[Pod] | None, Code, str]] = [
    (
        {},
        [pod(waiting="CrashLoopBackOff", restarts=4, exit_code=137, ended="OOMKilled")],
        Code.NOT_READY,
        f"pod api-green-1: CrashLoopBackOff, 4 restarts, exit code 137 (OOMKilled); {LOGS}",
    ),
    (
        {},
        [pod(waiting="ImagePullBackOff")],
        Code.NOT_READY,
        "pod api-green-1: ImagePullBackOff; kubectl describe --namespace orders pod/api-green-1",
    ),
    ({}, [pod()], Code.NOT_READY, f"pod api-green-1: Running and not ready; {LOGS}"),
    (
        {},
        [pod("two"), pod("one", created=LATER, waiting="Unschedulable"), pod("zero", ready=True)],
        Code.NOT_READY,
        "pod one: Unschedulable; kubectl describe --namespace orders pod/one",
    ),
    (
        {"failure": "ProgressDeadlineExceeded"},
        [pod(waiting="ContainerCreating")],
        Code.NOT_COMING_UP,
        (
            "ProgressDeadlineExceeded; pod api-green-1: ContainerCreating; "
            "kubectl describe --namespace orders pod/api-green-1"
        ),
    ),
    (
        {"failure": "FailedCreate", "refusal": "a quota is full"},
        [],
        Code.PODS_REFUSED,
        (
            "FailedCreate (a quota is full); it has no pods; "
            "kubectl describe --namespace orders deployment/api-green"
        ),
    ),
    (
        {"paused": True, "failure": "ProgressDeadlineExceeded"},
        [pod(ready=True)],
        Code.DEPLOYMENT_PAUSED,
        f"the Deployment is paused; ProgressDeadlineExceeded; pod api-green-1: ready; {LOGS}",
    ),
    ({}, None, Code.NOT_READY, "kubectl describe --namespace orders deployment/api-green"),
]


@pytest.mark.parametrize(("state", "pods", "code", "text"), EXPLAINED)
def test_explained(state: dict[str, Any], pods: list[Pod] | None, code: Code, text: str) -> None:
    seen = deployment("api-green", ready=0, **state)
    assert explained(API, seen, NOT_YET, pods) == (code, f"{NOT_YET}; {text}")
