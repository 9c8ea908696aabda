"""A running cluster as tests use it, and the manifests they apply to it."""

from __future__ import annotations

import http.client
import json
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kubernetes.client import AppsV1Api, BatchV1Api, CoreV1Api, CustomObjectsApi
from kubernetes.watch import Watch

from local.cluster.client import apply, connect
from local.process import Component, wait_until

if TYPE_CHECKING:
    from collections.abc import Generator

ECHO = "echo:1.0"
ADMIN_KEY = "key-of-the-tests"
Manifest = dict[str, Any]


def cluster_component(folder: Path, *arguments: str, **env: str) -> Component:
    images = folder / "images.json"
    script = str(Path(__file__).with_name("echo_app.py"))
    images.write_text(json.dumps({ECHO: ["python", script], "shell:1": ["sh"]}), encoding="utf-8")
    return Component.module(
        "cluster",
        *("--state", str(folder / "state"), "--images", str(images)),
        *arguments,
        log=folder / "cluster.log",
        env={"LOCAL_ADMIN_KEY": ADMIN_KEY, **env},
    )


class Kube:
    """One cluster and one namespace of it."""

    def __init__(
        self, component: Component, namespace: str, kubeconfig: Path | None = None
    ) -> None:
        self.component = component
        self.namespace = namespace
        self.client: Any = connect(kubeconfig or Path(str(component.facts["kubeconfig"])))
        # Not typed: the SDK's models say None for every field that a stored object has.
        self.core: Any = CoreV1Api(self.client)
        self.apps: Any = AppsV1Api(self.client)
        self.batch: Any = BatchV1Api(self.client)
        self.custom: Any = CustomObjectsApi(self.client)

    def apply(self, *manifests: Manifest) -> list[Manifest]:
        return apply(self.client, manifests, namespace=self.namespace)

    def raw(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Status and decoded JSON (or text) of a request as curl would make it."""
        address = urlsplit(self.component.url)
        context = ssl.create_default_context(cafile=str(self.component.facts["ca"]))
        connection = http.client.HTTPSConnection(address.netloc, context=context, timeout=20)
        sent = {"Authorization": self.client.configuration.api_key["BearerToken"], **headers}
        sent = {name.replace("_", "-"): value for name, value in sent.items()}
        content = None if body is None else json.dumps(body)
        connection.request(method, path, body=content, headers=sent)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        is_json = "json" in (response.getheader("Content-Type") or "") and "watch=1" not in path
        return response.status, json.loads(text) if is_json else text

    def path(self, rest: str, group: str = "") -> str:
        prefix = f"/apis/{group}/v1" if group else "/api/v1"
        return f"{prefix}/namespaces/{self.namespace}/{rest}"

    def deployment(self, name: str) -> Any:
        return self.apps.read_namespaced_deployment(name, self.namespace)

    def wait_ready(self, name: str, replicas: int) -> None:
        def ready() -> bool:
            found = self.deployment(name)
            status = found.status
            return (
                status is not None
                and status.observed_generation == found.metadata.generation
                and (status.ready_replicas or 0) == replicas
                and (status.updated_replicas or 0) == replicas
                and (status.replicas or 0) == replicas
            )

        wait_until(ready, 20, f"{replicas} ready pods of {name}")

    def pods(self, label: str = "") -> list[Any]:
        found = self.core.list_namespaced_pod(self.namespace, label_selector=label)
        return list(found.items)

    def wait_pods(self, label: str, count: int) -> list[Any]:
        wait_until(lambda: len(self.pods(label)) == count, 20, f"{count} pods of {label}")
        return self.pods(label)

    def waiting_reason(self, label: str) -> str:
        for pod in self.pods(label):
            # A pod that was just made has no status yet.
            for status in (pod.status and pod.status.container_statuses) or []:
                if status.state.waiting:
                    return str(status.state.waiting.reason)
        return ""

    def wait_reason(self, label: str, reason: str) -> None:
        wait_until(lambda: self.waiting_reason(label) == reason, 20, f"{reason} of {label}")

    def service_url(self, name: str, port: str = "http") -> str:
        service = self.core.read_namespaced_service(name, self.namespace)
        local = service.metadata.annotations[f"local/port.{port}"]
        return f"http://127.0.0.1:{local}"

    def events(self, reason: str) -> list[Any]:
        found = self.core.list_namespaced_event(self.namespace, field_selector=f"reason={reason}")
        return list(found.items)


def get(url: str) -> Any:
    """JSON, or text, over a connection of its own."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - an http URL
            text = response.read().decode()
    except urllib.error.HTTPError as error:
        error.close()
        raise
    return json.loads(text) if text.startswith("{") else text


def watching(*call: Any, **options: Any) -> Generator[Any, None, None]:
    """The events of the SDK's own watch."""
    watch: Any = Watch
    yield from watch().stream(*call, **options)


def container(**fields: Any) -> Manifest:
    return {
        "name": "web",
        "image": ECHO,
        "ports": [{"containerPort": 8080, "name": "http"}],
        "readinessProbe": {
            "httpGet": {"path": "/healthz", "port": "http"},
            "periodSeconds": 1,
            "failureThreshold": 1,
        },
        **fields,
    }


def deployment(
    name: str,
    replicas: int = 1,
    *,
    labels: dict[str, str] | None = None,
    pod: Manifest | None = None,
    spec: Manifest | None = None,
    **fields: Any,
) -> Manifest:
    """A Deployment of the echo server; `fields` go to its container, `pod` to its pod spec."""
    selector = {"app": name}
    template = {
        "metadata": {"labels": {**selector, **(labels or {})}},
        "spec": {
            "containers": [container(**fields)],
            "terminationGracePeriodSeconds": 5,
            **(pod or {}),
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": selector},
            "template": template,
            **(spec or {}),
        },
    }


def service(name: str, selector: dict[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": selector,
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def secret(name: str, **values: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": values,
    }


PYTHON = sys.executable
