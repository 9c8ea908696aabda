"""What `rotctl adopt` writes of each shape is accepted by an API server's dry run, strictly.

On the stand-in, and on a real API server where it was built.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from local.cluster.client import apply, connect, path_of
from rotctl.adopt import cluster, folder, in_place, sources, writing
from rotctl.adopt.cleaning import cleaned
from rotctl.adopt.original import template_of
from rotctl.exits import ClientError, Exit
from tests.kubernetes.adopting import Shell, lines
from tests.kubernetes.conftest import needs_binaries
from tests.kubernetes.control import ADMIN
from tests.local.cluster.support import cluster_component
from tests.rotctl.adopt.shapes import Shape, shapes, shapes_in_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kubernetes.control import ControlPlane

KUBECTL = shutil.which("kubectl")
STRATEGIC = "application/strategic-merge-patch+json"
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

    def changed(self, obj: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
        """An object as it is after a strategic merge patch."""
        return self._asked("PATCH", obj, "?fieldValidation=Strict", patch, STRATEGIC)

    def gone(self, obj: dict[str, Any]) -> None:
        self._asked("DELETE", obj, "", {}, "application/json")

    def _asked(
        self, method: str, obj: dict[str, Any], query: str, body: dict[str, Any], content: str
    ) -> dict[str, Any]:
        asked = self.client.param_serialize(
            method, path_of(obj) + query, header_params={"Content-Type": content},
            auth_settings=["BearerToken"],
        )  # fmt: skip
        answer = self.client.call_api(*asked[:3], body).response
        found: dict[str, Any] = json.loads(answer.data)
        assert answer.status == 200, found.get("message")
        return found


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


@pytest.mark.parametrize("found", shapes_in_place(), ids=str)
def test_a_workload_in_place_becomes_what_its_patch_says_and_back(
    server: Server, found: Shape
) -> None:
    """As the server has it stored, with all that it fills in."""
    plan = found.plan()
    (workload,) = plan.workloads
    files = folder.files(plan)
    if server.name == "stand-in" and workload.original.workload["spec"].get("volumeClaimTemplates"):
        pytest.skip("the local cluster has no volumes of claims")
    assert server.refuses(yaml.safe_load(files[f"kubernetes/{workload.name}-login.yaml"])) == ""
    apply(server.client, [workload.original.workload])
    try:
        for where, wanted in (
            ("", in_place.running(workload, plan.credential)),
            ("undo/", cleaned(workload.original.workload)),
        ):
            text = files[f"kubernetes/{where}{workload.name}-patch.yaml"]
            made = server.changed(workload.original.workload, yaml.safe_load(text))
            assert template_of(cleaned(made)) == template_of(cleaned(wanted))
    finally:
        server.gone(workload.original.workload)


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


def kubectl(server: Server, folder: Path) -> Path:
    """The program, which goes to this server."""
    folder.mkdir()
    # The local API publishes no schemas to validate with.
    only = 'case " $* " in *" apply "*) set -- "$@" --validate=false;; esac'
    call = f'exec {KUBECTL} --kubeconfig {server.kubeconfig} "$@"'
    program = folder / "kubectl"
    program.write_text(f"#!/bin/sh\n{only}\n{call}\n", encoding="utf-8")
    program.chmod(0o700)
    return folder


@pytest.mark.long
@pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl here")
def test_an_overlay_keeps_its_hands_off_what_rotations_own(server: Server, tmp_path: Path) -> None:
    """Applied over a base that was applied before; then a release of the base reaches both."""
    (found,) = [one for one in shapes() if one.name == "05-several-ports-and-services"]
    plan = found.plan("kustomize", base="../base")
    base = tmp_path / "base"
    base.mkdir()
    text = yaml.safe_dump_all([one for one in found.objects if one["kind"] != "Secret"])
    (base / "all.yaml").write_text(text, encoding="utf-8")
    (base / "kustomization.yaml").write_text("resources: [all.yaml]\n", encoding="utf-8")
    writing.write(tmp_path / "made", folder.files(plan))
    shell = Shell(tmp_path / "made", kubectl(server, tmp_path / "bin"))
    shell("kubectl apply -k ../base")
    try:
        for line in lines(plan):
            shell(line)
        shell("kubectl apply -k git")
        assert shell.state("hub") == {"hub": "blue", "hub-blue": 2, "hub-green": 0}
        shell.rotate("hub", ("hub", "hub-old"), 2)
        released = text.replace("image: hub:1", "image: hub:2")
        (base / "all.yaml").write_text(released, encoding="utf-8")
        shell("kubectl apply -k git")
        assert shell.state("hub") == {"hub": "green", "hub-blue": 0, "hub-green": 2}
        assert shell.images("hub") == {"hub:2"}
    finally:
        shell("kubectl -n orders delete service,deployment,poddisruptionbudget --all")


@pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl here")
def test_a_pair_stays_as_it_is_when_git_has_it_without_suspend(
    server: Server, tmp_path: Path
) -> None:
    """By the folder's own commands: applied once, handed over, applied from Git."""
    (found,) = [one for one in shapes() if one.name == "14-a-cron-job"]
    writing.write(tmp_path / "made", folder.files(found.plan()))
    run = Shell(tmp_path / "made", kubectl(server, tmp_path / "bin"))
    for slot in ("blue", "green"):
        file = f"kubernetes/nightly-{slot}.yaml"
        run(f"kubectl apply -f {file}")
    run("git/hand-over.sh orders service/nightly cronjob/nightly-blue cronjob/nightly-green")
    run("kubectl apply -f git/nightly.yaml")
    for slot, suspended in (("blue", False), ("green", True)):
        assert run.seen(f"cronjob/nightly-{slot}")["spec"]["suspend"] is suspended
