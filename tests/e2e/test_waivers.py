"""A rotation that is refused, and begins once somebody who may has waived the problem."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local import world
from rotation.model.world import other
from tests.e2e import site
from tests.e2e.test_rotation import active, ended, started, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import Stack

DIFFER = "containers-differ"
ADA = world.APPROVERS[0]
INIT = {"name": "migrate", "image": next(iter(world.IMAGES)), "command": ["true"]}


@pytest.fixture
def drifted(stack: Stack) -> Iterator[Stack]:
    """Somebody gave the standby Deployment a container more."""
    name = f"api-{other(active(stack))}"
    init(stack, name, INIT)
    yield stack
    init(stack, name, {"name": INIT["name"], "$patch": "delete"})


def init(stack: Stack, name: str, container: dict[str, Any]) -> None:
    from kubernetes import client  # noqa: PLC0415 - half a second, for one test

    client.AppsV1Api(stack.owner.kubernetes).patch_namespaced_deployment(
        name, "orders", {"spec": {"template": {"spec": {"initContainers": [container]}}}}
    )


@pytest.mark.guarantee(6)
@pytest.mark.long
def test_what_an_approver_waives_does_not_stop_a_rotation(drifted: Stack) -> None:
    client = drifted.client
    assert ended(drifted, started(drifted))["reasons"][0]["code"] == DIFFER

    known = len(client.rotations())
    body = {"credential": world.CREDENTIAL, "by": world.OPERATOR, "waive": [DIFFER]}
    assert client.api("POST", "/rotations", body).json["code"] == "not-allowed"
    body |= {"by": ADA, "waive": [DIFFER, "role-missing"]}
    assert client.api("POST", "/rotations", body).json["code"] == "not-waivable"
    assert len(client.rotations()) == known

    rotation = started(drifted, by=ADA, waive=[DIFFER])
    record = client.follow(rotation, waiting)
    assert record["outcome"] is None, record["outcomeReason"]
    [waiver] = record["waivers"]
    assert (waiver["code"], waiver["by"], waiver["via"]) == (DIFFER, ADA, "request")
    assert "init:migrate" in waiver["text"]
    told = [one["data"] for one in site.published(drifted) if one["data"]["rotation"] == rotation]
    assert told
    assert all(data["waivers"] == [waiver] for data in told)
    page = client.request("GET", f"/api/pages/rotations/{rotation}?code={drifted.keys['function']}")
    assert "in spite of" in page.body.decode()
    assert client.decide(rotation, "approve", ADA).status == 403
    assert client.decide(rotation, "reject", world.APPROVERS[1]).status == 200
    assert ended(drifted, rotation)["outcome"] == "rolled-back"
