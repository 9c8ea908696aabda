"""Who may do what: each grant in its place, with its reason, by the role that it names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.infra.bicep import Bicep, literal, walk

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
FILES = sorted(INFRA.rglob("*.bicep"))
GRANTS = [INFRA / f"modules/{name}.bicep" for name in ("grants", "vaultGrants", "deadLetterGrant")]


@pytest.mark.parametrize("path", GRANTS, ids=lambda path: path.stem)
def test_a_grant_is_named_by_its_scope_principal_and_role(path: Path) -> None:
    for resource in Bicep(path).resources:
        if resource.type != "Microsoft.Authorization/roleAssignments":
            continue
        named = re.search(r"name: guid\((.+)\.id, (\w+), ([\w.]+)\)\n", resource.text)
        assert named is not None, resource.name
        scope, principal, role = named.groups()
        assert f"  scope: {scope}\n" in resource.text
        assert f"principalId: {principal}\n" in resource.text
        assert f"roleDefinitions',{role})" in re.sub(r"\s", "", resource.text)


def test_roles_are_granted_in_the_files_for_grants_alone() -> None:
    granting = {
        str(path.relative_to(INFRA))
        for path in FILES
        for resource in Bicep(path).resources
        if resource.type.startswith("Microsoft.Authorization/role")
    }
    assert granting == {str(path.relative_to(INFRA)) for path in GRANTS}


def test_every_grant_has_its_reason_above_it() -> None:
    for path in GRANTS:
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            if line.startswith("resource ") and "roleAssignments@" in line:
                assert lines[number - 1].startswith("// "), f"{path.name}:{number + 1}"


def test_role_ids_are_the_published_ones() -> None:
    """https://learn.microsoft.com/azure/role-based-access-control/built-in-roles"""
    published = {
        "durableTaskDataContributor": "0ad04412-c4d5-4796-b79c-f76d14c8d402",
        "eventGridDataSender": "d5a91429-5739-47e2-a06b-3470a27159e7",
        "keyVaultSecretsOfficer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
        "keyVaultSecretsUser": "4633458b-17de-408a-b874-0445c86b69e6",
        "monitoringMetricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
        "storageBlobDataContributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
        "storageBlobDataOwner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
        "storageQueueDataContributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
        "storageTableDataContributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    }
    assert json.loads((INFRA / "roles.json").read_text(encoding="utf-8")) == published


def test_roles_are_granted_by_name_and_all_names_are_used() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in FILES)
    used = set(re.findall(r"\broles\.(?!json)(\w+)", source))
    assert used == set(json.loads((INFRA / "roles.json").read_text(encoding="utf-8")))
    guids = {
        literal(node) for path in FILES for node in walk(Bicep(path).root) if node.type == "string"
    }
    assert [
        item for item in guids if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", item)
    ] == []
