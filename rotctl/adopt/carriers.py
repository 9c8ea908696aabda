"""Which secrets a workload's pods read, and by what: the candidates for the one with the password.

Names alone are looked at. No value of a secret is read anywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import yaml

from rotctl.adopt.original import containers, env, name_of, volumes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotctl.adopt.original import Object, Original

DRIVER = "secrets-store.csi.k8s.io"
# https://azure.github.io/secrets-store-csi-driver-provider-azure/docs/configurations/
SUFFIXES = {
    "": "vault.azure.net",
    "AzurePublicCloud": "vault.azure.net",
    "AzureUSGovernmentCloud": "vault.usgovcloudapi.net",
    "AzureChinaCloud": "vault.azure.cn",
}
PASSWORD = re.compile(r"pass|pwd|_url$|_uri$|[-.]ur[il]$|^ur[il]$|dsn|conn", re.IGNORECASE)
DATABASE = re.compile(r"pg|postgres|db|database|sql", re.IGNORECASE)


@dataclass(frozen=True)
class Carrier:
    """One secret that pods read.

    Either `provider_class` mounts `vault_secret` from `vault`, or it is `kube_secret`, with the key
    in it as far as the pods name one, and what it is filled from in Key Vault as far as manifests
    say. `through` says by what the pods read it.
    """

    through: str
    provider_class: str = ""
    kube_secret: str = ""
    key: str = ""
    vault: str = ""
    vault_secret: str = ""

    @property
    def mounted(self) -> bool:
        return bool(self.provider_class)

    @property
    def named(self) -> str:
        """As the options take it."""
        if self.mounted:
            return self.vault_secret
        return f"{self.kube_secret}/{self.key}" if self.key else self.kube_secret

    @property
    def names(self) -> tuple[str, ...]:
        """All that it is called: by what reads it, and where it comes from."""
        return (*self.through.split(), self.key, self.vault_secret, self.kube_secret)

    def called(self, pattern: re.Pattern[str]) -> bool:
        return any(pattern.search(name) for name in self.names)


def with_key(carrier: Carrier, key: str) -> Carrier:
    """Of a Secret that the pods read as a whole, the key that is meant."""
    return replace(carrier, key=carrier.key or key)


def found(original: Original) -> list[Carrier]:
    """Each secret once, in the order of the pod template; SecretProviderClasses first."""
    every = [*_mounted(original), *_from_secrets(original)]
    first: dict[tuple[str, str], Carrier] = {}
    for one in every:
        first.setdefault((one.provider_class, one.named), one)
    return list(first.values())


def likely(candidates: list[Carrier]) -> list[Carrier]:
    """Those of the best kind there is: a database's password, a password, a database's, any."""
    passwords = [one for one in candidates if one.called(PASSWORD)]
    both = [one for one in passwords if one.called(DATABASE)]
    of_database = [one for one in candidates if one.called(DATABASE)]
    return both or passwords or of_database or candidates


def classes(original: Original) -> list[str]:
    """The SecretProviderClasses that are mounted, whether they were read or not."""
    return [
        str(volume["csi"]["volumeAttributes"]["secretProviderClass"])
        for volume in volumes(original.template)
        if (volume.get("csi") or {}).get("driver") == DRIVER
        and (volume["csi"].get("volumeAttributes") or {}).get("secretProviderClass")
    ]


def objects(provider_class: Object) -> list[Object]:
    """What a SecretProviderClass fetches, as its text says: `objectName`, `objectAlias`."""
    text = ((provider_class.get("spec") or {}).get("parameters") or {}).get("objects") or ""
    listed = (yaml.safe_load(text) or {}).get("array") or []
    read = [yaml.safe_load(one) if isinstance(one, str) else one for one in listed]
    return [one for one in read if isinstance(one, dict) and one.get("objectName")]


def synced(provider_class: Object) -> list[str]:
    """The Kubernetes Secrets that it fills as well."""
    made = (provider_class.get("spec") or {}).get("secretObjects") or []
    return [str(one["secretName"]) for one in made]


def _mounted(original: Original) -> Iterator[Carrier]:
    for name in classes(original):
        made = original.one("SecretProviderClass", name)
        if made is None:
            continue
        parameters = (made.get("spec") or {}).get("parameters") or {}
        suffix = SUFFIXES.get(parameters.get("cloudName") or "", "")
        vault = f"https://{parameters.get('keyvaultName')}.{suffix}" if suffix else ""
        for one in objects(made):
            if one.get("objectType", "secret") == "secret":
                yield Carrier(
                    through=f"SecretProviderClass {name}",
                    provider_class=name,
                    vault=vault,
                    vault_secret=str(one["objectName"]),
                )


def _from_secrets(original: Original) -> Iterator[Carrier]:
    made = [original.one("SecretProviderClass", name) for name in classes(original)]
    filled = {secret for one in made if one is not None for secret in synced(one)}
    for secret, key, through in _references(original.template):
        if secret not in filled:
            vault, vault_secret = _behind(original, secret, key)
            yield Carrier(through, "", secret, key, vault, vault_secret)


def _references(template: Object) -> Iterator[tuple[str, str, str]]:
    """Secret, key ("" where all are read) and what reads it."""
    for container, variable in env(template):
        reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
        if reference:
            through = f"variable {variable['name']} of container {container['name']}"
            yield reference["name"], reference["key"], through
    for container in containers(template):
        for source in container.get("envFrom") or []:
            if source.get("secretRef"):
                yield source["secretRef"]["name"], "", f"envFrom of container {container['name']}"
    for volume in volumes(template):
        sources = (volume.get("projected") or {}).get("sources") or []
        held = [volume["secret"]] if volume.get("secret") else []
        for one in (*held, *(s["secret"] for s in sources if s.get("secret"))):
            name = one.get("secretName") or one.get("name")
            for key in [item["key"] for item in one.get("items") or []] or [""]:
                yield name, key, f"volume {volume['name']}"


def _behind(original: Original, secret: str, key: str) -> tuple[str, str]:
    """Vault and secret that an ExternalSecret fills a Kubernetes Secret from, as far as it says.

    https://external-secrets.io/latest/provider/azure-key-vault/
    """
    for one in original.of("ExternalSecret"):
        spec = one.get("spec") or {}
        target = (spec.get("target") or {}).get("name") or name_of(one)
        if target != secret:
            continue
        data = [d for d in spec.get("data") or [] if not key or d.get("secretKey") == key]
        named = {str(d["remoteRef"]["key"]).removeprefix("secret/") for d in data}
        return _store(original, spec), named.pop() if len(named) == 1 else ""
    return "", ""


def _store(original: Original, spec: Object) -> str:
    reference = spec.get("secretStoreRef") or {}
    store = original.one(reference.get("kind") or "SecretStore", str(reference.get("name")))
    provider = ((store or {}).get("spec") or {}).get("provider") or {}
    return str((provider.get("azurekv") or {}).get("vaultUrl") or "").rstrip("/")
