"""Deployments over the wire: scaling, rolling, and how they tell what they are at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.process import wait_until
from tests.local.cluster.support import container, deployment, get, service, watching

if TYPE_CHECKING:
    from kubernetes.client import V1Pod

    from tests.local.cluster.support import Kube


def condition(kube: Kube, name: str, type_: str) -> tuple[str, str]:
    found = kube.deployment(name).status.conditions or []
    return next(((item.status, item.reason) for item in found if item.type == type_), ("", ""))


def is_ready(pod: V1Pod) -> bool:
    """One that was made a moment ago has no status yet."""
    conditions = (pod.status.conditions if pod.status else None) or []
    return any(found.type == "Ready" and found.status == "True" for found in conditions)


def test_scaled_up_it_gets_ready_and_scaled_to_zero_its_pods_go(kube: Kube) -> None:
    kube.apply(deployment("web", 0))
    kube.wait_ready("web", 0)
    scale = kube.apps.patch_namespaced_deployment_scale
    scale("web", kube.namespace, {"spec": {"replicas": 2}})
    kube.wait_ready("web", 2)
    status = kube.deployment("web").status
    assert (status.available_replicas, status.unavailable_replicas) == (2, 0)
    assert condition(kube, "web", "Available") == ("True", "MinimumReplicasAvailable")
    assert condition(kube, "web", "Progressing") == ("True", "NewReplicaSetAvailable")
    scale("web", kube.namespace, {"spec": {"replicas": 0}})
    kube.wait_pods("app=web", 0)
    kube.wait_ready("web", 0)


def test_an_annotation_of_the_template_rolls_the_pods_and_never_too_few_are_ready(
    kube: Kube,
) -> None:
    rolling = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    kube.apply(deployment("web", 2, spec={"strategy": rolling}), service("web", {"app": "web"}))
    kube.wait_ready("web", 2)
    before = {pod.metadata.name for pod in kube.pods("app=web")}
    kube.apps.patch_namespaced_deployment(
        "web",
        kube.namespace,
        {"spec": {"template": {"metadata": {"annotations": {"restarted": "now"}}}}},
    )
    fewest = 2

    def rolled() -> bool:
        nonlocal fewest
        pods = kube.pods("app=web")
        ready = [pod for pod in pods if is_ready(pod)]
        fewest = min(fewest, len([p for p in ready if not p.metadata.deletion_timestamp]))
        get(kube.service_url("web"))
        return not before & {pod.metadata.name for pod in pods}

    wait_until(rolled, 20, "the roll")
    kube.wait_ready("web", 2)
    assert fewest == 2
    assert kube.deployment("web").metadata.annotations["deployment.kubernetes.io/revision"] == "2"
    sets = kube.apps.list_namespaced_replica_set(kube.namespace).items
    assert sorted(item.spec.replicas for item in sets) == [0, 2]


def test_a_recreate_ends_the_old_pods_before_it_starts_new_ones(kube: Kube) -> None:
    kube.apply(deployment("web", 1, spec={"strategy": {"type": "Recreate"}}))
    kube.wait_ready("web", 1)
    (old,) = kube.pods("app=web")
    kube.apply(
        deployment(
            "web",
            1,
            spec={"strategy": {"type": "Recreate"}},
            env=[{"name": "A", "value": "1"}],
        )
    )

    def replaced() -> bool:
        pods = kube.pods("app=web")
        assert len(pods) <= 1
        return bool(pods) and pods[0].metadata.name != old.metadata.name

    wait_until(replaced, 20, "a new pod")


def test_a_rollout_that_gets_nowhere_passes_its_deadline(kube: Kube) -> None:
    never = {"exec": {"command": ["false"]}, "periodSeconds": 1}
    kube.apply(deployment("web", 1, spec={"progressDeadlineSeconds": 1}, readinessProbe=never))
    late = ("False", "ProgressDeadlineExceeded")
    wait_until(lambda: condition(kube, "web", "Progressing") == late, 20, "the deadline")
    assert condition(kube, "web", "Available")[0] == "False"
    assert kube.deployment("web").status.unavailable_replicas == 1


def test_a_scale_is_observed_before_progress_is_told_anew(kube: Kube) -> None:
    """As upstream: for a moment the status is about the change, and its condition about the
    past."""
    never = {"exec": {"command": ["false"]}, "periodSeconds": 1}
    kube.apply(deployment("web", 1, spec={"progressDeadlineSeconds": 1}, readinessProbe=never))
    late = ("False", "ProgressDeadlineExceeded")
    wait_until(lambda: condition(kube, "web", "Progressing") == late, 20, "the deadline")
    version = kube.deployment("web").metadata.resource_version
    template = {"metadata": {"annotations": {"restarted": "now"}}}
    kube.apps.patch_namespaced_deployment(
        "web", kube.namespace, {"spec": {"replicas": 2, "template": template}}
    )
    seen = []
    for event in watching(
        kube.apps.list_namespaced_deployment, kube.namespace,
        resource_version=version, timeout_seconds=10,
    ):  # fmt: skip
        found = event["object"]
        known = {item.type: item.reason for item in found.status.conditions}
        seen.append((found.status.observed_generation, known["Progressing"]))
        if known["Progressing"] != late[1]:
            break
    generation = kube.deployment("web").metadata.generation
    assert (generation, late[1]) in seen
    assert seen[-1][1] != late[1]


def test_a_quota_refuses_pods_until_there_is_room(kube: Kube) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}}
    kube.apply({**quota, "spec": {"hard": {"pods": "1"}}}, deployment("web", 2))
    failed = ("True", "FailedCreate")
    wait_until(lambda: condition(kube, "web", "ReplicaFailure") == failed, 20, "the failure")
    conditions = kube.deployment("web").status.conditions
    told = next(found.message for found in conditions if found.type == "ReplicaFailure")
    assert "exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1" in told
    assert kube.events("FailedCreate")
    kube.apply({**quota, "spec": {"hard": {"pods": "2"}}})
    kube.wait_ready("web", 2)
    wait_until(lambda: condition(kube, "web", "ReplicaFailure") == ("", ""), 10, "its end")


def test_an_evicted_pod_stays_and_is_replaced(kube: Kube) -> None:
    kube.apply(deployment("web", 1), service("web", {"app": "web"}))
    kube.wait_ready("web", 1)
    (pod,) = kube.pods("app=web")
    kube.core.patch_namespaced_pod_status(
        pod.metadata.name, kube.namespace, {"status": {"phase": "Failed", "reason": "Evicted"}}
    )
    both = kube.wait_pods("app=web", 2)
    kube.wait_ready("web", 1)
    assert {found.metadata.name for found in both} > {pod.metadata.name}
    (endpoints,) = kube.core.list_namespaced_endpoints(kube.namespace).items
    named = [
        address.target_ref.name
        for subset in endpoints.subsets
        for address in [*(subset.addresses or []), *(subset.not_ready_addresses or [])]
    ]
    assert len(named) == 1
    assert pod.metadata.name not in named
    kube.apps.patch_namespaced_deployment_scale("web", kube.namespace, {"spec": {"replicas": 0}})
    (left,) = kube.wait_pods("app=web", 1)
    assert (left.metadata.name, left.status.phase) == (pod.metadata.name, "Failed")


def test_a_paused_deployment_scales_and_takes_no_new_template(kube: Kube) -> None:
    kube.apply(deployment("web", 1))
    kube.wait_ready("web", 1)
    template = {"metadata": {"annotations": {"restarted": "now"}}}
    patch = kube.apps.patch_namespaced_deployment
    patch("web", kube.namespace, {"spec": {"paused": True, "replicas": 2, "template": template}})
    paused = ("Unknown", "DeploymentPaused")
    wait_until(lambda: condition(kube, "web", "Progressing") == paused, 10, "the pause")
    wait_until(lambda: kube.deployment("web").status.ready_replicas == 2, 20, "a second pod")
    assert not kube.deployment("web").status.updated_replicas
    patch("web", kube.namespace, {"spec": {"paused": False}})
    kube.wait_ready("web", 2)
    wait_until(
        lambda: condition(kube, "web", "Progressing") == ("True", "NewReplicaSetAvailable"),
        10,
        "the rollout's end",
    )


def test_a_deleted_deployment_takes_its_pods_along(kube: Kube) -> None:
    kube.apply(deployment("web", 1))
    kube.wait_ready("web", 1)
    kube.apps.delete_namespaced_deployment("web", kube.namespace, propagation_policy="Foreground")
    kube.wait_pods("app=web", 0)
    wait_until(
        lambda: not kube.apps.list_namespaced_deployment(kube.namespace).items, 10, "its end"
    )


def test_a_deleted_pod_is_replaced(kube: Kube) -> None:
    kube.apply(deployment("web", 1))
    kube.wait_ready("web", 1)
    (pod,) = kube.pods("app=web")
    kube.core.delete_namespaced_pod(pod.metadata.name, kube.namespace, grace_period_seconds=0)
    wait_until(
        lambda: [p.metadata.name for p in kube.pods("app=web")] not in ([pod.metadata.name], []),
        10,
        "another pod",
    )
    kube.wait_ready("web", 1)


def test_a_job_runs_to_its_end_and_another_to_its_limit(kube: Kube) -> None:
    def job(name: str, command: list[str]) -> dict[str, object]:
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name},
            "spec": {
                "backoffLimit": 0,
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "containers": [{"name": "run", "image": "shell:1", "command": command}],
                    }
                },
            },
        }

    kube.apply(job("good", ["true"]), job("bad", ["false"]))

    def outcome(name: str) -> str:
        found = kube.batch.read_namespaced_job(name, kube.namespace).status.conditions or []
        return str(found[0].type) if found else ""

    wait_until(lambda: outcome("good") == "Complete", 10, "the good job's end")
    wait_until(lambda: outcome("bad") == "Failed", 10, "the bad job's end")


def test_two_containers_make_one_pod(kube: Kube) -> None:
    side = {"name": "side", "image": "shell:1", "command": ["sleep", "60"]}
    manifest = deployment("web", 1, pod={"containers": [container(), side]})
    kube.apply(manifest)
    kube.wait_ready("web", 1)
    (pod,) = kube.pods("app=web")
    assert {status.name for status in pod.status.container_statuses} == {"web", "side"}
