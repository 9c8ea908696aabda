"""The contract of CronJobs on a real API server, with Kubernetes' own controller of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.cluster.client import apply
from tests.kubernetes.conftest import needs_binaries
from tests.kubernetes.control import ADMIN
from tests.real import pointed

if TYPE_CHECKING:
    from local.process import Component
    from tests.kubernetes.control import ControlPlane

SPACE = "scheduled"


@needs_binaries
@pytest.mark.timeout(600)
def test_the_real_controller_does_what_the_swap_relies_on(
    control_plane: ControlPlane, node: Component
) -> None:
    del node
    api = control_plane.client(ADMIN)
    apply(api, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}])
    variables = {
        "CONTRACT_KUBECONFIG": str(control_plane.kubeconfig(ADMIN)),
        "CONTRACT_NAMESPACE": SPACE,
    }
    outcome = pointed.run("tests/contract/test_cron_jobs.py", variables)
    assert outcome.passed == 9
    api.close()
