"""Sole importer of azure.keyvault: secrets and their versions.

The SDK's own retries are off: the orchestrator retries, where the wait is recorded and survives a
restart. Key Vault's error codes: https://learn.microsoft.com/azure/key-vault/general/rest-error-codes
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.keyvault.secrets import SecretClient, SecretProperties

from rotation.errors import Conflict, Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model import SecretVersion
from rotation.secrecy import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from azure.core.credentials import TokenCredential

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
TIMEOUTS = {"connection_timeout": 10, "read_timeout": 30}


class KeyVault:
    """One vault."""

    def __init__(self, url: str, credential: TokenCredential, ca_bundle: str | None) -> None:
        self.url = url
        self._client = SecretClient(
            url,
            credential,
            retry_total=0,
            connection_verify=ca_bundle or True,
            # The check keeps tokens from a foreign host; one on this machine is not foreign, and
            # its name can never match.
            verify_challenge_resource=urlsplit(url).hostname not in LOOPBACK,
            **TIMEOUTS,
        )

    def current(self, secret: str) -> SecretVersion | None:
        try:
            with self._translated("read", secret):
                return _version(self._client.get_secret(secret).properties)
        except Missing:
            return None
        except Conflict:  # disabled: the list tells which version that is
            return next(iter(self.versions(secret)), None)

    def versions(self, secret: str) -> list[SecretVersion]:
        try:
            with self._translated("list the versions of", secret):
                found = list(self._client.list_properties_of_secret_versions(secret))
        except Missing:
            return []
        versions = [_version(properties) for properties in found]
        # Creation times are whole seconds; `current` does not depend on this order.
        return sorted(versions, key=lambda item: str(item.created), reverse=True)

    def value(self, secret: str, version: str) -> Secret:
        with self._translated("read", f"{secret}/{version}" if version else secret):
            return Secret(self._client.get_secret(secret, version).value or "")

    def put(
        self,
        secret: str,
        value: Secret,
        *,
        expires: datetime,
        content_type: str,
        tags: dict[str, str],
    ) -> SecretVersion:
        with self._translated("write", secret):
            written = self._client.set_secret(
                secret, value.reveal(), expires_on=expires, content_type=content_type, tags=tags
            )
        return _version(written.properties)

    def disable(self, secret: str, version: str) -> None:
        with self._translated("disable", f"{secret}/{version}"):
            self._client.update_secret_properties(secret, version, enabled=False)

    @contextmanager
    def _translated(self, verb: str, name: str) -> Iterator[None]:
        """The SDK's texts quote responses and requests: only codes are taken over from them."""
        what = f"Key Vault {self.url} could not {verb} secret {name}"
        try:
            yield
        except ResourceNotFoundError:
            raise Missing(f"{what}: it is not there") from None
        except ClientAuthenticationError as error:
            raise _sign_in(what, error) from None
        except HttpResponseError as error:
            raise _refusal(what, error) from None
        except (ServiceRequestError, ServiceResponseError) as error:
            raise Unavailable(f"{what}: {type(error).__name__}; is it reachable?") from None
        except AzureError as error:
            raise Unavailable(f"{what}: {type(error).__name__}") from None


def _version(properties: SecretProperties) -> SecretVersion:
    return SecretVersion(
        secret=properties.name or "",
        version=properties.version or "",
        enabled=properties.enabled is not False,
        created=properties.created_on,
        expires=properties.expires_on,
        tags=dict(properties.tags or {}),
    )


def _sign_in(what: str, error: ClientAuthenticationError) -> EdgeError:
    if error.status_code is None:  # no token could be had at all
        return Unavailable(f"{what}: no token; check the app's identity (AZURE_CLIENT_ID)")
    return Denied(f"{what}: HTTP {error.status_code}; the vault does not accept our token")


def _refusal(what: str, error: HttpResponseError) -> EdgeError:
    status, code = error.status_code, _inner_code(error)
    if status == 403 and code == "SecretDisabled":
        return Conflict(f"{what}: this version is disabled")
    if status == 403:
        return Denied(
            f"{what}: HTTP 403 {code}; grant the app's identity the role that docs/deploy.md names"
        )
    if status == 409:
        return Conflict(f"{what}: HTTP 409 {code}; it may be deleted and not purged: recover it")
    if status in {408, 429} or status is None or status >= 500:
        return Unavailable(f"{what}: HTTP {status} {code}", retry_after=_retry_after(error))
    return Invalid(f"{what}: HTTP {status} {code}")


def _inner_code(error: HttpResponseError) -> str:
    """`error.innererror.code`, or `error.code`, of the response; codes are fixed words."""
    found = error.error
    if found is None:
        return ""
    inner = getattr(found, "innererror", None) or {}
    return str(inner.get("code") or found.code or "")


def _retry_after(error: HttpResponseError) -> float | None:
    headers = getattr(error.response, "headers", None) or {}
    value = str(headers.get("Retry-After", ""))
    return float(value) if value.isdigit() else None
