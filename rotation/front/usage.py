"""Samples who uses the credentials' logins: one query for each server and minute.

What a sample sees goes into the usage ledger (`rotation.steps.ledger`), which tells an approver of
clients that are not connected just then.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from rotation import log
from rotation.decisions import usage
from rotation.front.whose import Found, Whose
from rotation.model.errors import Denied, RotationError, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import OWN_APPLICATION, SLOTS
from rotation.steps import ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.config import Credential
    from rotation.contracts.database import DatabaseReader
    from rotation.contracts.edges import Readers
    from rotation.model.usage import Day
    from rotation.model.world import Session

SECONDS = 40.0  # for all queries of one round; the next one is due after a minute
REFUSED = timedelta(hours=1)  # until a server is asked again that refuses to say
LEAST = timedelta(seconds=50)  # from one round to the next, whatever the schedule says
EVERY = 10  # minutes between two writes of what only goes on as it was


class Server(NamedTuple):
    host: str
    port: int


@dataclass(frozen=True)
class Way:
    """A way to ask a server: as the login that rotates one credential there."""

    name: str
    credential: Credential
    open: Callable[[], DatabaseReader]

    @property
    def login(self) -> tuple[str, str | None, str]:
        admin = self.credential.database.admin
        return admin.role, admin.secret, admin.vault or self.credential.vault

    @property
    def roles(self) -> list[str]:
        return [self.credential.slots[slot].role for slot in SLOTS]


@dataclass
class Answer:
    """What a server has of each credential. `whole` are those that nothing is missing of."""

    found: dict[str, Found] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)


class Sampler:
    """Samples all servers, and keeps what it saw until it is in the ledger.

    Whoever is in no workload is written at once; what only repeats itself, every ten minutes.
    """

    def __init__(self, edges: Readers) -> None:
        self._edges = edges
        self._lock = threading.Lock()
        self._whose: defaultdict[str, Whose] = defaultdict(Whose)
        self._pending: dict[tuple[str, str], Day] = {}
        self._recorded: set[str] = set()  # in the ledger, by this process
        self._refused: dict[object, datetime] = {}
        self._told: dict[str, Code] = {}
        self._tidied: date | None = None
        self._last: datetime | None = None

    def run(self) -> None:
        """One sample of all servers. What fails is logged once, until it works again."""
        if not self._lock.acquire(blocking=False):
            return  # the one before still waits for somebody
        try:
            # Without a memory there is no use in asking.
            self._edges.store("notes")
            self._sample()
        except RotationError as error:
            self._tell("the ledger", error)
        else:
            self._tell("the ledger", None)
        finally:
            self._lock.release()

    def _sample(self) -> None:
        now = self._edges.now()
        if self._last is not None and now < self._last + LEAST:
            return
        self._last, servers = now, _servers(self._edges)
        calls = [partial(self._ask, at, ways) for at, ways in servers.items()]
        answers = self._edges.side_by_side(calls, SECONDS)
        asked: defaultdict[str, list[Answer]] = defaultdict(list)
        for (at, ways), answer in zip(servers.items(), answers, strict=True):
            if answer is None:
                text = f"it did not answer within {SECONDS:g} s"
                self._tell(f"{at.host}:{at.port}", Unavailable(Code.CUT_OFF, text))
            for way in ways:
                asked[way.name].append(answer or Answer())
        for name, given in asked.items():
            found = [one for answer in given for one in answer.found.get(name, ())]
            whole = all(name in answer.whole for answer in given)
            self._keep(name, usage.sampled(found, now, whole=whole))
        self._write(now)
        self._tidy(now)

    def _ask(self, at: Server, ways: list[Way]) -> Answer:
        """What a server has, asked in one query for all; nothing where it refuses, or is away."""
        subject = f"{at.host}:{at.port}"
        now = self._edges.now()
        way = next((one for one in ways if self._may_ask(at, one, now)), None)
        if way is None:
            return Answer()
        try:
            sessions = way.open().sessions([role for one in ways for role in one.roles])
            _ensure_seen(subject, sessions)
        except RotationError as error:
            if not error.transient:
                self._refused[at, way.login] = now + REFUSED
            self._tell(subject, error)
            return Answer()
        self._refused.pop((at, way.login), None)
        self._tell(subject, None)
        answer = Answer()
        for one in ways:
            self._attribute(at, one, sessions, answer)
        return answer

    def _may_ask(self, at: Server, way: Way, now: datetime) -> bool:
        until = self._refused.get((at, way.login))
        return until is None or now >= until

    def _attribute(self, at: Server, way: Way, sessions: list[Session], answer: Answer) -> None:
        """Adds a credential's sessions with the workload of each."""
        own = [
            session
            for session in sessions
            if session.role in way.roles and session.application != OWN_APPLICATION
        ]
        found, error = self._whose[way.name].of(self._edges, way.credential, at, own)
        answer.found[way.name] = found
        if error is None:
            answer.whole.add(way.name)
        self._tell(f"credential {way.name}", error)

    def _keep(self, name: str, day: Day) -> None:
        key = (name, day.day)
        before = self._pending.get(key)
        self._pending[key] = day if before is None else usage.merged(before, day)

    def _write(self, now: datetime) -> None:
        """Writes what is due, and keeps for the next round what cannot be written."""
        self._pending = {
            key: day for key, day in self._pending.items() if not usage.outdated(day.day, now)
        }
        due = [(key, day) for key, day in self._pending.items() if self._due(*key, now)]
        calls = [partial(_written, self._edges, name, day) for (name, _), day in due]
        failed: RotationError | None = None
        for (key, _), done in zip(due, self._edges.side_by_side(calls, SECONDS), strict=True):
            if isinstance(done, RotationError):
                failed = failed or done
            elif done:
                del self._pending[key]
                self._recorded.add(key[0])
        if failed is not None:
            raise failed

    def _due(self, name: str, day: str, now: datetime) -> bool:
        """Whether a day is to be written now: each credential has its own minute of ten."""
        if name not in self._recorded or usage.strange(self._pending[name, day]):
            return True
        minute = int(now.timestamp()) // 60 + crc32(name.encode())
        return minute % EVERY == 0 or day != now.astimezone(UTC).date().isoformat()

    def _tidy(self, now: datetime) -> None:
        today = now.astimezone(UTC).date()
        if self._tidied != today:
            ledger.tidy(self._edges)
            self._tidied = today

    def _tell(self, subject: str, error: RotationError | None) -> None:
        """Logs why something is not sampled, or that it is again; what was said is not repeated."""
        before = self._told.get(subject)
        if error is None:
            if self._told.pop(subject, None) is not None:
                log.event("usage.resumed", subject=subject)
        elif error.code != before:
            self._told[subject] = error.code
            level = logging.WARNING
            code, reason = error.code, error.message
            log.event("usage.failed", level=level, subject=subject, code=code, reason=reason)


