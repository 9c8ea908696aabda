"""Deployments in the shapes that public charts have, each with what is to be found in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from rotctl.adopt import refusals, sources, telling
from rotctl.adopt.asking import Answers, Facts
from rotctl.adopt.deciding import Decided, decide

if TYPE_CHECKING:
    from rotctl.adopt.original import Original
    from rotctl.adopt.plan import Form, Plan

FOLDER = Path(__file__).with_name("shapes")
IDENTITY = "33333333-3333-3333-3333-333333333333"
SERVER = "https://aks.example"


@dataclass(frozen=True)
class Shape:
    """`expect` is what is to be found, `answers` what its shape cannot say."""

    name: str
    expect: dict[str, Any]
    answers: dict[str, Any]
    objects: list[dict[str, Any]]

    def __str__(self) -> str:
        return self.name

    @property
    def original(self) -> Original:
        kind = self.expect.get("kind", "Deployment")
        stays = [self.expect["named"]] if "in_place" in self.answers else []
        (found,) = sources.originals(self.objects, [(kind, self.expect["named"])], stays)
        return found

    def decided(self, form: Form = "manifests", **more: Any) -> Decided:
        given = {name: _tuple(value) for name, value in {**self.answers, **more}.items()}
        known: dict[str, Any] = {"app_identity": IDENTITY, "server": SERVER, **given}
        original = self.original
        sources.refuse(refusals.of_workload(original))
        return decide([original], Answers(**known), Facts(), form)

    def plan(self, form: Form = "manifests", **more: Any) -> Plan:
        decided = self.decided(form, **more)
        assert decided.plan is not None, [str(one) for one in decided.questions]
        return decided.plan

    def told(self) -> str:
        return " ".join(line for one in self.plan().workloads for line in telling.told(one))


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def read(path: Path) -> Shape:
    head, *documents = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    objects = [sources.without_values(one) for one in documents]
    return Shape(path.stem, head["expect"], head["answers"], objects)


@cache  # read by many tests, changed by none
def shapes() -> list[Shape]:
    return [read(path) for path in sorted(FOLDER.glob("*.yaml"))]


@cache
def shapes_in_place() -> list[Shape]:
    return [read(path) for path in sorted((FOLDER / "in-place").glob("*.yaml"))]


@cache
def by_gateway() -> Shape:
    return read(FOLDER / "routes" / "01-by-a-gateway.yaml")


def shape(name: str) -> Shape:
    (found,) = [one for one in shapes() if one.name.partition("-")[2] == name]
    return found
