"""Secrets Store CSI volumes: secrets of a Key Vault, fetched with the pod identity at mount.

The Azure provider's parameters, and one of our own: `keyvaultUrl` names a vault that is not
below vault.azure.net. Nothing is refreshed while a pod runs, as with the driver's rotation off.
Source: https://azure.github.io/secrets-store-csi-driver-provider-azure/docs/
"""

from __future__ import annotations

import asyncio
import base64
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from local.cluster import kinds
from local.cluster.controllers import controller_of, reference_to
from local.cluster.volumes import MountError, write_file
from local.storage import private_directory

if TYPE_CHECKING:
    from pathlib import Path

    from local.cluster.kinds import Object
    from local.cluster.registry import Registry

DRIVER = "secrets-store.csi.k8s.io"
MANAGED = "secrets-store.csi.k8s.io/managed"


@dataclass(frozen=True)
class Wanted:
    """One object of a SecretProviderClass."""

    name: str
    version: str
    file: str


@dataclass(frozen=True, repr=False)
class Fetched:
    """A secret's value, which must not print, and the version it came from."""

    wanted: Wanted
    version: str
    value: str


class VaultReader:
    """Reads secrets. One client a vault and identity, so that tokens are reused."""

    def __init__(self, authority: Path | None) -> None:
        self._authority = authority
        self._clients: dict[tuple[str, str], Any] = {}

    def read(self, url: str, identity: str, wanted: list[Wanted]) -> list[Fetched]:
        """Blocks. Raises `MountError`."""
        # Only clusters that mount from a vault pay for the SDK's import.
        from azure.core.exceptions import AzureError  # noqa: PLC0415 - see above

        client = self._client(url, identity)
        found = []
        for item in wanted:
            try:
                secret = client.get_secret(item.name, item.version or None)
            except AzureError as error:
                raise MountError(_failure(item, str(error).splitlines()[0])) from error
            found.append(Fetched(item, secret.properties.version, secret.value or ""))
        return found

    def _client(self, url: str, identity: str) -> Any:
        from azure.identity import ManagedIdentityCredential  # noqa: PLC0415 - as above
        from azure.keyvault.secrets import SecretClient  # noqa: PLC0415 - as above

        if not os.environ.get("IDENTITY_ENDPOINT"):
            raise MountError(
                "failed to acquire a token: IDENTITY_ENDPOINT is not set in the cluster's"
                " environment; start the cluster with that of the identity endpoint"
            )
        if (url, identity) not in self._clients:
            verify = str(self._authority) if self._authority else True
            self._clients[url, identity] = SecretClient(
                url,
                ManagedIdentityCredential(client_id=identity or None, retry_total=1),
                connection_verify=verify,
                verify_challenge_resource=False,
                retry_total=1,
                connection_timeout=5,
                read_timeout=10,
            )
        return self._clients[url, identity]


