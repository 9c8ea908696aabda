"""What of a cluster's settings the edge refuses by itself: no cluster is asked for these."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from rotation.config import Cluster
from rotation.edges.cluster.client import Api
from rotation.model.errors import Invalid, Unavailable
from rotation.model.targets import ServiceTarget
from rotation.secrecy import Secret
from tests.contract.clusters import SLOT, edge_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("authority", ["nothing.pem", "x" * 300])
def test_an_authority_that_is_not_there(authority: str) -> None:
    settings = {"server": "https://127.0.0.1:1", "certificateAuthority": authority}
    with pytest.raises(Invalid, match="is neither PEM text nor a file"):
        edge_of(Cluster.model_validate(settings))


def test_an_api_that_is_down() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = f"https://127.0.0.1:{taken.getsockname()[1]}"
        cluster = edge_of(Cluster(server=server))
        with pytest.raises(Unavailable, match="is its API reachable"):
            cluster.traffic.route(ServiceTarget("orders", "x", SLOT))


KUBECONFIGS: list[str | None] = [None, "", "{", "[]", "a: 1", "current-context: x\ncontexts: []"]


@pytest.mark.parametrize("content", KUBECONFIGS)
def test_a_kubeconfig_that_cannot_be_used(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "kubeconfig"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(Invalid, match=r"cannot be used: .*; check the path and the context"):
        edge_of(Cluster(kubeconfig=str(file)))


def test_a_kubeconfig_whose_user_is_not_listed_signs_nobody_in(tmp_path: Path) -> None:
    """As kubectl has it: the server answers 401, if it wants somebody."""
    file = tmp_path / "kubeconfig"
    contexts = "contexts: [{name: c, context: {cluster: k, user: nobody}}]"
    clusters = 'clusters: [{name: k, cluster: {server: "http://127.0.0.1:1"}}]'
    file.write_text(f"current-context: c\n{contexts}\n{clusters}\nusers: []\n", encoding="utf-8")
    found = Api("aks", Cluster(kubeconfig=str(file)), lambda: Secret("token"))
    assert found.client.configuration.api_key == {}
