"""infra/kubernetes/jobs-guard.yaml, on the stand-in and on a real API server alike.

What a rotation makes passes; each other way to a Secret, an image or a node is denied.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from local import world
from local.cluster.client import read_manifests
from local.process import ROOT, wait_until
from rotation.config import Cluster
from rotation.edges.cluster.client import Api
from rotation.edges.cluster.jobs import KubernetesJobs, manifest
from rotation.model.errors import Conflict, Denied
from rotation.model.reasons import Code
from rotation.model.targets import CronJobTarget, JobTarget
from rotation.model.world import JobWanted, Template
from rotation.secrecy import new_password
from tests.kubernetes.conftest import needs_binaries
from tests.kubernetes.control import ADMIN
from tests.kubernetes.support import APP, FREE, GUARDED, TEAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kubernetes.control import User
    from tests.kubernetes.support import Answer, Guarded

    Attack = Callable[[dict[str, Any]], None]

POLICY = world.MANIFESTS / "jobs-guard.yaml"
EXAMPLE = world.MANIFESTS / "example" / "web-check.yaml"
THREATS = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
NAME = "web-check-green"


def policy() -> list[dict[str, Any]]:
    """Its manifests for the tests' namespace, in which Secrets are listed of several kinds."""
    found = read_manifests(POLICY)
    for each in found:
        if each["kind"] == "ConfigMap":
            data = each["data"]
            data["identity"] = APP.name
            lists = ("serviceAccounts", "secrets", "configMaps", "secretProviderClasses")
            for key in lists:
                data[key] = data[key].replace("shop/", f"{GUARDED}/")
            data["secretProviderClasses"] = f"{GUARDED}/orders-db-green\n"
    return found


def owned() -> list[dict[str, Any]]:
    """What the owner of the workload applies: ServiceAccount, CronJobs and the app's rights."""
    found = read_manifests(EXAMPLE)
    for each in found:
        each["metadata"]["namespace"] = GUARDED
        if each["kind"] == "RoleBinding":
            each["subjects"][0]["name"] = APP.name
    return found


class Held:
    """The guard on a cluster, and a Job that passes it."""

    def __init__(self, guarded: Guarded) -> None:
        self.guarded = guarded
        # The product's own adapter.
        path = str(guarded.kubeconfig(APP))
        self.jobs = KubernetesJobs(Api("guarded", Cluster(kubeconfig=path), new_password))
        template = self.jobs.template(CronJobTarget(GUARDED, NAME))
        assert template is not None
        self._template = template

    def wanted(self, rotation: str = "r-1") -> JobWanted:
        return JobWanted(self._template, rotation, "run-1", 60, 3600)

    def body(self) -> dict[str, Any]:
        return copy.deepcopy(manifest(JobTarget(GUARDED, "made-1"), self.wanted()))

    def post(self, body: dict[str, Any], user: User = APP, namespace: str = GUARDED) -> Answer:
        body["metadata"]["namespace"] = namespace
        where = f"/apis/batch/v1/namespaces/{namespace}/jobs?dryRun=All"
        return self.guarded.request(user, "POST", where, body)


@pytest.fixture(scope="module")
def held(guarded: Guarded) -> Iterator[Held]:
    made = [*policy(), *owned()]
    guarded.apply(*made)
    found = Held(guarded)

    def holds() -> bool:
        body = found.body()
        body["spec"]["template"]["spec"]["hostNetwork"] = True
        return found.post(body).status == 403

    wait_until(holds, 60, "the policy being in force")
    yield found
    for each in reversed([one for one in made if one["metadata"]["name"] != "credential-rotation"]):
        guarded.delete(each)


def test_what_a_rotation_makes_passes(held: Held) -> None:
    answer = held.post(held.body())
    assert answer.status == 201, answer
    held.jobs.attempt(JobTarget(GUARDED, "made-1"), held.wanted())
    assert held.jobs.of_run(GUARDED, "run-1") == []


