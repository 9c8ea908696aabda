"""What `rotation.contracts.pods` promises, and how pods and Deployments do.

On a Kubernetes API, and on the cluster in memory: see `tests.contract.clusters`.
"""

from __future__ import annotations

import base64
import copy
import re
import threading
import time
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from local.cluster.client import apply, connect
from local.process import wait_until
from rotation.decisions.selectors import matches
from rotation.decisions.templates import Names, Rules, differences
from rotation.model.errors import Invalid, Missing, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import (
    DeploymentTarget,
    SecretKeyTarget,
)
from rotation.model.world import (
    Deployment,
    Maker,
    Template,
)
from rotation.secrecy import Secret, new_password
from tests.contract.clusters import (
    IMAGE,
    KUBECONFIG,
    MADE,
    SLOT,
    Edge,
    Place,
    RealPlace,
    Workload,
    api,
    asked,
    cluster,
    component,
    delete,
    deployment,
    down,
    endpoints,
    kubeconfig,
    place,
    ready,
    real,
    space,
    stored,
    up,
)
from tests.contract.conftest import (
    needs_the_stand_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


__all__ = ["api", "cluster", "component", "down", "kubeconfig", "place", "real", "space", "up"]


def test_pods_of_what_is_not_there(place: Place, name: str) -> None:
    assert place.pods.deployment(DeploymentTarget(place.space, name)) is None


def test_a_deployment_shows_its_rollout(place: Place, up: Workload) -> None:
    assert place.pods.deployment(up.deployment) == Deployment(
        namespace=place.space,
        name=up.deployment.name,
        replicas=2,
        ready=2,
        updated=2,
        total=2,
        observed=True,
        images={"web": IMAGE},
        version=None,
    )


def test_listed_are_the_deployments_pods(place: Place, up: Workload) -> None:
    found = place.pods.listed(up.deployment)
    assert len(found) == 2
    assert all(pod.name.startswith(f"{up.deployment.name}-") for pod in found)


def test_each_pod_has_an_address_of_its_own_and_its_nodes(place: Place, up: Workload) -> None:
    """A pod's connections come from one of them, by the cluster's network."""
    found = place.pods.listed(up.deployment)
    addresses = [address for pod in found for address in pod.addresses]
    assert len(set(addresses)) == len(addresses) >= 2
    assert all(pod.nodes for pod in found)
    for address in [*addresses, *(node for pod in found for node in pod.nodes)]:
        ip_address(address)


def test_a_debug_copy_is_no_deployments(place: Place, up: Workload) -> None:
    before = names(place, up)
    place.debug_copy(up.deployment)
    assert names(place, up) == before
    place.pods.scale(up.deployment, 0)
    assert place.pods.watch_gone(up.deployment, 30) == []


def makers(place: Place, name: str) -> list[Maker]:
    return place.pods.makers(place.space, {"app": name, SLOT: "blue"})


def test_pods_are_told_by_what_makes_them(place: Place, up: Workload, name: str) -> None:
    assert makers(place, name) == [Maker("Deployment", name)]
    place.debug_copy(up.deployment)
    made, alone = makers(place, name)
    assert (made, alone.kind) == (Maker("Deployment", name), "Pod")
    assert place.pods.makers(place.space, {"app": name, SLOT: "green"}) == []
    place.pods.scale(up.deployment, 0)
    assert place.pods.watch_gone(up.deployment, 30) == []


def test_an_evicted_pod_is_nobodys(place: Place, up: Workload) -> None:
    evicted = place.evict(up.deployment)
    assert evicted not in names(place, up)
    wait_until(lambda: len(names(place, up)) == 2, 30, "a pod in the evicted one's place")
    place.pods.scale(up.deployment, 0)
    assert place.pods.watch_gone(up.deployment, 30) == []


def test_pods_of_another_deployment_with_the_same_selector(
    place: Place, up: Workload, name: str
) -> None:
    twin = place.twin(name, 1)
    place.pods.watch(twin, ready, 60)
    assert len(names(place, up)) == 2
    assert len(place.pods.listed(twin)) == 1
    place.pods.scale(twin, 0)
    assert place.pods.watch_gone(twin, 30) == []
    assert len(names(place, up)) == 2


def test_listed_says_how_a_pod_does(place: Place, up: Workload) -> None:
    for pod in place.pods.listed(up.deployment):
        assert (pod.ready, pod.waiting, pod.restarts, pod.exit_code) == (True, None, 0, None)
        assert pod.created is not None


def test_a_deployment_shows_what_it_selects(place: Place, down: Workload, name: str) -> None:
    found = place.pods.deployment(down.deployment)
    assert found is not None
    assert found.labels == {"app": name, SLOT: "blue"}
    assert found.selector is not None
    assert matches(found.selector, found.labels)
    assert not matches(found.selector, {SLOT: "blue"})
    assert not found.paused


def names(place: Place, workload: Workload) -> list[str]:
    return [pod.name for pod in place.pods.listed(workload.deployment)]


MISSING: dict[str, Callable[[Place, DeploymentTarget], object]] = {
    "listed": lambda place, target: place.pods.listed(target),
    "watch": lambda place, target: place.pods.watch(target, ready, 5),
    "watch_gone": lambda place, target: place.pods.watch_gone(target, 5),
    "start": lambda place, target: place.pods.start(target, replicas=1, images={}, version="v7"),
    "sync": lambda place, target: place.pods.sync(
        target, Template({"spec": {}}), replicas=1, version="v7"
    ),
    "scale": lambda place, target: place.pods.scale(target, 0),
    "deliver": lambda place, target: place.pods.deliver(
        SecretKeyTarget(target.namespace, target.name, "password"), Secret("hunter2"), "v7"
    ),
}


@pytest.mark.parametrize("verb", MISSING)
def test_a_deployment_or_secret_that_is_not_there(place: Place, name: str, verb: str) -> None:
    """The right to create a Kubernetes Secret cannot be limited to a name."""
    target = DeploymentTarget(place.space, name)
    with pytest.raises(Missing, match=f"{target}") as caught:
        MISSING[verb](place, target)
    assert caught.value.code is Code.CLUSTER_MISSING
    assert "hunter2" not in str(caught.value)
    assert base64.b64encode(b"hunter2").decode() not in str(caught.value)


def test_deliver_replaces_one_key(place: Place, name: str) -> None:
    target = place.secret(name, other="kept", password="former")
    value = new_password()
    for _ in range(2):
        place.pods.deliver(target, value, "v7")
    assert place.mounted(target) == ({"other": "kept", "password": value.reveal()}, "v7")


def test_start_brings_up_what_it_is_told(place: Place, down: Workload) -> None:
    for _ in range(2):
        place.pods.start(down.deployment, replicas=1, images={"web": IMAGE}, version="v7")
    found = place.pods.watch(down.deployment, ready, 60)
    assert (found.replicas, found.ready, found.version) == (1, 1, "v7")
    assert found.images == {"web": IMAGE}
    place.pods.scale(down.deployment, 0)


def test_start_with_another_version_replaces_the_pods(place: Place, up: Workload) -> None:
    before = set(names(place, up))
    place.pods.start(up.deployment, replicas=2, images={"web": IMAGE}, version="v8")
    found = place.pods.watch(up.deployment, lambda d: ready(d) and d.version == "v8", 60)
    assert ready(found)
    wait_until(lambda: len(place.pods.listed(up.deployment)) == 2, 30, "the former pods' end")
    assert not before & set(names(place, up))


def test_start_once_more_leaves_the_pods_alone(place: Place, up: Workload) -> None:
    place.pods.start(up.deployment, replicas=2, images={"web": IMAGE}, version="v8")
    place.pods.watch(up.deployment, lambda d: ready(d) and d.version == "v8", 60)
    wait_until(lambda: len(place.pods.listed(up.deployment)) == 2, 30, "the former pods' end")
    before = names(place, up)
    place.pods.start(up.deployment, replicas=2, images={"web": IMAGE}, version="v8")
    assert ready(place.pods.watch(up.deployment, ready, 60))
    assert names(place, up) == before


def test_start_without_a_version_leaves_the_one_that_is_named(place: Place, up: Workload) -> None:
    for version in ("v8", None):
        place.pods.start(up.deployment, replicas=2, images={"web": IMAGE}, version=version)
        found = place.pods.watch(up.deployment, lambda d: ready(d) and d.version == "v8", 60)
        assert ready(found)
        assert found.version == "v8"


def test_start_with_what_is_not_valid(place: Place, down: Workload) -> None:
    with pytest.raises(Invalid, match=r"HTTP 422 Invalid .*spec\.replicas") as caught:
        place.pods.start(down.deployment, replicas=-1, images={}, version="v7")
    assert caught.value.code is Code.CLUSTER_ERROR


CHANGES: dict[str, Callable[[Place, DeploymentTarget, str | None], object]] = {
    "start": lambda place, target, revision: place.pods.start(
        target, replicas=0, images={"web": IMAGE}, version="v9", revision=revision
    ),
    "sync": lambda place, target, revision: place.pods.sync(
        target, template_of(place, target), replicas=0, version="v9", revision=revision
    ),
    "scale": lambda place, target, revision: place.pods.scale(target, 0, revision=revision),
}


def template_of(place: Place, target: DeploymentTarget) -> Template:
    """The pod template of a Deployment, as the API server has it."""
    seen = place.pods.deployment(target)
    assert seen is not None
    assert seen.template is not None
    return seen.template


@pytest.mark.parametrize("verb", CHANGES)
def test_a_change_of_what_was_changed_since_the_look_comes_to_nothing(
    place: Place, down: Workload, verb: str
) -> None:
    """An execution that was held up must not undo what another one has done."""
    seen = place.pods.deployment(down.deployment)
    assert seen is not None
    assert seen.revision
    place.pods.start(down.deployment, replicas=0, images={"web": IMAGE}, version="v8")
    with pytest.raises(Unavailable, match=f"{down.deployment}: HTTP 409 Conflict") as caught:
        CHANGES[verb](place, down.deployment, seen.revision)
    assert caught.value.code is Code.CLUSTER_CONFLICT
    found = place.pods.deployment(down.deployment)
    assert found is not None
    assert found.version == "v8"

    def changed() -> bool:
        """After another look, unless a controller's word on its status was faster."""
        again = place.pods.deployment(down.deployment)
        assert again is not None
        with suppress(Unavailable):
            CHANGES[verb](place, down.deployment, again.revision)
            return True
        return False

    wait_until(changed, 30, "a change between two words of a controller")


def test_a_rotation_that_leaves_the_number_of_pods_undoes_what_was_prepared_before_it(
    place: Place, up: Workload
) -> None:
    """Only annotations change, and no status does by that."""
    seen = place.pods.deployment(up.deployment)
    assert seen is not None
    place.pods.scale(up.deployment, 2, by="orders-db-1")
    with pytest.raises(Unavailable, match=f"{up.deployment}: HTTP 409 Conflict") as caught:
        place.pods.scale(up.deployment, 0, revision=seen.revision)
    assert caught.value.code is Code.CLUSTER_CONFLICT
    found = place.pods.deployment(up.deployment)
    assert found is not None
    assert found.replicas == 2


def test_a_pod_template_is_brought_whole(place: Place, down: Workload) -> None:
    """What it had and the new one has not is gone; and when repeated nothing changes."""
    document = copy.deepcopy(template_of(place, down.deployment).document)
    container = document["spec"]["containers"][0]
    container["env"] = [{"name": "ADDED", "value": "1"}, *container.get("env", [])]
    for _ in range(2):
        place.pods.sync(down.deployment, Template(document), replicas=0, version="v7")
    found = place.pods.deployment(down.deployment)
    assert found is not None
    assert (found.version, found.replicas) == ("v7", 0)
    rules = Rules(Names((), ("blue", "green")))
    brought = template_of(place, down.deployment).document
    assert differences(document, brought, rules) == []
    assert "ADDED" not in repr(found)
    container["env"] = container["env"][1:]
    place.pods.sync(down.deployment, Template(document), replicas=0, version=None)
    assert differences(document, template_of(place, down.deployment).document, rules) == []


def test_scale(place: Place, up: Workload) -> None:
    for _ in range(2):
        place.pods.scale(up.deployment, 0)
    assert place.pods.watch_gone(up.deployment, 30) == []
    assert place.pods.listed(up.deployment) == []


def test_watch_needs_no_change(place: Place, down: Workload) -> None:
    begun = time.monotonic()
    assert place.pods.watch(down.deployment, ready, 60).replicas == 0
    assert time.monotonic() - begun < 30


def test_watch_ends_without_what_it_waits_for(place: Place, down: Workload) -> None:
    assert place.pods.watch(down.deployment, lambda _: False, 1).replicas == 0


def test_watch_gone_tells_who_is_left(place: Place, up: Workload) -> None:
    assert place.pods.watch_gone(up.deployment, 1) == names(place, up)


def test_deliver_under_a_key_that_is_none(real: RealPlace, name: str) -> None:
    target = replace(real.secret(name), key="not a key")
    with pytest.raises(Invalid, match="HTTP 422 Invalid data") as caught:
        real.pods.deliver(target, Secret("hunter2"), "v7")
    assert base64.b64encode(b"hunter2").decode() not in str(caught.value)


def test_start_sets_init_containers_too(real: RealPlace, api: Any, name: str) -> None:
    manifest = deployment(name, 0)
    pod = manifest["spec"]["template"]["spec"]
    pod["initContainers"] = [{"name": "migrate", "image": "echo:1", "args": ["keep"]}]
    apply(api, [manifest], namespace=real.space)
    target = DeploymentTarget(real.space, name)
    images = {"web": "echo:2", "init:migrate": "echo:2"}
    real.pods.start(target, replicas=0, images=images, version="v7")
    found = real.pods.deployment(target)
    assert found is not None
    assert found.images == images
    kept = stored(api, f"/apis/apps/v1/namespaces/{real.space}/deployments/{name}")
    assert kept["spec"]["template"]["spec"]["initContainers"][0]["args"] == ["keep"]
    assert "readinessProbe" in kept["spec"]["template"]["spec"]["containers"][0]


def test_an_image_that_is_not_there_never_gets_ready(real: RealPlace, name: str) -> None:
    target = real.deployment(name, 0)
    real.pods.start(target, replicas=1, images={"web": "no.such/image:1"}, version="v7")
    begun = time.monotonic()
    found = real.pods.watch(target, ready, 2)
    assert 1 <= time.monotonic() - begun < 20
    assert (found.ready, found.replicas) == (0, 1)
    real.pods.scale(target, 0)


def test_match_expressions_are_followed_too(real: RealPlace, api: Any, name: str) -> None:
    manifest = deployment(name, 1)
    manifest["spec"]["selector"] = {
        "matchExpressions": [
            {"key": "app", "operator": "In", "values": [name, "another"]},
            {"key": "tier", "operator": "NotIn", "values": ["web", "jobs"]},
            {"key": SLOT, "operator": "Exists"},
            {"key": "retired", "operator": "DoesNotExist"},
        ]
    }
    apply(api, [manifest], namespace=real.space)
    target = DeploymentTarget(real.space, name)
    found = real.pods.watch(target, ready, 60)
    assert found.selector is not None
    assert matches(found.selector, found.labels or {})
    assert not matches(found.selector, {"app": name, SLOT: "blue", "retired": ""})
    (pod,) = real.pods.listed(target)
    assert real.pods.watch_gone(target, 1) == [pod.name]
    real.pods.scale(target, 0)
    assert real.pods.watch_gone(target, 30) == []


def test_a_pod_that_cannot_start_says_why(real: RealPlace, name: str) -> None:
    target = real.deployment(name, 0)
    real.pods.start(target, replicas=1, images={"web": "no.such/image:1"}, version="v7")

    def reasons() -> set[str | None]:
        return {pod.waiting for pod in real.pods.listed(target)}

    wait_until(lambda: reasons() & {"ErrImagePull", "ImagePullBackOff"} != set(), 30, "a reason")
    real.pods.scale(target, 0)


def test_a_pod_that_crashes_says_how_often_and_how(real: RealPlace, api: Any, name: str) -> None:
    needs_the_stand_in("CONTRACT_KUBECONFIG", "runs a command that its image has")
    apply(api, [deployment(name, 1, command=["sh", "-c", "exit 3"])], namespace=real.space)
    target = DeploymentTarget(real.space, name)

    def crashed() -> bool:
        found = real.pods.listed(target)
        return any(pod.waiting == "CrashLoopBackOff" and pod.restarts > 0 for pod in found)

    wait_until(crashed, 30, "a back-off")
    (pod,) = real.pods.listed(target)
    assert (pod.ready, pod.exit_code, pod.ended) == (False, 3, "Error")
    real.pods.scale(target, 0)


@pytest.fixture
def alone(cluster: Edge, api: Any, space: str, name: str) -> Iterator[RealPlace]:
    """A namespace of the test's own, where what is set is in force for nobody else."""
    if not KUBECONFIG:
        yield RealPlace(cluster, api, space)
        return
    path = f"/api/v1/namespaces/{name}"
    status = asked(api, "POST", "/api/v1/namespaces", {"metadata": {"name": name}})[0]
    if status == 403:
        pytest.skip("whom CONTRACT_KUBECONFIG names may not make a namespace")
    assert status == 201
    yield RealPlace(cluster, api, name)
    assert delete(api, path) in {200, 202}
    wait_until(lambda: asked(api, "GET", path)[0] == 404, 60, f"the end of namespace {name}")


def test_a_quota_that_refuses_pods_is_told_in_numbers(
    alone: RealPlace, api: Any, name: str
) -> None:
    real = alone
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}}
    apply(api, [{**quota, "spec": {"hard": {"pods": "0"}}}], namespace=real.space)
    path = f"/api/v1/namespaces/{real.space}/resourcequotas/{name}"
    wait_until(lambda: not KUBECONFIG or "used" in stored(api, path)["status"], 30, "its count")
    target = real.deployment(name, 1)
    refused = real.pods.watch(target, lambda found: found.failure is not None, 30)
    assert (refused.failure, refused.ready) == ("FailedCreate", 0)
    assert re.fullmatch(
        r"a quota is full: \d of 0 pods used, 1 more asked for", refused.refusal or ""
    )
    delete(api, path)
    # By itself, with the ReplicaSet controller's back-off.
    found = real.pods.watch(target, lambda found: ready(found) and found.failure is None, 60)
    assert (found.ready, found.failure, found.refusal) == (1, None, None)
    real.pods.scale(target, 0)


