"""The guard on an API server, with something to guard, and the people who come to it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local import world
from local.cluster.client import apply, connect, path_of, read_manifests, write_kubeconfig
from local.process import wait_until
from local.stack import APP as IDENTITY
from rotation.config import Cluster
from rotation.edges.cluster.client import Api
from rotation.edges.cluster.cron_jobs import ScheduledJobs
from rotation.edges.cluster.deployments import Deployments
from rotation.edges.cluster.services import Services
from rotation.secrecy import new_password
from tests.kubernetes.control import ADMIN, ControlPlane, User

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.process import Component

APP = User(IDENTITY.principal_id, ("apps",))
TEAM = User("dev@contoso.example", ("team",))
RESCUER = User("oncall@contoso.example", ("team", "credential-rotation-break-glass"))
REHEARSER = User("rehearser@contoso.example")  # may what docs/rotctl.md says
GUARDED, FREE = "orders", "elsewhere"
GUARD = world.MANIFESTS / "guard.yaml"
TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


def guard(identity: str, **settings: str) -> list[dict[str, Any]]:
    """Its manifests, for one app."""
    found = read_manifests(GUARD)
    for manifest in found:
        if manifest["kind"] == "ConfigMap":
            manifest["data"] |= {"identity": identity, **settings}
    return found


def rights() -> list[dict[str, Any]]:
    """Those of rbac.yaml in one namespace, and for a workload in place; and of people who may do
    anything."""
    roles = [
        role for role in read_manifests(world.MANIFESTS / "rbac.yaml") if role["kind"] == "Role"
    ]
    rules = [rule for role in roles for rule in role["rules"]]
    opted = world.MANIFESTS / "example" / "report.yaml"
    rules += [
        rule for role in read_manifests(opted) if role["kind"] == "Role" for rule in role["rules"]
    ]
    rules.append({"apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["get", "patch"]})
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    group = "rbac.authorization.k8s.io"
    made = [
        _rbac("Role", "credential-rotation", namespace, rules=rules)
        for namespace in (GUARDED, FREE)
    ]
    for namespace in (GUARDED, FREE):
        subject = {"apiGroup": group, "kind": "User", "name": APP.name}
        reference = {"apiGroup": group, "kind": "Role", "name": "credential-rotation"}
        made.append(
            _rbac(
                "RoleBinding",
                "credential-rotation",
                namespace,
                roleRef=reference,
                subjects=[subject],
            )
        )
    reference = {"apiGroup": group, "kind": "ClusterRole", "name": "team"}
    subject = {"apiGroup": group, "kind": "Group", "name": "team"}
    return [
        *made,
        _rbac("ClusterRole", "team", rules=[everything]),
        _rbac("ClusterRoleBinding", "team", roleRef=reference, subjects=[subject]),
    ]


def _rbac(kind: str, name: str, namespace: str | None = None, **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    version = "rbac.authorization.k8s.io/v1"
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def service(name: str, selector: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {"app": "api"}, "annotations": {"theirs": "1"}},
        "spec": {"selector": selector, "ports": [{"name": "http", "port": 80}]},
    }


def deployment(name: str) -> dict[str, Any]:
    slot = name.rpartition("-")[2]
    labels = {"app": "api", "slot": slot}
    containers = [
        {
            "name": "web",
            "image": "orders:1",
            "command": ["serve"],
            "env": [{"name": "ROLE", "value": f"orders_{slot}"}],
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - in a manifest
        },
        {"name": "proxy", "image": "proxy:1"},
    ]
    pod = {
        "containers": containers,
        "initContainers": [
            {"name": "first", "image": "migrate:1", "args": ["keep"]},
            {"name": "second", "image": "migrate:1"},
        ],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "annotations": {"theirs": "1"}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def cron_job(name: str) -> dict[str, Any]:
    template = deployment(name)["spec"]["template"]
    template["spec"]["restartPolicy"] = "Never"
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "annotations": {"theirs": "1"}},
        "spec": {
            "schedule": "0 3 1 1 *",
            "startingDeadlineSeconds": 60,
            "suspend": True,
            "jobTemplate": {"spec": {"template": template}},
        },
    }


def stateful_set(name: str) -> dict[str, Any]:
    made = deployment(name)
    made["kind"] = "StatefulSet"
    made["spec"]["serviceName"] = name
    return made


def secret(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {"app": "api"}},
        "type": "Opaque",
        "stringData": {"password": "former", "host": "pg"},
    }


def objects() -> list[dict[str, Any]]:
    return [
        service("api", {"app": "api", "slot": "blue"}),
        service("api-preview", {"app": "api", "slot": "green"}),
        service("plain", {"app": "plain"}),
        deployment("api-blue"),
        deployment("api-green"),
        cron_job("report-green"),
        secret("orders-db-green"),
        stateful_set("ledger"),
    ]


@dataclass(frozen=True)
class Answer:
    """Status code and message of the API server; an object's document for a success."""

    status: int
    message: str
    document: dict[str, Any]


