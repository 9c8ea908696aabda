"""The swap of one workload while others may be swapped already."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml
from msgspec import structs

from rotation.config import parse
from rotation.model.activities import Reference
from rotation.model.errors import Conflict, Denied, EdgeError, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import Slot, other
from rotation.steps import guards
from rotation.steps.login import deactivate
from rotation.steps.pods import await_gone, level, scale_down, start
from rotation.steps.running import Step
from rotation.steps.traffic import confirm, swap, swap_back
from tests.memory import MemoryEdges
from tests.unit.test_config import VALID, changed

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.config import Workload
    from rotation.contracts.edges import Readers
    from tests.memory.cluster import ClusterModel, DeploymentState

SECOND = {
    **VALID["credentials"]["orders-db"]["workloads"][0],
    "name": "web",
    "service": "web",
    "preview": "web-preview",
    "deployments": {"blue": "web-blue", "green": "web-green"},
}
CONFIGURATION = parse(yaml.safe_dump(changed(("credentials.orders-db.workloads.1", SECOND))))
CREDENTIAL = CONFIGURATION.credential("orders-db")
CHANGES: list[Callable[[Step], object]] = [swap, swap_back]


class World:
    """Two workloads, `api` and `web`, served by blue and ready to go to green."""

    def __init__(self) -> None:
        self.edges = MemoryEdges(CONFIGURATION)
        self.edges.world.write(CREDENTIAL, "green", "a password of the slot")
        self.allow_login("green")
        for name in ("api", "web"):
            self.scale(f"{name}-green", 2)

    def allow_login(self, slot: Slot) -> None:
        role = self.edges.world.database.roles[CREDENTIAL.slots[slot].role]
        current = self.edges.world.current(CREDENTIAL, slot)
        assert current is not None
        role.login, role.password = True, current.password

    def refuse_login(self) -> None:
        self.edges.calls.failing["database login"] = Denied(Code.LOGIN_REFUSED, "refused")

    @property
    def cluster(self) -> ClusterModel:
        return self.edges.world.clusters["aks"]

    def deployment(self, name: str) -> DeploymentState:
        return self.cluster.deployments["orders", name]

    def scale(self, name: str, replicas: int) -> None:
        """By somebody else; its pods come up, or go, at once."""
        self.cluster.scale(self.deployment(name), replicas)
        self.edges.calls.pause(0.0)

    def point(self, **slots: Slot) -> None:
        """Somebody else moves traffic."""
        for name, slot in slots.items():
            self.cluster.select(self.cluster.services["orders", name.replace("_", "-")], slot)

    def slot_of(self, service: str) -> str | None:
        return self.cluster.services["orders", service].slot

    def fences(self) -> list[str | None]:
        return [self.cluster.services["orders", name].fence for name in ("api", "web")]

    def step(self, slot: Slot = "green") -> Step:
        reference = Reference(rotation="r-1", credential="orders-db", workload="api", slot=slot)
        return Step(self.edges, reference)

    @property
    def writes(self) -> list[str]:
        return [what.removeprefix("cluster ") for what in self.edges.calls.writes]


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("slot", ["green", "blue"])
def test_the_service_and_then_the_preview_are_pointed(world: World, slot: Slot) -> None:
    gone = other(slot)
    world.point(api=gone, api_preview=slot)
    swap(world.step(slot))
    assert world.writes == [
        f"move orders/api slot: {gone} -> {slot}",
        f"move orders/api-preview slot: {slot} -> {gone}",
    ]
    assert (world.slot_of("api"), world.slot_of("api-preview")) == (slot, gone)
    assert world.slot_of("web") == "blue"
    assert f"database login orders_{slot}" in world.edges.calls.reads


@pytest.mark.parametrize("change", CHANGES)
def test_it_may_be_repeated(world: World, change: Callable[[Step], object]) -> None:
    change(world.step())
    world.refuse_login()
    change(world.step())
    assert (world.slot_of("api"), world.slot_of("api-preview")) == ("green", "blue")


def test_only_going_back_fences_the_service_also_where_nothing_is_to_change(world: World) -> None:
    swap(world.step())
    assert world.fences() == [None, None]
    swap_back(world.step())
    assert world.fences() == ["r-1", None]
    assert world.slot_of("api") == "green"


def test_a_swap_that_is_held_up_comes_to_nothing_once_it_was_gone_back(world: World) -> None:
    """It has looked at the Service; what it does next is too late."""
    production = CREDENTIAL.workloads[0].switch
    traffic = world.edges.traffic("aks")
    seen = traffic.route(production)
    assert seen is not None
    swap_back(world.step("blue"))
    with pytest.raises(Unavailable) as caught:
        traffic.move(production, "blue", "green", revision=seen.revision)
    assert caught.value.code is Code.TRAFFIC_CHANGED
    assert world.slot_of("api") == "blue"


@pytest.mark.guarantee(4)
def test_a_swap_that_begins_once_it_was_gone_back_moves_nothing(world: World) -> None:
    """A second execution, which was held up before its first look."""
    swap(world.step())
    swap_back(world.step("blue"))
    with pytest.raises(Conflict, match="Service orders/api is on its way back"):
        swap(world.step())
    assert world.slot_of("api") == "blue"


HELD_UP: list[tuple[Callable[[Step], object], int]] = [
    (start, 0),
    (level, 0),
    (scale_down, 2),
    (swap, 1),  # which scales up first
]


@pytest.mark.guarantee(2)
@pytest.mark.parametrize(("change", "replicas"), HELD_UP)
def test_a_change_that_is_held_up_after_its_look_undoes_nothing(
    world: World,
    change: Callable[[Step], object],
    replicas: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Meanwhile another execution has started the slot, and a release was brought to it."""
    world.scale("api-green", replicas)
    brought = {"app": "app:2", "init:wait": "wait:2"}

    reference = Reference(rotation="r-1", credential="orders-db", workload="api", slot="green")
    if change is start:
        reference = structs.replace(reference, version="v1")

    def looks_and_is_held_up(edges: Readers, workload: Workload, slot: Slot) -> None:
        look(edges, workload, slot)
        if workload.name == CREDENTIAL.workloads[-1].name or change in {level, swap}:
            world.cluster.roll(world.deployment("api-green"), brought, "v2")
            world.scale("api-green", 5)

    look = guards._refuse_what_serves  # noqa: SLF001 - the last thing before a change
    monkeypatch.setattr(guards, "_refuse_what_serves", looks_and_is_held_up)
    with pytest.raises(Unavailable) as caught:
        change(Step(world.edges, reference))
    assert caught.value.code is Code.CLUSTER_CONFLICT
    found = world.deployment("api-green")
    assert (found.replicas, found.version, found.images) == (5, "v2", brought)
    assert world.slot_of("api") == "blue"


