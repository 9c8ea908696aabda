"""infra/kubernetes/guard.yaml, on the stand-in and on a real API server alike.

Each verb of the app passes; each change that is not its own is denied, in the guard's words; nobody
else moves a slot; and where the namespace is not labelled nothing of this is so.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from local.process import ROOT, wait_until
from rotation.edges.cluster.patches import FENCE, VERSION
from rotation.model.errors import Denied
from rotation.model.reasons import Code
from rotation.model.targets import CronJobTarget, DeploymentTarget, SecretKeyTarget, ServiceTarget
from rotation.model.world import Template
from rotation.secrecy import Secret
from tests.kubernetes.conftest import needs_binaries
from tests.kubernetes.control import ADMIN
from tests.kubernetes.support import APP, FREE, GUARDED, RESCUER, TEAM, guard, path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kubernetes.control import User
    from tests.kubernetes.support import Guarded

THREATS = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")


@pytest.fixture
def changed(guarded: Guarded) -> Iterator[Guarded]:
    """For what is allowed, and so changes what other tests look at."""
    yield guarded
    guarded.restore()


PRODUCTION = ServiceTarget(GUARDED, "api", "slot")
STANDBY = DeploymentTarget(GUARDED, "api-green")
REPORT = CronJobTarget(GUARDED, "report-green")
SELECTOR = "this Service's selector belongs to credential rotation"
EXTERNAL = "a Service of type ExternalName has none"
METADATA = "changes no metadata but annotations"
ANNOTATIONS = "changes no annotations but those that start with credential-rotation/"
SPEC = "changes of a Service's spec no field but the selector"
SLOT = "changes of a Service's selector only the label of the slot, to blue or green"
CRON_JOB = "changes of a CronJob no field but suspend and the pod template of its Jobs"
DEPLOYMENT = "changes of a Deployment no field but replicas and the pod template"
TEMPLATE = "changes of a pod template only images and annotations that start with"
POD = "changes of a pod no field but the images of its containers"
CONTAINER = "changes of a container only its image, and adds, removes and moves none"
IN_PLACE = "changes of a StatefulSet or DaemonSet no field but the pod template"
RESTART = "changes of such a pod template only annotations that start with"
SECRET = "changes of a Secret no field but data"
KEYS = "takes no key out of a Secret"


def test_each_verb_of_the_app_passes(changed: Guarded) -> None:
    app = changed.edge()
    images = {"web": "orders:2", "proxy": "proxy:2", "init:first": "m:2", "init:second": "m:2"}
    for _ in range(2):
        app.pods.start(STANDBY, replicas=2, images=images, version="v7")
    app.pods.scale(STANDBY, 0)
    app.cron_jobs.equip(REPORT, images=images, version="v7", revision=None, by="r-1")
    app.cron_jobs.resume(REPORT, revision=None, by="r-1")
    app.cron_jobs.suspend(REPORT, datetime.now(UTC), revision=None, by="r-1", fence=True)
    for key in ("password", "another"):
        target = SecretKeyTarget(GUARDED, "orders-db-green", key)
        app.pods.deliver(target, Secret("hunter2"), "v7")
    app.traffic.move(PRODUCTION, "blue", "green")
    app.traffic.fence(PRODUCTION, "orders-db-1")
    app.traffic.fence(PRODUCTION, "orders-db-2")
    app.traffic.move(PRODUCTION, "green", "blue")
    found = app.pods.deployment(STANDBY)
    assert found is not None
    assert (found.replicas, found.images, found.version) == (0, images, "v7")
    selected = app.traffic.route(PRODUCTION)
    assert selected is not None
    assert selected.slot == "blue"
    assert changed.get("Service", "api")["metadata"]["annotations"][FENCE] == "orders-db-2"
    assert changed.get("Secret", "orders-db-green")["data"].keys() == {
        "another",
        "host",
        "password",
    }
    containers = changed.get("Deployment", "api-green")["spec"]["template"]["spec"]["containers"]
    assert containers[0]["env"] == [{"name": "ROLE", "value": "orders_green"}]


def pod(**fields: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": fields}}}


def web(**fields: Any) -> dict[str, Any]:
    return pod(containers=[{"name": "web", **fields}])


FOREIGN: list[tuple[str, str, str, Any, str]] = [
    ("Service", "api", "merge", {"spec": {"selector": {"slot": "red"}}}, SLOT),
    ("Service", "api", "merge", {"spec": {"selector": {"slot": None}}}, SLOT),
    ("Service", "api", "merge", {"spec": {"selector": {"app": "other"}}}, SLOT),
    ("Service", "api", "merge", {"spec": {"selector": {"app": None}}}, SLOT),
    ("Service", "api", "merge", {"spec": {"selector": {"more": "x"}}}, SLOT),
    ("Service", "api", "merge", {"spec": {"selector": None}}, SLOT),
    ("Service", "api", "merge", {"spec": {"type": "LoadBalancer"}}, SPEC),
    ("Service", "api", "merge", {"spec": {"externalIPs": ["192.0.2.1"]}}, SPEC),
    ("Service", "api", "merge", {"spec": {"sessionAffinity": "ClientIP"}}, SPEC),
    ("Service", "api", "merge", {"spec": {"publishNotReadyAddresses": True}}, SPEC),
    ("Service", "api", "strategic", {"spec": {"ports": [{"port": 80, "targetPort": 22}]}}, SPEC),
    (
        "Service",
        "api",
        "json",
        [{"op": "replace", "path": "/spec/ports/0/port", "value": 81}],
        SPEC,
    ),
    ("Service", "api", "merge", {"metadata": {"labels": {"app": "x"}}}, METADATA),
    ("Service", "api", "merge", {"metadata": {"labels": None}}, METADATA),
    ("Service", "api", "merge", {"metadata": {"finalizers": ["example.com/stay"]}}, METADATA),
    ("Service", "api", "merge", {"metadata": {"annotations": {"theirs": "2"}}}, ANNOTATIONS),
    ("Service", "api", "merge", {"metadata": {"annotations": None}}, ANNOTATIONS),
    (
        "Service",
        "api",
        "merge",
        {"metadata": {"annotations": {"x-credential-rotation/y": "1"}}},
        ANNOTATIONS,
    ),
    ("Deployment", "api-blue", "merge", {"spec": {"paused": True}}, DEPLOYMENT),
    ("CronJob", "report-green", "merge", {"spec": {"schedule": "1 * * * *"}}, CRON_JOB),
    ("CronJob", "report-green", "merge", {"spec": {"startingDeadlineSeconds": None}}, CRON_JOB),
    (
        "CronJob",
        "report-green",
        "merge",
        {"spec": {"jobTemplate": {"spec": {"backoffLimit": 9}}}},
        CRON_JOB,
    ),
    (
        "CronJob",
        "report-green",
        "strategic",
        {"spec": {"jobTemplate": {"spec": {"template": {"spec": {"hostNetwork": True}}}}}},
        POD,
    ),
    (
        "CronJob",
        "report-green",
        "strategic",
        {"spec": {"jobTemplate": {"spec": web(command=["steal"])["spec"]}}},
        CONTAINER,
    ),
    (
        "Deployment",
        "api-blue",
        "merge",
        {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}},
        DEPLOYMENT,
    ),
    ("Deployment", "api-blue", "merge", {"spec": {"minReadySeconds": 30}}, DEPLOYMENT),
    ("Deployment", "api-blue", "merge", {"spec": {"revisionHistoryLimit": 0}}, DEPLOYMENT),
    (
        "Deployment",
        "api-blue",
        "merge",
        {
            "metadata": {
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "y"}
                ]
            }
        },
        METADATA,
    ),
    (
        "Deployment",
        "api-blue",
        "merge",
        {"metadata": {"annotations": {"deployment.kubernetes.io/revision": "9"}}},
        ANNOTATIONS,
    ),
    (
        "Deployment",
        "api-blue",
        "merge",
        {"spec": {"template": {"metadata": {"labels": {"more": "x"}}}}},
        TEMPLATE,
    ),
    (
        "Deployment",
        "api-blue",
        "merge",
        {"spec": {"template": {"metadata": {"annotations": {"sidecar.istio.io/inject": "true"}}}}},
        TEMPLATE,
    ),
    (
        "Deployment",
        "api-blue",
        "merge",
        {"spec": {"template": {"metadata": {"finalizers": ["example.com/stay"]}}}},
        TEMPLATE,
    ),
    ("Deployment", "api-blue", "merge", pod(serviceAccountName="admin"), POD),
    ("Deployment", "api-blue", "merge", pod(hostNetwork=True), POD),
    ("Deployment", "api-blue", "merge", pod(hostPID=True), POD),
    ("Deployment", "api-blue", "merge", pod(nodeName="one"), POD),
    ("Deployment", "api-blue", "merge", pod(imagePullSecrets=[{"name": "x"}]), POD),
    ("Deployment", "api-blue", "merge", pod(securityContext={"runAsUser": 0}), POD),
    (
        "Deployment",
        "api-blue",
        "strategic",
        pod(volumes=[{"name": "more", "secret": {"secretName": "theirs"}}]),
        POD,
    ),
    (
        "Deployment",
        "api-blue",
        "strategic",
        pod(
            volumes=[
                {"name": "tmp", "$retainKeys": ["hostPath", "name"], "hostPath": {"path": "/"}}
            ]
        ),
        POD,
    ),
    ("Deployment", "api-blue", "strategic", web(command=["sh"]), CONTAINER),
    ("Deployment", "api-blue", "strategic", web(args=["-x"]), CONTAINER),
    ("Deployment", "api-blue", "strategic", web(env=[{"name": "ROLE", "value": "x"}]), CONTAINER),
    (
        "Deployment",
        "api-blue",
        "strategic",
        web(envFrom=[{"secretRef": {"name": "theirs"}}]),
        CONTAINER,
    ),
    ("Deployment", "api-blue", "strategic", web(securityContext={"privileged": True}), CONTAINER),
    (
        "Deployment",
        "api-blue",
        "strategic",
        web(lifecycle={"preStop": {"exec": {"command": ["sh"]}}}),
        CONTAINER,
    ),
    ("Deployment", "api-blue", "strategic", web(resources={"limits": {"cpu": "1"}}), CONTAINER),
    ("Deployment", "api-blue", "strategic", web(workingDir="/"), CONTAINER),
    (
        "Deployment",
        "api-blue",
        "strategic",
        pod(containers=[{"name": "more", "image": "x"}]),
        CONTAINER,
    ),
    (
        "Deployment",
        "api-blue",
        "strategic",
        pod(containers=[{"name": "proxy", "$patch": "delete"}]),
        CONTAINER,
    ),
    (
        "Deployment",
        "api-blue",
        "strategic",
        pod(initContainers=[{"name": "first", "args": ["drop"]}]),
        CONTAINER,
    ),
    (
        "Deployment",
        "api-blue",
        "json",
        [
            {
                "op": "move",
                "from": "/spec/template/spec/initContainers/1",
                "path": "/spec/template/spec/initContainers/0",
            }
        ],
        CONTAINER,
    ),
    (
        "Deployment",
        "api-blue",
        "json",
        [{"op": "replace", "path": "/spec/template/spec/containers/0/name", "value": "other"}],
        CONTAINER,
    ),
    (
        "Deployment",
        "api-blue",
        "json",
        [{"op": "remove", "path": "/spec/template/spec/initContainers"}],
        CONTAINER,
    ),
    ("StatefulSet", "ledger", "merge", {"spec": {"replicas": 3}}, IN_PLACE),
    (
        "StatefulSet",
        "ledger",
        "merge",
        {"spec": {"minReadySeconds": 600}},
        IN_PLACE,
    ),
    ("StatefulSet", "ledger", "merge", pod(serviceAccountName="admin"), RESTART),
    (
        "StatefulSet",
        "ledger",
        "strategic",
        pod(containers=[{"name": "web", "image": "other:1"}]),
        RESTART,
    ),
    (
        "StatefulSet",
        "ledger",
        "merge",
        {"spec": {"template": {"metadata": {"annotations": {"x": "y"}}}}},
        RESTART,
    ),
    ("StatefulSet", "ledger", "merge", {"metadata": {"labels": {"app": "x"}}}, METADATA),
    ("Secret", "orders-db-green", "merge", {"immutable": True}, SECRET),
    ("Secret", "orders-db-green", "merge", {"data": {"host": None}}, KEYS),
    ("Secret", "orders-db-green", "merge", {"data": None}, KEYS),
    ("Secret", "orders-db-green", "merge", {"metadata": {"labels": {"app": "x"}}}, METADATA),
    (
        "Secret",
        "orders-db-green",
        "merge",
        {"metadata": {"annotations": {"replicate-to": "x"}}},
        ANNOTATIONS,
    ),
]


@pytest.mark.guarantee(2)
@pytest.mark.parametrize(("kind", "name", "how", "body", "sentence"), FOREIGN)
def test_the_app_does_no_more(
    guarded: Guarded, kind: str, name: str, how: str, body: Any, sentence: str
) -> None:
    before = guarded.get(kind, name)
    answer = guarded.patch(APP, kind, name, body, how)
    assert (answer.status, sentence in answer.message) == (403, True), answer
    assert f"{kind.lower()}s" in answer.message
    assert guarded.get(kind, name) == before


def test_it_restarts_a_workload_in_place(guarded: Guarded) -> None:
    notes = {"credential-rotation/restarted": "r-1.green"}
    body = {"spec": {"template": {"metadata": {"annotations": notes}}}}
    assert guarded.patch(APP, "StatefulSet", "ledger", body, "strategic").status == 200


def test_a_slot_is_not_given(changed: Guarded) -> None:
    """A Service that selects no slot gets none from the app."""
    changed.patch(RESCUER, "Service", "api", {"spec": {"selector": {"slot": None}}})
    answer = changed.patch(APP, "Service", "api", {"spec": {"selector": {"slot": "blue"}}})
    assert (answer.status, SLOT in answer.message) == (403, True), answer


OTHERS: list[tuple[str, Any, str]] = [
    ("merge", {"spec": {"selector": {"slot": "green"}}}, SELECTOR),
    ("merge", {"spec": {"selector": {"slot": None}}}, SELECTOR),
    ("merge", {"spec": {"selector": {"app": "other"}}}, SELECTOR),
    ("merge", {"spec": {"selector": None}}, SELECTOR),
    ("json", [{"op": "replace", "path": "/spec/selector/slot", "value": "green"}], SELECTOR),
    (
        "apply",
        {"spec": {"selector": {"app": "api"}, "ports": [{"name": "http", "port": 80}]}},
        SELECTOR,
    ),
    (
        "merge",
        {
            "spec": {
                "type": "ExternalName",
                "externalName": "x.example",
                "clusterIP": None,
                "clusterIPs": None,
                "ports": None,
            }
        },
        EXTERNAL,
    ),
]


@pytest.mark.guarantee(2)
@pytest.mark.parametrize(("how", "body", "sentence"), OTHERS)
def test_nobody_else_moves_a_slot(guarded: Guarded, how: str, body: Any, sentence: str) -> None:
    if how == "apply":
        body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"}, **body}
    answer = guarded.patch(TEAM, "Service", "api", body, how)
    assert (answer.status, sentence in answer.message) == (403, True), answer


def test_nor_that_of_a_preview(guarded: Guarded) -> None:
    body = {"spec": {"selector": {"slot": "blue"}}}
    answer = guarded.patch(TEAM, "Service", "api-preview", body)
    assert (answer.status, SELECTOR in answer.message) == (403, True), answer


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("api", {"metadata": {"labels": {"team": "x"}, "annotations": {"theirs": "2"}}}),
        ("api", {"spec": {"sessionAffinity": "ClientIP"}}),
        ("api", {"spec": {"type": "NodePort"}}),
        ("plain", {"spec": {"selector": {"app": "other"}}}),
        ("plain", {"spec": {"selector": {"slot": "blue"}}}),
    ],
)
def test_what_is_not_the_slot_is_the_teams(
    changed: Guarded, name: str, body: dict[str, Any]
) -> None:
    answer = changed.patch(TEAM, "Service", name, body)
    assert answer.status == 200, answer


def test_a_manifest_that_leaves_the_selector_out_is_applied(changed: Guarded) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "api", "labels": {"applied": "yes"}},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    }
    answer = changed.patch(TEAM, "Service", "api", manifest, "apply")
    assert answer.status == 200, answer
    assert answer.document["spec"]["selector"] == {"app": "api", "slot": "blue"}


def test_break_glass_moves_a_slot(changed: Guarded) -> None:
    answer = changed.patch(RESCUER, "Service", "api", {"spec": {"selector": {"slot": "green"}}})
    assert answer.status == 200, answer


def test_a_namespace_without_the_label_is_not_guarded(changed: Guarded) -> None:
    for user, kind, name, body in [
        (TEAM, "Service", "api", {"spec": {"selector": {"slot": "green"}}}),
        (APP, "Service", "api", {"metadata": {"labels": {"a": "b"}}}),
        (APP, "Deployment", "api-blue", {"spec": {"paused": True}}),
        (APP, "Secret", "orders-db-green", {"data": {"host": None}}),
    ]:
        answer = changed.patch(user, kind, name, body, namespace=FREE)
        assert answer.status == 200, answer


def test_the_adapter_names_the_guard_that_denied(guarded: Guarded) -> None:
    """No reason to try again, and another one than a right that is missing."""
    with pytest.raises(Denied, match="HTTP 403, denied by the guard's policy") as denied:
        guarded.edge(TEAM).traffic.move(PRODUCTION, "blue", "green")
    assert denied.value.code is Code.CLUSTER_GUARDED
    assert "policy credential-rotation-traffic; put `identity`" in str(denied.value)


def test_the_adapter_names_the_guard_for_a_label_that_is_not_its_own(changed: Guarded) -> None:
    """`selectorLabel` of the workload and `slotLabel` of the guard differ."""
    changed.patch(RESCUER, "Service", "api", {"spec": {"selector": {"colour": "blue"}}})
    other = ServiceTarget(GUARDED, "api", "colour")
    with pytest.raises(Denied, match="policy credential-rotation-services") as denied:
        changed.edge().traffic.move(other, "blue", "green")
    assert denied.value.code is Code.CLUSTER_GUARDED


@contextmanager
def told(changed: Guarded, **settings: str) -> Iterator[None]:
    """The guard with other settings. The API server hears of them by a watch."""
    own = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "guard", "namespace": "credential-rotation"},
    }
    stored = changed.get("ConfigMap", "guard", "credential-rotation")["data"]
    changed.apply({**own, "data": {**stored, **settings}}, namespace="credential-rotation")
    try:
        yield
    finally:
        changed.apply({**own, "data": stored}, namespace="credential-rotation")


def until(changed: Guarded, status: int, user: User, name: str, body: dict[str, Any]) -> None:
    """Returns once the API server answers so to what would change nothing yet."""
    wait_until(
        lambda: changed.patch(user, "Service", name, body, dry_run=True).status == status,
        10,
        f"the guard's settings being in force for {user.name}",
    )


def test_another_label_is_guarded_instead(changed: Guarded) -> None:
    """`slotLabel: colour`: the app moves a Service by it, nobody else does, and `slot` is free."""
    colours = {"spec": {"selector": {"colour": "green"}}}
    slots = {"spec": {"selector": {"slot": "green"}}}
    changed.patch(RESCUER, "Service", "api-preview", {"spec": {"selector": {"colour": "blue"}}})
    with told(changed, slotLabel="colour"):
        until(changed, 403, TEAM, "api-preview", colours)
        until(changed, 200, TEAM, "api", slots)
        changed.edge().traffic.move(
            ServiceTarget(GUARDED, "api-preview", "colour"), "blue", "green"
        )
        with pytest.raises(Denied, match="policy credential-rotation-services"):
            changed.edge().traffic.move(PRODUCTION, "blue", "green")
    until(changed, 403, TEAM, "api", slots)


def test_a_whole_pod_template_passes_only_where_the_owner_says_so(changed: Guarded) -> None:
    """`templates: sync`: what an app could run with it is why it has to be said."""
    app = changed.edge()

    def bring() -> None:
        seen = app.pods.deployment(STANDBY)
        assert seen is not None
        assert seen.template is not None
        document = copy.deepcopy(seen.template.document)
        web = document["spec"]["containers"][0]
        document["spec"]["containers"] = [web]
        web["env"].append({"name": "ADDED", "value": "1"})
        app.pods.sync(STANDBY, Template(document), replicas=1, version="v8", revision=seen.revision)

    with pytest.raises(Denied, match="policy credential-rotation-deployments") as denied:
        bring()
    assert denied.value.code is Code.CLUSTER_GUARDED
    with told(changed, templates="sync"):
        wait_until(lambda: not refused(bring), 10, "the guard's settings being in force")
        found = changed.get("Deployment", "api-green")["spec"]
        (only,) = found["template"]["spec"]["containers"]
        assert (only["env"][-1], found["replicas"]) == ({"name": "ADDED", "value": "1"}, 1)
        answer = changed.patch(APP, "Deployment", "api-green", {"spec": {"paused": True}})
        assert (answer.status, DEPLOYMENT in answer.message) == (403, True), answer
        answer = changed.patch(APP, "Deployment", "api-green", {"metadata": {"labels": {"a": "b"}}})
        assert (answer.status, METADATA in answer.message) == (403, True), answer
    wait_until(lambda: refused(bring), 10, "the guard's settings being as they were")


def refused(change: Callable[[], None]) -> bool:
    try:
        change()
    except Denied:
        return True
    return False


def test_another_group_breaks_the_glass_instead(changed: Guarded) -> None:
    body = {"spec": {"selector": {"slot": "green"}}}
    with told(changed, breakGlass="team"):
        until(changed, 200, TEAM, "api", body)
    until(changed, 403, TEAM, "api", body)
    with told(changed, breakGlass="x"):
        until(changed, 403, RESCUER, "api", body)
    until(changed, 200, RESCUER, "api", body)


def test_what_an_empty_patch_of_a_secret_answers(guarded: Guarded) -> None:
    """All of it, whatever the guard says: docs/threat-model.md has it among what remains. It is
    the one way, since the app may not get a Secret."""
    answer = guarded.patch(APP, "Secret", "orders-db-green", {})
    assert answer.status == 200, answer
    assert answer.document["data"].keys() == {"password", "host"}
    refused = guarded.request(APP, "GET", path("Secret", "orders-db-green", GUARDED))
    assert refused.status == 403
    assert "an empty patch answers the whole object" in THREATS


def test_without_its_settings_the_guard_refuses(changed: Guarded) -> None:
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "guard", "namespace": "credential-rotation"},
    }
    stored = changed.get("ConfigMap", "guard", "credential-rotation")
    changed.delete(settings)
    try:
        answer = changed.patch(TEAM, "Service", "api", {"metadata": {"labels": {"a": "b"}}})
        while answer.status == 200:  # the API server hears of it by a watch
            answer = changed.patch(TEAM, "Service", "api", {"metadata": {"labels": {"a": "b"}}})
        assert (answer.status, "no params found" in answer.message) == (422, True), answer
        with pytest.raises(Denied, match="HTTP 422, denied by the guard's policy") as denied:
            changed.edge().traffic.move(PRODUCTION, "blue", "green")
        assert denied.value.code is Code.CLUSTER_GUARDED
    finally:
        changed.apply({**settings, "data": stored["data"]}, namespace="credential-rotation")


def test_an_annotation_of_ours_is_written(changed: Guarded) -> None:
    answer = changed.patch(
        APP, "Deployment", "api-blue", {"metadata": {"annotations": {VERSION: "v7"}}}
    )
    assert answer.status == 200, answer


@pytest.mark.parametrize("guarded", [pytest.param("real", marks=needs_binaries)], indirect=True)
def test_the_api_server_finds_no_fault_in_the_expressions(guarded: Guarded) -> None:
    """It checks types against its own schemas and writes into the status what it finds."""
    names = [found["metadata"]["name"] for found in guard("x") if found["kind"].endswith("Policy")]
    where = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"

    def statuses() -> list[dict[str, Any]]:
        return [
            guarded.request(ADMIN, "GET", f"{where}/{name}").document.get("status") or {}
            for name in names
        ]

    wait_until(lambda: all("typeChecking" in found for found in statuses()), 60, "the type check")
    assert [found["typeChecking"] for found in statuses()] == [{}] * len(names)
