"""What `rotctl adopt` writes of each shape is accepted by an API server's dry run, strictly.

On the stand-in, and on a real API server where it was built.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from local.cluster.client import apply, connect
from rotctl.adopt import cluster, folder, sources, writing
from rotctl.adopt.cleaning import cleaned
from rotctl.exits import ClientError, Exit
from tests.kubernetes.conftest import needs_binaries
from tests.kubernetes.control import ADMIN
from tests.local.cluster.support import cluster_component
from tests.rotctl.adopt.shapes import Shape, shapes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kubernetes.control import ControlPlane

KUBECTL = shutil.which("kubectl")
SPACES = ("orders", "shop")
PLURALS = {"NetworkPolicy": "networkpolicies"}
# Of kinds that one of the two does not serve.
NOT_SERVED = {"stand-in": {"HorizontalPodAutoscaler"}, "real": {"SecretProviderClass"}}


class Server:
    def __init__(self, name: str, kubeconfig: Path) -> None:
        self.name = name
        self.kubeconfig = kubeconfig
        self.client: Any = connect(kubeconfig)
        apply(self.client, [_namespace(each) for each in SPACES])

    def refuses(self, obj: dict[str, Any]) -> str:
        """Why it would not make an object; "" if it would. It makes none."""
        if obj["kind"] in NOT_SERVED[self.name]:
            return ""
        group = "apis" if "/" in obj["apiVersion"] else "api"
        plural = PLURALS.get(obj["kind"], f"{obj['kind'].lower()}s").replace("classs", "classes")
        path = f"/{group}/{obj['apiVersion']}/namespaces/{obj['metadata']['namespace']}/{plural}"
        query = "?dryRun=All&fieldValidation=Strict"
        headers = {"Content-Type": "application/json"}
        asked = self.client.param_serialize(
            "POST", path + query, header_params=headers, auth_settings=["BearerToken"]
        )
        answer = self.client.call_api(*asked[:3], obj).response
        return "" if answer.status == 201 else str(json.loads(answer.data)["message"])


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


@pytest.fixture(scope="module", params=["stand-in", pytest.param("real", marks=needs_binaries)])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    if request.param == "real":
        plane: ControlPlane = request.getfixturevalue("control_plane")
        yield Server("real", plane.kubeconfig(ADMIN))
        return
    with cluster_component(tmp_path_factory.mktemp("adopted")) as running:
        yield Server("stand-in", Path(str(running.facts["kubeconfig"])))


@pytest.mark.parametrize("found", shapes(), ids=str)
def test_each_object_of_both_slots_is_accepted(server: Server, found: Shape) -> None:
    files = folder.files(found.plan())
    seen = 0
    for name, text in files.items():
        if not name.startswith(f"kubernetes/{found.original.name}-") and name != (
            "kubernetes/rights.yaml"
        ):
            continue
        for obj in yaml.safe_load_all(text):
            seen += 1
            assert server.refuses(obj) == "", (name, obj["kind"])
    assert seen >= 6


def test_one_that_is_wrong_is_refused(server: Server) -> None:
    (found,) = [one for one in shapes() if one.name == "01-the-guide"]
    text = folder.files(found.plan())["kubernetes/api-blue.yaml"]
    deployment, _ = yaml.safe_load_all(text)
    deployment["spec"]["selector"]["matchLabels"]["slot"] = "green"
    assert "selector" in server.refuses(deployment)


def test_a_namespace_is_read_without_its_secrets(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = [one for one in shapes() if one.name == "03-init-containers"]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "crm-db"}}
    apply(server.client, [*found.objects, secret], namespace="orders")
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
    seen = cluster.seen("orders", "")
    kinds = {one["kind"] for one in seen.objects}
    assert {"Deployment", "Service"} <= kinds
    assert "Secret" not in kinds
    assert seen.server == server.client.configuration.host
    assert seen.authority.startswith("-----BEGIN CERTIFICATE")
    (original,) = sources.originals(list(seen.objects), [("Deployment", "orders/crm")])
    assert cleaned(original.workload) == cleaned(found.original.workload)


def test_one_that_does_not_answer_is_said(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written = yaml.safe_load(server.kubeconfig.read_text(encoding="utf-8"))
    written["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(written), encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(ClientError, match="does not answer") as raised:
        cluster.seen("orders", "")
    assert raised.value.exit_code == Exit.UNREACHABLE
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing"))
    with pytest.raises(ClientError, match="no kubeconfig will do"):
        cluster.seen("orders", "")


@pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl here")
def test_a_pair_stays_as_it_is_when_git_has_it_without_suspend(
    server: Server, tmp_path: Path
) -> None:
    """By the folder's own commands: applied once, handed over, applied from Git."""
    (found,) = [one for one in shapes() if one.name == "14-a-cron-job"]
    writing.write(tmp_path / "made", folder.files(found.plan()))
    kubectl = tmp_path / "kubectl"
    # The local API publishes no schemas to validate with.
    only = 'case " $* " in *" apply "*) set -- "$@" --validate=false;; esac'
    call = f'exec {KUBECTL} --kubeconfig {server.kubeconfig} "$@"'
    kubectl.write_text(f"#!/bin/sh\n{only}\n{call}\n", encoding="utf-8")
    kubectl.chmod(0o700)

    def run(*command: str) -> str:
        done = subprocess.run(  # noqa: S603 - argv is written here
            command, cwd=tmp_path / "made", capture_output=True, text=True, check=False,
            timeout=60, env={**os.environ, "KUBECTL": str(kubectl)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    for slot in ("blue", "green"):
        file = f"kubernetes/nightly-{slot}.yaml"
        run(str(kubectl), "apply", "-f", file)
    run(
        "git/hand-over.sh", "orders", "service/nightly", "cronjob/nightly-blue",
        "cronjob/nightly-green",
    )  # fmt: skip
    run(str(kubectl), "apply", "-f", "git/nightly.yaml")
    for slot, suspended in (("blue", "false"), ("green", "true")):
        path = "jsonpath={.spec.suspend}"
        said = run(str(kubectl), "-n", "orders", "get", "cronjob", f"nightly-{slot}", "-o", path)
        assert said == suspended