class Csi:
    def __init__(self, registry: Registry, reader: VaultReader) -> None:
        self._registry = registry
        self._reader = reader

    async def mount(self, volume: Object, directory: Path, pod: Object) -> None:
        """Writes the files, records their versions, and makes the Secrets the class asks for.
        Raises `MountError`."""
        provider = self._provider(volume, pod)
        url, identity, wanted = _read_parameters(provider["spec"].get("parameters") or {})
        fetched = await asyncio.to_thread(self._reader.read, url, identity, wanted)
        private_directory(directory)
        for item in fetched:
            write_file(directory, item.wanted.file, item.value.encode())
        self._record(pod, provider, fetched, directory)
        self._make_secrets(pod, provider, fetched)

    def _provider(self, volume: Object, pod: Object) -> Object:
        source = volume["csi"]
        if source.get("driver") != DRIVER:
            raise MountError(f"driver name {source.get('driver')} not found; only {DRIVER} is here")
        name = (source.get("volumeAttributes") or {}).get("secretProviderClass", "")
        namespace = pod["metadata"]["namespace"]
        found = self._registry.store.get(kinds.PROVIDER_CLASS, namespace, name)
        if found is None:
            raise MountError(
                f"failed to get secretproviderclass {namespace}/{name}, error:"
                f' SecretProviderClass.secrets-store.csi.x-k8s.io "{name}" not found'
            )
        if found["spec"].get("provider") != "azure":
            raise MountError(f"provider of secretproviderclass {namespace}/{name} must be azure")
        return found

    def _record(
        self, pod: Object, provider: Object, fetched: list[Fetched], directory: Path
    ) -> None:
        metadata = pod["metadata"]
        class_name = provider["metadata"]["name"]
        name = f"{metadata['name']}-{metadata['namespace']}-{class_name}"
        status = {
            "podName": metadata["name"],
            "secretProviderClassName": class_name,
            "mounted": True,
            "targetPath": str(directory),
            "objects": [
                {"id": f"secret/{item.wanted.name}", "version": item.version} for item in fetched
            ],
        }
        known = self._registry.store.get(
            kinds.PROVIDER_CLASS_POD_STATUS, metadata["namespace"], name
        )
        if known:
            self._registry.modify(
                kinds.PROVIDER_CLASS_POD_STATUS, known, lambda new: new.update(status=status)
            )
            return
        self._registry.create(
            kinds.PROVIDER_CLASS_POD_STATUS,
            {
                "metadata": {
                    "name": name,
                    "namespace": metadata["namespace"],
                    "labels": {
                        "internal.secrets-store.csi.k8s.io/node-name": pod["spec"]["nodeName"]
                    },
                    "ownerReferences": [reference_to(pod) | {"controller": False}],
                },
                "status": status,
            },
        )

    def _make_secrets(self, pod: Object, provider: Object, fetched: list[Fetched]) -> None:
        """`secretObjects`: a Secret is made once and stays as it is, as with rotation off."""
        values = {item.wanted.file: item.value for item in fetched}
        namespace = pod["metadata"]["namespace"]
        for wanted in provider["spec"].get("secretObjects") or []:
            if self._registry.store.get(kinds.SECRET, namespace, wanted["secretName"]) is None:
                self._registry.create(kinds.SECRET, _secret(pod, wanted, values))


def _secret(pod: Object, wanted: Object, values: dict[str, str]) -> Object:
    data = {}
    for item in wanted.get("data") or []:
        if item["objectName"] not in values:
            raise MountError(
                f"file matching objectName {item['objectName']} not found in the mounted volume"
            )
        data[item["key"]] = base64.b64encode(values[item["objectName"]].encode()).decode()
    owner = controller_of(pod) or reference_to(pod)
    return {
        "metadata": {
            "name": wanted["secretName"],
            "namespace": pod["metadata"]["namespace"],
            "labels": {MANAGED: "true", **(wanted.get("labels") or {})},
            "ownerReferences": [{**owner, "controller": False}],
        },
        "type": wanted.get("type", "Opaque"),
        "data": data,
    }


def _read_parameters(parameters: Object) -> tuple[str, str, list[Wanted]]:
    """The vault's URL, the identity's client id, and the objects."""
    name = parameters.get("keyvaultName", "")
    url = parameters.get("keyvaultUrl") or (f"https://{name}.vault.azure.net" if name else "")
    if not url:
        raise MountError("keyvaultName is not set in the parameters of the SecretProviderClass")
    identity = parameters.get("clientID") or parameters.get("userAssignedIdentityID") or ""
    try:
        array = (yaml.safe_load(parameters.get("objects") or "") or {}).get("array") or []
        wanted = [_wanted(yaml.safe_load(item)) for item in array]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise MountError("objects of the SecretProviderClass are not an array of YAML") from error
    return url, identity, wanted


def _wanted(item: Object) -> Wanted:
    if item.get("objectType") != "secret":
        raise MountError(f"objectType {item.get('objectType')} is not available here; use secret")
    name = item["objectName"]
    return Wanted(name, item.get("objectVersion") or "", item.get("objectAlias") or name)


def _failure(item: Wanted, why: str) -> str:
    return (
        "failed to mount secrets store objects for pod: failed to mount objects, error: failed to"
        f" get objectType:secret, objectName:{item.name}, objectVersion:{item.version}: {why}"
    )
