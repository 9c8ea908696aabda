"""docs/consumers.md: each row of its tables names tests that are there; its example is valid."""

from __future__ import annotations

import re

import yaml

from rotation.config import parse
from rotation.decisions import routes
from rotation.decisions.cron_jobs import LONGEST, SHORTEST
from rotation.model.targets import RouteTarget
from tests.project.files import text
from tests.security.test_threat_model import NAMED, defined, tables
from tests.unit.test_config import WORKLOAD, changed

PAGE = text("docs/consumers.md")
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def test_each_row_names_tests_that_are_there() -> None:
    found = tables(PAGE)
    assert len(found) == 3
    for head, rows in found:
        assert head[-1] == "tests"
        for row in rows:
            cells = [cell.strip("| ") for cell in row]
            assert len(cells) == len(head), row
            assert all(cells), row
            named = NAMED.findall(cells[-1])
            assert named, row
            assert NAMED.sub("", cells[-1]).strip(", ") == "", row
            missing = [f"{file}::{name}" for file, name in named if name not in defined(file)]
            assert missing == []


def test_the_route_of_the_example_is_one() -> None:
    (entry,) = [block for block in BLOCKS if "route" in block]
    file = changed((WORKLOAD, {**entry, "cluster": "aks"}))
    (workload,) = parse(yaml.safe_dump(file)).credential("orders-db").workloads
    assert (workload.called, workload.stops) == (True, False)
    made = list(yaml.safe_load_all(text("infra/kubernetes/example/api-route.yaml")))
    (route,) = [one for one in made if one["kind"] == "HTTPRoute"]
    services = {one["metadata"]["name"] for one in made if one["kind"] == "Service"}
    target = RouteTarget("orders", "api", "api-blue", "api-green")
    seen = routes.seen(route, target)
    assert (seen.slot, seen.lacks, services) == ("blue", (), {"api-blue", "api-green"})


def test_the_readme_leads_there() -> None:
    assert "(docs/consumers.md)" in text("README.md")


def test_what_is_in_place_is_what_the_example_has() -> None:
    (entry,) = [block for block in BLOCKS if "inPlace" in block]
    file = changed((WORKLOAD, {**entry, "cluster": "aks"}))
    (workload,) = parse(yaml.safe_dump(file)).credential("orders-db").workloads
    found = list(yaml.safe_load_all(text("infra/kubernetes/example/ledger.yaml")))
    kinds = [(each["kind"], each["metadata"]["name"]) for each in found]
    assert kinds == [
        ("StatefulSet", workload.deployment("blue").name),
        ("Service", "ledger-pods"),
        ("Service", workload.service),
        ("Role", "credential-rotation-ledger"),
        ("RoleBinding", "credential-rotation-ledger"),
    ]
    (volume,) = found[0]["spec"]["template"]["spec"]["volumes"]
    assert workload.exchanged is not None
    assert volume["secret"]["secretName"] == workload.exchanged.name
    assert found[2]["spec"]["selector"] == {"app": "ledger"}
    secrets, single, *_ = found[3]["rules"]
    assert (secrets["resourceNames"], secrets["verbs"]) == (["ledger-db"], ["get", "patch"])
    assert (single["resourceNames"], single["verbs"]) == (["ledger"], ["get", "patch"])


def test_the_worker_of_the_example_is_one() -> None:
    service, entry, *_ = BLOCKS
    assert service["spec"]["clusterIP"] == "None"
    assert "ports" not in service["spec"]
    file = changed((WORKLOAD, {**entry, "cluster": "aks"}))
    (workload,) = parse(yaml.safe_dump(file)).credential("orders-db").workloads
    assert workload.stops
    assert (workload.service, workload.namespace) == (
        service["metadata"]["name"],
        service["metadata"]["namespace"],
    )


def test_the_cron_jobs_of_the_example_are_a_pair() -> None:
    (entry,) = [block for block in BLOCKS if "cronJobs" in block]
    file = changed((WORKLOAD, {**entry, "cluster": "aks"}))
    (workload,) = parse(yaml.safe_dump(file)).credential("orders-db").workloads
    found = list(yaml.safe_load_all(text("infra/kubernetes/example/report.yaml")))
    pair = {each["metadata"]["name"]: each["spec"] for each in found if each["kind"] == "CronJob"}
    assert list(pair) == list(workload.cron_jobs.values())
    assert [spec["suspend"] for spec in pair.values()] == [False, True]
    assert {SHORTEST <= spec["startingDeadlineSeconds"] <= LONGEST for spec in pair.values()} == {
        True
    }
    (service,) = [each for each in found if each["kind"] == "Service"]
    assert service["spec"] == {"clusterIP": "None", "selector": {"app": "report", "slot": "blue"}}
    assert f"must be {SHORTEST} to {LONGEST}" in PAGE


def test_the_manifests_of_the_example_are_of_that_worker() -> None:
    found = list(yaml.safe_load_all(text("infra/kubernetes/example/mailer.yaml")))
    kinds = [(each["kind"], each["metadata"]["name"]) for each in found]
    assert kinds == [
        ("Deployment", "mailer-blue"),
        ("Deployment", "mailer-green"),
        ("Service", "mailer"),
        ("Role", "credential-rotation-mailer"),
        ("RoleBinding", "credential-rotation-mailer"),
    ]
    assert found[2]["spec"] == {"clusterIP": "None", "selector": {"app": "mailer", "slot": "blue"}}