def test_each_of_the_kinds_that_may_be_listed_passes(held: Held) -> None:
    body = held.body()
    pod = body["spec"]["template"]["spec"]
    pod["imagePullSecrets"] = [{"name": "orders-db-blue"}]
    pod["initContainers"] = [{"name": "first", "image": "registry.example/orders:1.0"}]
    pod["volumes"] = [
        {"name": "a", "secret": {"secretName": "orders-db-green"}},
        {"name": "b", "configMap": {"name": "orders-database"}},
        {"name": "c", "emptyDir": {}},
        {"name": "d", "csi": csi()},
        {"name": "e", "projected": {"sources": [{"secret": {"name": "orders-db-blue"}}]}},
    ]
    container(body)["envFrom"] = [{"prefix": "A_", "secretRef": {"name": "orders-db-green"}}]
    assert held.post(body).status == 201, held.post(body)


def csi(**more: Any) -> dict[str, Any]:
    own = {"volumeAttributes": {"secretProviderClass": "orders-db-green"}, "readOnly": True}
    return {"driver": "secrets-store.csi.k8s.io", **own, **more}


def container(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["spec"]["template"]["spec"]["containers"][0]
    return found


def pod(**fields: Any) -> Attack:
    def change(body: dict[str, Any]) -> None:
        body["spec"]["template"]["spec"] |= fields

    return change


def volume(**source: Any) -> Attack:
    return pod(volumes=[{"name": "v", **source}])


def projected(**source: Any) -> Attack:
    return volume(projected={"sources": [source]})


def run(**fields: Any) -> Attack:
    def change(body: dict[str, Any]) -> None:
        container(body).update(fields)

    return change


def variable(**source: Any) -> Attack:
    return run(env=[{"name": "X", "valueFrom": source}])


def first(**fields: Any) -> Attack:
    own = {"name": "first", "image": "registry.example/orders:1.0", **fields}
    return pod(initContainers=[own])


def job(**fields: Any) -> Attack:
    def change(body: dict[str, Any]) -> None:
        body["spec"] |= fields

    return change


def owner(*references: dict[str, Any]) -> Attack:
    def change(body: dict[str, Any]) -> None:
        body["metadata"]["ownerReferences"] = list(references)

    return change


def without_deadline(body: dict[str, Any]) -> None:
    del body["spec"]["activeDeadlineSeconds"]


def kept_for_ever(body: dict[str, Any]) -> None:
    del body["spec"]["ttlSecondsAfterFinished"]


def without_account(body: dict[str, Any]) -> None:
    for key in ("serviceAccountName", "serviceAccount"):
        body["spec"]["template"]["spec"].pop(key, None)


def with_token(body: dict[str, Any]) -> None:
    del body["spec"]["template"]["spec"]["automountServiceAccountToken"]


def in_a_slot(body: dict[str, Any]) -> None:
    body["spec"]["template"]["metadata"]["labels"] |= {"app": "api", "slot": "green"}


OTHER = "theirs"
VARIABLES = "reads listed Secrets and ConfigMaps only, in its variables"
VOLUMES = "mounts listed Secrets, ConfigMaps and SecretProviderClasses only"
PULLS = "pulls images with listed Secrets only"
ACCOUNT = "has a listed ServiceAccount, and no token of the cluster"
POD = "has of a pod only fields that reach nothing of its node"
IMAGES = "runs listed images only"
CONTAINER = "has of a container only fields that reach nothing of its node"
ONE = "is one pod, tried once, with a deadline, and goes by itself"
MADE = "is made from a CronJob, which owns it"
REFERENCE = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api-blue", "uid": "1"}

ATTACKS: list[tuple[str, Attack, str]] = [
    # another Secret, by each field of a pod that can name one
    ("env", variable(secretKeyRef={"name": OTHER, "key": "a"}), VARIABLES),
    (
        "env of the first",
        first(env=[{"name": "X", "valueFrom": {"secretKeyRef": {"name": OTHER, "key": "a"}}}]),
        VARIABLES,
    ),
    (
        "csi with lines",
        volume(csi=csi(volumeAttributes={"secretProviderClass": f"x\n{OTHER}"})),
        VOLUMES,
    ),
    ("env of a ConfigMap", variable(configMapKeyRef={"name": OTHER, "key": "a"}), VARIABLES),
    ("envFrom", run(envFrom=[{"secretRef": {"name": OTHER}}]), VARIABLES),
    (
        "envFrom beside a listed one",
        run(envFrom=[{"secretRef": {"name": "orders-db-green"}}, {"secretRef": {"name": OTHER}}]),
        VARIABLES,
    ),
    ("envFrom of a ConfigMap", run(envFrom=[{"configMapRef": {"name": OTHER}}]), VARIABLES),
    ("volume", volume(secret={"secretName": OTHER}), VOLUMES),
    ("volume of a part of a name", volume(secret={"secretName": "orders-db"}), VOLUMES),
    ("volume of a ConfigMap", volume(configMap={"name": OTHER}), VOLUMES),
    ("projected", projected(secret={"name": OTHER}), VOLUMES),
    ("projected ConfigMap", projected(configMap={"name": OTHER}), VOLUMES),
    ("projected token", projected(serviceAccountToken={"path": "token"}), VOLUMES),
    ("csi", volume(csi=csi(volumeAttributes={"secretProviderClass": OTHER})), VOLUMES),
    ("csi of another driver", volume(csi=csi(driver="file.csi.azure.com")), VOLUMES),
    ("csi by a Secret", volume(csi=csi(nodePublishSecretRef={"name": OTHER})), VOLUMES),
    ("azureFile", volume(azureFile={"secretName": OTHER, "shareName": "s"}), VOLUMES),
    ("cephfs", volume(cephfs={"monitors": ["m"], "secretRef": {"name": OTHER}}), VOLUMES),
    ("flexVolume", volume(flexVolume={"driver": "a/b", "secretRef": {"name": OTHER}}), VOLUMES),
    (
        "iscsi",
        volume(
            iscsi={
                "targetPortal": "t",
                "iqn": "iqn.2015-02.example.com:test",
                "lun": 0,
                "secretRef": {"name": OTHER},
            }
        ),
        VOLUMES,
    ),
    ("rbd", volume(rbd={"monitors": ["m"], "image": "i", "secretRef": {"name": OTHER}}), VOLUMES),
    ("hostPath", volume(hostPath={"path": "/"}), VOLUMES),
    ("a claim", volume(persistentVolumeClaim={"claimName": OTHER}), VOLUMES),
    (
        "an ephemeral claim",
        volume(
            ephemeral={
                "volumeClaimTemplate": {
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": "1Gi"}},
                    }
                }
            }
        ),
        VOLUMES,
    ),
    ("nfs", volume(nfs={"server": "s", "path": "/"}), VOLUMES),
    ("imagePullSecrets", pod(imagePullSecrets=[{"name": OTHER}]), PULLS),
    # the cluster's API, as somebody else
    ("another account", pod(serviceAccountName="default", serviceAccount="default"), ACCOUNT),
    ("no account", without_account, ACCOUNT),
    ("a token", pod(automountServiceAccountToken=True), ACCOUNT),
    ("a token by default", with_token, ACCOUNT),
    # the node
    ("hostNetwork", pod(hostNetwork=True), POD),
    ("hostPID", pod(hostPID=True), POD),
    ("hostIPC", pod(hostIPC=True), POD),
    ("nodeName", pod(nodeName="one"), POD),
    ("hostAliases", pod(hostAliases=[{"ip": "1.2.3.4", "hostnames": ["pg"]}]), POD),
    ("priority", pod(priorityClassName="system-node-critical"), POD),
    ("a slot's label", in_a_slot, POD),
    ("privileged", run(securityContext={"privileged": True}), CONTAINER),
    ("capabilities", run(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}), CONTAINER),
    ("procMount", run(securityContext={"procMount": "Default"}), CONTAINER),
    ("privileged first", first(securityContext={"privileged": True}), CONTAINER),
    ("ports", run(ports=[{"containerPort": 80, "hostPort": 80}]), CONTAINER),
    ("a hook", run(lifecycle={"postStart": {"exec": {"command": ["sh"]}}}), CONTAINER),
    # images
    ("another image", run(image="registry.example/other:1"), IMAGES),
    ("another tag", run(image="registry.example/orders:1.00"), IMAGES),
    ("a part of an image", run(image="orders:1.0"), IMAGES),
    ("another image first", first(image="registry.example/other:1"), IMAGES),
    # more than one, or for ever
    ("many", job(completions=5), ONE),
    ("parallel", job(parallelism=5), ONE),
    ("again and again", job(backoffLimit=6), ONE),
    ("without end", without_deadline, ONE),
    ("for a day", job(activeDeadlineSeconds=86400), ONE),
    ("kept", kept_for_ever, ONE),
    (
        "by its own selector",
        job(manualSelector=True, selector={"matchLabels": {"app": "web-check"}}),
        ONE,
    ),
    ("nobody's", owner(), MADE),
    ("a Deployment's", owner(REFERENCE), MADE),
]


