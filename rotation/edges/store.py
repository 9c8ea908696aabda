"""Sole importer of azure.storage.blob: the containers of the app's own storage account.

The SDK's own retries are off: what waits for the account is repeated by whoever asked. Error codes:
https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import ContainerClient, ContentSettings, StorageErrorCode

from rotation.contracts.store import CONTAINERS, Kept
from rotation.edges import bounded, http_status
from rotation.edges.bounded import transport, within
from rotation.model.errors import EdgeError, Invalid, Unavailable
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from azure.core.credentials import TokenCredential

    from rotation.contracts.store import Container
    from rotation.settings import Storage

CODES = http_status.Codes(
    unavailable=Code.STORAGE_UNAVAILABLE,
    denied=Code.STORAGE_DENIED,
    missing=Code.STORAGE_MISSING,
    conflict=Code.STORAGE_ERROR,
    invalid=Code.STORAGE_ERROR,
    token=Code.STORAGE_TOKEN,
)
FIREWALLED = replace(CODES, denied=Code.STORAGE_FIREWALL)
# What the account says where its network rules refuse, and of shared keys that do not match.
FIREWALL, KEY = "AuthorizationFailure", "AuthenticationFailed"
TAKEN = {"BlobAlreadyExists", "BlobImmutableDueToPolicy"}
GOING = "ContainerBeingDeleted"  # which ends by itself
LARGEST_PAGE = 5000  # names in one answer
JSON = ContentSettings(content_type="application/json")


class BlobStore:
    """Implements `contracts.store.Store`. The container is made by the first write.

    `refused` hears that the account did not take the credential's token.
    """

    def __init__(
        self,
        at: Storage,
        container: Container,
        credential: TokenCredential,
        ca_bundle: str | None,
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        """Raises `Invalid` for a connection string that is none."""
        self._refused = refused
        self._name = CONTAINERS[container]
        options: Any = {"retry_total": 0, "transport": transport(ca_bundle)}
        if at.connection is None:
            self._client = ContainerClient(
                str(at.url), self._name, credential=credential, **options
            )
            return
        try:
            self._client = ContainerClient.from_connection_string(
                at.connection.reveal(), self._name, **options
            )
        except (ValueError, KeyError, TypeError):
            text = "AzureWebJobsStorage is not the connection string of a storage account"
            raise Invalid(Code.STORAGE_ERROR, text) from None

    def read(self, name: str) -> Kept | None:
        with self._translated("read", name):
            try:
                found = self._client.download_blob(name)
                return Kept(found.readall(), str(found.properties.etag))
            except ResourceNotFoundError as error:
                _ensure_account(error)
                return None

    def names(self, prefix: str, after: str | None = None, most: int = 1000) -> list[str]:
        # The service begins at `start_from`; what does not know it, Azurite say, at the beginning.
        begin: dict[str, Any] = {} if after is None or after < prefix else {"start_from": after}
        with self._translated("list", f"{prefix}*"), within(bounded.LONGEST):
            listed = self._client.list_blob_names(
                name_starts_with=prefix, results_per_page=min(most + 1, LARGEST_PAGE), **begin
            )
            try:
                return list(islice((name for name in listed if name > (after or "")), most))
            except ResourceNotFoundError as error:
                _ensure_account(error)
                return []

    def create(self, name: str, content: bytes) -> bool:
        with self._translated("keep", name):
            try:
                self._upload(name, content)
            except ResourceExistsError as error:
                if _code(error) not in TAKEN:
                    raise
                return False
            return True

    def replace(self, name: str, content: bytes, tag: str) -> bool:
        with self._translated("replace", name):
            try:
                self._client.upload_blob(
                    name,
                    content,
                    overwrite=True,
                    content_settings=JSON,
                    etag=tag,
                    match_condition=MatchConditions.IfNotModified,
                )
            except ResourceModifiedError:
                return False
            except ResourceNotFoundError as error:
                _ensure_account(error)
                return False
            return True

    def _upload(self, name: str, content: bytes) -> None:
        """Makes the blob, and makes the container first if there is none."""
        try:
            self._client.upload_blob(name, content, content_settings=JSON)
        except ResourceNotFoundError as error:
            _ensure_account(error)
            self._make_container()
            self._client.upload_blob(name, content, content_settings=JSON)

    def _make_container(self) -> None:
        try:
            self._client.create_container()
        except ResourceExistsError as error:
            if _code(error) != "ContainerAlreadyExists":
                raise

    @contextmanager
    def _translated(self, verb: str, name: str) -> Iterator[None]:
        """Turns what the SDK raises in here into an `EdgeError` that says what was tried.

        The SDK's texts quote responses: only known codes are taken over from them.
        """
        host = self._client.primary_hostname
        what = f"storage account {host} could not {verb} {name} in {self._name}"
        try:
            yield
        except ClientAuthenticationError as error:
            if error.status_code is None:
                raise Unavailable(Code.IDENTITY_MISSING, f"{what}: no token") from None
            self._refused()
            raise _refused(what, error) from None
        except HttpResponseError as error:
            raise _refused(what, error) from None
        except AzureError as error:
            text = f"{what}: {type(error).__name__}"
            raise Unavailable(Code.STORAGE_UNAVAILABLE, text) from None
        except (ValueError, RecursionError, TypeError, AttributeError, SyntaxError) as error:
            # What the SDK makes of an answer that is none of a storage account's.
            text = f"{what}: {type(error).__name__}; what answers is no storage account"
            raise Unavailable(Code.STORAGE_ERROR, text) from None


def _ensure_account(error: ResourceNotFoundError) -> None:
    """Raises the error unless it says that a blob, or its container, is not there."""
    if _code(error) not in {"BlobNotFound", "ContainerNotFound"}:
        raise error


def _refused(what: str, error: HttpResponseError) -> EdgeError:
    """The error for a request that the account refused."""
    status, code = error.status_code, _code(error)
    headers = getattr(error.response, "headers", None) or {}
    text = f"{what}: HTTP {status} {code}".rstrip()
    if code == GOING:
        return Unavailable(Code.STORAGE_MISSING, text)
    if code == KEY:  # which is a 403
        status = 401
    codes = FIREWALLED if code == FIREWALL else CODES
    return http_status.error(codes, text, status, str(headers.get("Retry-After", "")))


def _code(error: HttpResponseError) -> str:
    """The code in a response, if it is a known one; empty without. Whoever answers in the account's
    name may write anything there."""
    named = getattr(error, "error_code", None)
    try:
        return StorageErrorCode(named).value
    except ValueError:
        return ""
