"""The Role of infra/kubernetes/rbac.yaml is what a rotation needs: no less, and no more.

The local cluster enforces it, as for every test on the stack, and audits what it was asked for.
Both outcomes of an approval are rotated through, and the two sets are compared.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from local import world
from local.cluster.client import read_manifests
from local.process import ROOT, wait_until
from local.stack import APP
from rotation.edges.cluster.patches import IN_PLACE, OURS, SLOT, allowed

if TYPE_CHECKING:
    from pathlib import Path

    from local.stack import Stack


MANIFEST = world.MANIFESTS / "rbac.yaml"
# Whose rights stand with an example of their kind.
OPTED_IN = {"cronjobs", "httproutes", *IN_PLACE}
# What Kubernetes cannot limit to a name, so that a rule without names is the least there is.
UNNAMED = {
    ("", "pods", "list"),
    ("", "pods", "watch"),
    ("apps", "replicasets", "list"),
    ("", "services", "list"),
    ("discovery.k8s.io", "endpointslices", "list"),
    ("", "events", "create"),
}


REVIEWS = {"selfsubjectaccessreviews"}


class Use(NamedTuple):
    """One thing that is asked for or granted. `name` is empty where none is given."""

    namespace: str
    group: str
    resource: str
    verb: str
    name: str


def roles() -> dict[str, dict[str, Any]]:
    """By namespace."""
    found = [role for role in read_manifests(MANIFEST) if role["kind"] == "Role"]
    return {role["metadata"]["namespace"]: role for role in found}


def granted() -> set[Use]:
    return {
        Use(namespace, group, resource, verb, name)
        for namespace, role in roles().items()
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def audit_log(stack: Stack) -> Path:
    return stack.directory / "cluster" / "audit.log"


def requests_of_the_app(stack: Stack, since: int) -> list[dict[str, Any]]:
    lines = audit_log(stack).read_text(encoding="utf-8")[since:].splitlines()
    events = [json.loads(line) for line in lines]
    return by_roles([event for event in events if event["user"]["username"] == APP.principal_id])


def by_roles(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the requests that a Role has to allow. What it may do, anybody may ask about
    themselves, by the default role `system:basic-user`; nothing is stored."""
    return [event for event in events if event["objectRef"]["resource"] not in REVIEWS]


def used(event: dict[str, Any]) -> Use:
    """As a rule would have to grant it: without the name where no rule can hold one."""
    found = event["objectRef"]
    group, resource = found.get("apiGroup", ""), found["resource"]
    if found.get("subresource"):
        resource += f"/{found['subresource']}"
    named = (group, resource, event["verb"]) not in UNNAMED
    name = found.get("name", "") if named else ""
    return Use(found["namespace"], group, resource, event["verb"], name)


def documented() -> dict[str, tuple[set[str], str]]:
    """By resource its verbs and the fields that are patched, from the table in docs/deploy.md."""
    rows = re.findall(
        r"^\| `([a-z/]+)` \| (`[a-z`, ]+`) \| [^|]+ \| ([^|]*) ?\|$",
        _section(ROOT / "docs" / "deploy.md", "#### What it may do in the cluster"),
        re.MULTILINE,
    )
    return {resource: (set(re.findall(r"`(\w+)`", v)), fields) for resource, v, fields in rows}


def _section(path: Path, heading: str) -> str:
    text = path.read_text(encoding="utf-8")
    begin = text.index(heading) + len(heading)
    return text[begin : text.index("\n#", begin)]


def verbs(uses: set[Use]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for use in uses:
        found.setdefault(use.resource, set()).add(use.verb)
    return found


def rotate(stack: Stack, decision: str) -> str:
    wait_until(stack.client.free, 60, "the end of the credential's orchestration")
    answer = stack.client.api(
        "POST", "/rotations", {"credential": world.CREDENTIAL, "by": world.OPERATOR}
    )
    assert answer.status == 202
    rotation = str(answer.json["rotation"])
    stack.client.follow(rotation, lambda r: r["outcome"] or (r["approval"] or {}).get("event"))
    stack.client.decide(rotation, decision)
    return str(stack.client.follow(rotation, lambda record: record["outcome"])["outcome"])


@pytest.fixture(scope="module")
def asked(shared_stack: Stack) -> list[dict[str, Any]]:
    """Every request of the app during one rotation that is approved and one that is rejected.

    The first leaves the slots reversed, so that each has been the standby one.
    """
    shared_stack.faults.restore()
    since = audit_log(shared_stack).stat().st_size
    outcomes = [rotate(shared_stack, decision) for decision in ("approve", "reject")]
    assert outcomes == ["completed", "rolled-back"]
    return requests_of_the_app(shared_stack, since)


@pytest.mark.long
def test_whole_rotations_are_never_refused(asked: list[dict[str, Any]]) -> None:
    assert asked
    decisions = {event["annotations"]["authorization.k8s.io/decision"] for event in asked}
    assert decisions == {"allow"}


@pytest.mark.long
def test_every_rule_is_used_and_every_use_has_its_rule(asked: list[dict[str, Any]]) -> None:
    seen = {used(event) for event in asked}
    assert sorted(granted() - seen) == [], "granted and never used"
    assert sorted(seen - granted()) == [], "used without a rule of its own"


def test_the_guides_table_has_each_verb_and_each_field() -> None:
    """tests/kubernetes/test_rotations.py compares the verbs with a real API server's audit log."""
    table = documented()
    assert {resource: found for resource, (found, _) in table.items()} == verbs(granted())
    patched = {name: paths for name, paths in allowed().items() if name not in OPTED_IN}
    assert {resource for resource, (_, fields) in table.items() if fields} == patched.keys()
    for resource, paths in patched.items():
        fields = table[resource][1]
        for path in paths:
            name = path[-2] if path[-1] in {OURS, SLOT, "*"} else path[-1]
            assert name in fields, f"{resource}: {'.'.join(path)}"
        assert ("in the pod template" in fields) == any("template" in path for path in paths)


def test_what_an_example_grants_besides_is_all_that_its_kind_needs() -> None:
    role = next(
        found
        for found in read_manifests(world.MANIFESTS / "example" / "report.yaml")
        if found["kind"] == "Role"
    )
    granted = {(r, v) for rule in role["rules"] for r in rule["resources"] for v in rule["verbs"]}
    own = {("cronjobs", "get"), ("cronjobs", "patch"), ("jobs", "list")}
    assert granted == {("services", "get"), ("services", "patch"), *own}


def test_rules_name_what_they_are_about_wherever_kubernetes_allows_it() -> None:
    unnamed = {(use.group, use.resource, use.verb) for use in granted() if not use.name}
    assert unnamed == UNNAMED


def test_no_rule_has_a_wildcard() -> None:
    assert not [use for use in granted() if "*" in use]


@pytest.mark.long
def test_the_audit_log_is_private_and_holds_no_body(shared_stack: Stack, asked: Any) -> None:
    path = audit_log(shared_stack)
    assert path.stat().st_mode & 0o777 == 0o600
    assert {event["level"] for event in asked} == {"Metadata"}
    assert not [event for event in asked if {"requestObject", "responseObject"} & event.keys()]


def test_the_app_may_not_read_secrets_or_run_pods(shared_stack: Stack) -> None:
    """What the built-in AKS writer roles would have allowed on top."""
    more = {
        ("", "secrets", verb) for verb in ("get", "list", "watch", "create", "update", "delete")
    } | {("", "pods", "create"), ("", "pods/exec", "create"), ("", "services", "create")}
    assert not {(use.group, use.resource, use.verb) for use in granted()} & more
