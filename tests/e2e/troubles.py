"""A cluster that is not as it should be, for rotations on the stand-in and on real controllers."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from local import world
from local.cluster.client import apply, path_of
from local.process import wait_until
from rotation.model.world import SLOTS, Slot, other

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import Stack

SPACE, NAME = "orders", "api"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{SPACE}/deployments"
PODS = f"/api/v1/namespaces/{SPACE}/pods"
STRATEGIC, MERGE = "application/strategic-merge-patch+json", "application/merge-patch+json"
NOWHERE = "no.such/image:1"
HELD = 3.0  # seconds that a quota stays full after it has refused a pod


def ask(stack: Stack, method: str, path: str, body: Any = None, type_: str = "") -> int:
    """The status of a request of the administrator's."""
    client = stack.owner.kubernetes
    headers = {"Content-Type": type_} if type_ else {}
    parts = client.param_serialize(
        method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
    )
    return int(client.call_api(*parts).response.status)


def serving(stack: Stack) -> Slot:
    selected = set(stack.owner.active_slots().values())
    (found,) = (slot for slot in SLOTS if selected == {slot})
    return found


def conditions(stack: Stack, slot: Slot) -> dict[str, str]:
    """The reasons of the slot's Deployment's conditions, by type."""
    status = stack.owner.deployment(SPACE, f"{NAME}-{slot}").get("status", {})
    return {found["type"]: found["reason"] for found in status.get("conditions") or []}


@contextmanager
def a_rollout_that_failed(stack: Stack, slot: Slot) -> Iterator[None]:
    """The slot's pods were left at two, and never came up."""
    path = f"{DEPLOYMENTS}/{NAME}-{slot}"
    before = stack.owner.deployment(SPACE, f"{NAME}-{slot}")["spec"]
    pod = {"spec": {"containers": [{"name": NAME, "image": NOWHERE}]}}
    broken = {"replicas": 2, "progressDeadlineSeconds": 2, "template": pod}
    assert ask(stack, "PATCH", path, {"spec": broken}, STRATEGIC) == 200
    wait_until(
        lambda: conditions(stack, slot).get("Progressing") == "ProgressDeadlineExceeded",
        30,
        "the deadline of a rollout",
    )
    try:
        yield
    finally:
        back = {"progressDeadlineSeconds": before["progressDeadlineSeconds"]}
        assert ask(stack, "PATCH", path, {"spec": back}, STRATEGIC) == 200


@contextmanager
def strays(stack: Stack, slot: Slot) -> Iterator[list[str]]:
    """An evicted pod of the slot's, and a copy with its labels: their names."""
    wait_until(lambda: standing(stack, slot), 30, "a pod that can be evicted")
    evicted = standing(stack, slot)[0]
    path = f"{PODS}/{evicted}/status"
    status = {"phase": "Failed", "reason": "Evicted"}
    assert ask(stack, "PATCH", path, {"status": status}, MERGE) == 200
    copied = f"{NAME}-debug"
    labels = {"app": NAME, "slot": slot}
    debug = {"name": "debug", "image": NOWHERE}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": copied, "labels": labels}}
    apply(stack.owner.kubernetes, [{**manifest, "spec": {"containers": [debug]}}], namespace=SPACE)
    wait_until(lambda: stack.owner.ready(SPACE, f"{NAME}-{slot}"), 30, "a pod in its place")
    names = [evicted, copied]
    try:
        yield names
    finally:
        for name in names:
            ask(stack, "DELETE", f"{PODS}/{name}")


def listed(stack: Stack, slot: Slot) -> list[dict[str, Any]]:
    """The pods that have the slot's labels, whose ever they are."""
    found = stack.owner.kubernetes_get(f"{PODS}?labelSelector=app%3D{NAME}%2Cslot%3D{slot}")
    return list(found["items"])


def pods(stack: Stack, slot: Slot) -> set[str]:
    return {pod["metadata"]["name"] for pod in listed(stack, slot)}


