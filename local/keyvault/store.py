"""Secrets and their versions, in SQLite."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from local.keyvault.errors import VaultError, conflict, not_found
from local.storage import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

RECOVERABLE_DAYS = 90
DAY = 86400

# `watched`: an event subscription existed when the version was made. `near_sent` and
# `expired_sent` keep an event from being published twice for one version.
SCHEMA = """
CREATE TABLE IF NOT EXISTS secrets (
    name TEXT PRIMARY KEY COLLATE NOCASE, deleted_at INTEGER
);
CREATE TABLE IF NOT EXISTS versions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL COLLATE NOCASE REFERENCES secrets ON DELETE CASCADE,
    version TEXT NOT NULL, value TEXT NOT NULL, content_type TEXT, tags TEXT,
    enabled INTEGER NOT NULL, nbf INTEGER, exp INTEGER,
    created INTEGER NOT NULL, updated INTEGER NOT NULL,
    watched INTEGER NOT NULL DEFAULT 0, near_sent INTEGER NOT NULL DEFAULT 0,
    expired_sent INTEGER NOT NULL DEFAULT 0,
    UNIQUE (name, version)
);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Version:
    """One version of a secret. Times are whole seconds since the epoch, as on the wire.

    Two versions made in the same second are told apart by `seq`, which the wire does not show.
    """

    name: str
    version: str
    value: str
    created: int
    updated: int
    content_type: str | None = None
    tags: dict[str, str] | None = None
    enabled: bool = True
    nbf: int | None = None
    exp: int | None = None
    seq: int = 0

    def __repr__(self) -> str:
        return f"<Version {self.name}/{self.version}>"


