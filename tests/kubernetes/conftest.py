"""Two API servers to try the guard on: the stand-in, and the real one where it was built.

`make test-kubernetes` builds it, and names its folder in CONTROL_PLANE.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.kubernetes.control import ControlPlane, kubelet
from tests.kubernetes.support import APP, REHEARSER, RESCUER, TEAM, Guarded
from tests.local.cluster.support import cluster_component

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.process import Component

USERS = (APP, TEAM, RESCUER, REHEARSER)
BINARIES = os.environ.get("CONTROL_PLANE")
needs_binaries = pytest.mark.skipif(
    not BINARIES, reason="no control plane here: `make test-kubernetes` builds it, with Go"
)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    assert BINARIES is not None
    with ControlPlane(Path(BINARIES), tmp_path_factory.mktemp("control"), USERS) as running:
        yield running


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pods of the contract tests run."""
    echo = str(Path(__file__).parents[1] / "local" / "cluster" / "echo_app.py")
    names = ("registry.k8s.io/e2e-test-images/agnhost:2.53", "echo:1", "echo:1.0", "echo:2")
    path = tmp_path_factory.mktemp("images") / "images.json"
    path.write_text(json.dumps({name: ["python", echo] for name in names}), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def node(control_plane: ControlPlane, images: Path) -> Iterator[Component]:
    """The control plane's pods run."""
    with kubelet(control_plane, images) as running:
        yield running


@contextmanager
def stand_in(folder: Path) -> Iterator[tuple[Component, dict[str, str]]]:
    """The local cluster, and the tokens of USERS by name."""
    tokens = {f"token-of-{user.name}": user for user in USERS}
    entries = {token: {"user": u.name, "groups": list(u.groups)} for token, u in tokens.items()}
    file = folder / "tokens.yaml"
    file.write_text(yaml.safe_dump(entries), encoding="utf-8")
    with cluster_component(folder, "--rbac", "on", "--tokens", str(file)) as running:
        yield running, {user.name: token for token, user in tokens.items()}


@pytest.fixture(scope="session", params=["stand-in", pytest.param("real", marks=needs_binaries)])
def guarded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    """With the guard and two namespaces, of which one is labelled.

    Made once: a namespace that is deleted is not there to be made again for a while.
    """
    folder = tmp_path_factory.mktemp("guarded")
    if request.param == "real":
        plane: ControlPlane = request.getfixturevalue("control_plane")
        with Guarded.on_real(plane) as found:
            yield found
        return
    with stand_in(folder) as (running, tokens), Guarded.on_stand_in(running, tokens) as found:
        yield found
