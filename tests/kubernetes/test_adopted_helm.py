"""A release of a chart gets two slots by the folder's own commands, with helm itself.

On a real API server, where it was built. HELM names the program, unless there is one on the PATH:
`GOBIN=DIR go install helm.sh/helm/v3/cmd/helm@latest` makes one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from local.cluster.client import apply, connect
from rotctl.adopt import folder, writing
from rotctl.adopt.moves import moves
from tests.kubernetes.conftest import needs_binaries
from tests.kubernetes.control import ADMIN
from tests.rotctl.adopt.shapes import shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.kubernetes.control import ControlPlane

    Run = Callable[..., str]

HELM = os.environ.get("HELM") or shutil.which("helm")
KUBECTL = shutil.which("kubectl")
SPACE, NAME = "orders", "hub"
needs_programs = pytest.mark.skipif(
    not (HELM and KUBECTL),
    reason="no helm here, or no kubectl: HELM names one that is not on the PATH",
)
HOOK = """\
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {helm.sh/hook: pre-upgrade}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: migrate, image: hub:1}]}}}
"""


def chart(where: Path) -> Path:
    """A chart that renders the shape, with an image by value."""
    objects = [
        one for one in shape("several-ports-and-services").objects if one["kind"] != "Secret"
    ]
    (where / "templates").mkdir(parents=True)
    (where / "Chart.yaml").write_text("apiVersion: v2\nname: hub\nversion: 1.0.0\n", "utf-8")
    (where / "values.yaml").write_text("image: hub:1\n", encoding="utf-8")
    text = yaml.safe_dump_all(objects)
    (where / "templates" / "all.yaml").write_text(
        text.replace("image: hub:1", 'image: "{{ .Values.image }}"'), encoding="utf-8"
    )
    return where


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a line of the folder's README in it, with nobody's own settings of helm."""
    plan = shape("several-ports-and-services").plan("helm")
    writing.write(tmp_path / "made", folder.files(plan))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "helm").symlink_to(HELM or "")
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "RELEASE": "orders",
        "CHART": str(chart(tmp_path / "chart")),
    }

    def runs(line: str, **more: str) -> str:
        done = subprocess.run(  # noqa: S603 - the folder's own lines
            ["/bin/sh", "-euc", line],
            cwd=tmp_path / "made",
            env={**environment, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    return runs


@needs_programs
def test_a_hook_is_rendered_once_and_not_for_each_slot(run: Run, tmp_path: Path) -> None:
    (tmp_path / "chart" / "templates" / "hook.yaml").write_text(HOOK, encoding="utf-8")
    text = run(f'helm template "$RELEASE" "$CHART" -n {SPACE} {_renderer(run)}')
    made = [one for one in yaml.safe_load_all(text) if one]
    names = sorted(f"{one['kind']} {one['metadata']['name']}" for one in made)
    assert names.count("Job migrate") == 1
    assert [name for name in names if name.startswith("Deployment")] == [
        "Deployment hub-blue", "Deployment hub-green",
    ]  # fmt: skip


def _renderer(run: Run) -> str:
    """Of Helm 4 a post-renderer is a plugin."""
    if run("helm version --short").startswith("v3"):
        return "--post-renderer git/post-render.sh"
    run("helm plugin install git")
    return "--post-renderer two-slots"


@needs_binaries
@needs_programs
@pytest.mark.long
def test_a_release_gets_two_slots_and_keeps_its_hands_off_what_rotations_own(
    run: Run, control_plane: ControlPlane
) -> None:
    config = control_plane.kubeconfig(ADMIN)
    client: Any = connect(config)
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
    apply(client, [space])
    env = {"KUBECONFIG": str(config)}
    run(f'helm install "$RELEASE" "$CHART" -n {SPACE}', **env)
    try:
        service = _seen(run, "service/hub", env)["metadata"]["uid"]
        renderer = _renderer(run)
        for line in _lines():
            run(line.replace("--post-renderer git/post-render.sh", renderer), **env)
        assert _state(run, env) == {"hub": "blue", "hub-blue": 2, "hub-green": 0}
        assert _seen(run, "service/hub", env)["metadata"]["uid"] == service
        _rotated(run, env)
        upgrade = f'helm upgrade "$RELEASE" "$CHART" -n {SPACE} --reuse-values {renderer}'
        run(f"{upgrade} --set image=hub:2", **env)
        assert _state(run, env) == {"hub": "green", "hub-blue": 0, "hub-green": 2}
        for slot in ("blue", "green"):
            spec = _seen(run, f"deployment/hub-{slot}", env)["spec"]["template"]["spec"]
            assert {one["image"] for one in spec["containers"]} >= {"hub:2"}
    finally:
        run(f'helm uninstall "$RELEASE" -n {SPACE}', **env)
        run(f"kubectl -n {SPACE} delete service,deployment,poddisruptionbudget --all", **env)


def _lines() -> Iterator[str]:
    """What the moves do in the cluster and to the release."""
    plan = shape("several-ports-and-services").plan("helm")
    for move in moves(plan):
        if move.title in {"The guard", "The app's rights"}:
            continue  # of the whole cluster, and of no release
        for line in move.do:
            if line.startswith(("kubectl ", "git/", "helm ", "HAND_OVER")):
                yield line


def _seen(run: Run, name: str, env: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(run(f"kubectl -n {SPACE} get {name} -o yaml", **env))
    return found


def _state(run: Run, env: dict[str, str]) -> dict[str, Any]:
    """The slot that the Service selects, and each slot's replicas."""
    deployments = {
        f"hub-{slot}": _seen(run, f"deployment/hub-{slot}", env)["spec"]["replicas"]
        for slot in ("blue", "green")
    }
    return {"hub": _seen(run, "service/hub", env)["spec"]["selector"]["slot"], **deployments}


def _rotated(run: Run, env: dict[str, str]) -> None:
    """What a rotation from blue to green writes."""
    own = f"kubectl -n {SPACE} patch --field-manager=credential-rotation --type=merge"
    for name in ("hub", "hub-old"):
        run(f"""{own} service/{name} -p '{{"spec":{{"selector":{{"slot":"green"}}}}}}'""", **env)
    for slot, replicas in (("green", 2), ("blue", 0)):
        run(f"""{own} deployment/hub-{slot} -p '{{"spec":{{"replicas":{replicas}}}}}'""", **env)
