"""Sole importer of azure.identity: the app's managed identity, or a developer's sign-in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.identity import (
    CredentialUnavailableError,
    DefaultAzureCredential,
    ManagedIdentityCredential,
)

from rotation.edges.bounded import transport
from rotation.model.errors import Denied, Unavailable
from rotation.model.reasons import Code
from rotation.secrecy import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from azure.core.credentials import AccessToken, TokenCredential


class Renewable:
    """A credential that can forget its tokens: the SDK's keeps each until it is about to expire,
    whatever a server says of it. Implements azure-core's `TokenCredential`."""

    def __init__(self, make: Callable[[], TokenCredential]) -> None:
        self._make = make
        self._made: TokenCredential | None = None

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        made = self._made
        if made is None:
            made = self._made = self._make()
        return made.get_token(*scopes, **options)

    def forget(self) -> None:
        self._made = None


class Identity:
    """The identity that the app signs in to Entra with.

    On Azure only the managed identity is tried: a chain would hide why it fails.
    """

    def __init__(self, environment: Mapping[str, str], authority: str) -> None:
        """`authority` is where a developer signs in; AZURE_AUTHORITY_HOST wins over it."""
        client = environment.get("AZURE_CLIENT_ID") or None
        host = environment.get("AZURE_AUTHORITY_HOST") or authority
        managed = bool(environment.get("IDENTITY_ENDPOINT"))
        self.credential = Renewable(
            lambda: _managed(client) if managed else _signed_in(client, host)
        )

    def forget(self) -> None:
        """Forgets all tokens, since a server did not take one: the next ones are fetched anew."""
        self.credential.forget()

    def token(self, scope: str) -> Secret:
        """An access token; azure-identity caches it and refreshes it before it expires.

        Raises `Unavailable`, and `Denied` if the endpoint gives none.
        """
        try:
            return Secret(self.credential.get_token(scope).token)
        except CredentialUnavailableError:
            raise Unavailable(
                Code.IDENTITY_MISSING,
                f"no identity to sign in with for {scope}: assign the managed identity to the app "
                "(AZURE_CLIENT_ID names it), or sign in with `az login` on a developer's machine",
            ) from None
        except ClientAuthenticationError:
            # Its text quotes the identity endpoint's answer, which is not ours to vouch for.
            raise Denied(
                Code.IDENTITY_DENIED,
                f"the identity endpoint gave no token for {scope}; check AZURE_CLIENT_ID and that "
                "the identity is assigned to the app",
            ) from None
        except (AzureError, ValueError, TypeError, AttributeError, RecursionError) as error:
            # All but the first are what the SDK makes of an answer that is none.
            name = type(error).__name__
            text = f"the identity endpoint did not answer for {scope}: {name}"
            raise Unavailable(Code.IDENTITY_UNAVAILABLE, text) from None


def _managed(client: str | None) -> TokenCredential:
    """The credential of the managed identity; the orchestrator retries, not the SDK."""
    return ManagedIdentityCredential(client_id=client, retry_total=0, transport=transport())


def _signed_in(client: str | None, authority: str) -> TokenCredential:
    """The credential of whoever is signed in on this machine."""
    return DefaultAzureCredential(
        managed_identity_client_id=client, authority=authority, retry_total=0
    )
