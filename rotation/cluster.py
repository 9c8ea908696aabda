"""Sole importer of kubernetes: the few objects that a rotation reads and changes.

Everything here needs just the verbs of infra/kubernetes/rbac.yaml. Errors take over status,
reason and field names from the API server, and not its messages: those can quote what was sent.
"""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, unquote

import urllib3
from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.config import load_kube_config

from rotation.errors import Conflict, Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model import Answer, Deployment, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rotation import config
    from rotation.secrecy import Secret

VERSION = "credential-rotation/secret-version"
SEAL = "credential-rotation/went-back"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
TIMEOUT = (10.0, 30.0)  # seconds to connect, to read
LONGEST_BODY = 64 * 1024


class Kubernetes:
    """One API server. `authenticate` gives an Entra token for AKS, cached and refreshed."""

    def __init__(
        self, name: str, settings: config.Cluster, authenticate: Callable[[], Secret]
    ) -> None:
        self._name = name
        self._client = _client(name, settings, authenticate)
        self._core = client.CoreV1Api(self._client)
        self._apps = client.AppsV1Api(self._client)

    def service(self, namespace: str, name: str, label: str) -> Service | None:
        try:
            with self._translated("read", f"Service {namespace}/{name}"):
                found = self._core.read_namespaced_service(
                    name, namespace, _request_timeout=TIMEOUT
                )
        except Missing:
            return None
        spec = found.spec
        ports = (spec.ports if spec else None) or []
        port = str(ports[0].name or ports[0].port) if ports else ""
        slot = ((spec.selector if spec else None) or {}).get(label)
        revision = _resource_version(found.metadata)
        return Service(namespace=namespace, name=name, slot=slot, port=port, revision=revision)

    def deployment(self, namespace: str, name: str) -> Deployment | None:
        try:
            with self._translated("read", f"Deployment {namespace}/{name}"):
                return _deployment(
                    self._apps.read_namespaced_deployment(name, namespace, _request_timeout=TIMEOUT)
                )
        except Missing:
            return None

    def pods(self, namespace: str, deployment: str) -> list[str]:
        names, _ = self._pods(namespace, self._selector(namespace, deployment))
        return sorted(names)

    def put_secret(self, namespace: str, name: str, key: str, value: Secret, version: str) -> None:
        """The Kubernetes Secret must exist: the right to create one cannot be limited to a name."""
        encoded = base64.b64encode(value.reveal().encode()).decode()
        body = {"metadata": {"annotations": {VERSION: version}}, "data": {key: encoded}}
        with self._translated("write", f"Secret {namespace}/{name}"):
            self._core.patch_namespaced_secret(
                name, namespace, body, _content_type=MERGE, _request_timeout=TIMEOUT
            )

    def start(
        self, namespace: str, name: str, *, replicas: int, images: dict[str, str], version: str
    ) -> None:
        pod = {"metadata": {"annotations": {VERSION: version}}, "spec": _containers(images)}
        body = {"spec": {"replicas": replicas, "template": pod}}
        self._patch_deployment("start", namespace, name, body)

    def scale(self, namespace: str, name: str, replicas: int) -> None:
        self._patch_deployment("scale", namespace, name, {"spec": {"replicas": replicas}})

    def _patch_deployment(self, verb: str, namespace: str, name: str, body: dict[str, Any]) -> None:
        with self._translated(verb, f"Deployment {namespace}/{name}"):
            self._apps.patch_namespaced_deployment(
                name, namespace, body, _content_type=STRATEGIC, _request_timeout=TIMEOUT
            )

    def watch_deployment(
        self, namespace: str, name: str, until: Callable[[Deployment], bool], seconds: float
    ) -> Deployment:
        what = f"Deployment {namespace}/{name}"
        with self._translated("watch", what):
            found = self._apps.read_namespaced_deployment(name, namespace, _request_timeout=TIMEOUT)
            if until(_deployment(found)):
                return _deployment(found)
            for event in self._watch(
                self._apps.list_namespaced_deployment,
                namespace,
                seconds,
                field_selector=f"metadata.name={name}",
                resource_version=_resource_version(found.metadata),
            ):
                if event["type"] == "DELETED":
                    raise Missing(f"cluster {self._name}: {what} was deleted")
                found = event["object"]
                if until(_deployment(found)):
                    break
            return _deployment(found)

    def watch_gone(self, namespace: str, name: str, seconds: float) -> list[str]:
        selector = self._selector(namespace, name)
        names, version = self._pods(namespace, selector)
        if not names:
            return []
        with self._translated("watch", f"the pods of Deployment {namespace}/{name}"):
            for event in self._watch(
                self._core.list_namespaced_pod,
                namespace,
                seconds,
                label_selector=selector,
                resource_version=version,
            ):
                pod = event["object"].metadata.name
                if event["type"] == "DELETED":
                    names.discard(pod)
                else:
                    names.add(pod)
                if not names:
                    break
        return sorted(names)

    def select(
        self,
        namespace: str,
        name: str,
        label: str,
        expected: str,
        slot: str,
        *,
        revision: str | None = None,
    ) -> None:
        path = "/spec/selector/" + label.replace("~", "~0").replace("/", "~1")
        body: list[dict[str, Any]] = [
            {"op": "test", "path": path, "value": expected},
            {"op": "replace", "path": path, "value": slot},
        ]
        if revision is not None:
            body.insert(0, {"op": "test", "path": "/metadata/resourceVersion", "value": revision})
        try:
            with self._translated("select a slot in", f"Service {namespace}/{name}"):
                self._core.patch_namespaced_service(
                    name, namespace, body, _content_type=JSON_PATCH, _request_timeout=TIMEOUT
                )
        except (Invalid, Conflict):
            self._accept(self.service(namespace, name, label), name, expected, slot)

    def seal(self, namespace: str, name: str, token: str) -> None:
        body = {"metadata": {"annotations": {SEAL: token}}}
        with self._translated("seal", f"Service {namespace}/{name}"):
            self._core.patch_namespaced_service(
                name, namespace, body, _content_type=MERGE, _request_timeout=TIMEOUT
            )

    def _accept(self, found: Service | None, name: str, expected: str, slot: str) -> None:
        """After a failed `test`: fine if it is where it should go, a conflict otherwise."""
        if found is None:
            raise Missing(f"cluster {self._name}: Service {name} is not there")
        if found.slot == expected:
            raise Unavailable(
                f"cluster {self._name}: Service {found.namespace}/{name} was changed meanwhile; "
                "it has to be looked at anew"
            )
        if found.slot != slot:
            raise Conflict(
                f"cluster {self._name}: Service {found.namespace}/{name} selects {found.slot}, "
                f"not {expected}; somebody else changed it"
            )

    def fetch(self, service: Service, path: str, timeout: float) -> Answer:
        route, _, query = path.partition("?")
        what = f"Service {service.namespace}/{service.name} at {path}"
        if {".", ".."} & set(unquote(route).split("/")):
            # The configuration refuses such a path, but a role's name in it may be dots too.
            raise Invalid(f"cluster {self._name}: {what}: dots would lead out of its proxy")
        where = f"/api/v1/namespaces/{service.namespace}/services"
        url = f"{where}/http:{service.name}:{service.port}/proxy{quote(route, safe='/%:@')}"
        with self._translated("reach", what):
            # Serialised by hand: the generated method escapes the slashes of the path.
            method, address, headers, body, form = self._client.param_serialize(
                "GET", url, auth_settings=["BearerToken"], header_params={"Accept": "*/*"}
            )
            answer = self._client.call_api(
                method,
                f"{address}?{query}" if query else address,
                headers,
                body,
                form,
                _request_timeout=timeout,
            ).response
            document = answer.read(LONGEST_BODY)
            answer.release_conn()
        _raise_own_status(what, answer.status, document)
        return Answer(answer.status, document)

    def _selector(self, namespace: str, name: str) -> str:
        with self._translated("read", f"Deployment {namespace}/{name}"):
            found = self._apps.read_namespaced_deployment(name, namespace, _request_timeout=TIMEOUT)
        labels = found.spec.selector.match_labels
        if not labels:
            raise Invalid(f"Deployment {namespace}/{name} selects its pods by no matchLabels")
        return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))

    def _pods(self, namespace: str, selector: str) -> tuple[set[str], str]:
        with self._translated("list pods in", f"namespace {namespace}"):
            found = self._core.list_namespaced_pod(
                namespace, label_selector=selector, _request_timeout=TIMEOUT
            )
        names = {str(pod.metadata.name) for pod in found.items if pod.metadata}
        return names, _resource_version(found.metadata)

    def _watch(
        self, listing: Any, namespace: str, seconds: float, **selection: str
    ) -> Iterator[dict[str, Any]]:
        """Ends after `seconds`, or early when the API server ends it: the caller repeats."""
        follow: Any = watch.Watch
        stream = follow().stream(
            listing,
            namespace,
            timeout_seconds=max(1, int(seconds)),
            _request_timeout=(TIMEOUT[0], seconds + TIMEOUT[1]),
            **selection,
        )
        try:
            yield from cast("Iterator[dict[str, Any]]", stream)
        except ApiException as error:
            if error.status != 410:  # the history we asked from is gone
                raise

    @contextmanager
    def _translated(self, verb: str, thing: str) -> Iterator[None]:
        what = f"cluster {self._name} could not {verb} {thing}"
        try:
            yield
        except ApiException as error:
            raise _refusal(what, error) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"{what}: {type(error).__name__}; is its API reachable?") from None


