"""Whatever a Deployment has beside its login: a slot has it too, and nothing that a server set."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from local.cluster import kinds
from local.cluster.defaults import with_defaults
from rotctl.adopt import sources, twin
from rotctl.adopt.asking import Answers, Facts
from rotctl.adopt.cleaning import MARKS, SET_BY_SERVER, cleaned
from rotctl.adopt.deciding import decide
from tests.rotctl.adopt.shapes import IDENTITY, SERVER

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
TEXTS = st.text("abc xyz-_/.:{}$()=0189", max_size=12)
VARIABLES = st.dictionaries(
    st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True), TEXTS, max_size=4
)
LOGIN = [
    {"name": "PGUSER", "value": "orders_app"},
    {
        "name": "PGPASSWORD",
        "valueFrom": {"secretKeyRef": {"name": "orders-db", "key": "password"}},
    },
]


@st.composite
def containers(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    made = []
    for name in names:
        more = draw(VARIABLES)
        env = [
            {"name": k, "value": v} for k, v in more.items() if k not in {"PGUSER", "PGPASSWORD"}
        ]
        one: dict[str, Any] = {"name": name, "image": f"{name}:1", "env": env}
        if draw(st.booleans()):
            one["args"] = draw(st.lists(TEXTS, max_size=3))
        if draw(st.booleans()):
            one["readinessProbe"] = {"httpGet": {"path": "/ready", "port": 8080}}
        made.append(one)
    made[0]["env"] = [*copy.deepcopy(LOGIN), *made[0]["env"]]
    return made


@st.composite
def deployments(draw: st.DrawFn) -> dict[str, Any]:
    labels = {"app": draw(NAMES), **draw(st.dictionaries(NAMES, NAMES, max_size=2))}
    labels.pop("slot", None)
    spec: dict[str, Any] = {"containers": draw(containers())}
    if draw(st.booleans()):
        spec["terminationGracePeriodSeconds"] = draw(st.integers(1, 90))
    if draw(st.booleans()):
        spec["volumes"] = [{"name": "work", "emptyDir": {}}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "orders", "labels": dict(labels)},
        "spec": {
            "replicas": draw(st.integers(1, 9)),
            "selector": {"matchLabels": {"app": labels["app"]}},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def stored(deployment: dict[str, Any]) -> dict[str, Any]:
    """As an API server has it, with the marks of whoever applied it."""
    made = with_defaults(kinds.DEPLOYMENT, copy.deepcopy(deployment))
    made["metadata"] |= {key: "set" for key in SET_BY_SERVER if key != "ownerReferences"}
    made["metadata"]["annotations"] = {f"{mark}x": "1" for mark in MARKS}
    made["spec"]["template"]["metadata"]["creationTimestamp"] = None
    made["status"] = {"replicas": 1}
    return made


def slots(deployment: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    (original,) = sources.originals([stored(deployment)], [("Deployment", "api")])
    answers = Answers(
        secret="orders-db", vault="kv", role="orders_app", host="pg", database_name="orders",
        app_identity=IDENTITY, server=SERVER, pods_secret="orders-db/password",
    )  # fmt: skip
    plan = decide([original], answers, Facts(), "manifests").plan
    assert plan is not None
    (workload,) = plan.workloads
    blue, green = (twin.running(workload, plan.credential, one) for one in ("blue", "green"))
    return blue, green


def back(made: dict[str, Any], slot: str) -> dict[str, Any]:
    """A slot's manifest with its own parts taken out: the original."""
    found = copy.deepcopy(made)
    found["metadata"]["name"] = "api"
    template = found["spec"]["template"]
    for labels in (
        found["metadata"]["labels"], found["spec"]["selector"]["matchLabels"],
        template["metadata"]["labels"],
    ):  # fmt: skip
        assert labels.pop("slot") == slot
    role, secret = f"orders_{'app' if slot == 'blue' else 'green'}", f"orders-db-{slot}"
    for container in template["spec"]["containers"]:
        for variable in container.get("env", []):
            if variable["name"] == "PGUSER":
                assert variable["value"] == role
                variable["value"] = "orders_app"
            if variable["name"] == "PGPASSWORD":
                reference = variable["valueFrom"]["secretKeyRef"]
                assert reference["name"] == secret
                reference["name"] = "orders-db"
    return found


@settings(max_examples=60, deadline=None)
@given(deployments())
def test_a_slot_without_its_own_parts_is_the_original(deployment: dict[str, Any]) -> None:
    blue, green = slots(deployment)
    wanted = cleaned(deployment)
    assert back(blue, "blue") == wanted
    green_spec = back(green, "green")
    assert green_spec["spec"].pop("replicas") == 0
    wanted["spec"].pop("replicas")
    assert green_spec == wanted


@settings(max_examples=60, deadline=None)
@given(deployments())
def test_what_is_cleaned_means_the_same_to_an_api_server(deployment: dict[str, Any]) -> None:
    found = cleaned(stored(deployment))
    again = with_defaults(kinds.DEPLOYMENT, found)
    assert again == with_defaults(kinds.DEPLOYMENT, deployment)
    assert cleaned(found) == found
