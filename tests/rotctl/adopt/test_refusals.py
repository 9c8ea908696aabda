"""What cannot be adopted is refused by name, with why and the way out."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from rotctl.adopt import checking, folder, refusals, sources
from rotctl.adopt.asking import Answers, Facts
from rotctl.adopt.deciding import decide
from rotctl.exits import ClientError, Exit
from tests.rotctl.adopt.shapes import IDENTITY, SERVER, shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotctl.adopt.original import Original
    from rotctl.adopt.plan import Plan

Objects = list[dict[str, Any]]


def objects(name: str = "init-containers") -> Objects:
    return copy.deepcopy(shape(name).objects)


def deployment(found: Objects) -> dict[str, Any]:
    (one,) = [each for each in found if each["kind"] == "Deployment"]
    return one


def pod(found: Objects) -> dict[str, Any]:
    spec: dict[str, Any] = deployment(found)["spec"]["template"]["spec"]
    return spec


def app(found: Objects) -> dict[str, Any]:
    container: dict[str, Any] = pod(found)["containers"][0]
    return container


def _looked_at(found: Objects, kind: str, name: str) -> None:
    (original,) = sources.originals(found, [(kind, name)])
    sources.refuse(refusals.of_workload(original))


def refused(found: Objects, name: str = "orders/crm", kind: str = "Deployment") -> str:
    """What is said of it."""
    with pytest.raises(ClientError) as raised:
        _looked_at(found, kind, name)
    assert raised.value.exit_code == Exit.REFUSED
    assert raised.value.more["refused"]
    return str(raised.value)


def _taken(found: Objects) -> None:
    other = copy.deepcopy(deployment(found))
    other["metadata"] = {"name": "crm-green", "namespace": "orders"}
    other["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    other["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    found.append(other)


def _bare_pod(found: Objects) -> None:
    labels = deployment(found)["spec"]["template"]["metadata"]["labels"]
    metadata = {"name": "crm-debug", "namespace": "orders", "labels": labels}
    found.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}})


def _owned(found: Objects) -> None:
    owner = {"kind": "Cluster", "name": "crm", "controller": True, "apiVersion": "x/v1", "uid": "1"}
    deployment(found)["metadata"]["ownerReferences"] = [owner]


def _taken_over(found: Objects) -> None:
    spec = {"workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "crm"}}
    metadata = {"name": "crm-rollout", "namespace": "orders"}
    found.append({"kind": "Rollout", "metadata": metadata, "spec": spec})


def _adopted(found: Objects) -> None:
    deployment(found)["spec"]["template"]["metadata"]["labels"]["slot"] = "blue"


def _host_network(found: Objects) -> None:
    pod(found)["hostNetwork"] = True


def _host_port(found: Objects) -> None:
    app(found)["ports"][0]["hostPort"] = 3000


def _one_node_s_claim(found: Objects) -> None:
    pod(found)["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "crm"}}]
    spec = {"accessModes": ["ReadWriteOnce"]}
    metadata = {"name": "crm", "namespace": "orders"}
    found.append({"kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})


def _recreated_on_a_claim(found: Objects) -> None:
    deployment(found)["spec"]["strategy"] = {"type": "Recreate"}
    pod(found)["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "unread"}}]


def _no_probe(found: Objects) -> None:
    del app(found)["readinessProbe"]


def _long_name(found: Objects) -> None:
    deployment(found)["metadata"]["name"] = "crm"
    (service,) = [one for one in found if one["kind"] == "Service"]
    service["metadata"]["name"] = "s" * 56


def _shared_selector(found: Objects) -> None:
    other = copy.deepcopy(deployment(found))
    other["metadata"]["name"] = "crm-worker"
    other["spec"]["template"]["metadata"]["labels"]["part"] = "worker"
    found.append(other)


def _shared_service(found: Objects) -> None:
    _shared_selector(found)
    for one, part in ((found[-1], "worker"), (deployment(found[:-1]), "web")):
        one["spec"]["selector"]["matchLabels"] = {"app": "crm", "part": part}
        one["spec"]["template"]["metadata"]["labels"]["part"] = part


def _inlined(found: Objects) -> None:
    app(found)["env"][-1] = {"name": "DB_PASSWORD", "value": "hunter2-of-the-shape"}


def _inlined_in_a_url(found: Objects) -> None:
    value = "postgresql://crm_app:hunter2-of-the-shape@pg.example/crm"
    app(found)["env"].append({"name": "READ", "value": value})


def _in_a_config_map(found: Objects) -> None:
    app(found)["envFrom"] = [{"configMapRef": {"name": "crm"}}]
    app(found)["env"].pop()
    data = {"DB_PASSWORD": "hunter2-of-the-shape"}
    metadata = {"name": "crm", "namespace": "orders"}
    found.append({"kind": "ConfigMap", "metadata": metadata, "data": data})


def _in_a_config_file(found: Objects) -> None:
    pod(found)["volumes"] = [{"name": "config", "configMap": {"name": "crm"}}]
    data = {"app.toml": 'url = "postgres://crm_app:hunter2-of-the-shape@pg/crm"'}
    metadata = {"name": "crm", "namespace": "orders"}
    found.append({"kind": "ConfigMap", "metadata": metadata, "data": data})


@pytest.mark.parametrize(
    ("change", "object_", "why", "cure"),
    [
        (_owned, "Deployment orders/crm", "Cluster crm made it", "let that make two"),
        (_taken_over, "Rollout orders/crm-rollout", "taken Deployment orders/crm over", "plain"),
        (_adopted, "Deployment orders/crm", "a label 'slot' already", "selectorLabel"),
        (_host_network, "Deployment orders/crm", "hostNetwork", "docs/consumers.md"),
        (_host_port, "Deployment orders/crm", "a hostPort", "docs/consumers.md"),
        (_one_node_s_claim, "Deployment orders/crm", "one node or one pod", "ReadWriteMany"),
        (_recreated_on_a_claim, "Deployment orders/crm", "data (unread)", "in place"),
        (_taken, "Deployment orders/crm-green", "is there already", "another name first"),
        (_bare_pod, "Service orders/crm", "Pod orders/crm-debug as well", "narrow its"),
        (_no_probe, "Deployment orders/crm", "readiness probe", "logs in to the database"),
        (_long_name, f"Service orders/{'s' * 56}", "longer than 63", "shorter name"),
        (_shared_selector, "Deployment orders/crm", "Deployment orders/crm-worker", "of its own"),
        (_shared_service, "Service orders/crm", "Deployment orders/crm-worker", "narrow its"),
        (_inlined, "Deployment orders/crm", "variable DB_PASSWORD of container crm", "Key Vault"),
        (_inlined_in_a_url, "Deployment orders/crm", "variable READ of container crm", "Key Vault"),
        (_in_a_config_map, "ConfigMap orders/crm", "DB_PASSWORD has the password", "Key Vault"),
        (_in_a_config_file, "ConfigMap orders/crm", "app.toml", "Key Vault"),
    ],
)  # fmt: skip
def test_it_is_named_with_why_and_the_way_out(
    change: Callable[[Objects], None], object_: str, why: str, cure: str
) -> None:
    found = objects()
    change(found)
    said = refused(found)
    assert f"- {object_}: " in said
    assert why in said
    assert cure in said
    assert "hunter2-of-the-shape" not in said


@pytest.mark.parametrize(
    ("kind", "cure"),
    [
        ("StatefulSet", "--stateful-set crm"),
        ("DaemonSet", "--daemon-set crm"),
        ("Rollout", "two plain Deployments"),
        ("CloneSet", "two plain Deployments"),  # OpenKruise's, as any operator's own
        ("ReplicaSet", "two plain Deployments"),
        ("Job", "make it from a CronJob"),
    ],
)
def test_what_is_no_deployment_is_named(kind: str, cure: str) -> None:
    found = objects()
    deployment(found)["kind"] = kind
    said = refused(found)
    assert f"{kind} orders/crm: a {kind} gets no twin" in said
    assert cure in said


def test_a_name_that_is_too_long_for_a_pair_is_refused() -> None:
    found = objects("a-cron-job")
    found[0]["metadata"]["name"] = "n" * 47
    assert "longer than 52" in refused(found, f"orders/{'n' * 47}", "CronJob")


def test_one_that_is_not_there_is_said_with_those_that_are() -> None:
    with pytest.raises(
        ClientError, match="there is no Deployment orders/crn; there are: Deployment"
    ):
        sources.originals(objects(), [("Deployment", "orders/crn")])


def test_all_that_speaks_against_it_is_said_at_once() -> None:
    found = objects()
    _host_network(found)
    _no_probe(found)
    said = refused(found)
    assert "hostNetwork" in said
    assert "readiness probe" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SMTP_PASSWORD", "of-another-matter"),
        ("DB_PASSWORD_FILE", "/mnt/secrets/password"),
        ("PASSWORD_MIN_LENGTH", "12"),
        ("DATABASE_URL", "postgresql://crm_app:$(DB_PASSWORD)@pg.example/crm"),
        ("QUEUE", "amqp://guest:guest@queue"),
    ],
)
def test_what_is_no_password_of_the_database_is_let_be(name: str, value: str) -> None:
    found = objects()
    app(found)["env"].append({"name": name, "value": value})
    _looked_at(found, "Deployment", "orders/crm")


def another(found: Objects, kind: str = "Deployment") -> None:
    other = copy.deepcopy(deployment(found))
    other["kind"] = kind
    other["metadata"]["name"] = "crm-mailer"
    other["spec"]["selector"] = {"matchLabels": {"app": "mailer"}}
    other["spec"]["template"]["metadata"]["labels"] = {"app": "mailer"}
    found.append(other)


def planned(found: Objects, *names: str) -> tuple[list[Original], Plan]:
    """Deployments that are adopted together, and what is decided of them."""
    originals = sources.originals(found, [("Deployment", name) for name in names])
    answers = Answers(secret="crm-db", vault="kv-orders", app_identity=IDENTITY, server=SERVER)
    plan = decide(originals, answers, Facts(), "manifests").plan
    assert plan is not None
    return originals, plan


@pytest.mark.parametrize(
    ("kind", "cure"),
    [
        ("Deployment", "add --deployment crm-mailer"),
        ("StatefulSet", "add --stateful-set crm-mailer"),
        ("Rollout", "a login of its own"),
    ],
)
def test_a_secret_that_others_read_too_is_refused_with_their_names(kind: str, cure: str) -> None:
    found = objects()
    another(found, kind)
    originals, plan = planned(found, "crm")
    (only,) = refusals.of_secret(originals, [plan.workloads[0].carrier])
    assert str(only).startswith(f"{kind} orders/crm-mailer: it reads crm-db/password too; ")
    assert cure in str(only)


def test_those_are_adopted_together() -> None:
    found = objects()
    another(found)
    originals, plan = planned(found, "crm", "crm-mailer")
    assert refusals.of_secret(originals, [one.carrier for one in plan.workloads]) == []
    web, mailer = plan.workloads
    assert (web.called, mailer.called) == (True, False)


def test_workloads_of_different_secrets_are_not_one_credential() -> None:
    found = [*objects("sidecars"), *objects("a-worker")]
    originals = sources.originals(found, [("Deployment", "desk"), ("Deployment", "jobs")])
    answers = Answers(secret="desk-db", app_identity=IDENTITY, server=SERVER)
    with pytest.raises(ClientError, match=r"do not read one secret: .*jobs-db"):
        decide(originals, answers, Facts(), "manifests")


def test_a_folder_of_two_workloads_has_the_moves_of_both() -> None:
    found = objects()
    another(found)
    _, plan = planned(found, "crm", "crm-mailer")
    files = folder.files(plan)
    assert checking.problems(files["credentials.yaml"]) == []
    assert {"kubernetes/crm-green.yaml", "kubernetes/crm-mailer-green.yaml"} <= files.keys()
    there, _, _ = files["README.md"].partition("\n# Back to one slot\n")
    titles = [line for line in there.splitlines() if line.startswith("## ")]
    assert [title.partition(" ")[2].partition(".")[0] for title in titles[1:]] == [
        str(number) for number in range(1, len(titles))
    ]
    for name in ("crm-blue beside crm", "crm-mailer-blue beside crm-mailer"):
        assert any(name in title for title in titles)
