"""Applications of other frameworks, each built with its own tools, on one local stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.frameworks import building, site
from bench.frameworks.catalogue import FRAMEWORKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.frameworks.catalogue import Framework
    from bench.frameworks.site import Site


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site.stack(tmp_path_factory.mktemp("frameworks")) as stack:
        yield site.Site(stack)


@pytest.fixture(params=FRAMEWORKS, ids=lambda framework: framework.name)
def framework(request: pytest.FixtureRequest) -> Framework:
    found: Framework = request.param
    try:
        building.build(found)
    except building.ToolMissing as missing:
        pytest.skip(str(missing))
    return found
