"""Takes away from an object what whoever keeps it in Git has not written.

What the API server sets, what it fills in where nothing was said, and the marks by which deployment
tools know what is theirs: a copy with these would be another release's.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rotctl.adopt.original import Object

# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/
SET_BY_SERVER = (
    *("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp"),
    *("deletionGracePeriodSeconds", "selfLink", "managedFields", "ownerReferences", "finalizers"),
    "generateName",
)
MARKS = (
    *("kubectl.kubernetes.io/", "deployment.kubernetes.io/", "meta.helm.sh/", "helm.sh/"),
    *("argocd.argoproj.io/", "kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/"),
    *("config.kubernetes.io/", "fluxcd.io/", "objectset.rio.cattle.io/", "autoscaling.alpha."),
    *("app.kubernetes.io/managed-by", "deprecated.daemonset.template."),
)
RESTARTED = "kubectl.kubernetes.io/restartedAt"
# What the API server fills in: https://kubernetes.io/docs/reference/kubernetes-api/
DEPLOYMENT: Object = {"progressDeadlineSeconds": 600, "revisionHistoryLimit": 10}
ROLLING: Object = {
    "type": "RollingUpdate",
    "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
}
POD: Object = {
    "dnsPolicy": "ClusterFirst",
    "enableServiceLinks": True,
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "securityContext": {},
    "terminationGracePeriodSeconds": 30,
}
CONTAINER: Object = {
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
PROBE: Object = {
    "failureThreshold": 3,
    "periodSeconds": 10,
    "successThreshold": 1,
    "timeoutSeconds": 1,
}
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
SERVICE: Object = {
    "internalTrafficPolicy": "Cluster",
    "ipFamilyPolicy": "SingleStack",
    "sessionAffinity": "None",
    "type": "ClusterIP",
}
ADDRESSES = ("clusterIPs", "ipFamilies", "healthCheckNodePort")
CRON_JOB: Object = {
    "concurrencyPolicy": "Allow",
    "failedJobsHistoryLimit": 1,
    "successfulJobsHistoryLimit": 3,
    "suspend": False,
}
STATEFUL_SET: Object = {
    "podManagementPolicy": "OrderedReady",
    "revisionHistoryLimit": 10,
    "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
    "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
}
DAEMON_SET: Object = {
    "revisionHistoryLimit": 10,
    "updateStrategy": {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
    },
}
MODE = 0o644


def cleaned(obj: Object) -> Object:
    """A copy of an object as somebody would write it."""
    made = copy.deepcopy(obj)
    made.pop("status", None)
    _metadata(made["metadata"])
    spec = made.get("spec")
    if isinstance(spec, dict):
        _SPECS.get(made["kind"], lambda _: None)(spec)
    return made


def _metadata(metadata: Object) -> None:
    for key in SET_BY_SERVER:
        metadata.pop(key, None)
    for kind in ("labels", "annotations"):
        kept = {k: v for k, v in (metadata.get(kind) or {}).items() if not k.startswith(MARKS)}
        _or_none(metadata, kind, kept)


def _or_none(holder: Object, key: str, value: Any) -> None:
    if value:
        holder[key] = value
    else:
        holder.pop(key, None)


def _without(spec: Object, defaults: Object) -> None:
    for key, value in defaults.items():
        if key in spec and spec[key] == value and type(spec[key]) is type(value):
            del spec[key]


def _deployment(spec: Object) -> None:
    _without(spec, {**DEPLOYMENT, "strategy": ROLLING})
    _template(spec["template"])


def _stateful_set(spec: Object) -> None:
    _without(spec, STATEFUL_SET)
    _template(spec["template"])
    for claim in spec.get("volumeClaimTemplates") or []:
        claim.pop("status", None)
        _empty(claim)
        _without(claim["spec"], {"volumeMode": "Filesystem"})


def _daemon_set(spec: Object) -> None:
    _without(spec, DAEMON_SET)
    _template(spec["template"])


def _cron_job(spec: Object) -> None:
    _without(spec, CRON_JOB)
    _job = spec["jobTemplate"]
    _empty(_job)
    _without(_job["spec"], {"backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False})
    _template(_job["spec"]["template"])


def _empty(holder: Object) -> None:
    """Of a template's metadata, what is nobody's: `creationTimestamp: null`, notes of restarts."""
    metadata = holder.get("metadata") or {}
    metadata.pop("creationTimestamp", None)
    notes = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != RESTARTED}
    _or_none(metadata, "annotations", notes)
    _or_none(holder, "metadata", metadata)


def _template(template: Object) -> None:
    _empty(template)
    spec = template["spec"]
    _without(spec, POD)
    if spec.get("serviceAccount") == spec.get("serviceAccountName"):
        spec.pop("serviceAccount", None)  # the old name of the same
    for container in (*(spec.get("initContainers") or []), *(spec.get("containers") or [])):
        _container(container)
    for volume in spec.get("volumes") or []:
        _volume(volume)


def _container(container: Object) -> None:
    _without(container, CONTAINER)
    if container.get("imagePullPolicy") == _pull(str(container.get("image", ""))):
        del container["imagePullPolicy"]
    for port in container.get("ports") or []:
        _without(port, {"protocol": "TCP"})
    for variable in container.get("env") or []:
        field = (variable.get("valueFrom") or {}).get("fieldRef")
        if field:
            _without(field, {"apiVersion": "v1"})
    for kind in PROBES:
        probe = container.get(kind)
        if probe:
            _without(probe, PROBE)
            _without(probe.get("httpGet") or {}, {"scheme": "HTTP"})


def _pull(image: str) -> str:
    """What the API server makes of an image's tag."""
    name = image.partition("@")[0].rpartition("/")[2]
    tag = name.partition(":")[2] or ("" if "@" in image else "latest")
    return "Always" if tag == "latest" else "IfNotPresent"


def _volume(volume: Object) -> None:
    for kind in ("secret", "configMap", "projected", "downwardAPI"):
        if isinstance(volume.get(kind), dict):
            _without(volume[kind], {"defaultMode": MODE})
    for source in (volume.get("projected") or {}).get("sources") or []:
        _without(source.get("serviceAccountToken") or {}, {"expirationSeconds": 3600})


def _service(spec: Object) -> None:
    for key in ADDRESSES:
        spec.pop(key, None)
    if spec.get("clusterIP") != "None":
        spec.pop("clusterIP", None)
    _without(spec, SERVICE)
    for port in spec.get("ports") or []:
        _without(port, {"protocol": "TCP", "targetPort": port.get("port")})
        port.pop("nodePort", None)


_SPECS = {
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "CronJob": _cron_job,
    "Service": _service,
}
