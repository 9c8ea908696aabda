"""A Deployment that clients reach by HTTPRoutes: its Service moves, or their weights do."""

from __future__ import annotations

import copy
import json
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from local.cluster.errors import ApiError
from local.cluster.patches import json_patch
from local.process import ROOT
from rotation import config
from rotctl.adopt import folder, rights, route_moves, routes, telling
from rotctl.exits import ClientError
from tests.infra.test_kubernetes_schemas import check
from tests.rotctl.adopt.shapes import Shape, by_gateway

if TYPE_CHECKING:
    from rotctl.adopt.plan import Workload

BOTH = ("shop", "shop-internal")


def workload(*named: str, found: Shape | None = None) -> Workload:
    (one,) = (found or by_gateway()).plan(route=named).workloads
    return one


def changed(one: Workload, name: str) -> dict[str, Any]:
    before = copy.deepcopy(one.original.one("HTTPRoute", name) or {})
    return json_patch(before, routes.shared(before, one))


def test_without_a_word_its_service_moves_and_the_routes_stay_as_they_are() -> None:
    one = workload()
    assert (one.service, one.preview, one.routes) == ("shop", "shop-preview", ())
    told = " ".join(telling.told(one))
    for name in BOTH:
        assert f"HTTPRoute orders/{name} sends requests to a Service that moves" in told
        assert f"--route {name}" in told


def test_each_rule_that_names_the_service_names_both_slots_then() -> None:
    one = workload(*BOTH)
    static, rest, beta = (rule["backendRefs"] for rule in changed(one, "shop")["spec"]["rules"])
    assert static == [{"name": "files", "port": 80}]
    assert rest == [
        {"name": "shop-blue", "port": 80, "weight": 100},
        {"name": "shop-green", "port": 80, "weight": 0},
    ]
    # Beside another one, the two have together what the one had.
    assert [(each["name"], each["weight"]) for each in beta] == [
        ("shop-blue", 30), ("shop-green", 0), ("shop-next", 70),
    ]  # fmt: skip


@pytest.mark.parametrize("name", BOTH)
def test_the_way_back_makes_it_what_it_was(name: str) -> None:
    one = workload(*BOTH)
    before = one.original.one("HTTPRoute", name) or {}
    assert json_patch(changed(one, name), routes.unshared(before, one)) == before


def test_a_route_that_somebody_has_changed_meanwhile_is_left_alone() -> None:
    one = workload(*BOTH)
    before = one.original.one("HTTPRoute", "shop") or {}
    meanwhile = copy.deepcopy(before)
    meanwhile["spec"]["rules"].insert(0, {"backendRefs": [{"name": "other", "port": 80}]})
    with pytest.raises(ApiError) as raised:
        json_patch(meanwhile, routes.shared(before, one))
    assert raised.value.code == 422


def test_the_entry_and_the_objects_are_those_of_the_gateway_s_example() -> None:
    plan = by_gateway().plan()
    files = folder.files(plan)
    (entry,) = config.parse(files["credentials.yaml"]).credentials[plan.credential.name].workloads
    assert entry.route is not None
    assert (entry.route.name, entry.route.names) == ("shop", ["shop-internal"])
    assert entry.route.backends == {"blue": "shop-blue", "green": "shop-green"}
    assert (entry.service, entry.preview, entry.other_services) == (None, None, ["shop"])
    blue = list(yaml.safe_load_all(files["kubernetes/shop-blue.yaml"]))
    services = {one["metadata"]["name"]: one["spec"] for one in blue if one["kind"] == "Service"}
    for slot in ("blue", "green"):
        # Both at once: a route that names one that is not there is not accepted.
        assert services[f"shop-{slot}"]["selector"] == {"app": "shop", "slot": slot}
        assert services[f"shop-{slot}"]["ports"] == [
            {"name": "http", "port": 80, "targetPort": "http"}
        ]
    in_git = list(yaml.safe_load_all(files["git/shop.yaml"]))
    assert {one["metadata"]["name"] for one in in_git if one["kind"] == "Service"} == set(services)
    assert all("selector" in one["spec"] for one in in_git if one["kind"] == "Service")
    assert "HTTPRoute" not in {one["kind"] for one in in_git}
    for one in [*blue, changed(plan.workloads[0], "shop")]:
        check(one)


def test_its_rights_are_those_of_the_example() -> None:
    plan = by_gateway().plan()
    role, _ = rights.of(plan.workloads[0], plan, ["http"])
    text = (ROOT / "infra/kubernetes/example/api-route.yaml").read_text(encoding="utf-8")
    (example,) = [one for one in yaml.safe_load_all(text) if one["kind"] == "Role"]
    wanted = yaml.safe_load(
        json.dumps(example["rules"]).replace("api", "shop").replace("shopGroups", "apiGroups")
    )
    for rule in wanted:
        if rule["resources"] == ["httproutes"] and "resourceNames" in rule:
            rule["resourceNames"].append("shop-internal")
        assert rule in role["rules"], rule


def test_its_moves_change_the_routes_and_keep_tools_from_deleting_them() -> None:
    move = route_moves.traffic(workload(*BOTH))
    patches = [line for line in move.do if " patch " in line]
    assert [shlex.split(line)[5] for line in patches] == list(BOTH)
    assert sum("credential-rotation/guard=on" in line for line in move.do) == 2
    assert sum("helm.sh/resource-policy=keep" in line for line in move.do) == 2
    assert len([line for line in move.back if " patch " in line]) == 2


def test_a_route_that_would_lead_to_both_slots_is_refused_by_name() -> None:
    (said,) = routes.refused(workload("shop"))
    assert said.what == "HTTPRoute orders/shop-internal"
    assert "add --route shop-internal" in said.cure


def test_a_mirror_and_a_name_that_is_taken_are_refused() -> None:
    found = by_gateway()
    found = replace(found, objects=copy.deepcopy(found.objects))
    by_name = {(one["kind"], one["metadata"]["name"]): one for one in found.objects}
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shop"}}}
    by_name["HTTPRoute", "shop"]["spec"]["rules"][0]["filters"] = [mirror]
    service = copy.deepcopy(by_name["Service", "shop"])
    service["metadata"]["name"], service["spec"]["selector"] = "shop-green", {"app": "other"}
    found.objects.append(service)
    said = [str(one) for one in routes.refused(workload(*BOTH, found=found))]
    assert any("mirrors requests" in one for one in said)
    assert any("Service orders/shop-green: it is there already" in one for one in said)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"route": ["shopp"]}, "no HTTPRoute shopp leads to a Service"),
        ({"route": BOTH, "with_service": ["shop"]}, "--with-service does not go with --route"),
    ],
)
def test_a_wrong_answer_is_a_sentence(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ClientError, match=said):
        by_gateway().decided(**more)
