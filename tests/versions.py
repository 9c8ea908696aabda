"""Which versions of PostgreSQL a test runs on: the newest that is at hand.

`make long` has the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.postgres import Installation, installations

if TYPE_CHECKING:
    from _pytest.mark.structures import MarkDecorator, ParameterSet


def marks(found: Installation) -> tuple[MarkDecorator, ...]:
    """`long` for a version that is not the newest."""
    newest = max(one.major for one in installations())
    return () if found.major == newest else (pytest.mark.long,)


def each() -> list[ParameterSet]:
    """A parameter for each installation, with its version as the id."""
    return [pytest.param(one, id=str(one.major), marks=marks(one)) for one in installations()]
