"""A Key Vault as it is behind the edge, with the clear text that only the checker looks at."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from rotation.model.world import SecretVersion

if TYPE_CHECKING:
    from datetime import datetime

    from tests.memory.clock import Clock


@dataclass
class Version:
    secret: str
    version: str
    value: str  # as workloads read it
    password: str  # what is in it
    created: datetime
    expires: datetime | None
    tags: dict[str, str]
    content_type: str | None = None
    disabled: datetime | None = None

    def seen(self, when: datetime) -> SecretVersion:
        """The version as it was at that time."""
        enabled = self.disabled is None or self.disabled > when
        created = self.created.replace(microsecond=0)
        return SecretVersion(
            self.secret,
            self.version,
            enabled,
            created,
            self.expires,
            dict(self.tags),
            self.content_type,
        )


@dataclass
class VaultModel:
    """A vault; `secrets` by their names in lower case, since names ignore case.

    `may_set`: whether the app may write; `ahead`: how far its clock is ahead.
    """

    clock: Clock
    secrets: dict[str, list[Version]] = field(default_factory=dict)  # the newest last
    may_set: bool | None = True
    ahead: timedelta = timedelta()

    def put(
        self,
        secret: str,
        value: str,
        password: str,
        expires: datetime | None = None,
        tags: dict[str, str] | None = None,
        content_type: str | None = None,
    ) -> Version:
        versions = self.secrets.setdefault(secret.lower(), [])
        # Ids say nothing about the order, as Key Vault's.
        number = len(versions) + 1
        name = f"{(number * 2654435761 + len(secret) * 40503) % 2**32:08x}"
        version = Version(
            secret, name, value, password, self.clock.now, expires, tags or {}, content_type
        )
        versions.append(version)
        return version

    def of(self, secret: str) -> list[Version]:
        return self.secrets.get(secret.lower(), [])

    def latest(self, secret: str) -> Version | None:
        return next(reversed(self.of(secret)), None)

    def listed(self, secret: str, age: float = 0.0) -> list[SecretVersion]:
        """The versions, the newest first; those of one second come in any order.

        `age`: of a stale answer.
        """
        when = self.clock.now - timedelta(seconds=age)
        found = [v.seen(when) for v in self.of(secret) if v.created <= when]
        return sorted(found, key=lambda item: (str(item.created), item.version), reverse=True)

    def current(self, secret: str, age: float = 0.0) -> SecretVersion | None:
        when = self.clock.now - timedelta(seconds=age)
        found = [v for v in self.of(secret) if v.created <= when]
        return found[-1].seen(when) if found else None

    def find(self, secret: str, version: str) -> Version | None:
        return next((v for v in self.of(secret) if v.version == version), None)
