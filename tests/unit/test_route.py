"""Traffic that HTTPRoutes share between two slots' own Services: moved at once, or in steps."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import yaml

from rotation.config import kept, parse
from rotation.decisions import routes
from rotation.decisions.plan import Refuse, Rotate
from rotation.edges.cluster import patches
from rotation.model.activities import Reference
from rotation.model.catalogue import Origin
from rotation.model.errors import Conflict, EdgeError, Unavailable
from rotation.model.reasons import Code
from rotation.model.record import Request
from rotation.model.targets import RouteTarget
from rotation.model.world import Route, RouteSeen, Slot
from rotation.steps import planning, strangers, traffic
from rotation.steps.running import Step
from rotation.steps.traffic import confirm, swap, swap_back
from tests.memory import MemoryEdges
from tests.unit.test_config import VALID, WORKLOAD, changed, problems
from tests.unit.test_plan import decision, workload, world
from tests.unit.test_selectors import labelled
from tests.unit.virtual import Story, denied, pytestmark, unavailable

if TYPE_CHECKING:
    from tests.memory.cluster import HttpRouteState

__all__ = ["pytestmark"]

ROUTE = {
    "name": "web",
    "names": ["web-internal"],
    "others": ["web-tests"],
    "backends": {"blue": "web-blue", "green": "web-green"},
    "weights": [10, 50],
}
WEB: dict[str, Any] = {**VALID["credentials"]["orders-db"]["workloads"][0], "route": ROUTE}
del WEB["service"], WEB["preview"]
FILE = changed((WORKLOAD, WEB))
CONFIGURATION = parse(yaml.safe_dump(FILE))
CREDENTIAL = CONFIGURATION.credential("orders-db")
TARGET = RouteTarget("orders", "web", "web-blue", "web-green", (10, 50))


# -- the file


def test_a_workload_by_route_has_services_of_its_slots_own() -> None:
    (found,) = CREDENTIAL.workloads
    internal = RouteTarget("orders", "web-internal", "web-blue", "web-green", (10, 50))
    assert found.productions == (TARGET, internal)
    assert (found.standby, found.stops, found.called) == (None, False, True)
    own = {name.name for name in found.own_services}
    assert own == {"web-blue", "web-green"}
    for serves in (True, False):
        assert found.asked("green", serves=serves).name == "web-green"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("service", "web"),
        ("preview", "web-preview"),
        ("services", ["web-grpc"]),
        ("overlap", True),
    ],
)
def test_a_slot_is_read_from_one_place(key: str, value: object) -> None:
    file = changed((WORKLOAD, {**WEB, key: value}))
    assert problems(file) == [f"{WORKLOAD}: `{key}` does not go with `route`: give one of them"]


def test_a_workload_needs_one_of_them() -> None:
    bare = {name: value for name, value in WEB.items() if name != "route"}
    bare["tests"] = []
    assert problems(changed((WORKLOAD, bare))) == [f"{WORKLOAD}.service: is missing"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"backends": {"blue": "web"}}, "backends: must name one for each of blue and green"),
        ({"weights": [50, 10]}, "weights: must rise from one to the next"),
        ({"weights": [10, 10]}, "weights: must rise from one to the next"),
        ({"weights": [0]}, "weights.0: Input should be greater than or equal to 1"),
        ({"weights": [100]}, "weights.0: Input should be less than or equal to 99"),
        ({"settle": "11m"}, "settle: must be 10m at most"),
    ],
    ids=str,
)
def test_a_route_that_says_too_little_or_too_much(change: dict[str, Any], problem: str) -> None:
    (found,) = problems(changed((WORKLOAD, {**WEB, "route": {**ROUTE, **change}})))
    assert found.startswith(f"{WORKLOAD}.route.{problem}")


def test_both_slots_need_a_service_of_their_own() -> None:
    same = {**ROUTE, "backends": {"blue": "web", "green": "web"}}
    at = f"{WORKLOAD}.route.backends"
    assert problems(changed((WORKLOAD, {**WEB, "route": same}))) == [
        f"{at}: must name another Service for each slot",
        f"{at}.green: is the same as {at}.blue",
    ]


def test_two_workloads_must_not_share_a_route_or_a_slots_service() -> None:
    second = {**WEB, "name": "second", "deployments": {"blue": "s-blue", "green": "s-green"}}
    other = WORKLOAD.replace("0", "1")
    found = problems(changed((WORKLOAD, WEB), (other, second)))
    assert found == [
        f"{other}.route.name: is the same as {WORKLOAD}.route.name",
        f"{other}.route.names.0: is the same as {WORKLOAD}.route.names.0",
        f"{other}.route.backends.blue: is the same as {WORKLOAD}.route.backends.blue",
        f"{other}.route.backends.green: is the same as {WORKLOAD}.route.backends.green",
    ]


def test_a_route_that_moves_is_not_left_alone_too() -> None:
    both = {**ROUTE, "others": [ROUTE["name"]]}
    at = f"{WORKLOAD}.route"
    assert problems(changed((WORKLOAD, {**WEB, "route": both}))) == [
        f"{at}.others.0: is the same as {at}.name, which a rotation points at a slot"
    ]
    unreadable = changed((WORKLOAD, {**WEB, "route": both, "namespace": {"is": "none"}}))
    assert any(problem.startswith(f"{WORKLOAD}.namespace: ") for problem in problems(unreadable))


def test_what_is_kept_with_a_rotation_has_the_route() -> None:
    assert kept.read(kept.keep(CONFIGURATION, "orders-db")) == CONFIGURATION


# -- what an HTTPRoute says


def backend(name: str, weight: int | None = None, **more: Any) -> dict[str, Any]:
    given = {} if weight is None else {"weight": weight}
    return {"group": "", "kind": "Service", "name": name, "port": 80, **given, **more}


def document(*rules: list[dict[str, Any]], generation: int = 3, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "generation": generation, "resourceVersion": "7"},
        "spec": {"rules": [{"backendRefs": backends} for backends in rules]},
        "status": status or {"parents": [parent()]},
    }


def parent(generation: int = 3, accepted: str = "True", resolved: str = "True") -> dict[str, Any]:
    return {
        "parentRef": {"name": "edge"},
        "conditions": [
            {"type": "Accepted", "status": accepted, "observedGeneration": generation},
            {"type": "ResolvedRefs", "status": resolved, "observedGeneration": generation},
        ],
    }


def pair(blue: int | None, green: int | None) -> list[dict[str, Any]]:
    return [backend("web-blue", blue), backend("web-green", green)]


@pytest.mark.parametrize(
    ("rules", "slot", "weights"),
    [
        ([pair(100, 0)], "blue", (100, 0)),
        ([pair(0, 1)], "green", (0, 100)),
        ([pair(None, 0)], "blue", (100, 0)),
        ([pair(None, None)], None, (50, 50)),
        ([pair(90, 10)], None, (90, 10)),
        ([pair(1000, 1)], None, (99, 1)),
        ([pair(0, 0)], None, (0, 0)),
        ([pair(100, 0), pair(5, 0)], "blue", (100, 0)),
        ([pair(100, 0), pair(0, 5)], None, (100, 100)),
        ([pair(100, 0), pair(0, 0)], None, (100, 0)),
        ([pair(100, 0), [backend("other", 7)]], "blue", (100, 0)),
        ([[*pair(30, 0), backend("other", 7)]], "blue", (100, 0)),
        ([pair(100, 0), [backend("web-green")]], None, (100, 100)),
        ([[backend("web-green")]], "green", (0, 100)),
        ([[backend("web-blue", 5, kind="Bucket", group="example.org")]], None, (0, 0)),
        ([[backend("web-blue", 5, namespace="elsewhere")]], None, (0, 0)),
        ([[backend("web-blue", 5, namespace="orders"), backend("web-green", 0)]], "blue", (100, 0)),
        ([], None, (0, 0)),
    ],
    ids=str,
)
def test_the_slot_is_what_has_all_the_weight(
    rules: list[Any], slot: str | None, weights: tuple[int, int]
) -> None:
    seen = routes.seen(document(*rules), TARGET)
    assert (seen.slot, seen.share("blue"), seen.share("green")) == (slot, *weights)


def test_one_rule_that_gives_neither_slot_any_weight_is_told() -> None:
    for rules, idle in (
        ([pair(100, 0), pair(0, 0)], True),
        ([pair(100, 0), [backend("other")]], False),
        ([pair(0, 1)], False),
    ):
        assert routes.seen(document(*rules), TARGET).idle is idle


@pytest.mark.parametrize(
    ("rules", "lacks"),
    [
        ([pair(100, 0)], ()),
        ([pair(1, 0)], ()),
        ([[backend("web-green")]], ("rules[0] names Service web-blue not",)),
        (
            [pair(1, 0), [*pair(1, 0), backend("web-green", 0, port=81)]],
            ("rules[1] names Service web-green 2 times",),
        ),
        ([[backend("other")]], ("no rule names Service web-blue or web-green",)),
        ([[*pair(100, 0), backend("other")]], ()),
        (
            [[*pair(1, 0), backend("other")]],
            (
                (
                    "rules[0] has other backends too, and of 1, the sum of both slots' weights, "
                    "10 % is no whole number"
                ),
            ),
        ),
        ([[*pair(1, 0), backend("other", 0)]], ()),
    ],
    ids=str,
)
def test_each_rule_must_name_both_once(rules: list[Any], lacks: tuple[str, ...]) -> None:
    assert routes.seen(document(*rules), TARGET).lacks == lacks


@pytest.mark.parametrize(
    ("status", "pending", "refused"),
    [
        ({"parents": [parent()]}, "", False),
        ({"parents": [parent(), parent(2)]}, "has not looked at it as it is now", False),
        ({"parents": [parent(2), parent(3, "False")]}, "Accepted is not True", True),
        ({"parents": [parent(3, resolved="False")]}, "ResolvedRefs is not True", True),
        ({"parents": [parent(3, accepted="Unknown")]}, "Accepted is not True", True),
        ({"parents": [{"parentRef": {"name": "edge"}}]}, "has not looked at it", False),
        ({"parents": []}, "no Gateway has accepted it", True),
    ],
)
def test_gateways_say_whether_they_have_taken_it(
    status: dict[str, Any], pending: str, refused: bool
) -> None:
    seen = routes.seen(document(pair(1, 0), **status), TARGET)
    assert (pending in seen.pending, bool(seen.pending), seen.refused) == (
        True,
        bool(pending),
        refused,
    )


@pytest.mark.parametrize(
    ("before", "share", "after"),
    [
        ((100, 0), 100, (0, 100)),
        ((1, 0), 100, (0, 1)),
        ((None, 0), 100, (0, 1)),
        ((100, 0), 10, (90, 10)),
        ((1, 0), 10, (90, 10)),
        ((1000, 0), 10, (900, 100)),
        ((50, 50), 10, (50, 50)),
        ((0, 7), 50, (0, 7)),
        ((0, 0), 100, (0, 100)),
    ],
)
def test_a_slot_gets_its_share_and_keeps_more(
    before: tuple[int | None, int], share: int, after: tuple[int, int]
) -> None:
    found = document(pair(*before), [backend("other", 3)])
    for change in routes.changes(found, TARGET, "green", share):
        assert change.rule == 0
        found["spec"]["rules"][0]["backendRefs"][change.backend]["weight"] = change.weight
    assert tuple(one.get("weight", 1) for one in found["spec"]["rules"][0]["backendRefs"]) == after
    assert routes.changes(found, TARGET, "green", share) == []


def test_what_shares_a_rule_with_others_keeps_its_sum() -> None:
    found = document([backend("other", 3), *pair(20, 0)])
    assert routes.changes(found, TARGET, "green", 10) == [(0, 2, 2), (0, 1, 18)]


def test_what_cannot_be_moved_is_not() -> None:
    with pytest.raises(ValueError, match="names Service web-blue not"):
        routes.changes(document([backend("web-green")]), TARGET, "green", 100)


def test_the_patch_is_one_of_a_revision_and_names_what_it_weighs() -> None:
    found = document([backend("other", 0), *pair(None, 0)])
    changes = routes.changes(found, TARGET, "green", 100)
    note = patches.Note("r-1", "TrafficMoved", "moved traffic to green")
    assert patches.shift(found, changes, note) == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "test", "path": "/spec/rules/0/backendRefs/2/name", "value": "web-green"},
        {"op": "add", "path": "/spec/rules/0/backendRefs/2/weight", "value": 1},
        {"op": "test", "path": "/spec/rules/0/backendRefs/1/name", "value": "web-blue"},
        {"op": "add", "path": "/spec/rules/0/backendRefs/1/weight", "value": 0},
        {"op": "add", "path": "/metadata/annotations", "value": {}},
        {
            "op": "add",
            "path": "/metadata/annotations/credential-rotation~1rotation",
            "value": "r-1",
        },
        {
            "op": "add",
            "path": "/metadata/annotations/credential-rotation~1did",
            "value": "moved traffic to green",
        },
    ]


def test_copies_of_requests_lead_to_a_service_too() -> None:
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": backend("web-green")}}
    found = document(pair(1, 0))
    alone = copy.deepcopy(found)
    alone["spec"]["rules"] = [{"backendRefs": [backend("other")], "filters": [mirror]}]
    assert [one.services for one in routes.leading([found, alone], "orders")] == [
        {"web-blue", "web-green"},
        {"other", "web-green"},
    ]


# -- the plan


def routed(**more: Any) -> Any:
    known: dict[str, Any] = {
        "preview": None,
        "kind": "HTTPRoute",
        "production": Route("blue", "", weights={"blue": 100, "green": 0}),
        "backends": {"blue": Route("blue", "http"), "green": Route("green", "http")},
    }
    return decision(world(workload("web", **{**known, **more})))


def reasons(found: Any) -> list[tuple[str, str]]:
    assert isinstance(found, Refuse)
    return [(one.code, one.text) for one in found.problems]


def test_a_whole_world_by_route_is_rotated() -> None:
    assert routed() == Rotate("blue")


def test_shared_requests_are_no_ground_to_start_from() -> None:
    split = Route(None, "", weights={"blue": 90, "green": 10})
    found = reasons(routed(production=split))
    text = "HTTPRoute orders/web sends 90 % to blue and 10 % to green of the requests of a rule"
    assert found[1:] == [(Code.SLOTS_DISAGREE, f"workload web: {text}")]


@pytest.mark.parametrize(
    ("more", "code", "text"),
    [
        ({"production": None}, Code.ROUTE_MISSING, "its HTTPRoute orders/web does not exist"),
        (
            {"further": {"orders/internal": None}},
            Code.ROUTE_MISSING,
            "its HTTPRoute orders/internal does not exist",
        ),
        (
            {"production": Route("blue", "", weights={"blue": 100, "green": 0}, lacks=("a rule",))},
            Code.ROUTE_BACKENDS,
            "HTTPRoute orders/web: a rule",
        ),
        (
            {
                "production": Route(
                    "blue", "", weights={"blue": 100, "green": 0}, pending="no", refused=True
                )
            },
            Code.ROUTE_REFUSED,
            "HTTPRoute orders/web: no",
        ),
        (
            {"backends": {"blue": Route("blue", "http"), "green": None}},
            Code.SERVICE_MISSING,
            "the green slot's own Service does not exist",
        ),
    ],
)
def test_what_would_move_nothing_is_refused(more: dict[str, Any], code: Code, text: str) -> None:
    assert (code, f"workload web: {text}") in reasons(routed(**more))


def test_a_gateway_that_lags_behind_is_waited_for_later() -> None:
    late = Route("blue", "", weights={"blue": 100, "green": 0}, pending="late")
    assert routed(production=late) == Rotate("blue")


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ({"app": "web"}, "selects the pods of web-blue as well"),
        ({"app": "web", "slot": "green", "track": "x"}, "selects no pod of Deployment web-green"),
    ],
)
def test_a_slots_own_service_must_find_its_pods_alone(selector: dict[str, str], text: str) -> None:
    slot = selector.pop("slot", None)
    deployments = labelled("web").deployments
    own = Route("blue", "http", besides={"app": "web"})
    backends = {"blue": own, "green": Route(slot, "http", besides=selector)}
    found = reasons(routed(deployments=deployments, backends=backends))
    assert (Code.SERVICE_PODS, f"workload web: the green slot's own Service {text}") in found


# -- the steps


class World:
    """A workload of two HTTPRoutes, served by blue and ready to go to green."""

    def __init__(self) -> None:
        self.edges = MemoryEdges(CONFIGURATION)
        self.edges.world.write(CREDENTIAL, "green", "a password of the slot")
        role = self.edges.world.database.roles[CREDENTIAL.slots["green"].role]
        role.login, role.password = True, "a password of the slot"
        self.cluster = self.edges.world.clusters["aks"]
        self.cluster.scale(self.cluster.deployments["orders", "api-green"], 2)
        self.edges.calls.pause(0.0)

    def route(self, name: str = "web") -> HttpRouteState:
        return self.cluster.http_routes["orders", name]

    def step(self, slot: Slot = "green", share: int = 100, *, level: bool = True) -> Step:
        reference = Reference(
            rotation="r-1",
            credential="orders-db",
            workload="api",
            slot=slot,
            level=level,
            share=share,
        )
        return Step(self.edges, reference)

    @property
    def writes(self) -> list[str]:
        return [what.removeprefix("cluster ") for what in self.edges.calls.writes]


@pytest.fixture
def two() -> World:
    return World()


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("share", [10, 100])
def test_all_routes_give_the_slot_its_share(two: World, share: int) -> None:
    for _ in range(2):
        swap(two.step(share=share))
    for name in ("web", "web-internal"):
        assert two.route(name).shares.get("green") == share
    assert two.writes[:2] == [f"shift orders/{name}: {share} % -> green" for name in ROUTE_NAMES]


ROUTE_NAMES = ("web", "web-internal")


@pytest.mark.guarantee(4)
def test_a_late_repeat_of_an_earlier_step_takes_nothing_back(two: World) -> None:
    for share in (10, 50, 10):
        swap(two.step(share=share))
    assert two.route().shares == {"green": 50, "blue": 50}


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("share", [1, 10, 99])
def test_a_slot_with_any_share_serves(two: World, share: int) -> None:
    swap(two.step(share=share))
    for slot in ("blue", "green"):
        with pytest.raises(Conflict) as caught:
            two.step(slot).standby.terminate()
        assert caught.value.code == Code.SERVES_TRAFFIC
        with pytest.raises(Conflict, match=f"HTTPRoute orders/web routes to {slot}"):
            two.step(slot).arriving.scale_up(5, None)


@pytest.mark.guarantee(2)
def test_from_any_share_one_step_leads_back(two: World) -> None:
    swap(two.step(share=50))
    swap_back(two.step("blue"))
    for name in ROUTE_NAMES:
        found = two.route(name)
        assert (found.slot, found.fence) == ("blue", "r-1")


@pytest.mark.guarantee(4)
def test_a_step_forward_that_was_held_up_comes_to_nothing(two: World) -> None:
    swap(two.step(share=10))
    before = two.step().traffic.route(TARGET)
    assert before is not None
    swap_back(two.step("blue"))
    with pytest.raises(Unavailable) as caught:
        two.step().traffic.shift(TARGET, "green", 50, revision=before.revision)
    assert caught.value.code == Code.TRAFFIC_CHANGED
    assert two.route().slot == "blue"


@pytest.mark.guarantee(4)
@pytest.mark.parametrize("share", [10, 100])
def test_a_step_forward_that_begins_once_it_was_gone_back_moves_nothing(
    two: World, share: int
) -> None:
    swap(two.step(share=10))
    swap_back(two.step("blue"))
    with pytest.raises(Conflict, match="HTTPRoute orders/web is on its way back"):
        swap(two.step(share=share))
    assert two.route().slot == "blue"


@pytest.mark.guarantee(4)
@pytest.mark.parametrize("share", [10, 100])
def test_what_was_gone_back_from_between_look_and_move_stays_there(two: World, share: int) -> None:
    """Weights move from what was seen before everything else was looked at."""

    def held_up(step: Step) -> None:
        del step
        two.cluster.fence(two.route(), "r-1")

    with mock.patch.object(traffic, "verify", held_up), pytest.raises(Unavailable) as caught:
        swap(two.step(share=share))
    assert caught.value.code == Code.TRAFFIC_CHANGED
    assert two.route().slot == "blue"


@pytest.mark.parametrize("share", [10, 100])
def test_what_others_took_both_slots_out_of_is_not_put_back_by_a_step_forward(
    two: World, share: int
) -> None:
    two.cluster.share(two.route("web-internal"), {})
    with pytest.raises(Conflict, match="web-internal has a rule that gives neither slot") as caught:
        swap(two.step(share=share))
    assert caught.value.code == Code.TRAFFIC_ELSEWHERE
    assert two.route().slot == "blue"
    assert two.route("web-internal").slot is None
    swap_back(two.step("blue"))
    assert [two.route(name).slot for name in ROUTE_NAMES] == ["blue", "blue"]


def test_a_release_to_what_is_left_is_not_undone(two: World) -> None:
    swap(two.step(share=10))
    blue = two.cluster.deployments["orders", "api-blue"]
    two.cluster.roll(blue, {"app": "app:2"}, blue.version)
    two.edges.calls.pause(0.0)
    with pytest.raises(Conflict) as caught:
        swap(two.step(share=50))
    assert caught.value.code == Code.RELEASED_MEANWHILE
    swap_back(two.step("blue"))
    assert (two.route().slot, blue.images["app"]) == ("blue", "app:2")


def test_what_no_gateway_has_taken_is_waited_for(two: World) -> None:
    two.route().refused = "Gateway edge says of it: Accepted is not True"
    with pytest.raises(Unavailable) as caught:
        swap(two.step())
    assert caught.value.code == Code.ROUTE_PENDING
    two.route().refused = ""
    swap(two.step())


def test_what_a_slots_own_service_would_not_find_gets_no_request(two: World) -> None:
    two.cluster.services["orders", "web-green"].selector["track"] = "x"
    with pytest.raises(Conflict) as caught:
        swap(two.step(share=10))
    assert caught.value.code == Code.SERVICE_PODS
    assert two.route().slot == "blue"


def test_a_shared_route_is_no_proof_that_the_slot_serves(two: World) -> None:
    swap(two.step(share=50))
    with pytest.raises(Conflict, match="HTTPRoute orders/web sends 50 % to blue and 50 %"):
        confirm(two.step())
    swap(two.step())
    confirm(two.step())


@pytest.mark.guarantee(2)
def test_a_route_that_nobody_named_keeps_the_slot(two: World) -> None:
    own, tests = frozenset({"web-blue"}), RouteSeen("web-tests", frozenset({"web-green"}))
    two.cluster.routes_of_others["orders"] = [tests, RouteSeen("sales", own)]
    (why,) = strangers.problems(two.edges, CREDENTIAL)
    assert (why.code, "HTTPRoute sales, which the file" in why.text) == (Code.OTHER_ROUTE, True)
    swap(two.step())
    with pytest.raises(Conflict) as caught:
        two.step("blue").standby.scale_down(CREDENTIAL.workloads[0], None)
    assert caught.value.code == Code.OTHER_ROUTE


def test_the_plan_carries_the_weights(two: World) -> None:
    request = Request(
        rotation="r-1", credential="orders-db", origin=Origin.MANUAL, requested_by="ann", reason=""
    )
    reference = Reference(rotation="r-1", credential="orders-db", request=request)
    planned = planning.plan(Step(two.edges, reference))
    assert planned.policy is not None
    times = planned.policy.workloads["api"]
    assert (times.weights, times.settle) == ([10, 50], 10.0)


def test_the_plan_asks_what_nobody_may_see(two: World) -> None:
    """Without the right to list HTTPRoutes nothing begins."""
    two.edges.calls.failing["cluster http_routes"] = Unavailable(Code.CLUSTER_UNAVAILABLE, "no")
    with pytest.raises(EdgeError):
        list(strangers.problems(two.edges, CREDENTIAL))


# -- the story


class Weighted(Story):
    """The first workload's requests are shared: by steps of 10 and 50 percent."""

    def plan(self, *, calm: bool = True) -> dict[str, Any]:
        planned: dict[str, Any] = super().plan(calm=calm)
        planned["policy"]["workloads"][self.workloads[0]] |= {"weights": [10, 50], "settle": 10.0}
        return planned

    def steps(self, *names: str) -> list[tuple[str, int, str | None]]:
        """Of the first workload: the activities of these names, with share and way."""
        return [
            (name, reference.get("share", 100), reference.get("through"))
            for _, name, reference in self.calls
            if name in names and reference.get("workload") == self.workloads[0]
        ]


