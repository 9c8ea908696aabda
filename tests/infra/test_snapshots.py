"""What a deployment would make, read from the snapshots that test_compiler.py keeps true."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from rotation.contracts.store import CONTAINERS
from tests.infra.predicted import NAMES, grants, namespaces, one, resources, snapshot
from tests.infra.test_deploy_guide import GUIDE, section, table

each_setup = pytest.mark.parametrize("name", NAMES)
ENDPOINT = "Microsoft.Network/privateEndpoints"
LINK = "Microsoft.Network/privateDnsZones/virtualNetworkLinks"
TOPIC = "Microsoft.EventGrid/systemTopics"
CLUSTER = "/Microsoft.ContainerService/managedClusters/"


def ids(name: str) -> list[str]:
    return [resource["id"].lower() for resource in resources(name)]


@each_setup
def test_no_two_resources_have_one_id(name: str) -> None:
    assert sorted(ids(name)) == sorted(set(ids(name)))


@each_setup
def test_nothing_is_diagnosed(name: str) -> None:
    assert snapshot(name)["diagnostics"] == []


@pytest.mark.parametrize(
    ("first", "second"), [("default", "second-environment"), ("events", "second-events")]
)
def test_two_environments_on_one_vault_leave_each_other_alone(first: str, second: str) -> None:
    """The custom role alone is of both, and is the same in both."""
    made = {resource["id"].lower(): resource for resource in resources(first)}
    both = [resource for resource in resources(second) if resource["id"].lower() in made]
    assert {item["type"] for item in both} <= {"Microsoft.Authorization/roleDefinitions"}
    assert [item for item in both if made[item["id"].lower()] != item] == []


def test_a_second_environment_that_names_no_topic_writes_the_first_ones_as_it_is() -> None:
    """A vault has one system topic: both make the same, but for tags. Subscription, alert and
    grant are each environment's own."""
    first = {resource["id"].lower(): resource for resource in resources("events")}
    both = [item for item in resources("shared-events") if item["id"].lower() in first]
    assert [(item["type"], item["name"]) for item in both] == [(TOPIC, "evgt-kv-orders")]
    (topic,) = both
    written = first[topic["id"].lower()]
    assert {**topic, "tags": None} == {**written, "tags": None}


def test_a_system_topic_that_is_there_already_is_not_written() -> None:
    assert [topic["name"] for topic in resources("events-mail", TOPIC)] == ["evgt-kv-orders"]
    subscriptions = resources("events-mail", f"{TOPIC}/eventSubscriptions")
    assert {item["name"].split("/")[0] for item in subscriptions} == {"evgt-kv-orders", "evgt-shop"}


@each_setup
def test_dead_letters_are_written_by_the_topics_own_identity(name: str) -> None:
    """Past the firewall of a storage account Event Grid comes with no other kind."""
    for kind in ("Microsoft.EventGrid/topics", TOPIC):
        assert [t["name"] for t in resources(name, kind) if t["identity"] != SYSTEM_ASSIGNED] == []
        for subscription in resources(name, f"{kind}/eventSubscriptions"):
            dead = subscription["properties"]["deadLetterWithResourceIdentity"]
            assert dead["identity"] == SYSTEM_ASSIGNED


SYSTEM_ASSIGNED = {"type": "SystemAssigned"}


@each_setup
def test_tags_are_on_everything_that_has_a_place(name: str) -> None:
    given = {
        "events": {"owner": "platform"},
        "events-mail": {"owner": "platform"},
        "private": {"owner": "platform", "azd-env-name": "prod"},
        "second-environment": {"azd-env-name": "test"},
        "second-events": {},
        "shared-events": {},
        "two-vaults": {"azd-env-name": "Prod_1"},
    }.get(name, {"azd-env-name": "prod"})
    for resource in resources(name):
        if "location" in resource:
            tags = {**resource["tags"]}
            tags.pop("azd-service-name", None)
            assert tags == given, resource["id"]


def test_the_region_is_the_groups_unless_another_is_named() -> None:
    places = {r["location"] for r in resources("default") if "location" in r} - {"global"}
    assert places == {"northeurope"}  # of the group that the snapshots are made for
    places = {r["location"] for r in resources("two-vaults") if "location" in r} - {"global"}
    assert places == {"westeurope"}


