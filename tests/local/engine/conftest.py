from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.engine import MemoryJournal, SqliteJournal
from tests.local.engine.support import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """On both journals: they have to behave the same."""
    journal = (
        MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "journal.db")
    )
    yield World(journal)
    journal.close()
