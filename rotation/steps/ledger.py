"""Keeps the usage ledger in the app's own storage, and reads it for an approval.

Nothing waits for it: where it cannot be read, the evidence says so and is as complete as ever.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rotation import log
from rotation.decisions import usage
from rotation.model.errors import RotationError
from rotation.model.usage import Day
from rotation.model.world import other

if TYPE_CHECKING:
    from rotation.config import Credential
    from rotation.contracts.edges import Readers
    from rotation.contracts.store import Kept
    from rotation.model.record import Usage
    from rotation.model.wire import Moment
    from rotation.model.world import Slot

ATTEMPTS = 5  # at a compare-and-swap; two that sample at once are the most there are
SECONDS = 5.0  # that an approval waits for the names of the days, and then for the days
PAGE = 1000  # names
MOST_PAGES = 1000


def add(edges: Readers, credential: str, day: Day) -> bool:
    """Whether the day's samples are in the ledger now. False: others changed it at each attempt.

    Each call adds them once more. Raises what the store raises.
    """
    store, name = edges.store("notes"), usage.name(credential, day.day)
    for _ in range(ATTEMPTS):
        kept = store.read(name)
        if kept is None:
            done = store.create(name, usage.written(day))
        else:
            before = _read(name, kept) or Day(day=day.day)
            done = store.replace(name, usage.written(usage.merged(before, day)), kept.tag)
        if done:
            return True
    return False


def _read(name: str, kept: Kept | None) -> Day | None:
    """The day in what is kept; None for what is none, which is logged."""
    if kept is None:
        return None
    try:
        return usage.read(kept.content)
    except (ValueError, RecursionError) as error:
        kind = type(error).__name__
        log.event("usage.unreadable", level=logging.WARNING, name=name, reason=kind)
        return None


def tidy(edges: Readers) -> int:
    """Removes the days that are too old, those of credentials that are gone too, and returns how
    many there were. Raises what the store raises."""
    store, now = edges.store("notes"), edges.now()
    removed, after = 0, None
    for _ in range(MOST_PAGES):
        names = store.names(usage.PREFIX, after, PAGE)
        for name in names:
            if usage.outdated(name, now):
                store.remove(name)
                removed += 1
        if len(names) < PAGE:
            break
        after = names[-1]
    return removed


class Before(NamedTuple):
    """What an approval's look back is about: the credential, and when traffic had moved."""

    credential: str
    swapped: Moment | None


def used(edges: Readers, credential: Credential, slot: Slot, before: Before) -> Usage | None:
    """Who used the role that `slot` has replaced, as far as it can be read within seconds; None for
    a credential that is not sampled."""
    if not credential.usage:
        return None
    replaced, serving = credential.slots[other(slot)].role, credential.slots[slot].role
    try:
        days, problem = _days(edges, before.credential)
    except RotationError as error:
        days, problem = [], error.message
    return usage.usage(days, replaced, serving, before.swapped, problem)


def _days(edges: Readers, credential: str) -> tuple[list[Day], str | None]:
    """The days to tell of, and what is missing of them. Raises what the store raises."""
    store, now = edges.store("notes"), edges.now()
    prefix = f"{usage.PREFIX}{credential}/"
    (listed,) = edges.side_by_side([lambda: store.names(prefix)], SECONDS)
    if listed is None:
        return [], f"the app's storage did not name the days within {SECONDS:g} s"
    names = [name for name in listed if usage.told_of(name, now)]
    found = edges.side_by_side([partial(store.read, name) for name in names], SECONDS)
    days = [_read(name, kept) for name, kept in zip(names, found, strict=True)]
    read = [day for day in days if day is not None]
    missing = len(days) - len(read)
    return read, f"{missing} of {len(days)} days could not be read" if missing else None
