"""Sole importer of azure.identity: the app's managed identity, or a developer's sign-in."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError, ClientAuthenticationError, DecodeError
from azure.identity import (
    CredentialUnavailableError,
    DefaultAzureCredential,
    ManagedIdentityCredential,
)

from rotation.edges.bounded import transport
from rotation.model.errors import Denied, EdgeError, Unavailable
from rotation.model.reasons import Code
from rotation.secrecy import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from azure.core.credentials import AccessToken, TokenCredential

NOT_ASSIGNED = "Managed Identity found"  # "No User Assigned or Delegated ... for specified ..."


class Heard(threading.local):
    """The status of the last answer of the identity endpoint, in this thread: the SDK keeps it to
    itself, or forgets it where the answer was no JSON. None: there was no answer."""

    status: int | None = None

    def hear(self, response: Any) -> None:
        self.status = response.http_response.status_code


class Renewable:
    """A credential that can forget its tokens: the SDK's keeps each until it is about to expire,
    whatever a server says of it. Implements azure-core's `TokenCredential`.

    Raises what the SDK raises, which is what telemetry's exporters expect.
    """

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


class Telling:
    """A credential that raises `EdgeError`, for the clients of our edges.

    What goes wrong at the identity endpoint is then no fault of the vault or topic that a token was
    for. Implements azure-core's `TokenCredential`.
    """

    def __init__(self, credential: Renewable, heard: Heard) -> None:
        self._credential = credential
        self._heard = heard

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        self._heard.status = None
        what = f"no token for {' '.join(scopes)}"
        try:
            access_token = self._credential.get_token(*scopes, **options)
        except CredentialUnavailableError as error:
            raise _unavailable(what, self._heard.status, str(error)) from None
        except (DecodeError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
            # What the SDK makes of an answer that is none of an identity endpoint's.
            raise _unreadable(what, self._heard.status) from None
        except ClientAuthenticationError as error:
            # Its text quotes the identity endpoint's answer, which is not ours to vouch for.
            raise _denied(what, self._heard.status, type(error).__name__) from None
        except AzureError as error:
            text = f"{what}: the identity endpoint did not answer: {type(error).__name__}"
            raise Unavailable(Code.IDENTITY_UNAVAILABLE, text) from None
        given: Any = access_token.token  # the SDK takes whatever stands there
        if not isinstance(given, str):
            raise _unreadable(what, self._heard.status)
        return access_token


def _unavailable(what: str, status: int | None, text: str) -> EdgeError:
    """The error for an endpoint that gave no token; `text` is the SDK's, with the endpoint's words
    in it, of which only a known one is looked for.

    https://learn.microsoft.com/azure/app-service/overview-managed-identity
    """
    if status is None or (status == 400 and NOT_ASSIGNED in text):
        return Unavailable(Code.IDENTITY_MISSING, f"{what}: {Code.IDENTITY_MISSING.remedy}")
    if status < 400 or status == 429 or status >= 500:
        return _unreadable(what, status)
    return _denied(what, status, "")


def _unreadable(what: str, status: int | None) -> EdgeError:
    """The error for an answer without a token that is not about the app: a failure, or a page."""
    if status is not None and (status == 429 or status >= 500):
        said = f"{what}: the identity endpoint answered HTTP {status}"
        return Unavailable(Code.IDENTITY_UNAVAILABLE, said)
    shown = "an answer" if status is None else f"HTTP {status}"
    said = f"{what}: {shown} that is no identity endpoint's; {Code.IDENTITY_ANSWER.remedy}"
    return Unavailable(Code.IDENTITY_ANSWER, said)


def _denied(what: str, status: int | None, name: str) -> EdgeError:
    shown = name if status is None else f"HTTP {status}"
    return Denied(Code.IDENTITY_DENIED, f"{what}: {shown}; {Code.IDENTITY_DENIED.remedy}")


class Identity:
    """The identity that the app signs in to Entra with.

    On Azure only the managed identity is tried: a chain would hide why it fails. `credential`
    raises `EdgeError`, `bare` what the SDK raises.
    """

    def __init__(self, environment: Mapping[str, str], authority: str) -> None:
        """`authority` is where a developer signs in; AZURE_AUTHORITY_HOST wins over it."""
        client = environment.get("AZURE_CLIENT_ID") or None
        host = environment.get("AZURE_AUTHORITY_HOST") or authority
        managed = bool(environment.get("IDENTITY_ENDPOINT"))
        heard = Heard()
        self.bare = Renewable(
            lambda: _managed(client, heard) if managed else _signed_in(client, host)
        )
        self.credential = Telling(self.bare, heard)

    def forget(self) -> None:
        """Forgets all tokens, since a server did not take one: the next ones are fetched anew."""
        self.bare.forget()

    def token(self, scope: str) -> Secret:
        """An access token; azure-identity caches it and refreshes it before it expires.

        Raises `Unavailable`, and `Denied` if the endpoint refuses one.
        """
        return Secret(self.credential.get_token(scope).token)


def _managed(client: str | None, heard: Heard) -> TokenCredential:
    """The credential of the managed identity; the orchestrator retries, not the SDK."""
    return ManagedIdentityCredential(
        client_id=client,
        retry_total=0,
        transport=transport(),
        raw_response_hook=heard.hear,
    )


def _signed_in(client: str | None, authority: str) -> TokenCredential:
    """The credential of whoever is signed in on this machine."""
    return DefaultAzureCredential(
        managed_identity_client_id=client, authority=authority, retry_total=0
    )