@pytest.mark.parametrize("kind", ["secrets", "serviceaccounts"])
def test_a_deletion_in_the_foreground_ends_where_nothing_is_owned(
    api: Any, space: str, name: str, kind: str
) -> None:
    """What these tests, and people, delete by."""
    path = f"{MADE[kind]}/namespaces/{space}/{kind}"
    assert asked(api, "POST", path, {"metadata": {"name": name}})[0] == 201
    assert delete(api, f"{path}/{name}") in {200, 202}
    wait_until(lambda: asked(api, "GET", f"{path}/{name}")[0] == 404, 30, f"the end of {kind}")


def test_a_deployment_that_is_paused_says_so(real: RealPlace, api: Any, name: str) -> None:
    manifest = deployment(name, 0)
    manifest["spec"]["paused"] = True
    apply(api, [manifest], namespace=real.space)
    found = real.pods.deployment(DeploymentTarget(real.space, name))
    assert found is not None
    assert found.paused


def test_pods_of_a_rollout_are_told_by_it(real: RealPlace, api: Any, name: str) -> None:
    """Which makes them by a ReplicaSet, as a Deployment does; nobody here knows what it is."""
    manifest = deployment(name, 1)
    owner = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "name": f"{name}-rollout",
        "uid": "7a6f5f0e-0000-4000-8000-000000000001",
        "controller": True,
    }
    labels = manifest["spec"]["template"]["metadata"]["labels"]
    metadata = {"name": name, "labels": labels, "ownerReferences": [owner]}
    path = f"/apis/apps/v1/namespaces/{real.space}/replicasets"
    manifest |= {"kind": "ReplicaSet", "metadata": metadata}
    assert asked(api, "POST", path, manifest)[0] == 201
    wait_until(lambda: makers(real, name) == [Maker("Rollout", f"{name}-rollout")], 30, "its pod")
    assert delete(api, f"{path}/{name}") in {200, 202}
    wait_until(lambda: makers(real, name) == [], 30, "the end of its pod")


