"""The wait for pods: what is waited for, and what is said of what does not come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rotation.model import activities
from rotation.model.activities import Reference, Watched
from rotation.model.catalogue import Origin
from rotation.model.errors import Denied, StepFailed, Unavailable
from rotation.model.reasons import Code
from rotation.model.record import Request
from rotation.steps.planning import plan
from rotation.steps.pods import await_gone, await_ready
from rotation.steps.proving import evidence
from rotation.steps.running import Step
from rotation.story.retrying import overdue
from tests.memory.cluster import AT_ONCE, BROKEN
from tests.unit.test_swap import World
from tests.unit.virtual import Story, pytestmark  # noqa: F401 - it applies to this module

SLOW = replace(AT_ONCE, controller=0.5, startup=4.0, lag=3.0)
REQUEST = Request(
    rotation="r-1", credential="orders-db", origin=Origin.MANUAL, requested_by="", reason=""
)


@pytest.fixture
def world() -> World:
    found = World()
    found.cluster.times = SLOW
    return found


def step(world: World) -> Step:
    reference = Reference(
        rotation="r-1", credential="orders-db", workload="api", slot="green", version="v2"
    )
    return Step(world.edges, reference)


def start(world: World, replicas: int = 2, tag: str = "2") -> None:
    green = world.deployment("api-green")
    world.cluster.roll(green, {"app": f"app:{tag}"}, "v2")
    world.cluster.scale(green, replicas)


def empty(world: World) -> None:
    world.scale("api-green", 0)
    world.edges.calls.pause(5.0)
    assert world.deployment("api-green").pods == []


@pytest.mark.guarantee(4)
def test_a_failure_of_the_past_ends_no_wait(world: World) -> None:
    """It is still reported when the controller has observed the start already."""
    world.deployment("api-green").past = "ProgressDeadlineExceeded"
    start(world, 3)
    world.edges.calls.pause(1.0)
    seen = world.cluster.deployment(step(world).deployment)
    assert seen is not None
    assert (seen.observed, seen.failure) == (True, "ProgressDeadlineExceeded")
    assert await_ready(step(world)) == Watched(done=True)


@pytest.mark.guarantee(4)
def test_a_quota_that_is_full_for_some_seconds_is_waited_for(world: World) -> None:
    world.cluster.fill(8.0)
    start(world)
    assert await_ready(step(world)) == Watched(done=True)


def test_a_quota_that_stays_full_is_told(world: World) -> None:
    empty(world)
    world.cluster.fill(3600.0)
    start(world)
    found = await_ready(step(world))
    assert (found.done, found.code) == (False, Code.PODS_REFUSED)
    assert found.observed == (
        "0 of 2 pods are updated; FailedCreate (a quota is full); it has no pods; "
        "kubectl describe --namespace orders deployment/api-green"
    )


def test_a_pod_that_never_starts_is_told(world: World) -> None:
    empty(world)
    start(world, tag=BROKEN)
    found = await_ready(step(world))
    assert (found.done, found.code) == (False, Code.NOT_READY)
    # Both were made at the same moment.
    newest = max(pod.name for pod in world.deployment("api-green").pods)
    assert found.observed == (
        f"0 of 2 pods are ready; pod {newest}: ContainerCreating; "
        f"kubectl describe --namespace orders pod/{newest}"
    )


def test_pods_that_cannot_be_looked_at_keep_nothing_from_being_told(world: World) -> None:
    world.edges.calls.failing["cluster listed"] = Denied(Code.CLUSTER_DENIED, "no right")
    start(world, tag=BROKEN)
    found = await_ready(step(world))
    assert found.code == Code.NOT_READY
    assert found.observed.endswith("; its pods could not be looked at: cluster-denied")


@pytest.mark.parametrize(
    ("answered", "code"),
    [
        (Code.PODS_REFUSED, Code.PODS_REFUSED),
        (None, Code.NOT_READY),
        ("of-a-newer-release", Code.NOT_READY),
    ],
)
def test_a_wait_that_is_over_has_the_code_of_the_last_answer(
    answered: str | None, code: Code
) -> None:
    last = Watched(done=False, observed="0 of 2", code=answered)
    failure: StepFailed = overdue(activities.AWAIT_READY, Code.NOT_READY, 600, last)
    assert [(why.code, why.remedy) for why in failure.reasons] == [(code, code.remedy)]
    assert failure.text == "not done after 600 s: 0 of 2"


def test_an_active_deployment_that_stays_unready_is_explained(world: World) -> None:
    world.deployment("api-blue").pods[0].ready_at = None
    asked = Reference(rotation="r-1", credential="orders-db", request=REQUEST)
    with pytest.raises(Unavailable) as caught:
        plan(Step(world.edges, asked))
    assert caught.value.code is Code.ACTIVE_UNHEALTHY
    assert caught.value.message == (
        "workload api: its active Deployment api-blue is not healthy: 1 of 2 pods are ready; "
        "pod api-blue-1: ContainerCreating; kubectl describe --namespace orders pod/api-blue-1"
    )


@pytest.mark.guarantee(2)
def test_a_right_that_a_retirement_will_need_is_asked_for_by_the_plan(world: World) -> None:
    world.edges.calls.failing["cluster listed orders/web-blue"] = Denied(
        Code.CLUSTER_DENIED, "cluster aks could not list pods"
    )
    asked = Reference(rotation="r-1", credential="orders-db", request=REQUEST)
    with pytest.raises(Denied):
        plan(Step(world.edges, asked))


@pytest.mark.guarantee(2)
def test_what_an_eviction_or_a_debug_copy_leaves_is_nobodys(world: World) -> None:
    green = world.deployment("api-green")
    world.cluster.leave_behind(green)
    world.cluster.evict(green)
    world.edges.calls.pause(10.0)
    there = {pod.name for pod in green.strays}
    assert len(there) == 3
    pods = evidence(step(world)).pods["api"]["green"]
    assert pods == sorted(pod.name for pod in green.pods)
    assert not there & set(pods)
    world.cluster.scale(green, 0)
    assert await_gone(step(world)) == Watched(done=True, observed="pods left: none")


@pytest.mark.guarantee(2)
def test_pods_of_the_slot_that_serves_are_not_waited_for(world: World) -> None:
    world.edges.world.share_selectors()
    world.cluster.scale(world.deployment("api-green"), 0)
    assert await_gone(step(world)).done
    assert len(world.deployment("api-blue").pods) == 2


@pytest.mark.guarantee(7)
def test_why_pods_did_not_come_up_is_recorded_before_they_are_scaled_down() -> None:
    story = Story("api")
    why = "0 of 2 pods are updated; FailedCreate (a quota is full)"
    story.script["await_ready"] = {"done": False, "observed": why, "code": "pods-refused"}
    recorded: list[dict[str, Any]] = []

    def scale_down(_: dict[str, Any]) -> dict[str, Any]:
        recorded.extend(story.shown["customStatus"]["steps"])
        return {}

    story.script["scale_down"] = scale_down
    output = story.run()
    assert output.outcome == "aborted"
    (prepared,) = (step for step in recorded if step["step"] == "prepare")
    assert prepared["code"] == "pods-refused"
    assert prepared["failure"].endswith(f"not done after 20 s: {why}")
    assert [(found.code, found.remedy) for found in output.reasons] == [
        (Code.PODS_REFUSED, Code.PODS_REFUSED.remedy)
    ]
