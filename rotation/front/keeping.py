"""Keeps the records of finished rotations, before the task hub forgets them.

Each is kept by an orchestration of its own, which its rotation does not wait for; what that could
not do, or nobody asked for, as where a rotation was ended from outside, the daily sweep does.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from rotation import log
from rotation.front import archive, rotations
from rotation.model import activities, wire
from rotation.model.activities import Reference, Watched
from rotation.model.errors import RotationError, Unavailable
from rotation.steps.running import Implementation, run

if TYPE_CHECKING:
    from azure.durable_functions import DurableOrchestrationClient as Client

    from rotation.contracts.edges import Edges, Readers
    from rotation.contracts.store import Store
    from rotation.model.wire import JsonObject
    from rotation.steps.running import Step

LOOK_BACK = rotations.RETENTION + timedelta(days=5)
PARTS = 1000  # names in one list


async def start(edges: Readers, client: Client, reference: Reference) -> None:
    """Starts the orchestration that keeps the record of a rotation that is about to end.

    Raises nothing: whatever goes wrong alters no rotation, and the sweep keeps it.
    """
    instance = f"{reference.rotation}.keep"
    given = Reference(rotation=reference.rotation, credential=reference.credential)
    try:
        if archive.opened(edges) is not None and not await client.get_status(instance):
            await client.start_new("keep", instance, wire.value_of(given))
    except Exception as error:  # noqa: BLE001 - the SDK raises bare exceptions
        _not_kept(reference.rotation, type(error).__name__)


async def keep(edges: Edges, client: Client, reference: object) -> JsonObject:
    """Runs the activity `keep_record`: keeps a rotation's record once it has ended."""
    given = wire.read(Reference, reference)
    try:
        status = await client.get_status(given.rotation, show_input=True)
    except RotationError as error:
        return {"error": wire.value_of(error.as_failure())}
    if not status or status.runtime_status in rotations.RUNNING:
        seen = "it has not ended" if status else "it is not in the task hub"
        return wire.value_of(Watched(done=False, observed=seen))
    record = rotations.describe(status)
    if not archive.understood(record):
        seen = "this release cannot read it"
        return wire.value_of(Watched(done=False, observed=seen))

    def implementation(step: Step) -> Watched:
        store = archive.opened(step.edges)
        if store is not None:
            archive.write(store, record)
        return Watched(done=True)

    activity = Implementation(activities.KEEP.name, implementation)
    return await asyncio.to_thread(run, activity, edges, reference)


async def catch_up(edges: Readers, client: Client) -> None:
    """Keeps the records of finished rotations that the hub has, and that are not kept yet.

    Raises nothing: what cannot be kept is logged, and tried again by the next sweep.
    """
    try:
        store = archive.opened(edges)
        if store is None:
            return
        now = edges.now()
        span = archive.Span(now - LOOK_BACK, now + timedelta(days=1))
        kept = await asyncio.to_thread(_ids, store, span)
        records = await rotations.listing(client, span.since, span.until)
    except RotationError as error:
        _not_kept(None, error.message)
        return
    ended = [one for one in records if archive.ended(one) and archive.understood(one)]
    left = [record for record in ended if record.rotation not in kept]
    added = 0
    for record in left:
        try:
            added += await asyncio.to_thread(archive.write, store, record)
        except RotationError as error:
            _not_kept(record.rotation, error.message)
            if isinstance(error, Unavailable):
                break  # the account is away: each of the others would wait for it as well
    log.event("records.kept", found=len(kept), added=added)


def _ids(store: Store, span: archive.Span) -> set[str]:
    """The ids of all rotations of a span that are kept with all their places."""
    found: set[str] = set()
    while True:
        keys = archive.listed(store, span, None, PARTS)
        found |= {archive.rotation_of(key) for key in keys}
        if len(keys) < PARTS:
            return found
        span = archive.Span(span.since, span.until, keys[-1])


def _not_kept(rotation: str | None, reason: str) -> None:
    """Logs that a record, or all of them, could not be kept for now."""
    log.event("record.unkept", level=logging.WARNING, rotation=rotation, reason=reason)
