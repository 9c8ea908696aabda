"""One credential, two clusters: one signed in to with an Entra token, one by kubeconfig."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest

from local import proof, world
from local.cluster.client import connect
from local.process import Component, free_port
from local.stack import Options, Owner, Stack
from tests.conftest import QUICK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kubernetes.client import ApiClient

    from local.stack import Parts


ELSEWHERE = "shop"  # the namespace that is in the second cluster


class TwoClusters(Stack):
    def _start_cluster(self) -> None:
        self.components["second"] = Component.module(
            "cluster",
            *(
                "--state",
                self._path("second", "cluster"),
                "--port",
                str(free_port()),
                *self._shared(),
            ),
            *("--name", "second", "--images", self._write("images.json", world.IMAGES)),
            *("--vault-ca", str(self.addresses.authority)),
            log=self.directory / "logs" / "second.log",
            env=self._environment(),
        ).start()
        super()._start_cluster()

    @cached_property
    def owner(self) -> Owner:
        return OwnerOfTwo(self)


class OwnerOfTwo(Owner):
    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._kubeconfig = parts.directory / "second" / "cluster" / "kubeconfig"

    @cached_property
    def second(self) -> ApiClient:
        return connect(self._kubeconfig)

    def api_client(self, namespace: str) -> ApiClient:
        return self.second if namespace == ELSEWHERE else self.kubernetes


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Stack]:
    workloads: list[dict[str, Any]] = [
        {**workload, "cluster": "second"} if workload["namespace"] == ELSEWHERE else workload
        for workload in QUICK["workloads"]
    ]
    options = Options(
        replicas=1,
        watch_seconds=2,
        credential={**QUICK, "workloads": workloads},
        clusters={"second": {"kubeconfig": str(tmp_path / "second" / "cluster" / "kubeconfig")}},
    )
    with TwoClusters(tmp_path, options) as stack:
        yield stack


@pytest.mark.long
def test_workloads_of_two_clusters_move_together(two: Stack) -> None:
    assert {
        two.owner.deployment(ns, f"{name}-blue")["status"]["readyReplicas"]
        for name, ns in world.WORKLOADS.items()
    } == {1}
    answer = two.client.api(
        "POST", "/rotations", {"credential": world.CREDENTIAL, "by": world.OPERATOR}
    )
    rotation = answer.json["rotation"]
    two.client.follow(rotation, lambda record: (record["approval"] or {}).get("event"))
    seen = proof.Passwords.read(two)
    assert two.client.decide(rotation, "approve").status == 200
    record = two.client.follow(rotation, lambda record: record["outcome"])
    assert record["outcome"] == "completed"
    checks = proof.check(two, record, "green", [seen])
    assert [check.what for check in checks if not check.holds] == []
