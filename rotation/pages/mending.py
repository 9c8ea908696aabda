"""What a page says of a rotation that did not get there: why, which slot serves now, what helps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotation.front import samples
from rotation.front.samples import Glance
from rotation.model.catalogue import Outcome
from rotation.model.reasons import Code
from rotation.model.wire import instant
from rotation.model.world import SLOTS
from rotation.pages import guides, views
from rotation.pages.wording import ago

if TYPE_CHECKING:
    from datetime import datetime

    from azure.durable_functions import DurableOrchestrationClient as Client

    from rotation.contracts.edges import Readers
    from rotation.model.findings import Finding
    from rotation.model.record import ShownRecord
    from rotation.model.wire import Moment


@dataclass(frozen=True)
class Serving:
    """Which slot serves, in words; `at` and `ago` are when that was seen, if it was.

    `problem` is why it was not seen just now, `findings` are why it is not one.
    """

    text: str
    at: Moment | None = None
    ago: str = ""
    problem: str | None = None
    findings: tuple[Finding, ...] = ()
    rotation: str | None = None  # a later one that is under way


@dataclass(frozen=True)
class Mending:
    """`part` is the path of what recovery.md says of such an end; `serving` is told where both
    slots may be alive."""

    part: str
    serving: Serving | None


async def mending(edges: Readers, client: Client, record: ShownRecord) -> Mending | None:
    """What to say of a rotation that needs somebody; None for any other."""
    if record.outcome is None or views.where(record) != "needing":
        return None
    alive = record.outcome is Outcome.NEEDS_ATTENTION
    found = serving(await _glance(edges, client, record), edges.now()) if alive else None
    return Mending(_part(record), found)


UNKNOWN = "Which slot serves is not known"


def _part(record: ShownRecord) -> str:
    if record.outcome is not Outcome.NEEDS_ATTENTION:
        return guides.link("recovery", "how-rotations-end")
    if any(why.code == Code.ENDED_OUTSIDE for why in record.reasons):
        return guides.link("recovery", "failed-terminated-or-stuck-orchestrations")
    return guides.link("recovery", "needs-attention")


async def _glance(edges: Readers, client: Client, record: ShownRecord) -> Glance:
    if not record.credential:
        return Glance(None, "the record does not say of which credential it is")
    if record.credential not in edges.configuration.credentials:
        return Glance(None, f"credentials.yaml has no credential {record.credential} any more")
    return await samples.now(edges, client, record.credential)


def serving(glance: Glance, now: datetime) -> Serving:
    """Which slot serves, as far as a glance shows it."""
    seen, problem = glance.seen, glance.problem
    if seen is None:
        return Serving(UNKNOWN, problem=problem)
    serves = [str(slot) for slot in SLOTS if slot in seen.slots and seen.slots[slot].serves]
    findings: tuple[Finding, ...] = ()
    if seen.active is not None:
        text = f"{str(seen.active).capitalize()} serves all workloads"
    elif not seen.slots:
        text, findings = UNKNOWN, tuple(one for one in seen.findings if one.severity != "tells")
    else:
        who = "both slots serve" if len(serves) > 1 else f"{''.join(serves) or 'no slot'} serves"
        text = f"The workloads disagree: {who}"
        findings = tuple(one for one in seen.findings if one.code == Code.SLOTS_DISAGREE)
    age = ago(now - instant(seen.at))
    return Serving(text, seen.at, age, problem, findings, seen.rotation)
