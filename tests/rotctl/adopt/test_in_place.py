"""Workloads without a twin: a Secret that rotations exchange, and a template that reads it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from local.cluster import kinds
from local.cluster.patches import strategic_patch
from local.process import ROOT
from rotation import config
from rotation.decisions import in_place as judged
from rotation.edges.cluster import patches
from rotation.edges.cluster.patches import HOLDS
from rotctl.adopt import folder, in_place, refusals, rights, sources, telling
from rotctl.adopt.asking import Answers, Facts
from rotctl.adopt.cleaning import cleaned
from rotctl.adopt.deciding import decide
from rotctl.adopt.original import env, template_of
from tests.rotctl.adopt.shapes import IDENTITY, SERVER, Shape, shapes_in_place
from tests.rotctl.adopt.shapes import shape as twin_shape

if TYPE_CHECKING:
    from collections.abc import Callable


SHAPES = shapes_in_place()
every = pytest.mark.parametrize("found", SHAPES, ids=str)


def shape(name: str) -> Shape:
    (found,) = [one for one in SHAPES if one.name.partition("-")[2] == name]
    return found


@every
def test_its_entry_is_what_a_rotation_takes(found: Shape) -> None:
    plan = found.plan()
    read = config.parse(folder.files(plan)["credentials.yaml"])
    (workload,) = read.credentials[plan.credential.name].workloads
    assert workload.in_place is not None
    assert workload.in_place.kind == found.expect["kind"]
    assert workload.in_place.secret == found.expect["secret"]
    assert workload.key == found.expect["key"]
    assert (workload.in_place.role_key or "") == found.expect["roleKey"]
    assert workload.in_place.then == found.answers["in_place"]


@every
def test_its_secret_says_whose_login_it_holds_and_has_no_value(found: Shape) -> None:
    plan = found.plan()
    (made,) = yaml.safe_load_all(
        folder.files(plan)[f"kubernetes/{plan.workloads[0].name}-login.yaml"]
    )
    assert made["metadata"]["annotations"] == {HOLDS: "blue"}
    named = found.expect["roleKey"]
    assert made.get("stringData", {}) == (
        {named: plan.credential.slots["blue"].role} if named else {}
    )


@every
def test_its_pods_read_that_secret_as_a_rotation_asks_for(found: Shape) -> None:
    plan = found.plan()
    (workload,) = plan.workloads
    made = in_place.running(workload, plan.credential)
    readings = judged.readings(template_of(made), found.expect["secret"])
    assert readings
    assert workload.then == "restart" or readings == {"volume"}
    from_it = {
        one["name"]: one["valueFrom"]["secretKeyRef"]["key"]
        for _, one in env(template_of(made))
        if (one.get("valueFrom") or {}).get("secretKeyRef", {}).get("name")
        == found.expect["secret"]
    }
    assert from_it == found.expect["reads"]
    assert not list(in_place.refused(workload, plan.credential))


@every
def test_its_patch_makes_it_of_the_live_one_and_the_other_way_round(found: Shape) -> None:
    plan = found.plan()
    (workload,) = plan.workloads
    files, kind = folder.files(plan), kinds.BY_KIND["apps/v1", found.expect["kind"]]
    before = cleaned(workload.original.workload)
    after = in_place.running(workload, plan.credential)
    there, back = (
        yaml.safe_load(files[f"kubernetes/{where}{workload.name}-patch.yaml"])
        for where in ("", "undo/")
    )
    made = strategic_patch(copy.deepcopy(before), there, kind)
    assert cleaned(made) == after
    rotated = strategic_patch(made, patches.restart("version", "exchange"), kind)
    noted = patches.Note("rotation", "Restarted", "was restarted").annotations
    rotated["metadata"]["annotations"] = {**rotated["metadata"].get("annotations", {}), **noted}
    assert cleaned(strategic_patch(rotated, back, kind)) == before


@every
def test_a_release_in_between_keeps_its_image(found: Shape) -> None:
    plan = found.plan()
    text = folder.files(plan)[f"kubernetes/{plan.workloads[0].name}-patch.yaml"]
    assert "image" not in text
    assert "replicas" not in text


def test_a_variable_that_others_are_made_of_stands_before_them() -> None:
    plan = shape("a-deployment-on-one-volume").plan()
    (container,) = in_place.running(plan.workloads[0], plan.credential)["spec"]["template"]["spec"][
        "containers"
    ]
    names = [one["name"] for one in container["env"]]
    assert names.index("ROTATED_LOGIN") < names.index("DATABASE_URL")
    assert {one["name"]: one.get("value") for one in container["env"]}["DATABASE_URL"] == (
        "postgres://$(ROTATED_LOGIN)@pg.example/wiki"
    )


def test_its_rights_are_those_of_the_example() -> None:
    """But for the Secret's name, and what the namespace's own Role has beside them there."""
    found = shape("a-stateful-set")
    plan = found.plan()
    role, _ = rights.of(plan.workloads[0], plan, ["http"])
    example = [
        one
        for one in yaml.safe_load_all(
            (ROOT / "infra/kubernetes/example/ledger.yaml").read_text(encoding="utf-8")
        )
        if one["kind"] == "Role"
    ]
    wanted = yaml.safe_dump(example[0]["rules"]).replace("ledger-db", "ledger-login")
    named = [one for one in role["rules"] if "resourceNames" in one]
    key = lambda one: one["resources"][0]  # noqa: E731 - twice below
    assert sorted(named, key=key) == sorted(yaml.safe_load(wanted), key=key)
    assert {one["resources"][0] for one in role["rules"] if "resourceNames" not in one} == {
        "pods", "replicasets", "services", "endpointslices", "events",
    }  # fmt: skip


def test_what_has_its_pods_read_it_again_is_asked_for() -> None:
    (question,) = shape("a-stateful-set").decided(in_place="").questions
    assert question.option == "--in-place"
    assert question.choices == ("restart", "reload")


def test_it_may_share_its_credential_with_one_that_gets_a_twin() -> None:
    guide = copy.deepcopy(twin_shape("the-guide").objects)
    (beside,) = [copy.deepcopy(one) for one in guide if one["kind"] == "Deployment"]
    beside |= {"kind": "StatefulSet", "metadata": {"name": "ledger", "namespace": "orders"}}
    beside["spec"]["selector"] = {"matchLabels": {"app": "ledger"}}
    beside["spec"]["template"]["metadata"]["labels"] = {"app": "ledger"}
    beside["spec"].pop("strategy", None)
    wanted = [("Deployment", "orders/api"), ("StatefulSet", "orders/ledger")]
    originals = sources.originals([*guide, beside], wanted)
    answers = Answers(app_identity=IDENTITY, server=SERVER, in_place="restart")
    plan = decide(originals, answers, Facts(), "manifests").plan
    assert plan is not None
    assert not refusals.of_secret(originals, [one.carrier for one in plan.workloads])
    files = folder.files(plan)
    (credential,) = config.parse(files["credentials.yaml"]).credentials.values()
    api, ledger = credential.workloads
    assert (bool(api.deployments), ledger.in_place is not None) == (True, True)
    assert "## " in files["README.md"]
    for title in ("api-blue beside api", "ledger reads its login there"):
        assert title in files["README.md"]
    assert files["README.md"].count("git/hand-over.sh orders") == 1


def _on_delete(obj: dict[str, Any]) -> None:
    obj["spec"]["updateStrategy"] = {"type": "OnDelete"}


def _partition(obj: dict[str, Any]) -> None:
    obj["spec"]["updateStrategy"] = {"rollingUpdate": {"partition": 1}}


def _paused(obj: dict[str, Any]) -> None:
    obj["spec"]["paused"] = True


def _sub_path(obj: dict[str, Any]) -> None:
    mounts = obj["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    mounts[-1]["subPath"] = "db-password"


@pytest.mark.parametrize(
    ("name", "change", "then", "why"),
    [
        ("a-stateful-set", _on_delete, "restart", "OnDelete"),
        ("a-stateful-set", _partition, "restart", "a partition of 1"),
        ("a-deployment-on-one-volume", _paused, "restart", "paused"),
        ("a-stateful-set", lambda _: None, "reload", "as variable DB_USER and as variable DB_PAS"),
        ("a-daemon-set", _sub_path, "reload", "by the subPath of /login"),
    ],
)
def test_what_would_never_use_the_other_login_is_refused(
    name: str, change: Callable[[dict[str, Any]], None], then: str, why: str
) -> None:
    found = replace(shape(name), objects=copy.deepcopy(shape(name).objects))
    change(next(one for one in found.objects if one["kind"] == found.expect["kind"]))
    plan = found.plan(in_place=then)
    (said,) = in_place.refused(plan.workloads[0], plan.credential)
    assert said.what == f"{found.expect['kind']} {found.expect['named']}"
    assert why in said.why


def test_a_class_that_mounts_more_and_a_file_with_the_role_are_refused() -> None:
    found = copy.deepcopy(shape("a-deployment-on-one-volume").objects)
    by_kind = {one["kind"]: one for one in found}
    objects = by_kind["SecretProviderClass"]["spec"]["parameters"]
    objects["objects"] += "  - |\n    objectName: other\n    objectType: secret\n"
    changed = replace(shape("a-deployment-on-one-volume"), objects=found)
    plan = changed.plan(secret="wiki-db")
    (said,) = in_place.refused(plan.workloads[0], plan.credential)
    assert "mounts more than wiki-db" in said.why
    found = copy.deepcopy(shape("a-deployment-on-one-volume").objects)
    by_kind = {one["kind"]: one for one in found}
    by_kind["ConfigMap"]["data"]["app.ini"] = "user=wiki_app host=pg.example"
    spec = by_kind["Deployment"]["spec"]["template"]["spec"]
    spec["volumes"].append({"name": "config", "configMap": {"name": "wiki"}})
    plan = replace(changed, objects=found).plan()
    assert any(
        "file app.ini" in one.why for one in in_place.refused(plan.workloads[0], plan.credential)
    )


def test_a_secret_of_that_name_is_not_written_over() -> None:
    found = shape("a-stateful-set")
    there = {"kind": "Secret", "metadata": {"name": "ledger-login", "namespace": "orders"}}
    plan = replace(found, objects=[*found.objects, there]).plan()
    (said,) = in_place.refused(plan.workloads[0], plan.credential)
    assert said.what == "Secret orders/ledger-login"


def test_what_its_restart_costs_is_told() -> None:
    said = {one.name: " ".join(telling.told(one.plan().workloads[0])) for one in SHAPES}
    assert "once now and at each rotation" in said["01-a-stateful-set"]
    assert "it restarts once now, by" in said["02-a-daemon-set"]
    assert "no readiness probe" in said["02-a-daemon-set"]
    assert "nodes' addresses" in said["02-a-daemon-set"]
    assert "has one pod" in said["03-a-deployment-on-one-volume"]
