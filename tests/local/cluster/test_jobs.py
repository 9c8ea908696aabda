"""Jobs with deadlines, owners and a time to live; each run to its end on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client.exceptions import ApiException

from local.process import wait_until

if TYPE_CHECKING:
    from tests.local.cluster.support import Kube


def job(name: str, command: list[str], pod: dict[str, Any] | None = None, **spec: Any) -> Any:
    containers = [{"name": "run", "image": "shell:1", "command": command}]
    template = {"restartPolicy": "Never", "containers": containers, **(pod or {})}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": template}, **spec},
    }


def ended(kube: Kube, name: str) -> tuple[str, str]:
    found = kube.batch.read_namespaced_job(name, kube.namespace).status.conditions or []
    return (str(found[0].type), str(found[0].reason)) if found else ("", "")


def is_there(kube: Kube, name: str) -> bool:
    return any(
        each.metadata.name == name for each in kube.batch.list_namespaced_job(kube.namespace).items
    )


def test_a_pod_that_outlasts_its_own_deadline_fails_and_leaves_its_log(kube: Kube) -> None:
    late = {"activeDeadlineSeconds": 1, "terminationGracePeriodSeconds": 1}
    kube.apply(job("late", ["sh", "-c", "echo begun; sleep 60"], late))
    wait_until(lambda: ended(kube, "late")[0] == "Failed", 20, "its end")
    (pod,) = kube.pods("batch.kubernetes.io/job-name=late")
    assert (pod.status.phase, pod.status.reason) == ("Failed", "DeadlineExceeded")
    assert pod.status.container_statuses[0].state.terminated.exit_code != 0
    assert kube.core.read_namespaced_pod_log(pod.metadata.name, kube.namespace) == "begun\n"


def test_a_job_that_outlasts_its_deadline_fails_and_its_pod_goes(kube: Kube) -> None:
    unknown = [{"name": "run", "image": "nowhere:1"}]
    kube.apply(job("late", [], {"containers": unknown}, activeDeadlineSeconds=1))
    wait_until(lambda: bool(kube.pods("batch.kubernetes.io/job-name=late")), 10, "its pod")
    wait_until(lambda: ended(kube, "late") == ("Failed", "DeadlineExceeded"), 20, "its end")
    wait_until(lambda: not kube.pods("batch.kubernetes.io/job-name=late"), 40, "its pod's end")


def test_a_job_goes_once_it_has_been_over_for_a_while(kube: Kube) -> None:
    kube.apply(job("short", ["true"], ttlSecondsAfterFinished=1), job("kept", ["true"]))
    wait_until(lambda: ended(kube, "kept")[0] == "Complete", 20, "the end of the other one")
    wait_until(lambda: not is_there(kube, "short"), 20, "its end")
    assert is_there(kube, "kept")


def test_a_pod_that_was_taken_away_does_not_count_where_a_policy_says_so(kube: Kube) -> None:
    ignore = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    kube.apply(job("again", ["sleep", "60"], podFailurePolicy={"rules": [ignore]}))
    wait_until(lambda: bool(kube.pods("batch.kubernetes.io/job-name=again")), 10, "its pod")
    (pod,) = kube.pods("batch.kubernetes.io/job-name=again")
    taken = [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]
    status = {"status": {"phase": "Failed", "conditions": taken}}
    kube.core.patch_namespaced_pod_status(pod.metadata.name, kube.namespace, status)
    wait_until(lambda: len(kube.pods("batch.kubernetes.io/job-name=again")) == 2, 10, "another")
    assert ended(kube, "again") == ("", "")


def test_such_a_policy_needs_pods_that_are_not_restarted(kube: Kube) -> None:
    ignore = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    policy = {"rules": [ignore]}
    restarted = {"restartPolicy": "OnFailure"}
    with pytest.raises(ApiException) as refused:
        kube.apply(job("again", ["true"], restarted, podFailurePolicy=policy))
    assert refused.value.status == 422


def test_it_goes_with_the_cron_job_that_owns_it(kube: Kube) -> None:
    kube.apply(
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "check"},
            "spec": {
                "schedule": "@yearly",
                "suspend": True,
                "jobTemplate": {"spec": job("", ["true"])["spec"]},
            },
        }
    )
    owner = kube.batch.read_namespaced_cron_job("check", kube.namespace).metadata
    made = job("made", ["true"])
    reference = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "check", "uid": owner.uid}
    made["metadata"]["ownerReferences"] = [reference]
    kube.apply(made)
    wait_until(lambda: ended(kube, "made")[0] == "Complete", 20, "its end")
    kube.batch.delete_namespaced_cron_job("check", kube.namespace)
    wait_until(lambda: not is_there(kube, "made"), 10, "its end with its owner")
