"""A release of a chart gets two slots by the folder's own commands, with helm itself.

On a real API server, where it was built. HELM names the program, unless there is one on the PATH:
`GOBIN=DIR go install helm.sh/helm/v3/cmd/helm@latest` makes one, and so with v4.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from local.cluster.client import apply, connect
from rotctl.adopt import folder, writing
from tests.kubernetes.adopting import SPACE, Shell, lines
from tests.kubernetes.conftest import needs_binaries
from tests.kubernetes.control import ADMIN
from tests.rotctl.adopt.shapes import Shape, shape, shapes_in_place

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kubernetes.control import ControlPlane

HELM = os.environ.get("HELM") or shutil.which("helm")
KUBECTL = shutil.which("kubectl")
needs_programs = pytest.mark.skipif(
    not (HELM and KUBECTL),
    reason="no helm here, or no kubectl: HELM names one that is not on the PATH",
)
THREE = "--post-renderer git/post-render.sh"
HOOK = """\
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {helm.sh/hook: pre-upgrade}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: migrate, image: hub:1}]}}}
"""


def chart(where: Path, found: Shape, image: str) -> Path:
    """A chart that renders the shape, with the image by value."""
    objects = [one for one in found.objects if one["kind"] != "Secret"]
    (where / "templates").mkdir(parents=True)
    (where / "Chart.yaml").write_text("apiVersion: v2\nname: hub\nversion: 1.0.0\n", "utf-8")
    (where / "values.yaml").write_text(f"image: {image}\n", encoding="utf-8")
    text = yaml.safe_dump_all(objects)
    (where / "templates" / "all.yaml").write_text(
        text.replace(f"image: {image}", 'image: "{{ .Values.image }}"'), encoding="utf-8"
    )
    return where


def led(where: Path, found: Shape, image: str) -> Shell:
    """In the shape's folder, with nobody's own settings of helm."""
    writing.write(where / "made", folder.files(found.plan("helm")))
    programs = where / "bin"
    programs.mkdir()
    (programs / "helm").symlink_to(HELM or "")
    made = chart(where / "chart", found, image)
    return Shell(where / "made", programs, RELEASE="orders", CHART=str(made))


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return led(tmp_path, shape("several-ports-and-services"), "hub:1")


def renderer(shell: Shell) -> str:
    """Of Helm 4 a post-renderer is a plugin."""
    if shell("helm version --short").startswith("v3"):
        return THREE
    shell("helm plugin install git")
    return "--post-renderer two-slots"


def installed(shell: Shell, plane: ControlPlane) -> None:
    config = plane.kubeconfig(ADMIN)
    client: Any = connect(config)
    apply(client, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}])
    shell.environment["KUBECONFIG"] = str(config)
    shell(f'helm install "$RELEASE" "$CHART" -n {SPACE}')


@needs_programs
def test_a_hook_is_rendered_once_and_not_for_each_slot(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "chart" / "templates" / "hook.yaml").write_text(HOOK, encoding="utf-8")
    text = shell(f'helm template "$RELEASE" "$CHART" -n {SPACE} {renderer(shell)}')
    made = [one for one in yaml.safe_load_all(text) if one]
    names = [f"{one['kind']} {one['metadata']['name']}" for one in made]
    assert names.count("Job migrate") == 1
    assert sorted(name for name in names if name.startswith("Deployment")) == [
        "Deployment hub-blue", "Deployment hub-green",
    ]  # fmt: skip


@needs_binaries
@needs_programs
@pytest.mark.long
def test_a_release_gets_two_slots_and_keeps_its_hands_off_what_rotations_own(
    shell: Shell, control_plane: ControlPlane
) -> None:
    installed(shell, control_plane)
    try:
        service, through = shell.seen("service/hub")["metadata"]["uid"], renderer(shell)
        for line in lines(shape("several-ports-and-services").plan("helm")):
            shell(line.replace(THREE, through))
        assert shell.state("hub") == {"hub": "blue", "hub-blue": 2, "hub-green": 0}
        assert shell.seen("service/hub")["metadata"]["uid"] == service
        shell.rotate("hub", ("hub", "hub-old"), 2)
        upgrade = f'helm upgrade "$RELEASE" "$CHART" -n {SPACE} --reuse-values {through}'
        shell(f"{upgrade} --set image=hub:2")
        assert shell.state("hub") == {"hub": "green", "hub-blue": 0, "hub-green": 2}
        assert shell.images("hub") == {"hub:2"}
    finally:
        shell(f'helm uninstall "$RELEASE" -n {SPACE}')
        shell(f"kubectl -n {SPACE} delete service,deployment,poddisruptionbudget --all")


@needs_binaries
@needs_programs
@pytest.mark.long
def test_a_release_that_is_adopted_in_place_goes_on(
    tmp_path: Path, control_plane: ControlPlane
) -> None:
    found = shapes_in_place()[0]
    shell = led(tmp_path, found, "ledger:3")
    installed(shell, control_plane)
    try:
        through = renderer(shell)
        for line in lines(found.plan("helm")):
            shell(line.replace(THREE, through))
        upgrade = f'helm upgrade "$RELEASE" "$CHART" -n {SPACE} --reuse-values {through}'
        shell(f"{upgrade} --set image=ledger:4")
        spec = shell.seen("statefulset/ledger")["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        assert container["image"] == "ledger:4"
        read = {
            one["name"]: one["valueFrom"]["secretKeyRef"]["name"]
            for one in container["env"]
            if "valueFrom" in one
        }
        assert read == {
            "DB_USER": "ledger-login", "DB_PASSWORD": "ledger-login", "SIGNING_KEY": "ledger",
        }  # fmt: skip
    finally:
        shell(f'helm uninstall "$RELEASE" -n {SPACE}')
        shell(f"kubectl -n {SPACE} delete secret/ledger-login --ignore-not-found")
