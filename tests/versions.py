"""Which versions of PostgreSQL a test runs on: the oldest and the newest that are at hand.

`make long` has those between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.postgres import Installation, installations

if TYPE_CHECKING:
    from _pytest.mark.structures import MarkDecorator, ParameterSet


def marks(found: Installation) -> tuple[MarkDecorator, ...]:
    """`long` for a version that is neither the oldest nor the newest."""
    majors = [one.major for one in installations()]
    return () if found.major in {majors[0], majors[-1]} else (pytest.mark.long,)


def each() -> list[ParameterSet]:
    """A parameter for each installation, with its version as the id."""
    return [pytest.param(one, id=str(one.major), marks=marks(one)) for one in installations()]