def budget(name: str, **fields: Any) -> dict[str, Any]:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": name}}, **fields}
    kind = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


def counts(api: Any, space: str, name: str) -> tuple[int, int, int, int]:
    """A budget's expected, desired and healthy pods, and how many may go."""
    status = stored(api, f"/apis/policy/v1/namespaces/{space}/poddisruptionbudgets/{name}")
    found = status.get("status", {})
    keys = ("expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed")
    expected, desired, healthy, allowed = (int(found.get(key, -1)) for key in keys)
    return expected, desired, healthy, allowed


def evicted(api: Any, space: str, pod: str) -> tuple[int, dict[str, Any]]:
    """The answer to what `kubectl drain` asks for each pod of a node."""
    kind = {"apiVersion": "policy/v1", "kind": "Eviction"}
    path = f"/api/v1/namespaces/{space}/pods/{pod}/eviction"
    return asked(api, "POST", path, {**kind, "metadata": {"name": pod, "namespace": space}})


def test_a_budget_lets_one_pod_go_at_a_time(real: RealPlace, api: Any, name: str) -> None:
    apply(api, [budget(name)], namespace=real.space)
    target = real.deployment(name, 2)
    real.pods.watch(target, ready, 60)
    wait_until(lambda: counts(api, real.space, name) == (2, 1, 2, 1), 30, "the budget's count")
    first, second = (pod.name for pod in real.pods.listed(target))
    assert evicted(api, real.space, first)[0] == 201
    status, document = evicted(api, real.space, second)
    assert (status, document["reason"]) == (429, "TooManyRequests")
    said = "Cannot evict pod as it would violate the pod's disruption budget."
    assert document["message"] == said
    assert document["details"]["causes"] == [
        {
            "reason": "DisruptionBudget",
            "message": f"The disruption budget {name} needs 1 healthy pods and has 1 currently",
        }
    ]
    wait_until(lambda: counts(api, real.space, name) == (2, 1, 2, 1), 60, "a pod in its place")
    assert first not in {pod.name for pod in real.pods.listed(target) if pod.ready}
    assert evicted(api, real.space, second)[0] == 201
    real.pods.scale(target, 0)
    wait_until(lambda: counts(api, real.space, name) == (0, 0, 0, 0), 30, "a budget of nothing")


