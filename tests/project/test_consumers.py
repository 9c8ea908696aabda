"""docs/consumers.md: each row of its tables names tests that are there; its example is valid."""

from __future__ import annotations

import re

import yaml

from rotation.config import parse
from tests.project.files import text
from tests.security.test_threat_model import NAMED, defined, tables
from tests.unit.test_config import WORKLOAD, changed

PAGE = text("docs/consumers.md")


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


def test_the_readme_leads_there() -> None:
    assert "(docs/consumers.md)" in text("README.md")


def test_the_worker_of_the_example_is_one() -> None:
    service, entry = (
        yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    )
    assert service["spec"]["clusterIP"] == "None"
    assert "ports" not in service["spec"]
    file = changed((WORKLOAD, {**entry, "cluster": "aks"}))
    (workload,) = parse(yaml.safe_dump(file)).credential("orders-db").workloads
    assert workload.stops
    assert (workload.service, workload.namespace) == (
        service["metadata"]["name"],
        service["metadata"]["namespace"],
    )


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
