"""A stack of its own: what is broken here must not be in others' way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.stack import Options, Stack
from tests.conftest import QUICK

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def shared_chaos_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Steps are patient enough to outlast what is stopped and started again."""
    credential = {**QUICK, "retry": {"patience": "60s", "compensation": "90s"}}
    options = Options(replicas=1, watch_seconds=5, credential=credential)
    with Stack(tmp_path_factory.mktemp("chaos"), options) as stack:
        yield stack


@pytest.fixture
def chaos_stack(shared_chaos_stack: Stack) -> Iterator[Stack]:
    yield shared_chaos_stack
    shared_chaos_stack.faults.restore()
