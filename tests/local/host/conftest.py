"""The real host process, running the sample app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from tests.local.host.support import Sample, sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.process import Component


@pytest.fixture(scope="session")
def pool() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(timeout=20, retries=False) as manager:
        yield manager


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, pool: urllib3.PoolManager) -> Iterator[Sample]:
    folder = tmp_path_factory.mktemp("host")
    with sample(folder) as component:
        yield Sample(component, pool, folder / "notes")


@pytest.fixture
def launch(tmp_path: Path, pool: urllib3.PoolManager) -> Iterator[Any]:
    """Starts hosts of a test's own, in one folder: the next one continues the journal."""
    started: list[Component] = []

    def start(*arguments: str, **settings: str) -> Sample:
        component = sample(tmp_path, *arguments, settings=settings).start()
        started.append(component)
        return Sample(component, pool, tmp_path / "notes")

    yield start
    for component in started:
        component.stop()
