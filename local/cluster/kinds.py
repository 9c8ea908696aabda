"""The kinds that the API serves, and its discovery documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]

VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


@dataclass(frozen=True)
class Kind:
    """One served kind. `builtin` is false for what a cluster would know from a CRD."""

    kind: str
    plural: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    builtin: bool = True
    counts_generations: bool = False

    @property
    def qualified(self) -> str:
        """The kind as messages name it: `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


NAMESPACE = Kind("Namespace", "namespaces", namespaced=False, subresources=("status", "finalize"))
NODE = Kind("Node", "nodes", namespaced=False, subresources=("status",), short=("no",))
SERVICE = Kind("Service", "services", subresources=("status", "proxy"), short=("svc",))
POD = Kind("Pod", "pods", subresources=("status", "log", "proxy", "eviction"), short=("po",))
SECRET = Kind("Secret", "secrets")
CONFIG_MAP = Kind("ConfigMap", "configmaps", short=("cm",))
SERVICE_ACCOUNT = Kind("ServiceAccount", "serviceaccounts", short=("sa",))
EVENT = Kind("Event", "events", short=("ev",))
ENDPOINTS = Kind("Endpoints", "endpoints", short=("ep",))
DEPLOYMENT = Kind(
    "Deployment", "deployments", "apps",
    subresources=("status", "scale"), short=("deploy",), counts_generations=True,
)  # fmt: skip
REPLICA_SET = Kind(
    "ReplicaSet", "replicasets", "apps",
    subresources=("status", "scale"), short=("rs",), counts_generations=True,
)  # fmt: skip
STATEFUL_SET = Kind(
    "StatefulSet", "statefulsets", "apps",
    subresources=("status", "scale"), short=("sts",), counts_generations=True,
)  # fmt: skip
DAEMON_SET = Kind(
    "DaemonSet", "daemonsets", "apps",
    subresources=("status",), short=("ds",), counts_generations=True,
)  # fmt: skip
CONTROLLER_REVISION = Kind("ControllerRevision", "controllerrevisions", "apps")
JOB = Kind("Job", "jobs", "batch", subresources=("status",), counts_generations=True)
CRON_JOB = Kind(
    "CronJob", "cronjobs", "batch",
    subresources=("status",), short=("cj",), counts_generations=True,
)  # fmt: skip
ENDPOINT_SLICE = Kind("EndpointSlice", "endpointslices", "discovery.k8s.io")
ROLE = Kind("Role", "roles", "rbac.authorization.k8s.io")
ROLE_BINDING = Kind("RoleBinding", "rolebindings", "rbac.authorization.k8s.io")
CLUSTER_ROLE = Kind("ClusterRole", "clusterroles", "rbac.authorization.k8s.io", namespaced=False)
CLUSTER_ROLE_BINDING = Kind(
    "ClusterRoleBinding", "clusterrolebindings", "rbac.authorization.k8s.io", namespaced=False
)
PROVIDER_CLASS = Kind(
    "SecretProviderClass", "secretproviderclasses", "secrets-store.csi.x-k8s.io",
    builtin=False, counts_generations=True,
)  # fmt: skip
PROVIDER_CLASS_POD_STATUS = Kind(
    "SecretProviderClassPodStatus", "secretproviderclasspodstatuses",
    "secrets-store.csi.x-k8s.io", builtin=False, counts_generations=True,
)  # fmt: skip
HTTP_ROUTE = Kind(
    "HTTPRoute", "httproutes", "gateway.networking.k8s.io",
    subresources=("status",), builtin=False, counts_generations=True,
)  # fmt: skip
GATEWAY = Kind(
    "Gateway", "gateways", "gateway.networking.k8s.io",
    subresources=("status",), short=("gtw",), builtin=False, counts_generations=True,
)  # fmt: skip
DISRUPTION_BUDGET = Kind(
    "PodDisruptionBudget", "poddisruptionbudgets", "policy",
    subresources=("status",), short=("pdb",), counts_generations=True,
)  # fmt: skip
QUOTA = Kind("ResourceQuota", "resourcequotas", subresources=("status",), short=("quota",))
POLICY = Kind(
    "ValidatingAdmissionPolicy", "validatingadmissionpolicies", "admissionregistration.k8s.io",
    namespaced=False, subresources=("status",), counts_generations=True,
)  # fmt: skip
POLICY_BINDING = Kind(
    "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings",
    "admissionregistration.k8s.io", namespaced=False, counts_generations=True,
)  # fmt: skip
ACCESS_REVIEW = Kind(
    "SelfSubjectAccessReview", "selfsubjectaccessreviews", "authorization.k8s.io", namespaced=False
)

STORED = (
    NAMESPACE, NODE, SERVICE, POD, SECRET, CONFIG_MAP, SERVICE_ACCOUNT, EVENT, ENDPOINTS,
    DEPLOYMENT, REPLICA_SET, STATEFUL_SET, DAEMON_SET, CONTROLLER_REVISION, JOB, CRON_JOB,
    ENDPOINT_SLICE, ROLE, ROLE_BINDING, CLUSTER_ROLE, CLUSTER_ROLE_BINDING,
    PROVIDER_CLASS, PROVIDER_CLASS_POD_STATUS, HTTP_ROUTE, GATEWAY, DISRUPTION_BUDGET, QUOTA,
    POLICY, POLICY_BINDING,
)  # fmt: skip
ALL = (*STORED, ACCESS_REVIEW)

BY_PLURAL = {(kind.group, kind.version, kind.plural): kind for kind in ALL}
BY_KIND = {(kind.api_version, kind.kind): kind for kind in ALL}


def _resource(kind: Kind, subresource: str = "") -> Object:
    name = f"{kind.plural}/{subresource}" if subresource else kind.plural
    resource: Object = {
        "name": name,
        "singularName": "" if subresource else kind.kind.lower(),
        "namespaced": kind.namespaced,
        "kind": "Scale" if subresource == "scale" else kind.kind,
        "verbs": _verbs(kind, subresource),
    }
    if subresource == "scale":
        resource |= {"group": "autoscaling", "version": "v1"}
    if subresource == "eviction":
        resource |= {"group": "policy", "version": "v1", "kind": "Eviction"}
    if kind.short and not subresource:
        resource["shortNames"] = list(kind.short)
    return resource


def _verbs(kind: Kind, subresource: str) -> list[str]:
    if kind is ACCESS_REVIEW:
        return ["create"]
    if subresource == "eviction":
        return ["create"]
    if subresource == "log":
        return ["get"]
    if subresource == "proxy":
        return ["create", "delete", "get", "patch", "update"]
    return ["get", "patch", "update"] if subresource else VERBS


def resource_list(group: str, version: str) -> Object | None:
    """The APIResourceList of one group and version; None when nothing is served there."""
    kinds = [kind for kind in ALL if (kind.group, kind.version) == (group, version)]
    if not kinds:
        return None
    resources = [_resource(kind, sub) for kind in kinds for sub in ("", *kind.subresources)]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": kinds[0].api_version,
        "resources": resources,
    }


def _group(name: str) -> Object:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def group_list() -> Object:
    names = sorted({kind.group for kind in ALL if kind.group})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(n) for n in names]}


def group(name: str) -> Object | None:
    if name not in {kind.group for kind in ALL if kind.group}:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name)}