def test_tests_pass_before_the_slot_gets_more() -> None:
    story = Weighted("web", "api")
    assert story.approve().outcome == "completed"
    assert story.steps("swap", "test") == [
        ("test", 100, "preview"),
        ("swap", 10, None),
        ("test", 10, "shared"),
        ("swap", 50, None),
        ("test", 50, "shared"),
        ("swap", 100, None),
        ("test", 100, "service"),
    ]
    others = [r for _, name, r in story.calls if name == "swap" and r["workload"] == "api"]
    assert ["share" in reference for reference in others] == [False]


@pytest.mark.parametrize("fails_at", [10, 50])
def test_a_release_that_fails_its_tests_goes_back_at_once(fails_at: int) -> None:
    story = Weighted("web")

    def test(reference: dict[str, Any]) -> dict[str, Any]:
        failing = reference.get("share") == fails_at
        return denied(reference) if failing else {}

    story.script["test"] = test
    record = story.run()
    assert record.outcome == "rolled-back"
    assert story.steps("swap")[-1] == ("swap", fails_at, None)
    assert story.steps("swap_back") == [("swap_back", 100, None)]


@pytest.mark.guarantee(2)
def test_requests_under_way_end_before_the_pods_do() -> None:
    story = Weighted("web")
    story.to_approval().decide("reject")
    assert story.run().outcome == "rolled-back"
    at = {name: when for when, name, _ in story.calls}
    assert (at["scale_down"] - at["swap_back"]).total_seconds() >= 10


def test_the_page_says_how_much_goes_where() -> None:
    story = Weighted("web").start()
    story.script["test"] = lambda reference: (
        unavailable(reference) if reference.get("share") == 10 else {}
    )
    story.wait(minutes=2)
    shown = story.world.show("r-1.swap.web")["customStatus"]
    assert shown["waits"].startswith("10 % of the requests are for green; ")
