"""Key Vault's events: a new version, near expiry 30 days before `exp`, expired.

As the service does it, near expiry and expiry are published once for a version, only for the
current one, and only if a subscription existed when it was made. A version that is made with less
than 30 days to live is announced at once. Schema:
https://learn.microsoft.com/azure/event-grid/event-schema-key-vault
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Any

from local.delivery import timestamp
from local.identity import TENANT
from local.storage import transaction

if TYPE_CHECKING:
    from local.keyvault.store import Store, Version
    from local.outbox import Outbox

NEAR = 30 * 86400  # seconds before `exp`
PREFIX = "Microsoft.KeyVault.Secret"
TYPES = ("NewVersionCreated", "NearExpiry", "Expired")

# The current version of each secret that is not deleted, if it is watched and expires.
CURRENT = """
    FROM versions JOIN secrets USING (name)
    WHERE seq IN (SELECT max(seq) FROM versions GROUP BY name)
    AND deleted_at IS NULL AND watched AND exp IS NOT NULL
"""


class Announcer:
    """Publishes nothing of its own accord before `listens_at` has told it the vault's URL, which
    events carry."""

    def __init__(self, store: Store, outbox: Outbox, name: str) -> None:
        self._base = ""
        self._listening = asyncio.Event()
        self.outbox = outbox
        self._store = store
        self._name = name
        self._changed = asyncio.Event()

    def listens_at(self, base: str) -> None:
        self._base = base
        self._listening.set()

    def created(self, version: Version) -> None:
        """Announces a new version, within the transaction that made it."""
        if self.outbox.subscribed:
            query = "UPDATE versions SET watched = 1 WHERE seq = ?"
            self._store.database.execute(query, (version.seq,))
            self.announce(version, "NewVersionCreated")
        self.changed()

    def changed(self) -> None:
        """Notes that a version was made, or its expiry moved: what is due next may be another."""
        self._changed.set()

    def announce(self, version: Version, kind: str) -> str:
        """Publishes one of `TYPES` and returns the event's id."""
        now = time.time()
        event = self._event(version, kind, now)
        self.outbox.add([event], now)
        return str(event["id"])

    def publish_due(self, now: float) -> None:
        for kind, flag, lead in (("NearExpiry", "near_sent", NEAR), ("Expired", "expired_sent", 0)):
            rows = self._store.database.execute(
                f"SELECT name, version, seq {CURRENT} AND NOT {flag} AND exp <= ?",
                (now + lead,),
            ).fetchall()
            for row in rows:
                with transaction(self._store.database) as database:
                    update = f"UPDATE versions SET {flag} = 1 WHERE seq = ?"  # noqa: S608 - own text
                    database.execute(update, (row["seq"],))
                    self.announce(self._store.version(row["name"], row["version"]), kind)

    def next_due(self) -> float | None:
        """When `publish_due` will next have something to do, in seconds since the epoch."""
        row = self._store.database.execute(
            "SELECT min(CASE WHEN NOT near_sent THEN exp - ? WHEN NOT expired_sent THEN exp END)"
            f" AS at {CURRENT}",
            (NEAR,),
        ).fetchone()
        at: float | None = row["at"]
        return at

    async def run(self) -> None:
        """Publishes what falls due, until cancelled."""
        await self._listening.wait()
        while True:
            self._changed.clear()
            self.publish_due(time.time())
            at = self.next_due()
            try:
                wait = None if at is None else max(0.0, at - time.time())
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                continue

    def _event(self, version: Version, kind: str, now: float) -> dict[str, Any]:
        return {
            "id": str(uuid.uuid4()),
            "topic": f"/subscriptions/{TENANT}/resourceGroups/local/providers/"
            f"Microsoft.KeyVault/vaults/{self._name}",
            "subject": version.name,
            "eventType": f"{PREFIX}{kind}",
            "eventTime": timestamp(now),
            "data": {
                "Id": f"{self._base}/secrets/{version.name}/{version.version}",
                "VaultName": self._name,
                "ObjectType": "Secret",
                "ObjectName": version.name,
                "Version": version.version,
                "NBF": version.nbf,
                "EXP": version.exp,
            },
            "dataVersion": "1",
            "metadataVersion": "1",
        }
