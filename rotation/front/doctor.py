"""A dry run: what a rotation would do that somebody asks for now, and all that stands in its way.

Nothing is started and nothing changed.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from rotation.decisions.due import Due
from rotation.front.credentials import due_from, not_due
from rotation.model import wire
from rotation.model.errors import Unavailable
from rotation.model.findings import Finding
from rotation.model.reasons import Code
from rotation.model.wire import Moment
from rotation.model.world import Slot, other
from rotation.steps import doctor
from rotation.steps.doctor import Would

if TYPE_CHECKING:
    from rotation.contracts.edges import Readers
    from rotation.model.record import Request
    from rotation.steps.world import World

# Seconds: whoever asks is told before the platform gives up on the request.
TIMEOUT = 50.0
RETRY_AFTER = 10.0
# Its own: one that is given up goes on, and must not hold up what events and pages wait for.
THREADS = ThreadPoolExecutor(4, thread_name_prefix="dry-run")


class DryRun(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a rotation would do that is asked for at `at`.

    `ready`: it would rotate, from the active slot to the standby; these are None where the
    workloads disagree, or not all could be seen. `findings` are all that was found, those first for
    which a rotation would be refused; `unknown`, what could not be found out. `due` is when one
    begins by itself. It took `milliseconds`.
    """

    credential: str
    at: Moment
    ready: bool
    would: Would
    active: Slot | None
    standby: Slot | None
    findings: list[Finding]
    unknown: list[Finding]
    due: Due
    milliseconds: int


ORDER = ("refuses", "waits", "aborts", "waived", "tells")


async def dry_run(edges: Readers, request: Request) -> DryRun:
    """The dry run of a request. Raises `Unavailable` where it takes too long, `ConfigurationError`
    for a credential that the file does not have."""
    began, name = time.monotonic(), request.credential
    configured = edges.configuration.credential(name)
    examine = partial(doctor.examine, edges, name, configured, request)
    look = asyncio.get_running_loop().run_in_executor(THREADS, examine)
    try:
        examined = await asyncio.wait_for(look, TIMEOUT)
    except TimeoutError:
        text = f"the look at {name} took more than {TIMEOUT:g} s; ask again in {RETRY_AFTER:g} s"
        raise Unavailable(Code.CUT_OFF, text, retry_after=RETRY_AFTER) from None
    active, unknown = examined.world.active, doctor.unknown(examined.findings)
    findings = [one for one in examined.findings if one not in unknown]
    return DryRun(
        credential=name,
        at=wire.moment(edges.now()),
        ready=examined.ready,
        would=examined.would,
        active=active,
        standby=None if active is None else other(active),
        findings=sorted(findings, key=lambda one: ORDER.index(one.severity)),
        unknown=unknown,
        due=_due(edges, examined.world),
        milliseconds=round((time.monotonic() - began) * 1000),
    )


def _due(edges: Readers, world: World) -> Due:
    state = world.seen.slots[world.active] if world.seen and world.active else None
    if state is None or state.secret is None:
        return not_due(served=state is not None)
    return due_from(edges, world.credential, state.secret.secret, state.secret.expires)