ASKED_FOR: list[tuple[dict[str, Any], tuple[int, int, int, int]]] = [
    ({"maxUnavailable": None, "minAvailable": 2}, (3, 2, 3, 1)),
    ({"maxUnavailable": None, "minAvailable": "50%"}, (3, 2, 3, 1)),
    ({"maxUnavailable": "50%"}, (3, 1, 3, 2)),
    ({"maxUnavailable": 0}, (3, 3, 3, 0)),
]


def test_what_budgets_ask_for(real: RealPlace, api: Any, name: str) -> None:
    target = real.deployment(name, 3)
    real.pods.watch(target, ready, 60)
    for fields, expected in ASKED_FOR:
        manifest = budget(name, **fields)
        manifest["spec"] = {k: v for k, v in manifest["spec"].items() if v is not None}
        apply(api, [manifest], namespace=real.space)

        def counted(expected: tuple[int, ...] = expected) -> bool:
            return counts(api, real.space, name) == expected

        wait_until(counted, 30, f"the count {expected}")
    real.pods.scale(target, 0)


def test_an_eviction_of_what_is_not_there(api: Any, space: str, name: str) -> None:
    status, document = evicted(api, space, name)
    assert (status, document["message"]) == (404, f'pods "{name}" not found')
    path = f"/api/v1/namespaces/{space}/pods/{name}/eviction"
    assert asked(api, "POST", path, {"metadata": {"name": "another"}})[0] == 400


