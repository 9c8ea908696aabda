"""Whether a secret is in the Key Vault: its versions are listed, and no value is read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rotctl.exits import ClientError, Exit

SOON_DAYS = 31


@dataclass(frozen=True)
class Secret:
    """`expires` is that of the newest version which is enabled."""

    exists: bool
    expires: datetime | None = None
    versions: int = 0


def seen(vault: str, secret: str) -> Secret:
    """Raises `ClientError`."""
    try:
        from azure.identity import DefaultAzureCredential
        from azure.keyvault.secrets import SecretClient
    except ImportError as error:
        text = f"a Key Vault cannot be looked at here: {error}"
        cure = "install credential-rotation[rotctl,adopt] with pip, or add --no-vault"
        raise ClientError(text, cure, Exit.USAGE) from None
    with DefaultAzureCredential() as signed_in, SecretClient(vault, signed_in) as client:
        return listed(client, vault, secret)


def listed(client: Any, vault: str, secret: str) -> Secret:
    from azure.core.exceptions import (
        AzureError,
        ClientAuthenticationError,
        HttpResponseError,
        ResourceNotFoundError,
    )

    try:
        versions = list(client.list_properties_of_secret_versions(secret))
    except ResourceNotFoundError:
        return Secret(exists=False)
    except ClientAuthenticationError:
        text = f"nobody is signed in who may look at {vault}"
        raise ClientError(text, "`az login`, or add --no-vault", Exit.NOT_ALLOWED) from None
    except HttpResponseError as error:
        text = f"{vault} does not let you list versions of {secret} ({error.status_code})"
        cure = "ask for `Key Vault Reader`, which shows no value; or add --no-vault"
        raise ClientError(text, cure, Exit.NOT_ALLOWED) from None
    except AzureError:
        text = f"{vault} does not answer"
        raise ClientError(text, "look at --vault, or add --no-vault", Exit.UNREACHABLE) from None
    enabled = [one for one in versions if one.enabled]
    newest = max(enabled, key=lambda one: one.created_on, default=None)
    return Secret(bool(enabled), newest.expires_on if newest else None, len(versions))


def told(found: Secret, secret: str) -> list[str]:
    """What is worth knowing of the live secret."""
    if not found.exists:
        return [f"Key Vault has no {secret} that is enabled: the move about Secrets puts it there."]
    if found.expires is None:
        return [f"{secret} has no expiry date: nothing announces its first rotation."]
    days = (found.expires - datetime.now(UTC)).days
    return [f"{secret} expires in {days} days."] if days < SOON_DAYS else []
