"""Each form of what Git has makes the same objects, by the tools that people have."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from rotctl.adopt import folder, writing
from rotctl.adopt.cleaning import cleaned
from rotctl.adopt.moves import moves
from tests.rotctl.adopt.shapes import Shape, by_gateway, shape, shapes, shapes_in_place

if TYPE_CHECKING:
    from pathlib import Path

    from rotctl.adopt.plan import Form

KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl here")
Objects = dict[tuple[str, str], dict[str, Any]]


def keyed(text: str) -> Objects:
    """Objects by kind and name, with lists of named items in the order of their names: a patch
    has its own."""
    found = [one for one in yaml.safe_load_all(text) if one]
    return {(one["kind"], one["metadata"]["name"]): _ordered(cleaned(one)) for one in found}


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _ordered(child) for key, child in value.items()}
    if isinstance(value, list) and all(isinstance(one, dict) and "name" in one for one in value):
        return sorted((_ordered(one) for one in value), key=lambda one: str(one["name"]))
    return [_ordered(one) for one in value] if isinstance(value, list) else value


def written(found: Shape, form: Form, out: Path) -> Path:
    """The folder in this form, beside the base that it is over."""
    base = out / "base"
    base.mkdir(parents=True)
    text = yaml.safe_dump_all([one for one in found.objects if one["kind"] != "Secret"])
    (base / "all.yaml").write_text(text, encoding="utf-8")
    (base / "kustomization.yaml").write_text("resources: [all.yaml]\n", encoding="utf-8")
    more = {"base": "../base"} if form == "kustomize" else {}
    writing.write(out / "made", folder.files(found.plan(form, **more)))
    return out / "made" / "git"


def built(git: Path, *, script: bool, **env: str) -> str:
    assert KUBECTL is not None
    command = ["./post-render.sh"] if script else [KUBECTL, "kustomize", "."]
    given = (git.parents[1] / "base" / "all.yaml").read_text(encoding="utf-8")
    done = subprocess.run(  # noqa: S603 - argv is written here
        command, cwd=git, input=given, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_same(found: Shape, built_text: str) -> None:
    name = found.original.name
    wanted = keyed(folder.files(found.plan())[f"git/{name}.yaml"])
    made = keyed(built_text)
    assert {key: made.get(key) for key in wanted} == wanted
    gone = {
        (one["kind"], one["metadata"]["name"]) for one in found.objects if one["kind"] != "Secret"
    }
    left = {key for key in made if key not in wanted}
    assert left <= gone, "only what the base had besides"
    assert (found.original.kind, name) not in made


@needs_kubectl
@pytest.mark.parametrize(
    "found",
    [
        pytest.param(
            one,
            id=str(one),
            marks=() if one.name[:2] in {"05", "08", "14", "15"} else pytest.mark.long,
        )
        for one in shapes()
    ],
)
def test_an_overlay_makes_what_the_manifests_are(found: Shape, tmp_path: Path) -> None:
    git = written(found, "kustomize", tmp_path)
    assert_same(found, built(git, script=False))


@needs_kubectl
@pytest.mark.parametrize("form", ["kustomize", "helm"])
@pytest.mark.parametrize("found", [*shapes_in_place(), by_gateway()], ids=str)
def test_what_gets_no_twin_or_is_behind_a_gateway_is_the_same_in_each_form(
    found: Shape, form: Form, tmp_path: Path
) -> None:
    made = keyed(built(written(found, form, tmp_path), script=form == "helm"))
    wanted = keyed(folder.files(found.plan())[f"git/{found.original.name}.yaml"])
    assert {key: made.get(key) for key in wanted} == wanted
    assert ("HTTPRoute", "shop") not in made  # its weights are a rotation's
    left = {key for key in made if key not in wanted}
    assert left <= {(one["kind"], one["metadata"]["name"]) for one in found.objects}


@needs_kubectl
def test_what_a_chart_renders_gets_two_slots(tmp_path: Path) -> None:
    found = shape("several-ports-and-services")
    git = written(found, "helm", tmp_path)
    assert_same(found, built(git, script=True))


def test_what_a_release_has_later_is_helm_s_from_the_beginning() -> None:
    """Helm 4 would find the fields taken that kubectl has set: tests/kubernetes has it try."""
    found = shape("several-ports-and-services")
    owned: dict[Form, str] = {"helm": " --server-side --field-manager=helm", "manifests": ""}
    for form, words in owned.items():
        lines = [line for one in moves(found.plan(form)) for line in one.do]
        for slot in ("blue", "green"):
            assert f"kubectl apply{words} -f kubernetes/hub-{slot}.yaml" in lines


@needs_kubectl
def test_a_release_forgets_the_services_once(tmp_path: Path) -> None:
    found = shape("several-ports-and-services")
    git = written(found, "helm", tmp_path)
    made = keyed(built(git, script=True, HAND_OVER="on"))
    assert [key for key in made if key[0] == "Service"] == [
        ("Service", "hub-metrics"), ("Service", "hub-peers"), ("Service", "hub-preview"),
    ]  # fmt: skip
    assert ("Deployment", "hub-green") in made


def test_a_release_of_the_base_reaches_both_slots(tmp_path: Path) -> None:
    """A patch has only what is a slot's own, so that no image is in it."""
    files = folder.files(shape("sidecars").plan("kustomize", base="../base"))
    for slot in ("blue", "green"):
        text = files[f"git/{slot}/kustomization.yaml"]
        assert "desk:1" not in text
        assert "image" not in text
