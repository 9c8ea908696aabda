"""The contract of one PostgreSQL server, used as the login that rotates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rotation.model.preconditions import ServerStanding
    from rotation.model.world import Differences, Found, Query, Role, Session
    from rotation.secrecy import Secret


class Entrance(Protocol):
    """Where applications log in: a server, or a pooler in front of it, to which one can do nothing
    but what they do. `address` is the host and port, for messages."""

    @property
    def address(self) -> str: ...

    def login(self, role: str, password: Secret) -> None:
        """Logs in as the role, for a session of its own. Raises `Denied` if that is refused."""

    def query(self, role: str, password: Secret, query: Query) -> Found:
        """What a test's query finds in the application's database, asked as the role.

        It is asked in a transaction that is read-only and rolled back, for a session of its own.
        Raises what `login` raises, `Invalid` with `TEST_QUERY` if the server refuses the statement,
        `Denied` if the role lacks a right, and `Unavailable` without an answer in time.
        """


class DatabaseReader(Entrance, Protocol):
    """Reads roles and sessions, and tries logins, of a server or of one of its read replicas.

    A replica shows a role as it was when it last replayed what the server wrote.
    """

    def roles(self, names: list[str]) -> dict[str, Role]:
        """The roles of these names that exist, by name."""

    def differences(self, role: str, password: Secret, other: str) -> Differences:
        """How `other` differs from the role in the application's database: `lacks` is what it
        lacks. It is asked as the role, for a session of its own; none for a role that is not there.

        Raises what `login` raises, and what the server has against the query.
        """

    def standing(self, roles: list[str]) -> ServerStanding:
        """What the server lets the login that rotates do with the roles, and its room for them."""

    def sessions(self, roles: list[str]) -> list[Session]:
        """The server's client sessions that belong to the roles."""


class Replica(DatabaseReader, Protocol):
    """Ends sessions, which a server does for its own only."""

    def terminate(self, role: str) -> int:
        """Ends the role's sessions there, and returns how many there were."""


class Database(Replica, Protocol):
    """Changes a slot's role."""

    def activate(self, role: str, password: Secret) -> None:
        """Gives the role LOGIN, this password and no expiry. A repeat makes a new verifier."""

    def deactivate(self, role: str) -> None:
        """Takes LOGIN and password from the role. Open sessions stay. Harmless when repeated."""
