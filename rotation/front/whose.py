"""Tells whose sessions a sample saw, with as few looks at clusters as there can be.

It has to be told at once: pods are gone a month later, and their addresses are others'. Clusters
are asked when an address shows up that nothing accounts for which was seen in the last minutes.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rotation.model.errors import RotationError
from rotation.steps import proving

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rotation.config import Credential
    from rotation.contracts.edges import Readers
    from rotation.decisions.sessions import Origin
    from rotation.model.world import Session

# Each session with its workload; None for none.
Found = list[tuple["Session", str | None]]
Connection = tuple[str, str, "datetime | None"]  # role, client, and when it began

FRESH = timedelta(minutes=10)  # that a look at pods counts for sessions that begin after it


class Whose:
    """What is known of one credential's clients."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # servers answer side by side
        self._known: dict[object, dict[Connection, str]] = {}
        self._origins: list[Origin] = []
        self._strange: dict[tuple[str, str], datetime] = {}  # until when nobody is asked of them
        self._until: datetime | None = None

    def of(
        self, edges: Readers, credential: Credential, server: object, sessions: list[Session]
    ) -> tuple[Found, RotationError | None]:
        """A server's sessions with their workloads.

        With an error, those are missing that may be of pods which could not be looked at.
        """
        with self._lock:
            known = self._known.get(server, {})
            found: Found = []
            rest: list[Session] = []
            for session in sessions:
                # It stays whose it is, also when its pod is gone and nobody has told the server.
                workload = known.get(_connection(session)) if session.since else None
                if workload is None:
                    rest.append(session)
                else:
                    found.append((session, workload))
            judged, error = self._judged(edges, credential, rest)
            found += judged
            self._known[server] = {
                _connection(session): workload
                for session, workload in found
                if workload is not None and session.since is not None
            }
            return found, error

    def _judged(
        self, edges: Readers, credential: Credential, sessions: list[Session]
    ) -> tuple[Found, RotationError | None]:
        """Sessions that begin, with their workloads."""
        now = edges.now()
        if self._until is None or now >= self._until:
            self._origins = _by_ranges(credential)
        self._strange = {client: until for client, until in self._strange.items() if until > now}
        if all(self._accounts_for(session) for session in sessions):
            return [(session, _workload(session, self._origins)) for session in sessions], None
        error = self._look(edges, credential)
        found = [(session, _workload(session, self._origins)) for session in sessions]
        if error is not None:
            return [one for one in found if one[1] is not None], error
        for session, workload in found:
            if workload is None:
                self._strange[_client(session)] = now + FRESH
        return found, None

    def _accounts_for(self, session: Session) -> bool:
        """Whether it was seen lately whose a session of this client is, or that it is nobody's."""
        known = _workload(session, self._origins) is not None
        return known or _client(session) in self._strange

    def _look(self, edges: Readers, credential: Credential) -> RotationError | None:
        """Looks at the pods of all workloads; returns what was raised first, if anything was."""
        self._origins, first = _by_ranges(credential), None
        for workload in credential.workloads:
            if proving.known_by(workload) != "ranges":
                try:
                    self._origins += proving.origins_now(edges, workload)
                except RotationError as error:
                    first = first or error
        self._until = edges.now() + FRESH if first is None else None
        return first


def _by_ranges(credential: Credential) -> list[Origin]:
    """The origins for which no pod has to be known."""
    return [
        origin
        for workload in credential.workloads
        if proving.known_by(workload) == "ranges"
        for origin in proving.origins(workload, {})
    ]


def _connection(session: Session) -> Connection:
    """What of a session stays as long as it lasts. Its name does not: a client may change it."""
    return session.role, session.client, session.since


def _client(session: Session) -> tuple[str, str]:
    return session.application, session.client


def _workload(session: Session, origins: Iterable[Origin]) -> str | None:
    return next((origin.workload for origin in origins if origin.has(session)), None)
