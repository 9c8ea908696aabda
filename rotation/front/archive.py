"""What is kept of finished rotations, in a container of the app's own storage account.

    by-id/<rotation>.json                           the record, written first
    by-credential/<credential>/<key><outcome>       then its places in the lists, which are empty
    by-time/<key><outcome>                          the last: what is there has the others

A key sorts the newest first: the milliseconds that were left until the year 2286 when the rotation
was created, and its id. Each name is written once, so that a repeat is harmless.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rotation import log
from rotation.front.rotations import ID, RUNNING, unreadable
from rotation.model import wire
from rotation.model.catalogue import Stage
from rotation.model.errors import EdgeError, Missing
from rotation.model.reasons import Code
from rotation.model.record import Request, ShownRecord, new_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.contracts.edges import Readers
    from rotation.contracts.store import Store
    from rotation.model.wire import Moment

FORMAT = 1  # of what is kept: a later release reads all earlier ones
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END = 9_999_999_999_999  # milliseconds since then: all keys have as many digits
LAST = EPOCH + timedelta(milliseconds=END)
MILLISECOND = timedelta(milliseconds=1)
KEY = re.compile(rf"([0-9]{{13}})\.({ID.pattern})\.")
BEHIND = "~"  # sorts after each outcome
TIME = "by-time/"
PART = 1000  # names that are asked for at once where not all of them are looked for
UNDER_WAY = {status.name for status in RUNNING}


@dataclass(frozen=True)
class Span:
    """A span of time, and of keys: what was created in it, and has a key that comes after `after`,
    which is empty for all of it. Times before 1970 and after 2286 are those years."""

    since: datetime
    until: datetime
    after: str = ""

    def has(self, key: str) -> bool:
        return self.begins < key < self.ends and key > self.after

    @property
    def begins(self) -> str:
        """What sorts before the keys of the newest moment."""
        return _left(self.until)

    @property
    def ends(self) -> str:
        """What sorts after the keys of the oldest moment."""
        return f"{_left(self.since)}{BEHIND}"


def key(record: ShownRecord) -> str:
    """The place of a rotation among all: the newest first, those of one moment by their ids."""
    created = wire.instant(record.created) if record.created else EPOCH
    return f"{_left(created)}.{record.rotation}."


def created(of: str) -> datetime:
    """The moment that a key is of."""
    return EPOCH + timedelta(milliseconds=END - int(of[:13]))


def _left(at: datetime) -> str:
    return f"{END - (min(max(at, EPOCH), LAST) - EPOCH) // MILLISECOND:013d}"


def opened(edges: Readers) -> Store | None:
    """The container of records; None for an app without a storage account.

    Raises `Invalid` for one that cannot be opened.
    """
    try:
        return edges.store("records")
    except Missing as error:
        if error.code is not Code.STORAGE_UNSET:
            raise
        return None


def kept_at_all(edges: Readers) -> bool:
    """Whether finished rotations are kept: the app has a storage account of its own."""
    try:
        return opened(edges) is not None
    except EdgeError:
        return False


def ended(record: ShownRecord) -> bool:
    """Whether nothing of the rotation changes any more: it may show its outcome a moment before."""
    return record.outcome is not None and record.runtime_status not in UNDER_WAY


def understood(record: ShownRecord) -> bool:
    """Whether it is the rotation's own record. What stands for one that this release cannot read is
    never kept: it would stay in its place, and the release that can comes back."""
    return record.credential != ""


def write(store: Store, record: ShownRecord) -> bool:
    """Keeps a finished rotation's record, and completes what an earlier call has begun.

    False where the record itself was there already: it stays as it is. Raises what the store does.
    """
    value = {"format": FORMAT, "record": wire.value_of(record)}
    made = store.create(_name(record.rotation), json.dumps(value).encode())
    if not made:
        record = read(store, record.rotation) or record  # whose places may be missing
    place = f"{key(record)}{record.outcome}"
    if ID.fullmatch(record.credential):
        store.create(f"{_of(record.credential)}{place}", b"")
    store.create(f"{TIME}{place}", b"")
    return made


def read(store: Store, rotation: str) -> ShownRecord | None:
    """The record that is kept of a rotation; None if there is none, as of whatever is no id.

    One that this release does not understand is shown as such. Raises what the store does.
    """
    found = store.read(_name(rotation)) if ID.fullmatch(rotation) else None
    return None if found is None else _record(rotation, found.content)


def listed(
    store: Store,
    span: Span,
    credential: str | None,
    most: int,
    wanted: Callable[[str], bool] | None = None,
) -> list[str]:
    """The keys of at most `most` rotations, the newest first; `wanted` says by a rotation's id
    whether it is looked for. Raises what the store does."""
    prefix = TIME if credential is None else _of(credential)
    behind = f"{span.after}{BEHIND}" if span.after else ""
    after, size = f"{prefix}{max(span.begins, behind)}", most if wanted is None else PART
    found: list[str] = []
    while True:
        names = store.names(prefix, after, size)
        keys = [key[0] for name in names if (key := KEY.match(name.removeprefix(prefix)))]
        found += [
            key for key in keys if span.has(key) and (wanted is None or wanted(rotation_of(key)))
        ]
        ended = len(names) < size or names[-1] > f"{prefix}{span.ends}"
        if wanted is None or ended or len(found) >= most:
            return found[:most]
        after = names[-1]


def rotation_of(of: str) -> str:
    """The id of the rotation that a key is of."""
    return of[14:-1]


def _name(rotation: str) -> str:
    return f"by-id/{rotation}.json"


def _of(credential: str) -> str:
    return f"by-credential/{credential}/"


def _record(rotation: str, content: bytes) -> ShownRecord:
    """The record in what is kept, of this or an earlier release."""
    moment: Moment | None = None
    try:
        kept = json.loads(content)
        moment = wire.moment(datetime.fromisoformat(kept["record"]["created"]))
        if kept["format"] <= FORMAT:
            request = wire.read(Request, kept["record"]["request"])
            value = wire.value_of(new_record(request, Stage.DONE, moment))
            return wire.read(ShownRecord, {**value, **kept["record"]})
    except (ValueError, LookupError, TypeError, RecursionError):
        log.event("record.unreadable", level=logging.WARNING, rotation=rotation)
    return unreadable(rotation, moment, moment, "Completed")