@each_setup
def test_names_are_ones_that_azure_takes(name: str) -> None:
    for site in resources(name, "Microsoft.Web/sites"):
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,58}[a-z0-9]", site["name"])
    for resource in resources(name):
        assert " " not in resource.get("location", "")
        if not resource["name"].startswith("["):
            assert re.fullmatch(r"[\w./$-]+", resource["name"]), resource["name"]
    for endpoint in resources(name, ENDPOINT):
        assert len(endpoint["name"]) <= 64


def test_names_differ_that_are_alike_once_they_are_host_names() -> None:
    made = one("two-vaults", "Microsoft.Web/sites")["name"]
    assert made.startswith("func-rotation-prod1-")


def connections(endpoint: dict[str, Any], *, manual: bool) -> list[str]:
    key = "manualPrivateLinkServiceConnections" if manual else "privateLinkServiceConnections"
    return [item["properties"]["privateLinkServiceId"] for item in endpoint["properties"][key]]


def test_each_private_service_has_one_endpoint() -> None:
    reached = [
        service
        for endpoint in resources("two-vaults", ENDPOINT)
        for service in connections(endpoint, manual=False)
    ]
    kinds = [service.split("/")[-2] for service in reached]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "storageAccounts": 3,
        "schedulers": 1,
        "vaults": 2,
        "flexibleServers": 2,
        "managedClusters": 2,
    }


def test_an_endpoint_that_its_owner_approves_asks_and_does_not_approve_itself() -> None:
    for endpoint in resources("private", ENDPOINT):
        asked = connections(endpoint, manual=True)
        approved = connections(endpoint, manual=False)
        assert len(asked + approved) == 1
        assert bool(asked) == (CLUSTER in (asked + approved)[0])


def test_zones_hide_no_public_name_of_others() -> None:
    for link in resources("two-vaults", LINK):
        policy = link["properties"].get("resolutionPolicy")
        # A zone for one API server holds that one name.
        assert policy == (None if CLUSTER in link["id"] else "NxDomainRedirect"), link["id"]


def test_the_name_of_an_api_server_is_registered_with_the_address_of_its_endpoint() -> None:
    records = resources("two-vaults", "Microsoft.Network/privateDnsZones/A")
    interfaces = set()
    for record in records:
        (address,) = record["properties"]["aRecords"]
        interfaces |= set(re.findall(r"pep-cluster-[\w-]+", json.dumps(address)))
        assert "privateFQDN" in record["id"]
    assert len(records) == len(interfaces) == 2
    registered = [
        group["id"] for group in resources("two-vaults", f"{ENDPOINT}/privateDnsZoneGroups")
    ]
    assert [item for item in registered if "pep-cluster" in item] == []


def test_grants_are_those_of_the_guide() -> None:
    made = set().union(*(grants(name) for name in NAMES))
    rows = [tuple(row) for row in table("### Grants")]
    assert sorted(rows) == sorted(set(rows))
    assert {(who, re.split("[,:]", role)[0], on) for who, role, on in rows} == made


# What a row of the guide says of when its grant is made, by the set-ups that make it.
WHEN = {
    "with `leastSecretsRole` false": {"roles"},
    "with `azureStorage` only": {"storage"},
}


def test_a_grant_is_made_only_where_the_guide_says_so() -> None:
    said = {}
    for who, role, on in table("### Grants"):
        name, _, rest = role.partition(",")
        for when in WHEN:
            if when in rest:
                said[who, name, on] = when
    assert set(said.values()) == set(WHEN)
    for grant, when in said.items():
        assert {name for name in NAMES if grant in grants(name)} == WHEN[when], grant


def test_the_custom_role_is_defined_with_as_many_rights_as_the_guide_says() -> None:
    role = one("default", "Microsoft.Authorization/roleDefinitions")
    (rights,) = role["properties"]["permissions"]
    verbs = {action.rpartition("/")[2] for action in rights["dataActions"]}
    assert len(rights["dataActions"]) == 4
    assert rights.get("actions", []) == []
    told = next(
        row[1] for row in map(tuple, table("### Grants")) if "custom role of four" in row[1]
    )
    assert told.partition(": ")[2] == "set, list, read and update versions", verbs


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("default", "a custom role of four rights"),
        ("roles", "Key Vault Secrets Officer"),
    ],
)
def test_a_slots_secret_is_opened_to_one_role(name: str, role: str) -> None:
    assert {granted for _, granted, on in grants(name) if on == "each slot's secret"} == {role}


OWNER = "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"  # Storage Blob Data Owner
HOST = {"packages", "azure-webjobs-hosts", "azure-webjobs-secrets"}
HUB = {"rotation-leases", "rotation-applease", "rotation-largemessages"}
OWN = set(CONTAINERS.values())


