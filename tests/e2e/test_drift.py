"""A release of configuration to one slot: refused by its path, or brought along under load."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from local import world
from local.load import Load
from local.process import wait_until
from local.stack import APP
from rotation.model.world import SLOTS, other
from tests.e2e import site
from tests.e2e.test_rotation import active, ended, started, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import Stack

VARIABLE = {"name": "RELEASED", "value": "a value that nobody may read"}
PATH = "spec.containers[api].env[RELEASED]"


def apps(stack: Stack) -> Any:
    from kubernetes import client  # noqa: PLC0415 - half a second, for these tests

    return client.AppsV1Api(stack.owner.kubernetes)


def variables(stack: Stack, slot: str) -> dict[str, str]:
    found = apps(stack).read_namespaced_deployment(f"api-{slot}", "orders")
    return {one.name: one.value for one in found.spec.template.spec.containers[0].env}


def configure(stack: Stack, slot: str, variable: dict[str, str]) -> None:
    """Somebody releases configuration to one Deployment."""
    body = {"spec": {"template": {"spec": {"containers": [{"name": "api", "env": [variable]}]}}}}
    apps(stack).patch_namespaced_deployment(f"api-{slot}", "orders", body)

    def settled() -> bool:
        found = apps(stack).read_namespaced_deployment(f"api-{slot}", "orders")
        wanted, status = found.spec.replicas, found.status
        seen = (status.observed_generation or 0) >= found.metadata.generation
        counts = (status.updated_replicas or 0, status.ready_replicas or 0, status.replicas or 0)
        return seen and counts == (wanted, wanted, wanted)

    wait_until(settled, 60, "the rollout of the release")


def writes(stack: Stack) -> list[dict[str, Any]]:
    """What the app has asked the cluster to change so far."""
    lines = (stack.directory / "cluster" / "audit.log").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    mine = [one for one in events if one["user"]["username"] == APP.principal_id]
    return [one for one in mine if one["verb"] not in {"get", "list", "watch"}]


@pytest.fixture
def drifted(stack: Stack) -> Iterator[Stack]:
    configure(stack, active(stack), VARIABLE)
    yield stack
    for slot in SLOTS:
        configure(stack, slot, {"name": VARIABLE["name"], "$patch": "delete"})


@contextmanager
def synced(stack: Stack) -> Iterator[None]:
    """The owner has `template: sync` for the workload, and lets the guard know."""
    from kubernetes import client  # noqa: PLC0415 - half a second, for these tests

    def guard(word: str) -> None:
        core = client.CoreV1Api(stack.owner.kubernetes)
        core.patch_namespaced_config_map(
            "guard", "credential-rotation", {"data": {"templates": word}}
        )

    api, web = stack.options.credential["workloads"]
    workloads = [{**api, "template": "sync"}, web]
    guard("sync")
    try:
        with site.host_with(stack, {}, workloads=workloads):
            yield
    finally:
        guard("images")


@pytest.mark.long
@pytest.mark.guarantee(2)
def test_a_drift_is_refused_by_its_path_and_nothing_is_written(drifted: Stack) -> None:
    before = len(writes(drifted))
    record = ended(drifted, started(drifted))
    assert record["outcome"] == "refused"
    (why,) = record["reasons"]
    assert why["code"] == "templates-differ"
    assert why["text"].endswith(f"differ at {PATH}")
    assert VARIABLE["value"] not in json.dumps(record)
    assert writes(drifted)[before:] == []


@pytest.mark.long
@pytest.mark.guarantee(2)
def test_with_sync_one_deployment_is_released_and_no_request_fails(drifted: Stack) -> None:
    before = active(drifted)
    urls = [drifted.owner.service_url(space, name) for name, space in world.WORKLOADS.items()]
    with synced(drifted), Load(urls, rate=40, workers=9, fresh=3) as load:
        rotation = started(drifted)
        record = drifted.client.follow(rotation, waiting)
        assert record["outcome"] is None, record["outcomeReason"]
        drifted.client.decide(rotation, "approve")
        record = ended(drifted, rotation)
        report = load.stop()
    assert record["outcome"] == "completed"
    assert (report.failed, report.failures) == (0, [])
    assert record["evidence"]["decided"]["templates"] == {"api": [], "web": []}
    found = variables(drifted, other(before))
    assert found["RELEASED"] == VARIABLE["value"]
    assert (found["SLOT"], found["DATABASE_ROLE"]) == (other(before), f"orders_{other(before)}")
    assert VARIABLE["value"] not in json.dumps(record)