def test_two_budgets_of_a_pod_let_it_not_go(real: RealPlace, api: Any, name: str) -> None:
    second = {**budget(name), "metadata": {"name": f"{name}-other"}}
    apply(api, [budget(name), second], namespace=real.space)
    target = real.deployment(name, 1)
    real.pods.watch(target, ready, 60)
    (pod,) = real.pods.listed(target)

    def refusal() -> str:
        status, document = evicted(api, real.space, pod.name)
        return str(document["message"]) if status == 500 else ""

    assert "more than one PodDisruptionBudget" in refusal()
    real.pods.scale(target, 0)


def test_a_pod_that_no_node_takes_says_so(real: RealPlace, api: Any, name: str) -> None:
    """As while every node is cordoned that could take it."""
    manifest = deployment(name, 1)
    manifest["spec"]["template"]["spec"]["nodeSelector"] = {"example.com/nowhere": "true"}
    apply(api, [manifest], namespace=real.space)
    target = DeploymentTarget(real.space, name)

    def waiting() -> list[str | None]:
        return [pod.waiting for pod in real.pods.listed(target)]

    wait_until(lambda: waiting() == ["Unschedulable"], 30, "the scheduler's word")
    assert endpoints(api, real.service(name)) == []
    real.pods.scale(target, 0)
    assert real.pods.watch_gone(target, 30) == []