def _client(
    name: str, settings: config.Cluster, authenticate: Callable[[], Secret]
) -> client.ApiClient:
    # The orchestrator repeats: urllib3 would sleep for as long as a Retry-After says.
    configuration = client.Configuration(retries=False)
    if settings.kubeconfig is not None:
        _read_kubeconfig(name, settings.kubeconfig, settings.context, configuration)
        return client.ApiClient(configuration)
    configuration.host = settings.server or ""
    _trust(configuration, settings.certificate_authority)

    def refresh(current: client.Configuration) -> None:
        current.api_key["BearerToken"] = f"Bearer {authenticate().reveal()}"

    # The SDK annotates the attribute as None.
    configuration.refresh_api_key_hook = refresh  # type: ignore[assignment]
    # The hook runs only where a key is set already; this one never leaves.
    configuration.api_key["BearerToken"] = "unset"
    return client.ApiClient(configuration)


def _read_kubeconfig(
    name: str, path: str, context: str | None, configuration: client.Configuration
) -> None:
    load: Callable[..., None] = load_kube_config
    try:
        load(path, context, client_configuration=configuration, persist_config=False)
    except Exception as error:  # noqa: BLE001 - of a file that is not one, the SDK raises anything
        raise Invalid(
            f"cluster {name}: kubeconfig {path} cannot be used: "
            f"{type(error).__name__}; check the path and the context"
        ) from None


