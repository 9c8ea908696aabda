"""The defaults that the API server fills in, as far as clients see them."""

from __future__ import annotations

import base64
import copy
from typing import TYPE_CHECKING

from local.cluster import kinds, schemas
from local.cluster.validation import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.cluster.kinds import Kind, Object

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def with_defaults(kind: Kind, obj: Object) -> Object:
    """A copy with what was left out filled in. Expects an object that has been validated."""
    result = copy.deepcopy(obj)
    if schema := SCHEMAS.get(kind):
        result["spec"] = schemas.completed(schema, obj["spec"])
    if fill := _FILL.get(kind):
        fill(result)
    return result


def _set(target: Object, **values: object) -> None:
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = value


def _deployment(obj: Object) -> None:
    spec = obj["spec"]
    _set(
        spec,
        replicas=1,
        strategy={},
        revisionHistoryLimit=10,
        progressDeadlineSeconds=600,
    )
    _set(spec["strategy"], type="RollingUpdate")
    if spec["strategy"]["type"] == "RollingUpdate":
        _set(spec["strategy"], rollingUpdate={})
        _set(spec["strategy"]["rollingUpdate"], maxSurge="25%", maxUnavailable="25%")
    _pod_spec(spec["template"]["spec"])


def _replica_set(obj: Object) -> None:
    _set(obj["spec"], replicas=1)
    _pod_spec(obj["spec"]["template"]["spec"])


def _stateful_set(obj: Object) -> None:
    spec = obj["spec"]
    _set(
        spec,
        replicas=1,
        serviceName="",
        podManagementPolicy="OrderedReady",
        updateStrategy={},
        revisionHistoryLimit=10,
    )
    _set(spec["updateStrategy"], type="RollingUpdate")
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        _set(spec["updateStrategy"], rollingUpdate={})
        _set(spec["updateStrategy"]["rollingUpdate"], partition=0)
    _pod_spec(spec["template"]["spec"])


def _daemon_set(obj: Object) -> None:
    spec = obj["spec"]
    _set(spec, updateStrategy={}, revisionHistoryLimit=10)
    _set(spec["updateStrategy"], type="RollingUpdate")
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        _set(spec["updateStrategy"], rollingUpdate={})
        _set(spec["updateStrategy"]["rollingUpdate"], maxUnavailable=1, maxSurge=0)
    _pod_spec(spec["template"]["spec"])


def _pod(obj: Object) -> None:
    _pod_spec(obj["spec"])
    _set(obj["spec"], serviceAccountName="default", enableServiceLinks=True)


def _job(obj: Object) -> None:
    spec, uid = obj["spec"], obj["metadata"]["uid"]
    _set(spec, parallelism=1, completions=1, backoffLimit=6, suspend=False)
    _set(spec, completionMode="NonIndexed", manualSelector=False)
    replaced = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
    _set(spec, podReplacementPolicy=replaced)
    labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
    own = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": obj["metadata"]["name"],
    }
    labels.update(own)
    _set(spec, selector={"matchLabels": {"batch.kubernetes.io/controller-uid": uid}})
    _pod_spec(spec["template"]["spec"])


def _cron_job(obj: Object) -> None:
    """Of the Job itself nothing is filled in before there is one, but for its pods."""
    spec = obj["spec"]
    _set(
        spec,
        concurrencyPolicy="Allow",
        suspend=False,
        successfulJobsHistoryLimit=3,
        failedJobsHistoryLimit=1,
    )
    _pod_spec(spec["jobTemplate"]["spec"]["template"]["spec"])


def _pod_spec(spec: Object) -> None:
    _set(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        securityContext={},
    )
    for container in [*spec["containers"], *(spec.get("initContainers") or [])]:
        _container(container)
    for volume in spec.get("volumes") or []:
        for source in ("secret", "configMap", "projected"):
            if volume.get(source) is not None:
                _set(volume[source], defaultMode=0o644)


def _container(container: Object) -> None:
    _set(
        container,
        imagePullPolicy=_pull_policy(container["image"]),
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
    )
    for port in container.get("ports") or []:
        _set(port, protocol="TCP")
    for name in PROBES:
        if container.get(name):
            _probe(container[name])
    for variable in container.get("env") or []:
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference:
            _set(reference, apiVersion="v1")


def _pull_policy(image: str) -> str:
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in {"", "latest"} and "@" not in image else "IfNotPresent"


def _probe(probe: Object) -> None:
    _set(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    if probe.get("httpGet"):
        _set(probe["httpGet"], scheme="HTTP", path="/")


def _service(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _set(spec, type="ClusterIP", sessionAffinity="None", internalTrafficPolicy="Cluster")
    for port in spec.get("ports") or []:
        _set(port, protocol="TCP", targetPort=port["port"])
    _set(obj, status={"loadBalancer": {}})


def _secret(obj: Object) -> None:
    _set(obj, type="Opaque")
    for key, value in (obj.pop("stringData", None) or {}).items():
        encoded = base64.b64encode(value.encode()).decode()
        obj["data"] = {**(obj.get("data") or {}), key: encoded}


def _namespace(obj: Object) -> None:
    labels = obj["metadata"].setdefault("labels", {})
    labels["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
    _set(obj, spec={"finalizers": ["kubernetes"]}, status={"phase": "Active"})


def _role_binding(obj: Object) -> None:
    _set(obj["roleRef"], apiGroup="rbac.authorization.k8s.io")
    for subject in obj.get("subjects") or []:
        if subject["kind"] in {"User", "Group"}:
            _set(subject, apiGroup="rbac.authorization.k8s.io")


_FILL: dict[Kind, Callable[[Object], None]] = {
    kinds.DEPLOYMENT: _deployment,
    kinds.REPLICA_SET: _replica_set,
    kinds.STATEFUL_SET: _stateful_set,
    kinds.DAEMON_SET: _daemon_set,
    kinds.POD: _pod,
    kinds.JOB: _job,
    kinds.CRON_JOB: _cron_job,
    kinds.SERVICE: _service,
    kinds.SECRET: _secret,
    kinds.NAMESPACE: _namespace,
    kinds.ROLE_BINDING: _role_binding,
    kinds.CLUSTER_ROLE_BINDING: _role_binding,
}
