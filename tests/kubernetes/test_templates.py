"""What a real API server makes of a pod template that is brought to the other slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import AppsV1Api

from local.cluster.client import apply
from rotation.config import Cluster
from rotation.decisions.templates import Names, Rules, brought, differences, parsed
from rotation.edges.cluster.client import MERGE, Api
from rotation.edges.cluster.deployments import Deployments
from rotation.model.errors import Unavailable
from rotation.model.targets import DeploymentTarget
from rotation.model.world import Template
from rotation.secrecy import Secret
from tests.kubernetes.conftest import needs_binaries
from tests.kubernetes.control import ADMIN

if TYPE_CHECKING:
    from tests.kubernetes.control import ControlPlane

SPACE = "templates"
NAMES = Names([("api-blue", "api-green")], ("blue", "green"))


def deployment(slot: str, account: str, **env: str) -> dict[str, Any]:
    labels = {"app": "api", "slot": slot}
    listed = [{"name": name, "value": value} for name, value in env.items()]
    pod = {
        "serviceAccountName": account,
        "containers": [{"name": "web", "image": "web:1", "env": listed}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"api-{slot}"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


@needs_binaries
def test_a_template_is_the_same_once_it_was_brought(control_plane: ControlPlane) -> None:
    """With service accounts of their own, whose old name the API server writes too; and a change of
    the status is no change, while one of somebody else is."""
    admin = control_plane.client(ADMIN)
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
    blue = deployment("blue", "one", PEER_blue="1", PEER_green="2")
    apply(admin, [space])
    apply(admin, [blue, deployment("green", "another", PEER_green="3")], namespace=SPACE)
    settings = Cluster(kubeconfig=str(control_plane.kubeconfig(ADMIN)))
    pods = Deployments(Api("real", settings, lambda: Secret("unused")))
    rules = Rules(NAMES, (parsed("spec.serviceAccountName"),))
    target = DeploymentTarget(SPACE, "api-green")
    active, standby = pods.deployment(DeploymentTarget(SPACE, "api-blue")), pods.deployment(target)
    assert active is not None
    assert active.template is not None
    assert standby is not None
    assert standby.template is not None
    made = Template(brought(active.template.document, standby.template.document, rules))
    word = {"status": {"replicas": 1}}
    AppsV1Api(admin).patch_namespaced_deployment_status(
        target.name, SPACE, word, _content_type=MERGE
    )
    pods.sync(target, made, replicas=0, version="v1", revision=standby.revision)
    found = pods.deployment(target)
    assert found is not None
    assert found.template is not None
    assert differences(active.template.document, found.template.document, rules) == []
    assert found.template.document["spec"]["serviceAccountName"] == "another"
    with pytest.raises(Unavailable, match="HTTP 409 Conflict"):
        pods.scale(target, 1, revision=standby.revision)
    admin.close()
