"""A session that calls itself what a workload's sessions are called is nobody's for that.

Whoever has the replaced password, an old job or a thief, would otherwise be missing from what the
approver reads, and from what a policy of `onDeadline: approve` waits for.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from local import world
from local.process import wait_until
from rotation.formats import Shape, read
from rotation.model.targets import SecretTarget
from tests.e2e.test_rotation import active, ended, started, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import Stack


@contextmanager
def session(stack: Stack, slot: str, application: str) -> Iterator[None]:
    """Somebody's who has the password: from 127.0.0.1, which is no pod's address."""
    value = stack.owner.vault.value(SecretTarget(world.secret(slot)))
    dsn = make_conninfo(
        stack.owner.dsn(world.DATABASE),
        user=f"orders_{slot}",
        password=read(Shape("password"), value, slot).password.reveal(),
        application_name=application,
    )
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT 1")
        yield


def evidence(stack: Stack, rotation: str) -> dict[str, Any]:
    found: dict[str, Any] = stack.client.api("GET", f"/rotations/{rotation}/evidence").json
    return found


@pytest.mark.long
@pytest.mark.parametrize("name", ["api", pytest.param("web", marks=pytest.mark.long)])
def test_it_is_still_in_use(stack: Stack, name: str) -> None:
    before = active(stack)
    own = f"orders-{name}/{before}"
    with session(stack, before, own):
        rotation = started(stack)
        stack.client.follow(rotation, waiting)
        found = evidence(stack, rotation)
        strange = [
            (row["application"], row["client"], row["sessions"]) for row in found["stillInUse"]
        ]
        assert found["complete"], found["problems"]
        assert strange == [(own, "127.0.0.1", 1)]
        # The workload's own sessions, of the same name, are known by their pods' addresses.
        rows = [row for row in found["sessions"] if row["workload"] == name]
        assert {row["knownBy"] for row in rows} == {"pods"}
        assert own in {row["application"] for row in rows}
        assert all(row["client"].startswith("127.") for row in rows)
    wait_until(lambda: not evidence(stack, rotation)["stillInUse"], 20, "an end of it")
    stack.client.reject(rotation)
    assert ended(stack, rotation)["outcome"] == "rolled-back"


def test_each_pod_connects_from_an_address_of_its_own(stack: Stack) -> None:
    pods = [
        pod
        for name, space in world.WORKLOADS.items()
        for pod in stack.owner.kubernetes_get(f"/api/v1/namespaces/{space}/pods")["items"]
        if name in pod["metadata"]["name"]
    ]
    addresses = [pod["status"]["podIP"] for pod in pods]
    assert len(set(addresses)) == len(addresses) > 1
    with psycopg.connect(stack.owner.dsn(), autocommit=True) as connection:
        rows = connection.execute(
            "SELECT DISTINCT host(client_addr) FROM pg_stat_activity"
            " WHERE usename LIKE 'orders%' AND application_name LIKE 'orders-%'"
        ).fetchall()
    seen = {row[0] for row in rows}
    assert seen
    assert seen <= set(addresses), json.dumps([sorted(seen), addresses])
