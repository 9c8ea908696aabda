"""The contract of one Key Vault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from rotation.model.preconditions import VaultStanding
    from rotation.model.targets import SecretTarget
    from rotation.model.world import SecretVersion
    from rotation.secrecy import Secret


class VaultReader(Protocol):
    """Reads secrets and their versions."""

    def current(self, secret: SecretTarget) -> SecretVersion | None:
        """The secret's newest version, enabled or not; None if the secret does not exist."""

    def versions(self, secret: SecretTarget) -> list[SecretVersion]:
        """All versions of the secret, the newest first, those of one second in any order; empty if
        the secret does not exist."""

    def value(self, secret: SecretTarget) -> Secret:
        """The value of the version. Raises `Missing`, and `Conflict` if it is disabled."""

    def standing(self, secret: SecretTarget) -> VaultStanding:
        """What the vault says of a version that it could never write: a right that is missing is
        known then, and nothing is changed. Raises what is not about rights."""


class Vault(VaultReader, Protocol):
    """Changes a slot's secret."""

    def put(
        self,
        secret: SecretTarget,
        value: Secret,
        *,
        expires: datetime,
        content_type: str,
        tags: dict[str, str],
    ) -> SecretVersion:
        """Writes a new version and returns it. Every call makes another one."""

    def disable(self, secret: SecretTarget) -> None:
        """Disables the version. Harmless when it is disabled already."""
