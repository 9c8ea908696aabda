"""Whole rotations on a real API server, under the rights and guard of infra/kubernetes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local import world
from local.stack import APP, Options, Stack
from tests.conftest import QUICK
from tests.e2e.troubles import refused, rotate_through
from tests.infra.test_rbac import by_roles, documented, granted, rotate, used, verbs
from tests.kubernetes.conftest import BINARIES, needs_binaries
from tests.kubernetes.control import ADMIN, ControlPlane, kubelet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.process import Component

# As the driver's own definition: the API server stores what it is given.
PROVIDER_CLASS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "secretproviderclasses.secrets-store.csi.x-k8s.io"},
    "spec": {
        "group": "secrets-store.csi.x-k8s.io",
        "names": {
            "kind": "SecretProviderClass",
            "listKind": "SecretProviderClassList",
            "plural": "secretproviderclasses",
            "singular": "secretproviderclass",
        },
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


class RealStack(Stack):
    """The local stack with a real control plane in the place of the local cluster."""

    plane: ControlPlane
    node: Component

    def start(self, progress: Callable[[str], None] = lambda _: None) -> RealStack:
        super().start(progress)
        return self

    def _start_cluster(self) -> None:
        assert BINARIES is not None
        self.plane = ControlPlane(
            Path(BINARIES),
            self.directory / "cluster",
            (),
            identity=self.directory / "identity",
            authority=self.directory / "tls",
        )
        self.plane.__enter__()
        self.plane.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", PROVIDER_CLASS)
        images = Path(self._write("images.json", world.IMAGES))
        self.node = kubelet(
            self.plane,
            images,
            vault_authority=self.addresses.authority,
            environment=self._environment(),
        )
        self.components["cluster"] = self.node.start()
        # Where the stack looks for the administrator's.
        self.plane.kubeconfig(ADMIN).replace(self.directory / "cluster" / "kubeconfig")
        self.provisioner.workloads(self.options.replicas)

    def stop(self) -> None:
        super().stop()
        if hasattr(self, "plane"):
            self.plane.stop()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStack]:
    options = Options(replicas=1, watch_seconds=2, credential=QUICK)
    with RealStack(tmp_path_factory.mktemp("real"), options) as running:
        yield running


@needs_binaries
@pytest.mark.timeout(600)
def test_three_rotations_use_every_right_and_are_refused_nothing(real: RealStack) -> None:
    outcomes = [rotate(real, decision) for decision in ("approve", "reject", "approve")]
    assert outcomes == ["completed", "rolled-back", "completed"]
    asked = by_roles([e for e in real.plane.events() if e["user"]["username"] == APP.principal_id])
    decisions = {event["annotations"]["authorization.k8s.io/decision"] for event in asked}
    assert decisions == {"allow"}
    denied = [e for e in asked if any("validation_failure" in key for key in e["annotations"])]
    assert denied == []
    seen = {used(event) for event in asked}
    assert sorted(granted() - seen) == [], "granted and never used"
    assert sorted(seen - granted()) == [], "used without a rule of its own"
    assert verbs(seen) == {resource: found for resource, (found, _) in documented().items()}
    assert real.owner.active_slots() == {"api": "blue", "web": "blue"}


@needs_binaries
@pytest.mark.timeout(600)
def test_a_status_of_the_past_a_full_quota_and_strays_stop_no_rotation(real: RealStack) -> None:
    rotate_through(real)


@needs_binaries
@pytest.mark.timeout(600)
def test_selectors_that_overlap_are_refused(real: RealStack) -> None:
    assert {why["code"] for why in refused(real)} == {"selectors-overlap"}
