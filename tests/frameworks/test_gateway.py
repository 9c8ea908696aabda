"""The application that loses most requests where a Service is swapped, behind a Gateway: whole
rotations of it as it comes, without a lame duck."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.frameworks import building, measuring, site
from bench.frameworks.catalogue import FRAMEWORKS
from bench.frameworks.measuring import CLIENTS, KINDS, Pace

if TYPE_CHECKING:
    from pathlib import Path

    from bench.frameworks.measuring import Found

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
MOST = "express"
PACE = Pace(approved=2, rejected=1)


def measured(folder: Path, *, routed: bool) -> Found:
    (framework,) = [one for one in FRAMEWORKS if one.name == MOST]
    try:
        building.build(framework)
    except building.ToolMissing as missing:
        pytest.skip(str(missing))
    with site.stack(folder, routed=routed) as stack:
        place = site.Site(stack, routed=routed)
        return measuring.measure(place, framework, framework.shapes[0], PACE)


@pytest.mark.guarantee(2)
def test_behind_a_gateway_it_loses_none(tmp_path: Path) -> None:
    found = measured(tmp_path, routed=True)
    nothing = dict.fromkeys(KINDS, 0)
    assert (found.approved, found.rejected) == ([nothing] * 2, [nothing])
    assert (found.elsewhere, found.kinds) == (nothing, {})
    assert found.requests > 2 * CLIENTS


def test_by_a_service_it_loses_one_for_each_connection(tmp_path: Path) -> None:
    found = measured(tmp_path, routed=False)
    assert sum(sum(each.values()) for each in found.approved) > 0
    assert measuring.broken(found) == []