def _trust(configuration: client.Configuration, authority: str | None) -> None:
    if authority is None:
        return
    if authority.lstrip().startswith("-----BEGIN"):
        configuration.ca_cert_data = authority
        return
    if not _is_file(authority):
        raise Invalid(f"certificateAuthority {authority} is neither PEM text nor a file")
    configuration.ssl_ca_cert = authority


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # too long for a path
        return False


def _deployment(found: client.V1Deployment) -> Deployment:
    metadata, spec = found.metadata, found.spec
    status = found.status or client.V1DeploymentStatus()
    if metadata is None or spec is None:
        raise Invalid("the API server answered a Deployment without metadata or spec")
    labelled = spec.template.metadata or client.V1ObjectMeta()
    return Deployment(
        namespace=str(metadata.namespace),
        name=str(metadata.name),
        replicas=1 if spec.replicas is None else spec.replicas,
        ready=status.ready_replicas or 0,
        updated=status.updated_replicas or 0,
        total=status.replicas or 0,
        observed=(status.observed_generation or 0) >= (metadata.generation or 0),
        images=_images(spec.template.spec),
        version=(labelled.annotations or {}).get(VERSION),
        failure=_failure(status),
    )


def _images(pod: client.V1PodSpec | None) -> dict[str, str]:
    if pod is None:
        return {}
    images = {container.name: container.image or "" for container in pod.containers}
    for container in pod.init_containers or []:
        images[f"init:{container.name}"] = container.image or ""
    return images


def _containers(images: dict[str, str]) -> dict[str, Any]:
    """The reverse of `_images`, as a strategic merge patch (containers merge by name)."""
    containers: dict[str, list[dict[str, str]]] = {}
    for key, image in images.items():
        kind = "initContainers" if key.startswith("init:") else "containers"
        name = key.removeprefix("init:")
        containers.setdefault(kind, []).append({"name": name, "image": image})
    return containers


def _failure(status: client.V1DeploymentStatus) -> str | None:
    for condition in status.conditions or []:
        if condition.type == "Progressing" and condition.status == "False":
            return str(condition.reason or "not progressing")
        if condition.type == "ReplicaFailure" and condition.status == "True":
            return str(condition.reason or "replica failure")
    return None


def _resource_version(metadata: Any) -> str:
    return str(metadata.resource_version or "0")


def _raise_own_status(what: str, status: int, document: bytes) -> None:
    """Tells the API server's own refusal from an answer of the workload with the same status."""
    if status < 400:
        return
    try:
        found = json.loads(document)
    except ValueError:
        return
    if isinstance(found, dict) and found.get("kind") == "Status" and "apiVersion" in found:
        raise _by_status(what, status, str(found.get("reason") or ""), None)


def _refusal(what: str, error: ApiException) -> EdgeError:
    try:
        document = json.loads(error.body or "")
    except ValueError:
        document = {}
    # Of a failed TLS handshake the SDK makes a status 0 with the handshake's text.
    reason = str(document.get("reason") or error.reason or "").partition("\n")[0]
    causes = (document.get("details") or {}).get("causes") or []
    fields = ", ".join(sorted({str(cause.get("field")) for cause in causes}))
    headers = error.headers or {}
    return _by_status(
        what, int(error.status or 0), f"{reason} {fields}".strip(), headers.get("Retry-After")
    )


def _by_status(what: str, status: int, reason: str, retry_after: str | None) -> EdgeError:
    text = f"{what}: HTTP {status} {reason}".rstrip()
    if status == 401:
        return Denied(f"{text}; the API server does not accept our token")
    if status == 403:
        return Denied(f"{text}; apply infra/kubernetes/rbac.yaml in its namespace")
    if status == 404:
        return Missing(text)
    if status == 409:
        return Conflict(text)
    if status in {408, 429} or status >= 500 or status == 0:
        wait = float(retry_after) if retry_after and retry_after.isdecimal() else None
        hint = "" if status else "; is its API reachable, and its authority the right one?"
        return Unavailable(f"{text}{hint}", retry_after=wait)
    return Invalid(text)
