"""The JSON of Key Vault's secrets: requests checked, answers made.

Reference: https://learn.microsoft.com/rest/api/keyvault/secrets
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken

from local.keyvault.errors import bad_parameter
from local.keyvault.store import RECOVERABLE_DAYS, Properties, Version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.keyvault.store import Deleted

NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
LARGEST_VALUE = 25 * 1024  # bytes
MOST_TAGS = 15
LONGEST_TAG = 256
LONGEST_CONTENT_TYPE = 255
PAGE = 25


def check_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise bad_parameter(
            f"The request URI contains an invalid name: {name}. "
            "A secret's name has 1 to 127 letters, digits and hyphens."
        )
    return name


def value_of(body: dict[str, Any]) -> str:
    value = body.get("value")
    if not isinstance(value, str):
        raise bad_parameter("The property value must be a string.")
    if len(value.encode()) > LARGEST_VALUE:
        raise bad_parameter(f"The property value is larger than {LARGEST_VALUE} bytes.")
    return value


def properties_of(body: dict[str, Any]) -> Properties:
    attributes = body.get("attributes") or {}
    if not isinstance(attributes, dict):
        raise bad_parameter("The property attributes must be an object.")
    enabled = attributes.get("enabled")
    if not isinstance(enabled, bool | None):
        raise bad_parameter("The property attributes.enabled must be a boolean.")
    content_type = body.get("contentType")
    if not isinstance(content_type, str | None):
        raise bad_parameter("The property contentType must be a string.")
    if len(content_type or "") > LONGEST_CONTENT_TYPE:
        raise bad_parameter("Property  has invalid value\r\n")  # as Key Vault says it
    return Properties(
        content_type=content_type,
        tags=_tags(body.get("tags")),
        enabled=enabled,
        nbf=_seconds(attributes, "nbf"),
        exp=_seconds(attributes, "exp"),
    )


def check_window(nbf: int | None, exp: int | None) -> None:
    if nbf is not None and exp is not None and nbf >= exp:
        raise bad_parameter("The property attributes.nbf must be before attributes.exp.")


def _seconds(attributes: dict[str, Any], name: str) -> int | None:
    value = attributes.get(name)
    if not isinstance(value, int | None) or isinstance(value, bool):
        raise bad_parameter(f"The property attributes.{name} must be seconds since 1970.")
    return value


def _tags(tags: object) -> dict[str, str] | None:
    if tags is None:
        return None
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        raise bad_parameter("The property tags must map strings to strings.")
    if len(tags) > MOST_TAGS:
        raise bad_parameter(f"The property tags has {len(tags)} entries; {MOST_TAGS} are allowed.")
    if any(len(part) > LONGEST_TAG for pair in tags.items() for part in pair):
        raise bad_parameter(f"A tag's name or value is longer than {LONGEST_TAG} characters.")
    return tags


def item(base: str, version: Version, *, with_version: bool) -> dict[str, Any]:
    """An entry of a list: never the value. `base` is the vault's URL."""
    url = f"{base}/secrets/{version.name}"
    answer: dict[str, Any] = {
        "id": f"{url}/{version.version}" if with_version else url,
        "attributes": _attributes(version),
        "contentType": version.content_type,
        "tags": version.tags,
    }
    return {key: value for key, value in answer.items() if value is not None}


def bundle(base: str, version: Version) -> dict[str, Any]:
    """A version's properties, as an update answers."""
    return item(base, version, with_version=True)


def secret(base: str, version: Version) -> dict[str, Any]:
    return {"value": version.value, **bundle(base, version)}


def deleted(base: str, gone: Deleted, *, with_version: bool) -> dict[str, Any]:
    return {
        "recoveryId": f"{base}/deletedsecrets/{gone.latest.name}",
        "deletedDate": gone.deleted_at,
        "scheduledPurgeDate": gone.purge_at,
        **item(base, gone.latest, with_version=with_version),
    }


def _attributes(version: Version) -> dict[str, Any]:
    window = {"nbf": version.nbf, "exp": version.exp}
    return {
        "enabled": version.enabled,
        **{key: value for key, value in window.items() if value is not None},
        "created": version.created,
        "updated": version.updated,
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": RECOVERABLE_DAYS,
    }


def page_size(given: str | None) -> int:
    if given is None:
        return PAGE
    if not given.isdecimal() or not 1 <= int(given) <= PAGE:
        raise bad_parameter(f"maxresults is {given}; it must be from 1 to {PAGE}.")
    return int(given)


def skip_token(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode()


def skipped(token: str | None) -> str:
    """The last entry of the page before a skip token, or an empty string."""
    try:
        return base64.urlsafe_b64decode(token or "").decode()
    except ValueError as error:
        raise bad_parameter("The $skiptoken is not one of this vault's.") from error


def sealed(versions: Iterable[Version], key: str) -> str:
    """A backup that only the vault with this key can open, as base64url without padding."""
    content = json.dumps([asdict(version) for version in versions])
    return base64.urlsafe_b64encode(Fernet(key).encrypt(content.encode())).decode().rstrip("=")


def opened(backup: object, key: str) -> list[Version]:
    try:
        padded = str(backup) + "=" * (-len(str(backup)) % 4)
        content = Fernet(key).decrypt(base64.urlsafe_b64decode(padded))
    except (InvalidToken, ValueError) as error:
        raise bad_parameter("The property value is no backup of this vault.") from error
    return [Version(**each) for each in json.loads(content)]
