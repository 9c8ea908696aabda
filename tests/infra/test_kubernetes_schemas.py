"""The manifests against the published Kubernetes schemas, strict: an unknown field is an error.

`kubernetes-validate` carries the schemas of each version, made from its OpenAPI description.
"""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from kubernetes_validate import utils as schemas  # type: ignore[import-untyped]  # it ships none

from local import world
from local.cluster import kinds
from local.cluster import schemas as crds
from local.cluster.client import read_manifests
from local.cluster.validation import SCHEMAS
from local.process import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "infra" / "kubernetes"
# Applied by themselves: for clusters with the Gateway API, with a right to read a Secret, and with
# rights that a dry run alone has a use for.
ALONE = {
    *(FOLDER / "example" / name for name in ("api-route.yaml", "ledger.yaml")),
    FOLDER / "doctor.yaml",
}
FILES = sorted({*FOLDER.glob("*.yaml"), *FOLDER.glob("*/*.yaml")} - {*FOLDER.rglob("kustom*")})
# The oldest that AKS supports at the time of writing, and the newest that the package has.
VERSIONS = ("1.33", schemas.latest_version())

# From config/crd/bases of https://github.com/kubernetes-sigs/secrets-store-csi-driver, version v1;
# the parameters are those that https://azure.github.io/secrets-store-csi-driver-provider-azure
# names. The resource definition allows unknown fields; here they are an error as well.
PROVIDER_CLASS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "secrets-store.csi.x-k8s.io/v1"},
        "kind": {"const": "SecretProviderClass"},
        "metadata": {"type": "object", "required": ["name", "namespace"]},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["provider", "parameters"],
            "properties": {
                "provider": {"const": "azure"},
                "parameters": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["keyvaultName", "tenantId", "objects"],
                    "properties": {
                        name: {"type": "string", "minLength": 1}
                        for name in (
                            *("clientID", "cloudName", "keyvaultName", "tenantId", "objects"),
                            *("usePodIdentity", "useVMManagedIdentity", "userAssignedIdentityID"),
                        )
                    },
                },
            },
        },
    },
}
MOUNTED = {
    "type": "object",
    "additionalProperties": False,
    "required": ["objectName", "objectType"],
    "properties": {
        "objectName": {"type": "string", "pattern": "^[0-9A-Za-z-]{1,127}$"},
        "objectType": {"const": "secret"},
        "objectAlias": {"type": "string"},
    },
}


def named(obj: dict[str, Any]) -> str:
    return f"{obj['kind']} {obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"


def check(obj: dict[str, Any]) -> None:
    """Raises what the validators raise."""
    if obj["kind"] == "SecretProviderClass":
        jsonschema.validate(obj, PROVIDER_CLASS)
        for text in yaml.safe_load(obj["spec"]["parameters"]["objects"])["array"]:
            jsonschema.validate(yaml.safe_load(text), MOUNTED)
        return
    if obj["apiVersion"].startswith("gateway."):
        schema = SCHEMAS[kinds.BY_KIND[obj["apiVersion"], obj["kind"]]]
        assert list(crds.unknown(schema, obj["spec"])) == []
        assert list(crds.problems(schema, crds.completed(schema, obj["spec"]), "spec")) == []
        return
    for version in VERSIONS:
        schemas.validate(obj, version, strict=True)


def example(name: str) -> list[dict[str, Any]]:
    return read_manifests(FOLDER / "example" / f"{name}.yaml")


def one(name: str, kind: str, suffix: str) -> dict[str, Any]:
    found = [o for o in example(name) if o["kind"] == kind and o["metadata"]["name"] == suffix]
    assert len(found) == 1
    return found[0]


def pod(name: str, slot: str) -> dict[str, Any]:
    found: dict[str, Any] = one(name, "Deployment", f"{name}-{slot}")["spec"]["template"]["spec"]
    return found


def test_there_is_something_to_check() -> None:
    examples = {"api.yaml", "web.yaml", "mailer.yaml", "report.yaml", "web-check.yaml"}
    own = {"guard.yaml", "jobs-guard.yaml", "rbac.yaml"}
    assert {path.name for path in FILES} == own | examples | {path.name for path in ALONE}
    assert {schemas.major_minor(version) for version in schemas.all_versions()} > {VERSIONS[0]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_object_fits_its_schema(path: Path) -> None:
    for obj in read_manifests(path):
        try:
            check(obj)
        except Exception as error:
            error.add_note(named(obj))
            raise


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.replica", 2),
        ("spec.replicas", "2"),
        ("spec.template.spec.containers.0.readinesProbe", {}),
        ("spec.template.spec.terminationGracePeriodSeconds", "30s"),
    ],
)
def test_a_typing_error_is_found_bad(path: str, value: object) -> None:
    obj = copy.deepcopy(one("api", "Deployment", "api-blue"))
    *steps, last = path.split(".")
    node: Any = obj
    for step in steps:
        node = node[int(step) if step.isdecimal() else step]
    node[last] = value
    with pytest.raises(jsonschema.ValidationError):
        check(obj)


