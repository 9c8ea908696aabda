"""What is taken over of pods and Deployments: known words and numbers, whoever wrote the rest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes import client

from rotation.edges.cluster.deployments import Family
from rotation.edges.cluster.pods import pod_of
from rotation.edges.cluster.rollouts import deployment_of, query
from rotation.model.errors import Invalid
from rotation.model.reasons import Code
from rotation.model.targets import DeploymentTarget

TARGET = DeploymentTarget("orders", "api-blue")
EVIL = "hunter2 <script> kubectl delete"


def state(**of: Any) -> client.V1ContainerState:
    return client.V1ContainerState(
        waiting=client.V1ContainerStateWaiting(reason=of["waiting"]) if "waiting" in of else None,
        running=client.V1ContainerStateRunning() if of.get("running") else None,
        terminated=client.V1ContainerStateTerminated(exit_code=of["code"], reason=of.get("reason"))
        if "code" in of
        else None,
    )


def container(restarts: int = 0, last: Any = None, **of: Any) -> client.V1ContainerStatus:
    return client.V1ContainerStatus(
        name="web",
        image="web:1",
        image_id="",
        ready=False,
        restart_count=restarts,
        state=state(**of),
        last_state=last,
    )


def pod(*main: Any, init: Any = (), **conditions: tuple[str, str]) -> client.V1Pod:
    told = [
        client.V1PodCondition(type=type_, status=status, reason=reason)
        for type_, (status, reason) in conditions.items()
    ]
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name="api-blue-1"),
        status=client.V1PodStatus(
            phase="Pending",
            container_statuses=list(main) or None,
            init_container_statuses=list(init) or None,
            conditions=told,
        ),
    )


CRASHED = container(5, state(code=137, reason="OOMKilled"), waiting="CrashLoopBackOff")
TOLD: list[tuple[str, client.V1Pod, tuple[Any, ...]]] = [
    ("made just now", pod(), ("Pending", 0, None, None)),
    (
        "on no node",
        pod(PodScheduled=("False", "Unschedulable")),
        ("Unschedulable", 0, None, None),
    ),
    (
        "on no node, with a word",
        pod(PodScheduled=("False", EVIL)),
        ("not scheduled", 0, None, None),
    ),
    ("starting", pod(container(waiting="ContainerCreating")), ("ContainerCreating", 0, None, None)),
    ("with a word", pod(container(waiting=EVIL)), ("waiting", 0, None, None)),
    ("without one", pod(container(waiting=None)), ("waiting", 0, None, None)),
    ("crashing", pod(CRASHED), ("CrashLoopBackOff", 5, 137, "OOMKilled")),
    (
        "crashing for a reason of its own",
        pod(container(1, state(code=1, reason=EVIL), running=True)),
        (None, 1, 1, None),
    ),
    (
        "beside one that starts",
        pod(container(waiting="PodInitializing"), CRASHED),
        ("CrashLoopBackOff", 5, 137, "OOMKilled"),
    ),
    (
        "with a first container that fails",
        pod(
            container(waiting="PodInitializing"),
            init=[container(3, state(code=2, reason="Error"), waiting="CrashLoopBackOff")],
        ),
        ("CrashLoopBackOff", 3, 2, "Error"),
    ),
    (
        "with a first container that is done",
        pod(container(running=True), init=[container(code=0, reason="Completed")]),
        (None, 0, None, None),
    ),
    ("ended for good", pod(container(code=3, reason="Error")), (None, 0, 3, "Error")),
]


@pytest.mark.guarantee(3)
@pytest.mark.parametrize(("what", "given", "told"), TOLD)
def test_a_pod_is_told_in_known_words(what: str, given: client.V1Pod, told: Any) -> None:
    found = pod_of(given)
    assert (found.waiting, found.restarts, found.exit_code, found.ended) == told, what
    assert "hunter2" not in str(found)


def deployment(*conditions: tuple[str, str, str, str], **spec: Any) -> client.V1Deployment:
    asked = {"selector": client.V1LabelSelector(match_labels={"app": "api"}), **spec}
    return client.V1Deployment(
        metadata=client.V1ObjectMeta(name="api-blue", namespace="orders", uid="d-1"),
        spec=client.V1DeploymentSpec(
            template=client.V1PodTemplateSpec(spec=client.V1PodSpec(containers=[])), **asked
        ),
        status=client.V1DeploymentStatus(
            conditions=[
                client.V1DeploymentCondition(type=a, status=b, reason=c, message=d)
                for a, b, c, d in conditions
            ]
        ),
    )


def refused(message: str) -> tuple[str, str, str, str]:
    return "ReplicaFailure", "True", "FailedCreate", message


QUOTA = 'pods "x" is forbidden: exceeded quota: few, requested: {}, used: {}, limited: {}'
FULL = "a quota is full"
REFUSED: list[tuple[str, str | None]] = [
    (
        QUOTA.format("pods=1", "pods=10", "pods=10"),
        f"{FULL}: 10 of 10 pods used, 1 more asked for",
    ),
    (
        QUOTA.format(
            "limits.cpu=500m,requests.memory=1Gi",
            "limits.cpu=2,requests.memory=3584Mi",
            "limits.cpu=2,requests.memory=4Gi",
        ),
        (
            f"{FULL}: 2 of 2 limits.cpu used, 500m more asked for, "
            "3584Mi of 4Gi requests.memory used, 1Gi more asked for"
        ),
    ),
    (QUOTA.format(f"{EVIL}=1", f"{EVIL}=1", f"{EVIL}=1"), FULL),
    (QUOTA.format(f"pods={EVIL}", "pods=1", "pods=1"), FULL),
    (  # what is not said of all three is not told
        QUOTA.format("cpu=1,pods=1,memory=1", "cpu=2,pods=3", "memory=5,pods=3"),
        f"{FULL}: 3 of 3 pods used, 1 more asked for",
    ),
    (f"exceeded quota: {EVIL}", FULL),
    (
        f'admission webhook "{EVIL}" denied the request: {EVIL}',
        "an admission webhook refuses the pods",
    ),
    (
        f"ValidatingAdmissionPolicy '{EVIL}' denied request: {EVIL}",
        "an admission policy refuses the pods",
    ),
    (f'violates PodSecurity "{EVIL}"', "Pod Security refuses the pods"),
    (EVIL, None),
    ("", None),
]


@pytest.mark.guarantee(3)
@pytest.mark.parametrize(("message", "told"), REFUSED)
def test_who_refuses_pods_is_told_in_known_words(message: str, told: str | None) -> None:
    found = deployment_of(deployment(refused(message)))
    assert (found.failure, found.refusal) == ("FailedCreate", told)


LATE = ("Progressing", "False", "ProgressDeadlineExceeded", EVIL)
FINE = ("Progressing", "True", "NewReplicaSetAvailable", "")
CONDITIONS: list[tuple[list[tuple[str, str, str, str]], str | None]] = [
    ([FINE], None),
    ([LATE], "ProgressDeadlineExceeded"),
    ([LATE, refused("")], "FailedCreate"),
    ([("Progressing", "False", EVIL, "")], "not progressing"),
    ([("ReplicaFailure", "True", EVIL, "")], "replica failure"),
    ([("ReplicaFailure", "False", "FailedCreate", ""), FINE], None),
    ([("Progressing", "Unknown", "DeploymentPaused", "")], None),
]


@pytest.mark.guarantee(3)
@pytest.mark.parametrize(("conditions", "failure"), CONDITIONS)
def test_what_conditions_say(
    conditions: list[tuple[str, str, str, str]], failure: str | None
) -> None:
    assert deployment_of(deployment(*conditions)).failure == failure


def expressions(*of: tuple[str, str, list[str] | None]) -> client.V1LabelSelector:
    found = [client.V1LabelSelectorRequirement(key=a, operator=b, values=c) for a, b, c in of]
    return client.V1LabelSelector(match_expressions=found, match_labels={"app": "api"})


def test_a_selector_is_asked_for_as_queries_have_it() -> None:
    selector = expressions(
        ("tier", "In", ["web", "jobs"]),
        ("slot", "NotIn", ["green"]),
        ("owner", "Exists", None),
        ("retired", "DoesNotExist", None),
    )
    asked = query(deployment(selector=selector))
    assert asked == "app in (api),tier in (jobs,web),slot notin (green),owner,!retired"


@pytest.mark.parametrize(
    "selector",
    [
        client.V1LabelSelector(),
        client.V1LabelSelector(match_labels={}, match_expressions=[]),
        expressions(("memory", "Gt", ["1"])),
    ],
)
def test_a_selector_that_cannot_be_decided(selector: client.V1LabelSelector) -> None:
    with pytest.raises(Invalid, match="Deployment orders/api-blue selects its pods") as caught:
        deployment_of(deployment(selector=selector))
    assert caught.value.code is Code.SELECTOR_UNKNOWN


class Sets:
    """ReplicaSets by uid, with the uid of their owner; counts how often they are listed."""

    def __init__(self, **owners: str) -> None:
        self.owners = owners
        self.lists = 0
        self.apps = self

    def list_namespaced_replica_set(self, namespace: str, **_: Any) -> Any:
        assert namespace == "orders"
        self.lists += 1
        return SimpleNamespace(items=[self._set(uid, owner) for uid, owner in self.owners.items()])

    def _set(self, uid: str, owner: str) -> client.V1ReplicaSet:
        return client.V1ReplicaSet(
            metadata=client.V1ObjectMeta(
                uid=uid, owner_references=[reference(owner, "Deployment")]
            ),
            spec=client.V1ReplicaSetSpec(
                selector=client.V1LabelSelector(match_labels={"app": "api"})
            ),
        )


def reference(uid: str, kind: str = "ReplicaSet", name: str = "x") -> client.V1OwnerReference:
    return client.V1OwnerReference(
        api_version="apps/v1", kind=kind, name=name, uid=uid, controller=True
    )


def owned(uid: str, template: str = "abc", name: str = "api-blue-abc") -> client.V1Pod:
    return client.V1Pod(
        metadata=client.V1ObjectMeta(
            name=uid,
            labels={"pod-template-hash": template},
            owner_references=[reference(uid, name=name)],
        ),
        status=client.V1PodStatus(phase="Running"),
    )


def test_replica_sets_are_looked_at_when_a_pod_names_a_new_one() -> None:
    sets: Any = Sets(one="d-1", foreign="d-2")
    family = Family(sets, TARGET, deployment())
    assert [family.has(owned(uid)) for uid in ("one", "foreign", "one")] == [True, False, True]
    assert sets.lists == 1
    sets.owners["two"] = "d-1"
    assert family.has(owned("two"))
    assert sets.lists == 2
    assert not family.has(client.V1Pod(metadata=client.V1ObjectMeta(name="debug")))
    assert sets.lists == 2


def test_a_replica_set_that_is_gone_is_not_looked_for_again() -> None:
    sets: Any = Sets()
    family = Family(sets, TARGET, deployment())
    evicted = owned("gone")
    evicted.status = client.V1PodStatus(phase="Failed")
    assert not family.has(evicted)
    assert [family.has(owned("gone")) for _ in range(3)] == [True] * 3
    assert [family.has(owned("other", name="api-green-abc")) for _ in range(3)] == [False] * 3
    assert sets.lists == 2
