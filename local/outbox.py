"""Events, and who still has to get them, in the database of the component that publishes.

An event is stored in the caller's transaction and survives a kill; one that was being delivered
then is delivered again.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from yarl import URL

from local.storage import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

AT_ONCE = 16

SCHEMA = """
CREATE TABLE IF NOT EXISTS subscriptions (url TEXT PRIMARY KEY, validated_at REAL);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, accepted_at REAL NOT NULL, body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS deliveries (
    seq INTEGER NOT NULL REFERENCES events, url TEXT NOT NULL REFERENCES subscriptions,
    attempts INTEGER NOT NULL DEFAULT 0, next_at REAL NOT NULL, outcome TEXT, answer TEXT,
    PRIMARY KEY (seq, url)
);
CREATE INDEX IF NOT EXISTS deliveries_open ON deliveries (url, next_at) WHERE outcome IS NULL;
"""


@dataclass(frozen=True)
class Delivery:
    seq: int
    attempts: int
    accepted_at: float
    event: dict[str, Any]


def without_code(url: str) -> str:
    """The webhook's URL without the key that Functions puts into its query."""
    parsed = URL(url)
    return str(parsed.with_query({k: v for k, v in parsed.query.items() if k != "code"}))


class Outbox:
    """Events and who still has to get them. The database has `SCHEMA`.

    A subscription exists from its handshake on: what was published before is not delivered.
    """

    def __init__(self, database: sqlite3.Connection, webhooks: Iterable[str]) -> None:
        self._database = database
        self._wanted = {without_code(url) for url in webhooks}
        self.added = asyncio.Event()
        with transaction(database):
            self._adopt()

    def _adopt(self) -> None:
        for row in self._database.execute("SELECT url FROM subscriptions").fetchall():
            if row["url"] not in self._wanted:
                self._database.execute("DELETE FROM deliveries WHERE url = ?", (row["url"],))
                self._database.execute("DELETE FROM subscriptions WHERE url = ?", (row["url"],))
        self._database.executemany(
            "INSERT OR IGNORE INTO subscriptions (url) VALUES (?)", [(u,) for u in self._wanted]
        )

    @property
    def subscribed(self) -> bool:
        query = "SELECT 1 FROM subscriptions WHERE validated_at IS NOT NULL"
        return self._database.execute(query).fetchone() is not None

    def add(self, events: Iterable[Mapping[str, Any]], now: float) -> None:
        """Stores all of them or none, for every subscription that is validated."""
        with transaction(self._database) as database:
            for event in events:
                cursor = database.execute(
                    "INSERT INTO events (accepted_at, body) VALUES (?, ?)", (now, json.dumps(event))
                )
                database.execute(
                    "INSERT INTO deliveries (seq, url, next_at) SELECT ?, url, ? FROM subscriptions"
                    " WHERE validated_at IS NOT NULL",
                    (cursor.lastrowid, now),
                )
        self.added.set()

    def since(self, after: int) -> list[tuple[int, float, dict[str, Any]]]:
        """(sequence number, seconds since the epoch, event) of all that came after `after`."""
        rows = self._database.execute("SELECT * FROM events WHERE seq > ? ORDER BY seq", (after,))
        return [(row["seq"], row["accepted_at"], json.loads(row["body"])) for row in rows]

    def validated(self, url: str) -> bool:
        query = "SELECT validated_at FROM subscriptions WHERE url = ?"
        return self._database.execute(query, (url,)).fetchone()["validated_at"] is not None

    def validate(self, url: str, now: float) -> None:
        self._database.execute(
            "UPDATE subscriptions SET validated_at = ? WHERE url = ?", (now, url)
        )

    def due(self, url: str, now: float) -> list[Delivery]:
        rows = self._database.execute(
            "SELECT seq, attempts, accepted_at, body FROM deliveries JOIN events USING (seq)"
            " WHERE url = ? AND outcome IS NULL AND next_at <= ? ORDER BY next_at LIMIT ?",
            (url, now, AT_ONCE),
        )
        return [
            Delivery(row["seq"], row["attempts"], row["accepted_at"], json.loads(row["body"]))
            for row in rows
        ]

    def next_at(self, url: str) -> float | None:
        query = "SELECT min(next_at) AS at FROM deliveries WHERE url = ? AND outcome IS NULL"
        at: float | None = self._database.execute(query, (url,)).fetchone()["at"]
        return at

    def attempted(
        self, url: str, seq: int, answer: str, *, outcome: str | None, next_at: float
    ) -> None:
        self._database.execute(
            "UPDATE deliveries SET attempts = attempts + 1, answer = ?, outcome = ?, next_at = ?"
            " WHERE url = ? AND seq = ?",
            (answer, outcome, next_at, url, seq),
        )

    def overview(self) -> list[dict[str, Any]]:
        """Each subscription with the state of its deliveries, for tests and for people."""
        return [
            {
                "url": row["url"],
                "validated": row["validated_at"] is not None,
                "deliveries": [
                    dict(each)
                    for each in self._database.execute(
                        "SELECT seq, attempts, outcome, answer FROM deliveries WHERE url = ?"
                        " ORDER BY seq",
                        (row["url"],),
                    )
                ],
            }
            for row in self._database.execute("SELECT * FROM subscriptions ORDER BY url").fetchall()
        ]
