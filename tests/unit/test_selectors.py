"""Whose a pod is, and whether selectors tell one slot's pods from the other's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rotation.decisions.ownership import counts
from rotation.decisions.plan import Refuse, Rotate
from rotation.decisions.selectors import OPERATORS, matches
from rotation.model.reasons import Code
from rotation.model.world import (
    Claim,
    Controller,
    Deployment,
    Requirement,
    Route,
    Selector,
    WorkloadState,
)
from tests.unit.test_plan import decision, deployment, workload, world

SETS = {"own": True, "foreign": False}


def claim(uid: str | None, phase: str = "Running", **more: Any) -> Claim:
    known = {"kind": "ReplicaSet", "name": "api-blue-abc", **more}
    made_by = Controller(uid=uid, **known) if uid else None
    return Claim(made_by, phase, "abc")


CLAIMS: list[tuple[str, Claim, bool]] = [
    ("one that runs", claim("own"), True),
    ("one that waits", claim("own", "Pending"), True),
    ("one whose node is gone", claim("own", "Unknown"), True),
    ("an evicted one", claim("own", "Failed"), False),
    ("one that is done", claim("own", "Succeeded"), False),
    ("the other slot's", claim("foreign"), False),
    ("a debug copy", claim(None), False),
    ("a job's", claim("own", kind="Job"), False),
    ("one whose ReplicaSet is gone", claim("gone"), True),
    ("an evicted one whose ReplicaSet is gone", claim("gone", "Failed"), False),
    ("one of a gone ReplicaSet of others", claim("gone", name="api-green-abc"), False),
    ("one of a gone ReplicaSet with no template", replace(claim("gone"), template=None), False),
    (
        "one of a gone ReplicaSet of a longer name",
        claim("gone", name="api-blue-next-abc"),
        False,
    ),
]


@pytest.mark.parametrize(("what", "pod", "own"), CLAIMS)
def test_a_pod_is_a_deployments_by_its_replica_sets(what: str, pod: Claim, own: bool) -> None:
    assert counts(pod, "api-blue", SETS) is own, what


DECIDED: list[tuple[str, tuple[str, ...], dict[str, str], bool]] = [
    ("In", ("a", "b"), {"k": "b"}, True),
    ("In", ("a", "b"), {"k": "c"}, False),
    ("In", ("a",), {}, False),
    ("NotIn", ("a",), {"k": "b"}, True),
    ("NotIn", ("a",), {"k": "a"}, False),
    ("NotIn", ("a",), {}, True),
    ("Exists", (), {"k": ""}, True),
    ("Exists", (), {}, False),
    ("DoesNotExist", (), {}, True),
    ("DoesNotExist", (), {"k": "a"}, False),
]


@pytest.mark.parametrize(("operator", "values", "labels", "met"), DECIDED)
def test_match_expressions_are_decided_as_kubernetes_does(
    operator: str, values: tuple[str, ...], labels: dict[str, str], met: bool
) -> None:
    asked = Requirement("k", operator, values)
    assert matches(Selector((asked,)), labels) is met
    never = Requirement("k", "In", ())
    assert not matches(Selector((asked, never)), labels), "all of them have to be met"


def test_each_operator_is_tried() -> None:
    assert {operator for operator, *_ in DECIDED} == OPERATORS


def test_an_operator_that_cannot_be_decided() -> None:
    with pytest.raises(ValueError, match="Gt"):
        matches(Selector((Requirement("k", "Gt", ("1",)),)), {"k": "2"})


def slot(name: str, *requirements: Requirement, **more: Any) -> Deployment:
    colour = name.rpartition("-")[2]
    labels = {"app": name.rpartition("-")[0], "slot": colour}
    own = requirements or tuple(Requirement(k, "In", (v,)) for k, v in labels.items())
    return deployment(name, **{"labels": labels, "selector": Selector(own), **more})


def labelled(name: str = "api", **deployments: Deployment) -> WorkloadState:
    down: dict[str, Any] = {"replicas": 0, "ready": 0, "updated": 0, "total": 0}
    standby = replace(slot(f"{name}-green"), **down)
    return workload(
        name,
        production=Route("blue", "http", besides={"app": name}),
        preview=Route("green", "http", besides={"app": name}),
        deployments={"blue": slot(f"{name}-blue"), "green": standby, **deployments},
    )


def problems(*workloads: WorkloadState) -> dict[str, str]:
    found = decision(world(*workloads))
    assert isinstance(found, Refuse), found
    return {problem.text: problem.code for problem in found.problems}


def test_selectors_that_tell_the_slots_apart_rotate() -> None:
    assert decision(world(labelled(), labelled("web"))) == Rotate("blue")


@pytest.mark.parametrize(
    "asked",
    [
        Requirement("slot", "NotIn", ("green",)),
        Requirement("slot", "In", ("blue", "cyan")),
        Requirement("slot", "In", ("blue",)),
    ],
)
def test_match_expressions_that_tell_the_slots_apart_rotate(asked: Requirement) -> None:
    assert decision(world(labelled(blue=slot("api-blue", asked)))) == Rotate("blue")


@pytest.mark.guarantee(2)
@pytest.mark.parametrize(
    "asked",
    [
        Requirement("app", "In", ("api",)),
        Requirement("slot", "Exists"),
        Requirement("slot", "In", ("blue", "green")),
        Requirement("slot", "NotIn", ("red",)),
        Requirement("tier", "DoesNotExist"),
    ],
)
def test_a_selector_that_both_slots_meet_is_refused(asked: Requirement) -> None:
    assert problems(labelled(blue=slot("api-blue", asked))) == {
        "workload api: Deployment api-blue selects pods like those of api-green too": (
            Code.SELECTORS_OVERLAP
        )
    }


def test_a_service_that_would_find_no_pod_of_a_slot_is_refused() -> None:
    astray = replace(labelled(), production=Route("blue", "http", besides={"app": "web"}))
    assert problems(astray) == {
        f"workload api: with {slot}, its Service would select no pod of Deployment api-{slot}": (
            Code.SERVICE_PODS
        )
        for slot in ("blue", "green")
    }


def test_a_service_that_would_find_pods_of_others_is_refused() -> None:
    wide = replace(labelled(), preview=Route("green", "http", besides={}))
    assert problems(wide, labelled("web")) == {
        f"workload api: with {slot}, its preview would select the pods of web-{slot} as well": (
            Code.SERVICE_PODS
        )
        for slot in ("blue", "green")
    }
    elsewhere = replace(labelled("web"), cluster="north")
    assert decision(world(wide, elsewhere)) == Rotate("blue")


def test_what_is_not_known_of_a_service_or_of_pods_is_held_against_nobody() -> None:
    assert decision(world(replace(labelled(), production=Route("blue", "http")))) == Rotate("blue")
    assert decision(world(labelled(blue=slot("api-blue", labels=None)))) == Rotate("blue")


def test_pods_of_the_other_slot_that_bear_this_ones_label_are_refused() -> None:
    mixed = slot("api-green", Requirement("pool", "Exists"), labels={"app": "api", "slot": "blue"})
    found = problems(labelled(green=mixed))
    text = "workload api: with blue, its Service would select the pods of api-green as well"
    assert found[text] == Code.SERVICE_PODS


def test_a_standby_that_is_paused_is_refused() -> None:
    paused = slot("api-green", paused=True, replicas=0, ready=0, updated=0, total=0)
    assert set(problems(labelled(green=paused)).values()) == {Code.DEPLOYMENT_PAUSED}
    assert decision(world(labelled(blue=slot("api-blue", paused=True)))) == Rotate("blue")