def _ensure_seen(server: str, sessions: list[Session]) -> None:
    """Raises `Denied` for a server that hides where sessions come from: all would be strangers."""
    if any(session.client == "local" and session.since is None for session in sessions):
        text = f"PostgreSQL {server} hides where sessions come from: grant pg_read_all_stats"
        raise Denied(Code.DATABASE_RIGHT, text)


def _servers(edges: Readers) -> dict[Server, list[Way]]:
    """The servers and read replicas of all credentials that are sampled, each once."""
    servers: defaultdict[Server, list[Way]] = defaultdict(list)
    for name, credential in edges.configuration.credentials.items():
        if not credential.usage:
            continue
        database = credential.database
        at = Server(database.host.lower(), database.port)
        servers[at].append(Way(name, credential, partial(edges.database, credential)))
        for number, (host, port) in enumerate(database.reads_from):
            opened = partial(_replica, edges, credential, number)
            servers[Server(host.lower(), port)].append(Way(name, credential, opened))
    return dict(servers)


def _replica(edges: Readers, credential: Credential, number: int) -> DatabaseReader:
    return edges.replicas(credential)[number]


def _written(edges: Readers, name: str, day: Day) -> bool | RotationError:
    """Whether a day was written, or what the store has raised."""
    try:
        return ledger.add(edges, name, day)
    except RotationError as error:
        return error
