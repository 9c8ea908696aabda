"""What leads back to one slot is what was there, with what has become of it since."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import yaml

from rotctl.adopt import folder, former
from rotctl.adopt.cleaning import cleaned
from rotctl.adopt.original import template_of
from rotctl.exits import ClientError
from tests.rotctl.adopt.shapes import Shape, shapes

PLANNED = [
    one for one in shapes() if one.expect.get("kind", "Deployment") in {"Deployment", "CronJob"}
]
every = pytest.mark.parametrize("found", PLANNED, ids=str)


def texts(found: Shape) -> tuple[str, str]:
    files, name = folder.files(found.plan()), found.original.name
    return files[f"kubernetes/undo/{name}.yaml"], files[f"kubernetes/{name}-blue.yaml"]


def live(adopted: str, kind: str) -> dict[str, Any]:
    (made,) = [one for one in yaml.safe_load_all(adopted) if one["kind"] == kind]
    return dict(made)


@every
def test_nothing_has_changed(found: Shape) -> None:
    before, adopted = texts(found)
    made = former.text(before, adopted, json.dumps(live(adopted, found.original.kind)))
    assert yaml.safe_load(made) == cleaned(found.original.workload)
    assert former.text(before, adopted, "") == made


@every
def test_a_release_is_kept_and_the_slot_is_not(found: Shape) -> None:
    before, adopted = texts(found)
    now = live(adopted, found.original.kind)
    (*_, container) = template_of(now)["spec"]["containers"]
    container["image"] = "registry.example/next:2"
    container.setdefault("env", []).append({"name": "RELEASE", "value": "2"})
    template_of(now)["metadata"].setdefault("annotations", {})["credential-rotation/by"] = "app"
    now["metadata"].setdefault("annotations", {})["credential-rotation/by"] = "app"
    now["metadata"] |= {"uid": "1", "managedFields": [{}]}
    made = yaml.safe_load(former.text(before, adopted, json.dumps(now)))
    wanted = copy.deepcopy(cleaned(found.original.workload))
    (*_, was) = template_of(wanted)["spec"]["containers"]
    was["image"] = "registry.example/next:2"
    was.setdefault("env", []).append({"name": "RELEASE", "value": "2"})
    assert made == wanted


def test_a_container_that_went_is_gone_and_replicas_are_those_of_now() -> None:
    (found,) = [one for one in PLANNED if one.name.endswith("sidecars")]
    before, adopted = texts(found)
    now = live(adopted, "Deployment")
    now["spec"]["replicas"] = 7
    gone = template_of(now)["spec"]["containers"].pop()["name"]
    made = yaml.safe_load(former.text(before, adopted, json.dumps(now)))
    assert made["spec"]["replicas"] == 7
    assert gone not in [one["name"] for one in template_of(made)["spec"]["containers"]]


@pytest.mark.parametrize("said", ["{", "[]", '{"kind": "Secret", "metadata": {}}'])
def test_what_is_not_of_the_folder_is_refused_without_quoting_it(said: str) -> None:
    before, adopted = texts(PLANNED[0])
    with pytest.raises(ClientError, match="not one object of the kind"):
        former.text(before, adopted, said)
