"""One PostgreSQL server, as the login that rotates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rotation.model.world import Role, Session
    from rotation.secrecy import Secret


class DatabaseReader(Protocol):
    """Reads roles and sessions, and tries logins."""

    def roles(self, names: list[str]) -> dict[str, Role]:
        """Those of the names that exist."""

    def sessions(self, roles: list[str]) -> list[Session]:
        """Those of the server's client sessions that belong to the roles."""

    def login(self, role: str, password: Secret) -> None:
        """Opens and closes a session of its own. Raises `Denied` if the server refuses it."""


class Database(DatabaseReader, Protocol):
    """Changes a slot's role."""

    def activate(self, role: str, password: Secret) -> None:
        """LOGIN with this password and no expiry. A repeat makes a new verifier of the same."""

    def deactivate(self, role: str) -> None:
        """NOLOGIN and no password. Open sessions stay. Harmless when repeated."""

    def terminate(self, role: str) -> int:
        """Ends the role's sessions; how many there were."""
