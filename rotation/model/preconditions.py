"""What a rotation needs of other systems, and what was observed of it, without changing anything.

Where something cannot be found out, without the right to look for one, it is None: not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

Known: TypeAlias = bool | None


@dataclass(frozen=True, order=True)
class Right:
    """What the app asks of an API server, as a rule of a Role grants it. `resource` holds its
    subresource: `services/proxy`; `name` is empty where no rule can have one."""

    namespace: str
    group: str
    resource: str
    verb: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} {self.name}".rstrip()

    @property
    def command(self) -> str:
        """The command that asks the API server whether the app has it; with a place for whose."""
        resource, _, subresource = self.resource.partition("/")
        kind = f"{resource}.{self.group}" if self.group else resource
        asked = f"{kind}/{self.name}" if self.name else kind
        part = f" --subresource {subresource}" if subresource else ""
        as_app = "--as <object id of the app's identity>"
        return f"kubectl auth can-i {self.verb} {asked}{part} --namespace {self.namespace} {as_app}"


@dataclass(frozen=True)
class Limit:
    """One limit of a ResourceQuota that counts all pods of its namespace: `resource` is the word
    that the quota has for it, `used` None where nothing has counted yet."""

    quota: str
    resource: str
    hard: Decimal
    used: Decimal | None


@dataclass(frozen=True)
class VaultStanding:
    """Whether a vault would let the app write a version of a secret, and what time it is there."""

    may_set: Known
    clock: datetime | None


@dataclass(frozen=True)
class RoleStanding:
    """What a slot's role is to the server: whether the login that rotates may alter it, whether it
    may connect to the application's database; its connection limit, None without one; and how many
    sessions it has."""

    alterable: bool
    connects: bool
    limit: int | None
    sessions: int


@dataclass(frozen=True)
class ServerStanding:
    """What a server lets the login that rotates do, and how much room it has.

    `roles` are those that exist, by name. `creates`: it has CREATEROLE. `ends` and `sees`: whether
    it may end the roles' sessions, and see all there are. `most` is how many connections all logins
    but superusers have together, `free` how many of them are left; `database_free` of those that a
    limit of the application's database leaves, None without one. `hashes` is how the server hashes
    a password that it is given in clear text.
    """

    roles: dict[str, RoleStanding]
    creates: bool
    ends: bool
    sees: bool
    most: int
    free: int
    database_free: int | None
    hashes: str
    clock: datetime