def progress(api: Any, target: DeploymentTarget) -> str:
    found = stored(api, f"/apis/apps/v1/namespaces/{target.namespace}/deployments/{target.name}")
    conditions = found.get("status", {}).get("conditions") or []
    return next((str(c["reason"]) for c in conditions if c["type"] == "Progressing"), "")


def test_a_pause_is_a_condition_too(real: RealPlace, api: Any, name: str) -> None:
    target = real.deployment(name, 1)
    real.pods.watch(target, ready, 60)
    path = f"/apis/apps/v1/namespaces/{target.namespace}/deployments/{target.name}"

    def pause(value: bool) -> None:
        parts = api.param_serialize(
            "PATCH",
            path,
            header_params={"Content-Type": "application/merge-patch+json"},
            body={"spec": {"paused": value}},
            auth_settings=["BearerToken"],
        )
        assert api.call_api(*parts).response.status == 200

    pause(True)
    wait_until(lambda: progress(api, target) == "DeploymentPaused", 30, "the pause, told")
    real.pods.scale(target, 2)
    # What is paused is scaled all the same, and nothing is said of its progress.
    found = real.pods.watch(target, ready, 60)
    assert (found.paused, found.ready) == (True, 2)
    assert progress(api, target) == "DeploymentPaused"
    pause(False)
    over = {"DeploymentResumed", "NewReplicaSetAvailable"}
    wait_until(lambda: progress(api, target) in over, 30, "the end of the pause")
    real.pods.scale(target, 0)


