"""A workload that nothing calls: without a preview Service, its replaced pods end at the swap."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import yaml
from msgspec import structs

from rotation.config import kept, parse
from rotation.config.doubts import doubts
from rotation.decisions.plan import Refuse, Rotate
from rotation.model import wire
from rotation.model.activities import Planned, Reference, WorkloadTimes
from rotation.model.errors import Conflict, Denied, Invalid, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import Route, Slot, other
from rotation.steps import guards, pods, proving
from rotation.steps.running import Step
from rotation.steps.traffic import confirm, swap, swap_back
from rotation.steps.world import snapshot
from tests.memory import MemoryEdges
from tests.unit.test_config import REMOVED, VALID, WORKLOAD, changed, credential, problems
from tests.unit.test_plan import decision, workload, world
from tests.unit.virtual import DONE, Story, denied, pytestmark

if TYPE_CHECKING:
    from tests.memory.cluster import DeploymentState, ServiceState

__all__ = ["pytestmark"]

JOBS: dict[str, Any] = {
    **VALID["credentials"]["orders-db"]["workloads"][0],
    "name": "jobs",
    "service": "jobs",
    "deployments": {"blue": "jobs-blue", "green": "jobs-green"},
}
del JOBS["preview"], JOBS["tests"]
FILE = changed((WORKLOAD.replace("0", "1"), JOBS))
OVERLAPPING = changed((WORKLOAD.replace("0", "1"), {**JOBS, "overlap": True}))


# -- the file


def test_a_workload_that_nothing_calls_needs_no_preview() -> None:
    (found,) = credential((WORKLOAD, JOBS)).workloads
    assert (found.standby, found.stops) == (None, True)
    assert not credential((WORKLOAD, {**JOBS, "overlap": True})).workloads[0].stops
    assert not credential().workloads[0].stops


def test_a_test_with_a_path_needs_one() -> None:
    tests = [{"url": "https://{slot}.example/"}, {"path": "/whoami"}]
    text = "needs `preview`, the Service that leads to the slot which does not serve yet"
    assert problems(changed((f"{WORKLOAD}.preview", REMOVED), (f"{WORKLOAD}.tests", tests))) == [
        f"{WORKLOAD}.tests.1.path: {text}; a workload that nothing calls has neither"
    ]


@pytest.mark.parametrize("overlap", [True, False])
def test_where_clients_call_no_pods_end_at_the_swap(overlap: bool) -> None:
    text = "goes with a workload that nothing calls, and that has no `preview`"
    assert problems(changed((f"{WORKLOAD}.overlap", overlap))) == [
        f"{WORKLOAD}.overlap: {text}: where clients call, both slots' pods stay"
    ]


def test_what_is_kept_with_a_rotation_says_so_too() -> None:
    for file in (FILE, OVERLAPPING):
        configuration = parse(yaml.safe_dump(file))
        again = kept.read(kept.keep(configuration, "orders-db"))
        assert again == configuration


def test_a_worker_is_asked_for_no_route() -> None:
    (path,) = [path for path, _ in doubts(parse(yaml.safe_dump(changed((WORKLOAD, JOBS)))))]
    assert path == "credentials.orders-db.approval.approvers"


# -- the plan


def uncalled(route: Route | None, **more: Any) -> Any:
    known: dict[str, Any] = {"preview": None, "uncalled": True, "stops": True, "production": route}
    return decision(world(workload("jobs", **{**known, **more})))


CALLED, HEADLESS = Route("blue", "http"), Route("blue", "", headless=True)


def test_its_pods_may_end_where_its_service_is_headless_and_without_ports() -> None:
    assert uncalled(HEADLESS) == Rotate("blue")


@pytest.mark.parametrize("further", [False, True])
def test_a_service_that_clients_may_call_is_refused(further: bool) -> None:
    more = {"further": {"orders/other": CALLED}} if further else {}
    refused = uncalled(HEADLESS if further else CALLED, **more)
    assert isinstance(refused, Refuse)
    (why,) = refused.problems
    name = "orders/other" if further else "orders/jobs"
    text = "is not headless and without ports: clients may call the pods that end at the swap"
    assert (why.code, why.text) == (
        Code.SERVICE_CALLED,
        f"workload jobs: its Service {name} {text}",
    )
    assert "clusterIP: None" in str(why.remedy)


def test_where_both_work_until_the_approval_any_service_will_do() -> None:
    assert uncalled(CALLED, stops=False) == Rotate("blue")


@pytest.mark.parametrize("headless", [True, False])
def test_the_plan_looks_at_the_service(headless: bool) -> None:
    found = World(FILE)
    found.service.headless = headless
    configured = found.edges.configuration.credential("orders-db")
    state = snapshot(found.edges, "orders-db", configured).workloads[1]
    assert (state.uncalled, state.stops, state.preview) == (True, True, None)
    assert state.production == Route("blue", "http")
    assert state.production is not None
    assert state.production.headless == headless


# -- the steps


class World:
    """A web application and a worker, served by blue; green is up."""

    def __init__(self, file: dict[str, Any], active: Slot = "blue") -> None:
        configuration = parse(yaml.safe_dump(file))
        self.edges = MemoryEdges(configuration, active={"orders-db": active})
        self.credential = configuration.credential("orders-db")
        self.edges.world.write(self.credential, other(active), "a password of the slot")
        role = self.edges.world.database.roles[self.credential.slots[other(active)].role]
        role.login, role.password = True, "a password of the slot"
        for name in ("api", "jobs"):
            self.scale(f"{name}-{other(active)}", 2)

    @property
    def service(self) -> ServiceState:
        return self.edges.world.clusters["aks"].services["orders", "jobs"]

    def deployment(self, name: str) -> DeploymentState:
        return self.edges.world.clusters["aks"].deployments["orders", name]

    def scale(self, name: str, replicas: int) -> None:
        self.edges.world.clusters["aks"].scale(self.deployment(name), replicas)
        self.edges.calls.pause(0.0)

    def step(self, slot: Slot, name: str = "jobs", **more: Any) -> Step:
        reference = Reference(rotation="r-1", credential="orders-db", workload=name, slot=slot)
        return Step(self.edges, structs.replace(reference, **more))

    def move_all(self) -> None:
        for name in ("api", "jobs"):
            swap(self.step("green", name))
        self.edges.calls.made.clear()

    def stop(self) -> None:
        pods.scale_down(self.step("blue", early=True))
        self.edges.calls.pause(0.0)

    @property
    def writes(self) -> list[str]:
        return [what.removeprefix("cluster ") for what in self.edges.calls.writes]


@pytest.fixture
def found() -> World:
    return World(FILE)


def test_no_preview_is_pointed_on_any_way(found: World) -> None:
    pods.start(found.step("green", version="v2"))
    pods.level(found.step("green"))
    swap(found.step("green"))
    swap_back(found.step("blue"))
    assert not [what for what in found.writes if "preview" in what]
    assert [what for what in found.writes if what.startswith("move")] == [
        "move orders/jobs slot: blue -> green",
        "move orders/jobs slot: green -> blue",
    ]


def test_a_worker_that_logs_in_as_the_other_role_does_not_pass_before_the_swap(
    found: World,
) -> None:
    step = found.step("green", through="preview")
    proving.test(step)
    found.deployment("jobs-green").role = "orders_blue"
    with pytest.raises(Invalid, match="sessions of the replaced role orders_blue") as caught:
        proving.test(step)
    assert caught.value.code is Code.TESTS_FAILED


def test_a_worker_without_a_session_of_each_pod_is_waited_for(found: World) -> None:
    found.deployment("jobs-green").pods[0].connected = False
    with pytest.raises(Unavailable, match="no session of role orders_green from jobs-green-1 yet"):
        proving.test(found.step("green", through="preview"))


def test_its_replaced_pods_end_once_all_traffic_has_moved(found: World) -> None:
    swap(found.step("green"))
    with pytest.raises(Conflict, match="orders/api routes to blue"):
        found.stop()
    swap(found.step("green", "api"))
    found.stop()
    assert found.deployment("jobs-blue").replicas == 0
    assert pods.await_gone(found.step("blue", early=True)).done
    found.stop()  # once more
    confirm(found.step("green"))


def test_what_clients_may_call_by_now_keeps_its_pods(found: World) -> None:
    found.move_all()
    found.service.headless = False
    with pytest.raises(Conflict, match="clients may call") as caught:
        found.stop()
    assert caught.value.code is Code.SERVICE_CALLED
    assert found.writes == []


def test_a_web_application_never_loses_its_pods_before_the_approval(found: World) -> None:
    found.move_all()
    found.edges.world.clusters["aks"].services["orders", "api"].headless = True
    with pytest.raises(Conflict, match="clients may call"):
        pods.scale_down(found.step("blue", "api", early=True))


def test_the_evidence_is_right_without_replaced_pods(found: World) -> None:
    found.move_all()
    found.stop()
    shown = proving.collect(found.edges, found.credential, "green", "r-1")
    assert shown.pods["jobs"]["blue"] == []
    assert (shown.complete, shown.still_in_use) == (True, [])
    (result,) = shown.tests["jobs"]
    assert (result.passed, result.role) == (True, "orders_green")
    rows = {(row.workload, row.slot): row.role for row in shown.sessions}
    assert rows == {
        ("api", "blue"): "orders_blue",
        ("api", "green"): "orders_green",
        ("jobs", "green"): "orders_green",
    }


def test_going_back_starts_as_many_pods_as_the_other_slot_has(found: World) -> None:
    found.move_all()
    found.scale("jobs-green", 3)
    found.stop()
    with pytest.raises(Unavailable) as caught:
        swap_back(found.step("blue"))
    assert caught.value.code is Code.SCALING_UP
    assert (found.service.slot, found.deployment("jobs-blue").replicas) == ("green", 3)
    found.edges.calls.pause(0.0)
    swap_back(found.step("blue"))
    assert found.service.slot == "blue"


def test_what_was_held_up_ends_no_pods_that_traffic_went_back_to(found: World) -> None:
    """It has looked at all of it, and the way back comes before its patch."""
    found.move_all()

    pods_of = found.edges.pods("aks")
    step = found.step("blue", early=True)
    seen = pods_of.deployment(step.deployment)
    assert seen is not None
    back = found.step("blue")
    late = mock.patch.object(guards.Standby, "_look", side_effect=lambda: swap_back(back))
    with late, pytest.raises(Unavailable) as caught:
        step.standby.scale_down(step.workload, seen.revision, early=True)
    assert caught.value.code is Code.CLUSTER_CONFLICT
    assert (found.service.slot, found.deployment("jobs-blue").replicas) == ("blue", 2)


def test_a_deployment_that_may_not_be_changed_keeps_traffic_from_no_way_back(found: World) -> None:
    """The right that is missing is the one for which its pods could not be ended."""
    found.move_all()
    found.edges.calls.failing["cluster scale orders/jobs-blue"] = Denied(Code.CLUSTER_DENIED, "no")
    with pytest.raises(Denied):
        found.stop()
    with pytest.raises(Denied):  # which may pass, as long as there is time for that
        swap_back(found.step("blue"))
    assert found.service.slot == "green"
    swap_back(found.step("blue", few=True))
    assert (found.service.slot, found.deployment("jobs-blue").replicas) == ("blue", 2)


def test_what_begins_on_the_way_back_ends_no_pods(found: World) -> None:
    found.move_all()
    found.scale("jobs-blue", 0)
    with pytest.raises(Unavailable):
        swap_back(found.step("blue"))
    with pytest.raises(Conflict, match="is on its way back"):
        found.stop()
    assert found.deployment("jobs-blue").replicas == 2


def test_an_overlapping_one_is_not_held_back_by_anything(found: World) -> None:
    found = World(OVERLAPPING)
    found.move_all()
    swap_back(found.step("blue"))
    assert not [what for what in found.writes if what.startswith("scale")]


# -- the story


class Worker(Story):
    """A story of a web application and a worker."""

    stops = True

    def plan(self, *, calm: bool = True) -> dict[str, Any]:
        planned = wire.read(Planned, super().plan(calm=calm))
        assert planned.policy is not None
        times = {**planned.policy.workloads, "jobs": WorkloadTimes(20.0, 20.0, self.stops)}
        policy = structs.replace(planned.policy, workloads=times)
        return wire.value_of(structs.replace(planned, policy=policy))


BETWEEN = ["scale_down blue", "await_gone blue"]


def between(story: Story) -> list[str]:
    """What happens from the last swap to the evidence, without tests."""
    names = story.names("test")
    last = max(index for index, name in enumerate(names) if name == "swap green")
    return names[last + 1 : names.index("evidence green")]


def test_the_replaced_pods_of_the_worker_alone_end_after_the_swap() -> None:
    story = Worker("api", "jobs")
    output = story.approve()
    assert output.outcome == "completed"
    assert between(story) == BETWEEN
    early = [reference for _, name, reference in story.calls if name == "scale_down"]
    assert [(one["workload"], one.get("early", False)) for one in early] == [
        ("jobs", True),
        ("api", False),
        ("jobs", False),
    ]
    assert [step.step for step in output.steps][5:9] == ["verify", "swap", "stop", "observe"]


def test_where_both_work_until_the_approval_nothing_ends_before() -> None:
    story = Worker("api", "jobs")
    story.stops = False
    output = story.approve()
    assert between(story) == []
    assert "stop" not in [step.step for step in output.steps]


@pytest.mark.parametrize("how", ["refused", "late"])
def test_pods_that_do_not_end_roll_back(how: str) -> None:
    story = Worker("api", "jobs")

    def left(reference: dict[str, Any]) -> Any:
        return {"done": False, "observed": "pods left: x"} if reference["slot"] == "blue" else DONE

    if how == "late":
        story.script["await_gone"] = left
    else:
        story.script["scale_down"] = lambda reference: (
            denied(reference) if reference["slot"] == "blue" else {}
        )
    output = story.run()
    assert output.outcome == "rolled-back"
    expected = "pods left: x" if how == "late" else "it is refused"
    assert output.outcome_reason is not None
    assert output.outcome_reason.startswith("stop: workload jobs: ")
    assert expected in output.outcome_reason
    assert "swap_back blue" in story.names()
    assert story.names()[-1] == "disable green"


def test_the_route_of_a_headless_service_is_equal_whatever_it_says() -> None:
    assert replace(HEADLESS, port="http") == CALLED