@dataclass(frozen=True)
class Edge:
    """Both edges of one cluster."""

    traffic: Services
    pods: Deployments
    cron_jobs: ScheduledJobs


class Guarded:
    """`kubeconfigs` by user name. The admin's client makes what is guarded, and ends it."""

    def __init__(self, kubeconfigs: dict[str, Path], *, real: bool) -> None:
        self._kubeconfigs = kubeconfigs
        self._clients: dict[str, Any] = {name: connect(path) for name, path in kubeconfigs.items()}
        self.real = real

    @classmethod
    @contextmanager
    def on_real(cls, plane: ControlPlane) -> Iterator[Guarded]:
        users = (ADMIN, APP, TEAM, RESCUER, REHEARSER)
        found = cls({user.name: plane.kubeconfig(user) for user in users}, real=True)
        with found._set_up():
            yield found

    @classmethod
    @contextmanager
    def on_stand_in(cls, running: Component, tokens: dict[str, str]) -> Iterator[Guarded]:
        own = _path(running, "kubeconfig")
        kubeconfigs = {ADMIN.name: own}
        for name, token in tokens.items():
            kubeconfigs[name] = write_kubeconfig(
                own.with_name(f"kubeconfig-{name}"),
                server=running.url,
                authority=_path(running, "ca"),
                token=token,
                name="local",
            )
        found = cls(kubeconfigs, real=False)
        with found._set_up():
            yield found

    @contextmanager
    def _set_up(self) -> Iterator[None]:
        made = [_namespace(GUARDED, {"credential-rotation/guard": "on"}), _namespace(FREE, {})]
        policies = guard(APP.name)
        try:
            self.apply(*made, *rights(), *policies)
            self.restore()
            wait_until(self._holds, 30, "the policies being in force")
            yield
        finally:
            for manifest in reversed([*policies, *made]):
                self.delete(manifest)
            for client in self._clients.values():
                client.close()

    def _holds(self) -> bool:
        """Each policy denies what it is there for: the API server takes them up one by one."""
        tries = [
            (TEAM, "Service", "api", {"spec": {"selector": {"slot": "green"}}}),
            (APP, "Service", "api", {"spec": {"type": "NodePort"}}),
            (APP, "Service", "api", {"metadata": {"labels": {"a": "b"}}}),
            (APP, "Deployment", "api-blue", {"spec": {"paused": True}}),
            (APP, "Secret", "orders-db-green", {"immutable": True}),
            (APP, "CronJob", "report-green", {"spec": {"schedule": "1 3 1 1 *"}}),
        ]
        return all(
            self.patch(user, kind, name, body, dry_run=True).status == 403
            for user, kind, name, body in tries
        )

    def kubeconfig(self, user: User) -> Path:
        return self._kubeconfigs[user.name]

    def restore(self) -> None:
        """All guarded objects as they were first, made anew."""
        for namespace in (GUARDED, FREE):
            for manifest in objects():
                self.delete(manifest, namespace)
                self.apply(manifest, namespace=namespace)

    def apply(self, *manifests: dict[str, Any], namespace: str = GUARDED) -> None:
        apply(self._clients[ADMIN.name], manifests, namespace=namespace)

    def delete(self, manifest: dict[str, Any], namespace: str = GUARDED) -> None:
        self.request(ADMIN, "DELETE", path_of(manifest, namespace))

    def get(self, kind: str, name: str, namespace: str = GUARDED) -> dict[str, Any]:
        return self.request(ADMIN, "GET", path(kind, name, namespace)).document

    def patch(
        self,
        user: User,
        kind: str,
        name: str,
        body: Any,
        type_: str = "merge",
        *,
        namespace: str = GUARDED,
        dry_run: bool = False,
    ) -> Answer:
        query = "?dryRun=All&" if dry_run else "?"
        query += "fieldManager=test&force=true" if type_ == "apply" else ""
        where = path(kind, name, namespace) + query.rstrip("?&")
        return self.request(user, "PATCH", where, body, TYPES[type_])

    def request(
        self,
        user: User,
        method: str,
        where: str,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Answer:
        client = self._clients[user.name]
        parts = client.param_serialize(
            method,
            where,
            header_params={"Content-Type": content_type, "Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        sent = json.dumps(body) if content_type == TYPES["apply"] else body
        response = client.call_api(*parts[:3], sent).response
        document = json.loads(response.read())
        message = str(document.get("message", "")) if document.get("kind") == "Status" else ""
        return Answer(response.status, message, document)

    def edge(self, user: User = APP) -> Edge:
        """The product's own adapters, signed in as somebody."""
        api = Api("guarded", Cluster(kubeconfig=str(self._kubeconfigs[user.name])), new_password)
        return Edge(Services(api), Deployments(api), ScheduledJobs(api))


def path(kind: str, name: str, namespace: str) -> str:
    versions = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "CronJob": "batch/v1"}
    version = versions.get(kind, "v1")
    return path_of({"apiVersion": version, "kind": kind, "metadata": {"name": name}}, namespace)


def _namespace(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _path(running: Component, fact: str) -> Path:
    return Path(str(running.facts[fact]))
