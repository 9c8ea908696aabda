"""What a rotation is looked up to be allowed is what the Roles of infra/kubernetes grant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from local import world
from local.cluster.client import read_manifests
from rotation.config import parse
from rotation.steps import rights
from rotation.steps.world import snapshot
from tests.infra.test_rbac import Use, granted
from tests.memory import MemoryEdges

if TYPE_CHECKING:
    from rotation.config import Credential
    from rotation.model.preconditions import Right

ADDRESSES = world.Addresses("https://kv-orders.vault.azure.net", 5432, Path("ca.pem"))
SPACE = "orders"


def edges(*workloads: dict[str, Any]) -> MemoryEdges:
    credential = {"workloads": list(workloads)} if workloads else {}
    file = world.configuration(ADDRESSES, "https://aks.example", credential)
    return MemoryEdges(parse(yaml.safe_dump(file)))


def needed(found: MemoryEdges) -> set[Use]:
    credential: Credential = found.configuration.credential(world.CREDENTIAL)
    seen = snapshot(found, world.CREDENTIAL, credential)
    states = {state.name: state for state in seen.workloads}
    return {
        use(right)
        for workload in credential.workloads
        for right in rights.needed(workload, states[workload.name])
    }


def use(right: Right) -> Use:
    return Use(right.namespace, right.group, right.resource, right.verb, right.name)


def of_example(name: str) -> set[Use]:
    """What the Role beside an example grants."""
    role = next(
        found
        for found in read_manifests(world.MANIFESTS / "example" / f"{name}.yaml")
        if found["kind"] == "Role"
    )
    return {
        Use(role["metadata"]["namespace"], group, resource, verb, found)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for found in rule.get("resourceNames", [""])
    }


def without_names(uses: set[Use]) -> set[Use]:
    return {one for one in uses if not one.name}


def test_it_is_just_what_the_app_is_granted() -> None:
    assert needed(edges()) == granted()


def test_nothing_is_asked_twice_and_nothing_is_tried() -> None:
    found = edges()
    credential = found.configuration.credential(world.CREDENTIAL)
    seen = snapshot(found, world.CREDENTIAL, credential)
    found.calls.made.clear()
    assert list(rights.problems(found, credential, seen)) == []
    asked = found.calls.reads
    assert len(asked) == len(set(asked)) == len(granted())
    assert found.calls.writes == []


def test_a_worker_that_nobody_calls() -> None:
    mailer = {
        "name": "mailer",
        "cluster": "local",
        "namespace": SPACE,
        "service": "mailer",
        "deployments": {"blue": "mailer-blue", "green": "mailer-green"},
    }
    uses = needed(edges(mailer))
    assert uses - without_names(uses) == of_example("mailer")


def test_cron_jobs() -> None:
    report = {
        "name": "report",
        "cluster": "local",
        "namespace": SPACE,
        "service": "report",
        "cronJobs": {"blue": "report-blue", "green": "report-green"},
    }
    more = {Use(SPACE, "", "events", "create", ""), Use(SPACE, "", "pods", "list", "")}
    assert needed(edges(report)) == of_example("report") | more


def test_one_in_place() -> None:
    ledger = {
        "name": "ledger",
        "cluster": "local",
        "namespace": SPACE,
        "inPlace": {
            "kind": "StatefulSet",
            "name": "ledger",
            "secret": "ledger-db",
            "then": "restart",
            "roleKey": "username",
        },
    }
    uses = needed(edges(ledger))
    for_tests = {one for one in of_example("ledger") if one.resource.startswith("services")}
    assert uses - without_names(uses) == of_example("ledger") - for_tests


def test_http_routes() -> None:
    api = world.workload("api", {"delivery": "csi"})
    route = {"name": "api", "backends": {"blue": "api-blue", "green": "api-green"}}
    with_route = {key: value for key, value in api.items() if key not in {"service", "preview"}}
    uses = needed(edges({**with_route, "port": "http", "route": route}))
    assert of_example("api-route") - uses == set()
    more = {one for one in uses - of_example("api-route") if one.name}
    assert {one.resource for one in more} == {"deployments"}


def test_jobs_as_tests() -> None:
    web = world.workload("web", {"delivery": "csi"})
    job = {"job": "web-check-{slot}"}
    uses = needed(edges({**web, "tests": [*web["tests"], job]}))
    assert of_example("web-check") - uses == set()