@dataclass(frozen=True)
class Properties:
    """What a caller may set beside the value; None leaves a property as it is."""

    content_type: str | None = None
    tags: dict[str, str] | None = None
    enabled: bool | None = None
    nbf: int | None = None
    exp: int | None = None

    def given(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Deleted:
    latest: Version
    deleted_at: int

    @property
    def purge_at(self) -> int:
        return self.deleted_at + RECOVERABLE_DAYS * DAY


class Store:
    """Raises `VaultError` as Key Vault would; `now` is passed in, in seconds."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database

    def set(self, name: str, value: str, properties: Properties, now: int) -> Version:
        with transaction(self.database) as database:
            self._refuse_deleted(name)
            database.execute("INSERT OR IGNORE INTO secrets (name) VALUES (?)", (name,))
            version = Version(
                name=self._spelling(name),
                version=secrets.token_hex(16),
                value=value,
                created=now,
                updated=now,
                **properties.given(),
            )
            return replace(version, seq=self._insert(version))

    def latest(self, name: str) -> Version:
        return self._one(name, "ORDER BY seq DESC LIMIT 1") or _missing(name)

    def version(self, name: str, version: str) -> Version:
        return self._one(name, "AND version = ?", version) or _missing(name, version)

    def update(self, name: str, version: str, properties: Properties, now: int) -> Version:
        """An empty `version` means the latest. Works on a disabled one too."""
        with transaction(self.database) as database:
            found = self.version(name, version) if version else self.latest(name)
            changed = replace(found, **properties.given(), updated=now)
            database.execute(
                "UPDATE versions SET content_type = ?, tags = ?, enabled = ?, nbf = ?, exp = ?,"
                " updated = ? WHERE seq = ?",
                (*_properties_row(changed), changed.updated, found.seq),
            )
            if changed.exp != found.exp:
                database.execute(
                    "UPDATE versions SET near_sent = 0, expired_sent = 0 WHERE seq = ?",
                    (found.seq,),
                )
            return changed

    def names_after(self, name: str, count: int, *, deleted: bool = False) -> list[str]:
        rows = self.database.execute(
            "SELECT name FROM secrets WHERE name > ? AND (deleted_at IS NOT NULL) = ?"
            " ORDER BY name LIMIT ?",
            (name, deleted, count),
        )
        return [row["name"] for row in rows]

    def versions_after(self, name: str, version: str, count: int) -> list[Version]:
        """The versions after one, in the order of their ids, which says nothing of their age."""
        rows = self.database.execute(
            "SELECT versions.* FROM versions JOIN secrets USING (name) WHERE name = ?"
            " AND deleted_at IS NULL AND version > ? ORDER BY version LIMIT ?",
            (name, version, count),
        )
        return [_version(row) for row in rows]

    def delete(self, name: str, now: int) -> Deleted:
        with transaction(self.database) as database:
            latest = self.latest(name)
            database.execute("UPDATE secrets SET deleted_at = ? WHERE name = ?", (now, name))
            return Deleted(latest, now)

    def deleted(self, name: str) -> Deleted:
        row = self.database.execute(
            "SELECT versions.*, deleted_at FROM versions JOIN secrets USING (name)"
            " WHERE name = ? AND deleted_at IS NOT NULL ORDER BY seq DESC LIMIT 1",
            (name,),
        ).fetchone()
        if row is None:
            raise VaultError(404, "SecretNotFound", f"Deleted Secret not found: {name}")
        return Deleted(_version(row), row["deleted_at"])

    def recover(self, name: str) -> Version:
        with transaction(self.database) as database:
            latest = self.deleted(name).latest
            database.execute("UPDATE secrets SET deleted_at = NULL WHERE name = ?", (name,))
            return latest

    def purge(self, name: str) -> None:
        with transaction(self.database) as database:
            self.deleted(name)
            database.execute("DELETE FROM secrets WHERE name = ?", (name,))

    def purge_overdue(self, now: int) -> None:
        """Removes for good what was deleted longer ago than the retention time."""
        self.database.execute(
            "DELETE FROM secrets WHERE deleted_at <= ?", (now - RECOVERABLE_DAYS * DAY,)
        )

    def all_versions(self, name: str) -> list[Version]:
        """All versions of a secret, oldest first, for a backup."""
        self.latest(name)
        rows = self.database.execute("SELECT * FROM versions WHERE name = ? ORDER BY seq", (name,))
        return [_version(row) for row in rows]

    def restore(self, versions: Iterable[Version]) -> Version:
        """Puts a backup back. Raises a conflict when the name is in use, deleted or not."""
        backup = list(versions)
        name = backup[0].name
        with transaction(self.database) as database:
            self._refuse_deleted(name)
            if database.execute("SELECT 1 FROM secrets WHERE name = ?", (name,)).fetchone():
                raise conflict(f"A secret named {name} exists already.", "SecretAlreadyExists")
            database.execute("INSERT INTO secrets (name) VALUES (?)", (name,))
            for version in backup:
                self._insert(version)
            return self.latest(name)

    def setting(self, name: str, default: str) -> str:
        """A value kept since it was first asked for."""
        with transaction(self.database) as database:
            database.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, default))
            row = database.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
            return str(row["value"])

    def _one(self, name: str, rest: str, *values: str) -> Version | None:
        row = self.database.execute(
            "SELECT versions.* FROM versions JOIN secrets USING (name)"  # noqa: S608 - own text
            f" WHERE name = ? AND deleted_at IS NULL {rest}",
            (name, *values),
        ).fetchone()
        return None if row is None else _version(row)

    def _insert(self, version: Version) -> int:
        cursor = self.database.execute(
            "INSERT INTO versions (content_type, tags, enabled, nbf, exp, updated, name, version,"
            " value, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *_properties_row(version),
                version.updated,
                version.name,
                version.version,
                version.value,
                version.created,
            ),
        )
        return int(cursor.lastrowid or 0)

    def _spelling(self, name: str) -> str:
        """The first spelling of a name, which stays: names differ by more than case."""
        row = self.database.execute("SELECT name FROM secrets WHERE name = ?", (name,)).fetchone()
        return str(row["name"])

    def _refuse_deleted(self, name: str) -> None:
        query = "SELECT 1 FROM secrets WHERE name = ? AND deleted_at IS NOT NULL"
        if self.database.execute(query, (name,)).fetchone():
            raise conflict(
                f"Secret {name} is currently in a deleted but recoverable state, and its name "
                "cannot be reused; in this state, the secret can only be recovered or purged.",
                "ObjectIsDeletedButRecoverable",
            )


def _missing(name: str, version: str = "") -> Version:
    raise not_found(name, version)


def _properties_row(version: Version) -> tuple[object, ...]:
    tags = None if version.tags is None else json.dumps(version.tags)
    return (version.content_type, tags, version.enabled, version.nbf, version.exp)


def _version(row: sqlite3.Row) -> Version:
    return Version(
        name=row["name"],
        version=row["version"],
        value=row["value"],
        created=row["created"],
        updated=row["updated"],
        content_type=row["content_type"],
        tags=None if row["tags"] is None else json.loads(row["tags"]),
        enabled=bool(row["enabled"]),
        nbf=row["nbf"],
        exp=row["exp"],
        seq=row["seq"],
    )
