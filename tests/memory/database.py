"""A PostgreSQL server: roles, and the sessions that do not belong to pods."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from rotation.model.world import Session


@dataclass
class RoleState:
    login: bool
    password: str | None
    valid_until: datetime | None = None


@dataclass
class DatabaseModel:
    """A server; `most` is how many connections it has for all, of which `used` counts those that
    are taken."""

    roles: dict[str, RoleState] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)  # sessions that were terminated
    jobs: list[Session] = field(default_factory=list)  # of others than the workloads' pods
    most: int | None = None
    used: Callable[[], int] = lambda: 0

    def full(self) -> bool:
        """Whether a new connection is refused, whoever asks, before any password is looked at."""
        return self.most is not None and self.used() >= self.most

    def accepts(self, role: str, password: str | None) -> bool:
        found = self.roles.get(role)
        return (
            found is not None
            and found.login
            and password is not None
            and found.password == password
        )
