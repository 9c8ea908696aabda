"""Several Services of a workload, which move together, and those that nobody named."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml

from rotation.config import parse
from rotation.decisions.plan import Refuse, Rotate, active_slot
from rotation.decisions.reaching import Stranger, named, strangers
from rotation.front import expiry
from rotation.model.activities import Reference
from rotation.model.catalogue import Origin, Outcome
from rotation.model.errors import ConfigurationError, Conflict, Denied, EdgeError, Unavailable
from rotation.model.reasons import Code
from rotation.model.record import Request
from rotation.model.world import Endpoint, Pod, Route, Routing, ServiceSeen, SliceSeen, Slot
from rotation.steps.planning import plan
from rotation.steps.pods import await_gone, scale_down
from rotation.steps.proving import collect
from rotation.steps.running import Step
from rotation.steps.traffic import confirm, swap, swap_back
from tests.memory import MemoryEdges
from tests.memory.cluster import ServiceState
from tests.unit.test_config import NAMED, VALID, WORKLOAD, changed
from tests.unit.test_plan import decision, workload, world
from tests.unit.test_selectors import labelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.memory.cluster import ClusterModel

NAMES = ("api", "api-grpc", "api-old")
FILE = changed(
    (f"{WORKLOAD}.services", list(NAMES[1:])), (f"{WORKLOAD}.otherServices", ["api-metrics"])
)
CONFIGURATION = parse(yaml.safe_dump(FILE))
CREDENTIAL = CONFIGURATION.credential("orders-db")


class World:
    """A workload of three Services, served by blue and ready to go to green."""

    def __init__(self) -> None:
        self.edges = MemoryEdges(CONFIGURATION)
        self.edges.world.write(CREDENTIAL, "green", "a password of the slot")
        role = self.edges.world.database.roles[CREDENTIAL.slots["green"].role]
        current = self.edges.world.current(CREDENTIAL, "green")
        assert current is not None
        role.login, role.password = True, current.password
        self.cluster.scale(self.cluster.deployments["orders", "api-green"], 2)
        self.edges.calls.pause(0.0)

    @property
    def cluster(self) -> ClusterModel:
        return self.edges.world.clusters["aks"]

    def point(self, name: str, slot: str | None) -> None:
        self.cluster.select(self.cluster.services["orders", name], slot)

    def add(self, name: str, **selector: str) -> None:
        """A Service of somebody else."""
        self.cluster.services["orders", name] = ServiceState("orders", name, selector)

    def slots(self) -> list[str | None]:
        return [self.cluster.services["orders", name].slot for name in NAMES]

    def step(self, slot: Slot = "green", *, level: bool = False) -> Step:
        reference = Reference(
            rotation="r-1", credential="orders-db", workload="api", slot=slot, level=level
        )
        return Step(self.edges, reference)

    @property
    def writes(self) -> list[str]:
        return [what.removeprefix("cluster ") for what in self.edges.calls.writes]


@pytest.fixture
def three() -> World:
    return World()


@pytest.mark.guarantee(2)
def test_all_services_are_pointed_and_then_the_preview(three: World) -> None:
    swap(three.step())
    assert three.writes == [
        *(f"move orders/{name} slot: blue -> green" for name in NAMES),
        "move orders/api-preview slot: green -> blue",
    ]
    swap(three.step())
    assert three.slots() == ["green"] * 3


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("name", NAMES)
def test_no_traffic_moves_where_it_would_find_no_pod(three: World, name: str) -> None:
    """Somebody gave a Service another label to ask for, after the plan."""
    three.cluster.services["orders", name].selector["track"] = "blue"
    with pytest.raises(Conflict, match=f"with green, Service orders/{name} would select no pod"):
        swap(three.step())
    assert (three.slots(), three.writes) == (["blue"] * 3, [])


@pytest.mark.guarantee(4)
@pytest.mark.parametrize("cut", range(1, len(NAMES)))
def test_a_swap_that_was_cut_off_between_two_services_goes_on(three: World, cut: int) -> None:
    """What serves by then is not scaled, whatever the load is by now."""
    for name in NAMES[:cut]:
        three.point(name, "green")
    three.cluster.scale(three.cluster.deployments["orders", "api-blue"], 5)
    three.edges.calls.pause(0.0)
    swap(three.step(level=True))
    assert three.slots() == ["green"] * 3
    assert not [what for what in three.writes if what.startswith(("scale", "start"))]


def test_where_one_cannot_be_moved_going_back_brings_all_back(three: World) -> None:
    three.edges.calls.failing["cluster move orders/api-old"] = Denied(Code.CLUSTER_DENIED, "no")
    with pytest.raises(Denied):
        swap(three.step())
    assert three.slots() == ["green", "green", "blue"]
    three.edges.calls.failing.clear()
    swap_back(three.step("blue"))
    assert three.slots() == ["blue"] * 3
    assert [three.cluster.services["orders", name].fence for name in NAMES] == ["r-1"] * 3


@pytest.mark.parametrize("stuck", NAMES)
@pytest.mark.parametrize(
    "error",
    [Denied(Code.CLUSTER_DENIED, "no"), Unavailable(Code.CLUSTER_UNAVAILABLE, "no answer")],
    ids=lambda error: type(error).__name__,
)
def test_going_back_one_that_cannot_be_moved_keeps_no_other_from_it(
    three: World, stuck: str, error: EdgeError
) -> None:
    swap(three.step())
    three.edges.calls.failing[f"cluster move orders/{stuck} "] = error
    with pytest.raises(type(error)):
        swap_back(three.step("blue"))
    assert three.slots() == ["green" if name == stuck else "blue" for name in NAMES]


def test_what_may_pass_is_what_going_back_says(three: World) -> None:
    swap(three.step())
    three.point("api", "purple")
    three.edges.calls.failing["cluster move orders/api-old"] = Unavailable(
        Code.CLUSTER_UNAVAILABLE, "no answer"
    )
    with pytest.raises(Unavailable):
        swap_back(three.step("blue"))
    three.edges.calls.failing.clear()
    with pytest.raises(Conflict):
        swap_back(three.step("blue"))
    assert three.slots() == ["purple", "blue", "blue"]


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("name", NAMES)
def test_each_of_them_keeps_its_slot_from_being_scaled_down(three: World, name: str) -> None:
    three.point(name, "green")
    with pytest.raises(Conflict, match=f"Service orders/{name} routes to green") as caught:
        scale_down(three.step())
    assert caught.value.code is Code.SERVES_TRAFFIC
    assert three.writes == []


@pytest.mark.parametrize("name", NAMES)
def test_each_of_them_is_confirmed(three: World, name: str) -> None:
    confirm(three.step("blue"))
    three.point(name, "green")
    with pytest.raises(Conflict, match=f"Service orders/{name} selects green, not blue"):
        confirm(three.step("blue"))
    del three.cluster.services["orders", name]
    with pytest.raises(Conflict, match=f"Service orders/{name} is gone, not blue"):
        confirm(three.step("blue"))


@pytest.mark.parametrize("name", NAMES)
def test_who_serves_is_what_all_of_them_say(three: World, name: str) -> None:
    assert expiry.look(three.edges, "orders-db").slot == "blue"
    three.point(name, "green")
    assert expiry.look(three.edges, "orders-db").slot is None


def further(**routes: Route | None) -> dict[str, Route | None]:
    return {f"orders/{name}": route for name, route in routes.items()}


def test_there_is_no_active_slot_unless_all_agree() -> None:
    known = workload("api", production=Route("blue", "http"))
    assert active_slot(world(replace(known, further=further(grpc=Route("blue", "h2"))))) == "blue"
    for route, text in (
        (Route("green", "h2"), "workload api: Service orders/grpc selects green"),
        (Route(None, "h2"), "workload api: Service orders/grpc selects no slot"),
        (None, "workload api: its Service orders/grpc does not exist"),
    ):
        found = decision(world(replace(known, further=further(grpc=route))))
        assert isinstance(found, Refuse)
        told = [problem.text for problem in found.problems]
        assert told[1:] == ["workload api: Service orders/api selects blue", text]


def test_each_of_them_selects_a_slots_pods_and_no_others() -> None:
    own, wide = Route("blue", "h2", besides={"app": "api"}), Route("blue", "h2", besides={})
    assert decision(world(replace(labelled(), further=further(grpc=own)))) == Rotate("blue")
    found = decision(world(replace(labelled(), further=further(grpc=wide)), labelled("web")))
    assert isinstance(found, Refuse)
    told = (
        "workload api: with {0}, its Service orders/grpc would select the pods of web-{0} as well"
    )
    assert {(problem.code, problem.text) for problem in found.problems} == {
        (Code.SERVICE_PODS, told.format(slot)) for slot in ("blue", "green")
    }


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"services": ["api"]}, f"{NAMED}.services.0: is the same as {NAMED}.service"),
    (
        {"services": ["api-preview"]},
        f"{NAMED}.services.0: is the same as {NAMED}.preview",
    ),
    ({"services": ["a", "a"]}, f"{NAMED}.services.1: is the same as {NAMED}.services.0"),
    ({"services": ["A"]}, f"{NAMED}.services.0: 'A' must be"),
    ({"services": [f"s{n}" for n in range(21)]}, f"{NAMED}.services: List should have at most"),
    (
        {"services": ["a"], "otherServices": ["b", "a"]},
        f"{NAMED}.otherServices.1: is the same as {NAMED}.services.0, which a rotation",
    ),
    (
        {"otherServices": ["api-preview"]},
        f"{NAMED}.otherServices.0: is the same as {NAMED}.preview, which a rotation points",
    ),
]


@pytest.mark.parametrize(("keys", "problem"), REFUSED)
def test_a_file_is_refused(keys: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(yaml.safe_dump(changed(*((f"{WORKLOAD}.{key}", v) for key, v in keys.items()))))
    assert any(one.startswith(problem) for one in caught.value.problems), caught.value.problems


def test_no_service_stands_in_two_workloads_of_a_namespace() -> None:
    second = {
        **VALID["credentials"]["orders-db"]["workloads"][0],
        "name": "web",
        "service": "web",
        "preview": "web-preview",
        "services": ["api-grpc"],
        "otherServices": ["api-metrics"],
        "deployments": {"blue": "web-blue", "green": "web-green"},
    }
    where = WORKLOAD.replace("0", "1")
    services = (f"{WORKLOAD}.services", ["api-grpc"])
    with pytest.raises(ConfigurationError) as caught:
        parse(yaml.safe_dump(changed(services, (where, second))))
    assert [one.partition(" (")[0] for one in caught.value.problems] == [
        f"credentials.orders-db.workloads.web.services.0: is the same as {NAMED}.services.0"
    ]
    elsewhere = {**second, "namespace": "shop"}
    parse(yaml.safe_dump(changed(services, (where, elsewhere))))
    both = (f"{WORKLOAD}.otherServices", ["api-metrics"])  # one for the metrics of all
    parse(yaml.safe_dump(changed(both, (where, {**second, "services": []}))))


# Who else finds a slot's pods

LABELS = {"app": "api", "slot": "blue", "tier": "web"}
PODS = [
    Pod("api-blue-1", ("10.0.0.1",), ("172.16.0.4",)),
    Pod("api-blue-2", ("172.16.0.4",), ("172.16.0.4",)),
]


def found(
    *, services: dict[str, dict[str, str]] | None = None, slices: tuple[SliceSeen, ...] = ()
) -> set[tuple[str, str]]:
    seen = tuple(ServiceSeen(name, selector) for name, selector in (services or {}).items())
    own = {"api", "api-preview"}
    return {
        (one.kind, one.name)
        for one in strangers(Routing(seen, slices), own, ["api-metrics"], LABELS, PODS)
    }


@pytest.mark.parametrize(
    ("selector", "finds"),
    [
        ({"app": "api", "slot": "blue"}, True),
        ({"app": "api"}, True),
        ({"tier": "web"}, True),
        ({"app": "api", "slot": "green"}, False),
        ({"app": "api", "more": "x"}, False),
        ({}, False),
    ],
)
def test_a_service_is_found_by_its_selector(selector: dict[str, str], finds: bool) -> None:
    expected = {("Service", "foreign")} if finds else set()
    assert found(services={"foreign": selector}) == expected
    for known in ("api", "api-preview", "api-metrics"):
        assert found(services={known: selector}) == set()


def slice_of(service: str | None, *endpoints: Endpoint, derived: bool = True) -> SliceSeen:
    return SliceSeen("one", service, derived, endpoints)


HIS = Endpoint(("10.0.0.1",), "api-blue-1")
BY_SERVICE, BY_SLICE = {("Service", "foreign")}, {("EndpointSlice", "one")}
SLICES: list[tuple[str, SliceSeen, set[tuple[str, str]]]] = [
    ("of a Service by labels that pods got later", slice_of("foreign", HIS), BY_SERVICE),
    ("of a Service without a selector", slice_of("foreign", HIS, derived=False), BY_SERVICE),
    ("of nothing", slice_of(None, HIS, derived=False), BY_SLICE),
    ("of a Service that is gone", slice_of("gone", HIS), BY_SLICE),
    ("of the workload's own, which lags", slice_of("api", HIS), set()),
    ("by hand, for the workload's own", slice_of("api", HIS, derived=False), BY_SLICE),
    ("of one that is left alone", slice_of("api-metrics", HIS, derived=False), set()),
    ("by address", slice_of(None, Endpoint(("10.0.0.1",))), BY_SLICE),
    ("by address, under another name", slice_of(None, Endpoint(("10.0.0.1",), "x")), BY_SLICE),
    ("of another pod", slice_of("foreign", Endpoint(("10.0.0.9",), "x")), set()),
    ("of another pod of the node", slice_of("foreign", Endpoint(("172.16.0.4",), "x")), set()),
    ("by a node's address", slice_of(None, Endpoint(("172.16.0.4",))), BY_SLICE),
    ("without endpoints", slice_of("foreign"), set()),
]


@pytest.mark.parametrize(("what", "seen", "expected"), SLICES, ids=[what for what, *_ in SLICES])
def test_an_endpoint_slice_is_found_by_its_pods(
    what: str, seen: SliceSeen, expected: set[tuple[str, str]]
) -> None:
    services = {"foreign": {}, "api": {"app": "none"}, "api-metrics": {}}
    assert found(services=services, slices=(seen,)) == expected, what


def test_an_endpoint_slice_may_be_left_alone_by_its_own_name() -> None:
    seen = SliceSeen("api-metrics", None, False, (HIS,))
    assert found(slices=(seen,)) == set()


def test_thousands_of_endpoints_take_no_time() -> None:
    pods = [Pod(f"p-{number}", (f"10.0.0.{number}",), ()) for number in range(500)]
    endpoints = tuple(Endpoint((f"10.1.0.{number}",), f"q-{number}") for number in range(1000))
    routing = Routing((), tuple(SliceSeen(f"s-{n}", "x", True, endpoints) for n in range(50)))
    began = time.monotonic()
    assert strangers(routing, (), (), {}, pods) == set()
    assert time.monotonic() - began < 5


def test_plan_lists_a_namespace_once(three: World) -> None:
    planned(three)
    assert three.edges.calls.reads.count("cluster routing orders") == 1


def test_a_text_has_five_names_and_how_many_more() -> None:
    many = {Stranger("Service", f"s{n}") for n in range(7)} | {Stranger("EndpointSlice", "e")}
    assert list(named(many)) == [
        (Code.OTHER_SERVICE, "Services s0, s1, s2, s3, s4 and 2 more"),
        (Code.OTHER_ENDPOINTS, "EndpointSlice e"),
    ]


# What a rotation does then

REQUEST = Request(
    rotation="r-1", credential="orders-db", origin=Origin.MANUAL, requested_by="ann", reason="due"
)


def planned(three: World) -> tuple[Outcome | None, list[tuple[str, str]]]:
    reference = Reference(rotation="r-1", credential="orders-db", request=REQUEST)
    answer = plan(Step(three.edges, reference))
    return answer.outcome, [(why.code, why.text) for why in answer.reasons]


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("slot", ["blue", "green"])
def test_plan_refuses_it_by_name(three: World, slot: str) -> None:
    assert planned(three) == (None, [])
    three.add("api-metrics", app="api")  # which the file leaves alone
    assert planned(three) == (None, [])
    three.add("legacy", app="api", slot=slot)
    text = "workload api: pods of a slot are found by Service legacy, which the file does not name"
    assert planned(three) == (Outcome.REFUSED, [("other-service", text)])
    assert three.writes == []


def by_hand(three: World) -> None:
    pod = three.cluster.deployments["orders", "api-green"].pods[0]
    seen = SliceSeen("by-hand", None, False, (Endpoint((pod.address,)),))
    three.cluster.slices["orders"] = [seen]


def by_service(three: World) -> None:
    three.add("legacy", app="api", slot="green")


@pytest.mark.guarantee(2)
@pytest.mark.parametrize(
    ("somebody", "named", "code"),
    [
        (by_service, "Service legacy", Code.OTHER_SERVICE),
        (by_hand, "EndpointSlice by-hand", Code.OTHER_ENDPOINTS),
    ],
)
@pytest.mark.parametrize("change", [scale_down, await_gone])
def test_nothing_that_it_leads_to_is_scaled_down(
    three: World,
    somebody: Callable[[World], None],
    named: str,
    code: Code,
    change: Callable[[Step], object],
) -> None:
    somebody(three)
    with pytest.raises(Conflict, match=f"orders/api-green are found by {named}, which") as caught:
        change(three.step())
    assert caught.value.code is code
    with pytest.raises(Conflict, match=named):  # and so nothing else is retired either
        confirm(three.step("blue"))
    assert three.writes == []
    evidence = collect(three.edges, CREDENTIAL, "blue", "r-1")
    assert not evidence.complete
    assert any(named in problem for problem in evidence.problems)


def test_what_leads_to_the_other_slot_keeps_nothing_from_being_scaled_down(three: World) -> None:
    three.add("legacy", app="api", slot="blue")
    scale_down(three.step())
    assert three.writes == ["scale orders/api-green to 0"]


def test_a_right_that_is_missing_is_found_by_plan(three: World) -> None:
    three.edges.calls.failing["cluster routing"] = Denied(Code.CLUSTER_DENIED, "cannot list")
    with pytest.raises(Denied):
        planned(three)
    assert three.writes == []