def test_a_login_that_fails_swaps_nothing(world: World) -> None:
    world.refuse_login()
    with pytest.raises(Denied):
        swap(world.step())
    assert world.slot_of("api") == "blue"


@pytest.mark.guarantee(2)
def test_going_back_asks_for_no_connection(world: World) -> None:
    """The slot that is left may have them all; ready pods have what they need."""
    world.edges.world.database.most = 0
    swap_back(world.step())
    assert world.slot_of("api") == "green"
    assert not [read for read in world.edges.calls.reads if read.startswith("database")]


def test_going_back_to_as_many_pods_as_are_ready(world: World) -> None:
    """Those that it was scaled up by get no connection, and never ready."""
    world.scale("api-blue", 5)
    world.edges.world.database.most = world.edges.world.connections()
    for _ in range(2):
        with pytest.raises(Unavailable):
            swap_back(world.step())
    few = world.step()
    few.reference = structs.replace(few.reference, few=True)
    swap_back(few)
    assert world.slot_of("api") == "green"


def test_few_pods_are_at_least_one(world: World) -> None:
    world.scale("api-green", 0)
    few = world.step()
    few.reference = structs.replace(few.reference, few=True)
    with pytest.raises(Unavailable, match="is being scaled up to 2 pods"):
        swap_back(few)
    assert world.slot_of("api") == "blue"


def test_a_server_without_a_connection_stops_no_retirement(world: World) -> None:
    """It is the retirement that frees some."""
    world.point(api="green", web="green")
    world.edges.world.database.most = 0
    confirm(world.step())


