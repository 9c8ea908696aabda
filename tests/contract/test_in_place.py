"""What `rotation.contracts.pods` promises of workloads in place, of the cluster in memory too."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from local.cluster.client import apply
from local.process import wait_until
from rotation.decisions.in_place import readings
from rotation.decisions.rollout import unready
from rotation.edges.cluster.patches import DID, HOLDS, RESTARTED, ROTATION, VERSION
from rotation.edges.cluster.rollouts import exchange_in
from rotation.edges.cluster.singles import stays
from rotation.model.errors import Missing, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import DeploymentTarget, SlotSecretTarget
from rotation.secrecy import Secret
from tests.contract.clusters import (
    MemoryPlace,
    Place,
    RealPlace,
    api,
    cluster,
    component,
    deployment,
    kubeconfig,
    place,
    real,
    space,
    stored,
)
from tests.memory.cluster import DeploymentState, SecretState

if TYPE_CHECKING:
    from rotation.model.targets import Kind
    from rotation.model.world import Deployment

__all__ = ["api", "cluster", "component", "kubeconfig", "place", "real", "space"]

# Pods of other kinds, one for another.
KINDS = [
    "StatefulSet",
    pytest.param("Deployment", marks=pytest.mark.long),
    pytest.param("DaemonSet", marks=pytest.mark.long),
]
LOGIN = ("orders_green", Secret("hunter2"))


def secret(place: Place, name: str, slot: str | None = "blue", **more: Any) -> SlotSecretTarget:
    data = {"username": "orders_blue", "password": "former", "other": "stays"}
    if isinstance(place, MemoryPlace):
        place._model.secrets[place.space, name] = SecretState(data, slot=slot, **more)  # noqa: SLF001 - there is no other way in
    elif isinstance(place, RealPlace):
        notes = {HOLDS: slot} if slot else {}
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "annotations": notes},
            "stringData": data,
            **more,
        }
        apply(place.api, [manifest], namespace=place.space)
    return SlotSecretTarget(place.space, name, "password", "username")


def single(place: Place, name: str, kind: Kind, login: str = "") -> DeploymentTarget:
    target = DeploymentTarget(place.space, name, kind)
    if isinstance(place, MemoryPlace):
        state = DeploymentState(
            place.space,
            name,
            "web",
            lambda: None,
            2,
            {"web": "web:1"},
            labels={"app": name},
            login=lambda: ("web", "mounted"),
            secret=login,
            kind=kind,
        )
        place._model.deployments[place.space, name] = state  # noqa: SLF001 - there is no other way in
        place._model.settle(state)  # noqa: SLF001 - as above
        return target
    assert isinstance(place, RealPlace)
    apply(place.api, [manifest(name, kind, login)], namespace=place.space)
    wait_until(partial(ready, place, target), 30, f"{kind} {name}")
    return target


def manifest(name: str, kind: Kind, login: str = "") -> dict[str, Any]:
    made = deployment(name, 2)
    made["kind"] = kind
    if login:
        pod = made["spec"]["template"]["spec"]
        pod["volumes"] = [{"name": "login", "secret": {"secretName": login}}]
        pod["containers"][0]["volumeMounts"] = [{"name": "login", "mountPath": "/mnt/login"}]
    if kind == "StatefulSet":
        made["spec"]["serviceName"] = name
    if kind == "DaemonSet":
        del made["spec"]["replicas"]
        # Of a node that no controller looks after nobody takes the first taint away.
        made["spec"]["template"]["spec"]["tolerations"] = [{"operator": "Exists"}]
    return made


def ready(place: Place, target: DeploymentTarget) -> bool:
    found = place.pods.deployment(target)
    return found is not None and found.replicas > 0 and unready(found) is None


def held(place: Place, target: SlotSecretTarget) -> tuple[Any, ...]:
    found = place.pods.exchanged(target)
    assert found is not None
    texts = [each.reveal() if each else None for each in (found.role, found.value)]
    return (found.seen.slot, *texts)


def seen(place: Place, target: DeploymentTarget) -> Deployment:
    found = place.pods.deployment(target)
    assert found is not None
    return found


def exchange(place: Place, target: SlotSecretTarget, revision: str | None = None) -> None:
    found = place.pods.exchanged(target)
    assert found is not None
    wanted = found.seen.revision if revision is None else revision
    place.pods.exchange(target, "green", LOGIN, version="v7", revision=wanted, by="r-1")


def test_a_secret_tells_whose_login_it_holds(place: Place, name: str) -> None:
    target = secret(place, name)
    assert held(place, target) == ("blue", "orders_blue", "former")
    found = place.pods.exchanged(target)
    assert found is not None
    assert (found.seen.immutable, found.seen.fence, found.seen.exchanged) == (False, None, None)
    assert "former" not in repr(found)
    assert place.pods.exchanged(SlotSecretTarget(place.space, f"{name}-x", "password")) is None


@pytest.mark.parametrize("slot", [None, "purple"])
def test_one_that_names_no_slot_holds_none(place: Place, name: str, slot: str | None) -> None:
    assert held(place, secret(place, name, slot))[0] is None


def test_what_is_not_under_its_keys_is_nothing(place: Place, name: str) -> None:
    target = secret(place, name)
    there = SlotSecretTarget(target.namespace, target.name, "x", "y")
    assert held(place, there) == ("blue", None, None)
    assert held(place, SlotSecretTarget(target.namespace, target.name, "other"))[1:] == (
        None,
        "stays",
    )


def test_an_exchange_writes_all_at_once(place: Place, name: str) -> None:
    target = secret(place, name)
    exchange(place, target)
    assert held(place, target) == ("green", "orders_green", "hunter2")
    found = place.pods.exchanged(target)
    assert found is not None
    assert found.seen.exchanged == "r-1"
    other = SlotSecretTarget(target.namespace, target.name, "other")
    assert held(place, other)[2] == "stays"


@pytest.mark.guarantee(4)
def test_a_secret_that_was_changed_meanwhile_is_not_written(place: Place, name: str) -> None:
    target = secret(place, name)
    found = place.pods.exchanged(target)
    assert found is not None
    place.pods.fence_secret(target, "r-1")
    with pytest.raises(Unavailable) as caught:
        exchange(place, target, found.seen.revision)
    assert caught.value.code is Code.CLUSTER_CONFLICT
    assert "hunter2" not in str(caught.value)
    assert held(place, target) == ("blue", "orders_blue", "former")
    fenced = place.pods.exchanged(target)
    assert fenced is not None
    assert fenced.seen.fence == "r-1"
    place.pods.fence_secret(target, "r-1")  # once more changes nothing
    exchange(place, target, fenced.seen.revision)
    assert held(place, target)[0] == "green"


def test_no_secret_is_made(place: Place, name: str) -> None:
    target = SlotSecretTarget(place.space, name, "password")
    with pytest.raises(Missing):
        place.pods.exchange(target, "green", LOGIN, version="v", revision="1", by="r")
    with pytest.raises(Missing):
        place.pods.fence_secret(target, "r")


@pytest.mark.parametrize("kind", KINDS)
def test_a_workload_of_each_kind_is_seen_and_restarted(place: Place, name: str, kind: Kind) -> None:
    target = single(place, name, kind)
    before = seen(place, target)
    pods = place.pods.listed(target)
    assert (before.kind, before.replicas, before.restarted, before.stays) == (kind, 2, None, None)
    assert before.ready == before.updated == before.total == len(pods) == 2
    _restart(place, target, before)
    _restart(place, target)
    wait_until(lambda: _restarted(place, target), 60, "the restart")
    after = seen(place, target)
    assert (after.version, after.restarted) == ("v7", "r-1.green")
    wait_until(lambda: len(place.pods.listed(target)) == 2, 30, "the end of the former")
    now = place.pods.listed(target)
    assert not {pod.addresses for pod in pods} & {pod.addresses for pod in now}
    if kind == "StatefulSet" and isinstance(place, RealPlace):
        assert [pod.name for pod in now] == [pod.name for pod in pods] == [f"{name}-0", f"{name}-1"]


def _restart(place: Place, target: DeploymentTarget, at: Deployment | None = None) -> None:
    revision = (at or seen(place, target)).revision or ""
    place.pods.restart(target, version="v7", exchange="r-1.green", revision=revision, by="r-1")


def _restarted(place: Place, target: DeploymentTarget) -> bool:
    if isinstance(place, MemoryPlace):
        place._edges.calls.pause(0.0)  # noqa: SLF001 - its clock stands still otherwise
    found = seen(place, target)
    return found.restarted == "r-1.green" and unready(found, "v7") is None


@pytest.mark.guarantee(4)
@pytest.mark.parametrize("kind", KINDS)
def test_one_that_was_changed_meanwhile_is_not_restarted(
    place: Place, name: str, kind: Kind
) -> None:
    target = single(place, name, kind)
    before = seen(place, target)
    _restart(place, target)
    changed = partial(place.pods.restart, target, version="v8", exchange="r-1.blue", by="r-1")
    with pytest.raises(Unavailable) as caught:
        changed(revision=before.revision or "")
    assert caught.value.code is Code.CLUSTER_CONFLICT
    assert seen(place, target).restarted == "r-1.green"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_there_is_none(place: Place, name: str, kind: Kind) -> None:
    target = DeploymentTarget(place.space, name, kind)
    assert place.pods.deployment(target) is None
    with pytest.raises(Missing):
        place.pods.listed(target)
    with pytest.raises(Missing):
        place.pods.restart(target, version="v", exchange="r.blue", revision="1", by="r")


@pytest.mark.parametrize("kind", KINDS)
def test_how_its_pods_read_the_secret(place: Place, name: str, kind: Kind) -> None:
    target = single(place, name, kind, secret(place, name).name)
    found = seen(place, target).template
    assert found is not None
    assert readings(found.document, name) == {"volume"}
    assert readings(found.document, f"{name}-x") == frozenset()


@pytest.mark.parametrize("kind", KINDS)
def test_who_did_it_stands_in_annotations(real: RealPlace, name: str, kind: Kind) -> None:
    target = single(real, name, kind)
    _restart(real, target)
    plural = f"{kind.lower()}s"
    found = stored(real.api, f"/apis/apps/v1/namespaces/{real.space}/{plural}/{name}")
    notes = found["metadata"]["annotations"]
    assert notes[ROTATION] == "r-1"
    assert notes[DID] == "restarts its pods with secret version v7"
    notes = found["spec"]["template"]["metadata"]["annotations"]
    assert notes == {VERSION: "v7", RESTARTED: "r-1.green"}
    login = secret(real, name)
    exchange(real, login)
    found = stored(real.api, f"/api/v1/namespaces/{real.space}/secrets/{name}")
    notes = found["metadata"]["annotations"]
    assert (notes[HOLDS], notes[ROTATION]) == ("green", "r-1")
    assert notes[DID] == "wrote the login of green, of secret version v7"
    assert "hunter2" not in json.dumps(found)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ({}, None),
        ({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}, None),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}, None),
        ({"type": "OnDelete"}, "its updateStrategy is OnDelete"),
        ({"rollingUpdate": {"partition": 1}}, "its updateStrategy has a partition"),
    ],
)
def test_what_keeps_pods_from_being_replaced(strategy: Any, expected: str | None) -> None:
    assert stays(strategy) == expected


@pytest.mark.parametrize(
    ("noted", "expected"),
    [("r-1.green", "r-1.green"), ("", None), ("a b", None), ("x" * 300, None), (7, None)],
)
def test_an_exchange_that_no_rotation_named_is_none(noted: Any, expected: str | None) -> None:
    assert exchange_in({RESTARTED: noted}) == expected
