"""One host for all stories, on the engine that the run was told (`--engine`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local import engines
from local.durable import parts
from tests.engine.support import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine.support import Engine


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    chosen = engines.selected()
    if chosen == engines.AZURE and (missing := parts.missing()):
        pytest.skip("; ".join(missing))
    with running(chosen, tmp_path_factory.mktemp("engine")) as found:
        yield found