@pytest.mark.parametrize(
    ("attack", "message"), [(a, m) for _, a, m in ATTACKS], ids=[name for name, _, _ in ATTACKS]
)
def test_every_other_way_is_denied(held: Held, attack: Attack, message: str) -> None:
    body = held.body()
    attack(body)
    answer = held.post(body)
    assert (answer.status, message in answer.message) == (403, True), answer


def test_a_listed_secret_of_another_namespace_is_another_one(held: Held) -> None:
    everything = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "jobs", "namespace": FREE},
        "rules": [everything],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "jobs", "namespace": FREE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "jobs"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": APP.name}],
    }
    held.guarded.apply(role, binding)
    try:
        wait_until(
            lambda: held.post(held.body(), namespace=FREE).message.find("cannot create") < 0,
            10,
            "the right",
        )
        answer = held.post(held.body(), namespace=FREE)
        assert (answer.status, ACCOUNT in answer.message) == (403, True), answer
    finally:
        held.guarded.delete(binding, FREE)
        held.guarded.delete(role, FREE)


def test_others_make_jobs_as_they_like(held: Held) -> None:
    body = held.body()
    pod(imagePullSecrets=[{"name": OTHER}])(body)
    assert held.post(body, TEAM).status == 201


def test_the_app_says_that_the_guard_has_denied_it(held: Held) -> None:
    own = held.wanted()
    document = copy.deepcopy(own.template.template.document)
    document["spec"]["imagePullSecrets"] = [{"name": OTHER}]
    wanted = replace(own, template=replace(own.template, template=Template(document)))
    for verb in (held.jobs.attempt, held.jobs.make):
        with pytest.raises(Denied, match="policy credential-rotation-jobs") as denied:
            verb(JobTarget(GUARDED, "made-2"), wanted)
        assert denied.value.code is Code.CLUSTER_GUARDED


