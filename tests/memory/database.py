"""A PostgreSQL server: roles, and the sessions that do not belong to pods. Its read replicas."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from rotation.model.world import Difference, Found, Query, Session
    from tests.memory.clock import Clock

Roles = dict[str, "RoleState"]


@dataclass
class RoleState:
    login: bool
    password: str | None
    valid_until: datetime | None = None
    md5: bool = False  # what is kept of the password


@dataclass
class DatabaseModel:
    """A server; `most` is how many connections it has for all, of which `used` counts those that
    are taken. `lag`: seconds until a read replica has replayed what is written here.

    `late`: seconds until a pooler knows of it.

    `lacking`: what a role has not, and others have.

    `foreign` are roles that the login that rotates may not alter, `barred` those that may not
    connect to the application's database.

    `answers`: what queries of tests find in the first column of their first row, by statement; an
    error that they get, or None for no row. Others find what is expected of them.

    Whoever changes a role calls `wrote` afterwards.
    """

    clock: Clock
    roles: Roles = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)  # sessions that were terminated
    jobs: list[Session] = field(default_factory=list)  # of others than the workloads' pods
    lag: float = 0.0
    late: float = 0.0
    readers: list[Session] = field(default_factory=list)  # on the read replicas, of anybody
    most: int | None = None
    used: Callable[[], int] = lambda: 0
    lacking: dict[str, tuple[Difference, ...]] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    barred: set[str] = field(default_factory=set)
    answers: dict[str, Exception | str | int | bool | None] = field(default_factory=dict)
    _log: list[tuple[datetime, Roles]] = field(default_factory=list)

    def wrote(self) -> None:
        """Sends the roles, as they are now, on their way to the replicas."""
        written = {name: replace(role) for name, role in self.roles.items()}
        if not self._log or self._log[-1][1] != written:
            self._log.append((self.clock.now, written))

    @property
    def replayed(self) -> Roles:
        """The roles that a read replica has by now."""
        return self._as_of(self.lag)

    @property
    def pooled(self) -> Roles:
        """The roles that a pooler knows by now."""
        return self._as_of(self.late)

    def _as_of(self, seconds: float) -> Roles:
        self.wrote()
        when = self.clock.now - timedelta(seconds=seconds)
        begin = self._log[0][0]  # all of what was there then is known everywhere
        return [roles for at, roles in self._log if at <= max(when, begin)][-1]

    def full(self) -> bool:
        """Whether a new connection is refused, whoever asks, before any password is looked at."""
        return self.most is not None and self.used() >= self.most

    def found(self, query: Query) -> Found:
        """What a query finds. Raises the error that it gets."""
        if query.statement not in self.answers:
            return "as expected"
        answer = self.answers[query.statement]
        if isinstance(answer, Exception):
            raise answer
        if query.expected is None:
            return "as expected"
        if answer is None:
            return "no row"
        return "as expected" if json.dumps(answer) == query.expected else "another value"

    def accepts(self, role: str, password: str | None) -> bool:
        return accepts(self.roles, role, password)


def accepts(roles: Roles, role: str, password: str | None) -> bool:
    """Whether these roles let a client in, one that answers to whatever is asked for."""
    found = roles.get(role)
    return found is not None and found.login and password is not None and found.password == password