@each_setup
def test_the_app_reads_and_writes_blobs_of_its_own_containers_alone(name: str) -> None:
    """Whatever is done to a blob; containers themselves are below no condition of this kind."""
    conditions = [
        granted["properties"]["condition"]
        for granted in resources(name, "Microsoft.Authorization/roleAssignments")
        if granted["properties"]["roleDefinitionId"].endswith(OWNER)
    ]
    if name.endswith("events") or name == "events-mail":
        assert conditions == []
        return
    (condition,) = conditions
    found = re.fullmatch(
        r"\(\(!\(ActionMatches\{'Microsoft\.Storage/storageAccounts/blobServices/containers/blobs/\*'"
        r"\}\)\) OR \(@Resource\[Microsoft\.Storage/storageAccounts/blobServices/containers:name\]"
        r" ForAnyOfAnyValues:StringEquals \{(.+)\}\)\)",
        condition,
    )
    assert found is not None, condition
    expected = HOST | OWN | (HUB if name == "storage" else set())
    assert set(re.findall(r"'([^']+)'", found[1])) == expected
    made = {
        container["name"].split("/")[-1]
        for container in resources(
            name, "Microsoft.Storage/storageAccounts/blobServices/containers"
        )
    }
    assert made - HOST == {"dead-letters", *OWN}


def test_records_are_forgotten_and_immutable_only_where_somebody_says_so() -> None:
    kind = "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies"
    assert resources("default", kind) == []
    (policy,) = resources("governed", kind)
    assert policy["name"].split("/")[-2:] == [CONTAINERS["records"], "default"]
    assert policy["properties"]["immutabilityPeriodSinceCreationInDays"] == 365

    def forgets(name: str) -> list[str]:
        (found,) = resources(name, "Microsoft.Storage/storageAccounts/managementPolicies")
        rules = found["properties"]["policy"]["rules"]
        return [rule["definition"]["filters"]["prefixMatch"][0] for rule in rules]

    assert forgets("default") == ["dead-letters/"]
    assert forgets("governed") == [f"{CONTAINERS['records']}/", "dead-letters/"]


def test_the_guide_registers_the_providers_that_are_used() -> None:
    listed = set(re.findall(r"Microsoft\.\w+", section("## What you need").split("```")[1]))
    used = set().union(*(namespaces(name) for name in NAMES))
    assert listed == used
    assert "```sh" in GUIDE


def test_a_pause_is_part_of_the_settings_that_each_deployment_writes() -> None:
    """The settings hold the endpoints of what is deployed, so they are one unevaluated text."""
    for name, paused in (("governed", True), ("default", False)):
        settings = str(one(name, "Microsoft.Web/sites/config")["properties"])
        assert "'ROTATION_SIGN_IN'" in settings
        for key in ("AzureWebJobs.on_secret_event.Disabled", "ROTATION_PAUSED"):
            assert (f"'{key}'" in settings) == paused
        assert "AzureWebJobs.sweep.Disabled" not in settings  # it tells what expires


def test_what_holds_state_is_locked_where_that_is_asked_for() -> None:
    locks = resources("governed", "Microsoft.Authorization/locks")
    assert {lock["properties"]["level"] for lock in locks} == {"CanNotDelete"}
    assert {lock["id"].split("/providers/")[1].split("/")[1] for lock in locks} == {
        "storageAccounts",
        "schedulers",
        "topics",
        "workspaces",
    }
    assert resources("default", "Microsoft.Authorization/locks") == []


def test_logs_and_metrics_go_to_each_further_destination() -> None:
    made = resources("governed", "Microsoft.Insights/diagnosticSettings")
    assert sorted(item["name"] for item in made) == ["archive"] * 3 + ["rotation"] * 3
    for item in made:
        properties = item["properties"]
        assert properties["logs"] == [{"categoryGroup": "allLogs", "enabled": True}]
        (destination,) = {"workspaceId", "storageAccountId"} & {
            key for key, value in properties.items() if value
        }
        assert (destination == "storageAccountId") == (item["name"] == "archive")
        assert (properties["metrics"] == []) == (item["name"] == "archive")


def test_the_durable_api_stays_behind_the_sign_in() -> None:
    (auth,) = [
        item
        for item in resources("mail-sign-in", "Microsoft.Web/sites/config")
        if item["name"].endswith("/authsettingsV2")
    ]
    excluded = auth["properties"]["globalValidation"]["excludedPaths"]
    assert [path for path in excluded if "*" in path or "durabletask" in path] == []
