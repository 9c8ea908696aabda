"""Secrets Store CSI volumes from a real Key Vault process, with the pod identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from azure.identity import ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient

from local.identity import Identity, environment
from local.process import Component, wait_until
from tests.local.cluster.support import Kube, cluster_component, deployment, get, service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKLOAD = Identity.named("workload")
GROUP = "secrets-store.csi.x-k8s.io"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("csi")


@pytest.fixture(scope="module")
def identity(folder: Path) -> Iterator[dict[str, str]]:
    """What a client of the identity endpoint has in its environment."""
    arguments = ("--state", str(folder / "identity"), "--identity", "workload")
    with Component.module("identity", *arguments, log=folder / "identity.log") as component:
        yield environment(folder / "identity", component.url)


@pytest.fixture(scope="module")
def vault(folder: Path, identity: dict[str, str]) -> Iterator[Component]:
    arguments = ("--state", str(folder / "vault"), "--identity-state", str(folder / "identity"))
    with Component.module("keyvault", *arguments, log=folder / "vault.log") as component:
        yield component


@pytest.fixture
def secrets(
    vault: Component, identity: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[SecretClient]:
    for name, value in identity.items():
        monkeypatch.setenv(name, value)
    with (
        ManagedIdentityCredential(client_id=WORKLOAD.client_id) as credential,
        SecretClient(
            vault.url,
            credential,
            connection_verify=str(vault.facts["ca"]),
            verify_challenge_resource=False,
        ) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def mounting(folder: Path, vault: Component, identity: dict[str, str]) -> Iterator[Component]:
    arguments = ("--vault-ca", str(vault.facts["ca"]))
    with cluster_component(folder, *arguments, **identity) as component:
        yield component


@pytest.fixture
def kube(mounting: Component, request: pytest.FixtureRequest) -> Iterator[Kube]:
    kube = Kube(mounting, request.node.name.replace("_", "-")[:40].strip("-"))
    kube.core.create_namespace({"metadata": {"name": kube.namespace}})
    yield kube
    kube.core.delete_namespace(kube.namespace)
    kube.client.close()


def provider(vault: Component, name: str, **spec: Any) -> dict[str, Any]:
    item = f"objectName: {name}\nobjectType: secret\nobjectAlias: password\n"
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "SecretProviderClass",
        "metadata": {"name": "login"},
        "spec": {
            "provider": "azure",
            "parameters": {
                "keyvaultUrl": vault.url,
                "clientID": WORKLOAD.client_id,
                "objects": "array:\n  - |\n    " + item.replace("\n", "\n    "),
            },
            **spec,
        },
    }


def mounting_deployment(**fields: Any) -> dict[str, Any]:
    csi = {
        "driver": "secrets-store.csi.k8s.io",
        "readOnly": True,
        "volumeAttributes": {"secretProviderClass": "login"},
    }
    return deployment(
        "web",
        volumeMounts=[{"name": "login", "mountPath": "/mnt/secrets"}],
        env=[
            {"name": "ECHO", "value": "FILE,PASSWORD"},
            {"name": "FILE", "value": "/mnt/secrets/password"},
            *fields.pop("env", []),
        ],
        pod={"volumes": [{"name": "login", "csi": csi}]},
        **fields,
    )


def test_a_pod_reads_the_newest_version_at_its_start(
    kube: Kube, vault: Component, secrets: SecretClient
) -> None:
    secrets.set_secret("rolled", "first")
    manifest = mounting_deployment()
    kube.apply(provider(vault, "rolled"), manifest, service("web", {"app": "web"}))
    kube.wait_ready("web", 1)
    url = kube.service_url("web")
    path = get(url)["env"]["FILE"]
    assert get(f"{url}/file?path={path}") == "first"
    newest = secrets.set_secret("rolled", "second")
    restart = {"spec": {"template": {"metadata": {"annotations": {"restarted": "1"}}}}}
    kube.apps.patch_namespaced_deployment("web", kube.namespace, restart)
    kube.wait_ready("web", 1)
    path = get(url)["env"]["FILE"]
    assert get(f"{url}/file?path={path}") == "second"
    (pod,) = kube.wait_pods("app=web", 1)
    found = kube.custom.list_namespaced_custom_object(
        GROUP, "v1", kube.namespace, "secretproviderclasspodstatuses"
    )["items"]
    (status,) = [item["status"] for item in found if item["status"]["podName"] == pod.metadata.name]
    assert status["secretProviderClassName"] == "login"
    assert status["objects"] == [{"id": "secret/rolled", "version": newest.properties.version}]


def test_a_secret_that_cannot_be_read_keeps_the_pod_waiting(
    kube: Kube, vault: Component, secrets: SecretClient
) -> None:
    kube.apply(provider(vault, "late"), mounting_deployment())
    wait_until(lambda: kube.events("FailedMount"), 20, "an event about the mount")
    assert "SecretNotFound" in kube.events("FailedMount")[0].message
    assert kube.waiting_reason("app=web") == "ContainerCreating"
    secrets.set_secret("late", "now")
    kube.wait_ready("web", 1)


def test_secret_objects_become_a_secret_for_the_environment(
    kube: Kube, vault: Component, secrets: SecretClient
) -> None:
    secrets.set_secret("synced", "from the vault")
    wanted = {
        "secretName": "synced",
        "type": "Opaque",
        "data": [{"objectName": "password", "key": "pw"}],
    }
    reference = {"secretKeyRef": {"name": "synced", "key": "pw"}}
    kube.apply(
        provider(vault, "synced", secretObjects=[wanted]),
        mounting_deployment(env=[{"name": "PASSWORD", "valueFrom": reference}]),
        service("web", {"app": "web"}),
    )
    kube.wait_ready("web", 1)
    assert get(kube.service_url("web"))["env"]["PASSWORD"] == "from the vault"


def test_a_missing_class_is_named(kube: Kube) -> None:
    kube.apply(mounting_deployment())
    wait_until(lambda: kube.events("FailedMount"), 20, "an event about the mount")
    assert f"{kube.namespace}/login" in kube.events("FailedMount")[0].message
