"""Who may do what: the bearer token and the list of permissions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from local.identity import ISSUER, AudienceError, TokenError, verify
from local.keyvault.errors import VaultError, unauthorized

if TYPE_CHECKING:
    from pathlib import Path

RESOURCE = "https://vault.azure.net"
CHALLENGE = (
    f'Bearer authorization="{ISSUER.rstrip("/").replace("sts.windows.net", "login.windows.net")}",'
    f' resource="{RESOURCE}"'
)
# Each permission with the data action that Key Vault names in a refusal.
ACTIONS = {
    "get": "getSecret/action",
    "list": "readMetadata/action",
    "set": "setSecret/action",
    "update": "update/action",
    "delete": "delete",
    "recover": "recover/action",
    "purge": "purge/action",
    "backup": "backup/action",
    "restore": "restore/action",
}
# Access policies know no permission of its own for these.
IMPLIED_BY = {"update": "set"}


class AccessFileError(ValueError):
    """The access file cannot be used; the message names file and entry."""


def caller(authorization: str | None, identities: Path) -> dict[str, Any]:
    """The claims of the caller. Raises a 401 in Key Vault's words."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise unauthorized("AKV10000: Request is missing a Bearer or PoP token.")
    try:
        return verify(token.strip(), RESOURCE, identities)
    except AudienceError as error:
        message = f"AKV10022: Invalid audience. Expected {RESOURCE}."
        raise unauthorized(message) from error
    except TokenError as error:
        raise unauthorized(f"Error validating token: {error}.") from error


class Access:
    """Permissions by object id, read from a JSON file at each request so that a grant can be given
    or taken away while the vault runs:

        {"<oid>": ["get", "list", "set"], ...}

    Without a file every identity may do everything.
    """

    def __init__(self, file: Path | None, vault: str) -> None:
        self._file = file
        self._vault = vault
        self._granted()  # a broken file is reported at start

    def _granted(self) -> dict[str, list[str]] | None:
        if self._file is None:
            return None
        granted = json.loads(self._file.read_text(encoding="utf-8"))
        for oid, permissions in granted.items():
            unknown = set(permissions) - ACTIONS.keys()
            if unknown:
                raise AccessFileError(
                    f"{self._file}: {oid} has unknown permissions {', '.join(sorted(unknown))}; "
                    f"known are {', '.join(ACTIONS)}"
                )
        return dict(granted)

    def check(self, claims: dict[str, Any], permission: str, secret: str) -> None:
        granted = self._granted()
        own = None if granted is None else granted.get(claims["oid"], [])
        if own is None or permission in own or IMPLIED_BY.get(permission) in own:
            return
        resource = f"vaults/{self._vault}/secrets/{secret}".rstrip("/")
        raise VaultError(
            403,
            "Forbidden",
            "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny "
            "assignments or role definitions were changed recently, please observe propagation "
            f"time.\r\nCaller: appid={claims['appid']};oid={claims['oid']};iss={claims['iss']}\r\n"
            f"Action: 'Microsoft.KeyVault/vaults/secrets/{ACTIONS[permission]}'\r\n"
            f"Resource: '{resource}'\r\nAssignment: (not found)\r\n"
            f"DecisionReason: 'DeniedWithNoValidRBAC'\r\nVault: {self._vault}",
            "ForbiddenByRbac",
        )
