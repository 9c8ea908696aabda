"""What Key Vault refuses, in its own JSON.

Codes and inner codes as seen in the service's answers; the messages are shortened. Reference:
https://learn.microsoft.com/azure/key-vault/general/rest-error-codes
"""

from __future__ import annotations

from typing import Any

from local.faults import check_cause


class VaultError(Exception):
    """An answer other than success. The message never holds a secret's value."""

    def __init__(self, status: int, code: str, message: str, inner: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.inner = inner

    def body(self) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.inner:
            error["innererror"] = {"code": self.inner}
        return {"error": error}


def bad_parameter(message: str) -> VaultError:
    return VaultError(400, "BadParameter", message)


def unauthorized(message: str) -> VaultError:
    return VaultError(401, "Unauthorized", message)


def not_found(name: str, version: str = "") -> VaultError:
    which = f"{name}/{version}" if version else name
    return VaultError(
        404,
        "SecretNotFound",
        f"A secret with (name/id) {which} was not found in this key vault. If you recently deleted "
        "this secret you may be able to recover it using the correct recovery command.",
    )


def disabled() -> VaultError:
    return VaultError(403, "Forbidden", FORBIDDEN["SecretDisabled"], "SecretDisabled")


def conflict(message: str, inner: str) -> VaultError:
    return VaultError(409, "Conflict", message, inner)


CALLER = "Caller: appid=unknown;oid=unknown;iss=unknown\r\nVault: kv-local;location=local"
# Why Key Vault answers 403, by inner code; the messages are shortened.
FORBIDDEN = {
    "ForbiddenByFirewall": (
        "Client address is not authorized and caller is not a trusted service.\r\n"
        f"Client address: 192.0.2.1\r\n{CALLER}"
    ),
    "ForbiddenByConnection": (
        "Public network access is disabled and request is not from a trusted service nor via an "
        f"approved private link.\r\n{CALLER}"
    ),
    "ForbiddenByRbac": f"Caller is not authorized to perform action on resource.\r\n{CALLER}",
    "ForbiddenByPolicy": "Operation is not allowed by the policy of this vault.",
    "AccessDenied": (
        "The user, group or application 'appid=unknown;oid=unknown;iss=unknown' does not have "
        "secrets get permission on key vault 'kv-local;location=local'."
    ),
    "SecretDisabled": "Operation get is not allowed on a disabled secret.",
}


def ordered(status: int, cause: str | None) -> dict[str, Any]:
    """The body of a failure that a test ordered; `cause` is an inner code of a 403."""
    check_cause(cause, FORBIDDEN)
    if cause is not None:
        return VaultError(status, "Forbidden", FORBIDDEN[cause], cause).body()
    code = {429: "Throttled", 503: "ServiceUnavailable"}.get(status, "InternalServerError")
    return VaultError(status, code, "This failure was ordered.").body()
