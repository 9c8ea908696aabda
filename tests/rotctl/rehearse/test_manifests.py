"""What a rehearsal makes, as a careful cluster wants it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from rotctl.adopt.original import selects
from rotctl.rehearse import manifests
from rotctl.rehearse.plan import LEAVING, STAYING, Load
from tests.rotctl.rehearse.space import plan


def pod(obj: dict[str, Any]) -> Any:
    return obj["spec"]["template"]["spec"]


def test_the_job_is_as_the_restricted_standard_wants_it_and_has_no_token() -> None:
    spec = pod(manifests.job(plan()))
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert "volumes" not in spec
    assert {"requests", "limits"} == set(container["resources"])


def test_the_job_ends_by_itself_and_goes_later_than_whoever_follows_it() -> None:
    spec = manifests.job(plan(seconds=300.0))["spec"]
    assert spec["activeDeadlineSeconds"] > manifests.options(plan(seconds=300.0))["seconds"] > 300
    assert spec["ttlSecondsAfterFinished"] == manifests.KEPT
    assert spec["backoffLimit"] == 0


def test_what_it_owns_goes_with_it() -> None:
    job = {**manifests.job(plan()), "metadata": {"name": "rehearsal-api", "uid": "u"}}
    made = manifests.deployment(plan(), LEAVING, job)
    (owner,) = made["metadata"]["ownerReferences"]
    # Nothing that would need the right to change the Job's finalizers.
    assert owner == {
        "apiVersion": "batch/v1", "kind": "Job", "name": "rehearsal-api", "uid": "u",
    }  # fmt: skip


def test_the_pods_are_copies_under_other_labels() -> None:
    planned = plan()
    for part in (LEAVING, STAYING):
        made = manifests.deployment(planned, part)
        template = made["spec"]["template"]
        assert template["spec"] == planned.template["spec"]
        assert template["metadata"]["annotations"] == {"a": "b"}
        assert template["metadata"]["labels"] == {
            "tier": "front", manifests.OF: "api", manifests.PART: part,
        }  # fmt: skip
        assert made["spec"]["replicas"] == 1
        assert selects(made["spec"]["selector"]["matchLabels"], template["metadata"]["labels"])
    assert planned.template["metadata"]["labels"] == {"app": "api", "tier": "front"}


def test_they_have_nobody_ended_to_get_room() -> None:
    known = plan()
    spec = {**known.template["spec"], "priorityClassName": "high", "priority": 1000}
    made = manifests.deployment(replace(known, template={**known.template, "spec": spec}), LEAVING)
    assert not {"priorityClassName", "priority"} & pod(made).keys()
    assert spec["priorityClassName"] == "high"


def test_the_service_finds_one_of_them() -> None:
    planned = plan()
    selector = manifests.service(planned)["spec"]["selector"]
    leaving, staying = (
        manifests.deployment(planned, part)["spec"]["template"]["metadata"]["labels"]
        for part in (LEAVING, STAYING)
    )
    assert selects(selector, leaving)
    assert not selects(selector, staying)
    assert not selects(selector, manifests.job(planned)["spec"]["template"]["metadata"]["labels"])


def test_everything_is_found_by_one_selector() -> None:
    planned = plan()
    for one in manifests.all_of(planned):
        assert manifests.labels(planned).items() <= one["metadata"]["labels"].items()
        assert one["metadata"]["namespace"] == "orders"


@pytest.mark.parametrize("name", ["api", "a.b", "a" * 40, "a" * 63, "x" * 253, "1api"])
def test_any_name_of_a_deployment_makes_names_that_a_service_may_have(name: str) -> None:
    planned = plan()
    other = type(planned)(**{**vars(planned), "deployment": name})
    for one in manifests.all_of(other):
        made = one["metadata"]["name"]
        assert len(made) <= 63
        assert made.startswith("rehearsal-")
        assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert len(manifests.stem(other)) <= 63


def test_two_long_names_are_told_apart() -> None:
    planned = plan()
    two = [type(planned)(**{**vars(planned), "deployment": "a" * 50 + end}) for end in "bc"]
    assert manifests.stem(two[0]) != manifests.stem(two[1])


def test_nothing_in_a_path_is_expanded() -> None:
    made = manifests.job(plan(load=Load(path="/a$(HOME)")))
    (container,) = pod(made)["containers"]
    assert json.loads(container["args"][2].replace("$$", "$"))["path"] == "/a$(HOME)"
    assert container["args"][2].count("$$") == 1
    assert made["spec"]["template"]["spec"]["containers"][0]["command"] == ["python3"]


def test_secrets_to_pull_with() -> None:
    spec = pod(manifests.job(plan(pull_secrets=("registry",), image="registry.example/python:3")))
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["containers"][0]["image"] == "registry.example/python:3"
