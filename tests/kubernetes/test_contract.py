"""The contract tests of the cluster, which the stand-in keeps, on a real API server."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from local.cluster.client import apply
from local.process import ROOT
from tests.kubernetes.conftest import needs_binaries
from tests.kubernetes.control import ADMIN

if TYPE_CHECKING:
    from local.process import Component
    from tests.kubernetes.control import ControlPlane

SPACE = "contract"


@needs_binaries
@pytest.mark.timeout(600)
def test_the_stand_in_is_believed_in_nothing_that_is_not_so(
    control_plane: ControlPlane, node: Component
) -> None:
    api = control_plane.client(ADMIN)
    apply(api, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}])
    environment = {
        **os.environ,
        "CONTRACT_KUBECONFIG": str(control_plane.kubeconfig(ADMIN)),
        "CONTRACT_NAMESPACE": SPACE,
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/contract/test_cluster.py", "-q", "-p", "no:xdist"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    left = {
        kind: [item["metadata"]["name"] for item in control_plane.items(path)]
        for kind, path in {
            "services": f"/api/v1/namespaces/{SPACE}/services",
            "secrets": f"/api/v1/namespaces/{SPACE}/secrets",
            "deployments": f"/apis/apps/v1/namespaces/{SPACE}/deployments",
        }.items()
    }
    assert left == {"services": [], "secrets": [], "deployments": []}
    api.close()