@pytest.mark.parametrize(
    "error",
    [
        Denied(Code.LOGIN_REFUSED, "refused"),
        Unavailable(Code.DATABASE_UNREACHABLE, "no answer"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_other_failure_of_the_login_stops_it(world: World, error: EdgeError) -> None:
    world.point(api="green", web="green")
    world.edges.calls.failing["database login"] = error
    with pytest.raises(type(error)):
        confirm(world.step())


@pytest.mark.guarantee(7)
def test_no_login_is_taken_away_before_the_other_is_proved(world: World) -> None:
    """The proof may have been left out before, while there was no connection for it."""
    world.point(api="green", web="green")
    world.refuse_login()
    with pytest.raises(Denied):
        deactivate(world.step("blue"))
    assert world.edges.world.database.roles["orders_blue"].login
    assert world.writes == []
    world.edges.calls.failing.clear()
    deactivate(world.step("blue"))
    assert not world.edges.world.database.roles["orders_blue"].login


def test_traffic_that_goes_elsewhere_is_left_there(world: World) -> None:
    world.cluster.select(world.cluster.services["orders", "api"], "purple")
    with pytest.raises(Conflict) as caught:
        swap(world.step())
    assert caught.value.code is Code.TRAFFIC_ELSEWHERE
    assert world.slot_of("api") == "purple"


def lacks_a_pod(deployment: DeploymentState) -> None:
    deployment.pods.pop()


def is_not_observed(deployment: DeploymentState) -> None:
    deployment.changed = deployment.pods[0].ready_at


def has_a_pod_that_starts(deployment: DeploymentState) -> None:
    deployment.pods[0].ready_at = None


def lacks_a_new_pod(deployment: DeploymentState) -> None:
    deployment.pods[0].revision -= 1


def has_a_former_pod_too(deployment: DeploymentState) -> None:
    former = replace(deployment.pods[0], revision=deployment.revision - 1)
    deployment.pods.append(former)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "state",
    [
        lacks_a_pod,
        is_not_observed,
        has_a_pod_that_starts,
        lacks_a_new_pod,
        has_a_former_pod_too,
    ],
)
def test_pods_that_are_not_ready_are_waited_for(
    world: World, state: Callable[[DeploymentState], None], change: Callable[[Step], object]
) -> None:
    state(world.deployment("api-green"))
    with pytest.raises(Unavailable, match="Deployment orders/api-green cannot serve now") as caught:
        change(world.step())
    assert caught.value.code is Code.CANNOT_SERVE
    assert world.slot_of("api") == "blue"


def test_a_deployment_that_is_gone_serves_nothing(world: World) -> None:
    del world.cluster.deployments["orders", "api-green"]
    with pytest.raises(Unavailable, match="it does not exist"):
        swap(world.step())


def test_a_slot_with_too_few_pods_is_scaled_up_first(world: World) -> None:
    world.scale("api-blue", 5)
    with pytest.raises(Unavailable, match="is being scaled up to 5 pods") as caught:
        swap(world.step())
    assert caught.value.code is Code.SCALING_UP
    assert world.writes == ["scale orders/api-green to 5"]
    assert world.slot_of("api") == "blue"
    swap(world.step())
    assert world.slot_of("api") == "green"


def test_only_a_swap_back_starts_a_slot_that_was_stopped(world: World) -> None:
    """A swap that comes late would revive a slot that is retired by now."""
    world.scale("api-green", 0)
    with pytest.raises(Unavailable, match="cannot serve now: no pods"):
        swap(world.step())
    assert world.writes == []
    with pytest.raises(Unavailable, match="is being scaled up to 2 pods"):
        swap_back(world.step())
    assert world.writes == ["fence orders/api", "scale orders/api-green to 2"]


@pytest.mark.parametrize("slot", ["green", "blue"])
def test_it_is_scaled_up_though_another_workload_is_on_that_slot_already(
    world: World, slot: Slot
) -> None:
    """In a swap the other one was faster; in a swap back it had never left."""
    world.point(web=slot, api=other(slot), api_preview=slot)
    world.scale(f"api-{other(slot)}", 5)
    with pytest.raises(Unavailable, match="is being scaled up to 5 pods"):
        swap(world.step(slot))
    swap(world.step(slot))
    assert world.slot_of("api") == slot


@pytest.mark.parametrize("serving", ["api", "web"])
def test_nothing_that_serves_is_scaled_down(world: World, serving: str) -> None:
    moved: dict[str, Slot] = {serving: "green"}
    world.point(**moved)
    with pytest.raises(Conflict, match=f"orders/{serving} routes to green: what serves traffic"):
        scale_down(world.step())
    assert world.writes == []


def test_pods_that_came_back_are_scaled_down_once_more(world: World) -> None:
    assert await_gone(world.step()).done
    assert world.writes == ["scale orders/api-green to 0"]
    assert await_gone(world.step()).done
    assert world.writes == ["scale orders/api-green to 0"]


def test_pods_that_came_back_and_serve_stay(world: World) -> None:
    world.point(api="green")
    with pytest.raises(Conflict, match="what serves traffic is not touched"):
        await_gone(world.step())
    assert world.writes == []