def test_a_native_sidecar_starts_first_and_counts(real: RealPlace, api: Any, name: str) -> None:
    sidecar = {
        "name": "proxy",
        "image": IMAGE,
        "restartPolicy": "Always",
        "ports": [{"containerPort": 8081}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8081}, "periodSeconds": 1},
        "startupProbe": {"httpGet": {"path": "/healthz", "port": 8081}, "periodSeconds": 1},
        **({"args": ["netexec", "--http-port=8081"]} if KUBECONFIG else {}),
    }

    def with_sidecar(**fields: Any) -> None:
        manifest = deployment(name, 1)
        manifest["spec"]["template"]["spec"]["initContainers"] = [{**sidecar, **fields}]
        apply(api, [manifest], namespace=real.space)

    target = DeploymentTarget(real.space, name)
    nowhere = {"httpGet": {"path": "/nowhere", "port": 8081}, "periodSeconds": 1}
    with_sidecar(startupProbe={**nowhere, "failureThreshold": 1000})

    def told() -> list[str | None]:
        return [pod.waiting for pod in real.pods.listed(target)]

    wait_until(lambda: told() == ["PodInitializing"], 60, "a sidecar that does not come up")
    with_sidecar(readinessProbe={**nowhere, "failureThreshold": 1})
    wait_until(lambda: None in told(), 60, "a sidecar that runs and is not ready")
    found = real.pods.deployment(target)
    assert found is not None
    assert found.ready == 0
    with_sidecar()
    found = real.pods.watch(target, ready, 60)
    assert set(found.images.values()) == {IMAGE}
    assert len(found.images) == 2
    real.pods.scale(target, 0)


def test_watch_sees_a_change_at_once(real: RealPlace, name: str) -> None:
    target = real.deployment(name, 0)
    timer = threading.Timer(0.5, real.pods.scale, (target, 1))
    timer.start()
    begun = time.monotonic()
    assert real.pods.watch(target, lambda d: d.replicas == 1, 60).replicas == 1
    assert time.monotonic() - begun < 30
    timer.join()
    real.pods.scale(target, 0)


def test_watch_of_what_is_deleted(real: RealPlace, kubeconfig: Path, name: str) -> None:
    target = real.deployment(name, 0)

    def delete() -> None:
        client: Any = connect(kubeconfig)
        path = f"/apis/apps/v1/namespaces/{target.namespace}/deployments/{target.name}"
        asked(client, "DELETE", path)
        client.close()

    timer = threading.Timer(0.5, delete)
    timer.start()
    with pytest.raises(Missing, match="was deleted"):
        real.pods.watch(target, lambda _: False, 60)
    timer.join()
