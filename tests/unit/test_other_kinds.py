"""Pods of a slot that something else than its Deployment makes: refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from kubernetes import client

from rotation.config import parse
from rotation.decisions.plan import Refuse
from rotation.edges.cluster.pods import maker_of
from rotation.model.activities import Planned, Reference
from rotation.model.catalogue import Origin
from rotation.model.errors import EdgeError
from rotation.model.reasons import Code
from rotation.model.record import Request
from rotation.model.world import Endpoint, Maker, SliceSeen
from rotation.steps import planning
from rotation.steps.running import Step
from tests.memory import MemoryEdges
from tests.unit.test_config import VALID
from tests.unit.test_plan import decision, deployment, slots, workload, world

KINDS = ("DaemonSet", "StatefulSet", "Rollout", "Job", "CloneSet")


def told(*makers: Maker, **more: Any) -> tuple[str, str]:
    """The code and text of the one problem of a workload that is served by blue."""
    found = replace(workload(**more), makers={"blue": makers})
    refused = decision(world(found))
    assert isinstance(refused, Refuse)
    (why,) = refused.problems
    return why.code, why.text.removeprefix("workload api: ")


@pytest.mark.parametrize("kind", KINDS)
def test_where_there_is_no_deployment_it_is_said_what_there_is(kind: str) -> None:
    found = f"the pods that its Service finds with blue are of {kind} api"
    assert told(Maker(kind, "api"), deployments=slots(blue=None)) == (
        Code.OTHER_KIND,
        f"its blue Deployment does not exist; {found}",
    )


def test_a_rollout_that_has_taken_a_deployment_over() -> None:
    """Argo Rollouts scales the Deployment down that it takes its pod template from."""
    down = slots(blue=deployment("api-blue", replicas=0, ready=0, updated=0, total=0))
    found = "the pods that its Service finds with blue are of Rollout api"
    assert told(Maker("Rollout", "api"), deployments=down) == (
        Code.OTHER_KIND,
        f"its active Deployment api-blue is scaled to zero; {found}",
    )


def test_pods_of_another_deployment_or_of_nothing_are_named() -> None:
    """A wrong name in the file, say."""
    code, text = told(Maker("Deployment", "api-bleu"), deployments=slots(blue=None))
    assert (code, text.rpartition("are of ")[2]) == (
        Code.DEPLOYMENT_MISSING,
        "Deployment api-bleu",
    )
    code, text = told(Maker("Pod", "api-1"), Maker("Pod", "api-2"), deployments=slots(blue=None))
    assert (code, text.rpartition("are of ")[2]) == (
        Code.DEPLOYMENT_MISSING,
        "Pod api-1, Pod api-2",
    )


def test_a_few_are_named_and_the_others_counted() -> None:
    _, text = told(*(Maker("Job", f"j{n}") for n in range(5)), deployments=slots(blue=None))
    assert text.endswith("are of Job j0, Job j1, Job j2 and 2 more")


def test_where_nothing_is_found_it_is_as_before() -> None:
    expected = Code.DEPLOYMENT_MISSING, "its blue Deployment does not exist"
    assert told(deployments=slots(blue=None)) == expected


# -- as it is seen

LABELS = {"app": "api", "slot": "blue"}


@pytest.fixture
def edges() -> MemoryEdges:
    return MemoryEdges(parse(yaml.safe_dump(VALID)))


def planned(edges: MemoryEdges) -> Planned:
    request = Request(
        rotation="r-1", credential="orders-db", origin=Origin.MANUAL, requested_by="a", reason=""
    )
    reference = Reference(rotation="r-1", credential="orders-db", request=request)
    return planning.plan(Step(edges, reference))


def test_the_plan_looks_at_what_makes_the_pods_of_a_missing_deployment(edges: MemoryEdges) -> None:
    cluster = edges.world.clusters["aks"]
    del cluster.deployments["orders", "api-blue"]
    cluster.made["orders"] = [(LABELS, Maker("StatefulSet", "api")), ({}, Maker("Job", "other"))]
    (why,) = planned(edges).reasons
    assert why.code == Code.OTHER_KIND
    assert why.text.endswith("are of StatefulSet api")
    assert "consumers.md#what-is-refused" in str(why.remedy)


def test_pods_of_another_kind_beside_those_of_the_deployment(edges: MemoryEdges) -> None:
    """They are seen by what the Service's own slices name."""
    cluster = edges.world.clusters["aks"]
    pods = [pod.name for pod in cluster.deployments["orders", "api-blue"].pods]

    def behind(*names: str) -> None:
        endpoints = tuple(Endpoint(("10.0.0.1",), name) for name in names)
        cluster.slices["orders"] = [SliceSeen("api-x", "api", derived=True, endpoints=endpoints)]

    behind(*pods)
    cluster.made["orders"] = [(LABELS, Maker("DaemonSet", "api-agent"))]
    assert planned(edges).active == "blue"
    behind(*pods, "api-agent-1")
    (why,) = planned(edges).reasons
    text = "its Service finds pods with blue that are of DaemonSet api-agent"
    assert (why.code, why.text) == (
        Code.OTHER_KIND,
        f"workload api: {text}, besides those of Deployment api-blue",
    )
    # A slice may lag behind, and somebody's copy of a pod is no other kind.
    cluster.made["orders"] = [(LABELS, Maker("Pod", "api-debug"))]
    assert planned(edges).active == "blue"


@pytest.mark.parametrize(("kind", "name"), [("x y", "api"), ("Job", "A B"), ("", "api")])
def test_a_kind_or_name_that_is_none_is_not_told(kind: str, name: str) -> None:
    known: dict[str, Any] = {"api_version": "apps/v1", "controller": True, "uid": "1"}
    owner = client.V1OwnerReference(kind=kind, name=name, **known)
    with pytest.raises(ValueError, match="not the kind and name"):
        maker_of(client.V1ObjectMeta(name="x", owner_references=[owner]), {})


def test_a_right_that_is_missing_is_no_ground_for_a_plan(edges: MemoryEdges) -> None:
    del edges.world.clusters["aks"].deployments["orders", "api-blue"]
    edges.calls.failing["cluster makers"] = EdgeError(Code.CLUSTER_DENIED, "no")
    with pytest.raises(EdgeError):
        planned(edges)
