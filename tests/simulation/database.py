"""A PostgreSQL server: roles, and the sessions that do not belong to pods."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class RoleState:
    login: bool
    password: str | None


@dataclass
class DatabaseModel:
    roles: dict[str, RoleState] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)  # sessions that were terminated
    jobs: list[str] = field(default_factory=list)  # a session each, of this role

    def accepts(self, role: str, password: str | None) -> bool:
        found = self.roles.get(role)
        return (
            found is not None
            and found.login
            and password is not None
            and found.password == password
        )
