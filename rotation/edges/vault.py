"""Sole importer of azure.keyvault: secrets and their versions.

The SDK's own retries are off: the orchestrator retries, where the wait is recorded and survives a
restart. Key Vault's error codes: https://learn.microsoft.com/azure/key-vault/general/rest-error-codes
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.core.rest import HttpRequest
from azure.keyvault.secrets import SecretClient, SecretProperties

from rotation.edges import bounded, http_status
from rotation.edges.bounded import transport, within
from rotation.model.errors import Conflict, Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model.preconditions import VaultStanding
from rotation.model.reasons import Code
from rotation.model.world import SecretVersion
from rotation.secrecy import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from azure.core.credentials import TokenCredential

    from rotation.model.targets import SecretTarget

VERSION = re.compile(r"[0-9A-Za-z]{1,64}", re.ASCII)
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
CODES = http_status.Codes(
    unavailable=Code.VAULT_UNAVAILABLE,
    denied=Code.VAULT_REFUSED,
    missing=Code.VAULT_MISSING,
    conflict=Code.VAULT_CONFLICT,
    invalid=Code.VAULT_ERROR,
    token=Code.VAULT_TOKEN,
)
# What Key Vault names as the cause of its 403s; all others are `CODES.denied`.
DENIED = {
    "AccessDenied": Code.VAULT_POLICY,
    "ForbiddenByConnection": Code.VAULT_PRIVATE,
    "ForbiddenByFirewall": Code.VAULT_FIREWALL,
    "ForbiddenByPolicy": Code.VAULT_POLICY,
    "ForbiddenByRbac": Code.VAULT_DENIED,
}
# https://learn.microsoft.com/azure/key-vault/general/rest-error-codes
KNOWN = {
    "AccessDenied", "BadParameter", "Conflict", "Forbidden", "ForbiddenByConnection",
    "ForbiddenByFirewall", "ForbiddenByPolicy", "ForbiddenByRbac", "InternalServerError",
    "ObjectIsBeingDeleted", "ObjectIsBeingRecovered", "ObjectIsDeletedButRecoverable",
    "SecretDisabled", "SecretNotFound", "Throttled", "Unauthorized", "VaultNotFound",
}  # fmt: skip


# Of a 403 those that are about the caller's rights, and not about where the call comes from.
RIGHTS = {"AccessDenied", "ForbiddenByPolicy", "ForbiddenByRbac"}
# Without a value, and with a content type longer than the 255 characters that Key Vault takes: a
# body that can make no version, for two reasons.
UNACCEPTABLE = {"contentType": "x" * 256, "attributes": {"enabled": False}}


# What is final is http_status.FINAL, but for conflicts that end by themselves.
UNDER_WAY = {"ObjectIsBeingDeleted", "ObjectIsBeingRecovered"}


class KeyVault:
    """Implements `contracts.vault.Vault`.

    `refused` hears that the vault did not take the credential's token.
    """

    def __init__(
        self,
        url: str,
        credential: TokenCredential,
        ca_bundle: str | None,
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        self.url = url
        self._refused = refused
        self._client = SecretClient(
            url,
            credential,
            retry_total=0,
            transport=transport(ca_bundle),
            # The check keeps tokens from a foreign host; one on this machine is not foreign, and
            # its name can never match.
            verify_challenge_resource=urlsplit(url).hostname not in LOOPBACK,
        )

    def current(self, secret: SecretTarget) -> SecretVersion | None:
        try:
            with self._translated("read", secret):
                return _version(secret, self._client.get_secret(secret.name).properties)
        except Missing:
            return None
        except Conflict:
            # It is disabled: the list tells which version that is, one of its newest second.
            versions = self.versions(secret)
            newest = [version for version in versions if version.created == versions[0].created]
            return min(newest, key=lambda version: version.enabled, default=None)

    def versions(self, secret: SecretTarget) -> list[SecretVersion]:
        try:
            # One deadline for all pages: each may name another one, for ever.
            with self._translated("list the versions of", secret), within(bounded.LONGEST):
                listed = self._client.list_properties_of_secret_versions(secret.name)
                versions = [_version(secret, properties) for properties in listed]
        except Missing:
            return []
        # Creation times are whole seconds: versions of one second come in any order.
        return sorted(versions, key=lambda item: str(item.created), reverse=True)

    def value(self, secret: SecretTarget) -> Secret:
        with self._translated("read", secret):
            return Secret(self._client.get_secret(secret.name, secret.version or "").value or "")

    def standing(self, secret: SecretTarget) -> VaultStanding:
        """Puts what can never be accepted: 403 is about the right to put, and 400 about the body.

        That Key Vault looks at rights first is what its answers suggest, and is documented nowhere:
        a 400 is no proof of the right, a 403 is one of its absence.
        """
        request = HttpRequest("PUT", f"{self.url}/secrets/{secret.name}", json=UNACCEPTABLE)
        with self._translated("be asked about writing", secret):
            answer = self._client.send_request(request)
            clock = http_status.clock(answer.headers.get("Date"))
            error = HttpResponseError(response=answer)
            code = _inner_code(error)
            if answer.status_code == 403 and code in RIGHTS:
                return VaultStanding(may_set=False, clock=clock)
            if answer.status_code == 400:
                return VaultStanding(may_set=True if code == "BadParameter" else None, clock=clock)
            if answer.status_code == 401:
                raise ClientAuthenticationError(response=answer)
            if answer.status_code >= 400:
                raise error
        text = f"Key Vault {self.url} took a secret {secret} without a value"
        raise Invalid(Code.VAULT_ERROR, f"{text}; what answers is no Key Vault")

    def put(
        self,
        secret: SecretTarget,
        value: Secret,
        *,
        expires: datetime,
        content_type: str,
        tags: dict[str, str],
    ) -> SecretVersion:
        with self._translated("write", secret):
            written = self._client.set_secret(
                secret.name,
                value.reveal(),
                expires_on=expires,
                content_type=content_type,
                tags=tags,
            )
            return _version(secret, written.properties)

    def disable(self, secret: SecretTarget) -> None:
        with self._translated("disable", secret):
            self._client.update_secret_properties(secret.name, secret.version, enabled=False)

    @contextmanager
    def _translated(self, verb: str, secret: SecretTarget) -> Iterator[None]:
        """Turns what the SDK raises in here into an `EdgeError` that says what was tried.

        The SDK's texts quote responses and requests: only codes are taken over from them.
        """
        what = f"Key Vault {self.url} could not {verb} secret {secret}"
        try:
            yield
        except ResourceNotFoundError:
            raise Missing(Code.VAULT_MISSING, f"{what}: it is not there") from None
        except ClientAuthenticationError as error:
            if error.status_code is not None:
                self._refused()
            raise _not_signed_in(what, error) from None
        except HttpResponseError as error:
            raise _refused(what, error) from None
        except AzureError as error:
            text = f"{what}: {type(error).__name__}"
            raise Unavailable(Code.VAULT_UNAVAILABLE, text) from None
        except (ValueError, RecursionError, TypeError, AttributeError) as error:
            # What the SDK makes of an answer that is none of a vault's: a proxy's, perhaps.
            text = f"{what}: {type(error).__name__}; what answers is no Key Vault"
            raise Unavailable(Code.VAULT_ERROR, text) from None


def _version(asked: SecretTarget, properties: SecretProperties) -> SecretVersion:
    """A version of the secret that was asked for, made from the SDK's properties of it.

    Raises `ValueError` for one that is none: its name would stand in records, and what the SDK
    cannot read as a time it leaves as it came.
    """
    version = properties.version or ""
    if not VERSION.fullmatch(version):
        raise ValueError("not the name of a version")
    if not all(
        time is None or isinstance(time, datetime)
        for time in (properties.created_on, properties.expires_on)
    ):
        raise ValueError("not a time")
    return SecretVersion(
        secret=asked.name,
        version=version,
        enabled=properties.enabled is not False,
        created=properties.created_on,
        expires=properties.expires_on,
        tags=dict(properties.tags or {}),
        content_type=properties.content_type,
    )


def _not_signed_in(what: str, error: ClientAuthenticationError) -> EdgeError:
    """The error for a call without a token, or with one that the vault does not accept."""
    if error.status_code is None:  # no token could be had at all
        text = f"{what}: no token; {Code.IDENTITY_MISSING.remedy}"
        return Unavailable(Code.IDENTITY_MISSING, text)
    text = f"{what}: HTTP {error.status_code}; the vault does not accept our token"
    return Denied(Code.VAULT_TOKEN, text)


def _refused(what: str, error: HttpResponseError) -> EdgeError:
    """The error for a call that the vault refused."""
    status, code = error.status_code, _inner_code(error)
    if status == 403 and code == "SecretDisabled":
        return Conflict(Code.VAULT_DISABLED, f"{what}: this version is disabled")
    headers = getattr(error.response, "headers", None) or {}
    text = f"{what}: HTTP {status} {code}".rstrip()  # not every vault names a code
    if code in UNDER_WAY:
        return Unavailable(Code.VAULT_CONFLICT, text)
    if status == 403 and code in DENIED:
        cause = DENIED[code]
        return Denied(cause, f"{text}; {cause.remedy}")
    if status == 409:
        text += "; it may be deleted and not purged: recover it"
    return http_status.error(CODES, text, status, str(headers.get("Retry-After", "")))


def _inner_code(error: HttpResponseError) -> str:
    """The code in a response, `error.innererror.code` or `error.code`, the first that is known;
    empty without one. Whoever answers in a vault's name may write anything there."""
    details = error.error
    if details is None:
        return ""
    inner = getattr(details, "innererror", None)
    codes = (inner.get("code") if isinstance(inner, dict) else None, details.code)
    return next((code for code in codes if isinstance(code, str) and code in KNOWN), "")
