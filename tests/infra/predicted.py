"""The kept snapshots: what a deployment of each set-up would make, resource by resource."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

from tests.infra.compiler import kept, setups

Resource = dict[str, Any]
NAMES = [setup.name for setup in setups()]
ROLES = {
    "0ad04412-c4d5-4796-b79c-f76d14c8d402": "Durable Task Data Contributor",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": "Key Vault Secrets Officer",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "d5a91429-5739-47e2-a06b-3470a27159e7": "EventGrid Data Sender",
}
# Where the first that matches is what docs/deploy.md calls it.
PRINCIPALS = {
    "/userAssignedIdentities/id-rotation-": "the app's identity",
    "/Microsoft.EventGrid/topics/": "the topic of rotations",
    "/Microsoft.EventGrid/systemTopics/": "the system topic of each vault",
}
SCOPES = {
    r"/vaults/[^/]+/secrets/[\w-]+-(blue|green)": "each slot's secret",
    r"/vaults/[^/]+/secrets/[\w-]+-rotator": "each secret in `read`",
    r"/vaults/[^/]+/secrets/rotation-link-key": "the link key",
    r"/containers/dead-letters": "the container of dead letters",
    r"/storageAccounts/\w+": "the host's storage account",
    r"/taskHubs/rotation": "its task hub",
    r"/Microsoft.EventGrid/topics/[\w-]+": "the topic of rotations",
    r"/Microsoft.Insights/components/[\w-]+": "Application Insights",
}


@functools.cache
def snapshot(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kept(name).read_text(encoding="utf-8"))
    return found


def resources(name: str, kind: str = "") -> list[Resource]:
    """Those of one set-up, of one type if it is given."""
    found = snapshot(name)["predictedResources"]
    return [resource for resource in found if kind in {"", resource["type"]}]


def one(name: str, kind: str) -> Resource:
    (found,) = resources(name, kind)
    return found


def first(patterns: dict[str, str], text: str) -> str:
    """What the first pattern that matches stands for. Raises LookupError if none does."""
    for pattern, meaning in patterns.items():
        if re.search(pattern, text):
            return meaning
    raise LookupError(f"nothing is known of {text}")


def grants(name: str) -> set[tuple[str, str, str]]:
    """Who, which role, on what: in the words of docs/deploy.md."""
    custom = {
        resource["name"]: "a custom role of four rights"
        for resource in resources(name, "Microsoft.Authorization/roleDefinitions")
    }
    found = set()
    for resource in resources(name, "Microsoft.Authorization/roleAssignments"):
        properties = resource["properties"]
        scope = re.match(r"\[extensionResourceId\('([^']+)'", resource["id"])
        assert scope is not None, resource["id"]
        role = (ROLES | custom)[properties["roleDefinitionId"].rpartition("/")[2]]
        who = first(PRINCIPALS, properties["principalId"])
        found.add((who, role, first({f"{key}$": on for key, on in SCOPES.items()}, scope[1])))
    return found


def namespaces(name: str) -> set[str]:
    """Resource providers that a subscription must have registered for it."""
    found = {resource["type"].split("/")[0] for resource in resources(name)}
    for network in resources(name, "Microsoft.Network/virtualNetworks"):
        for subnet in network["properties"]["subnets"]:
            for delegation in subnet["properties"].get("delegations", []):
                found.add(delegation["properties"]["serviceName"].split("/")[0])
    return found - {"Microsoft.Authorization"}  # always registered