def test_a_typing_error_in_a_provider_class_is_found_bad() -> None:
    obj = copy.deepcopy(one("api", "SecretProviderClass", "orders-db-blue"))
    obj["spec"]["parameters"]["keyVaultName"] = obj["spec"]["parameters"].pop("keyvaultName")
    with pytest.raises(jsonschema.ValidationError):
        check(obj)


@pytest.mark.parametrize("name", world.WORKLOADS)
@pytest.mark.parametrize("kind", ["Deployment", "PodDisruptionBudget"])
def test_the_two_slots_differ_by_their_slot_alone(name: str, kind: str) -> None:
    blue, green = one(name, kind, f"{name}-blue"), one(name, kind, f"{name}-green")
    if kind == "Deployment":
        assert (blue["spec"].pop("replicas"), green["spec"].pop("replicas")) == (2, 0)
    assert json.loads(json.dumps(green).replace("green", "blue")) == blue


@pytest.mark.parametrize("name", world.WORKLOADS)
@pytest.mark.parametrize("slot", ["blue", "green"])
def test_selectors_find_the_pods_that_they_are_for(name: str, slot: str) -> None:
    deployment = one(name, "Deployment", f"{name}-{slot}")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    budget = one(name, "PodDisruptionBudget", f"{name}-{slot}")
    service = one(name, "Service", name if slot == "blue" else f"{name}-preview")
    spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"][0]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert budget["spec"]["selector"]["matchLabels"] == labels
    assert spread["labelSelector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == labels
    ports = {p["name"] for p in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


@pytest.mark.parametrize("name", world.WORKLOADS)
def test_each_slot_has_a_budget_of_its_own(name: str) -> None:
    """Which lets one pod go at a time, and holds no node up while the slot has none."""
    objects = read_manifests(FOLDER / "example" / f"{name}.yaml")
    budgets = [found["spec"] for found in objects if found["kind"] == "PodDisruptionBudget"]
    slots = [found["spec"] for found in objects if found["kind"] == "Deployment"]
    assert [budget["selector"] for budget in budgets] == [slot["selector"] for slot in slots]
    assert [budget["maxUnavailable"] for budget in budgets] == [1, 1]


@pytest.mark.parametrize("name", world.WORKLOADS)
def test_pods_have_time_to_leave(name: str) -> None:
    """The lame duck must be over, and requests answered, before the grace period is."""
    settings = one(name, "ConfigMap", "orders-database")["data"]
    for slot in ("blue", "green"):
        assert pod(name, slot)["terminationGracePeriodSeconds"] >= 2 * int(
            settings["LAME_DUCK_SECONDS"]
        )


def test_both_deliveries_are_shown() -> None:
    api, web = pod("api", "blue"), pod("web", "blue")
    assert [volume["csi"]["driver"] for volume in api["volumes"]] == ["secrets-store.csi.k8s.io"]
    assert "volumes" not in web
    sources = [variable.get("valueFrom", {}) for variable in web["containers"][0]["env"]]
    assert {"secretKeyRef": {"name": "orders-db-blue", "key": "password"}} in sources


# Its Secret has to be made before it is applied.


def test_the_kustomizations_name_every_file() -> None:
    listed = {
        (path / resource).resolve()
        for path in (FOLDER, FOLDER / "example")
        for resource in yaml.safe_load((path / "kustomization.yaml").read_text())["resources"]
    }
    assert {path.resolve() for path in FILES if path not in ALONE} | {FOLDER / "example"} == listed


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl here")
def test_kustomize_builds_the_same_objects() -> None:
    kubectl = shutil.which("kubectl") or "kubectl"
    built = subprocess.run(  # noqa: S603 - the arguments are this test's own
        [kubectl, "kustomize", str(FOLDER)], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    found = read_manifests(built)
    files = [file for file in FILES if file not in ALONE]
    assert sorted(map(named, found)) == sorted(named(o) for f in files for o in read_manifests(f))
    for obj in found:
        check(obj)
    assert "00000000-0000" not in built, "an example value that no patch replaces"
    assert "registry.example" not in built
