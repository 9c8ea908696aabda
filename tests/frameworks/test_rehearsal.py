"""`rotctl rehearse` on applications of other frameworks: it says what whole rotations of them have
measured (the table of docs/applications.md). Built as in `test_recipes.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.frameworks.site import NAMESPACE, WORKLOAD
from rotctl.rehearse import looking, verdict
from rotctl.rehearse.plan import Load
from rotctl.rehearse.running import Rehearsal
from rotctl.rehearse.space import Space

if TYPE_CHECKING:
    from bench.frameworks.catalogue import Framework, Shape
    from bench.frameworks.site import Site
    from rotctl.rehearse.verdict import Measured

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
LOAD = Load(path="/orders", rate=10.0, steady=2.0)
# Of those that lose every connection as they come, whatever else happens.
LOSE_ALL = ("express", "go", "uvicorn")
# By their answers or their command line.
TOLD_APART = {"express": "express", "gunicorn": "gunicorn", "gunicorn-23": "gunicorn"} | {
    "uvicorn": "uvicorn", "spring": "", "go": "",
}  # fmt: skip


def rehearsed(place: Site, framework: Framework, shape: Shape) -> Measured:
    place.install(framework, shape)
    space = Space(place.stack.owner.kubernetes, NAMESPACE)
    serving = [
        one["metadata"]["name"]
        for one in space.items("Deployment")
        if one["spec"]["replicas"] and one["metadata"]["name"].startswith(WORKLOAD)
    ]
    plan = looking.plan(looking.seen(space), serving[0], LOAD, service=WORKLOAD)
    found = Rehearsal(space, plan, lambda _: None).run()
    assert (found.steady.lost, found.move.lost) == (0, 0)
    return found


def test_it_says_which_recipe_and_with_the_recipe_nothing(
    place: Site, framework: Framework
) -> None:
    (recipe,) = [shape for shape in framework.shapes if shape.lame_duck]
    found = rehearsed(place, framework, framework.shapes[0])
    assert found.lost <= LOAD.connections
    assert found.framework == TOLD_APART[framework.name]
    if framework.name in LOSE_ALL:
        assert found.lost == LOAD.connections
        (said,) = verdict.findings(found)
        assert (said.code, said.recipe) == ("untold", verdict.recipe(found))
    found = rehearsed(place, framework, recipe)
    assert found.lost == 0
    assert [one.code for one in verdict.findings(found)] == ["told"]