def test_the_app_makes_a_job_once_and_cannot_delete_or_change_it(held: Held) -> None:
    target, jobs = JobTarget(GUARDED, "made-3"), held.jobs
    where = f"/apis/batch/v1/namespaces/{GUARDED}/jobs/made-3"
    try:
        for _ in range(2):
            jobs.make(target, held.wanted())
        (made,) = jobs.of_run(GUARDED, "run-1")
        assert (made.name, made.rotation) == ("made-3", "r-1")
        with pytest.raises(Conflict) as foreign:
            jobs.make(target, held.wanted("r-2"))
        assert foreign.value.code is Code.JOB_FOREIGN
        assert held.guarded.request(APP, "DELETE", where).status == 403
        patch = {"spec": {"suspend": True}}
        merge = "application/merge-patch+json"
        assert held.guarded.request(APP, "PATCH", where, patch, merge).status == 403
    finally:
        held.guarded.request(ADMIN, "DELETE", f"{where}?propagationPolicy=Background")


@pytest.mark.parametrize("guarded", [pytest.param("real", marks=needs_binaries)], indirect=True)
def test_the_api_server_finds_no_fault_in_the_expressions(held: Held) -> None:
    where = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"

    def status() -> dict[str, Any]:
        found = held.guarded.request(ADMIN, "GET", f"{where}/credential-rotation-jobs").document
        return dict(found.get("status") or {})

    wait_until(lambda: "typeChecking" in status(), 60, "the type check")
    assert status()["typeChecking"] == {}