def standing(stack: Stack, slot: Slot) -> list[str]:
    """Those of the slot's Deployment that run, and that nobody has told to end."""
    return [
        pod["metadata"]["name"]
        for pod in listed(stack, slot)
        if pod["metadata"].get("ownerReferences")
        and "deletionTimestamp" not in pod["metadata"]
        and pod["status"]["phase"] == "Running"
    ]


def refuse_for_some_seconds(stack: Stack, slot: Slot) -> None:
    """A quota that was full when the rotation started the slot's pods has room again, later."""
    wait_until(
        lambda: conditions(stack, slot).get("ReplicaFailure") == "FailedCreate",
        30,
        "a pod that is refused",
    )
    time.sleep(HELD)
    assert ask(stack, "DELETE", path_of(quota(), SPACE)) == 200


def quota() -> dict[str, Any]:
    metadata = {"name": "full"}
    spec = {"hard": {"pods": "0"}}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec}


def rotate_through(stack: Stack) -> None:
    """Checks that a rotation that is approved completes in a cluster with all of these troubles."""
    active = serving(stack)
    standby = other(active)
    already = pods(stack, active) - set(standing(stack, active))  # left by a test before this one
    with a_rollout_that_failed(stack, standby), strays(stack, active) as left:
        apply(stack.owner.kubernetes, [quota()], namespace=SPACE)
        wait_until(lambda: used(stack) is not None, 30, "the quota's count")
        rotation = started(stack)
        refuse_for_some_seconds(stack, standby)
        stack.client.follow(rotation, decided, timeout=60)
        stack.client.decide(rotation, "approve")
        record = stack.client.follow(rotation, lambda found: found["outcome"], timeout=60)
        assert record["outcome"] == "completed", record["outcomeReason"]
        assert pods(stack, active) - already == set(left)
    assert serving(stack) == standby


def used(stack: Stack) -> object:
    """What a quota counts; the stand-in's tells nothing, and needs no time."""
    found = stack.owner.kubernetes_get(path_of(quota(), SPACE))
    return found.get("status", {"used": "at once"}).get("used")


def started(stack: Stack) -> str:
    body = {"credential": world.CREDENTIAL, "by": world.OPERATOR}
    return str(stack.client.api("POST", "/rotations", body).json["rotation"])


def decided(record: dict[str, Any]) -> bool:
    return bool(record["outcome"] or (record["approval"] or {}).get("event"))


@contextmanager
def a_shared_selector(stack: Stack, slot: Slot) -> Iterator[None]:
    """The slot's Deployment was made anew, with a selector that finds both slots' pods."""
    name = f"{NAME}-{slot}"
    found = stack.owner.deployment(SPACE, name)
    whole = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {key: found["metadata"][key] for key in ("name", "labels") if key in found},
        "spec": found["spec"],
    }
    whole["metadata"]["name"] = name
    shared = {**found["spec"], "selector": {"matchLabels": {"app": NAME}}}
    try:
        replace(stack, {**whole, "spec": shared})
        yield
    finally:
        replace(stack, whole)


def replace(stack: Stack, manifest: dict[str, Any]) -> None:
    """Deletes a Deployment, and makes it anew."""
    path = path_of(manifest, SPACE)
    assert ask(stack, "DELETE", path) == 200
    wait_until(lambda: ask(stack, "GET", path) == 404, 10, "the end of a Deployment")
    apply(stack.owner.kubernetes, [manifest], namespace=SPACE)


def refused(stack: Stack) -> list[dict[str, Any]]:
    """The reasons for which a rotation is refused while the standby's selector is shared."""
    active = serving(stack)
    with a_shared_selector(stack, other(active)):
        rotation = started(stack)
        record = stack.client.follow(rotation, decided, timeout=60)
    assert record["outcome"] == "refused", record["outcomeReason"]
    assert serving(stack) == active
    reasons: list[dict[str, Any]] = record["reasons"]
    return reasons
