"""One cluster for all tests, a namespace of it for each."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.local.cluster.support import Kube, cluster_component

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.process import Component

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Component]:
    with cluster_component(tmp_path_factory.mktemp("cluster")) as component:
        yield component


@pytest.fixture
def kube(cluster: Component) -> Iterator[Kube]:
    name = f"test-{next(_numbers)}"
    kube = Kube(cluster, name)
    kube.core.create_namespace({"metadata": {"name": name}})
    yield kube
    kube.core.delete_namespace(name)
    kube.client.close()
