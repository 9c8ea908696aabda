"""The recipes of docs/applications.md, on whole rotations of applications that are built with the
frameworks' own tools: `make test-frameworks`. What this machine has no tools for is skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.frameworks import measuring
from bench.frameworks.measuring import CLIENTS, Pace

if TYPE_CHECKING:
    from bench.frameworks.catalogue import Framework
    from bench.frameworks.site import Site

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
ONCE = Pace(approved=1, rejected=1)


@pytest.mark.guarantee(2)
def test_with_the_recipe_no_request_fails(place: Site, framework: Framework) -> None:
    (recipe,) = [shape for shape in framework.shapes if shape.lame_duck]
    found = measuring.measure(place, framework, recipe, ONCE)
    assert measuring.broken(found) == []
    assert found.kinds == {}
    assert found.requests > 2 * CLIENTS


def test_as_it_comes_only_an_approval_fails_requests_and_one_for_each_connection(
    place: Site, framework: Framework
) -> None:
    found = measuring.measure(place, framework, framework.shapes[0], ONCE)
    assert measuring.broken(found) == []
    assert all(failed <= CLIENTS for each in found.approved for failed in each.values())
